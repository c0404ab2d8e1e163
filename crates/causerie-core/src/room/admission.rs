//! Joining, coming back, and leaving.

use cbcast::Time;
use cbcast::{MemberId, MembershipError, MessageId, VectorClock};

use super::error::{JoinError, ResumeError};
use super::roster::{Pass, Person, Seat, Secrets, hash};
use super::settings::Now;
use super::{Resumed, Room};
use crate::content::name::Name;
use crate::content::reading::Reading;
use crate::content::text::clipped;
use crate::id::{Epoch, Nonce, Position, Token};
use crate::key::PublicKey;
use crate::wire::Welcome;

/// Characters of the reason of a farewell.
const REASON_CHARS_MAX: usize = 500;

impl Room {
    /// Makes a native client a member, or, by its key, gives it the answer to its join again. The caller has seen the
    /// [proof](crate::key::Proof) of the key.
    ///
    /// # Errors
    /// [`JoinError`]; nothing changed.
    pub fn join(
        &mut self,
        now: Now,
        name: &str,
        key: PublicKey,
        after: Option<(Epoch, Position)>,
    ) -> Result<(Seat, Welcome), JoinError> {
        let member = self.admit_returning(now, name, Secrets::Key(key))?;
        let seat = self.seat(member);
        let last = self.position();
        let tail = (last + 1).saturating_sub(self.settings.history).max(Position::FIRST);
        let shared = after.and_then(|(epoch, _)| self.epochs.shared(epoch, last));
        let after = after.and_then(|(_, after)| Some(after.min(shared?)));
        let wanted = after.map_or(tail, |after| after + 1);
        let first = self.journal.readable_from(wanted);
        let gap_from = after.filter(|_| wanted < first).map(|_| wanted);
        Ok((seat, Welcome { shared, ..self.welcome(member, first, gap_from) }))
    }

    /// Admits a member that can come back, or finds the one that this join has admitted before.
    fn admit_returning(&mut self, now: Now, name: &str, secrets: Secrets) -> Result<MemberId, JoinError> {
        if self.storage_full {
            return Err(JoinError::StorageFull);
        }
        let Some((member, has_changed)) = self.roster.rejoin(secrets) else {
            return self.admit(now, name, Some(Pass::new(secrets, now.time)));
        };
        if has_changed {
            self.note_member(member);
        }
        Ok(member)
    }

    /// Makes a member that lives here and can come back with its token: it speaks through [`say`](Self::say), and its
    /// grace begins now. Repeated with the same nonce it gets the same member, with another token: who repeats a join
    /// has not got the first one. `token` is fresh randomness.
    ///
    /// # Errors
    /// [`JoinError`]; nothing changed.
    pub fn join_returning(
        &mut self,
        now: Now,
        name: &str,
        nonce: Nonce,
        token: Token,
    ) -> Result<MemberId, JoinError> {
        self.admit_returning(now, name, Secrets::bearer(&token, &nonce))
    }

    /// Returns whether this is the token of that member, who lives here: a sign of life, so that its grace begins anew.
    ///
    /// # Errors
    /// [`ResumeError`]; nothing changed.
    pub fn authorize(&mut self, now: Now, member: MemberId, token: &Token) -> Result<(), ResumeError> {
        self.check_token(member, token)?;
        self.roster.is_alive(member, now.time);
        Ok(())
    }

    /// Lets a connection speak for that member, who lives here, from now on; an older connection's seat is void.
    ///
    /// # Errors
    /// [`ResumeError`]; nothing changed.
    pub fn take_seat(&mut self, member: MemberId, token: &Token) -> Result<Seat, ResumeError> {
        let checked = self.check_token(member, token);
        self.tally.resumed(&checked);
        checked.map(|()| self.seat(member))
    }

    fn check_token(&self, member: MemberId, given: &Token) -> Result<(), ResumeError> {
        let given = hash(given.bytes());
        let has = |secrets| matches!(secrets, Secrets::Bearer { token, .. } if token == given);
        self.roster.check_secrets(member, has, ResumeError::WrongToken)
    }

    /// Makes a member that lives here, for as long as its connection: it speaks through [`say`](Self::say).
    ///
    /// # Errors
    /// [`JoinError`]; nothing changed.
    pub fn join_hosted(&mut self, now: Now, name: &str) -> Result<MemberId, JoinError> {
        self.admit(now, name, None)
    }

    /// Returns the name under which somebody could join now.
    ///
    /// # Errors
    /// [`JoinError`], as joining would return.
    pub fn could_admit(&self, name: &str) -> Result<Name, JoinError> {
        if self.storage_full {
            return Err(JoinError::StorageFull);
        }
        if !self.settings.admits {
            return Err(JoinError::Lockdown);
        }
        let max = self.settings.name_chars_max;
        let name = Name::parse(name, max)?;
        if let Some(like) = self.named_like(&Reading::of(name.as_str()), None) {
            let like = like.clone();
            let suggestion =
                name.suggestion(max, |other| self.named_like(&Reading::of(other.as_str()), None).is_some());
            return Err(JoinError::NameTaken { name, like, suggestion });
        }
        if self.present().len() >= self.settings.members_max {
            return Err(JoinError::Full { limit: self.settings.members_max });
        }
        Ok(name)
    }

    fn admit(&mut self, now: Now, name: &str, pass: Option<Pass>) -> Result<MemberId, JoinError> {
        let name = self.could_admit(name)?;
        let hosted = pass.as_ref().is_none_or(Pass::is_hosted);
        let admitted = self.group.admit(now.time, self.host, hosted, name.as_str().as_bytes());
        let member = admitted.map_err(|error| match error {
            MembershipError::Full { limit } => JoinError::Full { limit: limit.saturating_sub(1) },
            other => JoinError::NotSaid(other),
        })?;
        let joined_at = self.position() + 1;
        self.roster.add(member, Person { name, joined_at, delivered: 0, pass });
        self.note_member(member);
        self.said_last.joined(member);
        self.tally.joined();
        self.drain(now);
        Ok(member)
    }

    fn seat(&mut self, member: MemberId) -> Seat {
        // What came by an older connection it sends again.
        self.group.discard_ahead(member);
        self.roster.seat(member)
    }

    fn welcome(&self, member: MemberId, first: Position, gap_from: Option<Position>) -> Welcome {
        let mut members = self.members();
        // Whoever joined within the history is named by it; who was there before and has left since is not.
        members.extend(self.roster.departed_since(first));
        Welcome {
            room: self.name.to_string(),
            created: false,
            member,
            epoch: self.epoch(),
            position: self.position(),
            first,
            gap_from,
            snapshot: self.group.snapshot(),
            members,
            limits: self.limits(),
            shared: gap_from.map(|from| from - 1),
        }
    }

    /// Lets a native client come back with its key, whose proof the caller has seen. The older connection's seat is void
    /// from now on.
    ///
    /// # Errors
    /// [`ResumeError`]. Nothing changed, except that a membership that has diverged is over.
    pub fn resume(
        &mut self,
        now: Now,
        member: MemberId,
        key: PublicKey,
        epoch: Epoch,
        position: Position,
        clock: &VectorClock,
    ) -> Result<(Seat, Resumed), ResumeError> {
        let resumed = self.resume_checked(now, member, key, epoch, position, clock);
        self.tally.resumed(&resumed);
        resumed
    }

    fn resume_checked(
        &mut self,
        now: Now,
        member: MemberId,
        key: PublicKey,
        epoch: Epoch,
        position: Position,
        clock: &VectorClock,
    ) -> Result<(Seat, Resumed), ResumeError> {
        let last = self.position();
        let has = |secrets| secrets == Secrets::Key(key);
        self.roster.check_secrets(member, has, ResumeError::WrongKey).map_err(|error| match error {
            ResumeError::Expired { taken }
                if self.epochs.shared(epoch, last).is_none_or(|shared| position > shared) =>
            {
                ResumeError::Diverged { taken }
            }
            error => error,
        })?;
        // What it has delivered came from here, its own messages on their way excepted.
        let knows_more =
            |(m, n): (MemberId, u64)| m != member && n > 0 && !self.group.has_delivered(MessageId::new(m, n));
        if epoch != self.epoch() || position > last || clock.iter().any(knows_more) {
            let taken = self.group.delivered(member).unwrap_or(0);
            self.part(now, member, "has seen what this server does not have");
            return Err(ResumeError::Diverged { taken });
        }
        let seat = self.seat(member);
        let taken = self.group.delivered(member).unwrap_or(0);
        let first = self.journal.readable_from(position + 1);
        if first == position + 1 {
            return Ok((seat, Resumed::Here { taken }));
        }
        let welcome = self.welcome(member, first, Some(position + 1));
        Ok((seat, Resumed::Gap(Box::new(welcome))))
    }

    /// Returns whether this seat's connection still speaks for its member.
    #[must_use]
    pub fn is_seated(&self, seat: Seat) -> bool {
        self.roster.is_seated(seat)
    }

    /// Begins the grace of a member that can come back and whose connection is gone. What is held of it goes, as the
    /// client sends again what has not come back to it.
    pub fn disconnected(&mut self, now: Now, seat: Seat) {
        if self.roster.unseat(seat, now.time) {
            self.group.discard_ahead(seat.member);
        }
    }

    /// Lets a native member leave: *Left* is said once everything up to `last_seq` has been delivered, or at the end
    /// of grace.
    pub fn leave(&mut self, now: Now, member: MemberId, last_seq: u64) {
        self.roster.wants_to_leave(member, last_seq);
        self.drain(now);
    }

    /// Returns where a member has left, and how much had been taken of it, if that is remembered.
    #[must_use]
    pub fn farewell(&self, member: MemberId) -> Option<(Position, u64)> {
        self.roster.farewell(member)
    }

    /// Gives a hosted member another name. In a room a name is for life, so it is another member from then on; the
    /// records of the two stand side by side.
    ///
    /// # Errors
    /// [`JoinError`]; nothing changed.
    pub fn rename_hosted(
        &mut self,
        now: Now,
        member: MemberId,
        name: &str,
        reason: &str,
    ) -> Result<MemberId, JoinError> {
        Name::parse(name, self.settings.name_chars_max)?;
        // What reads the same as its own name, and as no other, can come only once that one has gone.
        let alike: Vec<_> = self.roster.like(&Reading::of(name)).collect();
        let is_in_its_way = !alike.is_empty() && alike.iter().all(|holder| *holder == member);
        if is_in_its_way {
            self.part(now, member, reason);
        }
        let next = self.admit(now, name, None)?;
        if !is_in_its_way {
            self.part(now, member, reason);
        }
        Ok(next)
    }

    /// Puts a member out at once: a hosted one leaves, or a membership ends.
    pub fn part(&mut self, now: Now, member: MemberId, reason: &str) {
        self.say_left(now, member, reason);
        self.drain(now);
    }

    pub(super) fn say_left(&mut self, now: Now, member: MemberId, reason: &str) {
        self.roster.leaves_now(member);
        if !self.is_present(member) {
            return;
        }
        let taken = self.group.delivered(member).unwrap_or(0);
        let mut reason = reason.to_owned();
        clipped(&mut reason, REASON_CHARS_MAX);
        if let Err(MembershipError::Broadcast(_)) =
            self.group.part(now.time, self.host, member, reason.as_bytes())
        {
            // It cannot be said, so it is not so. Packets are as large as settings that were checked need them.
            return;
        }
        self.said_last.left(member);
        self.tally.left();
        self.roster.remove(member, self.journal.position() + 1, taken);
        self.note_member(member);
    }

    /// Stores what is known of a member.
    pub(super) fn note_member(&mut self, member: MemberId) {
        if let Some(record) = self.roster.record(member) {
            self.journal.note_member(record);
        }
    }

    /// Declares those left whose grace is over.
    pub fn handle_timeout(&mut self, now: Now) {
        for member in self.roster.expired(self.settings.grace, now.time) {
            self.part(now, member, "was away for too long");
        }
    }

    /// Returns when somebody's grace ends next. O(members).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.roster.first_gone().map(|since| since + self.settings.grace)
    }
}

#[cfg(test)]
mod tests {
    use cbcast::{Kind, Message, MissingRange};

    use super::*;
    use crate::content::body::Body;
    use crate::log::records;
    use crate::room::RoomSettings;
    use crate::room::testing::{Disk, at, client, packet, room, texts};

    #[test]
    fn names_are_unique_among_those_present_and_free_again_after() {
        let mut room = room(RoomSettings::default());
        let raj = room.join_hosted(at(0), "Raj").unwrap();
        let mut refused = |name| match room.join_hosted(at(0), name) {
            Err(error @ JoinError::NameTaken { .. }) => error.to_string(),
            other => panic!("{name:?}: {other:?}"),
        };
        assert_eq!(refused(" RAJ "), "the name 'RAJ' is taken; 'RAJ2' is free");
        assert_eq!(
            refused("R\u{430}j"),
            "the name 'R\u{430}j' reads like 'Raj', who is here; 'R\u{430}j2' is free"
        );
        assert!(room.is_named("raj"));
        assert!(!room.is_named("R\u{430}j"), "who is looked up is found by the name that it has");
        room.part(at(0), raj, "");
        room.join_hosted(at(0), "Raj").unwrap();
        assert!(matches!(room.join_hosted(at(0), "a\x1bb"), Err(JoinError::Name(_))));
    }

    #[test]
    fn a_join_repeated_with_its_key_is_one_member() {
        let mut room = room(RoomSettings::default());
        let (first, w1) = room.join(at(0), "Raj", [1; 32], None).unwrap();
        let (again, w2) = room.join(at(0), "Raj", [1; 32], None).unwrap();
        assert_eq!(w1.member, w2.member);
        assert_eq!(room.members().len(), 1);
        assert!(!room.is_seated(first) && room.is_seated(again));
        assert!(
            room.resume(at(0), w1.member, [1; 32], Epoch::new(7), Position::FIRST, &VectorClock::new())
                .is_ok()
        );
    }

    /// Everybody has said something that nobody has seen, so a stamp names each of them.
    #[test]
    fn a_room_that_is_as_large_as_its_settings_say_can_say_so() {
        let members_max = 21_000;
        let settings = RoomSettings { members_max, ..RoomSettings::default() };
        settings.check().unwrap();
        let limit = settings.frame_bytes_max();
        let mut room = room(settings);
        let ann = room.join_hosted(at(0), "Ann").unwrap();
        let mut seats = Vec::new();
        for n in 2..members_max {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&n.to_le_bytes());
            let pass = Pass::new(Secrets::Key(key), at(0).time);
            let member = room.admit(at(0), &n.to_string(), Some(pass)).unwrap();
            seats.push(room.seat(member));
        }
        for seat in seats {
            let m = Message::new(MessageId::new(seat.member, 1), Kind::Data, &[], b"\x01hi").unwrap();
            room.receive(at(0), seat, m.into_packet()).unwrap();
        }
        let longest = |room: &mut Room| {
            let run = room.take_batch().unwrap().records.unwrap();
            records(run.bytes).map(|record| record.message.packet().len()).max().unwrap()
        };
        longest(&mut room);
        let raj = room.join_hosted(at(0), "Raj").unwrap();
        assert!((80_000..limit).contains(&longest(&mut room)), "joined behind all of them");
        assert_eq!(room.join_hosted(at(0), "Eve"), Err(JoinError::Full { limit: members_max }));
        room.part(at(0), raj, &"why ".repeat(1_000));
        assert!(!room.is_present(raj));
        room.say(at(0), ann, &Body::Text("x".repeat(16_384))).unwrap();
        assert!(longest(&mut room) < limit);
    }

    #[test]
    fn a_native_member_speaks_resumes_and_leaves() {
        let mut room = room(RoomSettings::default());
        let (seat, welcome) = room.join(at(0), "Raj", [1; 32], None).unwrap();
        let mut raj = client(&welcome);
        let (one, two) = (packet(&mut raj, seat.member, "one"), packet(&mut raj, seat.member, "two"));
        room.receive(at(0), seat, two.clone()).unwrap();
        assert_eq!(texts(&room), ["+Raj"], "held: its predecessor is missing");
        assert_eq!(
            room.handle_clock(at(0), seat.member, &raj.clock()),
            [MissingRange { member: seat.member, from: 1, to: 1 }]
        );
        room.disconnected(at(0), seat);
        assert!(
            room.resume(at(0), seat.member, [9; 32], Epoch::new(7), Position::FIRST, &raj.clock()).is_err(),
            "wrong key"
        );
        let (seat2, resumed) =
            room.resume(at(0), seat.member, [1; 32], Epoch::new(7), Position::FIRST, &raj.clock()).unwrap();
        assert!(matches!(resumed, Resumed::Here { taken: 0 }));
        assert!(!room.is_seated(seat));
        room.receive(at(0), seat, one.clone()).unwrap();
        assert_eq!(texts(&room), ["+Raj"], "what the older connection had left unread is not taken");
        room.leave(at(0), seat2.member, 2);
        assert!(room.is_present(seat2.member), "two messages are still to come");
        room.receive(at(0), seat2, one).unwrap();
        room.receive(at(0), seat2, two).unwrap();
        assert_eq!(texts(&room), ["+Raj", "one", "two", "-"]);
        let late = room
            .resume(at(0), seat.member, [1; 32], Epoch::new(7), Position::FIRST, &raj.clock())
            .unwrap_err();
        assert_eq!(late, ResumeError::Expired { taken: 2 });
        let other = room
            .resume(at(0), seat.member, [9; 32], Epoch::new(7), Position::FIRST, &raj.clock())
            .unwrap_err();
        assert_eq!(other, ResumeError::WrongKey, "only who has the key is told");
    }

    #[test]
    fn no_token_speaks_for_who_has_a_key() {
        let mut room = room(RoomSettings::default());
        let token = Token::new([5; 16]);
        // Whoever joins chooses its key: it may be what a token would be kept as.
        let (seat, _) = room.join(at(0), "Raj", hash(token.bytes()), None).unwrap();
        assert_eq!(room.take_seat(seat.member, &token), Err(ResumeError::WrongToken));
        assert!(room.is_seated(seat));
    }

    #[test]
    fn who_knows_more_than_the_room_is_told_so_and_is_out() {
        let more: VectorClock = [(MemberId::host(0), 9)].into_iter().collect();
        for (epoch, position, clock) in [(7, 99, None), (8, 1, None), (7, 1, Some(more))] {
            let epoch = Epoch::new(epoch);
            let mut room = room(RoomSettings::default());
            let (eve, _) = room.join(at(0), "Eve", [8; 32], None).unwrap();
            let (seat, welcome) = room.join(at(0), "Raj", [1; 32], None).unwrap();
            let mut raj = client(&welcome);
            room.receive(at(0), seat, packet(&mut raj, seat.member, "one")).unwrap();
            let clock = clock.unwrap_or(raj.clock());
            let wrong =
                room.resume(at(0), seat.member, [3; 32], epoch, Position::new(position), &clock).unwrap_err();
            assert_eq!(wrong, ResumeError::WrongKey);
            assert!(room.is_present(seat.member), "nobody is put out by whoever does not have the key");
            let diverged =
                room.resume(at(0), seat.member, [1; 32], epoch, Position::new(position), &clock).unwrap_err();
            assert_eq!(diverged, ResumeError::Diverged { taken: 1 });
            assert!(room.is_seated(eve) && !room.is_present(seat.member));
            room.join(at(0), "Raj", [4; 32], Some((epoch, Position::new(position))))
                .expect("the name is free");
        }
    }

    #[test]
    fn grace_ends_with_left() {
        let mut room = room(RoomSettings::default());
        let (seat, _) = room.join(at(0), "Raj", [1; 32], None).unwrap();
        room.disconnected(at(10), seat);
        assert_eq!(room.poll_timeout(), Some(at(610).time));
        room.handle_timeout(at(609));
        assert!(room.is_present(seat.member));
        room.handle_timeout(at(610));
        assert!(!room.is_present(seat.member));
        assert_eq!(room.poll_timeout(), None);
    }

    #[test]
    fn a_hosted_member_with_a_token_comes_back_within_grace_also_after_a_restart() {
        let mut store = Disk::default();
        let mut room = room(RoomSettings::default());
        let token = |byte| Token::new([byte; 16]);
        let member = room.join_returning(at(0), "Bot", Nonce::new([1; 16]), token(2)).unwrap();
        assert_eq!(
            room.join_returning(at(1), "Bot", Nonce::new([1; 16]), token(3)),
            Ok(member),
            "it is the same join"
        );
        assert_eq!(room.authorize(at(1), member, &token(2)), Err(ResumeError::WrongToken));
        let raj = room.join(at(1), "Raj", [4; 32], None).unwrap().0.member;
        assert_eq!(room.authorize(at(1), raj, &token(5)), Err(ResumeError::WrongToken), "he stamps his own");
        let none = VectorClock::new();
        assert_eq!(
            room.resume(at(1), member, [3; 32], Epoch::new(7), Position::FIRST, &none).unwrap_err(),
            ResumeError::WrongKey
        );
        room.say(at(1), member, &Body::Text("one".into())).unwrap();
        store.store(&mut room);
        // What it says after a restart goes on where it was, from a checkpoint or not.
        for (n, checkpoint) in [(2, false), (3, true), (4, false)] {
            if checkpoint {
                room.ask_for_checkpoint();
                store.store(&mut room);
            }
            room = store.restore(at(10)).unwrap();
            room.authorize(at(10), member, &token(3)).unwrap();
            let said = room.say(at(10), member, &Body::Text(n.to_string())).unwrap();
            assert_eq!(said, MessageId::new(member, n));
            store.store(&mut room);
        }
        room.authorize(at(100), member, &token(3)).unwrap();
        room.handle_timeout(at(699));
        assert!(room.is_present(member), "its last sign of life was at 100 s");
        let seat = room.take_seat(member, &token(3)).unwrap();
        room.handle_timeout(at(9_999));
        assert!(room.is_present(member), "it is connected");
        room.disconnected(at(10_000), seat);
        room.handle_timeout(at(10_600));
        let expired = Err(ResumeError::Expired { taken: 4 });
        assert_eq!(room.authorize(at(10_601), member, &token(3)), expired);
        store.store(&mut room);
        assert_eq!(store.restore(at(0)).unwrap().authorize(at(0), member, &token(3)), expired);
        assert!(room.authorize(at(0), member, &token(9)) == Err(ResumeError::WrongToken));
    }

    #[test]
    fn a_client_older_than_what_is_kept_gets_a_snapshot_and_the_gap() {
        let mut room = room(RoomSettings::default());
        let (seat, welcome) = room.join(at(0), "Raj", [1; 32], None).unwrap();
        let ann = room.join_hosted(at(0), "Ann").unwrap();
        for n in 0..200 {
            room.say(at(0), ann, &Body::Text(n.to_string())).unwrap();
        }
        let resume = |room: &mut Room, position| {
            let clock = client(&welcome).clock();
            match room.resume(at(0), seat.member, [1; 32], Epoch::new(7), position, &clock).unwrap().1 {
                Resumed::Gap(again) => {
                    assert_eq!((again.member, again.position), (seat.member, Position::new(202)));
                    Some((again.gap_from, again.first))
                }
                Resumed::Here { .. } => None,
            }
        };
        let gap = |from, first| Some((Some(Position::new(from)), Position::new(first)));
        assert_eq!(resume(&mut room, Position::FIRST), None);
        room.kept_from(Position::new(100));
        assert_eq!(resume(&mut room, Position::FIRST), gap(2, 100));
        assert_eq!(resume(&mut room, Position::new(99)), None);
        room.unreadable(Position::new(150)..=Position::new(150));
        assert_eq!(resume(&mut room, Position::new(120)), None, "it will come to the gap, and resume there");
        assert_eq!(resume(&mut room, Position::new(149)), gap(150, 151));
    }

    #[test]
    fn history_names_those_who_have_left() {
        let mut room = room(RoomSettings { history: 2, ..RoomSettings::default() });
        let ann = room.join_hosted(at(0), "Ann").unwrap();
        room.say(at(0), ann, &Body::Text("hello".into())).unwrap();
        room.part(at(0), ann, "");
        let (_, welcome) = room.join(at(0), "Raj", [1; 32], None).unwrap();
        assert_eq!((welcome.first, welcome.position), (Position::new(3), Position::new(4)));
        let names: Vec<_> = welcome.members.iter().map(|m| (&m.name[..], m.present)).collect();
        assert_eq!(names, [("Raj", true), ("Ann", false)]);
    }
}
