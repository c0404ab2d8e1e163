//! Reading what was said in a room, without joining it.

use std::io;
use std::time::Duration;

use causerie_core::id::Epoch;
use causerie_core::log::page::HistoryPage;
use causerie_core::wire::{ClientFrame, Direction, ErrorCode, HistoryQuestion, Place, ServerFrame};

use crate::directory::{ANSWER_TIMEOUT, Directory, unexpected};
use crate::room::ConnectError;
use crate::trust::Security;

/// A reader of a room's log, with a connection of its own: page by page, in both directions, and on as it grows.
///
/// Pages fit together: what one of them ends with is not told by the next, and what lies between two of them is
/// nothing. What cannot be read any more is told as a gap.
///
/// ```no_run
/// use causerie_client::{Entry, History, Place, Position, What};
///
/// # async fn example() -> Result<(), causerie_client::ConnectError> {
/// let mut history = History::connect("127.0.0.1:12343", "lobby").await?;
/// // From the newest backwards, up to 50 at a time.
/// while let Some(page) = history.older(50).await? {
///     for entry in page.entries.iter().rev() {
///         match entry {
///             Entry::Record(record) => match &record.what {
///                 What::Said(body) => println!("{} : {}", record.name, body.text().unwrap_or("?")),
///                 What::Joined => println!("{} joined", record.name),
///                 What::Left { .. } => println!("{} left", record.name),
///             },
///             Entry::Gap { from, to, .. } => println!("{from} to {to} cannot be read"),
///         }
///     }
/// }
/// // All behind position 90, and on as the room goes on.
/// history.seek(Place::Position(Position::new(90)));
/// loop {
///     let page = history.wait_for_newer(1_000).await?;
///     println!("{} records more, up to {}", page.records().count(), page.to);
/// }
/// # }
/// ```
pub struct History {
    directory: Directory,
    room: String,
    epoch: Option<Epoch>,
    older: Option<Place>,
    newer: Place,
    /// Answers that are still to come to questions that nobody waits for any more, and the one that is waited for.
    owed: u64,
    /// The server has answered a question, so it knows what they are.
    answers: bool,
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History").field("room", &self.room).finish_non_exhaustive()
    }
}

/// Time that a server may keep an answer where there is nothing new. It keeps none longer than 30 s.
const WAIT: Duration = Duration::from_secs(20);

impl History {
    /// Connects to the server at `HOST:PORT`, by TLS unless it is on this machine; see [`Security::new`]. Whether there is such a
    /// room the first page tells.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(server: &str, room: &str) -> Result<Self, ConnectError> {
        Self::connect_with(server, room, &Security::new()).await
    }

    /// Connects as [`connect`](Self::connect) does, protected so.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect_with(server: &str, room: &str, security: &Security) -> Result<Self, ConnectError> {
        let directory = Directory::connect_with(server, security).await?;
        let (older, newer) = (Some(Place::End), Place::End);
        Ok(Self { directory, room: room.into(), epoch: None, older, newer, owed: 0, answers: false })
    }

    /// Reads the log of this epoch only: if the room has been made anew since, pages are refused with
    /// [`ErrorCode::Diverged`]. Without one the next page decides.
    pub fn expect_epoch(&mut self, epoch: Option<Epoch>) {
        self.epoch = epoch;
    }

    /// Lets [`older`](Self::older) and [`newer`](Self::newer) go on before the place, and behind it. A record at
    /// the place belongs to neither. At first it is the end.
    pub fn seek(&mut self, place: Place) {
        self.older = Some(place);
        self.newer = place;
    }

    /// The page before the last one that this gave, with up to `limit` records (servers have a limit of their own);
    /// `None` at the beginning of the log.
    ///
    /// # Errors
    /// [`ConnectError::Refused`] if there is no such room, message or epoch; [`ConnectError::Io`] ends the connection.
    pub async fn older(&mut self, limit: u64) -> Result<Option<HistoryPage>, ConnectError> {
        let Some(place) = self.older else { return Ok(None) };
        let page = self.page(Direction::Before, place, limit).await?;
        self.older = page.has_older().then_some(Place::Position(page.from));
        Ok((page.from <= page.to).then_some(page))
    }

    /// The page behind the last one that this gave, with up to `limit` records; `None` where there is nothing yet.
    ///
    /// # Errors
    /// As [`older`](Self::older).
    pub async fn newer(&mut self, limit: u64) -> Result<Option<HistoryPage>, ConnectError> {
        let page = self.ask(Direction::After, self.newer, limit, Duration::ZERO).await?;
        self.newer = Place::Position(page.to);
        Ok((page.from <= page.to).then_some(page))
    }

    /// Returns [`newer`](Self::newer) records once there are some.
    ///
    /// # Errors
    /// As [`older`](Self::older).
    pub async fn wait_for_newer(&mut self, limit: u64) -> Result<HistoryPage, ConnectError> {
        loop {
            let page = self.ask(Direction::After, self.newer, limit.max(1), WAIT).await?;
            self.newer = Place::Position(page.to);
            if page.from <= page.to {
                return Ok(page);
            }
        }
    }

    /// A page of your own choice. Moves nothing.
    ///
    /// # Errors
    /// As [`older`](Self::older).
    pub async fn page(
        &mut self,
        direction: Direction,
        place: Place,
        limit: u64,
    ) -> Result<HistoryPage, ConnectError> {
        self.ask(direction, place, limit, Duration::ZERO).await
    }

    /// Asks; if that is cancelled, the answer is skipped when it comes.
    async fn ask(
        &mut self,
        direction: Direction,
        place: Place,
        limit: u64,
        wait: Duration,
    ) -> Result<HistoryPage, ConnectError> {
        let wait_millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let (room, epoch) = (self.room.clone(), self.epoch);
        let question = HistoryQuestion { room, epoch, direction, place, limit, wait_millis };
        self.directory.push(&ClientFrame::History(question));
        if !self.answers && wait.is_zero() {
            // A server that skips the question answers this.
            self.directory.push(&ClientFrame::Ping(0));
        }
        self.owed += 1;
        let answer = loop {
            let frame = self.directory.next(wait + ANSWER_TIMEOUT).await?;
            match frame {
                ServerFrame::Pong(_) if self.answers => continue,
                ServerFrame::Pong(_) => {
                    let message = "the server is too old to tell history in pages".into();
                    return Err(ConnectError::Refused { code: ErrorCode::Unexpected, message });
                }
                _ => {}
            }
            self.answers = true;
            self.owed -= 1;
            let fatal = matches!(&frame, ServerFrame::Error(error) if error.fatal);
            if self.owed == 0 || fatal {
                break frame;
            }
        };
        match answer {
            ServerFrame::Page(page) => {
                let invalid = |error| ConnectError::Io(io::Error::new(io::ErrorKind::InvalidData, error));
                let page = HistoryPage::read(&page).map_err(invalid)?;
                self.epoch = Some(page.epoch);
                Ok(page)
            }
            ServerFrame::Error(error) => {
                Err(ConnectError::Refused { code: error.code, message: error.message })
            }
            other => Err(unexpected(&other)),
        }
    }
}
