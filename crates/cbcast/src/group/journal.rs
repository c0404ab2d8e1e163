//! Journal of what is not known to be on disk yet, where [`Config::durable`](crate::Config::durable) asks for it.
//!
//! Whatever this process has told others they may rely on: they let go of what it has acknowledged, they know its
//! messages by their numbers, its host counts its reports. So nothing of that is told before the caller has said that
//! it is stored ([`Group::persisted`]); then a process that comes back from what it has stored has promised nothing
//! that it does not know any more. Deliveries are handed out at once.
//!
//! The journal is also what [`Group::changes_since`] writes down: the deliveries, in their order, and whatever else must
//! be known beside them. What waits and what was heard of is not in there: it counts as if it had never arrived.

use alloc::vec::Vec;

use crate::clock::VectorClock;
use crate::control::{Control, Packet};
use crate::error::ReceiveError;
use crate::group::Group;
use crate::group::changes::{ChangeEntry, ChangeJournal, Mark};
use crate::group::output::Transmit;
use crate::id::MemberId;
use crate::members::Slot;
use crate::message::{Kind, Message};
use crate::persist::{ExportError, ImportError, Particulars, put_packet};
use crate::repair::MissingRange;
use crate::wire::{Reader, put_varint};

const DELIVERED: u8 = 0;
const SKIPPED: u8 = 1;

impl Group {
    /// Returns the present moment. Take it together with what is stored: all that was done before it is in an
    /// [`export`](Self::export) and in [`changes_since`](Self::changes_since) that are made now.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(self.journal.as_ref().map_or(0, |journal| journal.end()))
    }

    /// Takes note that all up to `mark` is on disk, and the deliveries up to there with it: what waited for that is sent
    /// and acknowledged now. Without [`Config::durable`](crate::Config::durable) it does nothing. O(what is new).
    pub fn persisted(&mut self, mark: Mark) {
        while let Some(journal) = self.journal.as_mut().filter(|journal| journal.persisted < mark.0) {
            let Some(entry) = journal.entries.pop_front() else { break };
            journal.persisted += 1;
            let (member, count) = match entry {
                ChangeEntry::Delivered(message) => (message.id().member, message.id().seq),
                ChangeEntry::Skipped(range) => (range.member, range.to),
                ChangeEntry::Particulars => continue,
            };
            if let Some(slot) = self.members.live_slot(member) {
                self.members.set_persisted(slot, count);
                if let Some(stability) = &mut self.stability {
                    stability.persisted(slot, count);
                }
            }
        }
        while let Some(journal) = &mut self.journal
            && journal.waiting.front().is_some_and(|&(at, _)| at <= journal.persisted)
            && let Some((_, Transmit { to, packet })) = journal.waiting.pop_front()
        {
            self.transmit(to, packet);
        }
        self.tell_stable();
    }

    /// Returns what has been acknowledged to others, or may be: with [`Config::durable`](crate::Config::durable) what is
    /// on disk, else what has been delivered. O(members log members).
    #[must_use]
    pub fn acknowledged(&self) -> VectorClock {
        if self.journal.is_none() {
            return self.clock();
        }
        self.live().map(|(slot, member)| (member, self.members.get(slot).persisted)).collect()
    }

    /// Returns what has changed since `mark`, to be appended to what was stored up to there: an
    /// [`export`](Self::export), and the changes that followed. [`replay`](Self::replay) does it again. O(changes, and
    /// those who are about to leave).
    ///
    /// # Errors
    /// [`ExportError`]; store a whole export then, or drain the outputs first.
    pub fn changes_since(&self, mark: Mark) -> Result<Vec<u8>, ExportError> {
        if !self.outputs.is_empty() {
            return Err(ExportError::OutputsPending);
        }
        let journal = self.journal.as_ref().filter(|journal| journal.persisted <= mark.0);
        let journal = journal.ok_or(ExportError::NotKept)?;
        let entries = journal.entries.iter().skip((mark.0 - journal.persisted) as usize);
        let mut out = Vec::new();
        let kept = entries.filter(|entry| !matches!(entry, ChangeEntry::Particulars));
        put_varint(&mut out, kept.clone().count() as u64);
        for entry in kept {
            match entry {
                ChangeEntry::Delivered(message) => {
                    out.push(DELIVERED);
                    put_packet(&mut out, message.packet());
                }
                ChangeEntry::Skipped(range) => {
                    out.push(SKIPPED);
                    put_varint(&mut out, range.member.origin.into());
                    put_varint(&mut out, range.member.ordinal.into());
                    put_varint(&mut out, range.to);
                }
                ChangeEntry::Particulars => {}
            }
        }
        self.particulars().encode(&mut out);
        Ok(out)
    }

    /// Does again what [`changes_since`](Self::changes_since) wrote down, one piece or several behind each other, on what
    /// [`import`](Self::import) has made of the export before them, before anything else happens. Nothing is sent, and
    /// nothing delivered that had been; drain the outputs all the same, since more may be deliverable now. O(bytes).
    ///
    /// # Errors
    /// [`ImportError`]: this group is of no use then.
    pub fn replay(&mut self, changes: &[u8]) -> Result<(), ImportError> {
        let reader = &mut Reader::new(changes);
        while !reader.rest().is_empty() {
            let mut entries = Vec::new();
            for _ in 0..reader.varint()? {
                entries.push(match reader.byte()? {
                    DELIVERED => ChangeEntry::Delivered(Message::decode(bytes::Bytes::copy_from_slice(
                        reader.prefixed()?,
                    ))?),
                    SKIPPED => {
                        let member = MemberId::new(reader.varint_u32()?, reader.varint_u32()?);
                        ChangeEntry::Skipped(MissingRange { member, from: 0, to: reader.varint()? })
                    }
                    _ => return Err(ImportError::Inconsistent),
                });
            }
            let particulars = Particulars::decode(reader)?;
            for entry in entries {
                self.redo(entry, &particulars)?;
            }
            self.set_particulars(&particulars)?;
            self.set_leaving(particulars)?;
        }
        self.outputs.clear();
        self.all_is_persisted();
        self.release(self.latest);
        Ok(())
    }

    fn redo(&mut self, entry: ChangeEntry, then: &Particulars) -> Result<(), ImportError> {
        match entry {
            ChangeEntry::Delivered(message) => {
                let id = message.id();
                let slot = self.members.live_slot(id.member).ok_or(ImportError::Inconsistent)?;
                if self.members.delivered(slot) + 1 != id.seq || self.read_deps(&message).is_err() {
                    return Err(ImportError::Inconsistent);
                }
                let kind = message.kind();
                self.take_place(slot);
                self.deliver(self.latest, slot, message, None);
                if let Kind::Joined(member) = kind
                    && then.locals.contains(&member)
                    && let Some(slot) = self.members.live_slot(member)
                {
                    self.speaks_here(slot);
                }
            }
            ChangeEntry::Skipped(MissingRange { member, to, .. }) => {
                let slot = self.members.live_slot(member).ok_or(ImportError::Inconsistent)?;
                let count = to
                    .checked_sub(self.members.delivered(slot))
                    .filter(|&count| count > 0 && count <= self.config.ahead_max);
                let count = count.ok_or(ImportError::Inconsistent)?;
                self.hear(self.latest, slot, to, true);
                self.skip(self.latest, slot, count);
            }
            ChangeEntry::Particulars => {}
        }
        Ok(())
    }

    /// Takes note that all there is now was stored before.
    pub(crate) fn all_is_persisted(&mut self) {
        if self.journal.is_none() {
            return;
        }
        self.journal = Some(ChangeJournal::default());
        for (slot, delivered) in self.members.counts() {
            self.members.set_persisted(slot, delivered);
            if let Some(stability) = &mut self.stability {
                stability.persisted(slot, delivered);
            }
        }
        if let Some(stability) = &mut self.stability {
            stability.take_advanced();
        }
    }

    /// Tells something that holds only if this process does not forget what it knows now.
    pub(super) fn promise(&mut self, to: MemberId, control: Control) {
        match &mut self.journal {
            None => self.tell(to, control),
            Some(journal) => {
                journal.entries.push_back(ChangeEntry::Particulars);
                let packet = Packet::Control(control);
                journal.waiting.push_back((journal.end(), Transmit { to: Some(to), packet }));
            }
        }
    }

    pub(super) fn is_unpersisted_own(&self, slot: Slot, seq: u64) -> bool {
        let member = self.members.get(slot);
        self.journal.is_some() && member.local && seq > member.persisted
    }

    /// Refuses what there is no room for in the journal.
    pub(super) fn room_in_journal(&self) -> Result<(), ReceiveError> {
        let limit = self.config.unpersisted_max;
        let full = self.journal.as_ref().is_some_and(|journal| journal.len() >= limit);
        if full { Err(ReceiveError::Unpersisted { limit }) } else { Ok(()) }
    }
}
