//! The tail of a room's log in memory: the last records in delivery order, as the bytes that every reader gets.
//!
//! Readers are cursors: they ask for what lies behind a position and get shared slices, so a slow one costs
//! nothing. What is older than the tail is in the store. A record comes into the tail once it is stored, as part of
//! the run that was stored together, and not before: what can be read here is never taken back.

pub mod mark;
pub mod page;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use cbcast::Message;

use crate::id::Position;
pub use crate::wire::head;
use crate::wire::{Delivered, split_frame};

/// Answer to a reader.
#[derive(Clone, Debug)]
pub enum Read {
    /// Frames of the records behind the cursor, and the position of the last of them. No slices: there are none.
    Records {
        /// Runs of whole `Delivered` frames.
        slices: Vec<Bytes>,
        /// The new cursor.
        last: Position,
    },
    /// The record behind the cursor is not in the tail any more: ask the store.
    Older,
}

/// Neighbouring records, as whole `Delivered` frames.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Run {
    /// The position of the first.
    pub first: Position,
    /// The position of the last.
    pub last: Position,
    /// The frames.
    pub bytes: Bytes,
}

/// One record, read back.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its place, from 1.
    pub position: Position,
    /// The wall clock at delivery, for people.
    pub time_millis: u64,
    /// Message that was said.
    pub message: Message,
}

/// The last records of one room. Positions count from 1, without holes.
#[derive(Debug)]
pub struct Log {
    runs: VecDeque<Run>,
    last: Position,
    bytes: usize,
    bytes_max: usize,
}

impl Log {
    /// The tail behind `last`, with nothing in it yet. It keeps about `bytes_max` bytes (at least the last run).
    #[must_use]
    pub fn new(last: Position, bytes_max: usize) -> Self {
        Self { runs: VecDeque::new(), last, bytes: 0, bytes_max }
    }

    /// Adds what comes next. The oldest runs go once there is too much.
    pub fn push(&mut self, run: Run) {
        debug_assert_eq!(run.first, self.last + 1);
        self.last = run.last;
        self.bytes += run.bytes.len();
        self.runs.push_back(run);
        while self.bytes > self.bytes_max && self.runs.len() > 1 {
            let run = self.runs.pop_front().expect("more than one");
            self.bytes -= run.bytes.len();
        }
    }

    /// The first position that is here; one more than the last if none is.
    #[must_use]
    pub fn first(&self) -> Position {
        self.runs.front().map_or(self.last + 1, |run| run.first)
    }

    /// The last position; 0 if nothing was ever said.
    #[must_use]
    pub fn last(&self) -> Position {
        self.last
    }

    /// Returns what lies behind `cursor`: up to `slices_max` slices. O(log runs + slices + records of one run).
    #[must_use]
    pub fn read(&self, cursor: Position, slices_max: usize) -> Read {
        if cursor + 1 < self.first() {
            return Read::Older;
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
}

/// The records in a run of `Delivered` frames.
pub fn records(run: Bytes) -> impl Iterator<Item = Record> {
    let mut rest = BytesMut::from(run);
    std::iter::from_fn(move || {
        let (kind, body) = split_frame(&mut rest, usize::MAX).expect("the log's own frames")?;
        let record = Delivered::decode(kind, &body).expect("the log's own frames");
        let Delivered { position, time_millis, packet } = record.expect("the log holds records only");
        let message = Message::decode(packet).expect("checked before it was appended");
        Some(Record { position, time_millis, message })
    })
}

/// Leaves of these runs the first records, of `bytes_max` bytes in all, or the first one. Returns the position of the last
/// that is left, if anything was cut off.
pub fn cut(runs: &mut Vec<Bytes>, bytes_max: usize) -> Option<Position> {
    if runs.iter().map(Bytes::len).sum::<usize>() <= bytes_max {
        return None;
    }
    let (mut left, mut last) = (bytes_max, None);
    for n in 0..runs.len() {
        let mut at = 0;
        while at < runs[n].len() {
            let (position, length) = head(&runs[n].slice(at..));
            if last.is_some() && length > left {
                runs[n].truncate(at);
                runs.truncate(n + usize::from(at > 0));
                return last;
            }
            (left, last) = (left.saturating_sub(length), Some(position));
            at += length;
        }
    }
    // There is one record only.
    None
}

fn behind(run: &Bytes, cursor: Position) -> Bytes {
    let mut rest = run.clone();
    loop {
        let next = head(&rest);
        if next.0 > cursor {
            return rest;
        }
        rest = rest.slice(next.1..);
    }
}

/// Returns where a reader is that has taken the first `taken` bytes of these runs, and what it still needs of the record
/// in which that is: the position of the last record that it has begun to read, if any, and a copy, so that nothing else is kept
/// for who reads slowly.
#[must_use]
pub fn after(runs: &[Bytes], mut taken: usize) -> (Option<Position>, Bytes) {
    let mut last = None;
    for run in runs {
        let mut rest = run.clone();
        while !rest.is_empty() {
            if taken == 0 {
                return (last, Bytes::new());
            }
            let (position, length) = head(&rest);
            last = Some(position);
            if taken < length {
                return (last, Bytes::copy_from_slice(&rest[taken..length]));
            }
            taken -= length;
            rest = rest.slice(length..);
        }
    }
    (last, Bytes::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cbcast::{Kind, MemberId, MessageId};

    fn log(records: u64, each_run: u64, bytes_max: usize) -> Log {
        let mut log = Log::new(Position::START, bytes_max);
        let mut bytes = Vec::new();
        for position in 1..=records {
            let id = MessageId::new(MemberId::new(0, 1), position);
            let m = Message::new(id, Kind::Data, &[], format!("m{position}").as_bytes()).unwrap();
            Delivered { position: Position::new(position), time_millis: 0, packet: m.into_packet() }
                .encode(&mut bytes);
            if position % each_run == 0 {
                let bytes = std::mem::take(&mut bytes).into();
                log.push(Run {
                    first: Position::new(position + 1 - each_run),
                    last: Position::new(position),
                    bytes,
                });
            }
        }
        log
    }

    fn read(log: &Log, cursor: Position) -> Vec<Position> {
        match log.read(cursor, usize::MAX) {
            Read::Records { slices, last } => {
                let read: Vec<_> = slices.into_iter().flat_map(records).map(|r| r.position).collect();
                assert_eq!(read.last().copied().unwrap_or(cursor), last);
                read
            }
            Read::Older => panic!("begins at {}", log.first()),
        }
    }

    #[test]
    fn every_cursor_reads_all_behind_it() {
        let log = log(30, 7, usize::MAX);
        for cursor in 0..28 {
            let behind: Vec<_> = (cursor + 1..=28).map(Position::new).collect();
            assert_eq!(read(&log, Position::new(cursor)), behind, "28 were pushed");
        }
    }

    #[test]
    fn the_oldest_go_first_and_that_is_said() {
        let log = log(1_000, 10, 2_000);
        assert!(log.first() > Position::new(800) && log.last() == Position::new(1_000));
        assert!(matches!(log.read(Position::new(3), 9), Read::Older));
        assert_eq!(read(&log, log.first() - 1).len() as u64, Position::new(1_001) - log.first());
    }

    #[test]
    fn wherever_a_reader_stops_it_goes_on_with_the_next_byte_and_keeps_one_record_at_most() {
        let log = log(30, 7, usize::MAX);
        let Read::Records { slices, .. } = log.read(Position::START, usize::MAX) else { panic!() };
        let all = slices.concat();
        for taken in 0..=all.len() {
            let (cursor, rest) = after(&slices, taken);
            let Read::Records { slices: behind, .. } =
                log.read(cursor.unwrap_or(Position::START), usize::MAX)
            else {
                panic!()
            };
            let read = [&all[..taken], &rest, &behind.concat()].concat();
            assert!(read == all, "{taken} bytes were taken");
            assert!(rest.len() < 20, "no record is longer");
        }
    }

    #[test]
    fn the_tail_is_no_larger_than_it_may_be() {
        let mut small = Log::new(Position::START, 2_000);
        for run in log(1_000, 10, usize::MAX).runs {
            let longest = run.bytes.len();
            small.push(run);
            let kept: usize = small.runs.iter().map(|run| run.bytes.len()).sum();
            assert_eq!(kept, small.bytes);
            assert!(kept <= 2_000.max(longest));
        }
    }
}
