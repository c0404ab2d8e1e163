//! A session as bytes, so that a client that is killed goes on as the same member.
//!
//! What is kept is the cut of the group, the place in the log up to which the application has taken everything, and the
//! own messages that have not come back. What was received and not delivered is not: the server sends it again. So it
//! does with what was delivered and not taken, of which the ids are kept.

use bytes::Bytes;
use cbcast::wire::{Reader, WireError, put_varint};
use cbcast::{MemberId, Message, MessageId, Snapshot};
use sha2::{Digest, Sha256};

use super::Session;
use super::config::SessionConfig;
use super::event::KeptError;
use super::membership::{Membership, group_of};
use super::names::Names;
use super::placement::Placement;
use super::recovery::CatchUp;
use crate::id::{Epoch, Position};
use crate::key::KeyPair;
use crate::wire::Limits;

const MAGIC: &[u8; 4] = b"CSKS";
/// Version that is written. 2: with the ids of what was delivered and not taken. 3: with a key, instead of a nonce and a
/// token.
const VERSION: u8 = 3;
const OLDEST: u8 = 1;
/// Bytes of a nonce, or of a token, of versions before 3.
const SECRET_BYTES: usize = 16;
/// Bytes of the SHA-256 of all before them, at the end.
const CHECKSUM_BYTES: usize = 16;

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
    /// Writes what [`restore`](Self::restore) makes the session of again. O(members + bytes on their way).
    ///
    /// Where nothing said may be lost or said twice it must be durable before a frame is sent that was polled after
    /// [`is_unkept`](Self::is_unkept) became true. It holds the member's key: who reads it can speak for the member.
    pub fn keep(&mut self) -> Vec<u8> {
        self.unkept = false;
        let mut out = [&MAGIC[..], &[VERSION]].concat();
        out.extend_from_slice(self.key.seed());
        put_varint(&mut out, Epoch::written(self.placement.epoch()));
        put_varint(&mut out, self.taken().get());
        let retold = self.receipts.to_retell();
        put_varint(&mut out, retold.len() as u64);
        retold.iter().for_each(|&id| put_id(&mut out, id));
        put_varint(&mut out, self.placement.seen().len() as u64);
        self.placement.seen().for_each(|id| put_id(&mut out, id));
        // Delivered, so nobody asks for it again.
        let ready: Vec<_> = self.placement.waiting().filter(|(_, id, _)| !retold.contains(id)).collect();
        put_varint(&mut out, ready.len() as u64);
        for (position, id, time_millis) in ready {
            put_varint(&mut out, position.get());
            put_id(&mut out, id);
            put_varint(&mut out, time_millis);
        }
        put_varint(&mut out, self.outbox.unsent().len() as u64);
        for (old, payload) in self.outbox.unsent() {
            out.push(u8::from(old.is_some()));
            old.iter().for_each(|&id| put_id(&mut out, id));
            put_bytes(&mut out, payload);
        }
        put_varint(&mut out, self.outbox.replacements().len() as u64);
        for (old, new) in self.outbox.replacements() {
            put_id(&mut out, old);
            out.push(u8::from(new.is_some()));
            new.iter().for_each(|&id| put_id(&mut out, id));
        }
        let rejoining = self.recovery.rejoining.as_deref();
        out.push(u8::from(rejoining.is_some()));
        put_bytes(&mut out, rejoining.unwrap_or("").as_bytes());
        out.push(u8::from(self.membership.is_some()));
        if let Some(m) = &self.membership {
            put_member(&mut out, m.member);
            put_varint(&mut out, m.epoch.number());
            let Limits { name_chars, text_bytes, frame_bytes, grace_millis } = m.limits;
            [name_chars, text_bytes, frame_bytes, grace_millis].iter().for_each(|&n| put_varint(&mut out, n));
            put_varint(&mut out, m.joined_at.get());
            out.push(u8::from(m.newcomer));
            m.group.snapshot().encode(&mut out);
            put_varint(&mut out, m.names.all().len() as u64);
            for (member, name, is_present) in m.names.all() {
                put_member(&mut out, member);
                out.push(u8::from(is_present));
                put_bytes(&mut out, name.as_bytes());
            }
            put_varint(&mut out, self.outbox.on_way().len() as u64);
            self.outbox.on_way().for_each(|message| put_bytes(&mut out, message.packet()));
        }
        let checksum = Sha256::digest(&out);
        out.extend_from_slice(&checksum[..CHECKSUM_BYTES]);
        out
    }

    /// Returns whether what must not be lost has changed since [`keep`](Self::keep): something was said, or the membership is
    /// another one.
    #[must_use]
    pub fn is_unkept(&self) -> bool {
        self.unkept
    }

    /// Returns the last position up to which everything is placed, and taken by the application if it
    /// [acknowledges](SessionConfig::acknowledges).
    #[must_use]
    pub fn taken(&self) -> Position {
        let placed = self.placement.placed();
        let acknowledged = self.receipts.acknowledged_to(self.placement.epoch());
        acknowledged.map_or(placed, |acknowledged| acknowledged.min(placed))
    }

    /// Makes the session that was kept, without a connection. It resumes its membership, and begins with
    /// [`Event::Welcomed`](super::Event::Welcomed) as any other; what was on its way follows, delivered once more to the application, and so does
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
        let (epoch, placed) = (Epoch::read(reader.varint()?), reader.varint()?);
        session.placement = Placement::restored(epoch, Position::new(placed));
        let retold = if body[0] < 2 { 0 } else { reader.varint()? };
        for _ in 0..retold {
            session.receipts.retell(id(reader)?);
        }
        for _ in 0..reader.varint()? {
            // What was delivered and not acknowledged has been seen in that life only.
            let id = id(reader)?;
            if !session.receipts.is_retold(id) {
                session.placement.see(id);
            }
        }
        for _ in 0..reader.varint()? {
            let (position, id) = (reader.varint()?, id(reader)?);
            session.placement.add(id, (Position::new(position), reader.varint()?));
        }
        for _ in 0..reader.varint()? {
            let old = if reader.byte()? == 0 { None } else { Some(id(reader)?) };
            session.outbox.push_unsent((old, reader.prefixed()?.to_vec()));
        }
        for _ in 0..reader.varint()? {
            let old = id(reader)?;
            let new = if reader.byte()? == 0 { None } else { Some(id(reader)?) };
            session.outbox.replace(old, new);
        }
        let (rejoining, reason) = (reader.byte()? != 0, text(reader)?);
        session.recovery.rejoining = rejoining.then_some(reason);
        if reader.byte()? != 0 {
            let (membership, own) = membership(&session.config, reader, body[0])?;
            for message in own {
                session.receipts.retell(message.id());
                session.outbox.push(message, None);
            }
            session.membership = Some(membership);
            session.recovery.catch_up = CatchUp::ToTheEnd;
        }
        session.recovery.is_restored = session.membership.is_some() || rejoining;
        Ok(session)
    }
}

/// Reads a membership, and the messages of it that are on their way.
fn membership(
    config: &SessionConfig,
    reader: &mut Reader<'_>,
    version: u8,
) -> Result<(Membership, Vec<Message>), KeptError> {
    let member_id = member(reader)?;
    if version < 3 {
        reader.take(SECRET_BYTES)?;
    }
    let epoch = Epoch::new(reader.varint()?);
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
    let mut own = Vec::new();
    for _ in 0..reader.varint()? {
        let packet = Bytes::copy_from_slice(reader.prefixed()?);
        own.push(Message::decode(packet).map_err(|_| KeptError::Damaged)?);
    }
    let group = group_of(config, &snapshot, member_id, &limits).map_err(|_| KeptError::Damaged)?;
    let fits = group.is_local(member_id) && own.iter().all(|message| group.has_delivered(message.id()));
    if !fits {
        return Err(KeptError::Damaged);
    }
    Ok((
        Membership {
            member: member_id,
            epoch,
            group,
            limits,
            joined_at: Position::new(joined_at),
            newcomer,
            names,
        },
        own,
    ))
}

#[cfg(test)]
mod tests {
    use cbcast::Time;

    use super::*;
    use crate::content::body::Body;

    /// Rewrites what was kept without a membership in the form of that version: nonces had 16 bytes, and the first version had no
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
}
