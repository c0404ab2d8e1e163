//! Coming in: joining, resuming, joining again; and what is said again then.

use std::collections::BTreeMap;

use cbcast::{MessageId, Time};

use super::Session;
use super::connection::Phase;
use super::event::{End, Event, SessionOutput};
use super::membership::Membership;
use super::recovery::CatchUp;
use crate::content::body::{Body, BodyError};
use crate::id::Position;
use crate::key::{Challenge, KeyPair, Purpose};
use crate::wire::{ClientFrame, VERSION, Welcome};

impl Session {
    pub(super) fn greeted(&mut self, version: u64, challenge: &Challenge) {
        if version != VERSION {
            return self.end(End::Protocol(format!("version {version} was not offered")));
        }
        let proof = self.key.prove(Purpose::Member, challenge);
        let maker = self.config.maker.as_ref().filter(|_| self.config.create);
        let frame = match &self.membership {
            Some(membership) => {
                self.connection.phase = Phase::Resuming;
                ClientFrame::Resume {
                    room: self.config.room.clone(),
                    member: membership.member,
                    proof,
                    epoch: membership.epoch,
                    position: self.placement.received(),
                    clock: membership.group.clock(),
                }
            }
            None => {
                self.connection.phase = Phase::Joining;
                ClientFrame::Join {
                    room: self.config.room.clone(),
                    name: self.config.name.clone(),
                    proof,
                    create: self.config.create,
                    maker: maker.map(|key| key.prove(Purpose::Room, challenge)),
                    after: self.placement.epoch().map(|epoch| (epoch, self.placement.placed())),
                }
            }
        };
        self.outputs.push_back(SessionOutput::Send(frame));
    }

    pub(super) fn welcomed(&mut self, now: Time, welcome: Welcome) {
        if !matches!(self.connection.phase, Phase::Joining | Phase::Resuming) {
            return;
        }
        let newcomer = self.placement.epoch().is_none();
        let mut membership = match Membership::new(&self.config, &welcome, newcomer) {
            Ok(membership) => membership,
            Err(end) => return self.end(end),
        };
        let before = self.membership.take().map(|before| before.member);
        let is_untold = self.recovery.is_untold();
        (self.unkept, self.recovery.catch_up) = (true, CatchUp::Done);
        // What was not told again comes as history.
        let retold = self.receipts.take_all_retold();
        self.receipts.change_epoch(self.placement.epoch(), welcome.epoch, welcome.shared);
        self.placement.begin(welcome.epoch, welcome.shared, welcome.first);
        if let Some(from) = welcome.gap_from {
            self.event(Event::Gap { from, to: welcome.first - 1 });
        }
        self.connection.phase = Phase::Live;
        self.connection.heartbeat_at = self.config.heartbeat.map(|pause| now + pause);
        let own = self.outbox.take_on_way();
        if before == Some(membership.member) {
            // The same member, from a fresh snapshot: its messages that the server has not taken are still its.
            let taken = membership.said();
            for message in own {
                let id = message.id();
                let is_told = !retold.contains(&id);
                if id.seq <= taken {
                    if is_told {
                        self.placement.see(id);
                    }
                } else if membership.group.readopt(now, message.clone()) {
                    self.send_packets([message.packet().clone()]);
                    self.outbox.push(message, Some(now));
                    if !is_told {
                        self.receipts.retell(id);
                    }
                } else {
                    return self.end(End::Protocol("own messages do not fit the server's snapshot".into()));
                }
            }
            while membership.group.poll_output().is_some() {}
            self.membership = Some(membership);
            self.tell_restored();
            let resent = self.outbox.on_way().len();
            self.event(Event::Resumed { resent });
            self.tell_missed(welcome.position);
            if is_untold {
                self.recovery.catch_up = CatchUp::To(welcome.position);
                self.catch_up(now);
            } else {
                self.caught_up(now);
            }
        } else {
            self.membership = Some(membership);
            self.joined(now, welcome, is_untold);
        }
        self.leave_if_done();
    }

    /// Tells that the client is another member than before, if it was one.
    fn joined(&mut self, now: Time, welcome: Welcome, is_untold: bool) {
        if self.recovery.rejoining.is_some() {
            self.tell_restored();
        }
        self.recovery.is_restored = false;
        let Welcome { member, room, created, epoch, first, position, limits, .. } = welcome;
        match self.recovery.rejoining.take() {
            None => {
                let members = self.members();
                let welcomed =
                    Event::Welcomed { member, room, created, epoch, first, position, members, limits };
                self.event(welcomed);
                self.say_unsent(now, false);
            }
            Some(reason) if is_untold => {
                // What was said in another life is told in this one once what it may refer to is.
                self.recovery.rejoined = Some(reason);
                self.tell_missed(position);
                self.recovery.catch_up = CatchUp::To(position);
                self.catch_up(now);
            }
            Some(reason) => {
                let renamed = self.say_unsent(now, true);
                self.event(Event::Rejoined { member, reason, renamed });
                self.tell_missed(position);
            }
        }
    }

    /// Tells that records follow which were missed, if there are any.
    fn tell_missed(&mut self, to: Position) {
        if to > self.placement.placed() {
            self.event(Event::CatchingUp { to });
        }
    }

    pub(super) fn resumed(&mut self, now: Time, taken: u64, last: Position) {
        let Some(membership) = &self.membership else { return };
        if taken > membership.said() {
            let reason = "the server has messages of this member that it did not send here";
            return self.end(End::Protocol(reason.into()));
        }
        self.connection.phase = Phase::Live;
        self.connection.heartbeat_at = self.config.heartbeat.map(|pause| now + pause);
        let packets = self.outbox.resend_after(taken, now);
        let resent = packets.len();
        self.send_packets(packets);
        self.tell_restored();
        self.event(Event::Resumed { resent });
        self.tell_missed(last);
        self.recovery.catch_up.ends_at(last);
        self.catch_up(now);
        self.leave_if_done();
    }

    /// Gives up the membership: what the member had said and was not taken is kept for the next.
    pub(super) fn lose_membership(&mut self, taken: u64, reason: String) {
        if self.leaving && self.connection.has_asked_to_leave {
            return self.end(End::Left);
        }
        if self.membership.take().is_some() {
            for id in self.outbox.lose_membership(taken) {
                // What was said in another life may not have been told in this one.
                if !self.receipts.is_retold(id) {
                    self.placement.see(id);
                }
            }
        }
        if self.leaving && self.on_their_way() == 0 {
            return self.end(End::Left);
        }
        self.key = KeyPair::new((self.config.fresh_seed)());
        self.unkept = true;
        self.recovery.rejoining = Some(reason);
        self.outputs.push_back(SessionOutput::HangUp("joining again".into()));
    }

    /// Tells the first words of a session that was kept.
    fn tell_restored(&mut self) {
        if !std::mem::take(&mut self.recovery.is_restored) {
            return;
        }
        let (Some(m), Some(epoch)) = (&self.membership, self.placement.epoch()) else { return };
        let (member, limits) = (m.member, m.limits);
        let (room, members) = (self.config.room.clone(), self.members());
        let (created, position) = (false, self.placement.placed());
        let first = position + 1;
        self.event(Event::Welcomed { member, room, created, epoch, first, position, members, limits });
    }

    /// Tells and says what waited, once everything is delivered that the application may have seen before.
    pub(super) fn catch_up(&mut self, now: Time) {
        if self.recovery.catch_up.is_reached(self.placement.placed()) {
            self.caught_up(now);
        }
    }

    fn caught_up(&mut self, now: Time) {
        self.recovery.catch_up = CatchUp::Done;
        let own: Vec<_> = self.outbox.on_way().cloned().collect();
        own.iter().for_each(|message| self.tell_again(message, None));
        let renamed = self.say_unsent(now, false);
        if let (Some(reason), Some(member)) = (self.recovery.rejoined.take(), self.member()) {
            self.event(Event::Rejoined { member, reason, renamed });
        }
    }

    /// Says again under this membership what was not taken under the last one, and returns the old and the new ids: of
    /// what is said `quietly`, since the application has been told of it already.
    fn say_unsent(&mut self, now: Time, quietly: bool) -> Vec<(MessageId, MessageId)> {
        let mut renamed = Vec::new();
        // What messages that had not been taken are to those that refer to them: for a deletion or an edit that cannot be
        // said any more, what it was about.
        let mut replacements = BTreeMap::new();
        let unsent = self.outbox.take_unsent();
        // What was kept has no numbers for these.
        self.unkept |= !unsent.is_empty();
        for (old, payload) in unsent {
            let Some(old) = old else {
                self.broadcast(now, &payload);
                continue;
            };
            let membership = self.membership.as_mut().expect("just made");
            let body = Body::decode(&payload.into());
            let target =
                body.target().and_then(|target| replacements.get(&target).copied().unwrap_or(Some(target)));
            let target = target.filter(|&target| membership.group.has_delivered(target));
            let limit = membership.limits.text_bytes as usize;
            let allowed = body.clone().retargeted(target).and_then(|body| {
                body.check(membership.member, limit)?;
                Ok(body)
            });
            // It has been shown already, under its old id.
            let said = allowed.and_then(|body| {
                let said = membership.group.broadcast(now, membership.member, &body.encode());
                said.map_err(|_| BodyError::TooLong { what: "message", length: body.encode().len(), limit })
            });
            self.outbox.replace(old, said.as_ref().ok().copied());
            match said {
                Ok(new) => {
                    replacements.insert(old, Some(new));
                    renamed.push((old, new));
                    self.drain_but(now, quietly.then_some(new));
                }
                Err(error) => {
                    replacements.insert(old, target);
                    self.event(Event::Unsaid { id: old, body, reason: error.to_string() });
                }
            }
        }
        self.outbox.follow_replacements(&replacements);
        renamed
    }
}
