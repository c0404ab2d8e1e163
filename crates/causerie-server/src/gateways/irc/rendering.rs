//! Records of a room as IRC clients read them, and what is known of the members that came by IRC.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use causerie_core::id::Position;
use causerie_core::log::page::{HistoryRecord, What};
use causerie_gateway::irc::{FoundRecord, IrcRendering, Move, Perspective};
use cbcast::MemberId;

use crate::rooms::hosted::HostedRoom;
use crate::rooms::tail::{Answered, Piece};

/// Records of a piece with what is known of their members.
pub(super) struct KnownRecords(Vec<FoundRecord>);

impl KnownRecords {
    pub(super) async fn of(piece: &Piece, hosted: &HostedRoom) -> Arc<Self> {
        let (records, answered) = (piece.records(hosted).await, piece.answered(hosted).await);
        let make = || {
            let all = records.iter().cloned().zip(answered.iter().cloned());
            Self(with_traces(hosted, |traces| {
                all.map(|(record, about)| traces.found(record, about)).collect()
            }))
        };
        piece.rendering(|_| true, make)
    }

    /// Returns the records behind a cursor, and how they read, if they are all of the piece.
    pub(super) fn read(
        &self,
        piece: &Piece,
        cursor: Position,
        perspective: Option<Perspective>,
    ) -> (&[FoundRecord], Option<Arc<IrcRendering>>) {
        let read = self.0.partition_point(|found| found.record.position <= cursor);
        let rendering = |perspective: Perspective| {
            let fits = |rendering: &IrcRendering| *rendering.perspective() == perspective;
            piece.rendering(fits, || IrcRendering::new(perspective.clone(), &self.0))
        };
        (&self.0[read..], perspective.filter(|_| read == 0).map(rendering))
    }
}

/// The members of a room that came by IRC. Kept while somebody reads along by IRC.
#[derive(Default)]
pub(super) struct Traces {
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

/// Does something with the traces of a room's members.
pub(super) fn with_traces<T>(hosted: &HostedRoom, act: impl FnOnce(&mut Traces) -> T) -> T {
    act(&mut hosted.attached.of().lock().expect("nothing panics while holding it"))
}

impl Traces {
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
    pub(super) fn found(&self, record: HistoryRecord, about: Answered) -> FoundRecord {
        let trace = self.members.get(&record.member);
        let moved = trace.and_then(|trace| match record.what {
            What::Joined => trace.came.clone(),
            What::Left { .. } => trace.went.clone(),
            What::Said(_) => None,
        });
        FoundRecord { mask: trace.map(|trace| Arc::clone(&trace.mask)), record, about, moved }
    }
}
