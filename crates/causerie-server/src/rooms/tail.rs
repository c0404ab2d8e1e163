//! The end of a room's log in pieces: each is decoded once for all gateways, with room for one rendering of each kind.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use causerie_core::id::Position;
use causerie_core::log::page::{HistoryRecord, What};
use causerie_core::log::{Read, records};
use tokio::sync::OnceCell;

use crate::rooms::error::Unreadable;
use crate::rooms::hosted::HostedRoom;
use crate::rooms::references::{self, MemberNames, Quotes};
use crate::rooms::renderings::Renderings;

/// Bytes and records of the log that are kept, beside the last piece.
const BYTES_MAX: usize = 256 << 10;
const RECORDS_MAX: u64 = 2048;

/// Author and beginning of the text that a record answers, where they are known.
pub(crate) type Answered = Option<(String, String)>;

/// Returns what a record answers.
pub(crate) fn answered(record: &HistoryRecord, names: &MemberNames, quotes: &Quotes) -> Answered {
    match &record.what {
        What::Said(body) => references::about(body, names, quotes),
        What::Joined | What::Left { .. } => None,
    }
}

/// Neighbouring records.
pub(crate) struct Piece {
    /// Position before the first.
    behind: Position,
    /// Position of the last.
    pub(crate) last: Position,
    slices: Vec<Bytes>,
    records: OnceCell<Vec<HistoryRecord>>,
    answered: OnceCell<Vec<Answered>>,
    renderings: Renderings,
}

impl Piece {
    fn new(behind: Position, last: Position, slices: Vec<Bytes>) -> Arc<Self> {
        let (records, answered) = (OnceCell::new(), OnceCell::new());
        Arc::new(Self { behind, last, slices, records, answered, renderings: Renderings::default() })
    }

    fn bytes(&self) -> usize {
        self.slices.iter().map(Bytes::len).sum()
    }

    /// Returns the records, with the names of those who did what they tell.
    pub(crate) async fn records(&self, hosted: &HostedRoom) -> &[HistoryRecord] {
        let read = async {
            let names = hosted.names(&self.slices, &Quotes::new()).await;
            let name = |member| names.get(&member).cloned().unwrap_or_else(|| member.to_string());
            self.slices
                .iter()
                .cloned()
                .flat_map(records)
                .map(|record| HistoryRecord::of(record, name))
                .collect()
        };
        self.records.get_or_init(|| read).await
    }

    /// Returns what each of the records answers, for clients that cannot look it up.
    pub(crate) async fn answered(&self, hosted: &HostedRoom) -> &[Answered] {
        let records = self.records(hosted).await;
        let read = async {
            let quotes = hosted.quotes(&self.slices).await;
            let names = hosted.names(&[], &quotes).await;
            records.iter().map(|record| answered(record, &names, &quotes)).collect()
        };
        self.answered.get_or_init(|| read).await
    }

    /// Returns the rendering of a kind that fits, made of the piece if none is kept.
    pub(crate) fn rendering<R: Send + Sync + 'static>(
        &self,
        fits: impl Fn(&R) -> bool,
        make: impl FnOnce() -> R,
    ) -> Arc<R> {
        self.renderings.get(fits, make)
    }
}

/// Records behind a cursor.
pub(crate) enum Behind {
    /// These records, those of them that are not behind the cursor to be left out.
    Piece(Arc<Piece>),
    /// Nothing yet.
    Nothing,
    /// Records that are not in memory any more.
    Older,
}

/// Neighbouring pieces, up to where somebody has read. Each is kept until all who read along are behind it.
#[derive(Default)]
pub(crate) struct Pieces {
    pieces: VecDeque<Arc<Piece>>,
    bytes: usize,
    /// Cursors of those who read along, with how many stand at each.
    cursors: BTreeMap<Position, usize>,
}

impl Pieces {
    fn behind(&mut self, hosted: &HostedRoom, cursor: Position) -> Behind {
        let at = self.pieces.partition_point(|piece| piece.last <= cursor);
        let is_before = match self.pieces.get(at) {
            Some(piece) if piece.behind <= cursor => return Behind::Piece(Arc::clone(piece)),
            found => found.is_some(),
        };
        let Read::Records { slices, last } = hosted.read_tail_piece(cursor) else { return Behind::Older };
        if slices.is_empty() {
            return Behind::Nothing;
        }
        if self.pieces.back().is_some_and(|piece| piece.last < cursor) {
            self.pieces.clear();
            self.bytes = 0;
        }
        let piece = Piece::new(cursor, last, slices);
        if is_before {
            // Whoever is further behind than the others reads alone.
            return Behind::Piece(piece);
        }
        while let Some(first) = self.pieces.front()
            && (self.bytes > BYTES_MAX || cursor - first.behind > RECORDS_MAX)
        {
            self.bytes -= first.bytes();
            self.pieces.pop_front();
        }
        self.bytes += piece.bytes();
        self.pieces.push_back(Arc::clone(&piece));
        Behind::Piece(piece)
    }

    fn enter(&mut self, cursor: Position) {
        *self.cursors.entry(cursor).or_default() += 1;
    }

    /// One who stood there does so no longer. Pieces that nobody is to read any more go.
    fn leave(&mut self, cursor: Position) {
        if let Entry::Occupied(mut readers) = self.cursors.entry(cursor) {
            *readers.get_mut() -= 1;
            if *readers.get() == 0 {
                readers.remove();
            }
        }
        let first = self.cursors.keys().next();
        while let Some(piece) = self.pieces.front()
            && first.is_none_or(|first| piece.last <= *first)
        {
            self.bytes -= piece.bytes();
            self.pieces.pop_front();
        }
    }
}

/// A reader of a room's log: what it has not read is kept for all.
pub(crate) struct Follower {
    hosted: Arc<HostedRoom>,
    /// Taken before the room's tail.
    pieces: Arc<Mutex<Pieces>>,
    /// Its place among the cursors, while it reads. Taken within the pieces.
    cursor: Mutex<Option<Position>>,
}

impl Follower {
    pub(crate) fn new(hosted: &Arc<HostedRoom>, cursor: Position) -> Self {
        let (hosted, pieces) = (Arc::clone(hosted), hosted.attached.of());
        let follower = Self { hosted, pieces, cursor: Mutex::new(Some(cursor)) };
        follower.pieces().enter(cursor);
        follower
    }

    /// Makes a follower for which nothing is kept until it reads.
    pub(crate) fn resting(hosted: &Arc<HostedRoom>) -> Self {
        Self { hosted: Arc::clone(hosted), pieces: hosted.attached.of(), cursor: Mutex::default() }
    }

    fn pieces(&self) -> MutexGuard<'_, Pieces> {
        self.pieces.lock().expect("nothing panics while holding it")
    }

    /// Has nothing kept for it but what lies behind this cursor; `None`: nothing at all, until it reads again.
    pub(crate) fn stand(&self, cursor: Option<Position>) {
        self.stand_among(&mut self.pieces(), cursor);
    }

    fn stand_among(&self, pieces: &mut Pieces, cursor: Option<Position>) {
        let mut stood = self.cursor.lock().expect("nothing panics while holding it");
        if *stood != cursor {
            cursor.into_iter().for_each(|cursor| pieces.enter(cursor));
            std::mem::replace(&mut *stood, cursor).into_iter().for_each(|cursor| pieces.leave(cursor));
        }
    }

    /// Returns what lies behind a cursor in memory.
    pub(crate) fn behind(&self, cursor: Position) -> Behind {
        let mut pieces = self.pieces();
        self.stand_among(&mut pieces, Some(cursor));
        pieces.behind(&self.hosted, cursor)
    }

    /// Reads what lies behind a cursor, from memory or from the store; `None` if there is nothing more yet.
    pub(crate) async fn read(&self, cursor: Position) -> Result<Option<Arc<Piece>>, Unreadable> {
        match self.behind(cursor) {
            Behind::Piece(piece) => Ok(Some(piece)),
            Behind::Nothing => Ok(None),
            // Whoever is further behind reads alone.
            Behind::Older => {
                let (slices, last) = self.hosted.read_piece(cursor).await?;
                Ok((!slices.is_empty()).then(|| Piece::new(cursor, last, slices)))
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // Whatever panicked in the room itself, a second panic on the way out would end the server.
        let Ok(mut pieces) = self.pieces.lock() else { return };
        let Ok(cursor) = self.cursor.get_mut() else { return };
        cursor.take().into_iter().for_each(|cursor| pieces.leave(cursor));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_kept_until_all_who_read_along_are_behind_them() {
        let at = Position::new;
        let mut pieces = Pieces::default();
        for last in [10, 20] {
            pieces.pieces.push_back(Piece::new(at(last - 10), at(last), vec![Bytes::from_static(b"abc")]));
            pieces.bytes += 3;
        }
        for cursor in [0, 0, 10] {
            pieces.enter(at(cursor));
        }
        let mut goes_on = |from, to| {
            pieces.enter(at(to));
            pieces.leave(at(from));
            (pieces.pieces.len(), pieces.bytes)
        };
        assert_eq!(goes_on(0, 20), (2, 6), "another has not read the first");
        assert_eq!(goes_on(0, 10), (1, 3));
        assert_eq!(goes_on(10, 20), (1, 3));
        pieces.leave(at(10));
        assert_eq!((pieces.pieces.len(), pieces.bytes), (0, 0), "who leaves reads nothing more");
        assert_eq!(pieces.cursors, BTreeMap::from([(at(20), 2)]));
    }
}
