//! Words for what a trace tells.

use std::collections::BTreeMap;
use std::fmt::Display;

use cbcast::{MemberId, MessageId};

use crate::sim::{TraceEvent, TraceKind};

/// Names of members and messages, by whomever: they are escaped as each format wants. What is not named here goes by
/// its id.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    /// Names.
    pub members: BTreeMap<MemberId, String>,
    /// Texts of messages.
    pub messages: BTreeMap<MessageId, String>,
}

impl Labels {
    /// Names of members, each told apart from those before it.
    #[must_use]
    pub fn named(members: impl IntoIterator<Item = (MemberId, String)>) -> Self {
        let (mut labels, mut taken) = (Self::default(), std::collections::BTreeSet::new());
        for (member, name) in members {
            let numbered = (2..).map(|n| format!("{name}-{n}"));
            let mut free = std::iter::once(name.clone()).chain(numbered).filter(|name| !taken.contains(name));
            let free = free.next().expect("there are more numbers than members");
            taken.insert(free.clone());
            labels.members.insert(member, free);
        }
        labels
    }

    pub(super) fn member(&self, member: MemberId) -> String {
        self.members.get(&member).cloned().unwrap_or_else(|| member.to_string())
    }

    /// A message by its author's name and its number.
    #[must_use]
    pub fn id(&self, id: MessageId) -> String {
        self.members.get(&id.member).map_or_else(|| id.to_string(), |name| format!("{name}#{}", id.seq))
    }

    /// Returns the name of a message, with what it says.
    pub(super) fn message(&self, id: MessageId) -> String {
        let said = self.messages.get(&id).map(|said| format!(": {said}")).unwrap_or_default();
        self.id(id) + &said
    }
}

/// The messages in it with their direct causes in it, the author's message before among them.
pub(super) fn messages(trace: &[TraceEvent]) -> Vec<(MessageId, Vec<MessageId>)> {
    let sent = |event: &TraceEvent| match &event.what {
        TraceKind::Send { message, deps } => Some((*message, deps.clone())),
        _ => None,
    };
    let mut messages: Vec<_> = trace.iter().filter_map(sent).collect();
    let known: std::collections::BTreeSet<_> = messages.iter().map(|(id, _)| *id).collect();
    for (id, causes) in &mut messages {
        if id.seq > 1 {
            causes.insert(0, MessageId::new(id.member, id.seq - 1));
        }
        causes.retain(|cause| known.contains(cause));
    }
    messages
}

/// The message that an event is about, in words.
pub(super) fn words(what: &TraceKind, labels: &Labels) -> String {
    let id = |id: &MessageId| labels.id(*id);
    let after = |deps: &[MessageId]| match deps {
        [] => String::new(),
        deps => format!(" after {}", list(deps.iter().map(id), ", ")),
    };
    match what {
        TraceKind::Start { from: None } => "start".into(),
        TraceKind::Start { from: Some(from) } => {
            format!("start from the snapshot of {}", labels.member(*from))
        }
        TraceKind::Snapshot { to } => format!("snapshot for {}", labels.member(*to)),
        TraceKind::Moved { to } => format!("goes on as {}", labels.member(*to)),
        TraceKind::Send { message, deps } => match labels.messages.get(message) {
            Some(said) => format!("send {}{}: {said}", id(message), after(deps)),
            None => format!("send {}{}", id(message), after(deps)),
        },
        TraceKind::Hold { message, waits_for, .. } => {
            format!("hold {}, which waits for {}", id(message), id(waits_for))
        }
        TraceKind::Deliver { message, held_for: None, .. } => format!("deliver {}", id(message)),
        TraceKind::Deliver { message, held_for: Some(held), .. } => {
            format!("deliver {}, held for {} ms", id(message), held.as_millis())
        }
        TraceKind::Gap { range } => {
            format!("skip {} to {}", labels.id(MessageId::new(range.member, range.from)), range.to)
        }
        TraceKind::BackUp => "back up".into(),
        TraceKind::GoBack => "go back to what was backed up".into(),
        TraceKind::GoOn { last } => format!("go on from number {last}"),
        TraceKind::Stop => "stop".into(),
        TraceKind::Resume => "resume".into(),
        TraceKind::Gone => "gone".into(),
    }
}

pub(super) fn list<T: Display>(items: impl IntoIterator<Item = T>, between: &str) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(between)
}
