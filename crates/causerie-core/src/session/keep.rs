//! A session as bytes, so that a client that is killed goes on as the same member.
//!
//! What is kept is the cut of the group, the place in the log up to which the application has taken everything, and the
//! own messages that have not come back. What was received and not delivered is not: the server sends it again. So it
//! does with what was delivered and not taken, of which the ids are kept.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use cbcast::wire::{Reader, WireError, put_varint};
use cbcast::{MemberId, Message, MessageId, Snapshot, Time};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::names::Names;
use super::{Event, Membership, Pending, Session, SessionConfig, Untaken};
use crate::key::KeyPair;
use crate::wire::Limits;

/// Why a session cannot be made of bytes.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
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
/// 2: with the ids of what was delivered and not taken. 3: with a key, instead of a nonce and a token.
const VERSION: u8 = 3;
const OLDEST: u8 = 1;
/// A nonce, or a token, of versions before 3.
const SECRET_BYTES: usize = 16;
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

fn text(reader: &mut Reader<'_>) -> Result<String, KeptError> {
    String::from_utf8(reader.prefixed()?.to_vec()).map_err(|_| KeptError::Damaged)
}

impl Session {
    /// What [`restore`](Self::restore) makes the session of again. O(members + bytes on their way).
    ///
    /// Where nothing said may be lost or said twice it must be durable before a frame is sent that was polled after
    /// [`is_unkept`](Self::is_unkept) became true. It holds the member's key: who reads it can speak for the member.
    pub fn keep(&mut self) -> Vec<u8> {
        self.unkept = false;
        let mut out = [&MAGIC[..], &[VERSION]].concat();
        out.extend_from_slice(self.key.seed());
        put_varint(&mut out, self.epoch);
        put_varint(&mut out, self.taken());
        let untaken = self.untaken.iter().flat_map(|event| match event {
            Untaken::Delivered(id) => core::slice::from_ref(id),
            Untaken::Renamed(ids) => ids,
            _ => &[],
        });
        let again: BTreeSet<_> = self.again.iter().chain(untaken).copied().collect();
        put_varint(&mut out, again.len() as u64);
        again.iter().for_each(|&id| put_id(&mut out, id));
        put_varint(&mut out, self.seen.len() as u64);
        self.seen.iter().for_each(|&id| put_id(&mut out, id));
        // Delivered, so nobody asks for it again.
        let ready: Vec<_> = self.ready.messages().filter(|(_, id, _)| !again.contains(id)).collect();
        put_varint(&mut out, ready.len() as u64);
        for (position, id, time_millis) in ready {
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
            put_varint(&mut out, m.epoch);
            let Limits { name_chars, text_bytes, frame_bytes, grace_millis } = m.limits;
            [name_chars, text_bytes, frame_bytes, grace_millis].iter().for_each(|&n| put_varint(&mut out, n));
            put_varint(&mut out, m.joined_at);
            out.push(u8::from(m.newcomer));
            m.group.snapshot().encode(&mut out);
            put_varint(&mut out, m.names.all().len() as u64);
            for (member, name, is_present) in m.names.all() {
                put_member(&mut out, member);
                out.push(u8::from(is_present));
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

    /// Up to which position everything is placed, and taken by the application if it
    /// [acknowledges](SessionConfig::acknowledges).
    #[must_use]
    pub fn taken(&self) -> u64 {
        let untaken = self.untaken.iter().find_map(|event| match *event {
            Untaken::Placed(epoch, position) if epoch == self.epoch => Some(position - 1),
            _ => None,
        });
        untaken.map_or(self.placed, |before| before.min(self.placed))
    }

    /// The session that was kept, without a connection. It resumes its membership, and begins with
    /// [`Event::Welcomed`] as any other; what was on its way follows, delivered once more to the application, and so does
    /// what the application had not acknowledged.
    ///
    /// # Errors
    /// [`KeptError`].
    pub fn restore(config: SessionConfig, kept: &[u8]) -> Result<Self, KeptError> {
        let body = kept.strip_prefix(MAGIC).ok_or(KeptError::Damaged)?;
        if body.first().is_some_and(|&version| version > VERSION) {
            return Err(KeptError::Newer);
        }
        let end = kept.len().checked_sub(CHECKSUM_BYTES).ok_or(KeptError::Damaged)?;
        if Sha256::digest(&kept[..end])[..CHECKSUM_BYTES] != kept[end..] || body[0] < OLDEST {
            return Err(KeptError::Damaged);
        }
        let reader = &mut Reader::new(&kept[MAGIC.len() + 1..end]);
        let mut session = Self::new(config);
        // Nothing can be resumed with what is older: the server does not know the key that the session has now, and the
        // member joins anew, and says again what had not come back.
        if body[0] < 3 {
            reader.take(SECRET_BYTES)?;
        } else {
            let seed = reader.take(32)?.try_into().map_err(|_| KeptError::Damaged)?;
            session.key = KeyPair::new(seed);
        }
        (session.epoch, session.placed) = (reader.varint()?, reader.varint()?);
        session.received = session.placed;
        let untaken = if body[0] < 2 { 0 } else { reader.varint()? };
        for _ in 0..untaken {
            session.again.insert(id(reader)?);
        }
        for _ in 0..reader.varint()? {
            // What was delivered and not acknowledged has been seen in that life only.
            let id = id(reader)?;
            session.seen.extend((!session.again.contains(&id)).then_some(id));
        }
        for _ in 0..reader.varint()? {
            let (position, id) = (reader.varint()?, id(reader)?);
            session.ready.add(position, id, reader.varint()?);
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
            let membership = membership(&session.config, reader, body[0])?;
            session.again.extend(membership.pending.iter().map(|pending| pending.message.id()));
            session.membership = Some(membership);
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
        let (room, members) = (self.config.room.clone(), self.members());
        let (created, epoch, first, position) = (false, self.epoch, self.placed + 1, self.placed);
        self.event(Event::Welcomed { member, room, created, epoch, first, position, members, limits });
    }

    /// Tells and says what waited, once everything is delivered that the application may have seen before.
    pub(super) fn catch_up(&mut self, now: Time) {
        if self.catching_up.is_some_and(|last| self.placed >= last) {
            self.catching_up = None;
            let own: Vec<_> =
                self.membership.iter().flat_map(|m| &m.pending).map(|p| p.message.clone()).collect();
            own.iter().for_each(|message| self.tell_again(message, None));
            let renamed = self.say_unsent(now, false);
            if let (Some(reason), Some(member)) = (self.rejoined.take(), self.member()) {
                self.event(Event::Rejoined { member, reason, renamed });
            }
        }
    }
}

fn membership(config: &SessionConfig, reader: &mut Reader<'_>, version: u8) -> Result<Membership, KeptError> {
    let member_id = member(reader)?;
    if version < 3 {
        reader.take(SECRET_BYTES)?;
    }
    let epoch = reader.varint()?;
    let limits = Limits {
        name_chars: reader.varint()?,
        text_bytes: reader.varint()?,
        frame_bytes: reader.varint()?,
        grace_millis: reader.varint()?,
    };
    let (joined_at, newcomer) = (reader.varint()?, reader.byte()? != 0);
    let snapshot = Snapshot::decode(reader)?;
    let mut names = Names::default();
    for _ in 0..reader.varint()? {
        let (member, here) = (member(reader)?, reader.byte()? != 0);
        if !names.add(member, text(reader)?, here) {
            return Err(KeptError::Damaged);
        }
    }
    let mut pending = VecDeque::new();
    for _ in 0..reader.varint()? {
        let packet = Bytes::copy_from_slice(reader.prefixed()?);
        let message = Message::decode(packet).map_err(|_| KeptError::Damaged)?;
        pending.push_back(Pending { message, sent_at: None });
    }
    let group = super::group_of(config, &snapshot, member_id, &limits).map_err(|_| KeptError::Damaged)?;
    let fits = group.is_local(member_id) && pending.iter().all(|p| group.has_delivered(p.message.id()));
    if !fits {
        return Err(KeptError::Damaged);
    }
    Ok(Membership { member: member_id, epoch, group, limits, joined_at, newcomer, pending, names })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::body::Body;
    use crate::content::name::RoomName;
    use crate::key::Challenge;
    use crate::log::records;
    use crate::room::{Now, Room, RoomSettings, Seat};
    use crate::session::Output;
    use crate::wire::{ClientFrame, Delivered, ErrorCode, ErrorFrame, ServerFrame};

    /// What was kept without a membership, in the form of that version: nonces had 16 bytes, and the first version had no
    /// ids behind the place.
    fn in_form_of(version: u8, kept: &[u8]) -> Vec<u8> {
        let end = kept.len() - CHECKSUM_BYTES;
        let seed = MAGIC.len() + 1;
        let place = seed + 32;
        let ids = place + 2;
        assert_eq!((kept[MAGIC.len()], kept[ids]), (VERSION, 0));
        let behind = if version < 2 { ids + 1 } else { ids };
        let mut older =
            [MAGIC, &[version][..], &[9; SECRET_BYTES], &kept[place..ids], &kept[behind..end]].concat();
        let checksum = Sha256::digest(&older);
        older.extend_from_slice(&checksum[..CHECKSUM_BYTES]);
        older
    }

    #[test]
    fn what_versions_before_kept_is_taken_up() {
        let config = SessionConfig::new("lobby", "Raj", || [7; 32]);
        let mut session = Session::new(config.clone());
        session.say(Time::ZERO, &Body::Text("early".into())).unwrap();
        let kept = session.keep();
        for version in OLDEST..VERSION {
            let older = in_form_of(version, &kept);
            assert_eq!(Session::restore(config.clone(), &older).unwrap().keep(), kept, "version {version}");
        }

        let mut newer = kept;
        newer[MAGIC.len()] = VERSION + 1;
        assert_eq!(Session::restore(config, &newer).err(), Some(KeptError::Newer));
    }

    fn lets_in(room: &mut Room, session: &mut Session) -> Seat {
        session.connected();
        let (version, agent) = (crate::wire::VERSION, String::new());
        let challenge = Challenge::default();
        session.handle_frame(Time::ZERO, ServerFrame::Hello { version, agent, challenge });
        while let Some(output) = session.poll_output() {
            if let Output::Send(ClientFrame::Join { name, proof, after, epoch, .. }) = output {
                let (seat, welcome) = room.join(Now::default(), &name, proof.key, after, epoch).unwrap();
                session.handle_frame(Time::ZERO, ServerFrame::Welcome(Box::new(welcome)));
                return seat;
            }
        }
        panic!("it does not join");
    }

    #[test]
    fn what_was_taken_of_a_lost_membership_and_not_shown_is_told_after_a_kill() {
        let mut room = Room::new(RoomName::parse("lobby").unwrap(), 0, 7, RoomSettings::default(), false);
        let mut config = SessionConfig::new("lobby", "Raj", || [7; 32]);
        config.acknowledges = true;
        let mut session = Session::new(config.clone());
        let seat = lets_in(&mut room, &mut session);
        // The application acknowledges that it is in, and is slow then.
        session.acknowledge();
        let id = session.say(Time::ZERO, &Body::Text("early".into())).unwrap().unwrap();
        while let Some(output) = session.poll_output() {
            if let Output::Send(ClientFrame::Broadcast(packet)) = output {
                room.receive(Now::default(), seat, packet).unwrap();
            }
        }
        room.leave(Now::default(), id.member, 1);
        let expired = ErrorFrame { taken: 1, ..ErrorFrame::fatal(ErrorCode::Expired, "away too long") };
        session.handle_frame(Time::ZERO, ServerFrame::Error(expired));

        let mut session = Session::restore(config, &session.keep()).unwrap();
        lets_in(&mut room, &mut session);
        for record in records(room.take_batch().unwrap().records.unwrap().bytes) {
            let (position, time_millis) = (record.position, record.time_millis);
            let packet = record.message.into_packet();
            let delivered = Delivered { position, time_millis, packet };
            session.handle_frame(Time::ZERO, ServerFrame::Delivered(delivered));
        }
        let told = |output| match output {
            Output::Event(Event::Delivered(post)) if post.id == id => Some(None),
            Output::Event(Event::Placed { id: placed, position, .. }) if placed == id => Some(Some(position)),
            _ => None,
        };
        let told: Vec<_> = std::iter::from_fn(|| session.poll_output()).filter_map(told).collect();
        assert!(matches!(told[..], [None, Some(_)]), "delivered, and placed: {told:?}");
    }
}
