//! The end of a room's log as IRC clients read it: each piece is read once, and rendered once for all who read it alike.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use causerie_core::history::HistoryRecord;
use causerie_core::irc::{Found, Perspective, Rendering};
use causerie_core::log::{Read, records};
use tokio::sync::OnceCell;

use super::about;
use crate::hosted_room::{HostedRoom, Unreadable};

/// Runs of the log in one piece.
const SLICES_MAX: usize = 16;
/// Bytes and records of the log that are kept, beside the last piece.
const BYTES_MAX: usize = 512 << 10;
const RECORDS_MAX: u64 = 2048;

/// Neighbouring records.
pub(super) struct Piece {
    /// The position before the first, and that of the last.
    behind: u64,
    pub(super) last: u64,
    slices: Vec<Bytes>,
    found: OnceCell<Vec<Found>>,
    renderings: Mutex<Vec<Arc<Rendering>>>,
}

impl Piece {
    fn new(behind: u64, last: u64, slices: Vec<Bytes>) -> Arc<Self> {
        Arc::new(Self { behind, last, slices, found: OnceCell::new(), renderings: Mutex::default() })
    }

    fn bytes(&self) -> usize {
        self.slices.iter().map(Bytes::len).sum()
    }

    /// The records behind a cursor that lies before the last of them, and how they read, if they are all of the piece.
    pub(super) async fn read(
        &self,
        hosted: &HostedRoom,
        cursor: u64,
        perspective: Option<Perspective>,
    ) -> (&[Found], Option<Arc<Rendering>>) {
        let found = self.found.get_or_init(|| self.found(hosted)).await;
        let read = found.partition_point(|(record, _)| record.position <= cursor);
        let perspective = perspective.filter(|_| read == 0);
        (&found[read..], perspective.map(|perspective| self.rendering(found, perspective)))
    }

    async fn found(&self, hosted: &HostedRoom) -> Vec<Found> {
        let quotes = hosted.quotes(&self.slices).await;
        let names = hosted.names(&self.slices, &quotes).await;
        let found = self.slices.iter().cloned().flat_map(records).map(|record| {
            let name = |member| names.get(&member).cloned().unwrap_or_else(|| member.to_string());
            let record = HistoryRecord::of(record, name);
            let about = about(&record, &names, &quotes);
            (record, about)
        });
        found.collect()
    }

    fn rendering(&self, found: &[Found], perspective: Perspective) -> Arc<Rendering> {
        let mut renderings = self.renderings.lock().expect("nothing panics while holding it");
        match renderings.iter().find(|rendering| *rendering.perspective() == perspective) {
            Some(rendering) => Arc::clone(rendering),
            None => {
                let rendering = Arc::new(Rendering::new(perspective, found));
                renderings.push(Arc::clone(&rendering));
                rendering
            }
        }
    }
}

/// Neighbouring pieces, up to where somebody has read.
#[derive(Default)]
pub(crate) struct IrcTail {
    pieces: VecDeque<Arc<Piece>>,
    bytes: usize,
    readers: usize,
}

impl IrcTail {
    /// Somebody reads along.
    pub(super) fn enter(&mut self) {
        self.readers += 1;
    }

    /// Somebody reads along no longer.
    pub(super) fn leave(&mut self) {
        self.readers -= 1;
        if self.readers == 0 {
            *self = Self::default();
        }
    }

    /// What lies behind a cursor; `None` if nothing that is in memory does.
    fn piece(&mut self, hosted: &HostedRoom, cursor: u64) -> Option<Arc<Piece>> {
        let at = self.pieces.partition_point(|piece| piece.last <= cursor);
        if let Some(piece) = self.pieces.get(at) {
            return (piece.behind <= cursor).then(|| Arc::clone(piece));
        }
        let Read::Records { slices, last } = hosted.read_tail(cursor, SLICES_MAX) else { return None };
        if slices.is_empty() {
            return None;
        }
        if self.pieces.back().is_some_and(|piece| piece.last < cursor) {
            self.pieces.clear();
            self.bytes = 0;
        }
        let piece = Piece::new(cursor, last, slices);
        while let Some(first) = self.pieces.front()
            && (self.bytes > BYTES_MAX || cursor - first.behind > RECORDS_MAX)
        {
            self.bytes -= first.bytes();
            self.pieces.pop_front();
        }
        self.bytes += piece.bytes();
        self.pieces.push_back(Arc::clone(&piece));
        Some(piece)
    }
}

/// What lies behind a cursor, from memory or from the store; `None` if there is nothing more yet.
pub(super) async fn read(hosted: &HostedRoom, cursor: u64) -> Result<Option<Arc<Piece>>, Unreadable> {
    let shared = hosted.irc().piece(hosted, cursor);
    if shared.is_some() {
        return Ok(shared);
    }
    // Whoever is further behind reads alone.
    let (slices, last) = hosted.read(cursor, SLICES_MAX).await?;
    Ok((!slices.is_empty()).then(|| Piece::new(cursor, last, slices)))
}
