//! One process's view of a group: what it has delivered, what it holds back, and why.
//!
//! Invariants, between calls:
//! - no held message is deliverable;
//! - the next message of a member, if it is held, waits on exactly one missing cause and stands in that cause's
//!   list; later messages of the member lie unread;
//! - the frontier is the set of delivered messages that no other delivered message follows.
//!
//! Departures from [BSS91, section 5.1]: stamps carry direct dependencies instead of whole vectors (see
//! [`crate::message`]); several local members may share one group and so one clock.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use bytes::Bytes;
use core::cmp::Reverse;
use core::time::Duration;

use crate::clock::VectorClock;
use crate::config::{Config, GapPolicy};
use crate::control::{Control, Packet};
use crate::error::{BroadcastError, MembershipError, ReceiveError};
use crate::id::{MemberId, MessageId};
use crate::members::{Held, Member, Members, NONE, Slot, Standing, Wait};
use crate::message::{DepCursor, Kind, Message};
use crate::repair::{MissingRange, Repair, Round};
use crate::snapshot::{COUNT_MAX, Snapshot};
use crate::stability::Stability;
use crate::time::Time;

/// Who is at the other end of the link that a message came over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Link {
    /// A client that speaks for this member and nobody else, and that hears of the group through here only: its own
    /// messages, no *Joined*, no *Left*, and nothing that depends on what has not been delivered here.
    Member(MemberId),
    /// A process that passes on what others have said: a relay, a peer that repairs.
    Relay,
    /// A process of the group in a mesh: it speaks for this member, passes on what others have said, and its
    /// clock acknowledges.
    Peer(MemberId),
}

/// What the caller does next. Drain [`Group::poll_output`] after every call that takes `&mut`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// Send this to the others: a local member has broadcast it. On a relay that appends every delivery to a
    /// log which the others read, the [`Deliver`](Self::Deliver) that follows is enough.
    Send(Message),
    /// Hand this to the application: all its causes have been.
    Deliver {
        /// The message.
        message: Message,
        /// Since when it had been held back; `None` if it was deliverable on arrival.
        held_since: Option<Time>,
    },
    /// A message arrived before a cause of it, and is held back. For information.
    Held {
        /// The message.
        id: MessageId,
        /// A cause that has not been delivered.
        waits_for: MessageId,
    },
    /// Send this to one member, or to everybody: a clock, a repair request. On a relay, send it to the relay.
    Control {
        /// To whom; `None`: everybody.
        to: Option<MemberId>,
        /// What.
        control: Control,
    },
    /// Send this message again, to one member that has asked for it.
    Resend {
        /// To whom.
        to: MemberId,
        /// The message, as its author wrote it.
        message: Message,
    },
    /// More is stable: of each member listed, every member has delivered all messages up to this number. (Messages
    /// concurrent with them may still be on their way here; see `examples/shared_list.rs` for what a CRDT does.)
    Stable(VectorClock),
    /// Delivered in place of messages that nobody has ([`GapPolicy::Skip`]): they count as delivered.
    Gap(MissingRange),
}

/// Messages sent again in answer to one request.
const RESEND_MAX: usize = 256;

/// A member that the local host is about to part with, in a mesh.
#[derive(Clone, Debug)]
pub(crate) struct Flush {
    pub(crate) host: MemberId,
    pub(crate) member: MemberId,
    /// The greatest count that anybody has reported.
    pub(crate) count: u64,
    pub(crate) reported: Vec<MemberId>,
}

/// A message that is held back. See [`Group::held`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HeldMessage {
    /// The message.
    pub id: MessageId,
    /// When it arrived.
    pub since: Time,
    /// A cause of it that has not been delivered: its sender's message before it, or a dependency.
    pub waits_for: MessageId,
}

/// How two messages are related by happened-before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Relation {
    /// They are one message.
    Same,
    /// The first was seen by the author of the second.
    Before,
    /// The second was seen by the author of the first.
    After,
    /// Neither author had seen the other's.
    Concurrent,
}

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
    /// Messages refused, by [`ReceiveError`].
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
/// let mut at_ann = Group::new(Config::default(), &group, [ann]);
/// let mut at_bob = Group::new(Config::default(), &group, [bob]);
///
/// let now = Time::ZERO;
/// at_ann.broadcast(now, ann, b"hello")?;
/// while let Some(output) = at_ann.poll_output() {
///     if let Output::Send(message) = output {
///         at_bob.handle_message(now, Link::Peer(ann), message)?;
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
    /// Slots of the members whose last delivered message is in the frontier.
    frontier: Vec<Slot>,
    holdback_places: usize,
    pub(crate) held: usize,
    held_bytes: usize,
    /// Members of which a message is known to exist that has not been delivered.
    lagging: usize,
    repair: Repair,
    /// Where [`Config::retain`] asks for it.
    pub(crate) stability: Option<Stability>,
    /// Whom the local host is about to part with.
    pub(crate) flushes: Vec<Flush>,
    heartbeat_at: Option<Time>,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) stats: Stats,
    /// Members whose next message may have become deliverable. Empty between calls.
    awake: Vec<Slot>,
    /// Kept for its capacity.
    scratch: Vec<MessageId>,
}

impl Group {
    /// A process that starts from `snapshot`, with these local members. A local host (ordinal 0) admits.
    ///
    /// Local members that the snapshot does not know are ignored, as everybody else would ignore them; check
    /// with [`is_member`](Self::is_member). O(members).
    #[must_use]
    pub fn new(config: Config, snapshot: &Snapshot, locals: impl IntoIterator<Item = MemberId>) -> Self {
        let mut members = Members::default();
        for &(origin, next) in &snapshot.next_ordinals {
            members.set_next_ordinal(origin, next);
        }
        for (member, count) in snapshot.clock.iter() {
            members.admit(member, count.min(COUNT_MAX));
            members.set_next_ordinal(member.origin, member.ordinal.saturating_add(1));
        }
        let mut frontier = Vec::new();
        for id in &snapshot.frontier {
            let slot = members.live_slot(id.member);
            if let Some(slot) = slot.filter(|&slot| members.delivered(slot) == id.seq) {
                members.frontier_at[slot as usize] = frontier.len() as u32;
                frontier.push(slot);
            }
        }
        for local in locals {
            if let Some(slot) = members.live_slot(local) {
                members.get_mut(slot).local = true;
            }
        }
        let stability = config.retain.then(|| {
            let mut stability = Stability::default();
            for (slot, member) in members.iter() {
                stability.add(slot, members.delivered(slot), !member.local);
            }
            stability
        });
        Self {
            repair: Repair::new(&config),
            // From the first call on.
            heartbeat_at: config.heartbeat.map(|_| Time::ZERO),
            config,
            members,
            frontier,
            holdback_places: 0,
            held: 0,
            held_bytes: 0,
            lagging: 0,
            stability,
            flushes: Vec::new(),
            outputs: VecDeque::new(),
            stats: Stats::default(),
            awake: Vec::new(),
            scratch: Vec::new(),
        }
    }

    // Commands from the application.

    /// A local member says something: delivered here at once, and to be sent to everybody else.
    ///
    /// Cost: O(frontier log frontier), one allocation for the packet.
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
        self.members.get_mut(slot).local = local;
        if let Some(stability) = &mut self.stability {
            stability.add(slot, 0, !local);
        }
        Ok(member)
    }

    /// The local host parts with a member that it had admitted, and says so (*Left*). What has been delivered of
    /// the member is in the past of that message; what is still held of it is dropped.
    ///
    /// # Errors
    /// [`MembershipError`]; nothing changed.
    pub fn part(
        &mut self,
        now: Time,
        host: MemberId,
        member: MemberId,
        payload: &[u8],
    ) -> Result<MessageId, MembershipError> {
        self.local_host(host)?;
        let slot = self.members.live_slot(member);
        let slot = slot.filter(|_| member.origin == host.origin && member != host);
        let last_seq = self.members.delivered(slot.ok_or(MembershipError::NotAMember { member })?);
        Ok(self.say(now, host, Kind::Left { member, last_seq }, payload)?)
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
        let slot = self.members.live_slot(from).filter(|&slot| self.members.get(slot).local);
        let slot = slot.ok_or(BroadcastError::NotLocal { member: from })?;
        if kind == Kind::Data {
            self.flow_control(from, slot, payload.len())?;
        }
        let id = MessageId::new(from, self.members.delivered(slot) + 1);
        let mut deps = core::mem::take(&mut self.scratch);
        deps.clear();
        deps.extend(self.frontier.iter().filter(|&&s| s != slot).map(|&s| self.last_of(s)));
        deps.sort_unstable();
        let message = Message::new(id, kind, &deps, payload);
        self.scratch = deps;
        let message = message?;
        let (length, limit) = (message.packet().len(), self.config.packet_bytes_max);
        if length > limit {
            return Err(BroadcastError::TooLong { length, limit });
        }
        self.outputs.push_back(Output::Send(message.clone()));
        self.deliver(now, slot, message, None);
        self.release(now);
        Ok(id)
    }

    /// Too much that is unstable blocks its sender, or buffers would grow without bound. Announcements of hosts are
    /// few, and let through.
    fn flow_control(&self, member: MemberId, slot: Slot, length: usize) -> Result<(), BroadcastError> {
        let Some(stability) = &self.stability else { return Ok(()) };
        let (messages, bytes) = stability.unstable(slot);
        let (limit, unit) = if messages >= self.config.unstable_max {
            (self.config.unstable_max, "messages")
        } else if messages > 0 && bytes + length > self.config.unstable_bytes_max {
            (self.config.unstable_bytes_max, "bytes")
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
            Some(slot) if self.first_unmet(&message, message.dep_cursor()).is_ok() => {
                self.deliver(now, slot, message, None);
                self.release(now);
                true
            }
            _ => false,
        }
    }

    // What the world did.

    /// A message has arrived. It is delivered if all its causes have been, and held back otherwise; a copy of
    /// one that is here already is counted and dropped.
    ///
    /// Cost: O(dependencies), and no allocation where it is deliverable at once; where its delivery releases
    /// others, as much for each of them.
    ///
    /// # Errors
    /// [`ReceiveError`]; nothing changed but the count of refusals.
    pub fn handle_message(&mut self, now: Time, link: Link, message: Message) -> Result<(), ReceiveError> {
        let taken = self.take(now, link, message);
        if taken.is_err() {
            self.stats.refused += 1;
        }
        taken
    }

    #[inline]
    fn take(&mut self, now: Time, link: Link, message: Message) -> Result<(), ReceiveError> {
        let id = message.id();
        let (length, limit) = (message.packet().len(), self.config.packet_bytes_max);
        if length > limit {
            return Err(ReceiveError::TooLong { id, length, limit });
        }
        if let Link::Member(speaker) = link {
            if id.member != speaker {
                return Err(ReceiveError::NotTheirs { member: id.member });
            }
            if !message.is_data() {
                return Err(ReceiveError::NotHost { id });
            }
        }
        let slot = match self.members.standing(id.member) {
            Standing::Live(slot) => slot,
            Standing::Early(_) => return self.hold_early(now, link, message),
            Standing::Forgotten => {
                self.stats.duplicates += 1;
                return Ok(());
            }
        };
        let delivered = self.members.delivered(slot);
        if id.seq <= delivered {
            self.stats.duplicates += 1;
            return Ok(());
        }
        let member = self.members.get(slot);
        if member.local {
            return Err(ReceiveError::OwnFuture { id });
        }
        let ahead = id.seq - delivered - 1;
        if (ahead as usize) < member.ring.len() && member.ring[ahead as usize].is_some() {
            self.stats.duplicates += 1;
            return Ok(());
        }
        if ahead == 0 && self.members.get(slot).frozen.is_none() && message.is_data() {
            match self.first_unmet(&message, message.dep_cursor()) {
                // The usual case. What has been delivered here can be; there is nothing more to check.
                Ok(count) if count <= self.config.members_max => {
                    self.deliver(now, slot, message, None);
                    self.release(now);
                    return Ok(());
                }
                _ => {}
            }
        }
        self.take_unusual(now, link, slot, message)
    }

    /// A message of a live member that is not delivered at once, or is more than data.
    #[inline(never)]
    fn take_unusual(
        &mut self,
        now: Time,
        link: Link,
        slot: Slot,
        message: Message,
    ) -> Result<(), ReceiveError> {
        let id = message.id();
        let ahead = id.seq - self.members.delivered(slot) - 1;
        self.check_deps(link, &message)?;
        if ahead > 0 {
            self.room_for(ahead + 1, ahead, slot, &message)?;
        }
        let farewell = match message.kind() {
            Kind::Left { member, last_seq } => self.members.live_slot(member).zip(Some(last_seq)),
            _ => None,
        };
        if ahead == 0 {
            match self.first_unmet(&message, message.dep_cursor()) {
                Ok(_) if self.members.get(slot).frozen.is_some_and(|count| id.seq > count) => {
                    self.room_for(1, ahead, slot, &message)?;
                    let waits_for = self.next_of_host(id.member);
                    self.hold(now, slot, 0, message, waits_for);
                }
                Ok(_) => self.deliver(now, slot, message, None),
                Err(wait) => {
                    self.room_for(1, ahead, slot, &message)?;
                    let waits_for = MessageId::new(wait.0, wait.1);
                    self.hold(now, slot, 0, message, waits_for);
                    self.wait(now, slot, wait);
                }
            }
        } else {
            self.hold(now, slot, ahead, message, MessageId::new(id.member, id.seq - 1));
        }
        if let Some((departing, last_seq)) = farewell {
            // So many there are: what a flush has frozen up to there may go.
            self.thaw(departing, last_seq);
        }
        self.release(now);
        Ok(())
    }

    /// The next message of the host that admitted `member`, which says what becomes of it.
    fn next_of_host(&self, member: MemberId) -> MessageId {
        let host = MemberId::host(member.origin);
        MessageId::new(host, self.delivered(host).unwrap_or(0) + 1)
    }

    /// A message of somebody whose *Joined* has not been delivered here.
    #[cold]
    fn hold_early(&mut self, now: Time, link: Link, message: Message) -> Result<(), ReceiveError> {
        let id = message.id();
        if self.hosts(id.member.origin) {
            // Ordinals of this origin are given out here: nobody has this one.
            return Err(ReceiveError::NotTheirs { member: id.member });
        }
        if !self.can_be_admitted(id.member) {
            return Err(ReceiveError::UnknownOrigin { member: id.member });
        }
        self.check_deps(link, &message)?;
        let ahead = id.seq - 1;
        if let Standing::Early(Some(slot)) = self.members.standing(id.member) {
            if self.members.get(slot).ring.get(ahead as usize).is_some_and(Option::is_some) {
                self.stats.duplicates += 1;
                return Ok(());
            }
            self.room_for(ahead + 1, ahead, slot, &message)?;
        } else {
            self.room_for(ahead + 1, ahead, NONE, &message)?;
        }
        let slot = self.members.early_slot(id.member);
        // What makes it live is the Joined of its host, whose number is not known yet.
        let waits_for = self.next_of_host(id.member);
        self.hold(now, slot, ahead, message, waits_for);
        Ok(())
    }

    /// Refuses dependencies that cannot be, before anything is changed.
    fn check_deps(&self, link: Link, message: &Message) -> Result<(), ReceiveError> {
        let id = message.id();
        let mut cursor = message.dep_cursor();
        let mut count = 0;
        while let Some(dependency) = message.next_dep(&mut cursor) {
            count += 1;
            if count > self.config.members_max {
                return Err(ReceiveError::TooManyDependencies { id, limit: self.config.members_max });
            }
            let unmet = match self.members.standing(dependency.member) {
                Standing::Live(slot) if dependency.seq <= self.members.delivered(slot) => continue,
                Standing::Forgotten => continue,
                Standing::Live(slot) => self.members.get(slot).local,
                Standing::Early(_) => !self.can_be_admitted(dependency.member),
            };
            // Members of an origin that is hosted here are heard of through here only, so what has not been
            // delivered here cannot have been seen by the other end.
            let through_here = matches!(link, Link::Member(_)) && self.hosts(dependency.member.origin);
            if unmet || through_here {
                return Err(ReceiveError::FromTheFuture { id, dependency });
            }
        }
        Ok(())
    }

    /// Whether somebody who is not known may be announced yet: its host is a member.
    fn can_be_admitted(&self, member: MemberId) -> bool {
        !member.is_host() && self.is_member(MemberId::host(member.origin))
    }

    fn hosts(&self, origin: u32) -> bool {
        self.is_local(MemberId::host(origin))
    }

    /// Refuses what there is no room for. `slot` may be `NONE`.
    fn room_for(&self, places: u64, ahead: u64, slot: Slot, message: &Message) -> Result<(), ReceiveError> {
        let limit = self.config.ahead_max;
        if ahead > limit {
            return Err(ReceiveError::TooFarAhead { id: message.id(), limit });
        }
        let taken = if slot == NONE { 0 } else { self.members.get(slot).ring.len() };
        let more = (places as usize).saturating_sub(taken);
        let limit = self.config.holdback_max;
        if self.holdback_places + more > limit {
            return Err(ReceiveError::HoldbackFull { limit, unit: "messages" });
        }
        let limit = self.config.holdback_bytes_max;
        if self.held_bytes + message.packet().len() > limit {
            return Err(ReceiveError::HoldbackFull { limit, unit: "bytes" });
        }
        Ok(())
    }

    fn hold(&mut self, now: Time, slot: Slot, ahead: u64, message: Message, waits_for: MessageId) {
        let id = message.id();
        self.hear(now, slot, id.seq);
        let mut cursor = message.dep_cursor();
        while let Some(dep) = message.next_dep(&mut cursor) {
            if let Some(slot) = self.members.live_slot(dep.member) {
                self.hear(now, slot, dep.seq);
            }
        }
        self.held += 1;
        self.held_bytes += message.packet().len();
        self.stats.held += 1;
        let ring = &mut self.members.get_mut(slot).ring;
        let ahead = ahead as usize;
        if ring.len() <= ahead {
            self.holdback_places += ahead + 1 - ring.len();
            ring.resize_with(ahead + 1, || None);
        }
        ring[ahead] = Some(Held { packet: message.into_packet(), since: now });
        self.outputs.push_back(Output::Held { id, waits_for });
    }

    /// Takes note that message `seq` of a member exists.
    #[inline]
    pub(crate) fn hear(&mut self, now: Time, slot: Slot, seq: u64) {
        if seq > self.members.heard(slot) {
            self.hear_more(now, slot, seq);
        }
    }

    /// Claims are believed as far as messages may be ahead; what lies beyond is heard of again later.
    fn hear_more(&mut self, now: Time, slot: Slot, seq: u64) {
        let delivered = self.members.delivered(slot);
        let seq = seq.min(delivered + self.config.ahead_max.clamp(1, COUNT_MAX));
        if seq <= self.members.heard(slot) {
            return;
        }
        if self.members.heard(slot) <= delivered {
            self.lagging += 1;
            self.repair.gap_opened(now);
            self.members.get_mut(slot).lagging_since = now;
        }
        self.members.heard[slot as usize] = seq;
    }

    /// The BSS delivery rule [BSS91, section 5.1, step 2], its second half: every message that the author had
    /// delivered has been delivered here. (The first half, that it is the next of its sender, is the caller's.)
    /// Of a forgotten member everything has been; an early one's is still to come. How many there were.
    #[inline(always)]
    fn first_unmet(
        &self,
        message: &Message,
        mut cursor: DepCursor,
    ) -> Result<usize, (MemberId, u64, DepCursor)> {
        let mut count = 0;
        while let Some(dep) = message.next_dep(&mut cursor) {
            count += 1;
            match self.members.standing(dep.member) {
                Standing::Live(slot) if self.members.delivered(slot) >= dep.seq => {}
                Standing::Forgotten => {}
                _ => return Err((dep.member, dep.seq, cursor)),
            }
        }
        Ok(count)
    }

    /// The next message of `slot`, held, waits for that dependency.
    fn wait(&mut self, now: Time, slot: Slot, (member, seq, rest): (MemberId, u64, DepCursor)) {
        let on = match self.members.standing(member) {
            Standing::Live(on) => {
                self.hear(now, on, seq);
                on
            }
            _ => self.members.early_slot(member),
        };
        self.members.get_mut(slot).wait = Some(Wait { on, seq, rest });
        self.members.get_mut(on).waiters.push(Reverse((seq, slot)));
    }

    fn last_of(&self, slot: Slot) -> MessageId {
        MessageId::new(self.members.get(slot).id, self.members.delivered(slot))
    }

    /// Counts a deliverable message, moves the frontier, applies what it announces, hands it out, and notes whose
    /// turn may have come. The caller calls [`release`](Self::release) next.
    #[inline]
    fn deliver(&mut self, now: Time, slot: Slot, message: Message, held_since: Option<Time>) {
        let seq = message.id().seq;
        let mut cursor = message.dep_cursor();
        while let Some(dep) = message.next_dep(&mut cursor) {
            if let Some(dep_slot) = self.members.live_slot(dep.member)
                && self.members.delivered(dep_slot) == dep.seq
            {
                self.leave_frontier(dep_slot);
            }
        }
        self.members.delivered[slot as usize] = seq;
        if let Some(stability) = &mut self.stability {
            stability.delivered(slot, Some(message.clone()));
        }
        let heard = self.members.heard(slot);
        if heard > seq {
            self.members.get_mut(slot).lagging_since = now;
        } else {
            if heard == seq {
                self.lagging -= 1;
            }
            self.members.heard[slot as usize] = seq;
        }
        if self.members.frontier_at[slot as usize] == NONE {
            // Otherwise its place in the list now stands for this message: the one before is followed by it.
            self.members.frontier_at[slot as usize] = self.frontier.len() as u32;
            self.frontier.push(slot);
        }
        let member = self.members.get_mut(slot);
        if !member.ring.is_empty() {
            member.ring.pop_front();
            self.holdback_places -= 1;
            if matches!(member.ring.front(), Some(Some(_))) {
                self.awake.push(slot);
            }
        }
        if !member.waiters.is_empty() {
            self.wake_waiters(slot, seq);
        }
        self.stats.delivered += 1;
        if !message.is_data() {
            self.announce(now, message.id(), message.kind());
        }
        self.outputs.push_back(Output::Deliver { message, held_since });
    }

    /// Wakes those who wait for messages of `slot` up to `seq`.
    fn wake_waiters(&mut self, slot: Slot, seq: u64) {
        while let Some(&Reverse((awaited, waiter))) = self.members.get(slot).waiters.peek() {
            if awaited > seq {
                break;
            }
            self.members.get_mut(slot).waiters.pop();
            self.wake(waiter);
        }
    }

    /// What the next message of `waiter` waited for is met.
    fn wake(&mut self, waiter: Slot) {
        if let Some(wait) = &mut self.members.get_mut(waiter).wait {
            wait.on = NONE;
        }
        self.awake.push(waiter);
    }

    #[inline]
    fn leave_frontier(&mut self, slot: Slot) {
        let at = core::mem::replace(&mut self.members.frontier_at[slot as usize], NONE);
        if at != NONE {
            self.frontier.swap_remove(at as usize);
            if let Some(&moved) = self.frontier.get(at as usize) {
                self.members.frontier_at[moved as usize] = at;
            }
        }
    }

    /// Applies a *Joined* or *Left* that has been delivered.
    #[cold]
    fn announce(&mut self, now: Time, id: MessageId, kind: Kind) {
        match kind {
            Kind::Data => {}
            Kind::Joined(member) => {
                // A host gives its ordinals out in order, and its messages are delivered in order.
                let full = self.members.live() >= self.config.members_max;
                if full || self.members.next_ordinal(member.origin) != member.ordinal {
                    self.stats.void_announcements += 1;
                    return;
                }
                self.members.set_next_ordinal(member.origin, member.ordinal.saturating_add(1));
                let slot = self.members.admit(member, 0);
                let by_local_host = self.hosts(member.origin);
                if let Some(stability) = self.stability.as_mut().filter(|_| !by_local_host) {
                    stability.add(slot, 0, true);
                }
                // It may have been early: its first message held, others waiting for its messages.
                let newcomer = self.members.get(slot);
                let awaited = newcomer.waiters.iter().map(|Reverse((seq, _))| *seq).max();
                if matches!(newcomer.ring.front(), Some(Some(_))) {
                    self.awake.push(slot);
                }
                self.hear(now, slot, awaited.unwrap_or(0));
            }
            Kind::Left { member, .. } => match self.members.live_slot(member) {
                Some(slot) if !member.is_host() => self.forget(slot, id),
                _ => self.stats.void_announcements += 1,
            },
        }
    }

    /// Drops the entry of a departed member. All it has said is in the past of its *Left*, which has been
    /// delivered: as a dependency it counts as met from now on.
    fn forget(&mut self, slot: Slot, left: MessageId) {
        self.leave_frontier(slot);
        if self.members.heard(slot) > self.members.delivered(slot) {
            self.lagging -= 1;
        }
        let member = self.members.remove(slot);
        if let Some(stability) = &mut self.stability {
            stability.remove(slot, member.id, left);
        }
        self.flushes.retain(|flush| flush.member != member.id);
        self.holdback_places -= member.ring.len();
        for held in member.ring.iter().flatten() {
            self.held -= 1;
            self.held_bytes -= held.packet.len();
            self.stats.discarded += 1;
        }
        for Reverse((_, waiter)) in member.waiters {
            self.wake(waiter);
        }
    }

    /// Delivers what has become deliverable, in the order in which it was woken, until nothing has. No recursion,
    /// and nobody is looked at who was not woken.
    #[inline]
    fn release(&mut self, now: Time) {
        if !self.awake.is_empty() {
            self.release_awake(now);
        }
        if self.lagging == 0 {
            self.repair.all_gaps_closed();
        } else {
            self.repair.gap_opened(now);
        }
        if !self.flushes.is_empty() {
            self.finish_flushes(now);
        }
        // One alone acknowledges for all.
        if self.stability.is_some() {
            self.tell_stable();
        }
    }

    fn release_awake(&mut self, now: Time) {
        let mut turn = 0;
        while let Some(&slot) = self.awake.get(turn) {
            turn += 1;
            let next = self.members.delivered(slot) + 1;
            let member = self.members.get_mut(slot);
            let Some(Some(held)) = member.ring.front() else { continue };
            if !member.live || member.wait.is_some_and(|wait| wait.on != NONE) {
                continue;
            }
            let wait = member.wait.take();
            let since = held.since;
            if member.frozen.is_some_and(|count| next > count) {
                // Looked at again when the flush ends.
                continue;
            }
            let id = MessageId::new(member.id, next);
            let packet = member.ring.front_mut().and_then(Option::take).expect("seen above").packet;
            let message = Message::again(packet, id);
            let cursor = wait.map_or(message.dep_cursor(), |wait| wait.rest);
            match self.first_unmet(&message, cursor) {
                Ok(_) => {
                    self.held -= 1;
                    self.held_bytes -= message.packet().len();
                    self.repair.progress();
                    self.deliver(now, slot, message, Some(since));
                }
                Err(wait) => {
                    let held = Held { packet: message.into_packet(), since };
                    *self.members.get_mut(slot).ring.front_mut().expect("taken from there") = Some(held);
                    self.wait(now, slot, wait);
                }
            }
        }
        self.awake.clear();
    }

    /// Somebody tells what it has delivered: so much exists. What is missing here will be asked for.
    ///
    /// Over [`Link::Member`] only the speaker's own entry counts; over [`Link::Peer`] it acknowledges too. O(entries).
    pub fn handle_clock(&mut self, now: Time, link: Link, clock: &VectorClock) {
        for (member, count) in clock.iter() {
            let theirs = match link {
                Link::Member(speaker) => speaker == member,
                Link::Relay | Link::Peer(_) => true,
            };
            if let Some(slot) = self.members.live_slot(member)
                && theirs
                && !self.members.get(slot).local
            {
                self.hear(now, slot, count);
            }
        }
        if let Link::Peer(peer) = link {
            self.acknowledge(peer, clock);
        }
    }

    /// A packet from a process of a mesh.
    ///
    /// # Errors
    /// Those of [`handle_message`](Self::handle_message); controls are never refused.
    pub fn handle_packet(&mut self, now: Time, link: Link, packet: Packet) -> Result<(), ReceiveError> {
        match packet {
            Packet::Message(message) => self.handle_message(now, link, message),
            Packet::Control(control) => {
                self.handle_control(now, link, &control);
                Ok(())
            }
        }
    }

    /// Something other than a message has arrived. What makes no sense over this link is ignored: the other end
    /// tells it again.
    pub fn handle_control(&mut self, now: Time, link: Link, control: &Control) {
        match control {
            Control::Clock(clock) => self.handle_clock(now, link, clock),
            Control::Want(ranges) => {
                if let Link::Peer(peer) = link {
                    self.resend(peer, ranges);
                }
            }
            Control::Flush { member } => {
                if let Link::Peer(peer) = link {
                    self.freeze(peer, *member);
                }
            }
            Control::Flushed { member, count } => {
                if let Link::Peer(peer) = link {
                    self.flushed(now, peer, *member, *count);
                }
            }
        }
    }

    fn resend(&mut self, to: MemberId, ranges: &[MissingRange]) {
        let Some(stability) = &self.stability else { return };
        let mut budget = RESEND_MAX;
        for range in ranges {
            for seq in range.from..=range.to {
                let id = MessageId::new(range.member, seq);
                let retained = match self.members.live_slot(range.member) {
                    // Nobody has said more than was delivered here; what was not cannot be retained.
                    Some(slot) if seq > self.members.delivered(slot) => break,
                    Some(slot) => stability.retained(slot, seq),
                    None => stability.retained_of_departed(id),
                };
                if let Some(message) = retained {
                    self.stats.resent += 1;
                    self.outputs.push_back(Output::Resend { to, message: message.clone() });
                } else if self.members.live_slot(range.member).is_none() {
                    break;
                }
                budget -= 1;
                if budget == 0 {
                    return;
                }
            }
        }
    }

    /// A peer's clock acknowledges what it has delivered.
    fn acknowledge(&mut self, from: MemberId, clock: &VectorClock) {
        let Some(from) = self.members.live_slot(from) else { return };
        let members = &self.members;
        // Who has delivered a Joined that has not been here may count for one who is not counted here yet: then
        // its acknowledgement has to wait. It will tell its clock again.
        let ahead = |(member, count): (MemberId, u64)| {
            member.is_host() && members.live_slot(member).is_none_or(|slot| count > members.delivered(slot))
        };
        if clock.iter().any(ahead) {
            return;
        }
        if let Some(stability) = &mut self.stability {
            let counts = clock.iter().filter_map(|(m, n)| Some((m, members.live_slot(m)?, n)));
            // Nobody has delivered more than was sent, and what was not delivered here is not stable here.
            stability.acknowledge(from, counts.map(|(_, slot, n)| (slot, n)));
        }
        self.tell_stable();
    }

    fn tell_stable(&mut self) {
        let Some(stability) = &mut self.stability else { return };
        let advanced = stability.take_advanced();
        if advanced.is_empty() {
            return;
        }
        let cut = advanced.iter().map(|&slot| (self.members.get(slot).id, stability.stable(slot))).collect();
        let members = &self.members;
        let hosts = advanced.iter().map(|&slot| members.get(slot).id).filter(|id| id.is_host());
        let hosts: Vec<(MemberId, u64)> = hosts
            .map(|host| (host, members.live_slot(host).map_or(0, |slot| stability.stable(slot))))
            .collect();
        stability
            .let_go(|left| hosts.iter().any(|&(host, stable)| host == left.member && left.seq <= stable));
        self.outputs.push_back(Output::Stable(cut));
    }

    /// The deadline of [`poll_timeout`](Self::poll_timeout) has come. Early or repeated calls do nothing.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.heartbeat_at.is_some_and(|at| at <= now) {
            self.heartbeat_at = self.config.heartbeat.map(|pause| now + pause);
            let control = Control::Clock(self.clock());
            self.outputs.push_back(Output::Control { to: None, control });
            for flush in 0..self.flushes.len() {
                self.ask_to_flush(flush);
            }
        }
        if self.repair.due(now) {
            if let GapPolicy::Skip { after } = self.config.gap_policy {
                self.skip_overdue(now, after);
            }
            let wanted = self.missing(self.config.repair_ranges_max);
            let round = self.repair.asked(now, &self.config);
            self.ask_for(wanted, round);
        }
    }

    /// Asks for what is missing: at first the sender of each message, then anybody, drawn anew each time from those
    /// whose clocks say that they have the first of it.
    fn ask_for(&mut self, wanted: Vec<MissingRange>, round: Round) {
        let others = match (round, wanted.first()) {
            (Round::Later(_), Some(first)) => self.who_may_have(first),
            _ => Vec::new(),
        };
        let mut rest = &wanted[..];
        while let Some(range) = rest.first() {
            let (ranges, to) = match round {
                Round::Later(draw) if !others.is_empty() => {
                    (core::mem::take(&mut rest), others[(draw % others.len() as u64) as usize])
                }
                _ => {
                    let (ranges, others) = rest.split_at(rest.partition_point(|r| r.member == range.member));
                    rest = others;
                    (ranges, range.member)
                }
            };
            self.stats.wants += 1;
            let control = Control::Want(ranges.to_vec());
            self.outputs.push_back(Output::Control { to: Some(to), control });
        }
    }

    /// Members elsewhere that may be asked for the first message of a range: those that have acknowledged it, or
    /// else all but those about to leave.
    fn who_may_have(&self, range: &MissingRange) -> Vec<MemberId> {
        let live = self.members.iter().filter(|(_, m)| m.live && !m.local && m.frozen.is_none());
        let mut others: Vec<_> = live.map(|(slot, m)| (m.id, slot)).collect();
        others.sort_unstable();
        if let (Some(stability), Some(sender)) = (&self.stability, self.members.live_slot(range.member)) {
            let has = |&(_, slot): &(MemberId, Slot)| stability.acknowledged(slot, sender) >= range.from;
            if others.iter().any(has) {
                others.retain(has);
            }
        }
        others.into_iter().map(|(id, _)| id).collect()
    }

    /// Skips what has been missing for too long.
    fn skip_overdue(&mut self, now: Time, after: Duration) {
        let overdue =
            |m: &Member| m.live && !m.local && !m.id.is_host() && now.since(m.lagging_since) >= after;
        let lagging =
            self.members.iter().filter(|(slot, _)| self.members.heard(*slot) > self.members.delivered(*slot));
        let mut slots: Vec<_> = lagging.filter(|(_, m)| overdue(m)).map(|(slot, m)| (m.id, slot)).collect();
        slots.sort_unstable();
        for (id, slot) in slots {
            let member = self.members.get(slot);
            // Its next message may be held, waiting for another's: then that one is skipped, not this.
            let missing = member.ring.iter().take_while(|place| place.is_none()).count() as u64;
            let beyond_ring = self.members.heard(slot) - self.members.delivered(slot);
            let count = if missing == member.ring.len() as u64 { beyond_ring } else { missing };
            if count > 0 && member.id == id {
                self.skip(now, slot, count);
            }
        }
        self.release(now);
    }

    /// The next `count` messages of a member are given up: they count as delivered.
    fn skip(&mut self, now: Time, slot: Slot, count: u64) {
        let from = self.members.delivered(slot) + 1;
        let to = from + count - 1;
        self.members.delivered[slot as usize] = to;
        for _ in 0..count {
            if let Some(stability) = &mut self.stability {
                stability.delivered(slot, None);
            }
        }
        self.stats.skipped += count;
        let member = self.members.get_mut(slot);
        let places = member.ring.len().min(count as usize);
        member.ring.drain(..places);
        self.holdback_places -= places;
        let next_is_here = matches!(member.ring.front(), Some(Some(_)));
        member.lagging_since = now;
        let member = member.id;
        if self.members.heard(slot) <= to {
            self.lagging -= 1;
        }
        if next_is_here {
            self.awake.push(slot);
        }
        self.wake_waiters(slot, to);
        self.outputs.push_back(Output::Gap(MissingRange { member, from, to }));
    }

    // Leaving by flush, for meshes without a relay.

    /// The local host is about to part with a member in a mesh, which may not answer any more: its last message may
    /// have reached only one. Every live member is asked to take no more from it and to report what it has; once
    /// all have, and the host has delivered the greatest count, *Left* is said by itself. Needs
    /// [`Config::heartbeat`], with which it is asked again.
    ///
    /// Known limit: part with one member at a time. Where departures overlap and messages are lost, a flush may wait
    /// for ever, or a message of the second be delivered without one of the first that it depends on (found by the
    /// simulator: `causerie sim --seed 87769`, `--seed 61256`).
    ///
    /// # Errors
    /// [`MembershipError`]; nothing changed.
    pub fn part_by_flush(
        &mut self,
        now: Time,
        host: MemberId,
        member: MemberId,
    ) -> Result<(), MembershipError> {
        self.local_host(host)?;
        let slot = self.members.live_slot(member).filter(|_| member.origin == host.origin && member != host);
        let slot = slot.ok_or(MembershipError::NotAMember { member })?;
        if self.flushes.iter().all(|flush| flush.member != member) {
            let count = self.members.delivered(slot);
            let frozen = &mut self.members.get_mut(slot).frozen;
            *frozen = Some(frozen.unwrap_or(count));
            self.flushes.push(Flush { host, member, count, reported: Vec::new() });
            self.ask_to_flush(self.flushes.len() - 1);
            self.finish_flushes(now);
        }
        Ok(())
    }

    fn ask_to_flush(&mut self, flush: usize) {
        let member = self.flushes[flush].member;
        for to in self.who_must_report(flush) {
            self.outputs.push_back(Output::Control { to: Some(to), control: Control::Flush { member } });
        }
    }

    /// The live members elsewhere that have not reported, those about to leave excepted.
    fn who_must_report(&self, flush: usize) -> Vec<MemberId> {
        let leaving = |member| self.flushes.iter().any(|f| f.member == member);
        let live = self.members.iter().filter(|(_, m)| m.live && !m.local);
        let must =
            live.map(|(_, m)| m.id).filter(|&m| !leaving(m) && !self.flushes[flush].reported.contains(&m));
        let mut must: Vec<_> = must.collect();
        must.sort_unstable();
        must
    }

    /// The host asks to take no more of a member.
    fn freeze(&mut self, host: MemberId, member: MemberId) {
        if !host.is_host() || host.origin != member.origin {
            return;
        }
        let Some(slot) = self.members.live_slot(member) else { return };
        let delivered = self.members.delivered(slot);
        let frozen = &mut self.members.get_mut(slot).frozen;
        let count = *frozen.get_or_insert(delivered);
        let control = Control::Flushed { member, count };
        self.outputs.push_back(Output::Control { to: Some(host), control });
    }

    fn flushed(&mut self, now: Time, from: MemberId, member: MemberId, count: u64) {
        let Some(flush) = self.flushes.iter_mut().find(|flush| flush.member == member) else { return };
        if !flush.reported.contains(&from) {
            flush.reported.push(from);
        }
        flush.count = flush.count.max(count);
        let count = flush.count;
        if let Some(slot) = self.members.live_slot(member) {
            self.thaw(slot, count);
            self.hear(now, slot, count);
            self.release(now);
        }
        self.finish_flushes(now);
    }

    /// Messages of a frozen member up to `count` may be delivered after all.
    fn thaw(&mut self, slot: Slot, count: u64) {
        if let Some(frozen) = &mut self.members.get_mut(slot).frozen {
            *frozen = (*frozen).max(count);
            self.awake.push(slot);
        }
    }

    /// Says *Left* for those of whom everything that anybody has delivered has been delivered here.
    fn finish_flushes(&mut self, now: Time) {
        let done = |flush: usize| {
            let Flush { member, count, .. } = &self.flushes[flush];
            let delivered = self.delivered(*member).unwrap_or(u64::MAX);
            self.who_must_report(flush).is_empty() && delivered >= *count
        };
        if let Some(flush) = (0..self.flushes.len()).find(|&flush| done(flush)) {
            let Flush { host, member, .. } = self.flushes[flush];
            // Forgetting the member removes its flush.
            if self.part(now, host, member, b"").is_ok() {
                self.finish_flushes(now);
            }
        }
    }

    // What the caller does next.

    /// The next thing to do, in the order in which things were decided.
    #[inline]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.repair.deadline().into_iter().chain(self.heartbeat_at).min()
    }

    // What there is to know.

    /// Whether `member` is live here: its *Joined* has been delivered, its *Left* has not.
    #[must_use]
    pub fn is_member(&self, member: MemberId) -> bool {
        self.members.live_slot(member).is_some()
    }

    /// Whether `member` is live and lives here.
    #[must_use]
    pub fn is_local(&self, member: MemberId) -> bool {
        self.members.live_slot(member).is_some_and(|slot| self.members.get(slot).local)
    }

    /// How many messages of a live member have been delivered. O(1).
    #[must_use]
    pub fn delivered(&self, member: MemberId) -> Option<u64> {
        self.members.live_slot(member).map(|slot| self.members.delivered(slot))
    }

    /// Whether this message has been delivered, or is of a member that has left. O(1).
    #[must_use]
    pub fn has_delivered(&self, id: MessageId) -> bool {
        match self.members.standing(id.member) {
            Standing::Live(slot) => id.seq <= self.members.delivered(slot),
            Standing::Early(_) => false,
            Standing::Forgotten => true,
        }
    }

    /// What has been delivered of each live member. O(members log members).
    #[must_use]
    pub fn clock(&self) -> VectorClock {
        self.live().map(|(slot, member)| (member, self.members.delivered(slot))).collect()
    }

    fn live(&self) -> impl Iterator<Item = (Slot, MemberId)> + '_ {
        self.members.iter().filter(|(_, m)| m.live).map(|(slot, m)| (slot, m.id))
    }

    /// The delivered messages that no other delivered message follows, sorted.
    #[must_use]
    pub fn frontier(&self) -> Vec<MessageId> {
        let mut frontier: Vec<_> = self.frontier.iter().map(|&slot| self.last_of(slot)).collect();
        frontier.sort_unstable();
        frontier
    }

    /// What a new process needs to go on from here. O(members log members).
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            clock: self.clock(),
            next_ordinals: self.members.next_ordinals(),
            frontier: self.frontier(),
        }
    }

    /// Every message held back, and a cause that it waits for; members in no particular order, the messages of
    /// each in theirs. O(members + places in the queue).
    pub fn held(&self) -> impl Iterator<Item = HeldMessage> + '_ {
        self.members.iter().flat_map(move |(slot, member)| {
            let first = self.members.delivered(slot) + 1;
            let places = member.ring.iter().enumerate();
            places.filter_map(move |(i, place)| {
                let id = MessageId::new(member.id, first + i as u64);
                let waits_for = self.cause_of(slot, id)?;
                Some(HeldMessage { id, since: place.as_ref()?.since, waits_for })
            })
        })
    }

    /// A cause that `id`, which is held back, waits for; `None` if it is not held back. That cause may itself be
    /// held: follow it, or see [`root_cause`](Self::root_cause). O(1).
    #[must_use]
    pub fn waits_for(&self, id: MessageId) -> Option<MessageId> {
        let slot = match self.members.standing(id.member) {
            Standing::Live(slot) | Standing::Early(Some(slot)) => slot,
            _ => return None,
        };
        let place = id.seq.checked_sub(self.members.delivered(slot) + 1)?;
        self.members.get(slot).ring.get(usize::try_from(place).ok()?)?.as_ref()?;
        self.cause_of(slot, id)
    }

    fn cause_of(&self, slot: Slot, id: MessageId) -> Option<MessageId> {
        let member = self.members.get(slot);
        if id.seq > self.members.delivered(slot) + 1 {
            return Some(MessageId::new(id.member, id.seq - 1));
        }
        let Some(wait) = member.wait.as_ref().filter(|_| member.live) else {
            // Its Joined is to come, or (frozen by a flush) its Left.
            return Some(self.next_of_host(id.member));
        };
        Some(MessageId::new(self.members.get(wait.on).id, wait.seq))
    }

    /// The missing message at the end of the chain that `id` waits in: one that is not here at all. `None` if
    /// `id` is not held back, or (which takes a lying relay) its causes wait for each other. O(held messages).
    #[must_use]
    pub fn root_cause(&self, id: MessageId) -> Option<MessageId> {
        let mut cause = self.waits_for(id)?;
        for _ in 0..self.held {
            match self.waits_for(cause) {
                Some(next) => cause = next,
                None => return Some(cause),
            }
        }
        self.waits_for(cause).is_none().then_some(cause)
    }

    /// The messages that are known to exist and are neither delivered nor held, as at most `ranges_max` ranges.
    /// O(members log members + places in the queue).
    #[must_use]
    pub fn missing(&self, ranges_max: usize) -> Vec<MissingRange> {
        let mut behind: Vec<_> = self
            .members
            .iter()
            .filter(|(slot, m)| self.members.heard(*slot) > self.members.delivered(*slot) && !m.local)
            .map(|(slot, m)| (m.id, slot))
            .collect();
        behind.sort_unstable();
        let mut ranges = Vec::new();
        for (id, slot) in behind {
            let member = self.members.get(slot);
            let first = self.members.delivered(slot) + 1;
            let mut from = None;
            for (i, place) in member.ring.iter().enumerate() {
                let seq = first + i as u64;
                match (place, from) {
                    (None, None) => from = Some(seq),
                    (Some(_), Some(start)) => {
                        ranges.push(MissingRange { member: id, from: start, to: seq - 1 });
                        from = None;
                    }
                    _ => {}
                }
                if ranges.len() >= ranges_max {
                    return ranges;
                }
            }
            let beyond = first + member.ring.len() as u64;
            let heard = self.members.heard(slot);
            if heard >= beyond || from.is_some() {
                let to = heard.max(beyond - 1);
                ranges.push(MissingRange { member: id, from: from.unwrap_or(beyond), to });
            }
            if ranges.len() >= ranges_max {
                return ranges;
            }
        }
        ranges
    }

    /// How many messages of `member` are stable: delivered by every member. `None` without
    /// [`Config::retain`], or if it is not a live member. O(1).
    #[must_use]
    pub fn stable(&self, member: MemberId) -> Option<u64> {
        let slot = self.members.live_slot(member)?;
        self.stability.as_ref().map(|stability| stability.stable(slot))
    }

    /// One member that has acknowledged no more of `member`'s messages than what is stable: who holds things up.
    /// O(members).
    #[must_use]
    pub fn stability_holder(&self, member: MemberId) -> Option<MemberId> {
        let slot = self.members.live_slot(member)?;
        let holder = self.stability.as_ref()?.holder(slot)?;
        Some(self.members.get(holder).id)
    }

    /// Messages retained until they are stable. O(members + messages retained).
    #[must_use]
    pub fn retained_count(&self) -> usize {
        self.stability.as_ref().map_or(0, |stability| stability.all_retained().count())
    }

    /// How two retained messages are related: did the author of one see the other before? `None` where that
    /// cannot be told, because one of them or a message between them is not retained any more.
    /// O(retained messages in the past of the later one).
    #[must_use]
    pub fn relation(&self, a: MessageId, b: MessageId) -> Option<Relation> {
        if a == b {
            return self.retained(a).map(|_| Relation::Same);
        }
        self.retained(a)?;
        self.retained(b)?;
        if self.precedes(a, b) {
            Some(Relation::Before)
        } else if self.precedes(b, a) {
            Some(Relation::After)
        } else {
            Some(Relation::Concurrent)
        }
    }

    fn retained(&self, id: MessageId) -> Option<&Message> {
        let stability = self.stability.as_ref()?;
        match self.members.live_slot(id.member) {
            Some(slot) => stability.retained(slot, id.seq),
            None => stability.retained_of_departed(id),
        }
    }

    /// Whether `a` is in the past of `b`, both retained. Whatever lies between them is retained too: if it were
    /// stable, everybody would have delivered it, and `a` before it, so `a` would be stable and not retained.
    fn precedes(&self, a: MessageId, b: MessageId) -> bool {
        let mut seen = BTreeSet::new();
        let mut to_visit = Vec::from([b]);
        while let Some(id) = to_visit.pop() {
            let Some(message) = self.retained(id) else { continue };
            let before = (id.seq > 1).then(|| MessageId::new(id.member, id.seq - 1));
            for cause in message.deps().chain(before) {
                if cause.member == a.member && cause.seq >= a.seq {
                    return true;
                }
                if seen.insert(cause) {
                    to_visit.push(cause);
                }
            }
        }
        false
    }

    /// How many messages are held back.
    #[must_use]
    pub const fn held_count(&self) -> usize {
        self.held
    }

    /// Bytes of the packets held back.
    #[must_use]
    pub const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Counts since the group was made.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// Its limits and delays.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Payload of a held message, for showing what waits; `None` if it is not held. O(1).
    #[must_use]
    pub fn held_payload(&self, id: MessageId) -> Option<Bytes> {
        let slot = match self.members.standing(id.member) {
            Standing::Live(slot) | Standing::Early(Some(slot)) => slot,
            _ => return None,
        };
        let place = id.seq.checked_sub(self.members.delivered(slot) + 1)?;
        let held = self.members.get(slot).ring.get(usize::try_from(place).ok()?)?.as_ref()?;
        Some(Message::decode(held.packet.clone()).expect("checked on arrival").payload())
    }
}
