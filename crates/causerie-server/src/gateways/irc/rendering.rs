//! The end of a room's log as IRC clients read it: each piece is read once, and rendered once for all who read it alike.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use causerie_core::log::page::{HistoryRecord, What};
use causerie_core::log::{Read, records};
use causerie_gateway::irc::{Found, Move, Perspective, Rendering};
use cbcast::MemberId;
use tokio::sync::OnceCell;

use crate::rooms::error::Unreadable;
use crate::rooms::hosted::HostedRoom;
use crate::rooms::references::{self, Names, Quotes};

/// Returns who has said what a record refers to, and what.
pub(super) fn about(record: &HistoryRecord, names: &Names, quotes: &Quotes) -> Option<(String, String)> {
    match &record.what {
        What::Said(body) => references::about(body, names, quotes),
        What::Joined | What::Left { .. } => None,
    }
}

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
        let read = found.partition_point(|found| found.record.position <= cursor);
        let perspective = perspective.filter(|_| read == 0);
        (&found[read..], perspective.map(|perspective| self.rendering(found, perspective)))
    }

    async fn found(&self, hosted: &HostedRoom) -> Vec<Found> {
        let quotes = hosted.quotes(&self.slices).await;
        let names = hosted.names(&self.slices, &quotes).await;
        let records = self.slices.iter().cloned().flat_map(records).map(|record| {
            HistoryRecord::of(record, |member| {
                names.get(&member).cloned().unwrap_or_else(|| member.to_string())
            })
        });
        let found: Vec<_> = records.map(|record| (about(&record, &names, &quotes), record)).collect();
        with_tail(hosted, |tail| found.into_iter().map(|(about, record)| tail.found(record, about)).collect())
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

/// Neighbouring pieces, up to where somebody has read, and what is known of the members that came by IRC.
#[derive(Default)]
pub(super) struct IrcTail {
    pieces: VecDeque<Arc<Piece>>,
    bytes: usize,
    readers: usize,
    members: BTreeMap<MemberId, Trace>,
    /// Those that have left, in that order.
    gone: VecDeque<MemberId>,
}

/// A member that came by IRC.
struct Trace {
    mask: Arc<str>,
    came: Option<Arc<Move>>,
    went: Option<Arc<Move>>,
}

/// Members that have left and are still known. Whoever is further behind is told of them as of any others.
const GONE_MAX: usize = 1_024;

/// Does something with the tail of a room.
pub(super) fn with_tail<T>(hosted: &HostedRoom, act: impl FnOnce(&mut IrcTail) -> T) -> T {
    act(&mut hosted.renderings.of().lock().expect("nothing panics while holding it"))
}

impl IrcTail {
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

    /// A member comes by IRC, as a part of that move if it is one. Before its record can be read.
    pub(super) fn came(&mut self, member: MemberId, mask: Arc<str>, moved: Option<Arc<Move>>) {
        self.members.insert(member, Trace { mask, came: moved, went: None });
    }

    /// It goes, as a part of that move if it is one. Before its record can be read.
    pub(super) fn went(&mut self, member: MemberId, moved: Option<Arc<Move>>) {
        let Some(trace) = self.members.get_mut(&member) else { return };
        trace.went = moved;
        self.gone.push_back(member);
        if self.gone.len() > GONE_MAX {
            let oldest = self.gone.pop_front().expect("not empty");
            self.members.remove(&oldest);
        }
    }

    /// The record with what is known of its member.
    pub(super) fn found(&self, record: HistoryRecord, about: Option<(String, String)>) -> Found {
        let trace = self.members.get(&record.member);
        let moved = trace.and_then(|trace| match record.what {
            What::Joined => trace.came.clone(),
            What::Left { .. } => trace.went.clone(),
            What::Said(_) => None,
        });
        Found { mask: trace.map(|trace| Arc::clone(&trace.mask)), record, about, moved }
    }

    /// Returns what lies behind a cursor; `None` if nothing that is in memory does.
    fn piece(&mut self, hosted: &HostedRoom, cursor: u64) -> Option<Arc<Piece>> {
        let at = self.pieces.partition_point(|piece| piece.last <= cursor);
        if let Some(piece) = self.pieces.get(at) {
            return (piece.behind <= cursor).then(|| Arc::clone(piece));
        }
        let Read::Records { slices, last } = hosted.read_tail_piece(cursor) else { return None };
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

/// Reads what lies behind a cursor, from memory or from the store; `None` if there is nothing more yet.
pub(super) async fn read(hosted: &HostedRoom, cursor: u64) -> Result<Option<Arc<Piece>>, Unreadable> {
    let shared = with_tail(hosted, |tail| tail.piece(hosted, cursor));
    if shared.is_some() {
        return Ok(shared);
    }
    // Whoever is further behind reads alone.
    let (slices, last) = hosted.read_piece(cursor).await?;
    Ok((!slices.is_empty()).then(|| Piece::new(cursor, last, slices)))
}
