//! The end of a room's log as JSON: each record is written once, and all who read along share it.

use std::collections::{BTreeMap, VecDeque};

use axum::extract::ws::Utf8Bytes;
use causerie_core::log::page::{HistoryRecord, authors};
use causerie_core::log::{Read, records};
use causerie_gateway::api::record_event;
use cbcast::MemberId;

use crate::rooms::hosted::HostedRoom;

/// Bytes kept, beside what was read last.
const BYTES_MAX: usize = 512 << 10;
/// Records and bytes read at once, but one record at least.
const RECORDS_MAX: usize = 512;
const PIECE_MAX: usize = 64 << 10;

/// Neighbouring records as events, up to where somebody has read.
#[derive(Debug, Default)]
pub(super) struct JsonTail {
    /// The position of the first.
    first: u64,
    events: VecDeque<Utf8Bytes>,
    bytes: usize,
    readers: usize,
}

impl JsonTail {
    fn last(&self) -> u64 {
        self.first + self.events.len() as u64 - 1
    }

    /// Counts somebody who reads along.
    pub(super) fn enter(&mut self) {
        self.readers += 1;
    }

    /// Counts somebody less who reads along.
    pub(super) fn leave(&mut self) {
        self.readers -= 1;
        if self.readers == 0 {
            *self = Self::default();
        }
    }

    /// Returns what lies behind a cursor, and the new cursor; `None` if it is not in memory: ask for a page.
    pub(super) fn read(&mut self, room: &HostedRoom, cursor: u64) -> Option<(Vec<Utf8Bytes>, u64)> {
        if self.first == 0 || cursor > self.last() {
            (self.first, self.bytes) = (cursor + 1, 0);
            self.events.clear();
        }
        if cursor + 1 < self.first {
            return None;
        }
        if cursor == self.last() {
            self.render(room)?;
        }
        let skip = (cursor + 1 - self.first) as usize;
        let mut bytes = 0;
        let fits = |event: &&Utf8Bytes| {
            let is_first = bytes == 0;
            bytes += event.len();
            is_first || bytes <= PIECE_MAX
        };
        let events: Vec<_> =
            self.events.iter().skip(skip).take(RECORDS_MAX).take_while(fits).cloned().collect();
        while self.bytes > BYTES_MAX && self.events.len() > events.len() {
            self.bytes -= self.events.pop_front().map_or(0, |event| event.len());
            self.first += 1;
        }
        let last = cursor + events.len() as u64;
        Some((events, last))
    }

    /// Adds what the log has next.
    fn render(&mut self, room: &HostedRoom) -> Option<()> {
        let Read::Records { slices, .. } = room.read_tail_piece(self.last()) else { return None };
        if slices.is_empty() {
            return Some(());
        }
        let named: Vec<MemberId> = slices.iter().flat_map(|run| authors(run.clone())).collect();
        // Names in records that are stored.
        let names: Option<BTreeMap<MemberId, String>> = room.peek_unstored(|room| {
            let name = |member| Some((member, room.name_of(member)?.to_string()));
            named.into_iter().map(name).collect()
        });
        // Whose name the room has forgotten the store knows.
        let names = names?;
        for record in slices.into_iter().flat_map(records) {
            let record = HistoryRecord::of(record, |member| names.get(&member).cloned().unwrap_or_default());
            let event = Utf8Bytes::from(record_event(&record));
            self.bytes += event.len();
            self.events.push_back(event);
        }
        Some(())
    }
}
