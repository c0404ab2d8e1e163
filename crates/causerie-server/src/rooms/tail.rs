//! The end of a room's log in pieces: each is decoded once for all gateways, with room for one rendering of each kind.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use causerie_core::id::Position;
use causerie_core::log::page::{HistoryRecord, What};
use causerie_core::log::{Read, records};
use tokio::sync::OnceCell;

use crate::rooms::error::Unreadable;
use crate::rooms::hosted::HostedRoom;
use crate::rooms::references::{self, MemberNames, Quotes};

/// Bytes and records of the log that are kept, beside the last piece.
const BYTES_MAX: usize = 256 << 10;
const RECORDS_MAX: u64 = 2048;
/// Renderings of each kind that are kept with a piece: clients of IRC choose among very many. Further ones are made for each
/// reader.
const RENDERINGS_MAX: usize = 12;

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
    renderings: Mutex<Vec<Arc<dyn Any + Send + Sync>>>,
}

impl Piece {
    fn new(behind: Position, last: Position, slices: Vec<Bytes>) -> Arc<Self> {
        let (records, answered) = (OnceCell::new(), OnceCell::new());
        Arc::new(Self { behind, last, slices, records, answered, renderings: Mutex::default() })
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
        let mut renderings = self.renderings.lock().expect("nothing panics while holding it");
        let found = renderings.iter().filter_map(|rendering| Arc::clone(rendering).downcast::<R>().ok());
        if let Some(found) = found.into_iter().find(|rendering| fits(rendering)) {
            return found;
        }
        let made = Arc::new(make());
        // By kind, so that the readers of one do not take the places of another.
        if renderings.iter().filter(|rendering| rendering.is::<R>()).count() < RENDERINGS_MAX {
            renderings.push(Arc::clone(&made) as _);
        }
        made
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

/// Neighbouring pieces, up to where somebody has read. Kept while somebody reads along.
#[derive(Default)]
pub(crate) struct Pieces {
    pieces: VecDeque<Arc<Piece>>,
    bytes: usize,
    readers: usize,
}

impl Pieces {
    fn behind(&mut self, hosted: &HostedRoom, cursor: Position) -> Behind {
        let at = self.pieces.partition_point(|piece| piece.last <= cursor);
        if let Some(piece) = self.pieces.get(at) {
            return if piece.behind <= cursor { Behind::Piece(Arc::clone(piece)) } else { Behind::Older };
        }
        let Read::Records { slices, last } = hosted.read_tail_piece(cursor) else { return Behind::Older };
        if slices.is_empty() {
            return Behind::Nothing;
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
        if self.readers > 0 {
            self.bytes += piece.bytes();
            self.pieces.push_back(Arc::clone(&piece));
        }
        Behind::Piece(piece)
    }
}

/// A reader of a room's log: while there is one, the last pieces are kept for all.
pub(crate) struct Follower {
    hosted: Arc<HostedRoom>,
    /// Taken before the room's tail.
    pieces: Arc<Mutex<Pieces>>,
}

impl Follower {
    pub(crate) fn new(hosted: &Arc<HostedRoom>) -> Self {
        let follower = Self { hosted: Arc::clone(hosted), pieces: hosted.attached.of() };
        follower.pieces().readers += 1;
        follower
    }

    fn pieces(&self) -> MutexGuard<'_, Pieces> {
        self.pieces.lock().expect("nothing panics while holding it")
    }

    /// Returns what lies behind a cursor in memory.
    pub(crate) fn behind(&self, cursor: Position) -> Behind {
        self.pieces().behind(&self.hosted, cursor)
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
        pieces.readers -= 1;
        if pieces.readers == 0 {
            *pieces = Pieces::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renderings_are_shared_and_whoever_wants_ever_others_fills_no_memory() {
        let piece = Piece::new(Position::START, Position::FIRST, Vec::new());
        let rendering = |wanted: usize| piece.rendering(|&made: &usize| made == wanted, || wanted);
        let first = rendering(0);
        assert!(Arc::ptr_eq(&first, &rendering(0)));
        for wanted in 0..100 {
            assert_eq!(*rendering(wanted), wanted);
        }
        assert!(Arc::ptr_eq(&first, &rendering(0)), "the first ones stay");
        assert_eq!(piece.renderings.lock().unwrap().len(), RENDERINGS_MAX);
        let other = piece.rendering(|_: &u8| true, || 7);
        assert!(
            Arc::ptr_eq(&other, &piece.rendering(|_: &u8| true, || 8)),
            "another kind has places of its own"
        );
    }
}
