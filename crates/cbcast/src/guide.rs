//! Guide for whoever writes the driver: safe ways of connecting processes, and what comes before what.
//!
//! # When *Left* alone makes forgetting safe
//! Whoever delivers the *Left* of a member forgets it at once: its entry is dropped, and whatever it has said counts as
//! met. No second round asks whether others have everything. That is safe under these conditions:
//!
//! 1. *One way in.* Everything that the others have of the member came through the process that says its *Left*, and it
//!    takes nothing more from the member from then on ([`Topology::Relay`]); or everybody who stays has reported what
//!    it has of the member, takes no more, and the process that says *Left* has delivered all that was reported
//!    ([`Topology::Mesh`], where [`Group::part`] does this by a flush).
//! 2. *Delivered, then passed on.* A process passes on what it has delivered.
//! 3. *No way back.* The process that says *Left* never goes on from an older state than what others know of it.
//! 4. *True links.* Links keep bytes whole and say truly who speaks.
//!
//! **Theorem.** Under 1 to 4 every message of the member that anybody who stays will ever deliver is in the causal past of
//! its *Left*. So whoever has delivered *Left* has delivered all of them, and a message that depends on one of them
//! loses nothing if that counts as met.
//!
//! *Why.* Let *m* be such a message, delivered by a process that is not the one that says *Left*. Under the first half of
//! 1 it came through that one, which by 2 and 4 had delivered it, and since it takes nothing more after *Left* (by 3
//! it does not forget that) it had done so before. Under the second half *m* was there when its holder reported, or came
//! after and was not taken; what was reported had been delivered where *Left* was said. Either way *m* was delivered
//! there before *Left* was said: it is in its past, and causal delivery puts it first everywhere.
//!
//! Nothing is said of those who do not stay: what only they have is lost with them, and nobody who stays has delivered
//! anything that follows it. Where messages are given up ([`GapPolicy::Skip`]) what is given up has a
//! [`Output::Gap`] in its place, and the theorem holds for the rest.
//!
//! # Topologies
//! Tests of the repository's `cbcast-sim/tests/topologies.rs`, unless another file is named; `swarm.rs` beside it draws
//! topologies and faults at random.
//!
//! | processes | safe? | what it takes | shown by |
//! |---|---|---|---|
//! | one relay | yes | members speak over their own connection only | `one_relay`; `cbcast/tests/random.rs` |
//! | several relays, each to each | yes | each admits under an origin of its own, and passes on to relays what its own members say | `relays_each_to_each`; `random.rs` |
//! | relays in a row, or a tree | yes | each passes on all that it delivers | `relays_in_a_row_that_pass_on_what_they_deliver` |
//! | relays in a ring | yes | the same; copies are dropped | `relays_in_a_ring` |
//! | clients that read two relays | yes | they speak through the one that has admitted them | `clients_that_read_two_relays` |
//! | a client that changes its relay | yes | it is a member anew there, starts from a snapshot of the new relay once that has delivered all that it has itself, and the old relay parts with the old member; or takes its past along ([`Group::adopt`]) | `a_client_that_changes_its_relay` |
//! | another process in a relay's place | yes | it goes on from all that the first had stored, and the first is gone for good | `a_relay_in_whose_place_another_goes_on` |
//! | mesh, fixed members | yes | [`Config::mesh`] | `a_mesh_whose_members_are_fixed`; `cbcast/tests/mesh.rs` |
//! | mesh, members join and leave | yes | one host admits and parts; it waits for all who stay | `a_mesh_whose_members_join_and_leave_by_flush`; `cbcast/tests/flush.rs` |
//! | several members in one process | yes | its links speak for one of them | `members_that_share_a_process` |
//! | mesh, *Left* at once | **no** | | `cbcast/tests/topologies.rs`, `left_at_once_in_a_mesh` |
//! | a client that speaks through two relays at a time | **no** | | the same, `a_client_that_speaks_through_two_relays` |
//! | mesh, two hosts that part at a time | **no** | their flushes do not know of each other: let one host do all parting | the same, `two_hosts_that_part_at_a_time` |
//! | a client of a relay that goes on from an older state | yes | [`Group::assume_rollback`], then [`Group::go_on`] with what its own relay has taken | `cbcast/tests/rollback.rs`, `where_there_is_a_relay_it_says_what_it_has_taken` |
//! | the same in a mesh | **no** | it joins anew, from a snapshot; its host parts with the old member | `rollback.rs`, `in_a_mesh_no_number_is_given_twice` |
//! | a state that is older than what others know, unnoticed | **no** | [`Config::durable`], or [`Group::assume_rollback`] | `rollback.rs`, `what_a_clock_proves_stops_who_went_back_until_it_has_its_own_words_again`; `cbcast/tests/durable.rs` |
//! | two processes that go on from the same state | **no** | each is told by [`Output::Rollback`] once it hears of the other | `rollback.rs`, `its_own_words_prove_it_too_and_so_does_what_others_have_seen` |
//!
//! # Which link
//! | what has arrived | link |
//! |---|---|
//! | at a relay, over the connection of one of its members | [`Link::Member`] of that member |
//! | at a member, from its relay; at a relay, from another relay; from a log | [`Link::Relay`] |
//! | in a mesh, from another process, whoever has said it first | [`Link::Peer`] of the member that the process speaks for |
//!
//! # Who makes a snapshot
//! The host, right after [`Group::admit`] and before any other call; or any process that has delivered the newcomer's
//! *Joined*, at any time after. The newcomer needs everything behind that cut: on a relay the log from that position on,
//! in a mesh repair sees to it. The application's own state goes with it, as it was at that cut: drain
//! [`Group::poll_output`] before. A snapshot that does not know the newcomer is of no use to it.
//!
//! # What comes before what
//! A process that comes back must know all that it has promised: the numbers of its messages, what it has acknowledged
//! (others let go of that), its reports on leavers. With [`Config::durable`] the group keeps all promises back:
//!
//! 1. drain the outputs: deliveries change the application's state, at once;
//! 2. write down that state and the group in one transaction: an [`export`](crate::Group::export), or the
//!    [`changes_since`](crate::Group::changes_since) what was written last;
//! 3. once that is on disk, call [`persisted`](crate::Group::persisted), and drain again: now own messages and reports go out,
//!    and from the next heartbeat on what was delivered is acknowledged. A snapshot for a newcomer may be sent now.
//!
//! ```
//! use cbcast::{Config, Group, MemberId, Output, Snapshot, Time};
//!
//! let [ann, bob] = [0, 1].map(|ordinal| MemberId::new(0, ordinal));
//! let mut config = Config::mesh();
//! config.durable = true;
//! let mut group = Group::new(config.clone(), &Snapshot::fixed([ann, bob]), [ann])?;
//! let (base, mut stored) = (group.export()?, group.mark());
//! let mut journal = Vec::new();
//!
//! group.broadcast(Time::ZERO, ann, b"hello")?;
//! let deliveries = std::iter::from_fn(|| group.poll_output());
//! assert!(deliveries.into_iter().all(|output| output.sent().is_none()), "nothing goes out yet");
//!
//! // Into one file, and synced; now and then an export in place of it all.
//! let mark = group.mark();
//! journal.extend(group.changes_since(stored)?);
//! stored = mark;
//! group.persisted(mark);
//! let sent = group.poll_output();
//! assert!(sent.as_ref().and_then(Output::sent).is_some(), "now it does");
//!
//! // The process is killed, and comes back.
//! let mut again = Group::import(config, &base)?;
//! again.replay(&journal)?;
//! assert_eq!(again.delivered(ann), Some(1));
//! # let _ = stored;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A relay that stores what it delivers before anybody reads it needs none of that: its log is its state. Its clients
//! store what they say before they send it, and resume at a position (`examples/relay_resume.rs`).
//!
//! Who puts an old backup back all the same calls [`Group::assume_rollback`] before anything else; who does not know it
//! is told by [`Output::Rollback`] as soon as a clock or a message proves it. Either way the member says nothing more;
//! its messages that others still keep come back by repair.
//!
//! Behind a relay it goes on under its id ([`Group::go_on`]): the relay tells over a new link how much it has taken, and
//! nobody else can have more. In a mesh it joins anew and its host parts with the old member, since two things cannot be
//! mended there. Some process may hold, or may still receive, a message that it said before, of which nobody has told;
//! the same number given again would be two messages. And this process has acknowledged messages that others have let
//! go since (as [`Output::LetGo`] tells), and reported on leavers what the host has counted. So a mesh whose members are fixed
//! sets [`Config::durable`]; there, who is rolled back all the same reads on, and says nothing. A mesh whose only host is rolled
//! back goes on with the members it has; for others to join it begins anew.
//!
//! # Until when a leaver's address is kept
//! For as long as something comes from it: whoever was parted with may not know, and each thing that it says is answered
//! by a [`Control::Departed`]. Who said itself that it would leave, and has read its own *Left*, needs no address any
//! more. To forget an address earlier loses nothing, only that the departed learns it.
//!
//! [`Config::durable`]: crate::Config::durable
//! [`Config::mesh`]: crate::Config::mesh
//! [`Control::Departed`]: crate::Control::Departed
//! [`GapPolicy::Skip`]: crate::GapPolicy::Skip
//! [`Group::adopt`]: crate::Group::adopt
//! [`Group::admit`]: crate::Group::admit
//! [`Group::assume_rollback`]: crate::Group::assume_rollback
//! [`Group::go_on`]: crate::Group::go_on
//! [`Group::part`]: crate::Group::part
//! [`Group::poll_output`]: crate::Group::poll_output
//! [`Link::Member`]: crate::Link::Member
//! [`Link::Peer`]: crate::Link::Peer
//! [`Link::Relay`]: crate::Link::Relay
//! [`Output::Gap`]: crate::Output::Gap
//! [`Output::LetGo`]: crate::Output::LetGo
//! [`Output::Rollback`]: crate::Output::Rollback
//! [`Topology::Mesh`]: crate::Topology::Mesh
//! [`Topology::Relay`]: crate::Topology::Relay
