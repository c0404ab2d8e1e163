//! Receiving: the delivery rule, the hold-back queue, and what a delivery sets off.
//!
//! One long file: it is the way that each message takes, in its order, and is compiled into one piece.

use crate::error::{ReceiveError, Unit};
use crate::group::{Group, Link, Output, Stats};
use crate::id::{MemberId, MessageId};
use crate::members::{IdStanding, NONE, Slot, Unmet, Wait};
use crate::message::{Kind, Message, StampRef};
use crate::repair::MissingRange;
use crate::ring::{Held, Ring};
use crate::snapshot::COUNT_MAX;
use crate::time::Time;
use crate::trace::tell_event;

impl Group {
    /// A message has arrived. It is delivered if all its causes have been, and held back otherwise; a copy of
    /// one that is here already is counted and dropped.
    ///
    /// Cost: O(dependencies), and no allocation where it is deliverable at once; where its delivery releases
    /// others, as much for each of them.
    ///
    /// # Errors
    /// [`ReceiveError`]; nothing changed but the count of refusals and, where the hold-back queue is full, that the
    /// message and its causes are known to be missing.
    #[inline(always)]
    pub fn handle_message(&mut self, now: Time, link: Link, message: Message) -> Result<(), ReceiveError> {
        match self.common_case(link, &message) {
            Some(slot) => {
                #[cfg(debug_assertions)]
                self.check_common(link, slot, &message);
                self.count_common(link, slot, &message);
                self.count_delivered(slot, message.id().seq);
                self.outputs.push_delivery(message, None);
                Ok(())
            }
            None => self.handle_uncommon(now, link, message),
        }
    }

    /// The common case: the next message of somebody of whom nothing is held or missing, all its causes delivered, and
    /// nobody to be told. What has been delivered here can be, so there is nothing more to check, and nothing is set
    /// off. Who sent it, with its dependencies in `deps`; `None`: look closer.
    #[inline(always)]
    fn common_case(&mut self, link: Link, message: &Message) -> Option<Slot> {
        let id = message.id();
        let theirs = match link {
            Link::Member(speaker) => speaker == id.member,
            Link::Relay | Link::Peer(_) => true,
        };
        let fits = message.packet().len() <= self.config.packet_bytes_max;
        let quiet = self.flushes.is_empty()
            && self.stability.is_none()
            && self.passed.is_empty()
            && self.journal.is_none();
        if !theirs || !fits || !message.is_data() || !quiet {
            return None;
        }
        let slot = self.members.live_slot(id.member)?;
        let progress = self.members.progress(slot);
        if !progress.plain || id.seq != progress.delivered + 1 {
            return None;
        }
        self.read_deps(message).ok()?;
        Some(slot)
    }

    #[inline(never)]
    fn handle_uncommon(&mut self, now: Time, link: Link, message: Message) -> Result<(), ReceiveError> {
        self.tell_time(now);
        let (before, bytes, _id) = (self.stats, message.packet().len() as u64, message.id());
        let taken = self.take(now, link, message);
        self.stats.refused += u64::from(taken.is_err());
        let Stats { duplicates, held, refused, .. } = self.stats;
        if duplicates > before.duplicates {
            tell_event!(trace, id = %_id, ?link, "came twice");
        }
        if let Err(_refused) = &taken {
            tell_event!(debug, id = %_id, ?link, error = %_refused, "refused");
        }
        if let Some(peer) = self.stats_of(link) {
            peer.received += 1;
            peer.received_bytes += bytes;
            peer.duplicates += duplicates - before.duplicates;
            peer.held += held - before.held;
            peer.refused += refused - before.refused;
        }
        taken
    }

    pub(crate) fn take(&mut self, now: Time, link: Link, message: Message) -> Result<(), ReceiveError> {
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
            IdStanding::Live(slot) => slot,
            IdStanding::Early(_) => return self.hold_early(now, link, message),
            IdStanding::Forgotten if self.answer_departed(link) == Some(id.member) => {
                return Err(ReceiveError::Departed { member: id.member });
            }
            IdStanding::Forgotten => {
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
        let is_local = member.local;
        if is_local && matches!(link, Link::Member(_)) {
            return Err(ReceiveError::OwnFuture { id });
        }
        let ahead = id.seq - delivered - 1;
        if member.ring.get(ahead).is_some() {
            self.stats.duplicates += 1;
            return Ok(());
        }
        let unmet = self.check_deps(link, &message)?;
        self.room_in_journal()?;
        // Not where it is a copy, which must leave no trace.
        if matches!(link, Link::Member(_)) && !self.members.get(slot).direct {
            self.members.get_mut(slot).direct = true;
        }
        if is_local && ahead == 0 && unmet.is_none() {
            // Others have it, so it was said here before this state. What has to wait is taken note of with its place.
            self.hear(now, slot, id.seq, true);
        }
        if !message.is_data() {
            self.has_arrived(now, &message);
        }
        let taken = self.deliver_or_hold(now, slot, message, unmet);
        self.release(now);
        taken
    }

    /// A message whose dependencies stand in `deps`; `unmet` is the first that is not met.
    fn deliver_or_hold(
        &mut self,
        now: Time,
        slot: Slot,
        message: Message,
        unmet: Option<Unmet>,
    ) -> Result<(), ReceiveError> {
        let id = message.id();
        let ahead = id.seq - self.members.delivered(slot) - 1;
        let frozen = self.members.get(slot).frozen.is_some_and(|count| id.seq > count);
        let waits_for = match unmet {
            _ if ahead > 0 => MessageId::new(id.member, id.seq - 1),
            Some((dependency, _)) => dependency,
            None if frozen => self.next_of_host(id.member),
            None => {
                self.take_place(slot);
                self.deliver(now, slot, message, None);
                return Ok(());
            }
        };
        self.room_for(now, ahead + 1, ahead, slot, &message)?;
        self.hold(now, slot, ahead, message, waits_for);
        if let Some(unmet) = unmet.filter(|_| ahead == 0) {
            self.wait(now, slot, unmet);
        }
        Ok(())
    }

    /// The place of the next message of a member, if later ones are held, or this one is.
    pub(super) fn take_place(&mut self, slot: Slot) {
        let member = self.members.get_mut(slot);
        if member.ring.is_empty() {
            return;
        }
        self.holdback_places -= 1;
        if let Some(held) = member.ring.pop() {
            member.wait = None;
            self.held -= 1;
            self.held_bytes -= held.packet.len();
        }
    }

    /// The next message of the host that admitted `member`, which says what becomes of it. That there is a host another
    /// says: this stands as the host's message 0, and as its last what another says of one that is frozen.
    pub(super) fn next_of_host(&self, member: MemberId) -> MessageId {
        let host = MemberId::host(member.origin);
        match self.delivered(host) {
            Some(_) if member == host => MessageId::new(host, u64::MAX),
            delivered => MessageId::new(host, delivered.map_or(0, |delivered| delivered + 1)),
        }
    }

    /// A message of somebody whose *Joined* has not been delivered here.
    #[cold]
    fn hold_early(&mut self, now: Time, link: Link, message: Message) -> Result<(), ReceiveError> {
        let id = message.id();
        if self.admits_for(id.member.origin) {
            // Ordinals of this origin are given out here: nobody has this one.
            return Err(ReceiveError::NotTheirs { member: id.member });
        }
        if !self.can_be_admitted(id.member) {
            return Err(ReceiveError::UnknownOrigin { member: id.member });
        }
        if matches!(link, Link::Member(_)) && !self.members.knows_origin(id.member.origin) {
            // Nobody has a membership here that was not announced here.
            return Err(ReceiveError::UnknownOrigin { member: id.member });
        }
        let _ = self.check_deps(link, &message)?;
        if !message.is_data() {
            self.has_arrived(now, &message);
            self.release(now);
            if !matches!(self.members.standing(id.member), IdStanding::Early(_)) {
                // What it let through has announced it.
                return self.take(now, link, message);
            }
        }
        self.room_for_unknown(&message)?;
        let ahead = id.seq - 1;
        if let IdStanding::Early(Some(slot)) = self.members.standing(id.member) {
            if self.members.get(slot).ring.get(ahead).is_some() {
                self.stats.duplicates += 1;
                return Ok(());
            }
            self.room_for(now, ahead + 1, ahead, slot, &message)?;
        } else {
            self.room_for(now, ahead + 1, ahead, NONE, &message)?;
        }
        let slot = self.members.early_slot(id.member);
        self.members.get_mut(slot).direct = matches!(link, Link::Member(_));
        // What makes it live is the Joined of its host, whose number is not known yet.
        let waits_for = self.next_of_host(id.member);
        self.hold(now, slot, ahead, message, waits_for);
        Ok(())
    }

    /// Refuses dependencies that cannot be, before anything is changed. Those on live members stand in `deps` then.
    /// The first that has not been delivered.
    pub(super) fn check_deps(
        &mut self,
        link: Link,
        message: &Message,
    ) -> Result<Option<Unmet>, ReceiveError> {
        let (id, stamp) = (message.id(), message.stamp());
        let mut first_unmet = None;
        self.deps.clear();
        if let Some(few) = stamp.few() {
            for (before, dep) in few.enumerate() {
                if !self.check_dep(link, id, dep, before)? {
                    first_unmet = first_unmet.or(Some((dep, None)));
                }
            }
        } else {
            let mut cursor = stamp.cursor();
            let mut before = 0;
            while let Some(dep) = stamp.next_dep(&mut cursor) {
                if !self.check_dep(link, id, dep, before)? {
                    first_unmet = first_unmet.or(Some((dep, Some(cursor))));
                }
                before += 1;
            }
        }
        Ok(first_unmet)
    }

    /// Returns whether a dependency of `id` is met; refuses it if it cannot be.
    #[inline(always)]
    fn check_dep(
        &mut self,
        link: Link,
        id: MessageId,
        dependency: MessageId,
        before: usize,
    ) -> Result<bool, ReceiveError> {
        let limit = self.config.members_known_max();
        if before >= limit {
            return Err(ReceiveError::TooManyDependencies { id, limit });
        }
        let impossible = match self.members.standing(dependency.member) {
            IdStanding::Live(slot) => {
                self.deps.push((slot, dependency.seq));
                if dependency.seq <= self.members.delivered(slot) {
                    return Ok(true);
                }
                // Of what others have seen, not all is known here: see `rollback`.
                self.members.get(slot).local && matches!(link, Link::Member(_))
            }
            IdStanding::Forgotten => return Ok(true),
            IdStanding::Early(_) => !self.can_be_admitted(dependency.member),
        };
        // Members of an origin that is hosted here are heard of through here only, so what has not been
        // delivered here cannot have been seen by the other end.
        let through_here = matches!(link, Link::Member(_)) && self.admits_for(dependency.member.origin);
        if impossible || through_here {
            return Err(ReceiveError::FromTheFuture { id, dependency });
        }
        Ok(false)
    }

    pub(super) fn admits_for(&self, origin: u32) -> bool {
        self.is_local(MemberId::host(origin))
    }

    /// Refuses what there is no room for, but takes note of what it shows to exist: what it waits for must be asked
    /// for, or it is refused for ever. `slot` may be `NONE`.
    fn room_for(
        &mut self,
        now: Time,
        places: u64,
        ahead: u64,
        slot: Slot,
        message: &Message,
    ) -> Result<(), ReceiveError> {
        let room = self.has_room_for(places, ahead, slot, message);
        if room.is_err() {
            self.learn_of(now, slot, message.id().seq);
        }
        room
    }

    fn has_room_for(
        &self,
        places: u64,
        ahead: u64,
        slot: Slot,
        message: &Message,
    ) -> Result<(), ReceiveError> {
        let limit = self.config.ahead_max;
        if ahead > limit {
            return Err(ReceiveError::TooFarAhead { id: message.id(), limit });
        }
        let taken = if slot == NONE { 0 } else { self.members.get(slot).ring.len() };
        let more = (places as usize).saturating_sub(taken);
        let limit = self.config.holdback_max;
        if self.holdback_places + more > limit {
            return Err(ReceiveError::HoldbackFull { limit, unit: Unit::Messages });
        }
        let limit = self.config.holdback_bytes_max;
        if self.held_bytes + message.packet().len() > limit {
            return Err(ReceiveError::HoldbackFull { limit, unit: Unit::Bytes });
        }
        let limit = self.config.ahead_bytes_max;
        let held = if slot == NONE { 0 } else { self.members.get(slot).ring.bytes() };
        if held + message.packet().len() > limit {
            return Err(ReceiveError::HoldbackFull { limit, unit: Unit::BytesOfMember });
        }
        Ok(())
    }

    /// Keeps a message whose dependencies stand in `deps`.
    fn hold(&mut self, now: Time, slot: Slot, ahead: u64, message: Message, waits_for: MessageId) {
        let id = message.id();
        self.learn_of(now, slot, id.seq);
        self.held += 1;
        self.held_bytes += message.packet().len();
        self.stats.held += 1;
        let ring = &mut self.members.get_mut(slot).ring;
        let places = ring.len();
        let (packet, stamp) = match self.config.copies_kept {
            true => message.detached().into_parts(),
            false => message.into_parts(),
        };
        ring.put(ahead as usize, Held { packet, stamp, since: now });
        self.holdback_places += ring.len() - places;
        tell_event!(trace, %id, %waits_for, "held");
        self.outputs.push_back(Output::Held { id, waits_for });
    }

    /// Drops what is held of a member behind its next message: for a relay whose link to the member begins anew, as the
    /// member sends all that was not taken again. Returns the number of the last message that is taken then: delivered,
    /// or next and held.
    pub fn discard_ahead(&mut self, member: MemberId) -> u64 {
        let Some(slot) = self.members.live_slot(member) else { return 0 };
        let ring = &mut self.members.get_mut(slot).ring;
        // Others may have been told that the next one waits.
        let kept = usize::from(ring.next().is_some());
        if ring.len() > kept {
            let dropped = ring.split_off(kept);
            self.let_go(&dropped);
            let member = self.members.get_mut(slot);
            self.repair.gap_opened(&mut member.repair, member.lagging_since);
        }
        self.members.delivered(slot) + kept as u64
    }

    /// These places of the queue are given back.
    fn let_go(&mut self, ring: &Ring) {
        let messages = ring.iter().count();
        self.holdback_places -= ring.len();
        self.held -= messages;
        self.held_bytes -= ring.bytes();
        self.stats.discarded += messages as u64;
    }

    /// Holds back no more than this from now on ([`Config::holdback_bytes_max`](crate::Config::holdback_bytes_max)); what
    /// is held already stays.
    pub fn limit_holdback(&mut self, bytes: usize) {
        self.config.holdback_bytes_max = bytes;
    }

    /// Takes note that message `seq` of `slot`, which may be `NONE`, and its dependencies, which stand in `deps`, exist.
    fn learn_of(&mut self, now: Time, slot: Slot, seq: u64) {
        let mut shows = true;
        if slot != NONE {
            self.hear(now, slot, seq, true);
            shows = !self.members.get(slot).direct;
        }
        let deps = core::mem::take(&mut self.deps);
        for &(slot, seq) in &deps {
            self.hear(now, slot, seq, shows);
        }
        self.deps = deps;
    }

    /// Takes note that message `seq` of a member exists; `shown`: it is no mere claim of a member that speaks for itself.
    #[inline]
    pub(crate) fn hear(&mut self, now: Time, slot: Slot, seq: u64, shown: bool) {
        if seq > self.members.heard(slot) || (self.mere_claims && shown) {
            self.hear_more(now, slot, seq, shown);
        }
    }

    /// Messages are heard of as far as they may be ahead. What lies beyond is remembered if it is shown to exist, and
    /// heard of as those before it are delivered; else the next who mentions it is believed anew.
    fn hear_more(&mut self, now: Time, slot: Slot, seq: u64, shown: bool) {
        let delivered = self.members.delivered(slot);
        if seq <= delivered {
            return;
        }
        if self.members.get(slot).local {
            self.rolled_back(slot, seq);
        }
        let member = self.members.get_mut(slot);
        if shown {
            member.shown = member.shown.max(seq.min(COUNT_MAX));
        } else {
            self.mere_claims = true;
        }
        let seq = seq.min(self.horizon(delivered));
        if seq <= self.members.heard(slot) {
            self.ask_beyond(now, slot);
            return;
        }
        let lagged = self.members.heard(slot) > delivered;
        self.members.set_heard(slot, seq);
        let member = self.members.get_mut(slot);
        if lagged {
            self.repair.gap_opened(&mut member.repair, now);
        } else {
            self.lagging += 1;
            member.lagging_since = now;
            self.repair.begin(&mut member.repair, now);
        }
    }

    /// The greatest number that a message of somebody may have of whom so many have been delivered.
    pub(super) fn horizon(&self, delivered: u64) -> u64 {
        delivered + self.config.ahead_max.clamp(1, COUNT_MAX)
    }

    /// More of a member counts as delivered: more of what is shown to exist is near enough to be heard of. The greatest
    /// number heard of.
    pub(super) fn hear_on(&mut self, slot: Slot) -> u64 {
        let heard = self.members.heard(slot);
        let shown = self.members.get(slot).shown;
        if shown <= heard {
            return heard;
        }
        let heard = shown.min(self.horizon(self.members.delivered(slot)));
        self.members.set_heard(slot, heard);
        heard
    }

    /// The BSS delivery rule [BSS91, section 5.1, step 2], its second half: every message that the author had
    /// delivered has been delivered here. (The first half, that it is the next of its sender, is the caller's.)
    /// Of a forgotten member everything has been; an early one's is still to come. Those on live members stand in
    /// `deps` then.
    #[inline(always)]
    pub(super) fn read_deps(&mut self, message: &Message) -> Result<(), Unmet> {
        self.members.first_unmet(message.stamp(), &mut self.deps)
    }

    /// The next message of `slot`, held, waits for that dependency.
    pub(super) fn wait(&mut self, now: Time, slot: Slot, (dep, rest): Unmet) {
        let on = match self.members.standing(dep.member) {
            IdStanding::Live(on) => {
                let shows = !self.members.get(slot).direct;
                self.hear(now, on, dep.seq, shows);
                on
            }
            _ => self.members.early_slot(dep.member),
        };
        self.members.get_mut(slot).wait = Some(Wait { on, seq: dep.seq, rest });
        self.members.add_waiter(on, dep.seq, slot);
    }

    pub(super) fn last_of(&self, slot: Slot) -> MessageId {
        MessageId::new(self.members.get(slot).id, self.members.delivered(slot))
    }

    /// The members whose last delivered message is in the frontier, in no order.
    pub(super) fn frontier_slots(&self) -> impl Iterator<Item = Slot> + '_ {
        self.frontier.iter().copied().filter(|&slot| self.members.progress(slot).in_frontier)
    }

    /// Strikes those off the list that are not in the frontier any more.
    pub(super) fn prune_frontier(&mut self) {
        let members = &mut self.members;
        self.frontier.retain(|&slot| {
            let progress = members.progress_mut(slot);
            progress.listed = progress.in_frontier;
            progress.listed
        });
    }

    /// Counts a deliverable message, moves the frontier, applies what it announces, hands it out, and notes whose
    /// turn may have come: the caller sees to it that they get it. Its dependencies stand in `deps`.
    #[inline(never)]
    pub(super) fn deliver(&mut self, now: Time, slot: Slot, message: Message, held_since: Option<Time>) {
        let id = message.id();
        if self.stability.is_some() || self.journal.is_some() {
            self.keep(slot, &message, held_since.is_some());
        }
        self.count_delivered(slot, id.seq);
        if !self.passed.is_empty() {
            self.follow_passed(slot);
        }
        if !self.members.progress(slot).plain {
            self.delivered_uncommon(now, slot, id.seq);
        }
        if !message.is_data() {
            self.announce(now, id, message.kind());
        }
        self.outputs.push_delivery(message, held_since);
    }

    /// Keeps what is being delivered for those who will ask for it, and to be stored.
    fn keep(&mut self, slot: Slot, message: &Message, was_held: bool) {
        // What was held has a buffer of its own already.
        let kept = if self.config.copies_kept && !was_held { message.detached() } else { message.clone() };
        if let Some(stability) = &mut self.stability {
            stability.delivered(slot, Some(kept.clone()));
        }
        if let Some(journal) = &mut self.journal {
            journal.delivered(kept);
        }
    }

    /// Counts a delivery and moves the frontier. Its dependencies stand in `deps`.
    #[inline(always)]
    fn count_delivered(&mut self, slot: Slot, seq: u64) {
        for &(dep_slot, dep_seq) in &self.deps {
            let progress = self.members.progress_mut(dep_slot);
            progress.in_frontier &= progress.delivered != dep_seq;
        }
        let progress = self.members.progress_mut(slot);
        progress.delivered = seq;
        progress.in_frontier = true;
        if !progress.listed {
            progress.listed = true;
            self.frontier.push(slot);
        }
        self.stats.delivered += 1;
    }

    /// Does what a delivery sets off where something was missing, held or awaited.
    fn delivered_uncommon(&mut self, now: Time, slot: Slot, seq: u64) {
        let heard = self.hear_on(slot);
        let member = self.members.get_mut(slot);
        if heard > seq {
            member.lagging_since = now;
            self.repair.begin(&mut member.repair, now);
        }
        if member.ring.next().is_some() {
            self.awake.push(slot);
        }
        self.wake_waiters(slot, seq);
        if self.members.closes_gap(slot) {
            self.lagging -= 1;
        }
        self.members.settle(slot);
    }

    /// Wakes those who wait for messages of `slot` up to `seq`.
    pub(super) fn wake_waiters(&mut self, slot: Slot, seq: u64) {
        while let Some(waiter) = self.members.next_waiter(slot, seq) {
            self.wake(waiter);
        }
    }

    /// Takes note that what the next message of `waiter` waited for is met.
    fn wake(&mut self, waiter: Slot) {
        if let Some(wait) = &mut self.members.get_mut(waiter).wait {
            wait.on = NONE;
        }
        self.awake.push(waiter);
    }

    /// Applies a *Joined* or *Left* that has been delivered.
    #[cold]
    fn announce(&mut self, now: Time, id: MessageId, kind: Kind) {
        match kind {
            Kind::Data | Kind::Signed(_) | Kind::Emptied { .. } => {}
            Kind::Hosted { origin, .. } => self.hosted(now, origin, id),
            Kind::Expelled { counts, .. } => self.expelled(id, &counts),
            Kind::Joined(member) => {
                // A host gives its ordinals out in order, and its messages are delivered in order.
                // The last ordinal is given out by nobody: there is no next one, so it could be given out again.
                let last = member.ordinal == u32::MAX;
                if last || self.members.next_ordinal(member.origin) != member.ordinal {
                    self.stats.void_announcements += 1;
                    return;
                }
                self.members.set_next_ordinal(member.origin, member.ordinal.saturating_add(1));
                self.admitted(now, member, id);
            }
            Kind::Left { member, last_seq } => match self.members.live_slot(member) {
                Some(slot) if !member.is_host() => {
                    if self.members.get(slot).local && !self.admits_for(member.origin) {
                        self.departs(member);
                    }
                    let given_up = self.give_up_with(slot, last_seq);
                    self.forget(slot, id, given_up);
                }
                _ => self.stats.void_announcements += 1,
            },
        }
    }

    /// Somebody is a member from now on, as `announced` says, with nothing delivered yet.
    pub(super) fn admitted(&mut self, now: Time, member: MemberId, announced: MessageId) {
        let limit = self.config.members_known_max();
        let full = self.members.live() >= limit;
        let slot = self.members.admit(member, 0);
        if full {
            // The ordinal is given out all the same, or no later one would be in order.
            self.overfull = true;
            self.forget(slot, announced, false);
            tell_event!(warn, %member, limit, "no room for a member");
            self.outputs.push_back(Output::MembersFull { member, limit });
            return;
        }
        tell_event!(debug, %member, by = %announced, "joined");
        if let Some(stability) = &mut self.stability {
            stability.add(slot, 0, true);
        }
        if let Some(count) = self.frozen_at(member) {
            self.members.get_mut(slot).frozen = Some(count);
        }
        // It may have been early: its first message held, others waiting for its messages.
        if self.members.get(slot).ring.next().is_some() {
            self.awake.push(slot);
        }
        let (awaited, shown) = self.members.last_awaited(slot);
        self.hear(now, slot, awaited, false);
        self.hear(now, slot, shown, true);
    }

    /// Gives up what a *Left* counts and was not delivered here: its host has given it up, or it would be in the past of
    /// *Left*. It must not go missing in silence. Returns whether there was anything.
    pub(super) fn give_up_with(&mut self, slot: Slot, last_seq: u64) -> bool {
        let delivered = self.members.delivered(slot);
        if last_seq > delivered {
            self.stats.skipped = self.stats.skipped.saturating_add(last_seq - delivered);
            let member = self.members.get(slot).id;
            tell_event!(warn, %member, from = delivered + 1, to = last_seq, "given up by its host");
            self.outputs.push_back(Output::Gap(MissingRange { member, from: delivered + 1, to: last_seq }));
        }
        last_seq > delivered
    }

    /// Drops the entry of a departed member. All it has said is in the past of its *Left*, which has been
    /// delivered: as a dependency it counts as met from now on.
    pub(super) fn forget(&mut self, slot: Slot, left: MessageId, given_up: bool) {
        self.missed_no_more(slot);
        self.passed.retain(|&(passed, _)| passed != slot);
        let member = self.members.remove(slot);
        tell_event!(debug, member = %member.id, by = %left, "left");
        if let Some(stability) = &mut self.stability {
            stability.remove(slot, member.id, left, given_up);
        }
        self.flushes.retain(|flush| flush.member != member.id);
        self.called_off.retain(|called_off| called_off.member != member.id);
        self.let_go(&member.ring);
    }

    /// Nothing more of it is to come: whoever waits for it waits no more.
    fn missed_no_more(&mut self, slot: Slot) {
        if self.members.heard(slot) > self.members.delivered(slot) {
            self.lagging -= 1;
        }
        self.wake_waiters(slot, u64::MAX);
    }

    /// Drops what is held of somebody who will never be admitted, and wakes who waits for it.
    pub(super) fn forget_early(&mut self, slot: Slot) {
        self.missed_no_more(slot);
        let member = self.members.remove_early(slot);
        self.let_go(&member.ring);
    }

    /// Returns what hosts have said of others and what is held: its ids and kinds. O(members + messages of hosts that are held).
    pub(super) fn held_announcements(&self) -> impl Iterator<Item = (MessageId, Kind)> + '_ {
        self.members.iter().filter(|(_, m)| m.id.is_host()).flat_map(|(slot, host)| {
            let first = self.members.delivered(slot) + 1;
            host.ring.iter().filter_map(move |(ahead, held)| {
                let id = MessageId::new(host.id, first + ahead);
                let message = Message::from_parts(held.packet.clone(), id, held.stamp);
                (!message.is_data()).then(|| (id, message.kind()))
            })
        })
    }

    /// Delivers what has become deliverable, in the order in which it was woken, until nothing has. No recursion,
    /// and nobody is looked at who was not woken.
    pub(super) fn release(&mut self, now: Time) {
        let mut turn = 0;
        while let Some(&slot) = self.awake.get(turn) {
            turn += 1;
            self.release_next_of(now, slot);
        }
        self.awake.clear();
        if self.lagging == 0 {
            self.repair.set_deadline(None);
        }
        if !self.flushes.is_empty() {
            self.finish_flushes(now);
        }
        // One alone acknowledges for all.
        if self.stability.is_some() {
            self.tell_stable();
        }
    }

    /// Delivers the next message of a member, if it is here and its turn has come.
    fn release_next_of(&mut self, now: Time, slot: Slot) {
        let seq = self.members.delivered(slot) + 1;
        let member = self.members.get(slot);
        let Some(held) = member.ring.next() else { return };
        if !member.live || member.wait.is_some_and(|wait| wait.on != NONE) {
            return;
        }
        if member.frozen.is_some_and(|count| seq > count) {
            // Looked at again when the flush ends.
            self.members.get_mut(slot).wait = None;
            return;
        }
        let id = MessageId::new(member.id, seq);
        let stamp = StampRef::new(&held.packet, &id, &held.stamp);
        // Those before the one that it waited for are met, but are needed in `deps` all the same.
        let rest_met = match member.wait.and_then(|wait| wait.rest) {
            Some(rest) => self.members.first_unmet_from(stamp, rest, &mut self.deps),
            None => Ok(()),
        };
        match rest_met.and_then(|()| self.members.first_unmet(stamp, &mut self.deps)) {
            Ok(()) => {
                let member = self.members.get_mut(slot);
                member.wait = None;
                let held = member.ring.pop().expect("seen above");
                self.holdback_places -= 1;
                self.held -= 1;
                self.held_bytes -= held.packet.len();
                self.holds.count(now.as_nanos().saturating_sub(held.since.as_nanos()));
                tell_event!(trace, %id, held_for = ?now.since(held.since), "released");
                self.deliver(now, slot, Message::from_parts(held.packet, id, held.stamp), Some(held.since));
            }
            Err(unmet) => self.wait(now, slot, unmet),
        }
    }
}
