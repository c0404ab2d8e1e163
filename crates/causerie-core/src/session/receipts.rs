//! Events that the application has been told and has not acknowledged.

use std::collections::{BTreeSet, VecDeque};

use cbcast::MessageId;

use super::event::{Event, Post};
use crate::id::{Epoch, Position};

/// An event that the application has not acknowledged.
#[derive(Debug)]
enum Unacknowledged {
    Delivered(MessageId),
    /// New ids of own messages.
    Renamed(Vec<MessageId>),
    /// Epoch, and position in it.
    Placed(Option<Epoch>, Position),
    Other,
}

/// Events that were not acknowledged, in this life and in the last one.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    /// In order.
    unacknowledged: VecDeque<Unacknowledged>,
    /// Messages that were delivered in another life, and not acknowledged there, or on their way: told again as they come
    /// by.
    retold: BTreeSet<MessageId>,
}

impl Receipts {
    /// Notes an event that the application is told, in a log of this epoch.
    pub(super) fn note(&mut self, event: &Event, epoch: Option<Epoch>) {
        self.unacknowledged.push_back(match event {
            &Event::Placed { position, .. }
            | &Event::Delivered(Post { history: true, position: Some(position), .. }) => {
                Unacknowledged::Placed(epoch, position)
            }
            Event::Delivered(post) => Unacknowledged::Delivered(post.id),
            Event::Rejoined { renamed, .. } => {
                Unacknowledged::Renamed(renamed.iter().map(|(_, id)| *id).collect())
            }
            _ => Unacknowledged::Other,
        });
    }

    /// Takes the acknowledgement of the first event.
    pub(super) fn acknowledge(&mut self) {
        self.unacknowledged.pop_front();
    }

    /// Counts places of the log that had epoch `from` as places of one with epoch `to`, which is the same up to `shared`.
    pub(super) fn change_epoch(&mut self, from: Option<Epoch>, to: Epoch, shared: Option<Position>) {
        for event in &mut self.unacknowledged {
            if let Unacknowledged::Placed(epoch, position) = event
                && *epoch == from
                && shared.is_some_and(|shared| *position <= shared)
            {
                *epoch = Some(to);
            }
        }
    }

    /// Returns the last position before the first one in this epoch that was not acknowledged.
    pub(super) fn acknowledged_to(&self, epoch: Option<Epoch>) -> Option<Position> {
        self.unacknowledged.iter().find_map(|event| match *event {
            Unacknowledged::Placed(of, position) if of == epoch => Some(position - 1),
            _ => None,
        })
    }

    /// Returns the messages that a session made of this one has to tell again.
    pub(super) fn to_retell(&self) -> BTreeSet<MessageId> {
        let untold = self.unacknowledged.iter().flat_map(|event| match event {
            Unacknowledged::Delivered(id) => core::slice::from_ref(id),
            Unacknowledged::Renamed(ids) => ids,
            _ => &[],
        });
        self.retold.iter().chain(untold).copied().collect()
    }

    /// Has a message told again as it comes by.
    pub(super) fn retell(&mut self, id: MessageId) {
        self.retold.insert(id);
    }

    /// Returns whether a message is still to be told again.
    pub(super) fn is_retold(&self, id: MessageId) -> bool {
        self.retold.contains(&id)
    }

    /// Returns whether a message is to be told again, which is done with that.
    pub(super) fn take_retold(&mut self, id: MessageId) -> bool {
        self.retold.remove(&id)
    }

    /// Takes all that were to be told again.
    pub(super) fn take_all_retold(&mut self) -> BTreeSet<MessageId> {
        core::mem::take(&mut self.retold)
    }
}
