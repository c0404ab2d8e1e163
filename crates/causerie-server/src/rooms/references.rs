//! Parts of a room's history that its log refers to: names, quotes, and messages that somebody lacks.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use causerie_core::content::body::{Body, answered_by};
use causerie_core::id::Position;
use causerie_core::log::page::authors;
use causerie_core::log::{Record, records};
use causerie_core::wire::{Direction, HistoryQuestion, MemberInfo, Page, Place, Welcome};
use causerie_store::{MemberSelection, Store, StoreError};
use cbcast::{MemberId, MessageId, MissingRange};

use crate::journal::reads::Asker;
use crate::net::budget::warn_seldom;
use crate::rooms::history::{self, Ends, HistoryError, Texts};
use crate::rooms::hosted::{HostedRoom, PIECE_BYTES};
use crate::rooms::standing::{QuotedWords, StoredChanges};

/// Ranges of one repair request that are looked at.
const RANGES_MAX: usize = 64;

/// Beginnings of what messages refer to, by the message that they name.
pub(crate) type Quotes = BTreeMap<MessageId, QuotedWords>;

/// Names of members, departed ones too.
pub(crate) type MemberNames = BTreeMap<MemberId, String>;

/// Returns who has said what a body refers to, and how that begins.
pub(crate) fn about(body: &Body, names: &MemberNames, quotes: &Quotes) -> Option<(String, String)> {
    let QuotedWords { author, words } = quotes.get(&body.target()?)?;
    let name = names.get(author).cloned().unwrap_or_else(|| author.to_string());
    Some((name, words.clone()))
}

impl HostedRoom {
    /// Returns the names of who says something in these records, or leaves, or has said what they refer to. Asks the store for those whom
    /// the room has forgotten; who cannot be read is left out.
    pub(crate) async fn names(&self, slices: &[Bytes], quotes: &Quotes) -> MemberNames {
        let named = slices.iter().flat_map(|run| authors(run.clone()));
        let named: BTreeSet<_> = named.chain(quotes.values().map(|quote| quote.author)).collect();
        let (mut names, mut forgotten) = (MemberNames::new(), Vec::new());
        // Names in records that are stored.
        self.peek_unstored(|room| {
            for member in named {
                match room.name_of(member) {
                    Some(name) => drop(names.insert(member, name.to_string())),
                    None => forgotten.push(member),
                }
            }
        });
        if !forgotten.is_empty() {
            let id = self.id;
            let rows =
                self.reading(Asker::Member, move |store| store.members(id, MemberSelection::Ids(&forgotten)));
            match rows.await {
                Ok(rows) => names.extend(rows.into_iter().map(|row| (row.member, row.name))),
                Err(error) => warn_seldom!("the names of departed members cannot be read: {error}"),
            }
        }
        names
    }

    /// Returns the texts, as they read today, of what these records answer, for clients that cannot look it up. Asks the store if
    /// they answer anything; what was taken back or cannot be read is left out.
    pub(crate) async fn quotes(&self, slices: &[Bytes]) -> Quotes {
        let said = |r: Record| (r.message.is_data()).then(|| r.message.payload());
        // Each with the first that answers it: what comes behind that is not told with it.
        let mut targets: BTreeMap<MessageId, Position> = BTreeMap::new();
        for record in slices.iter().cloned().flat_map(records) {
            let position = record.position;
            if let Some(target) = said(record).and_then(|payload| answered_by(&payload)) {
                targets.entry(target).or_insert(position);
            }
        }
        if targets.is_empty() {
            return Quotes::new();
        }
        let id = self.id;
        let read = self.reading(Asker::Member, move |store| {
            let (mut quotes, mut stored) = (Quotes::new(), StoredChanges::new(store, id));
            for (target, position) in targets {
                if let Some(QuotedWords { author, words }) = stored.quote(target, position)? {
                    quotes.insert(target, QuotedWords { author, words: beginning(&words) });
                }
            }
            Ok::<_, StoreError>(quotes)
        });
        read.await.unwrap_or_else(|error| {
            warn_seldom!("what messages refer to cannot be read: {error}");
            Quotes::new()
        })
    }

    /// Returns the positions of the stored records of these messages, oldest first, `max` at most. Of the ranges the first 64
    /// count.
    pub(crate) async fn find(
        &self,
        ranges: Vec<MissingRange>,
        max: usize,
    ) -> Result<Vec<Position>, StoreError> {
        let id = self.id;
        let find = move |store: &dyn Store| {
            let mut positions = Vec::new();
            for range in ranges.iter().take(RANGES_MAX) {
                let left = max - positions.len();
                positions.extend(store.positions(id, range.member, range.from, range.to, left)?);
            }
            positions.sort_unstable();
            positions.dedup();
            Ok(positions)
        };
        self.reading(Asker::Member, find).await
    }

    /// Returns the stored records at these positions as whole frames, oldest first, as many as have some [`PIECE_BYTES`]; and how
    /// many of the positions that are.
    pub(crate) async fn records_at(
        &self,
        positions: Vec<Position>,
    ) -> Result<(Vec<Bytes>, usize), StoreError> {
        let id = self.id;
        let read = move |store: &dyn Store| {
            let (mut frames, mut bytes) = (Vec::new(), 0);
            for (done, position) in positions.iter().enumerate() {
                if bytes >= PIECE_BYTES {
                    return Ok((frames, done));
                }
                // One record at least, and no more.
                let runs = store.read(id, *position - 1, 1)?.runs;
                bytes += runs.iter().map(Bytes::len).sum::<usize>();
                frames.extend(runs);
            }
            Ok((frames, positions.len()))
        };
        self.reading(Asker::Member, read).await
    }
}

impl HostedRoom {
    /// Names the departed of a welcome's history whom the room has forgotten, those of the first page's worth.
    pub(crate) async fn name_history(&self, welcome: &mut Welcome) {
        let history = (welcome.position + 1).since(welcome.first).unwrap_or(0);
        if history == 0 {
            return;
        }
        let question = HistoryQuestion {
            room: welcome.room.clone(),
            epoch: Some(welcome.epoch),
            direction: Direction::After,
            place: Place::Position(welcome.first - 1),
            limit: history,
            wait_millis: 0,
        };
        match self.page(Asker::Member, Texts::AsSaid, question).await {
            Ok(page) => {
                let known: BTreeSet<_> = welcome.members.iter().map(|m| m.member).collect();
                let departed = |m: &MemberInfo| !m.present && !known.contains(&m.member);
                welcome.members.extend(page.names.into_iter().filter(departed));
            }
            // Then they go by their ids.
            Err(error) => warn_seldom!("the names in a history cannot be read: {error}"),
        }
    }

    /// Reads a page of what is stored, as it is asked for.
    pub(crate) async fn page(
        &self,
        asker: Asker,
        texts: Texts,
        question: HistoryQuestion,
    ) -> Result<Page, HistoryError> {
        self.page_within(asker, texts, question, history::BYTES_MAX).await
    }

    /// Reads as [`page`](Self::page) does, with so many bytes of records at most, unless it has one only.
    pub(crate) async fn page_within(
        &self,
        asker: Asker,
        texts: Texts,
        question: HistoryQuestion,
        bytes_max: usize,
    ) -> Result<Page, HistoryError> {
        // Neither is ever to be stored with what happens in the room.
        let (epoch, first) = self.peek_unstored(|room| (room.epoch(), room.first()));
        let ends = Ends { epoch, first, last: self.tail().log.last() };
        let nothing = Page {
            room: question.room.clone(),
            epoch,
            from: Position::FIRST,
            kept: first,
            ..Page::default()
        };
        let id = self.id;
        let page = move |store: &dyn Store| history::page(store, id, &ends, &question, bytes_max, texts);
        match self.reading(asker, page).await {
            // It was made just now, and nothing of it is stored yet.
            Err(HistoryError::Store(StoreError::NoSuchRoom(_))) if !self.closed.is_cancelled() => Ok(nothing),
            read => read,
        }
    }
}

/// Returns as much of a text as is ever quoted.
fn beginning(text: &str) -> String {
    const CHARS_MAX: usize = 64;
    text.chars().take(CHARS_MAX).collect()
}
