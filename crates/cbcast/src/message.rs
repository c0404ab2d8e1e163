//! A message on the wire: its stamp, what it says, and the bytes that are forwarded as they came.
//!
//! One long file: writing and reading of the layout stand side by side, since a change of the one is a change of the other.
//!
//! The stamp is *direct dependencies*: the sender's frontier without its own last message, which `seq` implies.
//! That is the transitive reduction of the vector that [BSS91, section 5.1] sends, and decides the same
//! deliveries: a listed message can only have been delivered after all of its own past (\[PRS97\]).
//!
//! ```text
//! packet  = kind(1 byte) sender.origin sender.ordinal stamp extra payload(rest)
//! stamp   = seq head dep{head >> 1} [groups{1..} group{groups}  if head & 1]
//! group   = origin count{1..} dep{count}
//! dep     = ordinal zigzag(dep.seq - seq)
//! extra   = Data: nothing   Joined: ordinal   Left: ordinal last_seq   Hosted: origin server
//!           Signed: flags(1 byte) signature(64) [links(32)  if flags & 1]
//!           Emptied: flags(1 byte) signature(64) [links(32)  if flags & 1] digest(32), and no payload
//!           Expelled: home clock
//! ```
//! All numbers are shortest-form LEB128. The first list holds dependencies on members of the sender's own
//! origin, each `group` those of another origin, origins ascending. Within a list the first `ordinal` is given
//! whole, each next one as the difference to the one before, less one: repeated or unsorted dependencies of one
//! origin cannot be written down. `Joined` and `Left` name members of the sender's origin.
//!
//! Signatures, links and digests are opaque here: the application makes and checks them, over
//! [`Message::signed_part`]. A *Data*, *Signed* and *Emptied* of one id are one message, in whatever form it comes
//! first. A salt, where an application wants one hashed with the payload, is the payload's beginning.

use alloc::vec::Vec;
use bytes::Bytes;
use thiserror::Error;

use crate::clock::VectorClock;
use crate::id::{MemberId, MessageId};
use crate::snapshot::COUNT_MAX;
use crate::wire::{
    Reader, WireError, put_varint, two_varints_at, unzigzag, varint_at, varint_at_short, zigzag,
};

/// Purpose of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The application's own: the payload is all there is.
    Data,
    /// The same with its author's signature.
    Signed(Signature),
    /// Rest of one of these when its payload is removed.
    Emptied {
        /// As it was signed; zeros if it was not.
        signature: Signature,
        /// The digest of the payload that was.
        payload: [u8; 32],
    },
    /// Its sender, a host, has admitted this member. Whoever delivers it knows the member from then on.
    Joined(MemberId),
    /// Its sender, a host, has parted with this member, whose last message was `last_seq` (0: none).
    Left {
        /// Member that left.
        member: MemberId,
        /// The number of its last message, which is in the past of this one.
        last_seq: u64,
    },
    /// Its sender, a host, has taken in another host. Of an origin that is known already it changes nothing.
    Hosted {
        /// The origin, of which no host has been known.
        origin: u32,
        /// The number of the server behind it, for the application.
        server: u32,
    },
    /// Its sender, a host, has parted with whole origins that will never speak again: their hosts and all whom they
    /// have admitted.
    Expelled {
        /// Origin where the application's decisions are made from now on, for the application.
        home: u32,
        /// Number of messages that count of each member of these origins. All their hosts are in it, be it at 0.
        counts: VectorClock,
    },
}

/// Signature of an author, opaque to this crate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Signature {
    /// The signature.
    pub signature: [u8; 64],
    /// The digest of what came before, where the author cannot rely on others to know it.
    pub links: Option<[u8; 32]>,
}

impl Signature {
    /// The place of a signature where there was none.
    pub const NONE: Self = Self { signature: [0; 64], links: None };
}

const DATA: u8 = 0;
const JOINED: u8 = 1;
const LEFT: u8 = 2;
const SIGNED: u8 = 3;
const EMPTIED: u8 = 4;
const HOSTED: u8 = 5;
const EXPELLED: u8 = 6;

/// The flag of a *Signed* or *Emptied* that has links.
const LINKS: u8 = 1;

/// Reason why bytes are not a message, or a stamp cannot be one. Nothing was changed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end in the middle, or an integer is malformed.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A kind of message that this version does not know.
    #[error("unknown kind of message {0}")]
    UnknownKind(u8),
    /// Sequence numbers start at 1.
    #[error("sequence number 0")]
    SeqZero,
    /// A dependency on message 0 or below, or beyond 64 bits.
    #[error("a dependency's sequence number is out of range")]
    DependencyRange,
    /// A member or an origin is listed twice or out of order.
    #[error("dependencies are repeated or not sorted")]
    DependenciesUnsorted,
    /// The sender's own messages are implied by `seq`, never listed.
    #[error("the sender is listed among its own dependencies")]
    DependencyOnSender,
    /// Only a host announces members and other hosts, and no host announces itself.
    #[error("members are announced by the host of their origin only, and hosts by another")]
    NotHost,
    /// The checksum behind the packet is that of other bytes: it was changed on its way.
    #[error("the packet was changed on its way: its checksum does not fit")]
    Checksum,
    /// A flag that this version does not know.
    #[error("unknown flags {0:#04x}")]
    UnknownFlags(u8),
    /// An emptied message has a payload.
    #[error("an emptied message has a payload")]
    NotEmpty,
    /// Origins are expelled without their hosts, or not at all.
    #[error("an origin is expelled without its host")]
    ExpelledWithoutHost,
    /// More than the whole packet may have.
    #[error("the message has {length} bytes, the limit is {limit}")]
    TooLong {
        /// Length that it has.
        length: usize,
        /// Length that it may have.
        limit: usize,
    },
}

/// No packet is longer, whatever the configuration says: offsets are kept in 32 bits.
pub const PACKET_BYTES_MAX: usize = 1 << 30;

/// A whole, checked message: made by [`Message::new`] or [`Message::decode`] only, so what is held is valid.
///
/// Cloning shares the bytes.
#[derive(Clone, Eq, PartialEq)]
pub struct Message {
    packet: Bytes,
    id: MessageId,
    stamp: Stamp,
}

/// Findings of decoding a packet, so that it need not be read again: 24 bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stamp {
    /// Offset of the end of the dependencies.
    extra_at: u32,
    /// Offset of their head.
    deps_at: u8,
    /// Number of dependencies in `few`, which are all there are. `MANY`: they stand in the packet only. `ANNOUNCES`:
    /// so they do, and the message is not data. (Reading the packet for that would wait for memory.)
    count: u8,
    few: [Few; FEW],
}

/// A dependency on a member of the sender's origin.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Few {
    ordinal: u32,
    /// Its `seq`, less that of the message.
    difference: i32,
}

/// The list of dependencies on members of the sender's origin, while it is checked.
struct List {
    at: usize,
    next_ordinal: u64,
}

impl List {
    /// `None` if anything about the next one is wrong or unusual. `seq` is at most [`COUNT_MAX`].
    #[inline(always)]
    fn try_next(&mut self, packet: &[u8], sender: u64, seq: u64) -> Option<Few> {
        let (further, difference, end) = two_varints_at(packet, self.at)?;
        self.at = end;
        let ordinal = further.saturating_add(self.next_ordinal);
        let difference = i32::try_from(unzigzag(difference)).ok()?;
        if ordinal > u32::MAX.into() || ordinal == sender || seq as i64 + i64::from(difference) <= 0 {
            return None;
        }
        self.next_ordinal = ordinal + 1;
        Some(Few { ordinal: ordinal as u32, difference })
    }
}

/// In a conversation hardly any message has more.
const FEW: usize = 2;

const MANY: u8 = u8::MAX;
const ANNOUNCES: u8 = MANY - 1;

impl Message {
    /// Writes a message down. `deps` must be sorted by [`MemberId`], without repetition and without the sender.
    ///
    /// Cost: O(deps) and one allocation.
    ///
    /// # Errors
    /// [`DecodeError`], as if the bytes had arrived.
    pub fn new(id: MessageId, kind: Kind, deps: &[MessageId], payload: &[u8]) -> Result<Self, DecodeError> {
        if deps.windows(2).any(|w| w[0].member >= w[1].member) {
            return Err(DecodeError::DependenciesUnsorted);
        }
        if id.seq == 0 {
            return Err(DecodeError::SeqZero);
        }
        let sender = id.member;
        let mut out = Vec::with_capacity(32 + 6 * deps.len() + payload.len());
        out.push(kind.tag());
        put_varint(&mut out, sender.origin.into());
        put_varint(&mut out, sender.ordinal.into());
        put_varint(&mut out, id.seq);
        let own = deps.iter().filter(|d| d.member.origin == sender.origin);
        let foreign = || deps.chunk_by(|a, b| a.member.origin == b.member.origin);
        let groups = foreign().filter(|g| g[0].member.origin != sender.origin).count();
        put_varint(&mut out, (own.clone().count() as u64) << 1 | u64::from(groups > 0));
        put_deps(&mut out, id.seq, own)?;
        if groups > 0 {
            put_varint(&mut out, groups as u64);
            for group in foreign().filter(|g| g[0].member.origin != sender.origin) {
                put_varint(&mut out, group[0].member.origin.into());
                put_varint(&mut out, group.len() as u64);
                put_deps(&mut out, id.seq, group.iter())?;
            }
        }
        kind.put_extra(sender, &mut out)?;
        out.extend_from_slice(payload);
        Self::decode(Bytes::from(out))
    }

    /// The *Signed* form of a *Data* message. One allocation.
    ///
    /// # Errors
    /// [`DecodeError::UnknownKind`] names the kind of a message that is not *Data*.
    pub fn signed(&self, signature: Signature) -> Result<Self, DecodeError> {
        match self.packet[0] {
            DATA => self.with_extra(&Kind::Signed(signature), &self.payload()),
            kind => Err(DecodeError::UnknownKind(kind)),
        }
    }

    /// Returns what stays of a *Data* or *Signed* message when its payload is removed: `payload` is the payload's digest. One
    /// allocation.
    ///
    /// # Errors
    /// [`DecodeError::UnknownKind`] names the kind of another message.
    pub fn emptied(&self, payload: [u8; 32]) -> Result<Self, DecodeError> {
        let signature = match self.kind() {
            Kind::Data => Signature::NONE,
            Kind::Signed(signature) => signature,
            kind => return Err(DecodeError::UnknownKind(kind.tag())),
        };
        self.with_extra(&Kind::Emptied { signature, payload }, b"")
    }

    /// The same id and stamp under another kind.
    fn with_extra(&self, kind: &Kind, payload: &[u8]) -> Result<Self, DecodeError> {
        let head = &self.packet[1..self.stamp.extra_at as usize];
        let mut out = Vec::with_capacity(1 + head.len() + EXTRA_MAX + payload.len());
        out.push(kind.tag());
        out.extend_from_slice(head);
        kind.put_extra(self.id.member, &mut out)?;
        out.extend_from_slice(payload);
        Self::decode(Bytes::from(out))
    }

    /// Returns what a digest or a signature of the message covers beside its payload, in two pieces: the kind, in which
    /// *Signed* and *Emptied* are written as *Data*; and author, stamp and, of what hosts say, the fields that tell whom it
    /// is about.
    #[must_use]
    pub fn signed_part(&self) -> (u8, &[u8]) {
        match self.packet[0] {
            DATA | SIGNED | EMPTIED => (DATA, &self.packet[1..self.stamp.extra_at as usize]),
            kind => (kind, &self.packet[1..self.kind_and_payload().1]),
        }
    }

    /// Checks a whole packet and keeps it. Cost: O(deps), no allocation.
    ///
    /// # Errors
    /// [`DecodeError`] says what is wrong with it.
    #[inline(always)]
    pub fn decode(packet: Bytes) -> Result<Self, DecodeError> {
        match Self::decode_common(&packet) {
            Some((id, stamp)) => Ok(Self { packet, id, stamp }),
            None => {
                let (id, stamp) = Self::decode_any(&packet)?;
                Ok(Self { packet, id, stamp })
            }
        }
    }

    /// Most packets: data, dependencies of the sender's own origin only, nothing wrong. `None`: look closer.
    #[inline(always)]
    fn decode_common(packet: &[u8]) -> Option<(MessageId, Stamp)> {
        if packet.len() > PACKET_BYTES_MAX || *packet.first()? != DATA {
            return None;
        }
        let (origin, at) = varint_at(packet, 1)?;
        let (sender, at) = varint_at_short(packet, at)?;
        let (seq, deps_at) = varint_at_short(packet, at)?;
        let (head, at) = varint_at(packet, deps_at)?;
        let id = MessageId::new(MemberId::new(u32::try_from(origin).ok()?, u32::try_from(sender).ok()?), seq);
        if seq == 0 || seq > COUNT_MAX || head & 1 == 1 || head > packet.len() as u64 {
            return None;
        }
        let dependencies = head >> 1;
        let mut few = [Few::default(); FEW];
        let mut list = List { at, next_ordinal: 0 };
        if dependencies > 0 {
            few[0] = list.try_next(packet, sender, seq)?;
        }
        if dependencies > 1 {
            few[1] = list.try_next(packet, sender, seq)?;
        }
        for _ in FEW as u64..dependencies {
            list.try_next(packet, sender, seq)?;
        }
        let count = if dependencies > FEW as u64 { MANY } else { dependencies as u8 };
        Some((id, Stamp { extra_at: list.at as u32, deps_at: deps_at as u8, count, few }))
    }

    #[cold]
    fn decode_any(packet: &[u8]) -> Result<(MessageId, Stamp), DecodeError> {
        if packet.len() > PACKET_BYTES_MAX {
            return Err(DecodeError::TooLong { length: packet.len(), limit: PACKET_BYTES_MAX });
        }
        let mut reader = Reader::new(packet);
        let kind = reader.byte()?;
        let sender = MemberId::new(reader.varint_u32()?, reader.varint_u32()?);
        let id = MessageId::new(sender, reader.varint()?);
        if id.seq == 0 {
            return Err(DecodeError::SeqZero);
        }
        // Behind four fields that have no more than 21 bytes.
        let deps_at = reader.position() as u8;
        let head = reader.varint_u32()?;
        let mut cursor = DepCursor::start(id, head.into(), reader.position());
        while cursor.try_next(packet, id)?.is_some() {}
        let extra_at = cursor.at;
        let mut reader = Reader::starting(packet, extra_at as usize);
        Kind::read(kind, sender, &mut reader)?.check(sender, reader.rest())?;
        let count = if matches!(kind, DATA | SIGNED | EMPTIED) { MANY } else { ANNOUNCES };
        Ok((id, Stamp { extra_at, deps_at, count, few: [Few::default(); FEW] }))
    }

    /// Returns who sent it, and which of the sender's messages it is.
    #[must_use]
    pub const fn id(&self) -> MessageId {
        self.id
    }

    /// Returns the purpose of the message.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind_and_payload().0
    }

    /// Returns the payload: what the application said. Shares the packet's bytes.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        self.packet.slice(self.kind_and_payload().1..)
    }

    fn kind_and_payload(&self) -> (Kind, usize) {
        let mut reader = Reader::starting(&self.packet, self.stamp.extra_at as usize);
        let kind = Kind::read(self.packet[0], self.id.member, &mut reader).expect("checked by decode");
        (kind, reader.position())
    }

    /// Returns whether a member says something, in whatever form: *Data*, *Signed* or *Emptied*; not a host who comes and goes. O(1).
    #[inline(always)]
    #[must_use]
    pub fn is_data(&self) -> bool {
        self.stamp.count != ANNOUNCES
    }

    /// The direct dependencies: the messages its author had delivered last of each branch, its own excepted.
    /// Those on members of the sender's origin come first, each list sorted.
    #[must_use]
    pub fn deps(&self) -> Deps<'_> {
        let stamp = self.stamp();
        Deps { stamp, cursor: stamp.cursor() }
    }

    /// The bytes, to store, forward or send again.
    #[must_use]
    pub const fn packet(&self) -> &Bytes {
        &self.packet
    }

    /// The bytes, without a copy.
    #[must_use]
    pub fn into_packet(self) -> Bytes {
        self.packet
    }

    /// Returns how many bytes of the packet are the stamp: `seq` and the dependencies.
    #[must_use]
    pub fn stamp_bytes(&self) -> usize {
        let mut reader = Reader::new(&self.packet[1..]);
        for _ in 0..2 {
            reader.varint().expect("checked by decode");
        }
        self.stamp.extra_at as usize - 1 - reader.position()
    }

    #[inline]
    pub(crate) fn stamp(&self) -> StampRef<'_> {
        StampRef { packet: &self.packet, id: &self.id, stamp: &self.stamp }
    }

    /// Without what can be told from where it is kept.
    #[inline]
    pub(crate) fn into_parts(self) -> (Bytes, Stamp) {
        (self.packet, self.stamp)
    }

    /// Returns the same in a buffer of its own.
    pub(crate) fn detached(&self) -> Self {
        Self { packet: Bytes::copy_from_slice(&self.packet), ..*self }
    }

    /// Rebuilds message `id` from its parts.
    #[inline]
    pub(crate) fn from_parts(packet: Bytes, id: MessageId, stamp: Stamp) -> Self {
        Self { packet, id, stamp }
    }
}

/// More bytes than the fields of a *Signed* or *Emptied* take.
const EXTRA_MAX: usize = 1 + 64 + 32 + 32;

impl Kind {
    const fn tag(&self) -> u8 {
        match self {
            Self::Data => DATA,
            Self::Joined(_) => JOINED,
            Self::Left { .. } => LEFT,
            Self::Signed(_) => SIGNED,
            Self::Emptied { .. } => EMPTIED,
            Self::Hosted { .. } => HOSTED,
            Self::Expelled { .. } => EXPELLED,
        }
    }

    /// Writes what stands between stamp and payload.
    fn put_extra(&self, sender: MemberId, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let put_signature = |out: &mut Vec<u8>, signature: &Signature| {
            out.push(if signature.links.is_some() { LINKS } else { 0 });
            out.extend_from_slice(&signature.signature);
            out.extend_from_slice(signature.links.as_ref().map_or(&[], |links| &links[..]));
        };
        match self {
            Self::Data => {}
            Self::Joined(member) | Self::Left { member, .. } => {
                if member.origin != sender.origin {
                    return Err(DecodeError::NotHost);
                }
                put_varint(out, member.ordinal.into());
                if let Self::Left { last_seq, .. } = self {
                    put_varint(out, *last_seq);
                }
            }
            Self::Signed(signature) => put_signature(out, signature),
            Self::Emptied { signature, payload } => {
                put_signature(out, signature);
                out.extend_from_slice(payload);
            }
            Self::Hosted { origin, server } => {
                put_varint(out, (*origin).into());
                put_varint(out, (*server).into());
            }
            Self::Expelled { home, counts } => {
                put_varint(out, (*home).into());
                counts.encode(out);
            }
        }
        Ok(())
    }

    /// Reads what stands between stamp and payload.
    fn read(tag: u8, sender: MemberId, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        fn array<const N: usize>(reader: &mut Reader<'_>) -> Result<[u8; N], WireError> {
            let mut bytes = [0; N];
            bytes.copy_from_slice(reader.take(N)?);
            Ok(bytes)
        }
        let signature = |reader: &mut Reader<'_>| {
            let flags = reader.byte()?;
            if flags & !LINKS != 0 {
                return Err(DecodeError::UnknownFlags(flags));
            }
            let signature = array(reader)?;
            let links = (flags & LINKS != 0).then(|| array(reader)).transpose()?;
            Ok(Signature { signature, links })
        };
        let member =
            |reader: &mut Reader<'_>| Ok::<_, WireError>(MemberId::new(sender.origin, reader.varint_u32()?));
        Ok(match tag {
            DATA => Self::Data,
            JOINED => Self::Joined(member(reader)?),
            LEFT => Self::Left { member: member(reader)?, last_seq: reader.varint()? },
            SIGNED => Self::Signed(signature(reader)?),
            EMPTIED => Self::Emptied { signature: signature(reader)?, payload: array(reader)? },
            HOSTED => Self::Hosted { origin: reader.varint_u32()?, server: reader.varint_u32()? },
            EXPELLED => Self::Expelled { home: reader.varint_u32()?, counts: VectorClock::decode(reader)? },
            kind => return Err(DecodeError::UnknownKind(kind)),
        })
    }

    /// Returns whether `sender` may say it, with this payload.
    fn check(&self, sender: MemberId, payload: &[u8]) -> Result<(), DecodeError> {
        let may = match self {
            Self::Data | Self::Signed(_) => true,
            Self::Emptied { .. } if payload.is_empty() => true,
            Self::Emptied { .. } => return Err(DecodeError::NotEmpty),
            Self::Joined(member) | Self::Left { member, .. } => sender.is_host() && !member.is_host(),
            Self::Hosted { origin, .. } => sender.is_host() && *origin != sender.origin,
            Self::Expelled { counts, .. } => {
                let mut expelled = None;
                for (member, _) in counts.iter() {
                    if !member.is_host() && expelled != Some(member.origin) {
                        return Err(DecodeError::ExpelledWithoutHost);
                    }
                    expelled = Some(member.origin);
                }
                if counts.is_empty() {
                    return Err(DecodeError::ExpelledWithoutHost);
                }
                sender.is_host() && !counts.knows(sender)
            }
        };
        if may { Ok(()) } else { Err(DecodeError::NotHost) }
    }
}

impl core::fmt::Debug for Message {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("kind", &self.kind())
            .field("deps", &self.deps().collect::<Vec<_>>())
            .field("packet_bytes", &self.packet.len())
            .finish()
    }
}

fn put_deps<'a>(
    out: &mut Vec<u8>,
    seq: u64,
    deps: impl Iterator<Item = &'a MessageId>,
) -> Result<(), DecodeError> {
    let mut next_ordinal = 0;
    for dep in deps {
        put_varint(out, u64::from(dep.member.ordinal) - next_ordinal);
        next_ordinal = u64::from(dep.member.ordinal) + 1;
        let difference = i128::from(dep.seq) - i128::from(seq);
        let difference = i64::try_from(difference).map_err(|_| DecodeError::DependencyRange)?;
        put_varint(out, zigzag(difference));
    }
    Ok(())
}

/// The direct dependencies of a message. See [`Message::deps`].
#[derive(Clone, Debug)]
pub struct Deps<'a> {
    stamp: StampRef<'a>,
    cursor: DepCursor,
}

impl Iterator for Deps<'_> {
    type Item = MessageId;

    fn next(&mut self) -> Option<MessageId> {
        self.stamp.next_dep(&mut self.cursor)
    }
}

/// The stamp of a message, to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StampRef<'a> {
    packet: &'a Bytes,
    id: &'a MessageId,
    stamp: &'a Stamp,
}

impl<'a> StampRef<'a> {
    #[inline]
    pub(crate) fn new(packet: &'a Bytes, id: &'a MessageId, stamp: &'a Stamp) -> Self {
        Self { packet, id, stamp }
    }

    #[inline(always)]
    pub(crate) fn origin(self) -> u32 {
        self.id.member.origin
    }

    /// Its dependencies, if there are few.
    #[inline(always)]
    pub(crate) fn few(self) -> Option<impl Iterator<Item = MessageId> + 'a> {
        let few = self.stamp.few.get(..self.stamp.count.into())?;
        Some(few.iter().map(move |few| self.dep(self.origin(), few.ordinal, few.difference.into())))
    }

    /// Before the first dependency.
    #[inline]
    pub(crate) fn cursor(self) -> DepCursor {
        let (head, at) = varint_at(self.packet, self.stamp.deps_at.into()).expect("checked by decode");
        DepCursor::start(*self.id, head, at)
    }

    #[inline]
    pub(crate) fn next_dep(self, cursor: &mut DepCursor) -> Option<MessageId> {
        while cursor.left == 0 {
            *cursor = self.next_list(*cursor)?;
        }
        Some(self.next_in_list(cursor))
    }

    /// The next dependency on a member of the same origin. There must be one.
    #[inline(always)]
    pub(crate) fn next_in_list(self, cursor: &mut DepCursor) -> MessageId {
        let next = two_varints_at(self.packet, cursor.at as usize);
        let (further, difference, at) = next.expect("checked by decode");
        let ordinal = cursor.next_ordinal + further;
        cursor.next_ordinal = ordinal + 1;
        cursor.left -= 1;
        cursor.at = at as u32;
        self.dep(cursor.origin, ordinal as u32, unzigzag(difference))
    }

    /// Behind a list: the next one, which is not empty.
    #[inline]
    pub(crate) fn next_list(self, cursor: DepCursor) -> Option<DepCursor> {
        let another = cursor.groups > 0;
        another.then(|| cursor.open_group(self.packet, *self.id).expect("checked by decode"))
    }

    #[inline(always)]
    fn dep(self, origin: u32, ordinal: u32, difference: i64) -> MessageId {
        MessageId::new(MemberId::new(origin, ordinal), self.id.seq.wrapping_add_signed(difference))
    }
}

/// Position in a stamp's dependencies: enough to go on later without starting again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DepCursor {
    at: u32,
    /// Dependencies left in this list.
    pub(crate) left: u32,
    /// Lists of other origins left; `UNREAD` while their number has not been read.
    groups: u32,
    pub(crate) origin: u32,
    /// One more than the last ordinal of this list.
    next_ordinal: u64,
}

const UNREAD: u32 = u32::MAX;

impl DepCursor {
    /// Behind the head of a stamp, which ends at `at`.
    #[inline(always)]
    const fn start(id: MessageId, head: u64, at: usize) -> Self {
        let groups = if head & 1 == 1 { UNREAD } else { 0 };
        Self { at: at as u32, left: (head >> 1) as u32, groups, origin: id.member.origin, next_ordinal: 0 }
    }

    /// The next dependency of a packet that may be anything.
    fn try_next(&mut self, packet: &[u8], id: MessageId) -> Result<Option<MessageId>, DecodeError> {
        if self.left == 0 {
            if self.groups == 0 {
                return Ok(None);
            }
            *self = self.open_group(packet, id)?;
        }
        let mut reader = Reader::starting(packet, self.at as usize);
        let ordinal = self.next_ordinal + reader.varint()?.min(u64::from(u32::MAX) + 1);
        self.next_ordinal = ordinal + 1;
        let ordinal = u32::try_from(ordinal).map_err(|_| WireError::Integer)?;
        let member = MemberId::new(self.origin, ordinal);
        if member == id.member {
            return Err(DecodeError::DependencyOnSender);
        }
        let seq = id.seq.checked_add_signed(unzigzag(reader.varint()?));
        let seq = seq.filter(|&s| s > 0).ok_or(DecodeError::DependencyRange)?;
        self.left -= 1;
        self.at = reader.position() as u32;
        Ok(Some(MessageId::new(member, seq)))
    }

    /// Goes on to the list of another origin; none is empty.
    #[cold]
    fn open_group(mut self, packet: &[u8], id: MessageId) -> Result<Self, DecodeError> {
        let mut reader = Reader::starting(packet, self.at as usize);
        let first = self.groups == UNREAD;
        if first {
            self.groups = reader.varint_u32()?;
            if self.groups == 0 || self.groups == UNREAD {
                return Err(WireError::Integer.into());
            }
        }
        let origin = reader.varint_u32()?;
        if origin == id.member.origin || (!first && origin <= self.origin) {
            return Err(DecodeError::DependenciesUnsorted);
        }
        self.origin = origin;
        self.groups -= 1;
        self.next_ordinal = 0;
        self.left = reader.varint_u32()?;
        if self.left == 0 {
            return Err(WireError::Integer.into());
        }
        self.at = reader.position() as u32;
        Ok(self)
    }
}

#[cfg(test)]
mod tests;
