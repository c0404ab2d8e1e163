//! Stability: which messages every member has delivered [BSS91, section 5.1, "Multicast stability"].
//!
//! Each member's clock, as it tells it in heartbeats, acknowledges. Stable is the minimum over all members, this
//! process included. What is not stable is retained, since somebody may still ask for it; what is stable is let go.
//! Acknowledgements stand in dense rows, one a member, and each member's column has its minimum and how many rows
//! stand at it, so a clock costs O(members) and a new minimum O(members) more.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::id::{MemberId, MessageId};
use crate::members::Slot;
use crate::message::Message;

#[derive(Clone, Debug, Default)]
pub(crate) struct Stability {
    /// By acknowledging slot; `None` for slots that do not acknowledge (free, early, local). What is stable is
    /// acknowledged by all, whether their rows say so or not: those who have told nothing yet have empty ones.
    rows: Vec<Option<Vec<u64>>>,
    columns: Vec<Column>,
    departed: Vec<DepartedMessages>,
    advanced: Vec<Slot>,
    /// This process acknowledges what is on disk here, not what was delivered.
    durable: bool,
}

/// State of one member's messages.
#[derive(Clone, Debug, Default)]
struct Column {
    stable: u64,
    /// Number of processes that acknowledge `stable` and no more, this one (its delivered count) included.
    at_minimum: usize,
    /// Delivered here and not stable: `retained[i]` is message `stable + 1 + i`, if it was not skipped.
    retained: VecDeque<Option<Message>>,
    bytes: usize,
    /// Those that are known to be on disk here.
    persisted: u64,
}

/// Retained messages of one that has left: somebody may not have delivered its *Left* yet.
#[derive(Clone, Debug)]
pub(crate) struct DepartedMessages {
    pub(crate) member: MemberId,
    /// The number of the first of its messages that is retained.
    pub(crate) first: u64,
    pub(crate) messages: VecDeque<Option<Message>>,
    /// Message that said that it left.
    pub(crate) left: MessageId,
}

impl Stability {
    pub(crate) fn new(durable: bool) -> Self {
        Self { durable, ..Self::default() }
    }

    fn column(&mut self, slot: Slot) -> &mut Column {
        let slot = slot as usize;
        if self.columns.len() <= slot {
            self.columns.resize_with(slot + 1, Column::default);
        }
        &mut self.columns[slot]
    }

    /// A member is known from now on, with so many messages that need no acknowledgement. `acknowledges`: it is
    /// another process, which will tell its clock; it starts with all that is stable, since its snapshot holds
    /// that. O(members).
    pub(crate) fn add(&mut self, slot: Slot, delivered: u64, acknowledges: bool) {
        *self.column(slot) = Column { stable: delivered, persisted: delivered, ..Column::default() };
        if acknowledges {
            if self.rows.len() <= slot as usize {
                self.rows.resize_with(slot as usize + 1, || None);
            }
            self.rows[slot as usize] = Some(Vec::new());
            self.columns.iter_mut().for_each(|c| c.at_minimum += 1);
        }
        let rows = self.rows.iter().flatten().count();
        self.column(slot).at_minimum = rows + 1;
    }

    /// One acknowledgement less stands at the minimum of a column: finds the next minimum if it was the last.
    /// `retained` holds what this process has delivered beyond it, which is its own acknowledgement, or of which it is
    /// that what is on disk.
    fn left_minimum(&mut self, slot: Slot) {
        let index = slot as usize;
        let column = &mut self.columns[index];
        column.at_minimum = column.at_minimum.saturating_sub(1);
        if column.at_minimum > 0 {
            return;
        }
        let (stable, delivered) = (column.stable, column.stable + column.retained.len() as u64);
        let own = if self.durable { column.persisted.min(delivered) } else { delivered };
        let acknowledged = self.rows.iter().flatten().map(|row| row_says(row, slot, stable));
        let minimum = acknowledged.clone().fold(own, u64::min);
        let at_minimum = acknowledged.filter(|&n| n <= minimum).count() + usize::from(own == minimum);
        let column = &mut self.columns[index];
        column.at_minimum = at_minimum;
        if minimum > column.stable {
            self.advanced.push(slot);
        }
        while column.stable < minimum {
            column.stable += 1;
            if let Some(Some(message)) = column.retained.pop_front() {
                column.bytes -= message.packet().len();
            }
        }
    }

    /// A message was delivered here, or (`None`) skipped.
    pub(crate) fn delivered(&mut self, slot: Slot, message: Option<Message>) {
        let column = self.column(slot);
        column.bytes += message.as_ref().map_or(0, |m| m.packet().len());
        column.retained.push_back(message);
        if column.retained.len() == 1 && !self.durable {
            self.left_minimum(slot);
        }
    }

    /// Takes note that so many messages of the member in `slot` are on disk here.
    pub(crate) fn persisted(&mut self, slot: Slot, count: u64) {
        let column = self.column(slot);
        let before = core::mem::replace(&mut column.persisted, count);
        if self.durable && before == self.stable(slot) && count > before {
            self.left_minimum(slot);
        }
    }

    /// The member in `slot`, who has said nothing yet, lives in this process: it does not acknowledge for itself.
    pub(crate) fn speaks_here(&mut self, slot: Slot) {
        if self.rows.get_mut(slot as usize).and_then(Option::take).is_some() {
            (0..self.columns.len()).for_each(|slot| self.left_minimum(slot as Slot));
        }
    }

    /// The member in slot `from` has delivered so many of each slot.
    pub(crate) fn acknowledge(&mut self, from: Slot, counts: impl Iterator<Item = (Slot, u64)>) {
        for (slot, count) in counts {
            let stable = self.stable(slot);
            let Some(Some(row)) = self.rows.get_mut(from as usize) else { return };
            let old = row_says(row, slot, stable);
            if count > old {
                set(row, slot, count);
                if old == stable {
                    self.left_minimum(slot);
                }
            }
        }
    }

    /// A member has left, as its host says in message `left`, and some of its messages were `given_up` with it.
    /// O(members) and what becomes stable by it.
    pub(crate) fn remove(&mut self, slot: Slot, member: MemberId, left: MessageId, given_up: bool) {
        let column = core::mem::take(self.column(slot));
        if !column.retained.is_empty() || given_up {
            let (first, messages) = (column.stable + 1, column.retained);
            self.departed.push(DepartedMessages { member, first, messages, left });
        }
        self.advanced.retain(|&advanced| advanced != slot);
        for row in self.rows.iter_mut().flatten() {
            // Or whoever has the slot next would have it.
            if let Some(count) = row.get_mut(slot as usize) {
                *count = 0;
            }
        }
        if let Some(row) = self.rows.get_mut(slot as usize).and_then(Option::take) {
            for other in (0..self.columns.len() as Slot).filter(|&other| other != slot) {
                let stable = self.stable(other);
                if row_says(&row, other, stable) == stable {
                    self.left_minimum(other);
                }
            }
        }
    }

    /// Members of which more has become stable since the last call.
    pub(crate) fn take_advanced(&mut self) -> Vec<Slot> {
        core::mem::take(&mut self.advanced)
    }

    /// Lets go of what the departed said once everybody has delivered that they left.
    pub(crate) fn let_go(&mut self, is_stable: impl Fn(MessageId) -> bool) {
        self.departed.retain(|departed| !is_stable(departed.left));
    }

    /// Returns how many messages of the member in `slot` are stable.
    pub(crate) fn stable(&self, slot: Slot) -> u64 {
        self.columns.get(slot as usize).map_or(0, |c| c.stable)
    }

    /// Returns how many messages of the member in `slot` the one in `from` is known to have delivered.
    pub(crate) fn acknowledged(&self, from: Slot, slot: Slot) -> u64 {
        let row = self.rows.get(from as usize).and_then(Option::as_ref);
        row.map_or(0, |row| row_says(row, slot, self.stable(slot)))
    }

    /// Messages and bytes of the member in `slot` that are retained.
    pub(crate) fn unstable(&self, slot: Slot) -> (usize, usize) {
        self.columns.get(slot as usize).map_or((0, 0), |c| (c.retained.len(), c.bytes))
    }

    /// A slot that has acknowledged no more of `slot` than what is stable.
    pub(crate) fn holder(&self, slot: Slot) -> Option<Slot> {
        let stable = self.stable(slot);
        let rows = self.rows.iter().enumerate().filter_map(|(holder, row)| Some((holder, row.as_ref()?)));
        let mut at_minimum = rows.filter(|(_, row)| row_says(row, slot, stable) <= stable);
        at_minimum.next().map(|(holder, _)| holder as Slot)
    }

    /// A retained message of a live member.
    pub(crate) fn retained(&self, slot: Slot, seq: u64) -> Option<&Message> {
        let column = self.columns.get(slot as usize)?;
        let place = seq.checked_sub(column.stable + 1)?;
        column.retained.get(usize::try_from(place).ok()?)?.as_ref()
    }

    /// A retained message of one that has left.
    pub(crate) fn retained_of_departed(&self, id: MessageId) -> Option<&Message> {
        let departed = self.departed.iter().find(|d| d.member == id.member)?;
        let place = id.seq.checked_sub(departed.first)?;
        departed.messages.get(usize::try_from(place).ok()?)?.as_ref()
    }

    /// Returns what is retained of those that have left.
    pub(crate) fn departed(&self) -> &[DepartedMessages] {
        &self.departed
    }

    pub(crate) fn set_departed(&mut self, departed: Vec<DepartedMessages>) {
        self.departed = departed;
    }

    /// Everything retained, member by member.
    pub(crate) fn all_retained(&self) -> impl Iterator<Item = &Message> {
        let live = self.columns.iter().flat_map(|c| c.retained.iter().flatten());
        live.chain(self.departed.iter().flat_map(|d| d.messages.iter().flatten()))
    }
}

/// Returns how many messages of the member in `slot` a row acknowledges, of which so many are stable.
fn row_says(row: &[u64], slot: Slot, stable: u64) -> u64 {
    row.get(slot as usize).copied().unwrap_or(0).max(stable)
}

fn set(row: &mut Vec<u64>, slot: Slot, count: u64) {
    let slot = slot as usize;
    if row.len() <= slot {
        row.resize(slot + 1, 0);
    }
    row[slot] = count;
}
