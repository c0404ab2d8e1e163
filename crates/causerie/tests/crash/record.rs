//! What everybody has said and seen, and whether that may be.

use std::collections::{BTreeMap, BTreeSet};

use cbcast_sim::Oracle;

/// What happened at a client.
#[derive(Debug)]
pub(crate) enum Saw {
    /// It is in, as a member that was not there before.
    Begins,
    /// It says this, now or never: nobody may ever be shown it.
    Says { text: String },
    /// It was shown what another has said, at this position if it is told positions.
    Message { text: String, position: Option<u64> },
    /// Its own message has its place.
    Placed { text: String, position: u64 },
    /// It is back as the same member, and has said so many messages again.
    Resumed { resent: usize },
    /// The process has ended, and all that it wrote was read.
    Ended,
    /// What must not happen.
    Wrong(String),
}

/// One life of a client: from its start or joining to where it is killed or cut off for good.
struct Life {
    /// Its name for the oracle.
    process: String,
    /// What was said before it began: shown to it or not, as it happens to be.
    before: BTreeSet<String>,
    shown: BTreeSet<String>,
    last: Option<String>,
}

#[derive(Default)]
pub(crate) struct Record {
    /// By text. Rebuilds happened-before from who said what after having been shown what.
    oracle: Oracle<String, String>,
    lives: BTreeMap<String, (usize, Life)>,
    said: BTreeSet<String>,
    /// Texts that somebody was shown.
    shown: BTreeSet<String>,
    /// What stands at which position, whoever was told.
    log: BTreeMap<u64, String>,
    pub(crate) resumed: u64,
    pub(crate) resent: usize,
}

impl Record {
    /// A client begins, or begins anew: of what was said before it is owed nothing.
    pub(crate) fn begins(&mut self, who: &str) {
        let number = self.lives.get(who).map_or(0, |(number, _)| number + 1);
        let process = format!("{who}, life {number}");
        for text in &self.said {
            self.oracle.skip(process.clone(), text).expect("a new process has seen nothing");
        }
        let life = Life { process, before: self.said.clone(), shown: BTreeSet::new(), last: None };
        self.lives.insert(who.to_owned(), (number, life));
    }

    pub(crate) fn is_in(&self, who: &str) -> bool {
        self.lives.contains_key(who)
    }

    /// What `who` was shown last, in this life.
    pub(crate) fn last_shown(&self, who: &str) -> Option<&str> {
        self.lives.get(who)?.1.last.as_deref()
    }

    pub(crate) fn says(&mut self, who: &str, text: &str) {
        assert!(self.said.insert(text.to_owned()), "texts are unique");
        self.oracle.broadcast(self.lives[who].1.process.clone(), text.to_owned()).expect("said once");
    }

    pub(crate) fn take(&mut self, who: &str, saw: Saw) {
        match saw {
            Saw::Message { text, position } => {
                let life = &mut self.lives.get_mut(who).expect("it has begun").1;
                assert!(life.shown.insert(text.clone()), "{who} was shown {text:?} twice");
                if !life.before.contains(&text) {
                    let judged = self.oracle.deliver(life.process.clone(), &text);
                    judged.unwrap_or_else(|violation| panic!("{who}: {violation}"));
                }
                life.last = Some(text.clone());
                self.shown.insert(text.clone());
                if let Some(position) = position {
                    self.stands_at(position, text);
                }
            }
            Saw::Placed { text, position } => self.stands_at(position, text),
            Saw::Resumed { resent } => {
                self.resumed += 1;
                self.resent += resent;
            }
            Saw::Begins => self.begins(who),
            Saw::Says { text } => self.says(who, &text),
            Saw::Ended => {}
            Saw::Wrong(what) => panic!("{who}: {what}"),
        }
    }

    fn stands_at(&mut self, position: u64, text: String) {
        let known = self.log.entry(position).or_insert_with(|| text.clone());
        assert_eq!(*known, text, "one text at position {position}");
    }

    /// Whether anybody but its author was shown it.
    pub(crate) fn was_shown(&self, text: &str) -> bool {
        self.shown.contains(text)
    }

    /// The log in the end, as somebody else reads it: nothing that anybody was shown is missing or elsewhere, and each of
    /// the texts in `owed` is there, once.
    pub(crate) fn ends_with(&mut self, log: &BTreeMap<u64, String>, owed: &BTreeSet<String>) {
        let texts: BTreeSet<_> = log.values().cloned().collect();
        assert_eq!(texts.len(), log.len(), "each text has one place");
        for (position, text) in &self.log {
            assert_eq!(log.get(position), Some(text), "what stood at {position}");
        }
        let lost = |texts: &BTreeSet<String>, of: &BTreeSet<String>| of.difference(texts).next().cloned();
        assert_eq!(lost(&texts, owed), None, "lost");
        assert_eq!(lost(&texts, &self.shown), None, "lost, though it was shown");
        assert_eq!(lost(&self.said, &texts), None, "nobody said that");
        // What nobody was promised and nobody has is given up.
        for text in self.said.difference(&texts) {
            for (_, life) in self.lives.values().filter(|(_, life)| !life.before.contains(text)) {
                // Its author has it, as far as the oracle knows.
                let _ = self.oracle.skip(life.process.clone(), text);
            }
        }
    }

    /// Whether everybody has all that it is owed in this life.
    pub(crate) fn has_everybody_everything(&self) -> bool {
        self.lives.values().all(|(_, life)| self.oracle.has_all(&life.process).is_ok())
    }

    pub(crate) fn deliveries(&self) -> u64 {
        self.oracle.deliveries()
    }
}
