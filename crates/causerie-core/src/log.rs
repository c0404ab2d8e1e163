//! A room's log in memory: the records in delivery order, as the bytes that every reader gets.
//!
//! Readers are cursors: they ask for what lies behind a position and get shared slices, so a slow one costs
//! nothing. Each [`commit`](Log::commit) seals what was appended since the last one into one run of bytes. The
//! oldest runs go once the log is over its limit; who asks for them is told where the log begins.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use cbcast::{MemberId, Message, MessageId};

use crate::frame::{Delivered, ServerFrame, split_frame};

/// What a reader is given.
#[derive(Clone, Debug)]
pub enum Read {
    /// Frames of the records behind the cursor, and the position of the last of them. No slices: there are none.
    Records {
        /// Runs of whole `Delivered` frames.
        slices: Vec<Bytes>,
        /// The new cursor.
        last: u64,
    },
    /// The record behind the cursor is not kept any more.
    Gone {
        /// The first position that is.
        first: u64,
    },
}

/// One record, read back.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its place, from 1.
    pub position: u64,
    /// The wall clock at delivery, for people.
    pub time_millis: u64,
    /// What was said.
    pub message: Message,
}

/// The records of one room. Positions count from 1, without holes.
#[derive(Debug)]
pub struct Log {
    runs: VecDeque<Run>,
    open: Vec<u8>,
    open_first: u64,
    last: u64,
    bytes: usize,
    bytes_max: usize,
    /// Where each kept message stands.
    index: BTreeMap<MessageId, u64>,
}

#[derive(Debug)]
struct Run {
    first: u64,
    last: u64,
    bytes: Bytes,
}

impl Log {
    /// An empty log that keeps about `bytes_max` bytes (at least the last run).
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            runs: VecDeque::new(),
            open: Vec::new(),
            open_first: 1,
            last: 0,
            bytes: 0,
            bytes_max,
            index: BTreeMap::new(),
        }
    }

    /// Appends a record; readers see it from the next [`commit`](Self::commit) on. Returns its position.
    pub fn append(&mut self, time_millis: u64, message: &Message) -> u64 {
        self.last += 1;
        let record = Delivered { position: self.last, time_millis, packet: message.packet().clone() };
        record.encode(&mut self.open);
        self.index.insert(message.id(), self.last);
        self.last
    }

    /// Lets readers see what was appended. Returns the last position.
    pub fn commit(&mut self) -> u64 {
        if !self.open.is_empty() {
            let bytes = Bytes::from(core::mem::take(&mut self.open));
            self.bytes += bytes.len();
            self.runs.push_back(Run { first: self.open_first, last: self.last, bytes });
            self.open_first = self.last + 1;
            while self.bytes > self.bytes_max && self.runs.len() > 1 {
                let run = self.runs.pop_front().expect("more than one");
                self.bytes -= run.bytes.len();
                for record in records(run.bytes) {
                    self.index.remove(&record.message.id());
                }
            }
        }
        self.last
    }

    /// The first position that is kept; one more than the last if none is.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.runs.front().map_or(self.last + 1, |run| run.first)
    }

    /// The last position; 0 if nothing was ever appended.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// What lies behind `cursor`: up to `slices_max` slices. O(log runs + slices + records of one run).
    #[must_use]
    pub fn read(&self, cursor: u64, slices_max: usize) -> Read {
        let first = self.first();
        if cursor + 1 < first {
            return Read::Gone { first };
        }
        let start = self.runs.partition_point(|run| run.last <= cursor);
        let mut slices = Vec::new();
        let mut last = cursor;
        for run in self.runs.range(start..).take(slices_max) {
            slices.push(if run.first <= cursor { behind(&run.bytes, cursor) } else { run.bytes.clone() });
            last = run.last;
        }
        Read::Records { slices, last }
    }

    /// The record at `position`, if it is kept. O(log runs + records of one run).
    #[must_use]
    pub fn record(&self, position: u64) -> Option<Record> {
        let run = self.runs.get(self.runs.partition_point(|run| run.last < position))?;
        records(run.bytes.clone()).find(|record| record.position == position)
    }

    /// Where the kept messages of a member with numbers in `from..=to` stand. O(log records) and what is taken.
    pub fn positions(&self, member: MemberId, from: u64, to: u64) -> impl Iterator<Item = u64> {
        let ids = MessageId::new(member, from)..=MessageId::new(member, to.max(from));
        self.index.range(ids).map(|(_, &position)| position)
    }
}

/// The records in a run of `Delivered` frames.
pub fn records(run: Bytes) -> impl Iterator<Item = Record> {
    let mut rest = BytesMut::from(run);
    std::iter::from_fn(move || {
        let (kind, body) = split_frame(&mut rest, usize::MAX).expect("the log's own frames")?;
        match ServerFrame::decode(kind, &body).expect("the log's own frames") {
            Some(ServerFrame::Delivered(Delivered { position, time_millis, packet })) => {
                let message = Message::decode(packet).expect("checked before it was appended");
                Some(Record { position, time_millis, message })
            }
            _ => unreachable!("the log holds records only"),
        }
    })
}

fn behind(run: &Bytes, cursor: u64) -> Bytes {
    let mut rest = run.clone();
    loop {
        let next = records_head(&rest);
        if next.0 > cursor {
            return rest;
        }
        rest = rest.slice(next.1..);
    }
}

/// The position of the first record of a run, and the length of its frame.
fn records_head(run: &Bytes) -> (u64, usize) {
    let mut reader = cbcast::wire::Reader::new(run);
    let length = reader.varint().expect("the log's own frames") as usize;
    let head = reader.position();
    reader.byte().expect("the log's own frames");
    (reader.varint().expect("the log's own frames"), head + length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cbcast::Kind;

    fn log(records: u64, each_run: u64, bytes_max: usize) -> Log {
        let mut log = Log::new(bytes_max);
        for seq in 1..=records {
            let id = MessageId::new(MemberId::new(0, 1), seq);
            let m = Message::new(id, Kind::Data, &[], format!("m{seq}").as_bytes()).unwrap();
            assert_eq!(log.append(0, &m), seq);
            if seq % each_run == 0 {
                log.commit();
            }
        }
        log
    }

    fn read(log: &Log, cursor: u64) -> Vec<u64> {
        match log.read(cursor, usize::MAX) {
            Read::Records { slices, last } => {
                let read: Vec<_> = slices.into_iter().flat_map(records).map(|r| r.position).collect();
                assert_eq!(read.last().copied().unwrap_or(cursor), last);
                read
            }
            Read::Gone { first } => panic!("begins at {first}"),
        }
    }

    #[test]
    fn every_cursor_reads_all_behind_it() {
        let log = log(30, 7, usize::MAX);
        for cursor in 0..28 {
            assert_eq!(read(&log, cursor), (cursor + 1..=28).collect::<Vec<_>>(), "28 are committed");
        }
        assert_eq!(log.record(9).unwrap().message.payload(), "m9");
        assert_eq!(
            log.positions(MemberId::new(0, 1), 9, u64::MAX).collect::<Vec<_>>(),
            (9..=30).collect::<Vec<_>>()
        );
        assert!(log.record(29).is_none() && log.record(0).is_none());
    }

    #[test]
    fn the_oldest_go_first_and_that_is_said() {
        let log = log(1_000, 10, 2_000);
        assert!(log.first() > 800 && log.last() == 1_000);
        assert!(matches!(log.read(3, 9), Read::Gone { first } if first == log.first()));
        assert_eq!(read(&log, log.first() - 1).len() as u64, 1_001 - log.first());
        assert_eq!(log.index.len() as u64, 1_001 - log.first());
        assert!(log.record(3).is_none());
    }
}
