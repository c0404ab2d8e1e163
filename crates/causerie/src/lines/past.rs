//! Messages from before somebody came, or from when the connection was away, as they stand: they wait until all are there,
//! since what was said later may edit them or take them back.

use std::mem;

use causerie_client::{Event, Position, Post, What};
use causerie_core::log::page::Standing;
use causerie_core::timeline::fold::{Fold, Said};

/// Events that wait, and bytes of their texts: more than a server sends, unless it is told to.
const EVENTS_MAX: usize = 10_000;
const BYTES_MAX: usize = 4 << 20;

/// Events of a room, those that were missed held back until they can be told as they stand.
#[derive(Debug, Default)]
pub(crate) struct Past {
    /// Records from before somebody came that are still to come.
    left: u64,
    /// Position up to which the log is told that was missed since, if any is.
    missed_to: Option<Position>,
    waiting: Vec<Event>,
    bytes: usize,
}

impl Past {
    /// Returns whether something is held back.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes an event in, and returns those that are to be shown now, each with how its text stands.
    pub(crate) fn take(&mut self, event: Event) -> Vec<(Event, Standing)> {
        match &event {
            Event::Welcomed { first, position, .. } => {
                (self.left, self.missed_to) = (position.saturating_add(1).since(*first).unwrap_or(0), None);
                return vec![(event, Standing::AsSaid)];
            }
            Event::CatchingUp { to } => self.missed_to = Some(*to),
            Event::Delivered(Post { history: true, body, .. }) => {
                self.bytes += body.readable().map_or(0, str::len);
                self.left = self.left.saturating_sub(1);
            }
            Event::Joined { history: true, .. } | Event::Left { history: true, .. } => {
                self.left = self.left.saturating_sub(1);
            }
            Event::Gap { from, to } => {
                self.left = self.left.saturating_sub(to.since(*from).unwrap_or(0).saturating_add(1));
                self.reach(*to);
            }
            Event::Delivered(post) if self.missed_to.is_some() => {
                self.bytes += post.body.readable().map_or(0, str::len);
            }
            Event::Placed { position, .. } if self.missed_to.is_some() => self.reach(*position),
            Event::Joined { .. } | Event::Left { .. } | Event::Held { .. } if self.missed_to.is_some() => {}
            // All that comes of it is there.
            _ => (self.left, self.missed_to) = (0, None),
        }
        self.waiting.push(event);
        let is_more_to_come = self.left > 0 || self.missed_to.is_some();
        if is_more_to_come && self.waiting.len() < EVENTS_MAX && self.bytes < BYTES_MAX {
            return Vec::new();
        }
        self.bytes = 0;
        told(mem::take(&mut self.waiting))
    }

    /// Notes that the log is told up to a position.
    fn reach(&mut self, position: Position) {
        if self.missed_to.is_some_and(|to| position >= to) {
            self.missed_to = None;
        }
    }
}

/// Tells events as they stand by what is among them. What is about something that was shown before is told as it was said.
fn told(events: Vec<Event>) -> Vec<(Event, Standing)> {
    let mut fold = Fold::default();
    for event in &events {
        let Event::Delivered(Post { id, body, .. }) = event else { continue };
        let what = What::Said(body.clone());
        let (author, standing) = (String::new(), Standing::AsSaid);
        fold.take(Said { id: *id, author, what, position: None, standing, extra: () });
    }
    let as_it_stands = |event| match event {
        Event::Delivered(post) => {
            let (standing, body) = fold.as_it_stands(post.id, post.body);
            (Event::Delivered(Post { body, ..post }), standing)
        }
        other => (other, Standing::AsSaid),
    };
    events.into_iter().map(as_it_stands).collect()
}

#[cfg(test)]
mod tests {
    use causerie_client::{Body, Limits, MemberId, MessageId};

    use super::*;

    const ANN: MemberId = MemberId::new(0, 1);

    fn welcomed(first: u64, position: u64) -> Event {
        Event::Welcomed {
            member: MemberId::new(0, 2),
            room: "lobby".into(),
            created: false,
            epoch: causerie_client::Epoch::new(7),
            first: Position::new(first),
            position: Position::new(position),
            members: Vec::new(),
            limits: Limits { name_chars: 20, text_bytes: 1_000, frame_bytes: 10_000, grace_millis: 1 },
        }
    }

    fn said(seq: u64, body: Body, history: bool) -> Event {
        Event::Delivered(Post {
            id: MessageId::new(ANN, seq),
            author: "Ann".into(),
            body,
            own: false,
            position: history.then_some(Position::new(seq)),
            time_millis: None,
            held_for: None,
            history,
            deps: Vec::new(),
        })
    }

    fn texts(told: Vec<(Event, Standing)>) -> Vec<(String, Standing)> {
        let text = |(event, standing)| match event {
            Event::Delivered(post) => (post.body.readable().unwrap_or("-").to_owned(), standing),
            other => (format!("{other:?}").split(' ').next().unwrap().to_owned(), standing),
        };
        told.into_iter().map(text).collect()
    }

    fn text(text: &str) -> Body {
        Body::Text(text.into())
    }

    fn delete(seq: u64) -> Body {
        Body::Delete { of: MessageId::new(ANN, seq), reason: String::new() }
    }

    #[test]
    fn the_past_is_told_as_it_stands_once_it_is_whole() {
        let edit = Body::Edit { of: MessageId::new(ANN, 3), text: "the".into() };
        let mut past = Past::default();
        assert_eq!(past.take(welcomed(2, 8)).len(), 1);
        for event in [
            said(2, text("my password"), true),
            said(3, text("teh"), true),
            Event::Joined { member: MemberId::new(0, 3), name: "Eve".into(), history: true },
            said(4, Body::Topic("secret".into()), true),
            said(5, edit, true),
            said(6, delete(2), true),
        ] {
            assert_eq!(past.take(event), [], "something is still to come");
        }
        let last = past.take(said(7, delete(4), true));
        assert_eq!(
            texts(last),
            [
                (String::new(), Standing::Deleted),
                ("the".into(), Standing::Edited),
                ("Joined".into(), Standing::AsSaid),
                (String::new(), Standing::Deleted),
                ("the".into(), Standing::AsSaid),
                ("-".into(), Standing::AsSaid),
                ("-".into(), Standing::AsSaid),
            ]
        );
        let live = texts(past.take(said(8, text("now"), false)));
        assert_eq!(live, [("now".to_owned(), Standing::AsSaid)]);
    }

    fn placed(seq: u64, position: u64) -> Event {
        Event::Placed { id: MessageId::new(ANN, seq), position: Position::new(position), time_millis: 0 }
    }

    #[test]
    fn what_was_missed_is_told_as_it_stands_too() {
        let mut past = Past::default();
        past.take(welcomed(1, 0));
        assert_eq!(past.take(said(1, text("before"), false)).len(), 1);
        assert_eq!(past.take(placed(1, 1)).len(), 1);
        assert_eq!(past.take(Event::Resumed { resent: 0 }).len(), 1);
        let edit = |seq, text: &str| Body::Edit { of: MessageId::new(ANN, seq), text: text.into() };
        let missed =
            [text("my password"), text("teh"), delete(2), edit(3, "the"), edit(1, "then"), text("last")];
        assert_eq!(past.take(Event::CatchingUp { to: Position::new(7) }), []);
        for (seq, body) in (2..).zip(missed) {
            assert_eq!(past.take(said(seq, body, false)), [], "something is still to come");
            assert!(past.is_waiting());
            if seq < 7 {
                assert_eq!(past.take(placed(seq, seq)), []);
            }
        }
        let told = past.take(placed(7, 7));
        let told: Vec<_> = texts(told)
            .into_iter()
            .filter(|(text, _)| !["Placed", "CatchingUp"].contains(&&text[..]))
            .collect();
        assert_eq!(
            told,
            [
                (String::new(), Standing::Deleted),
                ("the".into(), Standing::Edited),
                ("-".into(), Standing::AsSaid),
                ("the".into(), Standing::AsSaid),
                // What it is about was shown before.
                ("then".into(), Standing::AsSaid),
                ("last".into(), Standing::AsSaid),
            ]
        );
        assert_eq!(past.take(said(8, text("now"), false)).len(), 1);
        // A connection that breaks meanwhile does not hold back what has come.
        past.take(Event::CatchingUp { to: Position::new(100) });
        assert_eq!(past.take(said(9, text("now"), false)), []);
        let lost = Event::Reconnecting { reason: "cut".into(), retry_in: std::time::Duration::ZERO };
        assert_eq!(past.take(lost).len(), 3);
        assert!(!past.is_waiting());
    }

    #[test]
    fn nothing_waits_for_a_past_that_does_not_come() {
        let mut past = Past::default();
        assert_eq!(past.take(said(1, text("now"), false)).len(), 1);
        past.take(welcomed(1, 100));
        assert_eq!(past.take(said(1, text("then"), true)), []);
        let lost = Event::Reconnecting { reason: "cut".into(), retry_in: std::time::Duration::ZERO };
        assert_eq!(
            texts(past.take(lost)),
            [("then".into(), Standing::AsSaid), ("Reconnecting".into(), Standing::AsSaid)]
        );
        assert_eq!(past.take(said(2, text("x"), true)).len(), 1);
        past.take(welcomed(1, 100));
        assert_eq!(past.take(Event::Gap { from: Position::FIRST, to: Position::new(99) }), []);
        assert_eq!(past.take(said(1, text("then"), true)).len(), 2);
        // It is bounded, whatever a server claims.
        past.take(welcomed(1, u64::MAX));
        let long = "x".repeat(1_000);
        let told = (1..).map(|seq| past.take(said(seq, text(&long), true)).len()).find(|told| *told > 0);
        assert_eq!(told, Some(BYTES_MAX.div_ceil(1_000)));
        let told = (1..).map(|seq| past.take(said(seq, text(""), true)).len()).find(|told| *told > 0);
        assert_eq!(told, Some(EVENTS_MAX));
    }
}
