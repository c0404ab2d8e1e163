//! A part of a room's log, read from a server.

use causerie_client::{ConnectError, Direction, History, HistoryPage, Place, Position};

use crate::address::with_port;
use crate::config::security::SecurityArgs;
use crate::entrance::unreached;
use crate::when::Since;

/// Records that are shown where nothing else is asked for.
pub(crate) const LIMIT: u64 = 50;

/// Records of one page: servers have a limit of their own.
const PAGE: u64 = 1_000;

fn explained(error: ConnectError, server: &str) -> anyhow::Error {
    match error {
        ConnectError::Io(error) => anyhow::anyhow!("the connection to {server} is lost: {error}"),
        other => other.into(),
    }
}

/// A part of a room's log, read forwards page by page.
pub(crate) struct LogReader {
    history: History,
    server: String,
    /// Number of records that are still to be read.
    left: u64,
    /// The log's end when it was opened: what comes later is not told.
    end: Position,
    read_to: Position,
}

impl LogReader {
    /// Opens the log from `since` on, for `limit` records at most; without `since` the last `limit`.
    pub(crate) async fn open(
        server: &str,
        security: &SecurityArgs,
        room: &str,
        since: Option<Since>,
        limit: Option<u64>,
    ) -> anyhow::Result<Self> {
        let server = with_port(server);
        let history = History::connect_with(&server, room, &security.security()).await;
        let mut history = history.map_err(|error| unreached(error, &server))?;
        let nothing = history.page(Direction::After, Place::End, 0).await;
        let end = nothing.map_err(|error| explained(error, &server))?.end;
        let place = match since {
            None => Place::Position(end.saturating_sub(limit.unwrap_or(LIMIT))),
            // What is at the place is to be among them.
            Some(Since(Place::Position(position))) => Place::Position(position.saturating_sub(1)),
            Some(Since(Place::Message(id))) => {
                let page = history.page(Direction::Around, Place::Message(id), 1).await;
                Place::Position(page.map_err(|error| explained(error, &server))?.from - 1)
            }
            Some(Since(place)) => place,
        };
        history.seek(place);
        let left = limit.filter(|_| since.is_some()).unwrap_or(u64::MAX);
        Ok(Self { history, server, left, end, read_to: Position::START })
    }

    /// Returns the next page; `None` at the end.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<HistoryPage>> {
        if self.left == 0 || self.end <= self.read_to {
            return Ok(None);
        }
        let page = self.history.newer(self.left.min(PAGE)).await;
        let page = page.map_err(|error| explained(error, &self.server))?;
        if let Some(page) = &page {
            self.left -= page.records().count() as u64;
            self.read_to = page.to;
        }
        Ok(page)
    }

    /// Waits until something more has been said, and returns it.
    pub(crate) async fn wait_for_newer(&mut self) -> anyhow::Result<HistoryPage> {
        self.history.wait_for_newer(PAGE).await.map_err(|error| explained(error, &self.server))
    }
}
