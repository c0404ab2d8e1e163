//! Records of a room as lines, written once for all its classic clients.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use causerie_core::id::Position;
use causerie_gateway::classic::ClassicRendering;
use cbcast::MemberId;

use crate::fanout::form::{Form, Run};
use crate::rooms::hosted::HostedRoom;
use crate::rooms::tail::{Behind, Follower, Piece};

/// Lines behind a cursor.
pub(super) struct LineRun {
    rendering: Arc<ClassicRendering>,
    /// Records of the piece before the cursor.
    skipped: usize,
    /// Lines of somebody who has done nothing of it, if there are any.
    lines: Vec<Bytes>,
    /// Position before the piece.
    behind: Position,
    last: Position,
}

impl LineRun {
    /// Returns the lines of a piece behind a cursor.
    pub(super) async fn of(
        piece: &Piece,
        hosted: &HostedRoom,
        cursor: Position,
        ascii_only: bool,
    ) -> Option<Self> {
        let (records, answered) = (piece.records(hosted).await, piece.answered(hosted).await);
        let make = || {
            let answered =
                answered.iter().map(|about| about.as_ref().map(|(author, text)| (&author[..], &text[..])));
            ClassicRendering::new(records.iter().zip(answered), ascii_only)
        };
        let rendering =
            piece.rendering(|rendering: &ClassicRendering| rendering.is_ascii_only() == ascii_only, make);
        let skipped = records.partition_point(|record| record.position <= cursor);
        let lines = Some(rendering.lines(skipped)).filter(|lines| !lines.is_empty()).into_iter().collect();
        let behind = records.first()?.position - 1;
        Some(Self { rendering, skipped, lines, behind, last: piece.last })
    }
}

impl Run for LineRun {
    fn last(&self) -> Position {
        self.last
    }

    fn slices(&self, member: Option<MemberId>) -> Cow<'_, [Bytes]> {
        match member.filter(|member| self.rendering.leaves_out(*member, self.skipped)) {
            Some(member) => Cow::Owned(self.rendering.lines_for(member, self.skipped)),
            None => Cow::Borrowed(&self.lines),
        }
    }

    fn after(&self, member: Option<MemberId>, taken: usize) -> (Option<Position>, Bytes) {
        let (begun, rest) = self.rendering.after(member, self.skipped, taken);
        ((begun > self.skipped).then(|| self.behind + begun as u64), rest)
    }
}

/// The log as lines: the form of classic clients.
pub(super) struct LineForm<const ASCII_ONLY: bool> {
    hosted: Arc<HostedRoom>,
    follower: Follower,
}

impl<const ASCII_ONLY: bool> LineForm<ASCII_ONLY> {
    pub(super) fn of(hosted: &Arc<HostedRoom>) -> Self {
        Self { hosted: Arc::clone(hosted), follower: Follower::resting(hosted) }
    }
}

impl<const ASCII_ONLY: bool> Form for LineForm<ASCII_ONLY> {
    type Run = LineRun;

    async fn read(&self, cursor: Position) -> Option<LineRun> {
        let Behind::Piece(piece) = self.follower.behind(cursor) else { return None };
        LineRun::of(&piece, &self.hosted, cursor, ASCII_ONLY).await
    }

    fn advance(&self, cursor: Position) {
        self.follower.stand(Some(cursor));
    }
}
