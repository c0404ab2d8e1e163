//! The last messages that were told in lines, to name what later ones are about.

use std::collections::VecDeque;

use causerie_client::{Body, MessageId, What};
use causerie_core::log::page::Standing;
use causerie_core::timeline::fold::{Fold, Said};

/// Messages and changes that are kept.
const KEPT_MAX: usize = 500;

/// Characters that are kept of each of its texts: more than is quoted.
const CHARS_MAX: usize = 80;

fn clipped(text: &str) -> String {
    text.chars().take(CHARS_MAX).collect()
}

/// Returns as much of a body as is kept.
fn clipped_body(body: &Body) -> Body {
    match body {
        Body::Delete { of, reason } => Body::Delete { of: *of, reason: clipped(reason) },
        Body::Reaction { to, symbol, set } => Body::Reaction { to: *to, symbol: clipped(symbol), set: *set },
        Body::Unknown(_) => Body::Unknown(Vec::new().into()),
        Body::Text(text)
        | Body::Action(text)
        | Body::Notice(text)
        | Body::Topic(text)
        | Body::Reply { text, .. }
        | Body::Edit { text, .. } => body.with_text(clipped(text)),
    }
}

/// Messages as they read by what was told so far.
#[derive(Debug, Default)]
pub(crate) struct Told {
    fold: Fold,
    order: VecDeque<MessageId>,
}

impl Told {
    /// Takes note of what is told next.
    pub(crate) fn note(&mut self, id: MessageId, author: &str, body: Body, standing: Standing) {
        if !self.fold.contains(id) {
            self.order.push_back(id);
        }
        let (author, what) = (clipped(author), What::Said(clipped_body(&body)));
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

    #[test]
    fn little_is_kept_of_whatever_is_said() {
        let id = |seq| MessageId::new(MemberId::new(0, 1), seq);
        let long = "x".repeat(100_000);
        let mut told = Told::default();
        let bodies = [
            Body::Text("hi".into()),
            Body::Reaction { to: id(1), symbol: long.clone(), set: true },
            Body::Unknown(long.clone().into()),
            Body::Topic(long.clone()),
            Body::Text("oops".into()),
            Body::Delete { of: id(5), reason: long.clone() },
        ];
        for (seq, body) in (1..).zip(bodies) {
            told.note(id(seq), &long, body, Standing::AsSaid);
        }
        let (author, words) = told.about(&Body::Reply { to: id(1), text: String::new() }).unwrap();
        assert_eq!((author.len(), words), (CHARS_MAX, "hi"));
        let view = told.fold.view(id(1)).unwrap();
        let (reaction, (_, by)) = (&view.reactions[0], view.reactions[0].by[0]);
        assert_eq!((reaction.symbol.len(), by.len()), (CHARS_MAX, CHARS_MAX));
        assert_eq!(told.fold.get(id(3)).unwrap().what(), &What::Said(Body::Unknown(Vec::new().into())));
        assert_eq!(told.fold.view(id(4)).unwrap().words.unwrap().len(), CHARS_MAX);
        assert_eq!(told.fold.view(id(5)).unwrap().reason.len(), CHARS_MAX);
    }
}
