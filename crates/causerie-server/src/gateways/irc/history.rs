//! Pieces of a room's log as IRC clients ask for them: by messages that can be shown, whatever stands between.

use std::collections::VecDeque;

use causerie_core::id::Position;
use causerie_core::log::page::{HistoryPage, What};
use causerie_core::wire::{Direction, HistoryQuestion, Page, Place};
use causerie_gateway::irc::{Bound, FoundRecord, HistoryRequest, Window};

use super::rendering::with_traces;
use crate::journal::reads::Asker;
use crate::rooms::history::{HistoryError, Texts};
use crate::rooms::hosted::HostedRoom;
use crate::rooms::tail::answered;

/// Records of one page: more than are asked for, since not all can be shown.
const PAGE: u64 = 200;
/// Bytes of one answer, unless it has one message only: whoever asks for more goes on from there.
const BYTES_MAX: usize = 64 << 10;
/// About what a line has beside its text.
const LINE_BYTES: usize = 128;

/// The records that are asked for, oldest first.
pub(super) async fn window(
    hosted: &HostedRoom,
    request: &HistoryRequest,
) -> Result<Vec<FoundRecord>, HistoryError> {
    const END: Position = Position::MAX;
    let piece = PieceRequest { hosted, request };
    let limit = request.limit;
    let found = match request.window {
        Window::Latest(None) => piece.newest(Position::START, END, limit).await?,
        Window::Latest(Some(at)) => piece.newest(piece.behind(at).await?, END, limit).await?,
        Window::Before(at) => piece.newest(Position::START, piece.before(at).await?, limit).await?,
        Window::After(at) => piece.oldest(piece.behind(at).await?, END, limit).await?,
        Window::Around(at) => {
            let middle = piece.before(at).await?;
            let mut found = piece.newest(Position::START, middle, limit / 2).await?;
            found.extend(piece.oldest(middle - 1, END, limit - found.len()).await?);
            found
        }
        Window::Between(a, b) => {
            let (at_a, at_b) = (piece.before(a).await?, piece.before(b).await?);
            match at_a <= at_b {
                true => piece.oldest(piece.behind(a).await?, at_b, limit).await?,
                false => piece.newest(piece.behind(b).await?, at_a, limit).await?,
            }
        }
    };
    Ok(found.into())
}

/// Returns when the newest message was said that can be shown, if there is any.
pub(super) async fn newest(hosted: &HostedRoom) -> Result<Option<u64>, HistoryError> {
    let request = HistoryRequest {
        room: hosted.id.0,
        target: String::new(),
        window: Window::Latest(None),
        limit: 1,
        events: false,
        since_leaving_as: None,
    };
    let found = window(hosted, &request).await?;
    Ok(found.first().map(|found| found.record.time_millis))
}

struct PieceRequest<'a> {
    hosted: &'a HostedRoom,
    request: &'a HistoryRequest,
}

impl PieceRequest<'_> {
    async fn page(&self, direction: Direction, place: Place, limit: u64) -> Result<Page, HistoryError> {
        // A name is for life.
        let room = self.hosted.peek_unstored(|room| room.name().to_string());
        let question = HistoryQuestion { room, epoch: None, direction, place, limit, wait_millis: 0 };
        self.hosted.page(Asker::Member, Texts::Standing, question).await
    }

    /// Returns the position below which lies what is before the bound.
    async fn before(&self, at: Bound) -> Result<Position, HistoryError> {
        let place = match at {
            Bound::Position(position) => return Ok(position),
            Bound::Message(_, id) => Place::Message(id),
            Bound::Time(millis) => Place::Time(millis),
        };
        Ok(self.page(Direction::Before, place, 0).await?.from)
    }

    /// Returns the position beyond which lies what is behind the bound.
    async fn behind(&self, at: Bound) -> Result<Position, HistoryError> {
        let place = match at {
            Bound::Position(position) => return Ok(position),
            Bound::Message(_, id) => Place::Message(id),
            // A time is that of all that was said in it.
            Bound::Time(millis) => Place::Time(millis.saturating_add(1)),
        };
        Ok(self.page(Direction::After, place, 0).await?.from - 1)
    }

    /// The newest between the two.
    async fn newest(
        &self,
        behind: Position,
        before: Position,
        limit: usize,
    ) -> Result<VecDeque<FoundRecord>, HistoryError> {
        let mut found = GatheredRecords::new(limit);
        let mut at = before;
        while !found.is_full && at > behind + 1 {
            let page = self.page(Direction::Before, Place::Position(at), PAGE).await?;
            let (shown, seen) = self.shown(&page).await;
            let behind = behind.max(seen.unwrap_or(Position::START));
            let shown = shown.into_iter().rev().filter(|shown| shown.record.position > behind);
            found.extend(shown, VecDeque::push_front);
            if page.from >= at || seen.is_some() {
                break;
            }
            at = page.from;
        }
        Ok(found.found)
    }

    /// The oldest between the two.
    async fn oldest(
        &self,
        behind: Position,
        before: Position,
        limit: usize,
    ) -> Result<VecDeque<FoundRecord>, HistoryError> {
        let mut found = GatheredRecords::new(limit);
        let mut at = behind;
        while !found.is_full && at + 1 < before {
            let page = self.page(Direction::After, Place::Position(at), PAGE).await?;
            let shown = self.shown(&page).await.0.into_iter();
            found.extend(shown.filter(|shown| shown.record.position < before), VecDeque::push_back);
            if page.to <= at {
                break;
            }
            at = page.to;
        }
        Ok(found.found)
    }

    /// The records of a page that a client can be shown, and the position of the last that it has seen, if it is said
    /// which those are.
    async fn shown(&self, page: &Page) -> (Vec<FoundRecord>, Option<Position>) {
        let read = HistoryPage::read(page).expect("our own page");
        let slices = [page.records.clone()];
        let quotes = self.hosted.quotes(&slices).await;
        let names = self.hosted.names(&slices, &quotes).await;
        let seen = read.records().rev().find(|record| self.request.has_seen(record));
        let seen = seen.map(|record| record.position);
        let shown = read.records().filter(|record| self.request.shows(record));
        let shown = shown.map(|record| (record.clone(), answered(record, &names, &quotes)));
        let found = with_traces(self.hosted, |traces| {
            // As they stand alone: a history is of one room.
            shown.map(|(record, about)| FoundRecord { moved: None, ..traces.found(record, about) }).collect()
        });
        (found, seen)
    }
}

/// Records of an answer, as they are found.
struct GatheredRecords {
    found: VecDeque<FoundRecord>,
    limit: usize,
    bytes: usize,
    is_full: bool,
}

impl GatheredRecords {
    fn new(limit: usize) -> Self {
        Self { found: VecDeque::new(), limit, bytes: 0, is_full: limit == 0 }
    }

    fn extend(
        &mut self,
        records: impl Iterator<Item = FoundRecord>,
        push: impl Fn(&mut VecDeque<FoundRecord>, FoundRecord),
    ) {
        for record in records {
            let bytes = bytes_of(&record);
            self.is_full |=
                self.found.len() == self.limit || !self.found.is_empty() && self.bytes + bytes > BYTES_MAX;
            if self.is_full {
                return;
            }
            self.bytes += bytes;
            push(&mut self.found, record);
        }
        self.is_full |= self.found.len() == self.limit;
    }
}

/// About how many bytes its lines have.
fn bytes_of(found: &FoundRecord) -> usize {
    let said = match &found.record.what {
        What::Said(body) => body.text().unwrap_or_default(),
        _ => "",
    };
    said.len() + said.lines().count().max(1) * LINE_BYTES
}
