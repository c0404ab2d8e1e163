//! A session as bytes, so that a client that is killed goes on as the same member.
//!
//! What is kept is the cut of the group, the place in the log that is placed, and the own messages that have not come
//! back. What was received and not delivered is not: the server sends it again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use cbcast::wire::{Reader, WireError, put_varint};
use cbcast::{MemberId, Message, MessageId, Snapshot, Time};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{Event, Membership, Pending, Post, Session, SessionConfig};
use crate::body::Body;
use crate::frame::{Limits, Secret};

/// Why a session cannot be made of bytes.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum KeptError {
    /// Written by a later version.
    #[error("it was written by a later version of the program")]
    Newer,
    /// They are not what was written.
    #[error("it is damaged")]
    Damaged,
}

impl From<WireError> for KeptError {
    fn from(_: WireError) -> Self {
        Self::Damaged
    }
}

const MAGIC: &[u8; 4] = b"CSKS";
const VERSION: u8 = 1;
/// Of the SHA-256 of all before it, at the end.
const CHECKSUM_BYTES: usize = 16;

/// A file name for what is kept of this membership, the same at each start.
#[must_use]
pub fn kept_name(server: &str, room: &str, name: &str) -> String {
    let mut hash = Sha256::new();
    for part in [server, room, name] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_member(out: &mut Vec<u8>, member: MemberId) {
    put_varint(out, member.origin.into());
    put_varint(out, member.ordinal.into());
}

fn member(reader: &mut Reader<'_>) -> Result<MemberId, WireError> {
    Ok(MemberId::new(reader.varint_u32()?, reader.varint_u32()?))
}

fn put_id(out: &mut Vec<u8>, id: MessageId) {
    put_member(out, id.member);
    put_varint(out, id.seq);
}

fn id(reader: &mut Reader<'_>) -> Result<MessageId, WireError> {
    Ok(MessageId::new(member(reader)?, reader.varint()?))
}

fn secret(reader: &mut Reader<'_>) -> Result<Secret, KeptError> {
    reader.take(16)?.try_into().map_err(|_| KeptError::Damaged)
}

fn text(reader: &mut Reader<'_>) -> Result<String, KeptError> {
    String::from_utf8(reader.prefixed()?.to_vec()).map_err(|_| KeptError::Damaged)
}

impl Session {
    /// What [`restore`](Self::restore) makes the session of again. O(members + bytes on their way).
    ///
    /// Where nothing said may be lost or said twice it must be durable before a frame is sent that was polled after
    /// [`is_unkept`](Self::is_unkept) became true. It holds the resume token: who reads it can speak for the member.
    pub fn keep(&mut self) -> Vec<u8> {
        self.unkept = false;
        let mut out = [&MAGIC[..], &[VERSION]].concat();
        out.extend_from_slice(&self.nonce);
        put_varint(&mut out, self.epoch);
        put_varint(&mut out, self.placed);
        put_varint(&mut out, self.seen.len() as u64);
        self.seen.iter().for_each(|&id| put_id(&mut out, id));
        // Delivered, so nobody asks for it again.
        put_varint(&mut out, self.ready.len() as u64);
        for (&position, &(id, time_millis)) in &self.ready {
            put_varint(&mut out, position);
            put_id(&mut out, id);
            put_varint(&mut out, time_millis);
        }
        put_varint(&mut out, self.unsent.len() as u64);
        for (old, payload) in &self.unsent {
            out.push(u8::from(old.is_some()));
            old.iter().for_each(|&id| put_id(&mut out, id));
            put_bytes(&mut out, payload);
        }
        put_varint(&mut out, self.instead.len() as u64);
        for (&old, new) in &self.instead {
            put_id(&mut out, old);
            out.push(u8::from(new.is_some()));
            new.iter().for_each(|&id| put_id(&mut out, id));
        }
        out.push(u8::from(self.rejoining.is_some()));
        put_bytes(&mut out, self.rejoining.as_deref().unwrap_or("").as_bytes());
        out.push(u8::from(self.membership.is_some()));
        if let Some(m) = &self.membership {
            put_member(&mut out, m.member);
            out.extend_from_slice(&m.token);
            put_varint(&mut out, m.epoch);
            let Limits { name_chars, text_bytes, frame_bytes, grace_millis } = m.limits;
            [name_chars, text_bytes, frame_bytes, grace_millis].iter().for_each(|&n| put_varint(&mut out, n));
            put_varint(&mut out, m.joined_at);
            out.push(u8::from(m.newcomer));
            m.group.snapshot().encode(&mut out);
            put_varint(&mut out, m.names.len() as u64);
            for (&member, name) in &m.names {
                put_member(&mut out, member);
                out.push(u8::from(m.present.contains(&member)));
                put_bytes(&mut out, name.as_bytes());
            }
            put_varint(&mut out, m.pending.len() as u64);
            m.pending.iter().for_each(|pending| put_bytes(&mut out, pending.message.packet()));
        }
        let checksum = Sha256::digest(&out);
        out.extend_from_slice(&checksum[..CHECKSUM_BYTES]);
        out
    }

    /// Whether what must not be lost has changed since [`keep`](Self::keep): something was said, or the membership is
    /// another one.
    #[must_use]
    pub fn is_unkept(&self) -> bool {
        self.unkept
    }

    /// Up to which position everything is placed.
    #[must_use]
    pub fn placed(&self) -> u64 {
        self.placed
    }

    /// The session that was kept, without a connection. It resumes its membership, and begins with
    /// [`Event::Welcomed`] as any other; what was on its way follows, delivered once more to the application.
    ///
    /// # Errors
    /// [`KeptError`].
    pub fn restore(config: SessionConfig, kept: &[u8]) -> Result<Self, KeptError> {
        let body = kept.strip_prefix(MAGIC).ok_or(KeptError::Damaged)?;
        if body.first().is_some_and(|&version| version > VERSION) {
            return Err(KeptError::Newer);
        }
        let end = kept.len().checked_sub(CHECKSUM_BYTES).ok_or(KeptError::Damaged)?;
        if Sha256::digest(&kept[..end])[..CHECKSUM_BYTES] != kept[end..] || body[0] != VERSION {
            return Err(KeptError::Damaged);
        }
        let reader = &mut Reader::new(&kept[MAGIC.len() + 1..end]);
        let mut session = Self::new(config);
        session.nonce = secret(reader)?;
        (session.epoch, session.placed) = (reader.varint()?, reader.varint()?);
        session.received = session.placed;
        for _ in 0..reader.varint()? {
            session.seen.insert(id(reader)?);
        }
        for _ in 0..reader.varint()? {
            let (position, id) = (reader.varint()?, id(reader)?);
            session.ready.insert(position, (id, reader.varint()?));
        }
        for _ in 0..reader.varint()? {
            let old = if reader.byte()? == 0 { None } else { Some(id(reader)?) };
            session.unsent.push_back((old, reader.prefixed()?.to_vec()));
        }
        for _ in 0..reader.varint()? {
            let old = id(reader)?;
            let new = if reader.byte()? == 0 { None } else { Some(id(reader)?) };
            session.instead.insert(old, new);
        }
        let (rejoining, reason) = (reader.byte()? != 0, text(reader)?);
        session.rejoining = rejoining.then_some(reason);
        if reader.byte()? != 0 {
            session.membership = Some(membership(&session.config, reader)?);
            // Where the log ends is told by the server.
            session.catching_up = Some(u64::MAX);
        }
        session.restored = session.membership.is_some() || rejoining;
        Ok(session)
    }

    /// The first words of a session that was kept.
    pub(super) fn tell_restored(&mut self) {
        if !std::mem::take(&mut self.restored) {
            return;
        }
        let Some(m) = &self.membership else { return };
        let (member, limits) = (m.member, m.limits);
        let own: Vec<_> = m.pending.iter().map(|pending| pending.message.clone()).collect();
        let author = m.names.get(&member).cloned().unwrap_or_default();
        let (room, members) = (self.config.room.clone(), self.members());
        let (created, epoch, first, position) = (false, self.epoch, self.placed + 1, self.placed);
        self.event(Event::Welcomed { member, room, created, epoch, first, position, members, limits });
        for message in own {
            self.event(Event::Delivered(Post {
                id: message.id(),
                author: author.clone(),
                body: Body::decode(&message.payload()),
                own: true,
                position: None,
                time_millis: None,
                held_for: None,
                history: false,
                deps: message.deps().collect(),
            }));
        }
    }

    /// Says what waited, once everything is delivered that the application may have seen before.
    pub(super) fn catch_up(&mut self, now: Time) {
        if self.catching_up.is_some_and(|last| self.placed >= last) {
            self.catching_up = None;
            self.say_unsent(now);
        }
    }
}

fn membership(config: &SessionConfig, reader: &mut Reader<'_>) -> Result<Membership, KeptError> {
    let (member_id, token, epoch) = (member(reader)?, secret(reader)?, reader.varint()?);
    let limits = Limits {
        name_chars: reader.varint()?,
        text_bytes: reader.varint()?,
        frame_bytes: reader.varint()?,
        grace_millis: reader.varint()?,
    };
    let (joined_at, newcomer) = (reader.varint()?, reader.byte()? != 0);
    let snapshot = Snapshot::decode(reader)?;
    let (mut names, mut present) = (BTreeMap::new(), BTreeSet::new());
    for _ in 0..reader.varint()? {
        let (member, here) = (member(reader)?, reader.byte()? != 0);
        names.insert(member, text(reader)?);
        if here {
            present.insert(member);
        }
    }
    let mut pending = VecDeque::new();
    for _ in 0..reader.varint()? {
        let packet = Bytes::copy_from_slice(reader.prefixed()?);
        let message = Message::decode(packet).map_err(|_| KeptError::Damaged)?;
        pending.push_back(Pending { message, sent_at: None });
    }
    let group = super::group_of(config, &snapshot, member_id, &limits);
    let fits = group.is_local(member_id) && pending.iter().all(|p| group.has_delivered(p.message.id()));
    if !fits {
        return Err(KeptError::Damaged);
    }
    Ok(Membership {
        member: member_id,
        token,
        epoch,
        group,
        limits,
        joined_at,
        newcomer,
        pending,
        names,
        present,
    })
}
