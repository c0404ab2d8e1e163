//! The fold of a room's log: edits, deletions and reactions taken into the messages that they are about.
//!
//! The rules, which the page has too (`web/log/fold.js`) and `tests/timeline` shows case by case: targets are followed to
//! the end; a target stands before what is about it; only the member that said something changes it; of edits the last
//! in the log counts, and a deletion counts for good. Records may be taken in any order: each counts by its rank.

use std::collections::{BTreeMap, BTreeSet};

use cbcast::{MemberId, MessageId};

use crate::content::body::{Body, topic_part};
use crate::content::text::{is_symbol, symbol_key};
use crate::id::Position;
use crate::log::page::{HistoryRecord, Standing, What};

/// Edits, deletions and reactions that a fold keeps; of more the first in the log go.
const CHANGES_MAX: usize = 200_000;

/// A place in the timeline. What has no position in the log yet stands behind all that has one, in order of arrival.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Rank {
    Placed(Position),
    Unplaced(u64),
}

/// A record for the fold, or a message without a position yet. `T` is what a face keeps beside a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Said<T> {
    /// Id of the message.
    pub id: MessageId,
    /// Name of who has said it, joined or left.
    pub author: String,
    /// Body, or that somebody joined or left.
    pub what: What,
    /// Position in the log, if it has one.
    pub position: Option<Position>,
    /// Difference between what the record tells and what was said.
    pub standing: Standing,
    /// Whatever the face wants to know of a message with a line.
    pub extra: T,
}

impl From<HistoryRecord> for Said<()> {
    fn from(record: HistoryRecord) -> Self {
        let HistoryRecord { position, id, name: author, what, standing, .. } = record;
        Self { id, author, what, position: Some(position), standing, extra: () }
    }
}

/// A message that has a line, as it was taken in.
#[derive(Clone, Debug, PartialEq)]
pub struct FoldedMessage<T> {
    /// Name of who has said it, joined or left.
    pub author: String,
    what: What,
    rank: Rank,
    standing: Standing,
    /// Whatever the face keeps beside it.
    pub extra: T,
}

impl<T> FoldedMessage<T> {
    /// Returns the body, or that somebody joined or left, without any changes since.
    pub const fn what(&self) -> &What {
        &self.what
    }

    /// Returns the position in the log, if it has one.
    pub const fn position(&self) -> Option<Position> {
        match self.rank {
            Rank::Placed(position) => Some(position),
            Rank::Unplaced(_) => None,
        }
    }

    /// Returns the words that were said, if it is of a kind that has some.
    fn words(&self) -> Option<&str> {
        match &self.what {
            What::Said(body) => body.readable(),
            What::Joined | What::Left { .. } => None,
        }
    }
}

/// An edit, a deletion or a reaction.
#[derive(Clone, Debug)]
struct Amendment {
    author: String,
    body: Body,
    rank: Rank,
    standing: Standing,
}

impl Amendment {
    /// Returns whether an edit or a deletion may name it: it is an edit.
    const fn is_edit(&self) -> bool {
        matches!(self.body, Body::Edit { .. })
    }
}

/// A message as it reads now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct View<'a> {
    /// Words; none if it is deleted, or never had any.
    pub words: Option<&'a str>,
    /// Record that has these words: the message, or the edit that counts.
    pub from: MessageId,
    /// True if the words are not those that were said first.
    pub edited: bool,
    /// True if its author has deleted it.
    pub deleted: bool,
    /// Reason of the deletion; empty if none is told.
    pub reason: &'a str,
    /// Reactions in the order in which their symbols first came.
    pub reactions: Vec<Reaction<'a>>,
}

/// A symbol beside a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reaction<'a> {
    /// Symbol, as whoever put it there first has written it.
    pub symbol: &'a str,
    /// Members that have put it there and their names, the longest there first.
    pub by: Vec<(MemberId, &'a str)>,
}

/// A message in the words of another that is about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Quote<'a> {
    /// Message whose line shows it.
    pub id: MessageId,
    /// Name of its author; none if it is not at hand.
    pub author: Option<&'a str>,
    /// Its words as they read now; none if it is deleted or not at hand, or never had any.
    pub words: Option<&'a str>,
    /// True if its author has deleted it.
    pub deleted: bool,
}

/// Messages of a log as they read now.
#[derive(Clone, Debug)]
pub struct Fold<T = ()> {
    messages: BTreeMap<MessageId, FoldedMessage<T>>,
    changes: BTreeMap<MessageId, Amendment>,
    /// Changes by the message that they name.
    about: BTreeSet<(MessageId, MessageId)>,
    /// Changes in the order of the log.
    order: BTreeSet<(Rank, MessageId)>,
    topics: BTreeSet<(Rank, MessageId)>,
    /// Last topic, if it was to be forgotten and is the room's still.
    kept_topic: Option<MessageId>,
    /// Number of messages so far that came without a position.
    unplaced: u64,
}

impl<T> Default for Fold<T> {
    fn default() -> Self {
        Self {
            messages: BTreeMap::new(),
            changes: BTreeMap::new(),
            about: BTreeSet::new(),
            order: BTreeSet::new(),
            topics: BTreeSet::new(),
            kept_topic: None,
            unplaced: 0,
        }
    }
}

impl<T> Fold<T> {
    // What comes and goes.

    /// Takes in a record, wherever in the log it stands. Returns whether it has a line of its own.
    pub fn take(&mut self, said: Said<T>) -> bool {
        let Said { id, author, what, position, standing, extra } = said;
        self.remove(id);
        let rank = match position {
            Some(position) => Rank::Placed(position),
            None => {
                self.unplaced += 1;
                Rank::Unplaced(self.unplaced)
            }
        };
        let target = match &what {
            What::Said(body) if !body.has_line() => body.target(),
            What::Said(_) | What::Joined | What::Left { .. } => None,
        };
        match (what, target) {
            (What::Said(body), Some(target)) => {
                self.changes.insert(id, Amendment { author, body, rank, standing });
                self.about.insert((target, id));
                self.order.insert((rank, id));
                if self.order.len() > CHANGES_MAX
                    && let Some(&(_, first)) = self.order.first()
                {
                    self.remove(first);
                }
                false
            }
            (what, _) => {
                if matches!(what, What::Said(Body::Topic(_))) {
                    self.topics.insert((rank, id));
                }
                self.messages.insert(id, FoldedMessage { author, what, rank, standing, extra });
                true
            }
        }
    }

    /// Gives a message the position that it has got in the log.
    pub fn place(&mut self, id: MessageId, position: Position) {
        let rank = Rank::Placed(position);
        let old = if let Some(message) = self.messages.get_mut(&id) {
            std::mem::replace(&mut message.rank, rank)
        } else if let Some(change) = self.changes.get_mut(&id) {
            std::mem::replace(&mut change.rank, rank)
        } else {
            return;
        };
        for ranked in [&mut self.topics, &mut self.order] {
            if ranked.remove(&(old, id)) {
                ranked.insert((rank, id));
            }
        }
    }

    /// Takes out a message that was not said after all. What is about it stays, in case it comes again.
    pub fn remove(&mut self, id: MessageId) -> Option<FoldedMessage<T>> {
        if let Some(Amendment { body, rank, .. }) = self.changes.remove(&id) {
            self.order.remove(&(rank, id));
            if let Some(target) = body.target() {
                self.about.remove(&(target, id));
            }
        }
        self.kept_topic.take_if(|kept| *kept == id);
        let message = self.messages.remove(&id)?;
        self.topics.remove(&(message.rank, id));
        Some(message)
    }

    /// Gives a message another id, and with it what is about it.
    pub fn rename(&mut self, old: MessageId, new: MessageId) {
        if let Some(message) = self.messages.remove(&old) {
            if self.topics.remove(&(message.rank, old)) {
                self.topics.insert((message.rank, new));
            }
            self.messages.insert(new, message);
        }
        if let Some(change) = self.changes.remove(&old) {
            self.order.remove(&(change.rank, old));
            self.order.insert((change.rank, new));
            if let Some(target) = change.body.target() {
                self.about.remove(&(target, old));
                self.about.insert((target, new));
            }
            self.changes.insert(new, change);
        }
        for id in self.naming(old).collect::<Vec<_>>() {
            self.about.remove(&(old, id));
            self.about.insert((new, id));
            if let Some(change) = self.changes.get_mut(&id)
                && let Ok(body) = change.body.clone().retargeted(Some(new))
            {
                change.body = body;
            }
        }
    }

    /// Forgets a message and all that is about it. The room's topic is told still.
    pub fn forget(&mut self, id: MessageId) {
        if let Some(kept) = self.kept_topic.filter(|kept| !self.is_last_topic(*kept)) {
            self.remove_whole(kept);
        }
        if self.is_last_topic(id) {
            self.kept_topic = Some(id);
        } else {
            self.remove_whole(id);
        }
    }

    fn remove_whole(&mut self, id: MessageId) {
        let mut open = vec![id];
        while let Some(target) = open.pop() {
            let naming: Vec<_> = self.naming(target).collect();
            for change in naming {
                self.remove(change);
                open.push(change);
            }
        }
        self.remove(id);
    }

    fn is_last_topic(&self, id: MessageId) -> bool {
        self.topics.last().is_some_and(|(_, last)| *last == id)
    }

    // What there is to see.

    /// Returns a message that has a line, as it was said.
    #[must_use]
    pub fn get(&self, id: MessageId) -> Option<&FoldedMessage<T>> {
        self.messages.get(&id).filter(|_| self.kept_topic != Some(id))
    }

    /// Returns the same to change what the face keeps beside it.
    pub fn get_mut(&mut self, id: MessageId) -> Option<&mut FoldedMessage<T>> {
        self.messages.get_mut(&id)
    }

    /// Returns whether a message or a change is at hand.
    #[must_use]
    pub fn contains(&self, id: MessageId) -> bool {
        self.get(id).is_some() || self.changes.contains_key(&id)
    }

    /// Returns the number of messages that have a line.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len() - usize::from(self.kept_topic.is_some())
    }

    /// Returns whether no message has a line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the message whose line shows this one: an edit or a reaction shows at what it is about, to the end.
    #[must_use]
    pub fn shown_as(&self, mut id: MessageId) -> MessageId {
        // Each target stands before what is about it, so this ends.
        while let Some(change) = self.changes.get(&id) {
            match change.body.target() {
                Some(target) if self.rank(target).is_none_or(|rank| rank < change.rank) => id = target,
                Some(_) | None => break,
            }
        }
        id
    }

    /// Returns a message as it reads now, if it is at hand and has a line.
    #[must_use]
    pub fn view(&self, id: MessageId) -> Option<View<'_>> {
        let message = self.messages.get(&id)?;
        let mut view = View {
            words: message.words(),
            from: id,
            edited: message.standing == Standing::Edited,
            deleted: message.standing == Standing::Deleted,
            reason: "",
            reactions: Vec::new(),
        };
        let is_topic = matches!(message.what, What::Said(Body::Topic(_)));
        let mut reactions = Reactions::default();
        for (change_id, change) in self.counting(id) {
            match &change.body {
                Body::Delete { reason, .. } => (view.deleted, view.reason) = (true, reason),
                Body::Reaction { symbol, set, .. } => {
                    reactions.take(symbol, *set, (change_id.member, &change.author));
                }
                // Of the edits of what was deleted a server tells no words.
                Body::Edit { .. } if change.standing == Standing::Deleted => view.deleted = true,
                Body::Edit { text, .. } if view.words.is_some() => {
                    let words = if is_topic { topic_part(text) } else { text };
                    (view.words, view.from, view.edited) = (Some(words), change_id, true);
                }
                Body::Edit { .. }
                | Body::Text(_)
                | Body::Action(_)
                | Body::Notice(_)
                | Body::Reply { .. }
                | Body::Topic(_)
                | Body::Unknown(_) => {}
            }
        }
        if view.deleted {
            (view.words, view.from, view.edited) = (None, id, false);
        } else {
            view.reactions = reactions.finish();
        }
        Some(view)
    }

    /// Returns the words of a message as they read now; `None` if it is deleted or not at hand, or never had any.
    #[must_use]
    pub fn words(&self, id: MessageId) -> Option<&str> {
        self.view(id)?.words
    }

    /// Returns a message for where another is about it.
    #[must_use]
    pub fn quote(&self, id: MessageId) -> Quote<'_> {
        let id = self.shown_as(id);
        let author = self.messages.get(&id).map(|message| &message.author[..]);
        let view = self.view(id);
        let (words, deleted) = view.map_or((None, false), |view| (view.words, view.deleted));
        Quote { id, author, words, deleted }
    }

    /// Returns the room's topic as it reads now: empty if there is none, `None` if no topic is at hand.
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        let (_, last) = self.topics.last()?;
        Some(self.words(*last).unwrap_or_default())
    }

    /// Returns how a message or an edit that was said so stands today, as pages tell it, with the words that stand.
    #[must_use]
    pub fn as_it_stands(&self, id: MessageId, said: Body) -> (Standing, Body) {
        let (standing, words) = self.standing(id);
        match standing {
            Standing::AsSaid => (standing, said),
            Standing::Edited | Standing::Deleted => {
                (standing, said.with_text(words.unwrap_or_default().to_owned()))
            }
        }
    }

    fn standing(&self, id: MessageId) -> (Standing, Option<&str>) {
        let as_said = (Standing::AsSaid, None);
        let is_edit = match self.changes.get(&id) {
            Some(change) if !change.is_edit() => return as_said,
            change => change.is_some(),
        };
        // The message itself may be lost; then its edits stand for it.
        let root = self.shown_as(id);
        if self.messages.get(&root).is_some_and(|message| message.words().is_none()) {
            return as_said;
        }
        let changes = self.counting(root);
        if is_edit && !changes.iter().any(|(change, _)| *change == id) {
            return as_said;
        }
        let mut last = (root, None);
        for (change_id, change) in changes {
            match &change.body {
                Body::Delete { .. } => return (Standing::Deleted, None),
                Body::Edit { text, .. } => last = (change_id, Some(&text[..])),
                Body::Text(_)
                | Body::Action(_)
                | Body::Notice(_)
                | Body::Reply { .. }
                | Body::Reaction { .. }
                | Body::Topic(_)
                | Body::Unknown(_) => {}
            }
        }
        match last {
            (from, Some(words)) if from != id => (Standing::Edited, Some(words)),
            _ => as_said,
        }
    }

    /// Returns the edits of a message that count, in the order of the log.
    #[must_use]
    pub fn edits(&self, id: MessageId) -> Vec<MessageId> {
        let edits = self.counting(id).into_iter().filter(|(_, change)| change.is_edit());
        edits.map(|(id, _)| id).collect()
    }

    fn rank(&self, id: MessageId) -> Option<Rank> {
        let message = self.messages.get(&id).map(|message| message.rank);
        message.or_else(|| self.changes.get(&id).map(|change| change.rank))
    }

    /// Returns the changes that name a message.
    fn naming(&self, target: MessageId) -> impl Iterator<Item = MessageId> + '_ {
        let first = MessageId::new(MemberId::new(0, 0), 0);
        let naming = self.about.range((target, first)..).take_while(move |(named, _)| *named == target);
        naming.map(|(_, change)| *change)
    }

    /// Returns the changes that count for a message, in the order of the log. The message itself need not be at hand.
    fn counting(&self, root: MessageId) -> Vec<(MessageId, &Amendment)> {
        let mut found = Vec::new();
        if self.naming(root).next().is_none() {
            return found;
        }
        let mut open = vec![root];
        while let Some(target) = open.pop() {
            let rank = self.rank(target);
            let is_changeable = self.changes.get(&target).is_none_or(Amendment::is_edit);
            for id in self.naming(target) {
                let Some(change) = self.changes.get(&id) else { continue };
                if rank.is_some_and(|rank| change.rank <= rank) {
                    continue;
                }
                open.push(id);
                let is_own = id.member == target.member && id.member == root.member;
                if matches!(change.body, Body::Reaction { .. }) || is_changeable && is_own {
                    found.push((id, change));
                }
            }
        }
        found.sort_unstable_by_key(|(_, change)| change.rank);
        found
    }
}

/// The reactions to one message, taken in in the order of the log.
#[derive(Default)]
struct Reactions<'a> {
    symbols: Vec<Reaction<'a>>,
    /// Places of symbols by what reads the same.
    by_key: BTreeMap<String, usize>,
}

impl<'a> Reactions<'a> {
    fn take(&mut self, symbol: &'a str, set: bool, who: (MemberId, &'a str)) {
        // Logs of older versions have others.
        if !is_symbol(symbol) {
            return;
        }
        let at = *self.by_key.entry(symbol_key(symbol)).or_insert(self.symbols.len());
        if at == self.symbols.len() {
            self.symbols.push(Reaction { symbol, by: Vec::new() });
        }
        let reaction = &mut self.symbols[at];
        let there = reaction.by.iter().position(|(member, _)| *member == who.0);
        match (set, there) {
            (true, None) => {
                if reaction.by.is_empty() {
                    reaction.symbol = symbol;
                }
                reaction.by.push(who);
            }
            (false, Some(at)) => drop(reaction.by.remove(at)),
            (true, Some(_)) | (false, None) => {}
        }
    }

    fn finish(self) -> Vec<Reaction<'a>> {
        self.symbols.into_iter().filter(|reaction| !reaction.by.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: MemberId = MemberId::new(0, 1);
    const BOB: MemberId = MemberId::new(0, 2);

    fn id(member: MemberId, seq: u64) -> MessageId {
        MessageId::new(member, seq)
    }

    fn said(id: MessageId, position: impl Into<Option<u64>>, body: Body) -> Said<()> {
        let (what, standing) = (What::Said(body), Standing::AsSaid);
        Said {
            id,
            author: id.member.to_string(),
            what,
            position: position.into().map(Position::new),
            standing,
            extra: (),
        }
    }

    fn text(words: &str) -> Body {
        Body::Text(words.into())
    }

    fn edit(of: MessageId, words: &str) -> Body {
        Body::Edit { of, text: words.into() }
    }

    fn delete(of: MessageId) -> Body {
        Body::Delete { of, reason: String::new() }
    }

    fn reaction(to: MessageId, symbol: &str, set: bool) -> Body {
        Body::Reaction { to, symbol: symbol.into(), set }
    }

    fn counts(fold: &Fold, id: MessageId) -> Vec<(&str, usize)> {
        let view = fold.view(id).expect("it has a line");
        view.reactions.into_iter().map(|reaction| (reaction.symbol, reaction.by.len())).collect()
    }

    #[test]
    fn what_has_no_position_stands_behind_what_has_one() {
        let mut fold = Fold::default();
        assert!(fold.take(said(id(ANN, 1), 1, text("one"))));
        assert!(!fold.take(said(id(ANN, 2), None, edit(id(ANN, 1), "of mine, on its way"))));
        assert_eq!(fold.words(id(ANN, 1)), Some("of mine, on its way"));
        fold.take(said(id(ANN, 3), 4, edit(id(ANN, 1), "of mine, placed")));
        assert_eq!(fold.words(id(ANN, 1)), Some("of mine, on its way"));
        fold.place(id(ANN, 2), Position::new(3));
        assert_eq!(fold.words(id(ANN, 1)), Some("of mine, placed"));
    }

    #[test]
    fn of_two_topics_at_once_the_later_in_the_log_counts() {
        let mut fold = Fold::default();
        assert_eq!(fold.topic(), None);
        fold.take(said(id(ANN, 1), None, Body::Topic("mine".into())));
        fold.take(said(id(BOB, 1), None, Body::Topic("Bob's".into())));
        assert_eq!(fold.topic(), Some("Bob's"));
        fold.place(id(BOB, 1), Position::new(10));
        assert_eq!(fold.topic(), Some("mine"), "it has no position yet, and will have a later one");
        fold.place(id(ANN, 1), Position::new(11));
        assert_eq!(fold.topic(), Some("mine"));
        fold.take(said(id(ANN, 2), None, delete(id(ANN, 1))));
        assert_eq!(fold.topic(), Some(""));
        fold.remove(id(ANN, 2));
        assert_eq!(fold.topic(), Some("mine"), "the deletion was not said");
    }

    #[test]
    fn a_message_that_gets_another_id_keeps_what_is_about_it() {
        let mut fold = Fold::default();
        fold.take(said(id(ANN, 1), None, text("teh")));
        fold.take(said(id(ANN, 2), None, edit(id(ANN, 1), "the")));
        fold.take(said(id(ANN, 3), None, reaction(id(ANN, 2), "+", true)));
        for seq in 1..=3 {
            fold.rename(id(ANN, seq), id(BOB, seq + 4));
        }
        assert_eq!((fold.view(id(ANN, 1)), fold.words(id(BOB, 5))), (None, Some("the")));
        assert_eq!(counts(&fold, id(BOB, 5)), [("+", 1)]);
        assert_eq!(fold.shown_as(id(BOB, 7)), id(BOB, 5));
    }

    #[test]
    fn what_is_forgotten_takes_with_it_what_is_about_it_but_for_the_topic() {
        let mut fold = Fold::default();
        fold.take(said(id(ANN, 1), 1, Body::Topic("numbres".into())));
        fold.take(said(id(ANN, 2), 2, edit(id(ANN, 1), "numbers")));
        fold.take(said(id(ANN, 3), 3, text("one")));
        fold.take(said(id(ANN, 4), 4, edit(id(ANN, 3), "two")));
        fold.take(said(id(BOB, 1), 5, reaction(id(ANN, 4), "+", true)));
        assert_eq!(fold.len(), 2);
        fold.forget(id(ANN, 3));
        assert_eq!((fold.len(), fold.changes.len(), fold.about.len(), fold.order.len()), (1, 1, 1, 1));
        fold.forget(id(ANN, 1));
        assert_eq!((fold.topic(), fold.len(), fold.contains(id(ANN, 1))), (Some("numbers"), 0, false));
        // Its page is read again.
        assert!(fold.take(said(id(ANN, 1), 1, Body::Topic("numbres".into()))));
        assert_eq!((fold.topic(), fold.len()), (Some("numbers"), 1));
        fold.forget(id(ANN, 1));
        fold.take(said(id(BOB, 2), 6, Body::Topic("letters".into())));
        fold.forget(id(BOB, 2));
        assert_eq!((fold.topic(), fold.messages.len(), fold.changes.len()), (Some("letters"), 1, 0));
    }

    #[test]
    fn changes_are_bounded_and_the_first_in_the_log_go() {
        let mut fold = Fold::default();
        fold.take(said(id(ANN, 1), 1, text("a")));
        for n in 2..=CHANGES_MAX as u64 + 2 {
            fold.take(said(id(BOB, n), n, reaction(id(ANN, 1), &n.to_string(), true)));
        }
        assert_eq!((fold.changes.len(), fold.about.len()), (CHANGES_MAX, CHANGES_MAX));
        assert_eq!(counts(&fold, id(ANN, 1))[0], ("3", 1));
    }

    #[test]
    fn pages_tell_a_message_and_its_edits_as_they_stand() {
        use Standing::{AsSaid, Deleted, Edited};
        let mut fold = Fold::default();
        fold.take(said(id(ANN, 1), 1, text("one")));
        fold.take(said(id(ANN, 2), 2, edit(id(ANN, 1), "two")));
        fold.take(said(id(ANN, 3), 3, edit(id(ANN, 2), "three")));
        fold.take(said(id(BOB, 1), 4, edit(id(ANN, 3), "not his")));
        let told = |fold: &Fold, id| {
            let (standing, words) = fold.standing(id);
            (standing, words.map(str::to_owned))
        };
        let three = Some("three".to_owned());
        assert_eq!(told(&fold, id(ANN, 1)), (Edited, three.clone()));
        assert_eq!(told(&fold, id(ANN, 2)), (Edited, three.clone()));
        for id in [id(ANN, 3), id(BOB, 1)] {
            assert_eq!(told(&fold, id), (AsSaid, None));
        }
        fold.remove(id(ANN, 1));
        assert_eq!(told(&fold, id(ANN, 2)), (Edited, three), "the message is lost");
        fold.take(said(id(ANN, 4), 5, delete(id(ANN, 1))));
        for seq in 2..=3 {
            assert_eq!(told(&fold, id(ANN, seq)), (Deleted, None));
        }
        assert_eq!(told(&fold, id(ANN, 4)), (AsSaid, None));
    }
}
