//! A room as it is shown: what was said, in the order of the room's log, with edits, deletions and reactions folded in.
//!
//! Rows are what has its place, and never change their order. Below them stands what is delivered and not placed yet:
//! own messages on their way, and others' where an earlier one is missing.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use causerie_client::Position;
use causerie_client::{
    Body, End, Entry, Epoch, Event, HeldPost, HistoryPage, MemberId, MemberInfo, MessageId, Post, What,
};
use causerie_core::content::text::symbol_key;
use causerie_core::log::page::Standing;
use causerie_core::timeline::fold::{self, Fold, Quote, Said, View};
use causerie_core::timeline::relation::Neighbour;

use super::editor::Editor;
use super::holds::{Hold, LastHolds};
use super::stability::StabilityView;
use crate::wording::messages;

/// Rows of a room that are kept in memory; earlier ones are read again when they are wanted.
pub(super) const ROWS_MAX: usize = 100_000;

/// Rows that are kept while somebody reads the first of them; with so many no earlier ones are read. Some 500 MB.
pub(super) const READ_BACK_MAX: usize = 1_000_000;

/// Limit of the rows that any screen shows.
const READ_ROWS: i64 = 1_000;

/// Names that have a colour by their order of appearance; those that come later have one by their letters.
const NAMES_MAX: usize = 4_096;

/// Names of those who came and went that one row tells.
const COMINGS_MAX: usize = 30;

/// State of the connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum LinkState {
    Joining,
    In,
    /// Lost, and tried again by itself.
    Lost(String),
    /// Ended for good.
    Over(String),
}

/// A row of the room. Rows have consecutive numbers, which stay the same when earlier rows are read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Row {
    Message(MessageId),
    /// People who came and went, one after the other.
    Comings(Vec<Coming>),
    /// Records that cannot be read.
    Gap {
        from: Position,
        to: Position,
        removed: bool,
    },
    /// For the reader's eyes alone.
    Notice(String),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Coming {
    pub(super) name: String,
    pub(super) joined: bool,
    pub(super) reason: String,
}

/// A message as it was said, with what is known of it here.
pub(super) type ShownMessage = fold::FoldedMessage<Known>;

/// Knowledge of a message beyond what it says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Known {
    pub(super) own: bool,
    pub(super) time_millis: Option<u64>,
    pub(super) deps: Box<[MessageId]>,
    pub(super) held_for: Option<Duration>,
    pub(super) mention: bool,
    /// Its author had not seen the message above it, nor the other way round.
    pub(super) concurrent: bool,
    /// The last of our messages that its author had seen.
    own_seen: u64,
}

/// Stands in place of words that this version does not know.
const NOT_KNOWN: &str = "said something that this version cannot show";

/// Purpose of the text that is being written.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) enum DraftPurpose {
    #[default]
    Say,
    Reply(MessageId),
    Edit(MessageId),
    React(MessageId),
}

/// A deletion that was confirmed and not said yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Deletion {
    /// Tells it from others, also when its message gets another id.
    pub(super) number: u64,
    pub(super) of: MessageId,
}

/// The lowest line on the screen: so many lines of that row are seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Anchor {
    pub(super) row: i64,
    pub(super) lines: usize,
}

#[derive(Debug)]
pub(super) struct RoomModel {
    pub(super) name: String,
    pub(super) link: LinkState,
    pub(super) member: Option<MemberId>,
    pub(super) members: Vec<MemberInfo>,
    pub(super) held: Vec<HeldPost>,
    /// Names in their order of appearance, each with its number: colours go by it, so that few people have few colours in common.
    names: BTreeMap<String, usize>,
    /// Below the last row stands what is held back. Once nothing is, the line stays until a row takes its place.
    pub(super) waiting_line: bool,
    pub(super) on_their_way: usize,
    pub(super) clock: String,
    pub(super) editor: Editor,
    pub(super) purpose: DraftPurpose,
    pub(super) deletions: Vec<Deletion>,
    pub(super) selected: Option<MessageId>,
    /// The one that another is to be compared with.
    pub(super) marked: Option<MessageId>,
    /// `None`: at the end, and on with it.
    pub(super) anchor: Option<Anchor>,
    pub(super) unread: usize,
    pub(super) mentions: usize,
    /// The first row that has not been seen.
    pub(super) unread_from: Option<i64>,
    pub(super) epoch: Option<Epoch>,
    /// Position of the last message that was on the screen with all before it.
    pub(super) read: Position,
    /// Epoch and position where reading stopped before this start; what comes behind it is new.
    pub(super) read_before: Option<(Epoch, Position)>,
    /// Position of the last message with a place.
    last: Position,
    /// True once it was left on purpose: it is not joined at the next start.
    pub(super) given_up: bool,
    /// Earlier records are before this position; `None` if there are none.
    pub(super) older: Option<Position>,
    pub(super) loading: bool,
    first_row: i64,
    rows: VecDeque<Row>,
    below: Vec<MessageId>,
    neighbour: Neighbour,
    /// Dependencies of what is delivered and not placed.
    links: BTreeMap<MessageId, Vec<MessageId>>,
    fold: Fold<Known>,
    stability: StabilityView,
    pub(super) holds: LastHolds,
}

/// News for a reader.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct News {
    /// Something to read has come.
    pub(super) message: bool,
    /// The message, if it is for this reader.
    pub(super) mention: Option<MessageId>,
    /// The message was said while this reader was away.
    pub(super) missed: bool,
}

impl RoomModel {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            link: LinkState::Joining,
            member: None,
            members: Vec::new(),
            held: Vec::new(),
            names: BTreeMap::new(),
            waiting_line: false,
            on_their_way: 0,
            clock: String::new(),
            editor: Editor::default(),
            purpose: DraftPurpose::Say,
            deletions: Vec::new(),
            selected: None,
            marked: None,
            anchor: None,
            unread: 0,
            mentions: 0,
            unread_from: None,
            epoch: None,
            read: Position::START,
            read_before: None,
            last: Position::START,
            given_up: false,
            older: None,
            loading: false,
            first_row: 0,
            rows: VecDeque::new(),
            below: Vec::new(),
            neighbour: Neighbour::default(),
            links: BTreeMap::new(),
            fold: Fold::default(),
            stability: StabilityView::default(),
            holds: LastHolds::default(),
        }
    }

    // What there is to see.

    /// The numbers of all rows, what is not placed included.
    pub(super) fn numbers(&self) -> std::ops::Range<i64> {
        self.first_row..self.first_row + (self.rows.len() + self.below.len()) as i64
    }

    pub(super) fn row(&self, number: i64) -> Option<Row> {
        let index = usize::try_from(number - self.first_row).ok()?;
        match self.rows.get(index) {
            Some(row) => Some(row.clone()),
            None => self.below.get(index - self.rows.len()).map(|&id| Row::Message(id)),
        }
    }

    /// Returns the room's topic as it reads now.
    pub(super) fn topic(&self) -> &str {
        self.fold.topic().unwrap_or_default()
    }

    pub(super) fn message(&self, id: MessageId) -> Option<&ShownMessage> {
        self.fold.get(id)
    }

    /// Returns a message as it reads now.
    pub(super) fn view(&self, id: MessageId) -> Option<View<'_>> {
        self.fold.view(id)
    }

    /// Returns the message that this one answers, for a line above it.
    pub(super) fn quote(&self, id: MessageId) -> Option<Quote<'_>> {
        match self.message(id)?.what() {
            What::Said(body) => answered(body).map(|to| self.fold.quote(to)),
            What::Joined | What::Left { .. } => None,
        }
    }

    /// Returns a message's text as it reads now; `None` if it was deleted or is not known here.
    pub(super) fn text(&self, id: MessageId) -> Option<&str> {
        let view = self.fold.view(id).filter(|view| !view.deleted)?;
        Some(view.words.unwrap_or(NOT_KNOWN))
    }

    /// Returns a message in words as it reads now; `None` as for its [text](Self::text).
    pub(super) fn words(&self, id: MessageId) -> Option<Cow<'_, str>> {
        let text = self.text(id)?;
        Some(match self.message(id)?.what() {
            What::Said(Body::Topic(_)) if text.is_empty() => "took the topic away".into(),
            What::Said(Body::Topic(_)) => format!("set the topic: {text}").into(),
            What::Said(
                Body::Text(_)
                | Body::Action(_)
                | Body::Notice(_)
                | Body::Reply { .. }
                | Body::Edit { .. }
                | Body::Delete { .. }
                | Body::Reaction { .. }
                | Body::Unknown(_),
            )
            | What::Joined
            | What::Left { .. } => text.into(),
        })
    }

    /// Returns whether this member has put a symbol beside a message.
    pub(super) fn has_put(&self, symbol: &str, to: MessageId) -> bool {
        let (Some(view), Some(me)) = (self.view(to), self.member) else { return false };
        let is_it = |reaction: &fold::Reaction<'_>| symbol_key(reaction.symbol) == symbol_key(symbol);
        view.reactions.iter().find(|r| is_it(r)).is_some_and(|r| r.by.iter().any(|(member, _)| *member == me))
    }

    /// Returns the number by which a name has its colour.
    pub(super) fn number_of_name(&self, name: &str) -> usize {
        self.names.get(name).copied().unwrap_or_else(|| {
            name.bytes().fold(7, |sum: usize, byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
        })
    }

    /// Takes note of a name that appears.
    fn meet(&mut self, name: &str) {
        let number = self.names.len();
        if number < NAMES_MAX && !self.names.contains_key(name) {
            self.names.insert(name.into(), number);
        }
    }

    /// Takes in who is in the room.
    pub(super) fn set_members(&mut self, members: Vec<MemberInfo>) {
        members.iter().filter(|member| member.present).for_each(|member| self.meet(&member.name));
        self.members = members;
    }

    /// Returns whether the deletion of a message is about to be said.
    pub(super) fn is_being_deleted(&self, id: MessageId) -> bool {
        self.deletions.iter().any(|deletion| deletion.of == id)
    }

    /// The number of a message's row.
    pub(super) fn number_of(&self, id: MessageId) -> Option<i64> {
        let is_it = |row: &Row| *row == Row::Message(id);
        // What is looked for is mostly near the end.
        let index = match self.below.iter().position(|&below| below == id) {
            Some(index) => self.rows.len() + index,
            None => self.rows.iter().rposition(is_it)?,
        };
        Some(self.first_row + index as i64)
    }

    /// The message before or behind that one, if there is one; without one the last.
    pub(super) fn message_beside(&self, id: Option<MessageId>, behind: bool) -> Option<MessageId> {
        let is_message = |number: i64| match self.row(number) {
            Some(Row::Message(id)) => Some(id),
            _ => None,
        };
        match id.and_then(|id| self.number_of(id)) {
            None => self.numbers().rev().find_map(is_message),
            Some(number) if behind => (number + 1..self.numbers().end).find_map(is_message),
            Some(number) => (self.numbers().start..number).rev().find_map(is_message),
        }
    }

    /// Returns whether all who are in are known to have delivered this message of ours.
    pub(super) fn is_delivered_to_all(&self, id: MessageId) -> bool {
        let position = self.message(id).and_then(ShownMessage::position);
        let has =
            |m: &MemberInfo| Some(m.member) == self.member || self.stability.has(m.member, id, position);
        Some(id.member) == self.member && self.members.len() > 1 && self.members.iter().all(has)
    }

    // What happens.

    pub(super) fn handle(&mut self, event: Event, me: &str) -> News {
        match event {
            Event::Welcomed { member, room, created, epoch, first, members, .. } => {
                (self.member, self.link) = (Some(member), LinkState::In);
                self.set_members(members);
                self.stability = StabilityView::default();
                self.epoch = Some(epoch);
                self.given_up = false;
                match self.read_before {
                    Some((same, read)) if same == epoch => self.read = self.read.max(read),
                    // Positions of another log mean nothing here.
                    _ => self.read_before = None,
                }
                if self.rows.is_empty() {
                    self.older = (first > Position::FIRST).then_some(first);
                }
                if created {
                    self.notice(format!("the room '{room}' did not exist: it has been created"));
                }
            }
            Event::Delivered(post) => return self.delivered(post, me),
            Event::Placed { id, position, time_millis } => self.placed(id, position, time_millis),
            Event::Joined { member, name, history } if Some(member) != self.member => {
                if !history {
                    // It began with all that had its place.
                    self.stability.delivered(member, self.last);
                }
                self.comings(Coming { name, joined: true, reason: String::new() });
            }
            Event::Left { member, name, reason, .. } => {
                self.stability.forget(member);
                self.comings(Coming { name, joined: false, reason });
            }
            Event::Stable(stable) => self.stability.tell(&stable, &self.members),
            Event::Held { id, waits_for, waits_for_author, clock, .. } => {
                self.holds.keep(id, Hold { clock, waits_for: (waits_for, waits_for_author) });
            }
            Event::Reconnecting { reason, .. } => self.link = LinkState::Lost(reason),
            Event::Trouble { message } => self.notice(format!("the server: {message}")),
            Event::Resumed { resent } => {
                self.link = LinkState::In;
                if resent > 0 {
                    self.notice(format!("back; {} sent again", messages(resent)));
                }
            }
            Event::Rejoined { member, reason, renamed } => {
                (self.member, self.link) = (Some(member), LinkState::In);
                self.stability = StabilityView::default();
                self.neighbour = Neighbour::default();
                renamed.into_iter().for_each(|(old, new)| self.rename(old, new));
                self.notice(format!("joined again ({reason})"));
            }
            Event::Unsaid { id, body, reason } => {
                self.remove_below(id);
                let what = body.text().map_or(String::new(), |text| format!(": {text}"));
                self.notice(format!("not said ({reason}){what}"));
            }
            Event::Gap { from, to } => {
                self.neighbour = Neighbour::default();
                self.push(Row::Gap { from, to, removed: true });
            }
            Event::Refused { id, reason } => {
                self.notice(format!("message {} was refused for now: {reason}", id.seq))
            }
            Event::Ended(end) => {
                if let End::Untrusted(why) = &end {
                    // There is more to read and to compare than the line at the bottom has room for.
                    self.notice(why.clone());
                }
                self.link = LinkState::Over(end.to_string());
            }
            _ => {}
        }
        News::default()
    }

    pub(super) fn hold(&mut self, held: Vec<HeldPost>) {
        self.waiting_line |= !held.is_empty();
        self.held = held;
    }

    fn delivered(&mut self, post: Post, me: &str) -> News {
        let Post { id, author, body, own, position, time_millis, held_for, history, deps } = post;
        self.held.retain(|held| held.id != id);
        if self.fold.contains(id) {
            return News::default();
        }
        // It has its place only once everything before it has come.
        let position = position.filter(|_| history);
        let missed = history && position.is_some_and(|position| self.is_missed(own, position));
        let is_news = !own && (!history || missed);
        self.links.insert(id, deps.clone());
        let extra = Known { own, time_millis, deps: deps.into(), held_for, ..Known::default() };
        let (what, standing) = (What::Said(body), Standing::AsSaid);
        if !self.note(Said { id, author, what, position, standing, extra }, me) {
            if history {
                self.compare(id);
            }
            return News::default();
        }
        if history {
            self.compare(id);
            self.last = self.last.max(position.unwrap_or(Position::START));
            self.push(Row::Message(id));
            if missed {
                let row = self.numbers().end - 1;
                self.unread_from.get_or_insert(row);
            }
        } else {
            self.below.push(id);
            self.take_waiting_line();
        }
        let is_mention = self.fold.get(id).is_some_and(|message| message.extra.mention);
        let mention = (is_news && is_mention).then_some(id);
        News { message: is_news, mention, missed }
    }

    /// Returns whether somebody else's message came after reading had stopped before this start.
    fn is_missed(&self, own: bool, position: Position) -> bool {
        !own && self.read_before.is_some_and(|(_, read)| position > read)
    }

    /// Notes that all that has a place was on the screen.
    pub(super) fn note_read(&mut self) {
        self.read = self.read.max(self.last);
    }

    /// Returns the epoch and how far it was read, if the room is to be joined at the next start.
    pub(super) fn place(&self) -> Option<(Epoch, Position)> {
        let joined = self.epoch.map(|epoch| (epoch, self.read));
        joined.or(self.read_before).filter(|_| !self.given_up)
    }

    /// Takes a message in, and tells whether it is one to be shown in its place.
    fn note(&mut self, mut said: Said<Known>, me: &str) -> bool {
        let (id, own) = (said.id, said.extra.own);
        self.meet(&said.author);
        let own_seen = self.own_seen(id, &said.extra.deps);
        if let Some(member) = self.member.filter(|&member| member != id.member) {
            self.stability.saw(id.member, own_seen);
            debug_assert!(!own || member == id.member);
        }
        said.extra.own_seen = own_seen;
        if let What::Said(body) = &said.what
            && !own
        {
            let answers_mine = answered(body).is_some_and(|to| {
                self.fold.get(self.fold.shown_as(to)).is_some_and(|message| message.extra.own)
            });
            said.extra.mention = answers_mine || body.readable().is_some_and(|words| mentions(words, me));
        }
        self.fold.take(said)
    }

    /// The last of our messages in the past of one with these dependencies.
    fn own_seen(&self, id: MessageId, deps: &[MessageId]) -> u64 {
        let before = id.seq.checked_sub(1).map(|seq| MessageId::new(id.member, seq));
        let seen = |id: &MessageId| match Some(id.member) == self.member {
            true => id.seq,
            false => self.fold.get(*id).map_or(0, |message| message.extra.own_seen),
        };
        deps.iter().chain(&before).map(seen).chain(self.stability.seen(id.member)).max().unwrap_or(0)
    }

    fn placed(&mut self, id: MessageId, position: Position, time_millis: u64) {
        self.fold.place(id, position);
        if let Some(message) = self.fold.get_mut(id) {
            message.extra.time_millis = Some(time_millis);
        }
        self.last = self.last.max(position);
        self.compare(id);
        if let Some(index) = self.below.iter().position(|&below| below == id) {
            self.below.remove(index);
            self.append(Row::Message(id));
        }
    }

    /// Compares a message that has got its place with the one above it.
    fn compare(&mut self, id: MessageId) {
        // What the room itself says comes without.
        let deps = self.links.remove(&id);
        let message = self.fold.get_mut(id);
        let has_row = message.is_some();
        if let (Some(message), Some(deps)) = (message, &deps) {
            message.extra.concurrent = self.neighbour.is_concurrent(id, deps);
        }
        self.neighbour.add(id, deps, has_row);
    }

    fn remove_below(&mut self, id: MessageId) {
        self.below.retain(|&below| below != id);
        self.fold.remove(id);
        self.links.remove(&id);
    }

    fn rename(&mut self, old: MessageId, new: MessageId) {
        self.below.iter_mut().filter(|below| **below == old).for_each(|below| *below = new);
        for id in [&mut self.selected, &mut self.marked] {
            *id = id.map(|id| if id == old { new } else { id });
        }
        self.deletions
            .iter_mut()
            .filter(|deletion| deletion.of == old)
            .for_each(|deletion| deletion.of = new);
        self.fold.rename(old, new);
        // Its new stamp is not known here.
        self.links.remove(&old);
        match &mut self.purpose {
            DraftPurpose::Reply(id) | DraftPurpose::Edit(id) | DraftPurpose::React(id) if *id == old => {
                *id = new
            }
            _ => {}
        }
    }

    pub(super) fn notice(&mut self, text: String) {
        self.push(Row::Notice(text));
    }

    fn push(&mut self, row: Row) {
        self.append(row);
        self.take_waiting_line();
    }

    /// Lets a new row stand where held messages were told, if nothing is held any more.
    fn take_waiting_line(&mut self) {
        self.waiting_line &= !self.held.is_empty();
    }

    fn append(&mut self, row: Row) {
        self.rows.push_back(row);
        // Whoever reads at the top keeps what is there, up to a point; at the end nothing of it is needed.
        let is_read = self.anchor.is_some_and(|anchor| anchor.row < self.first_row + READ_ROWS);
        while self.rows.len() > if is_read { READ_BACK_MAX } else { ROWS_MAX } {
            self.forget_first();
            if self.anchor.is_some() {
                break;
            }
        }
    }

    fn forget_first(&mut self) {
        self.first_row += 1;
        match self.rows.pop_front() {
            Some(Row::Message(id)) => {
                let position = self.fold.get(id).and_then(ShownMessage::position);
                self.fold.forget(id);
                if let Some(position) = position {
                    self.older = Some(position + 1);
                }
            }
            Some(Row::Gap { to, .. }) => self.older = Some(to + 1),
            _ => {}
        }
    }

    fn comings(&mut self, coming: Coming) {
        match self.rows.back_mut() {
            Some(Row::Comings(comings)) if comings.len() < COMINGS_MAX => comings.push(coming),
            _ => self.push(Row::Comings(vec![coming])),
        }
    }

    /// Returns whether it has so many rows that no earlier ones are read.
    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= READ_BACK_MAX
    }

    /// Earlier records, which go before all rows.
    pub(super) fn earlier(&mut self, page: HistoryPage, me: &str) {
        self.loading = false;
        self.older = page.has_older().then_some(page.from);
        let mut rows: Vec<Row> = Vec::new();
        let mut neighbour = Neighbour::default();
        for entry in page.entries {
            let record = match entry {
                Entry::Gap { from, to, removed } => {
                    rows.push(Row::Gap { from, to, removed });
                    neighbour = Neighbour::default();
                    continue;
                }
                Entry::Record(record) => record,
            };
            let (id, own) = (record.id, Some(record.member) == self.member);
            let coming = match record.what {
                What::Said(body) => {
                    let deps = record.deps;
                    let extra = Known {
                        own,
                        time_millis: Some(record.time_millis),
                        deps: deps.clone().into(),
                        concurrent: neighbour.is_concurrent(id, &deps),
                        ..Known::default()
                    };
                    let (author, position, standing) = (record.name, Some(record.position), record.standing);
                    let said = Said { id, author, what: What::Said(body), position, standing, extra };
                    let has_row = !self.fold.contains(id) && self.note(said, me);
                    neighbour.add(id, Some(deps), has_row);
                    if has_row {
                        rows.push(Row::Message(id));
                    }
                    continue;
                }
                What::Joined => Coming { name: record.name, joined: true, reason: String::new() },
                What::Left { reason } => Coming { name: record.name, joined: false, reason },
            };
            neighbour.add(id, None, false);
            match rows.last_mut() {
                Some(Row::Comings(comings)) if comings.len() < COMINGS_MAX => comings.push(coming),
                _ => rows.push(Row::Comings(vec![coming])),
            }
        }
        self.first_row -= rows.len() as i64;
        let missed = |row: &Row| match row {
            Row::Message(id) => self.fold.get(*id).is_some_and(|message| {
                message.position().is_some_and(|position| self.is_missed(message.extra.own, position))
            }),
            Row::Comings(_) | Row::Gap { .. } | Row::Notice(_) => false,
        };
        if let Some(index) = rows.iter().position(missed) {
            self.unread_from = Some(self.first_row + index as i64);
        }
        rows.into_iter().rev().for_each(|row| self.rows.push_front(row));
    }
}

/// Returns the message that a body answers.
const fn answered(body: &Body) -> Option<MessageId> {
    match body {
        Body::Reply { to, .. } => Some(*to),
        Body::Text(_)
        | Body::Action(_)
        | Body::Notice(_)
        | Body::Edit { .. }
        | Body::Delete { .. }
        | Body::Reaction { .. }
        | Body::Topic(_)
        | Body::Unknown(_) => None,
    }
}

/// Returns whether a text calls somebody by name.
fn mentions(text: &str, name: &str) -> bool {
    let (text, name) = (text.to_lowercase(), name.to_lowercase());
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    !name.is_empty()
        && text.match_indices(&name).any(|(at, found)| {
            let before = text[..at].chars().next_back();
            let behind = text[at + found.len()..].chars().next();
            !before.is_some_and(is_word) && !behind.is_some_and(is_word)
        })
}

#[cfg(test)]
mod tests;
