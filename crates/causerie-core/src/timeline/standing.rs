//! Messages as they read today where the log is in a store: looks up what belongs to one, and folds that.
//!
//! A message, what edits it, and what edits those, belong together.

use std::collections::BTreeSet;

use cbcast::MessageId;

use crate::content::body::{Body, LOOKS_MAX};
use crate::id::Position;
use crate::log::page::{Standing, What};
use crate::timeline::fold::{Fold, Said};

/// A log in which messages and their changes are found.
pub trait Changes {
    /// Failure of the log to be read.
    type Error;

    /// Returns the body of a message; `None` if it cannot be read.
    ///
    /// # Errors
    /// The log cannot be read.
    fn body(&mut self, id: MessageId) -> Result<Option<Body>, Self::Error>;

    /// Returns the edits and deletions that name a message, of its own author.
    ///
    /// # Errors
    /// The log cannot be read.
    fn changes(&mut self, of: MessageId) -> Result<Vec<(MessageId, Body)>, Self::Error>;
}

/// Returns how a message reads today: what it says, with the text that stands, which is empty if none does.
///
/// # Errors
/// The log cannot be read.
pub fn standing<L: Changes>(log: &mut L, id: MessageId, said: &Body) -> Result<(Standing, Body), L::Error> {
    if said.readable().is_none() {
        return Ok((Standing::AsSaid, said.clone()));
    }
    Ok(gather(log, id, said)?.as_it_stands(id, said.clone()))
}

/// Words of a topic as they stand, and the messages that say them; `None` if they were taken back.
type StandingTopic = Option<(String, BTreeSet<MessageId>)>;

/// Returns the topic that a message has set, as it stands.
///
/// # Errors
/// The log cannot be read.
pub fn topic<L: Changes>(log: &mut L, id: MessageId, said: &str) -> Result<StandingTopic, L::Error> {
    let fold = gather(log, id, &Body::Topic(said.to_owned()))?;
    let ids = || fold.edits(id).into_iter().chain([id]).collect();
    Ok(fold.words(id).map(|words| (words.to_owned(), ids())))
}

/// Folds a message with what it edits and with all that changes those.
fn gather<L: Changes>(log: &mut L, id: MessageId, said: &Body) -> Result<Fold, L::Error> {
    let mut fold = Fold::default();
    let mut root = id;
    let mut at = Some(said.clone());
    for _ in 0..LOOKS_MAX {
        let Some(body) = at.take() else { break };
        let target = body.changed().filter(|of| of.member == root.member && of.seq < root.seq);
        note(&mut fold, root, body);
        let Some(target) = target else { break };
        at = log.body(target)?;
        root = target;
    }
    let mut left = BTreeSet::from([root]);
    let mut ids = left.clone();
    while let Some(of) = left.pop_last() {
        if ids.len() > LOOKS_MAX {
            break;
        }
        for (change, body) in log.changes(of)? {
            note(&mut fold, change, body);
            if ids.insert(change) {
                left.insert(change);
            }
        }
    }
    Ok(fold)
}

/// Takes in what one member has said: its numbers tell the order.
fn note(fold: &mut Fold, id: MessageId, body: Body) {
    fold.take(Said {
        id,
        author: String::new(),
        what: What::Said(body),
        position: Some(Position::new(id.seq)),
        standing: Standing::AsSaid,
        extra: (),
    });
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use cbcast::MemberId;

    use super::*;
    use crate::content::body::TOPIC_BYTES_MAX;

    struct Log(BTreeMap<MessageId, Body>);

    impl Changes for Log {
        type Error = Infallible;

        fn body(&mut self, id: MessageId) -> Result<Option<Body>, Infallible> {
            Ok(self.0.get(&id).cloned())
        }

        fn changes(&mut self, of: MessageId) -> Result<Vec<(MessageId, Body)>, Infallible> {
            let changes = |body: &Body| matches!(body, Body::Edit { of: x, .. } | Body::Delete { of: x, .. } if *x == of);
            Ok(self
                .0
                .iter()
                .filter(|(_, body)| changes(body))
                .map(|(id, body)| (*id, body.clone()))
                .collect())
        }
    }

    fn id(seq: u64) -> MessageId {
        MessageId::new(MemberId::new(0, 1), seq)
    }

    /// How each reads, of what one has said in a row.
    fn read(said: &[Body]) -> Vec<(Standing, String)> {
        let mut log = Log((1..).map(id).zip(said.iter().cloned()).collect());
        let each = said.iter().enumerate().map(|(n, body)| {
            let Ok((standing, body)) = standing(&mut log, id(n as u64 + 1), body);
            (standing, body.text().unwrap_or("-").to_owned())
        });
        each.collect()
    }

    fn text(text: &str) -> Body {
        Body::Text(text.into())
    }

    fn edit(of: u64, text: &str) -> Body {
        Body::Edit { of: id(of), text: text.into() }
    }

    #[test]
    fn the_last_edit_stands_for_all_of_them_and_a_deletion_takes_all_away() {
        use Standing::{AsSaid, Deleted, Edited};
        let reads = |said: &[Body], expected: &[(Standing, &str)]| {
            let expected: Vec<_> = expected.iter().map(|(s, text)| (*s, (*text).to_owned())).collect();
            assert_eq!(read(said), expected, "{said:?}");
        };
        let delete = |of| Body::Delete { of: id(of), reason: String::new() };
        reads(&[text("a"), text("b")], &[(AsSaid, "a"), (AsSaid, "b")]);
        reads(&[text("a"), edit(1, "b")], &[(Edited, "b"), (AsSaid, "b")]);
        reads(&[text("a"), edit(1, "b"), edit(1, "c")], &[(Edited, "c"), (Edited, "c"), (AsSaid, "c")]);
        reads(&[text("a"), edit(1, "b"), edit(2, "c")], &[(Edited, "c"), (Edited, "c"), (AsSaid, "c")]);
        reads(
            &[text("a"), edit(1, "b"), edit(2, "c"), edit(1, "d")],
            &[(Edited, "d"), (Edited, "d"), (Edited, "d"), (AsSaid, "d")],
        );
        reads(&[text("a"), delete(1)], &[(Deleted, ""), (AsSaid, "-")]);
        reads(
            &[text("a"), edit(1, "b"), delete(2), edit(1, "c")],
            &[(Deleted, ""), (Deleted, ""), (AsSaid, "-"), (Deleted, "")],
        );
        let reply = |text: &str| Body::Reply { to: id(9), text: text.into() };
        let Ok((standing, body)) = standing(&mut Log([(id(2), edit(1, "b"))].into()), id(1), &reply("a"));
        assert_eq!((standing, body), (Edited, reply("b")));
        // What edits something that cannot be read any more.
        assert_eq!(read(&[edit(9, "x")]), [(AsSaid, "x".to_owned())]);
    }

    #[test]
    fn topics_are_told_as_they_stand() {
        let said = Body::Topic("a".into());
        let long = "é".repeat(TOPIC_BYTES_MAX);
        let delete = Body::Delete { of: id(2), reason: String::new() };
        for (changes, expected) in [
            (vec![], Some("a")),
            (vec![edit(1, "b"), edit(2, "c")], Some("c")),
            (vec![edit(1, &long)], Some(&long[..TOPIC_BYTES_MAX])),
            (vec![edit(1, "b"), delete], None),
        ] {
            let mut log = Log((2..).map(id).zip(changes.iter().cloned()).collect());
            let Ok(found) = topic(&mut log, id(1), "a");
            assert_eq!(found.as_ref().map(|(text, _)| &text[..]), expected);
            let ids = found.map(|(_, ids)| ids.len());
            assert!(ids.is_none_or(|count| count == 1 + changes.len()));
            let Ok((_, body)) = standing(&mut log, id(1), &said);
            assert_eq!(body, Body::Topic(expected.unwrap_or_default().into()));
        }
    }

    #[test]
    fn a_long_chain_ends_somewhere() {
        let chain: Vec<_> = std::iter::once(text("0")).chain((1..500).map(|n| edit(n, "x"))).collect();
        assert_eq!(read(&chain).len(), 500);
    }
}
