//! Happened-before as sets of messages, where ids may be given out again after a crash, and disks are lost.

use std::collections::{BTreeMap, BTreeSet};

use cbcast::{Message, MessageId};

/// A process whose deliveries are judged.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum JudgedProcess {
    Server(u32),
    Client(u32),
}

/// A message as it was made.
#[derive(Clone, Debug)]
pub(super) struct Made {
    packet: bytes::Bytes,
    past: BTreeSet<MessageId>,
    /// Message that is shown for it: of one that is said again, the first. `None`: nothing.
    pub(super) content: Option<MessageId>,
}

#[derive(Debug, Default)]
pub(super) struct Judge {
    pub(super) made: BTreeMap<MessageId, Made>,
    pub(super) seen: BTreeMap<JudgedProcess, BTreeSet<MessageId>>,
    pub(super) shown: BTreeMap<JudgedProcess, BTreeSet<MessageId>>,
    pub(super) published: BTreeSet<MessageId>,
    /// Was only where it was destroyed.
    pub(super) lost: BTreeSet<MessageId>,
}

impl Judge {
    /// A process starts from all that another has seen.
    pub(super) fn starts_from(&mut self, who: JudgedProcess, other: JudgedProcess) {
        let (seen, shown) = (self.seen[&other].clone(), self.shown[&other].clone());
        self.seen.insert(who, seen);
        self.shown.insert(who, shown);
    }

    pub(super) fn begins(&mut self, who: JudgedProcess) {
        self.seen.insert(who, BTreeSet::new());
        self.shown.insert(who, BTreeSet::new());
    }

    /// A message is made. What nobody has seen a crash may take back, and its id is given out again.
    pub(super) fn make(
        &mut self,
        message: &Message,
        past: BTreeSet<MessageId>,
        content: Option<MessageId>,
    ) -> Result<(), String> {
        let id = message.id();
        let made = Made { packet: message.packet().clone(), past, content };
        match self.made.insert(id, made) {
            Some(other) if other.packet != message.packet() && self.published.contains(&id) => {
                Err(format!("{id} is given to two messages"))
            }
            _ => Ok(()),
        }
    }

    /// A process hands a message on to whoever is behind it. `once`: what has been shown is not shown again.
    pub(super) fn deliver(
        &mut self,
        who: JudgedProcess,
        message: &Message,
        once: bool,
    ) -> Result<(), String> {
        let id = message.id();
        let made = self.made.get(&id).ok_or_else(|| format!("{id} was made by nobody"))?;
        if made.packet != message.packet() {
            return Err(format!("{who:?} delivers another {id} than was made"));
        }
        let seen = self.seen.get_mut(&who).expect("it has begun");
        if let Some(cause) =
            made.past.iter().find(|cause| !seen.contains(cause) && !self.lost.contains(cause))
        {
            return Err(format!("{who:?} delivers {id} before {cause}"));
        }
        if !seen.insert(id) {
            return Err(format!("{who:?} delivers {id} twice"));
        }
        let shown = self.shown.get_mut(&who).expect("it has begun");
        match made.content {
            Some(content) if !shown.insert(content) && !once => Err(format!("{who:?} shows {content} twice")),
            _ => Ok(()),
        }
    }
}
