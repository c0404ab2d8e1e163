//! Queue of what the caller does next, in the order in which it was decided.

use alloc::collections::VecDeque;

use crate::group::Output;
use crate::message::Message;
use crate::time::Time;

/// A queue in which a delivery that nothing stands before has a place of its own: that is the common case, and the
/// message is moved in and out as it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outputs {
    /// A message that is delivered before all in `rest`.
    first: Option<Message>,
    /// Time since when `first` had been held.
    held_since: Option<Time>,
    rest: VecDeque<Output>,
}

impl Outputs {
    #[inline(always)]
    pub(crate) fn push_delivery(&mut self, message: Message, held_since: Option<Time>) {
        if self.is_empty() {
            self.first = Some(message);
            self.held_since = held_since;
        } else {
            self.rest.push_back(Output::Deliver { message, held_since });
        }
    }

    #[inline]
    pub(crate) fn push_back(&mut self, output: Output) {
        self.rest.push_back(output);
    }

    #[inline(always)]
    pub(crate) fn pop_front(&mut self) -> Option<Output> {
        match self.first.take() {
            Some(message) => Some(Output::Deliver { message, held_since: self.held_since }),
            None => self.rest.pop_front(),
        }
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none() && self.rest.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
