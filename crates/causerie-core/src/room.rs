//! A room: who is in it, what was said in it, and in which order. A state machine without I/O.
//!
//! The room is itself a process of the group ([`cbcast::Group`], whose host it is): the log is the order in which
//! it delivers. Native members stamp their own messages and send packets; hosted members (of clients that cannot)
//! speak through [`Room::say`]. Those who have a token can come back by it within grace, hosted or not.
//!
//! Nothing that happens here may be seen by anybody before it is stored: after every call there may be a
//! [`Batch`] to be taken ([`Room::take_batch`]). What a call answers may be told once the batch that holds its
//! changes ([`Room::changes`]) is stored. [`Room::restore`] makes the same room of what was stored.
//!
//! The parts own what they decide about: `roster` members, names and seats; `journal` what is to be stored and what of
//! the log can be read; `once` ids of clients; `tally` what is counted. Here they meet the group.

mod admission;
mod checkpoint;
mod error;
mod journal;
mod once;
mod restore;
mod roster;
mod settings;
mod tally;
#[cfg(test)]
mod testing;
mod topic;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use cbcast::{
    BroadcastError, ConfigError, Group, HeldMessage, Kind, Link, MemberId, Message, MessageId, MissingRange,
    Output, Snapshot, VectorClock,
};

pub use self::checkpoint::NewOrigin;
use self::checkpoint::{Epochs, RoomCheckpoint};
pub use self::error::{HostedSayError, JoinError, Refusal, RestoreError, ResumeError};
use self::journal::Journal;
pub use self::journal::{Batch, Stored};
use self::once::SaidLast;
pub use self::once::{ForgottenIds, SaidBefore, SaidOnce, SaysOnce};
use self::roster::Roster;
pub use self::roster::{MemberRecord, Seat, Secrets};
use self::settings::HELD_BYTES_MAX;
pub use self::settings::{MEMBERS_MAX, Now, RoomSettings, SettingsError};
pub use self::tally::Counts;
use self::tally::RoomTally;
pub use self::topic::Topic;
use crate::content::body::{Body, BodyError, changed_by, topic_of};
use crate::content::name::{Name, RoomName};
use crate::content::reading::Reading;
use crate::id::{ClientId, Epoch, Position};
use crate::log::mark;
use crate::wire::{Limits, MemberInfo, RoomInfo, Welcome};

/// Continuation of a resumed connection.
#[derive(Debug)]
pub enum Resumed {
    /// The log goes on behind the position that was presented.
    Here {
        /// Greatest number taken of the member's messages.
        taken: u64,
    },
    /// The log does not reach back that far: start again from a snapshot.
    Gap(Box<Welcome>),
}

/// One room.
#[derive(Debug)]
pub struct Room {
    name: RoomName,
    epochs: Epochs,
    settings: RoomSettings,
    group: Group,
    host: MemberId,
    roster: Roster,
    journal: Journal,
    said_last: SaidLast,
    topic: Option<Topic>,
    tally: RoomTally,
    closed: bool,
    /// Nobody joins, and the server says nothing for anybody.
    storage_full: bool,
}

impl Room {
    /// Makes an empty room, admitting as `origin`. `epoch` is fresh randomness that tells its log from any other. With
    /// `vectors`, each message leaves its vector for the log ([`take_vectors`](Self::take_vectors)).
    #[must_use]
    pub fn new(name: RoomName, origin: u32, epoch: Epoch, settings: RoomSettings, vectors: bool) -> Self {
        let (snapshot, host) = (Snapshot::hosts([origin]), MemberId::host(origin));
        let (epochs, journal) = (Epochs::new(epoch), Journal::new(Position::START, Position::FIRST));
        let room = Self::at(name, &snapshot, host, epochs, journal, settings, vectors);
        let mut room = room.expect("one host, and limits that can be");
        // That there is such a room.
        room.journal.note_change();
        room
    }

    fn at(
        name: RoomName,
        snapshot: &Snapshot,
        host: MemberId,
        epochs: Epochs,
        journal: Journal,
        settings: RoomSettings,
        vectors: bool,
    ) -> Result<Self, ConfigError> {
        let group = Group::new(settings.group(), snapshot, [host])?;
        Ok(Self {
            name,
            epochs,
            settings,
            group,
            host,
            roster: Roster::default(),
            journal,
            said_last: SaidLast::default(),
            topic: None,
            tally: RoomTally::new(vectors),
            closed: false,
            storage_full: false,
        })
    }

    /// Sets whether nothing can be stored at the moment. Then nobody joins and nothing is said by hosted members; what native
    /// members say is taken, and waits.
    pub const fn set_storage_full(&mut self, full: bool) {
        self.storage_full = full;
    }

    // Speaking.

    /// Takes a packet from a native member. From a connection whose seat is void it is dropped: the client sends it again
    /// where it has resumed.
    ///
    /// # Errors
    /// A [`Refusal`]; if it is final the membership has ended.
    pub fn receive(&mut self, now: Now, seat: Seat, packet: Bytes) -> Result<(), Refusal> {
        if !self.is_seated(seat) {
            return Ok(());
        }
        let taken = self.take(now, seat.member, packet);
        if let Err(refusal) = &taken
            && refusal.is_final
        {
            self.part(now, seat.member, &refusal.reason);
        }
        self.drain(now);
        taken
    }

    fn take(&mut self, now: Now, member: MemberId, packet: Bytes) -> Result<(), Refusal> {
        let last = |seq, reason: String| Refusal { seq, is_final: true, reason };
        let message = Message::decode(packet).map_err(|e| last(None, e.to_string()))?;
        let seq = Some(message.id().seq);
        if message.is_data() && message.kind() != Kind::Data {
            self.tally.refused();
            return Err(last(seq, "signed messages are not taken here yet".to_owned()));
        }
        let body = Body::try_decode(&message.payload());
        if let Err(error) = body.and_then(|body| self.check_body(message.id(), &body)) {
            self.tally.refused();
            return Err(last(seq, error.to_string()));
        }
        let handled = self.group.handle_message(now.time, Link::Member(member), message);
        handled.map_err(|e| Refusal { seq, is_final: e.is_final(), reason: e.to_string() })
    }

    /// Checks that what is to become the message `id` fits, and refers to nothing that comes behind it in the log: a member
    /// has seen through here only what was delivered here, and its own messages come in their order.
    fn check_body(&self, id: MessageId, body: &Body) -> Result<(), BodyError> {
        body.check(id.member, self.settings.text_bytes_max)?;
        let before = |target: MessageId| match target.member == id.member {
            true => (1..id.seq).contains(&target.seq),
            false => self.group.has_delivered(target),
        };
        match body.target() {
            Some(target) if !before(target) => Err(BodyError::NoSuchMessage { target }),
            _ => Ok(()),
        }
    }

    /// Says something for a hosted member.
    ///
    /// # Errors
    /// [`HostedSayError`]; nothing changed.
    pub fn say(&mut self, now: Now, member: MemberId, body: &Body) -> Result<MessageId, HostedSayError> {
        let said = self.group.delivered(member).ok_or(HostedSayError::NotHere)?;
        if self.storage_full {
            return Err(HostedSayError::StorageFull);
        }
        self.check_body(MessageId::new(member, said + 1), body)?;
        let said = self.group.broadcast(now.time, member, &body.encode());
        let id = said.map_err(|error| match error {
            BroadcastError::NotLocal { .. } => HostedSayError::NotHere,
            other => HostedSayError::Packet(other),
        })?;
        self.drain(now);
        Ok(id)
    }

    /// Returns what is known here of what `member` has said with this id of its client's.
    #[must_use]
    pub fn said_once(&self, member: MemberId, client_id: &ClientId) -> SaidBefore {
        self.said_last.find(member, client_id)
    }

    /// Says something for a hosted member with an id of its client's own making, unless it has been said: said again, however
    /// late, it is the same message. `asked`: the store has been asked, after [`SaysOnce::AskStore`] told this.
    ///
    /// # Errors
    /// [`HostedSayError`]; nothing changed.
    pub fn say_once(
        &mut self,
        now: Now,
        member: MemberId,
        client_id: &ClientId,
        body: &Body,
        asked: Option<ForgottenIds>,
    ) -> Result<SaysOnce, HostedSayError> {
        match self.said_once(member, client_id) {
            SaidBefore::Said(said) => return Ok(SaysOnce::Said { said, is_new: false }),
            SaidBefore::Forgotten(forgotten) if asked != Some(forgotten) => {
                return Ok(SaysOnce::AskStore(forgotten));
            }
            SaidBefore::Never | SaidBefore::Forgotten(_) => {}
        }
        // A message of a hosted member waits for nothing: it is the next.
        let position = self.position() + 1;
        let id = self.say(now, member, body)?;
        let (said, name) = (SaidOnce { id, position }, mark::once(member, client_id));
        self.journal.mark(name.clone(), position);
        self.said_last.remember(name, said);
        Ok(SaysOnce::Said { said, is_new: true })
    }

    /// Appends what the group has delivered to the log, and says *Left* for those whose time has come.
    fn drain(&mut self, now: Now) {
        loop {
            while let Some(output) = self.group.poll_output() {
                let Output::Deliver { message, held_since } = output else { continue };
                if let Some(since) = held_since {
                    self.tally.held_for(now.time.since(since));
                }
                self.append(now.wall_millis, &message);
                if message.is_data() {
                    self.roster.delivered(message.id().member, message.id().seq);
                    self.tally.vector(|| self.roster.vector());
                }
            }
            match self.roster.next_to_leave() {
                Some(member) => self.say_left(now, member, ""),
                None => break,
            }
        }
    }

    fn append(&mut self, time_millis: u64, message: &Message) {
        let position = self.journal.append(time_millis, message.packet().clone());
        if !message.is_data() {
            return;
        }
        let (id, payload) = (message.id(), message.payload());
        if let Some(target) = changed_by(&payload).filter(|target| target.member == id.member) {
            self.journal.mark(mark::changes(target), position);
            self.topic = self.topic.take().and_then(|topic| topic.changed(target, id, &payload));
        }
        if let Some(topic) = topic_of(&payload) {
            self.journal.mark(mark::TOPIC.to_vec(), position);
            let by = self.name_of(id.member).map(ToString::to_string).unwrap_or_default();
            let said = BTreeSet::from([id]);
            self.topic = Some(Topic { text: topic.to_owned(), by, at_millis: time_millis, said });
        }
    }

    // Counting.

    /// Returns what has happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.tally.counts(&self.group.stats())
    }

    /// Takes the times for which messages were held that have been delivered since this was called last.
    pub fn take_held_times(&mut self) -> Vec<Duration> {
        self.tally.take_held_times()
    }

    // Storing.

    /// Counts how often something has changed that is to be stored.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.journal.changes()
    }

    /// Counts the bytes of records that wait to be taken.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.journal.pending_bytes()
    }

    /// Returns where the last checkpoint that was taken stands.
    #[must_use]
    pub fn checkpoint_at(&self) -> Position {
        self.journal.checkpoint_at()
    }

    /// Puts a checkpoint into the next batch, whenever the last one was.
    pub fn ask_for_checkpoint(&mut self) {
        self.journal.ask_for_checkpoint();
    }

    /// Takes what has changed since the last batch, if anything has.
    pub fn take_batch(&mut self) -> Option<Batch> {
        let Self { group, epochs, .. } = self;
        let state = || RoomCheckpoint { snapshot: group.snapshot(), epochs: epochs.clone() }.encode().into();
        self.journal.take_batch(state)
    }

    /// Takes note that records before this position are not kept any more.
    pub fn kept_from(&mut self, first: Position) {
        self.journal.kept_from(first);
    }

    /// Takes note that these records cannot be read: who needs them is told of a gap.
    pub fn unreadable(&mut self, gap: RangeInclusive<Position>) {
        self.journal.unreadable(gap);
    }

    // Repair.

    /// Takes the clock of a native member, and returns what it has said and has not arrived here.
    pub fn handle_clock(&mut self, now: Now, member: MemberId, clock: &VectorClock) -> Vec<MissingRange> {
        self.group.handle_clock(now.time, Link::Member(member), clock);
        let mut missing = self.group.missing(usize::MAX);
        missing.retain(|range| range.member == member);
        missing.truncate(self.group.config().repair_ranges_max);
        missing
    }

    // Settings.

    /// Goes by these settings from now on. What it was made with stays: the limits of a text, of members, and of the log
    /// in memory. Whose grace is running is judged by the new one.
    pub fn reconfigure(&mut self, settings: &RoomSettings) {
        self.settings.update(settings);
    }

    /// Closes the room: nobody speaks or joins any more; the connections see it and end.
    pub fn close(&mut self) {
        self.roster.void_seats();
        self.journal.note_change();
        self.closed = true;
        for member in self.roster.present() {
            self.group.discard_ahead(member);
        }
    }

    // What there is to know.

    /// Returns a number that differs from an earlier one whenever a connection may have to end: a seat has changed hands,
    /// somebody has left, the room was closed.
    #[must_use]
    pub fn seating(&self) -> u64 {
        self.roster.seating()
    }

    /// Returns whether the room was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Returns the room's name.
    #[must_use]
    pub fn name(&self) -> &RoomName {
        &self.name
    }

    /// Returns the position of the last record, stored or not.
    #[must_use]
    pub fn position(&self) -> Position {
        self.journal.position()
    }

    /// Returns the first position that is kept.
    #[must_use]
    pub fn first(&self) -> Position {
        self.journal.first()
    }

    /// Returns the number that tells its log from any other.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epochs.present()
    }

    /// Returns the vector clock of what it has delivered.
    #[must_use]
    pub fn clock(&self) -> VectorClock {
        self.group.clock()
    }

    /// Returns a number that differs from an earlier one whenever somebody has come or gone since.
    #[must_use]
    pub fn roster(&self) -> u64 {
        self.roster.changes()
    }

    /// Returns those who are in, in order of joining.
    #[must_use]
    pub fn members(&self) -> Vec<MemberInfo> {
        self.members_after(None, usize::MAX)
    }

    /// Returns the ids of those who are in, in order of joining.
    pub fn present(&self) -> impl ExactSizeIterator<Item = MemberId> {
        self.roster.present()
    }

    /// Returns those who have joined after that one and are in, in order of joining, `max` at most.
    #[must_use]
    pub fn members_after(&self, after: Option<MemberId>, max: usize) -> Vec<MemberInfo> {
        self.roster.members_after(after, max)
    }

    /// Returns whether the member is in the room, or within grace.
    #[must_use]
    pub fn is_present(&self, member: MemberId) -> bool {
        self.roster.is_present(member)
    }

    /// Returns the name of a member, present or departed.
    #[must_use]
    pub fn name_of(&self, member: MemberId) -> Option<&Name> {
        self.roster.name_of(member)
    }

    /// Returns whether somebody here has that name, letter case aside.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        self.roster.is_named(name)
    }

    /// Returns the name of somebody here, other than `besides`, that reads as `reading` does, within grace included.
    #[must_use]
    pub fn named_like(&self, reading: &Reading, besides: Option<MemberId>) -> Option<&Name> {
        self.roster.named_like(reading, besides)
    }

    /// Returns what it is about, if anybody has said so.
    #[must_use]
    pub fn topic(&self) -> Option<&Topic> {
        self.topic.as_ref()
    }

    /// Returns the messages that no other delivered message follows.
    #[must_use]
    pub fn frontier(&self) -> Vec<MessageId> {
        self.group.frontier()
    }

    /// Returns the messages that are held back, `max` at most. O(members + places in the queue).
    #[must_use]
    pub fn held(&self, max: usize) -> Vec<HeldMessage> {
        match self.group.held_count() {
            0 => Vec::new(),
            _ => self.group.held().take(max).collect(),
        }
    }

    /// Returns whether a message has been delivered here.
    #[must_use]
    pub fn has_delivered(&self, id: MessageId) -> bool {
        self.group.has_delivered(id)
    }

    /// Counts the bytes of the messages that are held back.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.group.held_bytes()
    }

    /// Holds back no more than so many bytes from now on, but one message at least.
    pub fn limit_held_bytes(&mut self, bytes: usize) {
        let least = self.settings.frame_bytes_max();
        self.group.limit_holdback(bytes.min(HELD_BYTES_MAX).max(least));
    }

    /// Returns a pair that differs from an earlier one whenever other messages are held back.
    #[must_use]
    pub fn holding(&self) -> (u64, usize) {
        (self.group.stats().held, self.group.held_count())
    }

    /// Returns what is told of it in a list.
    #[must_use]
    pub fn info(&self, port: Option<u16>) -> RoomInfo {
        RoomInfo { name: self.name.to_string(), port, members: self.present().len() as u64 }
    }

    /// Returns what it allows, as members are told.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.settings.limits()
    }

    /// Writes the messages delivered per present member, in order of joining: `[2, 1]`.
    #[must_use]
    pub fn vector(&self) -> String {
        self.roster.vector()
    }

    /// Takes the vectors of the messages since the last call, if the room keeps them.
    pub fn take_vectors(&mut self) -> Vec<String> {
        self.tally.take_vectors()
    }
}

#[cfg(test)]
mod tests {
    use cbcast::Time;

    use super::once::ONCE_MAX;
    use super::settings::HELD_BYTES_EACH;
    use super::testing::{at, client, packet, room, texts};
    use super::*;

    #[test]
    fn the_original_session_gives_the_original_vectors() {
        let mut room = room(RoomSettings::default());
        let ann = room.join_hosted(at(0), "Akshat").unwrap();
        let raj = room.join_hosted(at(0), "Raj").unwrap();
        room.say(at(0), ann, &Body::Text("hello".into())).unwrap();
        room.say(at(0), raj, &Body::Text("hi".into())).unwrap();
        room.say(at(0), ann, &Body::Text("bye".into())).unwrap();
        assert_eq!(room.take_vectors(), ["[1, 0]", "[1, 1]", "[2, 1]"]);
        assert_eq!(texts(&room), ["+Akshat", "+Raj", "hello", "hi", "bye"]);
    }

    #[test]
    fn what_refers_to_a_message_comes_behind_it() {
        let mut room = room(RoomSettings::default());
        let ann = room.join_hosted(at(0), "Ann").unwrap();
        let (seat, welcome) = room.join(at(0), "Raj", [1; 32], None).unwrap();
        let hello = room.say(at(0), ann, &Body::Text("hello".into())).unwrap();
        let reply = |to| Body::Reply { to, text: "yes".into() };
        // Hosted: what is not there, or not one's own.
        let next = MessageId::new(ann, hello.seq + 1);
        for target in [next, MessageId::new(welcome.member, 1), MessageId::new(MemberId::new(9, 9), 1)] {
            let refused = room.say(at(0), ann, &reply(target));
            assert_eq!(refused, Err(HostedSayError::Body(BodyError::NoSuchMessage { target })));
        }
        assert!(room.say(at(0), ann, &reply(hello)).is_ok());
        assert!(room.say(at(0), ann, &Body::Edit { of: hello, text: "hallo".into() }).is_ok());

        // Native: its own messages may still be on their way, in any order.
        let mut raj = client(&welcome);
        let mut said = |body: &Body| {
            raj.broadcast(Time::ZERO, welcome.member, &body.encode()).unwrap();
            let outputs = std::iter::from_fn(|| raj.poll_output());
            let sent = outputs.filter_map(|o| o.sent().cloned());
            sent.last().unwrap().into_packet()
        };
        let first = MessageId::new(welcome.member, 1);
        let packets = [Body::Text("teh".into()), Body::Edit { of: first, text: "the".into() }, reply(hello)]
            .map(|b| said(&b));
        for packet in packets.into_iter().rev() {
            room.receive(at(0), seat, packet).unwrap();
        }
        assert_eq!(texts(&room)[5..], ["teh", "the", "yes"]);
        let changed = [(hello, Position::new(5)), (first, Position::new(7))];
        assert_eq!(
            room.journal.pending().1,
            changed.map(|(target, position)| (mark::changes(target), position))
        );
        let refusal =
            room.receive(at(0), seat, said(&Body::Delete { of: hello, reason: String::new() })).unwrap_err();
        assert!(refusal.is_final && refusal.reason.contains("somebody else's"), "{refusal:?}");
        assert!(!room.is_present(welcome.member), "a hole in its numbers would block it for ever");
    }

    #[test]
    fn what_is_said_once_is_one_message() {
        let mut room = room(RoomSettings::default());
        let ann = room.join_hosted(at(0), "Ann").unwrap();
        let raj = room.join_hosted(at(0), "Raj").unwrap();
        let text = Body::Text("hello".into());
        let client_id = |id: &str| id.parse::<ClientId>().unwrap();
        let mut once = |who, id: &str, asked| room.say_once(at(0), who, &client_id(id), &text, asked);
        let first = SaidOnce { id: MessageId::new(ann, 1), position: Position::new(3) };
        assert_eq!(once(ann, "a", None), Ok(SaysOnce::Said { said: first, is_new: true }));
        assert_eq!(once(ann, "a", None), Ok(SaysOnce::Said { said: first, is_new: false }));
        let another = SaidOnce { id: MessageId::new(raj, 1), position: Position::new(4) };
        let says = once(raj, "a", None);
        assert_eq!(says, Ok(SaysOnce::Said { said: another, is_new: true }), "another's id is another id");
        for n in 0..ONCE_MAX as u64 - 2 {
            assert!(matches!(once(ann, &n.to_string(), None), Ok(SaysOnce::Said { is_new: true, .. })));
        }
        // The next makes room: now only the store knows the first.
        assert!(matches!(once(raj, "b", None), Ok(SaysOnce::Said { is_new: true, .. })));
        let Ok(SaysOnce::AskStore(forgotten)) = once(ann, "a", None) else { panic!("it may have been said") };
        assert_eq!(forgotten.last, first.position);
        assert_eq!(
            once(ann, "a", Some(ForgottenIds::default())),
            Ok(SaysOnce::AskStore(forgotten)),
            "one was forgotten since it was asked"
        );
        assert_eq!(room.said_once(ann, &client_id("c")), SaidBefore::Never);
        let says = room.say_once(at(0), ann, &client_id("a"), &text, Some(forgotten));
        assert!(matches!(says, Ok(SaysOnce::Said { is_new: true, .. })), "the store does not know it");
        let batch = room.take_batch().unwrap();
        assert_eq!(batch.marks[0], (mark::once(ann, &client_id("a")), Position::new(3)));
        assert_eq!(batch.marks.len(), ONCE_MAX + 2);
    }

    #[test]
    fn wall_clocks_order_nothing() {
        let mut room = room(RoomSettings::default());
        let ann = room.join_hosted(at(0), "Ann").unwrap();
        let raj = room.join_hosted(at(0), "Raj").unwrap();
        for (wall_millis, member, text) in [(900, ann, "question"), (5, raj, "answer"), (400, ann, "thanks")]
        {
            room.say(Now { time: Time::ZERO, wall_millis }, member, &Body::Text(text.into())).unwrap();
        }
        assert_eq!(texts(&room), ["+Ann", "+Raj", "question", "answer", "thanks"]);
    }

    #[test]
    fn what_can_never_be_taken_ends_that_membership_alone() {
        let mut room = room(RoomSettings::default());
        let eve = room.join_hosted(at(0), "Eve").unwrap();
        for (i, bad) in [
            b"garbage".to_vec(),
            Message::new(MessageId::new(eve, 1), Kind::Data, &[], b"\x01x").unwrap().packet().to_vec(),
        ]
        .into_iter()
        .enumerate()
        {
            let (seat, _) = room.join(at(0), "Raj", [i as u8; 32], None).unwrap();
            let refusal = room.receive(at(0), seat, bad.into()).unwrap_err();
            assert!(refusal.is_final, "{refusal:?}");
            assert!(!room.is_present(seat.member) && room.is_present(eve));
        }
        let (seat, welcome) = room.join(at(0), "Raj", [5; 32], None).unwrap();
        let long = packet(&mut client(&welcome), seat.member, &"x".repeat(20_000));
        assert!(room.receive(at(0), seat, long).unwrap_err().is_final);
        let (seat, _) = room.join(at(0), "Raj", [6; 32], None).unwrap();
        let far = Message::new(MessageId::new(seat.member, 5_000), Kind::Data, &[], b"\x01x").unwrap();
        let refusal = room.receive(at(0), seat, far.into_packet()).unwrap_err();
        assert!(!refusal.is_final && room.is_present(seat.member), "too far ahead: later");
    }

    #[test]
    fn what_is_held_of_a_member_is_bounded_and_goes_with_its_connection() {
        let mut room = room(RoomSettings::default());
        let (seat, welcome) = room.join(at(0), "Raj", [1; 32], None).unwrap();
        let mut raj = client(&welcome);
        let text = "x".repeat(16 << 10);
        let packets: Vec<_> = (0..100).map(|_| packet(&mut raj, seat.member, &text)).collect();
        let refused =
            packets[1..].iter().filter(|packet| room.receive(at(0), seat, (*packet).clone()).is_err());
        assert!(refused.count() > 0, "not all of it is held");
        assert!((1..=HELD_BYTES_EACH).contains(&room.held_bytes()), "{} bytes", room.held_bytes());
        room.disconnected(at(0), seat);
        assert_eq!(room.held_bytes(), 0);
        let (seat, _) =
            room.resume(at(0), seat.member, [1; 32], Epoch::new(7), Position::FIRST, &raj.clock()).unwrap();
        room.limit_held_bytes(3 * text.len());
        let refused =
            packets[1..].iter().filter_map(|packet| room.receive(at(0), seat, packet.clone()).err());
        assert!(refused.into_iter().all(|refusal| !refusal.is_final));
        let (seat, _) =
            room.resume(at(0), seat.member, [1; 32], Epoch::new(7), Position::FIRST, &raj.clock()).unwrap();
        assert_eq!(room.held_bytes(), 0, "it sends again what it has not got back");
        packets.into_iter().for_each(|packet| room.receive(at(0), seat, packet).unwrap());
        assert_eq!(texts(&room).len(), 101);
    }
}
