//! Causally ordered group broadcast, as a pure state machine.
//!
//! If the author of *b* had delivered *a* before sending *b*, nobody delivers *b* before *a*: no one sees an
//! answer before the question. This crate is the CBCAST protocol of Birman, Schiper and Stephenson \[BSS91\]
//! without any I/O: no socket, clock, thread, task or random source of its own, `no_std` with `alloc`. You bring
//! the transport: whatever it loses, delays, repeats or reorders, every member delivers every message once and
//! in causal order.
//!
//! # The rule
//! ```text
//!    Ann         Bob         Eve
//!     ●── lunch? ─▸│ ╲         │      a: Ann's first, depends on nothing
//!     │           │   ╲       │
//!     │◂── yes ───●────╲─────▸○      b: Bob's first, depends on a. At Eve it is held back…
//!     │           │     ╲    ╎
//!     │           │      ╲──▸◂      …until a has been delivered; then both are, a first
//! ```
//! A message carries a *stamp*: its number among its sender's, and the messages that its author had delivered last
//! on each branch (its *direct dependencies*, the author's *frontier*). It is delivered once it is the next one of
//! its sender and all its dependencies have been delivered; until then it is *held back*. That decides exactly as the
//! vector of [BSS91, section 5.1] would, whose transitive reduction the stamp is \[PRS97\]; but its size follows
//! how much is said at the same time, not how many members there are.
//!
//! # The API
//! A [`Group`] is one process's view of a group. Commands and what the world did go in; [`Output`]s come out.
//!
//! ```
//! use cbcast::{Config, Group, Link, MemberId, MessageId, Output, Packet, Snapshot, Time};
//!
//! let [ann, bob, eve] = [0, 1, 2].map(|n| MemberId::new(0, n));
//! let everybody = Snapshot::fixed([ann, bob, eve]);
//! let start = |me| Group::new(Config::mesh(), &everybody, [me]);
//! let (mut at_ann, mut at_bob, mut at_eve) = (start(ann)?, start(bob)?, start(eve)?);
//! let now = Time::ZERO;
//!
//! /// Does what the group says: what is to be sent, and what is to be read.
//! fn drain(group: &mut Group) -> (Vec<Packet>, Vec<String>) {
//!     let (mut sent, mut read) = (Vec::new(), Vec::new());
//!     while let Some(output) = group.poll_output() {
//!         match output {
//!             Output::Transmit(transmit) => sent.push(transmit.packet),
//!             Output::Deliver { message, .. } => {
//!                 read.push(String::from_utf8_lossy(&message.payload()).into_owned());
//!             }
//!             _ => {}
//!         }
//!     }
//!     (sent, read)
//! }
//!
//! let asked: MessageId = at_ann.broadcast(now, ann, b"lunch?")?;
//! let question = drain(&mut at_ann).0.remove(0);
//! at_bob.handle_packet(now, Link::Peer(ann), question.clone())?;
//! assert_eq!(drain(&mut at_bob).1, ["lunch?"]);
//! let answered = at_bob.broadcast(now, bob, b"yes")?;
//! let answer = drain(&mut at_bob).0.remove(0);
//!
//! // At Eve the answer arrives first.
//! at_eve.handle_packet(now, Link::Peer(bob), answer)?;
//! assert!(drain(&mut at_eve).1.is_empty());
//! assert_eq!(at_eve.waits_for(answered), Some(asked));
//! at_eve.handle_packet(now, Link::Peer(ann), question)?;
//! assert_eq!(drain(&mut at_eve).1, ["lunch?", "yes"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Packet`] is a message or a [`Control`]: [`Packet::into_bytes`] is what goes over a link, [`Packet::decode`] takes
//! it back and refuses whatever is none. Where only messages are kept or passed on, as by a relay with a log, that is
//! [`Message::packet`] and [`Message::decode`].
//!
//! # The contract
//! - After every call that takes `&mut`, drain [`Group::poll_output`] and do what it says, in order.
//! - Call [`Group::handle_timeout`] at [`Group::poll_timeout`]. Early, late or repeated calls are harmless.
//! - Time is what you say it is ([`Time`]); it drives repair, never order.
//! - What arrives is told apart by the [`Link`] that it came over: who may speak for whom is your transport's
//!   knowledge, and the group refuses the rest.
//! - All that is to be sent is one output, [`Output::Transmit`].
//! - A refusal is a named error and changes nothing that orders. Nothing that arrives can make a group panic or grow
//!   beyond its [`Config`].
//! - Same calls, same [`Config::seed`]: same outputs. A run can be repeated exactly.
//!
//! # Two ways to connect
//! *A relay* (a server): every member sends to one process, which delivers, and passes on what it has delivered, in
//! that order, over links that keep it ([`Config::relay`], there and here). The relay admits and parts with members ([`Group::admit`], [`Group::part`])
//! and needs neither heartbeats nor retention: its log answers whoever lacks something. Clients that cannot stamp
//! may live in the relay's group as further local members.
//!
//! *A mesh*: everybody sends to everybody, over anything. [`Config::mesh`] sets [`Config::heartbeat`] (lost tails are
//! noticed, and it is how deliveries are acknowledged), [`Config::retain`] (messages are kept until every member has
//! delivered them) and [`Topology::Mesh`] (parting is by a flush). Members are fixed ([`Snapshot::fixed`]), or one host
//! admits them and parts with them. `examples/udp_mesh.rs` is one, of processes that lose a fifth of their packets.
//! Several members may live in one process: its links then speak for one of them, always the same, and what is sent to
//! another of them before the others know ([`Control::Locals`]) goes to the same process.
//!
//! *Several relays*, each with a host of its own origin and a log: every one delivers all of the group's messages, stores
//! them, and then passes on what is of its own origin. Another comes late by a sponsor ([`Group::sponsor`]; set
//! [`Config::early_max`]); what is lost between them is repaired from logs by a [`Cut`]; a member goes from one to another with
//! what it has delivered ([`Group::adopt`], [`Group::list_beyond`]); those that are destroyed are expelled together
//! ([`Group::freeze`], [`Group::expel`]).
//!
//! There may be relays in a row or a ring, too, and clients that read two: [`guide`] says what is safe and why, which
//! [`Link`] is which, and what comes before what where a process stores its state.
//!
//! # What it does beside ordering
//! | | |
//! |---|---|
//! | repair | what is missing is known exactly ([`Group::missing`]) and asked for after [`Config::repair_delay`], member by member: its sender first, then in turn who has it and everybody, with seeded jittered pauses that a clock of who has it cuts short; the original bytes are sent again |
//! | joining | a [`Snapshot`] is all that a newcomer needs; nobody sees a word of it before its *Joined* |
//! | leaving | *Left* follows all that the departed has said; its entries are dropped at once, so clocks follow today's members. Who was parted with and speaks on is told ([`Output::Departed`]); a flush can be called off ([`Group::call_off_parting`]) |
//! | stability | [`Output::Stable`]: every member has delivered so much. CRDTs may compact, buffers are emptied, [`Group::stability_holder`] names who holds it up |
//! | flow control | beyond [`Config::unstable_max`] a broadcast is refused ([`BroadcastError::WouldBlock`]) and says whom it waits for |
//! | figures | [`Group::stats`] for all, [`Group::peer_stats`] for each process at the other end of a link, [`Group::holds`] for how long messages waited |
//! | events | with the feature `tracing`: `trace` for what is held, released and comes twice; `debug` for requests, answers, refusals, who comes and who leaves; `warn` for what somebody should look at, such as gaps and a rollback |
//! | why | [`Group::waits_for`] and [`Group::root_cause`] say why a message is held; [`Group::relation`] whether one is before, after or concurrent to another |
//! | gaps | what nobody has is waited for, or skipped visibly ([`GapPolicy`]), after three requests at least |
//! | restarts | a process that went back to an older state is told ([`Output::Rollback`]) and gets its own messages back; behind a relay it goes on ([`Group::go_on`]), in a mesh it joins anew; with [`Config::durable`] it has promised nothing that it has not stored |
//! | persistence | [`Group::export`] and [`Group::import`]: everything, what is held back included |
//!
//! # What it costs
//! *d* is the number of direct dependencies of a message (one or two in a chat, at any number of members), *n* the
//! number of members.
//!
//! | call | cost |
//! |---|---|
//! | [`Message::decode`] | O(d); no allocation |
//! | [`Group::handle_message`] | O(d), and no allocation if it is deliverable at once (but for the counts of a link, with its first message); a held one takes a place in its sender's ring (64 bytes beside the packet) and is looked at again once for each dependency that was missing |
//! | [`Group::poll_output`] | O(d) for each message that it releases; no recursion, however long the chain |
//! | [`Group::broadcast`] | O(frontier log frontier), one allocation |
//! | [`Group::handle_clock`], [`Group::clock`], [`Group::snapshot`] | O(n log n) |
//! | [`Group::missing`], [`Group::held`] | O(n log n + places in the hold-back queue) |
//! | [`Group::root_cause`] | O(messages held) |
//! | memory | what is held and retained, and O(n) beside; O(n²) counters where `retain` is on |
//!
//! `docs/evidence/benchmarks.md` of the repository has figures, and textbook BSS beside them.
//!
//! # Limits and what happens at them
//! | limit | outcome |
//! |---|---|
//! | [`Config::holdback_max`], [`Config::holdback_bytes_max`], [`Config::ahead_bytes_max`] | [`ReceiveError::HoldbackFull`]: the same bytes again, later; repair asks for what can be delivered first |
//! | [`Config::ahead_max`] | [`ReceiveError::TooFarAhead`], likewise |
//! | [`Config::packet_bytes_max`] | [`ReceiveError::TooLong`], [`BroadcastError::TooLong`] |
//! | [`Config::members_max`] | [`MembershipError::Full`]: whom hosts elsewhere admit counts all the same |
//! | [`Config::members_known_max`] | [`Output::MembersFull`]: the newcomer's messages are not delivered here; [`ReceiveError::TooManyDependencies`] |
//! | [`Config::unstable_max`], [`Config::unstable_bytes_max`] | [`BroadcastError::WouldBlock`] |
//! | [`Config::repair_ranges_max`] | a request names so many ranges; the others have their turn in the next |
//!
//! # What it is not
//! Not agreement: concurrent messages may be delivered in another order by another member.
//!
//! # Whom it trusts
//! Packets are not signed: whatever comes over a link counts as said by whom it names. So a link must be authenticated,
//! and the [`Link`] be the one that it is.
//! - Over [`Link::Member`] one member speaks for itself. It can lie about its own past: if it leaves dependencies out its
//!   own message is seen too early, and nobody else's.
//! - Over [`Link::Relay`] and [`Link::Peer`] anything may be passed on, and everything is believed. Any process of a
//!   mesh can speak for any other: it can say *Left* for the host, and so have anybody dropped. Let only those into a
//!   mesh whom all of it trusts.
//!
//! Links may lose, repeat, delay and reorder, but what arrives must be what was sent. What cannot be is refused; what
//! was changed into something else that can be is not noticed, and orders wrongly. Where the transport does not see to
//! it (UDP sums 16 bits up, if at all) send [`Packet::into_checked_bytes`]. That is for accidents: whoever changes
//! packets on purpose is kept out by authenticated links alone.
//!
//! References are spelled out in `docs/REFERENCES.md` of the repository.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod clock;
mod config;
mod control;
mod cut;
mod error;
mod group;
pub mod guide;
mod host_stability;
mod id;
mod index;
mod members;
pub mod message;
mod peer_stats;
mod persist;
mod repair;
mod ring;
mod slot;
mod snapshot;
mod stability;
mod time;
mod trace;
pub mod wire;

pub use clock::VectorClock;
pub use config::{Config, ConfigError, GapPolicy, Topology};
pub use control::{Control, Packet};
pub use cut::Cut;
pub use error::{BroadcastError, MembershipError, ReceiveError, RollbackError, Unit};
pub use group::{
    ExpelError, Expulsion, Group, HeldMessage, Holds, Link, Mark, Output, PeerStats, Relation, Stats,
    Transmit,
};
pub use host_stability::HostStability;
pub use id::{MemberId, MessageId, ParseIdError};
pub use message::{DecodeError, Kind, Message, Signature};
pub use persist::{ExportError, ImportError};
pub use repair::MissingRange;
pub use snapshot::Snapshot;
pub use time::Time;
pub use wire::WireError;
