//! Record of what everybody said and saw, in order, and the judgement on it.

use std::collections::{BTreeMap, BTreeSet};

use cbcast_sim::Oracle;

/// The process that has seen the log, up to some position.
const LOG: &str = "the log";

enum Step {
    Said {
        who: String,
        text: String,
    },
    /// For the first time: a process that was killed may have shown it before.
    Heard {
        who: String,
        text: String,
    },
    /// A session begins: what was before it in the log it has not missed.
    Began(String),
}

#[derive(Default)]
pub(crate) struct Record {
    steps: Vec<Step>,
    /// Texts by position, whoever was told.
    pub(crate) log: BTreeMap<u64, String>,
    /// The texts of it.
    pub(crate) in_log: BTreeSet<String>,
    /// Positions of joins, by name.
    joined: BTreeMap<String, u64>,
    said: BTreeMap<String, Vec<String>>,
    heard: BTreeMap<String, Vec<String>>,
    heard_by: BTreeSet<(String, String)>,
}

impl Record {
    /// Before it is on its way.
    pub(crate) fn said(&mut self, who: &str, text: &str) {
        self.said.entry(who.into()).or_default().push(text.into());
        self.steps.push(Step::Said { who: who.into(), text: text.into() });
    }

    /// Notes what another has said, and returns whether it is new to `who`.
    pub(crate) fn heard(&mut self, who: &str, text: &str) -> bool {
        let new = self.heard_by.insert((who.into(), text.into()));
        if new {
            self.heard.entry(who.into()).or_default().push(text.into());
            self.steps.push(Step::Heard { who: who.into(), text: text.into() });
        }
        new
    }

    pub(crate) fn has_heard(&self, who: &str, text: &str) -> bool {
        self.heard_by.contains(&(who.into(), text.into()))
    }

    /// Returns what `who` has heard last.
    pub(crate) fn last_heard(&self, who: &str) -> Option<&str> {
        self.heard.get(who)?.last().map(String::as_str)
    }

    pub(crate) fn began(&mut self, who: &str) {
        self.steps.push(Step::Began(who.into()));
    }

    pub(crate) fn joined_at(&mut self, position: u64, who: String) {
        self.joined.insert(who, position);
    }

    pub(crate) fn stands_at(&mut self, position: u64, text: &str) {
        if let Some(known) = self.log.get(&position) {
            assert_eq!(known, text, "one text at position {position}");
            return;
        }
        self.log.insert(position, text.to_owned());
        assert!(
            self.in_log.insert(text.to_owned()),
            "'{text}' stands twice in the log, the second time at {position}"
        );
    }

    /// Returns whether all that `who` has said is in the log.
    pub(crate) fn is_taken(&self, who: &str) -> bool {
        self.said.get(who).is_none_or(|said| said.iter().all(|text| self.in_log.contains(text)))
    }

    /// Everything is in the log now: judges each delivery, the log's own order among them. `to_the_end` are those who
    /// must have seen all of it. How many deliveries were judged.
    pub(crate) fn judge(&self, to_the_end: &[String]) -> u64 {
        let mut oracle = Oracle::new();
        let mut log = self.log.iter().peekable();
        let deliver = |oracle: &mut Oracle<String, String>, who: &str, text: &String| {
            oracle.deliver(who.into(), text).unwrap_or_else(|violation| panic!("{violation}"));
        };
        for step in &self.steps {
            match step {
                // What was lost with its author before anybody had taken it was never broadcast.
                Step::Said { who, text } if self.in_log.contains(text) => {
                    oracle.broadcast(who.clone(), text.clone()).expect("texts are unique");
                }
                Step::Said { .. } => {}
                Step::Heard { who, text } => deliver(&mut oracle, who, text),
                Step::Began(who) => {
                    let joined = self.joined[who];
                    while let Some((_, text)) = log.next_if(|(position, _)| **position < joined) {
                        deliver(&mut oracle, LOG, text);
                    }
                    oracle.starts_from(who.clone(), &LOG.to_owned());
                    self.is_a_piece_of_the_log(who, joined);
                }
            }
        }
        log.for_each(|(_, text)| deliver(&mut oracle, LOG, text));
        for who in to_the_end.iter().map(String::as_str).chain([LOG]) {
            oracle.has_all(&who.to_owned()).unwrap_or_else(|violation| panic!("{violation}"));
        }
        oracle.deliveries()
    }

    /// A session without memory is told the log from where it joined, its own texts left out, as long as it lives.
    fn is_a_piece_of_the_log(&self, who: &str, joined: u64) {
        let nothing = Vec::new();
        let own = self.said.get(who).unwrap_or(&nothing);
        let told = self.log.range(joined..).map(|(_, text)| text).filter(|text| !own.contains(text));
        let heard = self.heard.get(who).unwrap_or(&nothing);
        let told: Vec<_> = told.take(heard.len()).collect();
        assert_eq!(
            heard.iter().collect::<Vec<_>>(),
            told,
            "what {who} was told, and the log from {joined} on"
        );
    }
}
