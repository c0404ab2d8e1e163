//! Messages as they read today: edits and deletions of what is stored, found by their marks.

use std::collections::BTreeMap;

use bytes::Bytes;
use causerie_core::content::body::{Body, changed_by};
use causerie_core::id::Position;
use causerie_core::log::mark;
use causerie_core::log::page::Standing;
use causerie_core::log::{Record, head, records};
use causerie_core::timeline::standing::{Changes, standing};
use causerie_core::wire::Delivered;
use causerie_store::{RoomId, Store, StoreError};
use cbcast::{Kind, MemberId, Message, MessageId};

/// Changes of one message that are looked at, the last ones: those of an author who changes a message again and again.
const CHANGES_MAX: usize = 64;
/// Marks read at once.
const MARKS_AT_ONCE: usize = 256;

/// Messages that are looked at for one quote.
const LOOKS_MAX: usize = 64;

/// Words of a message that another is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct QuotedWords {
    /// Member that has said them.
    pub(crate) author: MemberId,
    /// Words as they read today.
    pub(crate) words: String,
}

/// The changes of a room's messages, as they are stored.
pub(crate) struct StoredChanges<'a> {
    store: &'a dyn Store,
    room: RoomId,
    /// Positions of the changes of messages that were looked up before.
    known: BTreeMap<MessageId, Vec<Position>>,
    /// Position up to which a reader has read.
    read_to: Position,
    /// True if an edit stands behind that, which is not to be told yet.
    is_edited_behind: bool,
}

impl<'a> StoredChanges<'a> {
    pub(crate) const fn new(store: &'a dyn Store, room: RoomId) -> Self {
        Self { store, room, known: BTreeMap::new(), read_to: Position::MAX, is_edited_behind: false }
    }

    /// Returns the words of a message for somebody who has read up to a position: none if it was taken back, or if it is
    /// edited behind that. What is about a reaction or a deletion is about the message that this is about.
    pub(crate) fn quote(
        &mut self,
        id: MessageId,
        read_to: Position,
    ) -> Result<Option<QuotedWords>, StoreError> {
        (self.read_to, self.is_edited_behind) = (read_to, false);
        let mut id = id;
        for _ in 0..LOOKS_MAX {
            let Some(said) = self.body(id)? else { return Ok(None) };
            // An edit has words of its own; those that stand for its message stand for it.
            match said.target().filter(|_| said.readable().is_none()) {
                Some(target) => id = target,
                None => {
                    let (standing, body) = self.reads(id, &said)?;
                    let is_told = standing != Standing::Deleted && !self.is_edited_behind;
                    let words = body.readable().filter(|_| is_told);
                    return Ok(words.map(|words| QuotedWords { author: id.member, words: words.to_owned() }));
                }
            }
        }
        Ok(None)
    }

    /// Returns how a message that was said so reads today.
    pub(crate) fn reads(&mut self, id: MessageId, said: &Body) -> Result<(Standing, Body), StoreError> {
        standing(self, id, said)
    }

    /// Looks up the changes of neighbouring messages at once: a question for each author instead of one for each message.
    fn look_up(&mut self, ids: &[MessageId]) -> Result<(), StoreError> {
        let mut authors: BTreeMap<MemberId, (u64, u64)> = BTreeMap::new();
        for id in ids {
            let seqs = authors.entry(id.member).or_insert((id.seq, id.seq));
            *seqs = (seqs.0.min(id.seq), seqs.1.max(id.seq));
        }
        let mut marked: BTreeMap<Vec<u8>, Option<Vec<Position>>> = BTreeMap::new();
        for (member, (first, last)) in authors {
            let mut from = mark::changes(MessageId::new(member, first));
            let to = mark::changes(MessageId::new(member, last));
            loop {
                let found = self.store.marked_between(self.room, &from, &to, MARKS_AT_ONCE)?;
                let is_full = found.len() == MARKS_AT_ONCE;
                let last_name = found.last().map(|(name, _)| name.clone());
                for (name, position) in found {
                    let positions = marked.entry(name).or_insert_with(|| Some(Vec::new()));
                    positions.iter_mut().for_each(|positions| positions.push(position));
                }
                let Some(name) = last_name.filter(|_| is_full) else { break };
                // It may have more, and is asked for by itself.
                marked.insert(name.clone(), None);
                from = name;
                from.push(0);
            }
        }
        for &id in ids {
            match marked.remove(&mark::changes(id)) {
                Some(None) => {}
                Some(Some(positions)) => drop(self.known.insert(id, positions)),
                None => drop(self.known.insert(id, Vec::new())),
            }
        }
        Ok(())
    }

    /// Returns whether a message may read otherwise than it was said.
    fn may_differ(&self, id: MessageId, payload: &[u8]) -> bool {
        changed_by(payload).is_some() || self.known.get(&id).is_none_or(|positions| !positions.is_empty())
    }

    fn record(&self, position: Position) -> Result<Option<Record>, StoreError> {
        let runs = self.store.read(self.room, position.saturating_sub(1), 1)?.runs;
        Ok(runs.into_iter().flat_map(records).find(|record| record.position == position))
    }
}

impl Changes for StoredChanges<'_> {
    type Error = StoreError;

    fn body(&mut self, id: MessageId) -> Result<Option<Body>, StoreError> {
        let found = self.store.positions(self.room, id.member, id.seq, id.seq, 1)?;
        let Some(&position) = found.first() else { return Ok(None) };
        let record = self.record(position)?.filter(|record| record.message.is_data());
        Ok(record.map(|record| Body::decode(&record.message.payload())))
    }

    fn changes(&mut self, target: MessageId) -> Result<Vec<(MessageId, Body)>, StoreError> {
        let positions = match self.known.get(&target) {
            Some(positions) => positions.clone(),
            None => {
                let name = mark::changes(target);
                let found = self.store.marked_between(self.room, &name, &name, CHANGES_MAX)?;
                found.into_iter().map(|(_, position)| position).collect()
            }
        };
        let mut changes = Vec::new();
        for position in positions.into_iter().take(CHANGES_MAX) {
            let Some(Record { message, .. }) = self.record(position)? else { continue };
            let (id, payload) = (message.id(), message.payload());
            // Rooms of older versions have marked all that refers to a message.
            if id.member == target.member && changed_by(&payload) == Some(target) {
                let body = Body::decode(&payload);
                self.is_edited_behind |= position > self.read_to && matches!(body, Body::Edit { .. });
                changes.push((id, body));
            }
        }
        Ok(changes)
    }
}

/// Records as they read today.
pub(crate) struct Revised {
    pub(crate) records: Bytes,
    /// The positions of those that were said otherwise, and whether nothing stands of them.
    pub(crate) revised: Vec<(Position, bool)>,
}

/// Makes of runs of records what stands of them. `bytes_max`: of all texts that stand in place of others; beyond it they
/// are left out.
pub(crate) fn revised(
    store: &dyn Store,
    room: RoomId,
    runs: &[Bytes],
    bytes_max: usize,
) -> Result<Revised, StoreError> {
    let mut stored = StoredChanges::new(store, room);
    let all: Vec<_> = runs.iter().cloned().flat_map(records).collect();
    let said = |record: &Record| record.message.is_data();
    let ids: Vec<_> = all.iter().filter(|record| said(record)).map(|record| record.message.id()).collect();
    stored.look_up(&ids)?;
    let (mut out, mut others, mut left) = (Vec::new(), Vec::new(), bytes_max);
    let mut frames = runs.iter().flat_map(|run| frames(run.clone()));
    for record in all {
        let frame = frames.next().expect("each record has a frame");
        let (id, payload) = (record.message.id(), record.message.payload());
        if !said(&record) || !stored.may_differ(id, &payload) {
            out.extend_from_slice(&frame);
            continue;
        }
        let (standing, mut body) = stored.reads(id, &Body::decode(&payload))?;
        if standing == Standing::AsSaid {
            out.extend_from_slice(&frame);
            continue;
        }
        match left.checked_sub(body.readable().map_or(0, str::len)) {
            Some(less) => left = less,
            None => body = body.with_text(String::new()),
        }
        let deps: Vec<_> = record.message.deps().collect();
        let message = Message::new(id, Kind::Data, &deps, &body.encode());
        let packet = message.expect("it is one already, with another text").into_packet();
        Delivered { position: record.position, time_millis: record.time_millis, packet }.encode(&mut out);
        others.push((record.position, standing == Standing::Deleted));
    }
    Ok(Revised { records: out.into(), revised: others })
}

/// The frames of a run, one by one.
fn frames(mut run: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || (!run.is_empty()).then(|| run.split_to(head(&run).1)))
}

#[cfg(test)]
mod tests {
    use causerie_store::{Change, MemoryStore, RoomRow};

    use super::*;

    const ROOM: RoomId = RoomId(0);
    const RAJ: MemberId = MemberId::new(0, 7);

    /// A room in which Raj has said these in a row, marked as rooms do it.
    fn store(said: &[Body]) -> MemoryStore {
        let store = MemoryStore::new();
        let row =
            RoomRow { name: "room".into(), epoch: causerie_core::id::Epoch::new(1), ..RoomRow::default() };
        let (mut run, mut marks) = (Vec::new(), Vec::new());
        for (position, body) in (1..).zip(said) {
            let message =
                Message::new(MessageId::new(RAJ, position), Kind::Data, &[], &body.encode()).unwrap();
            Delivered { position: Position::new(position), time_millis: 0, packet: message.into_packet() }
                .encode(&mut run);
            if let Some(target) = changed_by(&body.encode()) {
                marks.push(Change::Mark {
                    room: ROOM,
                    name: mark::changes(target).into(),
                    position: Position::new(position),
                });
            }
        }
        let last = said.len() as u64;
        let append =
            Change::Append { room: ROOM, first: Position::FIRST, last: Position::new(last), run: run.into() };
        let changes = [Change::Create { room: ROOM, row }, append].into_iter().chain(marks);
        store.commit(changes.collect()).unwrap();
        store
    }

    fn read(store: &MemoryStore, bytes_max: usize) -> (Vec<String>, Vec<(Position, bool)>) {
        let runs = store.read(ROOM, Position::START, usize::MAX).unwrap().runs;
        let Revised { records: frames, revised } = revised(store, ROOM, &runs, bytes_max).unwrap();
        let text = |record: Record| Body::decode(&record.message.payload()).text().unwrap_or("-").to_owned();
        (records(frames).map(text).collect(), revised)
    }

    #[test]
    fn pages_have_what_stands() {
        let id = |seq| MessageId::new(RAJ, seq);
        let said = [
            Body::Text("my password".into()),
            Body::Text("teh".into()),
            Body::Edit { of: id(2), text: "the".into() },
            Body::Edit { of: id(3), text: "this".into() },
            Body::Delete { of: id(1), reason: String::new() },
            Body::Text("x".into()),
        ];
        let store = store(&said);
        let (texts, others) = read(&store, 99);
        assert_eq!(texts, ["", "this", "this", "this", "-", "x"]);
        assert_eq!(others, [(Position::FIRST, true), (Position::new(2), false), (Position::new(3), false)]);
        let mut stored = StoredChanges::new(&store, ROOM);
        let mut quote = |seq, read_to| stored.quote(id(seq), read_to).unwrap().map(|quote| quote.words);
        assert_eq!(
            (quote(1, Position::new(9)), quote(2, Position::new(9)), quote(6, Position::new(9))),
            (None, Some("this".into()), Some("x".into()))
        );
        assert_eq!(
            (quote(2, Position::new(3)), quote(2, Position::new(4))),
            (None, Some("this".into())),
            "nothing is told before its time"
        );
        assert_eq!(read(&store, 4).0, ["", "this", "", "this", "-", "x"], "no more than there is room for");
    }

    #[test]
    fn what_is_about_a_reaction_or_a_deletion_quotes_the_message() {
        let id = |seq| MessageId::new(RAJ, seq);
        let said = [
            Body::Text("done".into()),
            Body::Edit { of: id(1), text: "done!".into() },
            Body::Reaction { to: id(2), symbol: "+".into(), set: true },
            Body::Reaction { to: id(3), symbol: "-".into(), set: true },
            Body::Topic("numbers".into()),
            Body::Text("gone".into()),
            Body::Delete { of: id(6), reason: String::new() },
        ];
        let store = store(&said);
        let mut stored = StoredChanges::new(&store, ROOM);
        let mut quote = |seq| stored.quote(id(seq), Position::new(9)).unwrap().map(|quote| quote.words);
        assert_eq!([3, 4].map(&mut quote), [Some("done!".into()), Some("done!".into())]);
        assert_eq!([5, 7].map(quote), [Some("numbers".into()), None]);
    }

    #[test]
    fn a_message_that_is_changed_ever_again_costs_a_bounded_look() {
        let edits = (0..1_000).map(|n| Body::Edit { of: MessageId::new(RAJ, 1), text: n.to_string() });
        let said: Vec<_> = [Body::Text("x".into())].into_iter().chain(edits).collect();
        let (texts, others) = read(&store(&said), 1 << 20);
        assert!(texts.iter().all(|text| text == "999"));
        assert_eq!(others.len(), 1_000);
    }
}
