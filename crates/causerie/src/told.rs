//! The last messages that were told in lines, to name what later ones are about.

use std::collections::VecDeque;

use causerie_client::{Body, MessageId, What};
use causerie_core::log::page::Standing;
use causerie_core::timeline::fold::{Fold, Said};

/// Messages and changes that are kept.
const KEPT_MAX: usize = 500;

/// Characters that are kept of each: more than is quoted.
const CHARS_MAX: usize = 80;

/// Messages as they read by what was told so far.
#[derive(Debug, Default)]
pub(crate) struct Told {
    fold: Fold,
    order: VecDeque<MessageId>,
}

impl Told {
    /// Takes note of what is told next.
    pub(crate) fn note(&mut self, id: MessageId, author: &str, body: Body, standing: Standing) {
        let body = match body.readable() {
            Some(words) => body.with_text(words.chars().take(CHARS_MAX).collect()),
            None => body,
        };
        if !self.fold.contains(id) {
            self.order.push_back(id);
        }
        let (author, what) = (author.to_owned(), What::Said(body));
        self.fold.take(Said { id, author, what, position: None, standing, extra: () });
        if self.order.len() > KEPT_MAX
            && let Some(first) = self.order.pop_front()
        {
            self.fold.remove(first);
        }
    }

    /// Returns who has said what a body refers to, and how that reads now, if it is known.
    pub(crate) fn about(&self, body: &Body) -> Option<(&str, &str)> {
        let quote = self.fold.quote(body.target()?);
        Some((quote.author?, quote.words?))
    }
}

#[cfg(test)]
mod tests {
    use causerie_client::MemberId;

    use super::*;

    #[test]
    fn what_was_told_is_quoted_as_it_was_corrected_and_is_not_much() {
        let id = |seq| MessageId::new(MemberId::new(0, 1), seq);
        let reply = |seq| Body::Reply { to: id(seq), text: String::new() };
        let mut told = Told::default();
        let note = |told: &mut Told, id, body| told.note(id, "Ann", body, Standing::AsSaid);
        note(&mut told, id(1), Body::Text("teh".into()));
        note(&mut told, id(2), Body::Edit { of: id(1), text: "the".into() });
        note(&mut told, id(3), Body::Edit { of: id(2), text: "this".into() });
        for seq in 1..=3 {
            assert_eq!(told.about(&reply(seq)), Some(("Ann", "this")));
        }
        let strangers = MessageId::new(MemberId::new(0, 2), 9);
        note(&mut told, strangers, Body::Delete { of: id(1), reason: String::new() });
        assert_eq!(told.about(&reply(1)), Some(("Ann", "this")), "only one's own");
        note(&mut told, id(4), Body::Delete { of: id(2), reason: String::new() });
        for seq in 1..=3 {
            assert_eq!(told.about(&reply(seq)), None);
        }
        for seq in 5..=KEPT_MAX as u64 + 10 {
            note(&mut told, id(seq), Body::Text("x".repeat(1_000)));
        }
        assert_eq!(told.about(&reply(KEPT_MAX as u64 + 10)).unwrap().1.len(), CHARS_MAX);
        assert_eq!((told.about(&reply(10)), told.order.len(), told.fold.len()), (None, KEPT_MAX, KEPT_MAX));
    }
}
