//! A group as bytes, to survive its process.
//!
//! What was delivered, what waits and the frontier are one record: whatever is lost with a crash is lost as if it
//! had never arrived, and repair brings it again.
//!
//! ```text
//! export   = version(1 byte) now snapshot locals{ member } direct{ member } heard(clock) shown(clock)
//!            frozen(clock) flush(clock) rolled_back(clock) held{ since packet } stable(clock) places
//!            departed{ member left first places{ packet } }
//!            flushes{ host member payload } called_off{ member } overfull(1 byte)
//! places   = packet...              of each member in `stable`, those beyond what is stable; length 0: skipped
//! packet   = length bytes
//! member   = origin ordinal
//! ```

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use bytes::Bytes;
use thiserror::Error;

use crate::clock::VectorClock;
use crate::config::{Config, ConfigError};
use crate::group::{CalledOff, Flush, Group, Link, Rollback};
use crate::id::{MemberId, MessageId};
use crate::message::{DecodeError, Message};
use crate::snapshot::Snapshot;
use crate::stability::{Departed, Stability};
use crate::time::Time;
use crate::wire::{Reader, WireError, put_varint};

const VERSION: u8 = 1;

/// Why a group cannot be exported now.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ExportError {
    /// There are outputs: drain [`Group::poll_output`] first, and do what they say. They are no part of an export.
    #[error("there are outputs to be drained first")]
    OutputsPending,
}

/// Why bytes are not an exported group.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ImportError {
    /// Written by a later version.
    #[error("version {0} of exported groups is not known")]
    Version(u8),
    /// They end early, or a number is out of range.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The configuration cannot be, or they are beyond its limits.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A packet in them is none.
    #[error(transparent)]
    Packet(#[from] DecodeError),
    /// The parts do not fit each other, or the limits of the configuration.
    #[error("the parts of the export do not fit each other")]
    Inconsistent,
}

fn put_member(out: &mut Vec<u8>, member: MemberId) {
    put_varint(out, member.origin.into());
    put_varint(out, member.ordinal.into());
}

fn member(reader: &mut Reader<'_>) -> Result<MemberId, WireError> {
    Ok(MemberId::new(reader.varint_u32()?, reader.varint_u32()?))
}

fn put_packet(out: &mut Vec<u8>, packet: &[u8]) {
    put_varint(out, packet.len() as u64);
    out.extend_from_slice(packet);
}

/// A message, or that it was skipped.
fn put_place(out: &mut Vec<u8>, message: Option<&Message>) {
    put_packet(out, message.map_or(&[], |message| &message.packet()[..]));
}

fn place(reader: &mut Reader<'_>) -> Result<Option<Message>, ImportError> {
    let packet = reader.prefixed()?;
    Ok((!packet.is_empty()).then(|| Message::decode(Bytes::copy_from_slice(packet))).transpose()?)
}

fn message(reader: &mut Reader<'_>) -> Result<Message, ImportError> {
    Ok(Message::decode(Bytes::copy_from_slice(reader.prefixed()?))?)
}

impl Group {
    /// The whole state as bytes, waiting and retained messages included; statistics and timers are not.
    /// [`import`](Self::import) makes the same group of them. O(members + bytes held and retained).
    ///
    /// Export after each broadcast, before it is sent, if no message may ever be numbered twice.
    ///
    /// # Errors
    /// [`ExportError`]: drain the outputs first.
    pub fn export(&self) -> Result<Vec<u8>, ExportError> {
        if !self.outputs.is_empty() {
            return Err(ExportError::OutputsPending);
        }
        let mut out = Vec::from([VERSION]);
        put_varint(&mut out, self.latest.as_nanos());
        self.snapshot().encode(&mut out);
        let live = || self.members.iter().filter(|(_, m)| m.live);
        let locals: Vec<_> = live().filter(|(_, m)| m.local).map(|(_, m)| m.id).collect();
        put_varint(&mut out, locals.len() as u64);
        locals.iter().for_each(|&local| put_member(&mut out, local));
        let direct: Vec<_> = live().filter(|(_, m)| m.direct).map(|(_, m)| m.id).collect();
        put_varint(&mut out, direct.len() as u64);
        direct.iter().for_each(|&direct| put_member(&mut out, direct));
        let heard: VectorClock = live().map(|(slot, m)| (m.id, self.members.heard(slot))).collect();
        heard.encode(&mut out);
        let shown = live().filter(|(slot, m)| m.shown > self.members.delivered(*slot));
        let shown: VectorClock = shown.map(|(_, m)| (m.id, m.shown)).collect();
        shown.encode(&mut out);
        let frozen: VectorClock = live().filter_map(|(_, m)| Some((m.id, m.frozen?))).collect();
        frozen.encode(&mut out);
        let flush = live().filter(|(_, m)| m.flush > 0).map(|(_, m)| (m.id, m.flush));
        flush.collect::<VectorClock>().encode(&mut out);
        let rolled_back = self.rollbacks.iter().map(|rollback| (rollback.member, rollback.proven));
        rolled_back.collect::<VectorClock>().encode(&mut out);
        put_varint(&mut out, self.held as u64);
        for held in self.members.iter().flat_map(|(_, m)| m.ring.iter().flatten()) {
            put_varint(&mut out, held.since.as_nanos());
            put_packet(&mut out, &held.packet);
        }
        let stability = self.stability.as_ref();
        let stable: VectorClock =
            live().filter_map(|(slot, m)| Some((m.id, stability?.stable(slot)))).collect();
        stable.encode(&mut out);
        for (id, count) in stable.iter() {
            let slot = self.members.live_slot(id);
            let (Some(slot), Some(stability)) = (slot, stability) else { continue };
            for seq in count + 1..=self.members.delivered(slot) {
                put_place(&mut out, stability.retained(slot, seq));
            }
        }
        let departed = stability.map_or(&[][..], Stability::departed);
        put_varint(&mut out, departed.len() as u64);
        for d in departed {
            put_member(&mut out, d.member);
            put_member(&mut out, d.left.member);
            put_varint(&mut out, d.left.seq);
            put_varint(&mut out, d.first);
            put_varint(&mut out, d.messages.len() as u64);
            d.messages.iter().for_each(|m| put_place(&mut out, m.as_ref()));
        }
        put_varint(&mut out, self.flushes.len() as u64);
        for flush in &self.flushes {
            put_member(&mut out, flush.host);
            put_member(&mut out, flush.member);
            put_packet(&mut out, &flush.payload);
        }
        put_varint(&mut out, self.called_off.len() as u64);
        self.called_off.iter().for_each(|called_off| put_member(&mut out, called_off.member));
        out.push(u8::from(self.overfull));
        Ok(out)
    }

    /// The group that was exported. Acknowledgements are told again by the others' next clocks. O(bytes).
    ///
    /// # Errors
    /// [`ImportError`]. Memory is bounded by the bytes there are.
    pub fn import(config: Config, bytes: &[u8]) -> Result<Self, ImportError> {
        let reader = &mut Reader::new(bytes);
        match reader.byte()? {
            VERSION => {}
            version => return Err(ImportError::Version(version)),
        }
        let now = Time::from_nanos(reader.varint()?);
        let snapshot = Snapshot::decode(reader)?;
        let mut locals = Vec::new();
        for _ in 0..reader.varint()? {
            locals.push(member(reader)?);
        }
        let mut group = Self::new(config, &snapshot, locals)?;
        for _ in 0..reader.varint()? {
            let slot = group.members.live_slot(member(reader)?).ok_or(ImportError::Inconsistent)?;
            group.members.get_mut(slot).direct = true;
        }
        let (heard, shown) = (VectorClock::decode(reader)?, VectorClock::decode(reader)?);
        let frozen = VectorClock::decode(reader)?;
        for (id, count) in frozen.iter() {
            let slot = group.members.live_slot(id).filter(|_| !id.is_host());
            let slot = slot.ok_or(ImportError::Inconsistent)?;
            group.members.get_mut(slot).frozen = Some(count);
        }
        for (id, number) in VectorClock::decode(reader)?.iter() {
            let slot = group.members.live_slot(id).ok_or(ImportError::Inconsistent)?;
            group.members.get_mut(slot).flush = number;
        }
        let rolled_back = VectorClock::decode(reader)?;
        group.rollbacks = rolled_back.iter().map(|(member, proven)| Rollback { member, proven }).collect();
        for n in 0..reader.varint()? {
            let since = Time::from_nanos(reader.varint()?);
            let taken = group.take(since, Link::Relay, message(reader)?);
            if taken.is_err() || group.held as u64 != n + 1 {
                return Err(ImportError::Inconsistent);
            }
        }
        for (id, count) in heard.iter() {
            let slot = group.members.live_slot(id).ok_or(ImportError::Inconsistent)?;
            group.hear(now, slot, count, false);
            group.hear(now, slot, shown.get(id), true);
        }
        group.import_stability(reader)?;
        for _ in 0..reader.varint()? {
            let (host, member) = (member(reader)?, member(reader)?);
            let payload = Bytes::copy_from_slice(reader.prefixed()?);
            let fits = member.origin == host.origin && !member.is_host() && group.is_member(member);
            if !fits || !host.is_host() || !group.is_local(host) {
                return Err(ImportError::Inconsistent);
            }
            group.flushes.push(Flush { host, member, payload, reported: Vec::new() });
        }
        for _ in 0..reader.varint()? {
            let member = member(reader)?;
            group.called_off.push(CalledOff { member, told: Vec::new() });
        }
        group.overfull = reader.byte()? != 0;
        // The clock of the process may be another now: it is put back if need be.
        group.latest = now;
        group.outputs.clear();
        group.stats = crate::group::Stats::default();
        Ok(group)
    }

    fn import_stability(&mut self, reader: &mut Reader<'_>) -> Result<(), ImportError> {
        let stable = VectorClock::decode(reader)?;
        let mut retained = BTreeMap::new();
        for (id, count) in stable.iter() {
            let delivered = self.delivered(id).filter(|&delivered| count <= delivered);
            let delivered = delivered.ok_or(ImportError::Inconsistent)?;
            let mut places = VecDeque::new();
            // Each takes a byte at least, however many are claimed.
            for seq in count + 1..=delivered {
                let message = place(reader)?;
                if message.as_ref().is_some_and(|message| message.id() != MessageId::new(id, seq)) {
                    return Err(ImportError::Inconsistent);
                }
                places.push_back(message);
            }
            retained.insert(id, places);
        }
        let mut departed = Vec::new();
        for _ in 0..reader.varint()? {
            let gone = member(reader)?;
            let left = MessageId::new(member(reader)?, reader.varint()?);
            let first = reader.varint()?;
            let mut messages = VecDeque::new();
            for _ in 0..reader.varint()? {
                messages.push_back(place(reader)?);
            }
            departed.push(Departed { member: gone, first, messages, left });
        }
        if self.stability.is_none() {
            return Ok(());
        }
        let mut stability = Stability::default();
        let live: Vec<_> =
            self.members.iter().filter(|(_, m)| m.live).map(|(s, m)| (s, m.id, m.local)).collect();
        for &(slot, id, local) in &live {
            // Where the export did not retain, all counts as stable.
            let places = retained.get(&id).map_or(0, VecDeque::len) as u64;
            stability.add(slot, self.members.delivered(slot) - places, !local);
        }
        for (slot, id, _) in live {
            let places = retained.remove(&id).into_iter().flatten();
            places.for_each(|message| stability.delivered(slot, message));
        }
        stability.take_advanced();
        stability.set_departed(departed);
        self.stability = Some(stability);
        Ok(())
    }
}
