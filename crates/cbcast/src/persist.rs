//! A group as bytes, to survive its process.
//!
//! What was delivered, what waits and the frontier are one record: whatever is lost with a crash is lost as if it
//! had never arrived, and repair brings it again.
//!
//! ```text
//! export   = version(1 byte) now snapshot particulars direct{ member } shown(clock) held{ since packet }
//!            stable(clock) places departed{ member left first places{ packet } } overfull(1 byte)
//! particulars = locals{ member } frozen(clock) flush(clock) rolled_back(clock) expelling{ origin counts(clock) }
//!            flushes{ host member payload } called_off{ member }
//! changes  = ( entries{ 0 packet | 1 member to } particulars )...        1: skipped
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
use crate::stability::{DepartedMessages, Stability};
use crate::time::Time;
use crate::wire::{Reader, WireError, put_varint};

const VERSION: u8 = 2;

/// Reason why a group cannot be exported now.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ExportError {
    /// There are outputs: drain [`Group::poll_output`] first, and do what they say. They are no part of an export.
    #[error("there are outputs to be drained first")]
    OutputsPending,
    /// The changes since that moment are not kept: [`Config::durable`] is not set, or they are known to be stored. Make
    /// a whole export.
    #[error("the changes since then are not kept")]
    NotKept,
}

/// Reason why bytes are not an exported group.
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

pub(crate) fn put_packet(out: &mut Vec<u8>, packet: &[u8]) {
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

/// State of a group that does not follow from what it has delivered.
#[derive(Clone, Debug)]
pub(crate) struct Particulars {
    pub(crate) locals: Vec<MemberId>,
    frozen: VectorClock,
    flush: VectorClock,
    rolled_back: VectorClock,
    frozen_origins: BTreeMap<u32, VectorClock>,
    flushes: Vec<Flush>,
    called_off: Vec<MemberId>,
}

impl Particulars {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.locals.len() as u64);
        self.locals.iter().for_each(|&local| put_member(out, local));
        [&self.frozen, &self.flush, &self.rolled_back].into_iter().for_each(|clock| clock.encode(out));
        put_varint(out, self.frozen_origins.len() as u64);
        for (&origin, counts) in &self.frozen_origins {
            put_varint(out, origin.into());
            counts.encode(out);
        }
        put_varint(out, self.flushes.len() as u64);
        for flush in &self.flushes {
            put_member(out, flush.host);
            put_member(out, flush.member);
            put_packet(out, &flush.payload);
        }
        put_varint(out, self.called_off.len() as u64);
        self.called_off.iter().for_each(|&member| put_member(out, member));
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut locals = Vec::new();
        for _ in 0..reader.varint()? {
            locals.push(member(reader)?);
        }
        let [frozen, flush, rolled_back] =
            [VectorClock::decode(reader)?, VectorClock::decode(reader)?, VectorClock::decode(reader)?];
        let mut frozen_origins = BTreeMap::new();
        for _ in 0..reader.varint()? {
            frozen_origins.insert(reader.varint_u32()?, VectorClock::decode(reader)?);
        }
        let mut flushes = Vec::new();
        for _ in 0..reader.varint()? {
            let (host, member) = (member(reader)?, member(reader)?);
            let payload = Bytes::copy_from_slice(reader.prefixed()?);
            flushes.push(Flush { host, member, payload, reported: Vec::new() });
        }
        let mut called_off = Vec::new();
        for _ in 0..reader.varint()? {
            called_off.push(member(reader)?);
        }
        Ok(Self { locals, frozen, flush, rolled_back, frozen_origins, flushes, called_off })
    }
}

impl Group {
    pub(crate) fn particulars(&self) -> Particulars {
        let live = || self.members.iter().filter(|(_, m)| m.live);
        let mut locals: Vec<_> = live().filter(|(_, m)| m.local).map(|(_, m)| m.id).collect();
        locals.sort_unstable();
        let flush = live().filter(|(_, m)| m.flush > 0).map(|(_, m)| (m.id, m.flush));
        let rolled_back = self.rollbacks.iter().map(|rollback| (rollback.member, rollback.proven));
        Particulars {
            locals,
            frozen: live().filter_map(|(_, m)| Some((m.id, m.frozen?))).collect(),
            flush: flush.collect(),
            rolled_back: rolled_back.collect(),
            frozen_origins: self.frozen_origins.clone(),
            flushes: self.flushes.clone(),
            called_off: self.called_off.iter().map(|called_off| called_off.member).collect(),
        }
    }

    /// All but who is to leave.
    pub(crate) fn set_particulars(&mut self, particulars: &Particulars) -> Result<(), ImportError> {
        for (slot, _) in self.members.counts() {
            self.members.get_mut(slot).frozen = None;
            self.members.settle(slot);
        }
        // Hosts are frozen with their origin, and no flush names them.
        let with_origin = |id: MemberId| particulars.frozen_origins.contains_key(&id.origin);
        if particulars.frozen.iter().any(|(id, _)| id.is_host() && !with_origin(id)) {
            return Err(ImportError::Inconsistent);
        }
        self.frozen_origins.clone_from(&particulars.frozen_origins);
        for (id, count) in particulars.frozen.iter() {
            let slot = self.members.live_slot(id).ok_or(ImportError::Inconsistent)?;
            self.members.get_mut(slot).frozen = Some(count);
        }
        for (id, number) in particulars.flush.iter() {
            let slot = self.members.live_slot(id).ok_or(ImportError::Inconsistent)?;
            self.members.get_mut(slot).flush = number;
        }
        let rolled_back = particulars.rolled_back.iter();
        self.rollbacks = rolled_back.map(|(member, proven)| Rollback { member, proven }).collect();
        Ok(())
    }

    /// Sets who is to leave, once nothing more is delivered: a flush may end with a delivery.
    pub(crate) fn set_leaving(&mut self, particulars: Particulars) -> Result<(), ImportError> {
        for Flush { host, member, .. } in &particulars.flushes {
            let fits = member.origin == host.origin && !member.is_host() && self.is_member(*member);
            if !fits || !host.is_host() || !self.is_local(*host) {
                return Err(ImportError::Inconsistent);
            }
        }
        self.flushes = particulars.flushes;
        let called_off = particulars.called_off.into_iter();
        self.called_off = called_off.map(|member| CalledOff { member, told: Vec::new() }).collect();
        Ok(())
    }

    /// The whole state as bytes, waiting and retained messages included; statistics and timers are not.
    /// [`import`](Self::import) makes the same group of them. O(members + bytes held and retained).
    ///
    /// A process that comes back from an older state than what others know of it has lost what it promised them. With
    /// [`Config::durable`] nothing is promised before it is stored: see [`persisted`](Self::persisted).
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
        self.particulars().encode(&mut out);
        let live = || self.members.iter().filter(|(_, m)| m.live);
        let direct: Vec<_> = live().filter(|(_, m)| m.direct).map(|(_, m)| m.id).collect();
        put_varint(&mut out, direct.len() as u64);
        direct.iter().for_each(|&direct| put_member(&mut out, direct));
        // What is merely claimed is claimed by what is held.
        let shown = live().filter(|(slot, m)| m.shown > self.members.delivered(*slot));
        let shown: VectorClock = shown.map(|(_, m)| (m.id, m.shown)).collect();
        shown.encode(&mut out);
        put_varint(&mut out, self.held as u64);
        for (_, held) in self.members.iter().flat_map(|(_, m)| m.ring.iter()) {
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
        let particulars = Particulars::decode(reader)?;
        let mut group = Self::new(config, &snapshot, particulars.locals.iter().copied())?;
        group.set_particulars(&particulars)?;
        for _ in 0..reader.varint()? {
            let slot = group.members.live_slot(member(reader)?).ok_or(ImportError::Inconsistent)?;
            group.members.get_mut(slot).direct = true;
        }
        let shown = VectorClock::decode(reader)?;
        for n in 0..reader.varint()? {
            let since = Time::from_nanos(reader.varint()?);
            let taken = group.take(since, Link::Relay, message(reader)?);
            if taken.is_err() || group.held as u64 != n + 1 {
                return Err(ImportError::Inconsistent);
            }
        }
        for (id, count) in shown.iter() {
            let slot = group.members.live_slot(id).ok_or(ImportError::Inconsistent)?;
            group.hear(now, slot, count, true);
        }
        group.import_stability(reader)?;
        group.set_leaving(particulars)?;
        group.overfull = reader.byte()? != 0;
        // The clock of the process may be another now: it is put back if need be.
        group.latest = now;
        group.outputs.clear();
        group.all_is_persisted();
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
            departed.push(DepartedMessages { member: gone, first, messages, left });
        }
        if self.stability.is_none() {
            return Ok(());
        }
        let mut stability = Stability::new(self.config.durable);
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
        let followed = |dep: MessageId| {
            let slot = self.members.live_slot(dep.member);
            slot.is_some_and(|slot| {
                self.members.progress(slot).in_frontier && self.members.delivered(slot) == dep.seq
            })
        };
        if stability.all_retained().any(|message| message.deps().any(followed)) {
            return Err(ImportError::Inconsistent);
        }
        self.stability = Some(stability);
        Ok(())
    }
}
