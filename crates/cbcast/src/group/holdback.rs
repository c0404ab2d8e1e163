//! Receiving: the delivery rule, the hold-back queue, and what a delivery sets off.

use core::cmp::Reverse;

use crate::error::ReceiveError;
use crate::group::{Group, Link, Output};
use crate::id::{MemberId, MessageId};
use crate::members::{Held, NONE, Slot, Standing, Wait};
use crate::message::{DepCursor, Kind, Message};
use crate::snapshot::COUNT_MAX;
use crate::time::Time;

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
    pub fn handle_message(&mut self, now: Time, link: Link, message: Message) -> Result<(), ReceiveError> {
        let taken = self.take(now, link, message);
        if taken.is_err() {
            self.stats.refused += 1;
        }
        taken
    }

    #[inline]
    pub(super) fn take(&mut self, now: Time, link: Link, message: Message) -> Result<(), ReceiveError> {
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
        self.check_deps(link, &message)?;
        if let Kind::Left { member, last_seq } = message.kind() {
            // Whether or not there is room for it: what has been frozen may be what fills the queue.
            self.exists_and_may_go(now, member, last_seq);
        }
        let taken = self.deliver_or_hold(now, slot, message);
        self.release(now);
        taken
    }

    fn deliver_or_hold(&mut self, now: Time, slot: Slot, message: Message) -> Result<(), ReceiveError> {
        let id = message.id();
        let ahead = id.seq - self.members.delivered(slot) - 1;
        if ahead > 0 {
            self.room_for(now, ahead + 1, ahead, slot, &message)?;
            self.hold(now, slot, ahead, message, MessageId::new(id.member, id.seq - 1));
            return Ok(());
        }
        match self.first_unmet(&message, message.dep_cursor()) {
            Ok(_) if self.members.get(slot).frozen.is_some_and(|count| id.seq > count) => {
                self.room_for(now, 1, ahead, slot, &message)?;
                let waits_for = self.next_of_host(id.member);
                self.hold(now, slot, 0, message, waits_for);
            }
            Ok(_) => self.deliver(now, slot, message, None),
            Err(wait) => {
                self.room_for(now, 1, ahead, slot, &message)?;
                let waits_for = MessageId::new(wait.0, wait.1);
                self.hold(now, slot, 0, message, waits_for);
                self.wait(now, slot, wait);
            }
        }
        Ok(())
    }

    /// The next message of the host that admitted `member`, which says what becomes of it.
    pub(super) fn next_of_host(&self, member: MemberId) -> MessageId {
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
            self.room_for(now, ahead + 1, ahead, slot, &message)?;
        } else {
            self.room_for(now, ahead + 1, ahead, NONE, &message)?;
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
        if matches!(room, Err(ReceiveError::HoldbackFull { .. })) {
            self.hear_of(now, slot, message);
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
        self.hear_of(now, slot, &message);
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

    /// Takes note that a message and its dependencies exist. `slot` may be `NONE`.
    fn hear_of(&mut self, now: Time, slot: Slot, message: &Message) {
        if slot != NONE {
            self.hear(now, slot, message.id().seq);
        }
        let mut cursor = message.dep_cursor();
        while let Some(dep) = message.next_dep(&mut cursor) {
            if let Some(slot) = self.members.live_slot(dep.member) {
                self.hear(now, slot, dep.seq);
            }
        }
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
    pub(super) fn first_unmet(
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
    pub(super) fn wait(&mut self, now: Time, slot: Slot, (member, seq, rest): (MemberId, u64, DepCursor)) {
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

    pub(super) fn last_of(&self, slot: Slot) -> MessageId {
        MessageId::new(self.members.get(slot).id, self.members.delivered(slot))
    }

    /// Counts a deliverable message, moves the frontier, applies what it announces, hands it out, and notes whose
    /// turn may have come. The caller calls [`release`](Self::release) next.
    #[inline]
    pub(super) fn deliver(&mut self, now: Time, slot: Slot, message: Message, held_since: Option<Time>) {
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
    pub(super) fn wake_waiters(&mut self, slot: Slot, seq: u64) {
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
    pub(super) fn release(&mut self, now: Time) {
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
}
