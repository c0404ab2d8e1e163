//! Pieces of a room's log as IRC clients ask for them: by messages that can be shown, whatever stands between.

use std::collections::VecDeque;

use causerie_core::frame::{Direction, HistoryQuestion, Page, Place};
use causerie_core::history::HistoryPage;
use causerie_core::irc::{Bound, Found, HistoryRequest, Window};

use crate::history::HistoryError;
use crate::hosted_room::HostedRoom;
use crate::reads::Asker;

/// Records of one page: more than are asked for, since not all can be shown.
const PAGE: u64 = 200;

/// The records that are asked for, oldest first.
pub(super) async fn window(
    hosted: &HostedRoom,
    request: &HistoryRequest,
) -> Result<Vec<Found>, HistoryError> {
    const END: u64 = u64::MAX;
    let piece = Piece { hosted, request };
    let limit = request.limit;
    let found = match request.window {
        Window::Latest(None) => piece.newest(0, END, limit).await?,
        Window::Latest(Some(at)) => piece.newest(piece.behind(at).await?, END, limit).await?,
        Window::Before(at) => piece.newest(0, piece.before(at).await?, limit).await?,
        Window::After(at) => piece.oldest(piece.behind(at).await?, END, limit).await?,
        Window::Around(at) => {
            let middle = piece.before(at).await?;
            let mut found = piece.newest(0, middle, limit / 2).await?;
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

/// When the newest message was said that can be shown, if there is any.
pub(super) async fn newest(hosted: &HostedRoom) -> Result<Option<u64>, HistoryError> {
    let request = HistoryRequest {
        room: hosted.id.0,
        target: String::new(),
        window: Window::Latest(None),
        limit: 1,
        events: false,
    };
    let found = window(hosted, &request).await?;
    Ok(found.first().map(|(record, _)| record.time_millis))
}

struct Piece<'a> {
    hosted: &'a HostedRoom,
    request: &'a HistoryRequest,
}

impl Piece<'_> {
    async fn page(&self, direction: Direction, place: Place, limit: u64) -> Result<Page, HistoryError> {
        let room = self.hosted.look(|room| room.name().to_string());
        let question = HistoryQuestion { room, epoch: 0, direction, place, limit, wait_millis: 0 };
        self.hosted.page(Asker::Member, question).await
    }

    /// What is before the bound lies below this position.
    async fn before(&self, at: Bound) -> Result<u64, HistoryError> {
        let place = match at {
            Bound::Position(position) => return Ok(position),
            Bound::Message(_, id) => Place::Message(id),
            Bound::Time(millis) => Place::Time(millis),
        };
        Ok(self.page(Direction::Before, place, 0).await?.from)
    }

    /// What is behind the bound lies beyond this position.
    async fn behind(&self, at: Bound) -> Result<u64, HistoryError> {
        let place = match at {
            Bound::Position(position) => return Ok(position),
            Bound::Message(_, id) => Place::Message(id),
            // A time is that of all that was said in it.
            Bound::Time(millis) => Place::Time(millis.saturating_add(1)),
        };
        Ok(self.page(Direction::After, place, 0).await?.from - 1)
    }

    /// The newest between the two.
    async fn newest(&self, behind: u64, before: u64, limit: usize) -> Result<VecDeque<Found>, HistoryError> {
        let mut found = VecDeque::new();
        let mut at = before;
        while found.len() < limit && at > behind + 1 {
            let page = self.page(Direction::Before, Place::Position(at), PAGE).await?;
            for record in self.shown(&page).await.into_iter().rev() {
                if record.0.position > behind && found.len() < limit {
                    found.push_front(record);
                }
            }
            if page.from >= at {
                break;
            }
            at = page.from;
        }
        Ok(found)
    }

    /// The oldest between the two.
    async fn oldest(&self, behind: u64, before: u64, limit: usize) -> Result<VecDeque<Found>, HistoryError> {
        let mut found = VecDeque::new();
        let mut at = behind;
        while found.len() < limit && at + 1 < before {
            let page = self.page(Direction::After, Place::Position(at), PAGE).await?;
            for record in self.shown(&page).await {
                if record.0.position < before && found.len() < limit {
                    found.push_back(record);
                }
            }
            if page.to <= at {
                break;
            }
            at = page.to;
        }
        Ok(found)
    }

    /// The records of a page that a client can be shown.
    async fn shown(&self, page: &Page) -> Vec<Found> {
        let read = HistoryPage::read(page).expect("our own page");
        let slices = [page.records.clone()];
        let quotes = self.hosted.quotes(&slices).await;
        let names = self.hosted.names(&slices, &quotes).await;
        let shown = read.records().filter(|record| self.request.shows(record));
        shown.map(|record| (record.clone(), super::about(record, &names, &quotes))).collect()
    }
}
