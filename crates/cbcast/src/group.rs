//! One process's view of a group: what it has delivered, what it holds back, and why.
//!
//! Invariants, between calls (checked in debug builds, see `group/invariants.rs`):
//! - no held message is deliverable;
//! - the next message of a member, if it is held, waits on exactly one missing cause and stands in that cause's
//!   list; later messages of the member lie unread;
//! - the frontier is the set of delivered messages that no other delivered message follows.
//!
//! Departures from [BSS91, section 5.1]: stamps carry direct dependencies instead of whole vectors (see
//! [`crate::message`]); several local members may share one group and so one clock.

mod changes;
mod departed;
mod expel;
mod flush;
mod holdback;
mod holds;
mod hosts;
mod inspect;
#[cfg(debug_assertions)]
mod invariants;
mod journal;
mod locals;
mod output;
mod outputs;
mod peers;
mod requests;
mod roam;
mod rollback;
mod skip;
mod timers;
mod upkeep;
mod waiting;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::clock::VectorClock;
use crate::config::{Config, ConfigError, Topology};
use crate::control::{Control, Packet};
use crate::error::{BroadcastError, MembershipError, Unit};
use crate::id::{MemberId, MessageId};
use crate::members::{Members, Slot};
use crate::message::{Kind, Message};
use crate::repair::Repair;
use crate::snapshot::{COUNT_MAX, Snapshot};
use crate::stability::Stability;
use crate::time::Time;

pub use crate::peer_stats::PeerStats;
use changes::ChangeJournal;
pub use changes::Mark;
pub use expel::{ExpelError, Expulsion};
pub use holds::Holds;
pub use inspect::{HeldMessage, Relation};
pub use output::{Link, Output, Transmit};
use outputs::Outputs;
pub(crate) use waiting::{CalledOff, Flush, Rollback};

/// Counts since the group was made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages delivered, local ones included.
    pub delivered: u64,
    /// Messages that had to be held back.
    pub held: u64,
    /// Copies of messages that were here already, or are of members that have left.
    pub duplicates: u64,
    /// Messages refused, by [`ReceiveError`](crate::ReceiveError).
    pub refused: u64,
    /// Held messages dropped because their sender has left.
    pub discarded: u64,
    /// Messages of hosts that announced somebody who cannot be, and changed nothing.
    pub void_announcements: u64,
    /// Repair requests made.
    pub wants: u64,
    /// Messages sent again because somebody asked for them.
    pub resent: u64,
    /// Messages skipped because nobody had them.
    pub skipped: u64,
    /// Messages of local members that were sent to everybody.
    pub broadcast: u64,
    /// Bytes of their packets.
    pub broadcast_bytes: u64,
}

/// Causal group broadcast for one process: a state machine without I/O.
///
/// A group has any number of *local* members: one in a client, all the hosted ones in a server. Local members
/// share what has been delivered here, and so one clock.
///
/// ```
/// use cbcast::{Config, Group, Link, MemberId, Output, Snapshot, Time};
///
/// let [ann, bob] = [MemberId::new(0, 0), MemberId::new(0, 1)];
/// let group = Snapshot::fixed([ann, bob]);
/// let mut at_ann = Group::new(Config::mesh(), &group, [ann])?;
/// let mut at_bob = Group::new(Config::mesh(), &group, [bob])?;
///
/// let now = Time::ZERO;
/// at_ann.broadcast(now, ann, b"hello")?;
/// while let Some(output) = at_ann.poll_output() {
///     if let Output::Transmit(transmit) = output {
///         at_bob.handle_packet(now, Link::Peer(ann), transmit.packet)?;
///     }
/// }
/// let Some(Output::Deliver { message, .. }) = at_bob.poll_output() else { panic!("nothing was missing") };
/// assert_eq!(message.payload(), "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Group {
    pub(crate) config: Config,
    pub(crate) members: Members,
    /// Slots of the members whose last delivered message may be in the frontier: see `Progress::in_frontier`.
    frontier: Vec<Slot>,
    /// Messages in the frontier behind which others of their sender were skipped: see `skip.rs`.
    passed: Vec<(Slot, u64)>,
    holdback_places: usize,
    pub(crate) held: usize,
    held_bytes: usize,
    /// Members of which a message is known to exist that has not been delivered.
    lagging: usize,
    repair: Repair,
    /// For somebody whom a host has admitted there was no room here.
    pub(crate) overfull: bool,
    /// Some messages have been heard of only from members that speak for themselves.
    mere_claims: bool,
    /// Stability, if [`Config::retain`] asks for it.
    pub(crate) stability: Option<Stability>,
    /// Journal of changes, if [`Config::durable`] asks for it.
    journal: Option<ChangeJournal>,
    /// Members that the local host is about to part with.
    pub(crate) flushes: Vec<Flush>,
    /// Flushes that not everybody knows to be called off.
    pub(crate) called_off: Vec<CalledOff>,
    /// Local members that others have parted with.
    departed: Vec<MemberId>,
    /// Local members of which others have more.
    pub(crate) rollbacks: Vec<Rollback>,
    /// By origin that is about to be expelled: how many messages of its members may be delivered.
    pub(crate) frozen_origins: BTreeMap<u32, VectorClock>,
    heartbeat_at: Option<Time>,
    /// The time that was told last.
    pub(crate) latest: Time,
    pub(crate) outputs: Outputs,
    pub(crate) stats: Stats,
    /// Counts for all that comes over [`Link::Relay`].
    relays: PeerStats,
    holds: Holds,
    /// Members whose next message may have become deliverable. Empty between calls.
    awake: Vec<Slot>,
    /// The dependencies on live members of the message that was read last.
    deps: Vec<(Slot, u64)>,
    /// Kept for its capacity.
    scratch: Vec<MessageId>,
}

impl Group {
    /// A process that starts from `snapshot`, with these local members. A local host (ordinal 0) admits.
    ///
    /// Local members that the snapshot does not know are ignored, as everybody else would ignore them; check
    /// with [`is_member`](Self::is_member). O(members).
    ///
    /// # Errors
    /// [`ConfigError`]: a setting that cannot be, or a snapshot beyond its limits.
    pub fn new(
        config: Config,
        snapshot: &Snapshot,
        locals: impl IntoIterator<Item = MemberId>,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let (listed, limit) =
            (snapshot.clock.len().max(snapshot.next_ordinals.len()), config.members_known_max());
        if listed > limit {
            return Err(ConfigError::SnapshotTooLarge { listed, limit });
        }
        let mut members = Members::default();
        for &(origin, next) in &snapshot.next_ordinals {
            members.set_next_ordinal(origin, next);
        }
        for (member, count) in snapshot.clock.iter() {
            members.admit(member, count.min(COUNT_MAX));
            members.set_next_ordinal(member.origin, member.ordinal.saturating_add(1));
        }
        let (mut frontier, mut passed) = (Vec::new(), Vec::new());
        for id in &snapshot.frontier {
            let slot = members.live_slot(id.member);
            let Some(slot) = slot.filter(|&slot| id.seq > 0 && id.seq <= members.delivered(slot)) else {
                continue;
            };
            if id.seq < members.delivered(slot) {
                passed.push((slot, id.seq));
            } else {
                let progress = members.progress_mut(slot);
                (progress.in_frontier, progress.listed) = (true, true);
                frontier.push(slot);
            }
        }
        for local in locals {
            if let Some(slot) = members.live_slot(local) {
                members.get_mut(slot).local = true;
            }
        }
        let journal = config.durable.then(ChangeJournal::default);
        for (slot, count) in members.counts() {
            members.set_persisted(slot, count);
        }
        let stability = config.retain.then(|| {
            let mut stability = Stability::new(config.durable);
            for (slot, member) in members.iter() {
                stability.add(slot, members.delivered(slot), !member.local);
            }
            stability
        });
        Ok(Self {
            repair: Repair::new(&config),
            overfull: false,
            mere_claims: false,
            // From the first call on.
            heartbeat_at: config.heartbeat.map(|_| Time::ZERO),
            latest: Time::ZERO,
            config,
            members,
            frontier,
            passed,
            holdback_places: 0,
            held: 0,
            held_bytes: 0,
            lagging: 0,
            stability,
            journal,
            flushes: Vec::new(),
            called_off: Vec::new(),
            departed: Vec::new(),
            rollbacks: Vec::new(),
            frozen_origins: BTreeMap::new(),
            outputs: Outputs::default(),
            stats: Stats::default(),
            relays: PeerStats::default(),
            holds: Holds::default(),
            awake: Vec::new(),
            deps: Vec::new(),
            scratch: Vec::new(),
        })
    }

    // Commands from the application.

    /// A local member says something: delivered here at once, and to be sent to everybody else.
    ///
    /// Cost: O(frontier log frontier + members heard from since the last one), one allocation for the packet, into
    /// which the payload is copied: it stands behind the stamp, and is shared from there on
    /// ([`Message::payload`]).
    ///
    /// # Errors
    /// [`BroadcastError`]; nothing changed.
    pub fn broadcast(
        &mut self,
        now: Time,
        from: MemberId,
        payload: &[u8],
    ) -> Result<MessageId, BroadcastError> {
        self.say(now, from, Kind::Data, payload)
    }

    /// The local host admits a new member, and says so (*Joined*, with `payload` for whatever the application
    /// tells about the newcomer). Take the [`snapshot`](Self::snapshot) for it right after this call.
    ///
    /// `local`: the new member lives here and speaks through [`broadcast`](Self::broadcast).
    ///
    /// # Errors
    /// [`MembershipError`]; nothing changed.
    pub fn admit(
        &mut self,
        now: Time,
        host: MemberId,
        local: bool,
        payload: &[u8],
    ) -> Result<MemberId, MembershipError> {
        self.local_host(host)?;
        if self.members.live() >= self.config.members_max {
            return Err(MembershipError::Full { limit: self.config.members_max });
        }
        let ordinal = self.members.next_ordinal(host.origin);
        if ordinal == u32::MAX {
            return Err(MembershipError::Full { limit: u32::MAX as usize });
        }
        let member = MemberId::new(host.origin, ordinal);
        self.say(now, host, Kind::Joined(member), payload)?;
        let slot = self.members.live_slot(member).expect("its Joined has been delivered");
        if local {
            self.speaks_here(slot);
        }
        Ok(member)
    }

    /// Somebody who has just been admitted lives here.
    fn speaks_here(&mut self, slot: Slot) {
        self.members.get_mut(slot).local = true;
        if let Some(stability) = &mut self.stability {
            stability.speaks_here(slot);
        }
    }

    /// The local host parts with a member that it had admitted, and says so (*Left*, with `payload` for whatever the
    /// application tells about it): at once where all that the member has said came through here
    /// ([`Topology::Relay`]), and what is still held of it is dropped.
    ///
    /// In a [`Topology::Mesh`] the last message of the member may have reached only one, so a *flush* begins: every
    /// member that stays is asked to take no more from it and to report what it has; once all have, of everybody
    /// who is about to leave, and the host has delivered as much, *Left* is said by itself. Until then it waits for
    /// all who stay: part with those, too, who do not come back. One host does all parting of a mesh: flushes of two
    /// hosts at the same time do not know of each other. Where messages are given up
    /// ([`GapPolicy::Skip`](crate::GapPolicy::Skip)) part with one at a time: of two who go at once, a message of one
    /// may else be delivered although a cause of it, said by the other, is nowhere.
    ///
    /// Returns the *Left*, or `None` where a flush has begun, or is under way. O(members).
    ///
    /// # Errors
    /// [`MembershipError`]; nothing changed.
    pub fn part(
        &mut self,
        now: Time,
        host: MemberId,
        member: MemberId,
        payload: &[u8],
    ) -> Result<Option<MessageId>, MembershipError> {
        self.local_host(host)?;
        let slot = self.members.live_slot(member);
        let slot = slot.filter(|_| member.origin == host.origin && member != host);
        let slot = slot.ok_or(MembershipError::NotAMember { member })?;
        match self.config.topology {
            Topology::Relay => {
                let last_seq = self.members.delivered(slot);
                Ok(Some(self.say(now, host, Kind::Left { member, last_seq }, payload)?))
            }
            Topology::Mesh => self.begin_flush(now, host, slot, payload).map(|()| None),
        }
    }

    fn local_host(&self, host: MemberId) -> Result<(), MembershipError> {
        let local = host.is_host() && self.is_local(host);
        if local { Ok(()) } else { Err(MembershipError::NotHost) }
    }

    /// The BSS send rule, with direct dependencies [BSS91, section 5.1, step 1; PRS97]: number the message,
    /// attach what has been delivered, deliver it here.
    fn say(
        &mut self,
        now: Time,
        from: MemberId,
        kind: Kind,
        payload: &[u8],
    ) -> Result<MessageId, BroadcastError> {
        self.tell_time(now);
        let slot = self.members.live_slot(from).filter(|&slot| self.members.get(slot).local);
        if !(self.departed.is_empty() && self.rollbacks.is_empty()) {
            self.may_speak(from)?;
        }
        let slot = slot.ok_or(BroadcastError::NotLocal { member: from })?;
        let is_data = matches!(kind, Kind::Data | Kind::Signed(_));
        if is_data && self.members.get(slot).frozen.is_some() {
            return Err(BroadcastError::Leaving { member: from });
        }
        if is_data {
            self.flow_control(from, slot, payload.len())?;
            self.room_in_journal()
                .map_err(|_| BroadcastError::Unpersisted { limit: self.config.unpersisted_max })?;
        }
        let id = MessageId::new(from, self.members.delivered(slot) + 1);
        let mut deps = core::mem::take(&mut self.scratch);
        deps.clear();
        self.prune_frontier();
        deps.extend(self.frontier_slots().filter(|&s| s != slot).map(|s| self.last_of(s)));
        deps.extend(self.passed().filter(|passed| passed.member != from));
        deps.sort_unstable();
        let message = Message::new(id, kind, &deps, payload);
        self.scratch = deps;
        let message = message?;
        let (length, limit) = (message.packet().len(), self.config.packet_bytes_max);
        if length > limit {
            return Err(BroadcastError::TooLong { length, limit });
        }
        if self.journal.is_none() {
            self.transmit(None, Packet::Message(message.clone()));
        }
        let met = self.read_deps(&message);
        debug_assert!(met.is_ok(), "what is in the frontier has been delivered");
        self.deliver(now, slot, message, None);
        if let Some(journal) = &mut self.journal {
            journal.promise_last();
        }
        self.release(now);
        Ok(id)
    }

    /// Too much that is unstable blocks its sender, or buffers would grow without bound. Announcements of hosts are
    /// few, and let through.
    fn flow_control(&self, member: MemberId, slot: Slot, length: usize) -> Result<(), BroadcastError> {
        let Some(stability) = &self.stability else { return Ok(()) };
        let (messages, bytes) = stability.unstable(slot);
        let (limit, unit) = if messages >= self.config.unstable_max {
            (self.config.unstable_max, Unit::Messages)
        } else if messages > 0 && bytes + length > self.config.unstable_bytes_max {
            (self.config.unstable_bytes_max, Unit::Bytes)
        } else {
            return Ok(());
        };
        Err(BroadcastError::WouldBlock { member, limit, unit, holder: self.stability_holder(member) })
    }

    /// Takes back a message that a local member broadcast earlier, before this group was made from a snapshot
    /// that does not contain it. It is delivered, and not sent. Call it in the order of the numbers, before
    /// anything else happens; returns whether the message fits there (the next of a local member, all its causes
    /// within what has been delivered).
    pub fn readopt(&mut self, now: Time, message: Message) -> bool {
        let id = message.id();
        let slot = self.members.live_slot(id.member).filter(|&slot| self.members.get(slot).local);
        let next = slot.filter(|&slot| self.members.delivered(slot) + 1 == id.seq);
        match next {
            Some(slot) if self.read_deps(&message).is_ok() => {
                self.deliver(now, slot, message, None);
                self.release(now);
                true
            }
            _ => false,
        }
    }

    // What the caller does next.

    fn transmit(&mut self, to: Option<MemberId>, packet: Packet) {
        self.count_sent(to, &packet);
        self.outputs.push_back(Output::Transmit(Transmit { to, packet }));
    }

    fn tell(&mut self, to: MemberId, control: Control) {
        self.transmit(Some(to), Packet::Control(control));
    }

    /// The next thing to do, in the order in which things were decided.
    #[inline]
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        #[cfg(debug_assertions)]
        if output.is_none() {
            self.check_invariants();
        }
        output
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout), if ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.repair.deadline().into_iter().chain(self.heartbeat_at).min()
    }
}
