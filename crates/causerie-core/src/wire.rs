//! The native protocol's frames: what goes over a connection, byte for byte. The specification is
//! `docs/protocol.md`.
//!
//! A connection starts with [`MAGIC`]; then both sides send frames, `length kind body`. A frame of an unknown
//! kind is skipped, and so are bytes after the fields that a version knows: both are how the protocol grows.

use bytes::{Buf, Bytes, BytesMut};
use cbcast::wire::{Reader, put_varint};
use cbcast::{MemberId, MessageId, MissingRange, Snapshot, VectorClock, WireError};
use thiserror::Error;

use crate::key::{Challenge, Proof};

/// The first bytes of a native connection. The first is no ASCII, and the second does not continue it as UTF-8.
pub const MAGIC: [u8; 4] = [0xCB, b'C', b'S', b'R'];

/// The version spoken here. See [`Hello`](ClientFrame::Hello).
pub const VERSION: u64 = 2;

/// Frames from the client.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientFrame {
    /// The first frame: which versions the client speaks, and what it is.
    Hello {
        /// The oldest version.
        oldest: u64,
        /// The newest version.
        newest: u64,
        /// Name and version of the program, for the server's log.
        agent: String,
    },
    /// Become a member of a room.
    Join {
        /// The room's name.
        room: String,
        /// The member's name.
        name: String,
        /// The key of the membership that it is to become. Repeated with the same key, a join gets the same member.
        proof: Proof,
        /// Create the room if it does not exist.
        create: bool,
        /// The key that may close the room then, beside the operator.
        maker: Option<Proof>,
        /// Send the records after this position first, if they are still there; `None`: the usual tail.
        after: Option<u64>,
        /// Of which log that is a position: the [`Welcome::epoch`] it came from. Another log: the usual tail.
        epoch: u64,
    },
    /// Go on as a member after a broken connection.
    Resume {
        /// The room's name.
        room: String,
        /// Who the client is.
        member: MemberId,
        /// The key that it joined with.
        proof: Proof,
        /// The epoch from the welcome.
        epoch: u64,
        /// The last contiguous position that has come off a connection.
        position: u64,
        /// What the client has delivered.
        clock: VectorClock,
    },
    /// A message of the member: a whole `cbcast` packet.
    Broadcast(Bytes),
    /// Say *Left* once everything up to this number has been delivered.
    Leave {
        /// The number of the member's last message.
        last_seq: u64,
    },
    /// Answer with a pong.
    Ping(u64),
    /// Which rooms are there?
    ListRooms,
    /// Make a room.
    CreateRoom {
        /// Its name; may be empty with `port`: then it is named by its port.
        name: String,
        /// Give it a port of its own, for classic clients.
        port: bool,
        /// The key that may close the room, beside the operator.
        maker: Option<Proof>,
        /// Nothing of it is kept once it is closed, unless the server was started again meanwhile.
        temporary: bool,
    },
    /// Close a room: who has the key that it was made with may, and the operator.
    CloseRoom {
        /// Its name.
        name: String,
        /// The operator's token, or empty.
        operator: String,
        /// The key that it was made with.
        maker: Option<Proof>,
    },
    /// Which rooms were closed and are kept for a while? For the operator.
    ListClosedRooms {
        /// The operator's token.
        operator: String,
    },
    /// Open a closed room again. For the operator.
    OpenRoom {
        /// Its name.
        name: String,
        /// The operator's token.
        operator: String,
        /// Its [number](ClosedRoom::number); without one, the room of that name that was closed last.
        number: Option<u64>,
    },
    /// Send these again.
    Want(Vec<MissingRange>),
    /// What the client has delivered. Answered with the server's clock.
    Clock(VectorClock),
    /// Who is in the room?
    ListMembers,
    /// What was said in a room? Answered with a page.
    History(HistoryQuestion),
    /// What the member has held and delivered of others' messages, for those who watch. On the wire the clocks of what is
    /// held stand behind all else.
    Observed {
        /// In order.
        seen: Vec<Observation>,
        /// How many more there were since the frame before, which are not told.
        left_out: u64,
    },
    /// The position up to which all records are delivered here.
    Acknowledge(u64),
    /// Tell from now on, while this connection lasts, up to where members have delivered.
    FollowStable,
}

/// What has happened to a message at a member.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Observation {
    /// Which message.
    pub message: MessageId,
    /// What.
    pub what: Observed,
}

/// What happens to messages that arrive.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Observed {
    /// It was delivered.
    Delivered {
        /// For how long it had been held back, in milliseconds; `None`: it was not.
        held_millis: Option<u64>,
    },
    /// It is held back.
    Held {
        /// For how long by now, in milliseconds.
        held_millis: u64,
        /// A cause that has not been delivered.
        waits_for: MessageId,
        /// What had been delivered there then, if it is told.
        clock: Option<VectorClock>,
    },
}

impl Observed {
    /// What had been delivered at the member when the message was held, if that is told.
    #[must_use]
    pub fn clock(&self) -> Option<&VectorClock> {
        match self {
            Self::Held { clock, .. } => clock.as_ref(),
            Self::Delivered { .. } => None,
        }
    }
}

/// Which records of a room's log are asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HistoryQuestion {
    /// The room's name.
    pub room: String,
    /// Of which log a position is: the [`Page::epoch`] it came from. 0: of whichever there is.
    pub epoch: u64,
    /// On which side of the place.
    pub direction: Direction,
    /// From where.
    pub place: Place,
    /// How many records at most; the server has a limit of its own.
    pub limit: u64,
    /// How long the answer may wait, in milliseconds, where it would have nothing behind the place.
    pub wait_millis: u64,
}

/// On which side of a [`Place`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// The records before it, up to it.
    Before,
    /// The records behind it, from it on.
    After,
    /// It, and as many on either side.
    Around,
}

/// A place in a room's log: a record, or between two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// Behind the last record.
    End,
    /// The record at this position; 0 is before the first, and what lies beyond the end is the end.
    Position(u64),
    /// The record of this message.
    Message(MessageId),
    /// Before the first record that the server delivered at this time or later, in milliseconds since 1970.
    Time(u64),
}

/// Frames from the server.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerFrame {
    /// The answer to the client's hello.
    Hello {
        /// The version that both speak from now on.
        version: u64,
        /// Name and version of the server.
        agent: String,
        /// What the client's keys sign on this connection.
        challenge: Challenge,
    },
    /// The client is a member.
    Welcome(Box<Welcome>),
    /// The client goes on as the member that it was; the log goes on behind the position that it presented.
    Resumed {
        /// The greatest number taken of the member's messages: it goes on from there.
        taken: u64,
        /// The log's last position.
        position: u64,
    },
    /// A record of the room's log: a message that the server has delivered.
    Delivered(Delivered),
    /// *Left* has been said, as asked.
    Parted {
        /// The member's last message.
        taken: u64,
    },
    /// The answer to a ping.
    Pong(u64),
    /// The rooms there are.
    Rooms(Vec<RoomInfo>),
    /// A room was made.
    RoomCreated(RoomInfo),
    /// A room was closed, as asked.
    RoomClosed {
        /// Its name.
        name: String,
    },
    /// Send these again.
    Want(Vec<MissingRange>),
    /// What the server has delivered.
    Clock(VectorClock),
    /// Who is in the room.
    Members(Vec<MemberInfo>),
    /// A message of the member was refused.
    Refused {
        /// Its number; 0 if the packet could not be read.
        seq: u64,
        /// The same bytes can never be taken: the membership ends. Otherwise: again, later.
        is_final: bool,
        /// Why, for people.
        reason: String,
    },
    /// Something went wrong.
    Error(ErrorFrame),
    /// A part of a room's log, as asked for.
    Page(Page),
    /// Wishes of others to be told something by the member.
    Watched(Watched),
    /// The rooms that were closed and are kept for a while.
    ClosedRooms(Vec<ClosedRoom>),
    /// Up to where members have delivered the log.
    Stable(Stable),
}

/// Wishes of others to be told something by a member.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Watched {
    /// Its [observations](ClientFrame::Observed).
    pub observations: bool,
    /// Its [acknowledgements](ClientFrame::Acknowledge).
    pub acknowledgements: bool,
}

/// Members that a [`Stable`] names at most.
pub const BEHIND_MAX: usize = 16;

/// Up to where the members who are in have delivered the log.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Stable {
    /// All have delivered up to here, but for those who are behind.
    pub position: u64,
    /// Those who are known to have delivered less, and how much; [`BEHIND_MAX`] at most.
    pub behind: Vec<(MemberId, u64)>,
}

/// A room that was closed and is kept for a while.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClosedRoom {
    /// Its name.
    pub name: String,
    /// When it was closed, in milliseconds since 1970.
    pub closed_millis: u64,
    /// Until when it is kept.
    pub until_millis: u64,
    /// Its number, among others that had its name.
    pub number: u64,
}

/// A part of a room's log: each of its positions is that of a record, or within a gap.
/// [`HistoryPage`](crate::log::page::HistoryPage) reads it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Page {
    /// The room's name.
    pub room: String,
    /// Which log this is.
    pub epoch: u64,
    /// Its first position. There is more before it if this is greater than 1.
    pub from: u64,
    /// Its last position; `from - 1` if it has none. There is more behind it if this is less than `end`.
    pub to: u64,
    /// The first position that the server keeps: gaps before it were removed, others are damaged.
    pub kept: u64,
    /// The log's last position.
    pub end: u64,
    /// Positions that cannot be read: first and last of each stretch, ascending.
    pub gaps: Vec<(u64, u64)>,
    /// Who has said the texts in it, and who leaves in it, present or departed; by member id.
    pub names: Vec<MemberInfo>,
    /// Records whose text is another than was said, and whether it is none: the author has edited it, or taken it back.
    pub revised: Vec<(u64, bool)>,
    /// The records, as whole [`Delivered`] frames, revised ones with the text that stands.
    pub records: Bytes,
}

/// What a new member starts from.
#[derive(Clone, Debug, PartialEq)]
pub struct Welcome {
    /// The room's name.
    pub room: String,
    /// Whether the room was created by this join.
    pub created: bool,
    /// Who the client is now.
    pub member: MemberId,
    /// Which log this is, drawn at random when the room was made, and again when it had to begin anew: positions mean
    /// something within it only.
    pub epoch: u64,
    /// The position of the snapshot's cut: records up to it are history, those behind it are live.
    pub position: u64,
    /// The first position that will be sent.
    pub first: u64,
    /// The first position that the client asked for and that is no longer there, if any: records from here to
    /// `first - 1` are gone.
    pub gap_from: Option<u64>,
    /// The state at `position`.
    pub snapshot: Snapshot,
    /// Who is in, in order of joining, and then the departed whose messages are among the history.
    pub members: Vec<MemberInfo>,
    /// What the room allows.
    pub limits: Limits,
    /// If the client named a place in a log: up to where this one is the same. `None`: it shares nothing with what the
    /// client knows.
    pub shared: Option<u64>,
}

/// What a room allows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Characters of a name.
    pub name_chars: u64,
    /// Bytes of a message's text.
    pub text_bytes: u64,
    /// Bytes of a frame, its length field not counted.
    pub frame_bytes: u64,
    /// How long a member may be away before it is declared left, in milliseconds.
    pub grace_millis: u64,
}

/// A record of a room's log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivered {
    /// Its place in the room's order, from 1, without holes.
    pub position: u64,
    /// The server's wall clock at delivery, in milliseconds since 1970: for people, never for order.
    pub time_millis: u64,
    /// The `cbcast` packet, as its author wrote it.
    pub packet: Bytes,
}

/// One member, for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemberInfo {
    /// Who.
    pub member: MemberId,
    /// What it is called.
    pub name: String,
    /// Whether it is in the room (a departed one is listed to give its old messages a name).
    pub present: bool,
}

/// One room.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RoomInfo {
    /// Its name.
    pub name: String,
    /// Its own port, if it has one.
    pub port: Option<u16>,
    /// How many members are in.
    pub members: u64,
}

/// Something went wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ErrorFrame {
    /// What.
    pub code: ErrorCode,
    /// The server closes the connection behind this frame.
    pub fatal: bool,
    /// A sentence for people.
    pub message: String,
    /// [`NameTaken`](ErrorCode::NameTaken): a name that is free. Otherwise empty.
    pub suggestion: String,
    /// [`Expired`](ErrorCode::Expired): the greatest number taken of the member's messages. Otherwise 0.
    pub taken: u64,
}

impl ErrorFrame {
    /// An error after which the connection goes on.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, fatal: false, message: message.into(), suggestion: String::new(), taken: 0 }
    }

    /// An error after which the connection ends.
    #[must_use]
    pub fn fatal(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { fatal: true, ..Self::new(code, message) }
    }
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// What went wrong, by number.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
            /// A number that this version does not know.
            Other(u64),
        }

        impl ErrorCode {
            /// Its number on the wire.
            #[must_use]
            pub const fn number(self) -> u64 {
                match self {
                    $(Self::$name => $code,)*
                    Self::Other(code) => code,
                }
            }

            /// The code of this number.
            #[must_use]
            pub const fn from_number(code: u64) -> Self {
                match code {
                    $($code => Self::$name,)*
                    other => Self::Other(other),
                }
            }
        }
    };
}

error_codes! {
    /// No version that both sides speak.
    Version = 1,
    /// Bytes that are not what they should be.
    Malformed = 2,
    /// A frame longer than the limit.
    FrameTooLong = 3,
    /// A frame was begun and not ended, or a connection did not say hello, within the time allowed.
    TimedOut = 4,
    /// A frame that does not fit here, such as a broadcast before joining.
    Unexpected = 5,
    /// There is no room of that name.
    NoSuchRoom = 10,
    /// That cannot be a room's name.
    RoomNameInvalid = 11,
    /// That cannot be a member's name.
    NameInvalid = 12,
    /// Another member has that name.
    NameTaken = 13,
    /// The room takes no more members.
    RoomFull = 14,
    /// There is a room of that name already.
    RoomExists = 15,
    /// The server takes no more rooms, or has no port left for one.
    TooManyRooms = 16,
    /// Neither the room's key nor the operator's token.
    NotPermitted = 17,
    /// The room's log has no readable message of that id.
    NoSuchMessage = 18,
    /// The key is not that member's, or its proof does not hold on this connection.
    WrongKey = 20,
    /// The member was away for longer than `grace`, or has left.
    Expired = 21,
    /// The client knows more than the server: they do not share a past.
    Diverged = 22,
    /// The member has resumed on another connection.
    Superseded = 23,
    /// The room was closed.
    RoomClosed = 24,
    /// The server is going down.
    ShuttingDown = 25,
    /// A message was refused for good, so the membership has ended.
    MembershipEnded = 26,
    /// The connection was read so slowly that what comes next is not kept any more. Resuming tells the gap.
    TooFarBehind = 27,
    /// Nothing can be stored at the moment: nobody joins; what members say waits, and nobody sees it yet.
    StorageFull = 28,
    /// What was asked for cannot be read at the moment; the server's operator knows more.
    Unreadable = 29,
    /// There is too much of that from the client's address: it may try again later.
    TooOften = 30,
    /// What waited is stored: the end of [`StorageFull`](Self::StorageFull).
    StorageAgain = 31,
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum FrameError {
    /// Longer than agreed.
    #[error("a frame of {length} bytes, the limit is {limit}")]
    TooLong {
        /// Its length.
        length: u64,
        /// The limit.
        limit: usize,
    },
    /// A length of 0: there is always a kind.
    #[error("a frame without a kind")]
    Empty,
    /// A field is cut off or out of range.
    #[error("in a frame of kind {kind:#04x}: {error}")]
    Field {
        /// The kind of frame.
        kind: u8,
        /// What is wrong.
        error: WireError,
    },
    /// A text is not UTF-8.
    #[error("a text in a frame of kind {kind:#04x} is not UTF-8")]
    NotUtf8 {
        /// The kind of frame.
        kind: u8,
    },
    /// The length field itself is malformed.
    #[error("the length of a frame is malformed")]
    Length,
}

/// Takes the next whole frame off the front of `buffer`: its kind and body. `None`: more bytes are needed.
///
/// Nothing is copied; the body shares the buffer's memory. O(1).
///
/// # Errors
/// [`FrameError::TooLong`], [`FrameError::Empty`], [`FrameError::Length`]: the stream cannot be read further.
pub fn split_frame(buffer: &mut BytesMut, limit: usize) -> Result<Option<(u8, Bytes)>, FrameError> {
    let mut reader = Reader::new(buffer);
    let length = match reader.varint() {
        Ok(0) => return Err(FrameError::Empty),
        Ok(length) if length > limit as u64 => return Err(FrameError::TooLong { length, limit }),
        Ok(length) => length as usize,
        Err(WireError::Truncated) if buffer.len() < 10 => return Ok(None),
        Err(_) => return Err(FrameError::Length),
    };
    let head = reader.position();
    if buffer.len() < head + length {
        return Ok(None);
    }
    buffer.advance(head);
    let mut frame = buffer.split_to(length).freeze();
    let kind = frame[0];
    frame.advance(1);
    Ok(Some((kind, frame)))
}

/// Appends `length kind body` to `out`, with `body` written by the closure.
fn put_frame(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.push(kind);
    body(out);
    let length = out.len() - start;
    let mut head = Vec::with_capacity(3);
    put_varint(&mut head, length as u64);
    out.splice(start..start, head);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_member(out: &mut Vec<u8>, member: MemberId) {
    put_varint(out, member.origin.into());
    put_varint(out, member.ordinal.into());
}

fn put_option(out: &mut Vec<u8>, value: Option<u64>) {
    put_varint(out, value.map_or(0, |v| v.saturating_add(1)));
}

fn put_ranges(out: &mut Vec<u8>, ranges: &[MissingRange]) {
    put_varint(out, ranges.len() as u64);
    for range in ranges {
        put_member(out, range.member);
        put_varint(out, range.from);
        put_varint(out, range.to - range.from);
    }
}

fn put_members(out: &mut Vec<u8>, members: &[MemberInfo]) {
    put_varint(out, members.len() as u64);
    for m in members {
        put_member(out, m.member);
        put_text(out, &m.name);
        out.push(u8::from(m.present));
    }
}

fn put_message_id(out: &mut Vec<u8>, id: MessageId) {
    put_member(out, id.member);
    put_varint(out, id.seq);
}

fn put_proof(out: &mut Vec<u8>, proof: &Proof) {
    out.extend_from_slice(&proof.key);
    out.extend_from_slice(&proof.signature);
}

fn put_maker(out: &mut Vec<u8>, maker: Option<&Proof>) {
    out.push(u8::from(maker.is_some()));
    maker.into_iter().for_each(|proof| put_proof(out, proof));
}

fn put_room(out: &mut Vec<u8>, room: &RoomInfo) {
    put_text(out, &room.name);
    put_varint(out, room.port.unwrap_or(0).into());
    put_varint(out, room.members);
}

/// Reads the fields of one body.
struct Fields<'a> {
    kind: u8,
    body: &'a Bytes,
    reader: Reader<'a>,
}

impl<'a> Fields<'a> {
    fn new(kind: u8, body: &'a Bytes) -> Self {
        Self { kind, body, reader: Reader::new(body) }
    }

    fn field<T>(&self, value: Result<T, WireError>) -> Result<T, FrameError> {
        value.map_err(|error| FrameError::Field { kind: self.kind, error })
    }

    fn number(&mut self) -> Result<u64, FrameError> {
        let value = self.reader.varint();
        self.field(value)
    }

    fn number_u32(&mut self) -> Result<u32, FrameError> {
        let value = self.reader.varint_u32();
        self.field(value)
    }

    fn flag(&mut self) -> Result<bool, FrameError> {
        let value = self.reader.byte();
        Ok(self.field(value)? != 0)
    }

    fn option(&mut self) -> Result<Option<u64>, FrameError> {
        Ok(self.number()?.checked_sub(1))
    }

    fn text(&mut self) -> Result<String, FrameError> {
        let bytes = self.reader.prefixed();
        let bytes = self.field(bytes)?;
        let text = core::str::from_utf8(bytes).map_err(|_| FrameError::NotUtf8 { kind: self.kind })?;
        Ok(text.to_owned())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let bytes = self.reader.take(N);
        Ok(self.field(bytes)?.try_into().expect("took as many"))
    }

    fn proof(&mut self) -> Result<Proof, FrameError> {
        Ok(Proof { key: self.array()?, signature: self.array()? })
    }

    fn maker(&mut self) -> Result<Option<Proof>, FrameError> {
        Ok(if self.flag()? { Some(self.proof()?) } else { None })
    }

    fn member(&mut self) -> Result<MemberId, FrameError> {
        Ok(MemberId::new(self.number_u32()?, self.number_u32()?))
    }

    fn message_id(&mut self) -> Result<MessageId, FrameError> {
        Ok(MessageId::new(self.member()?, self.number()?))
    }

    fn observation(&mut self) -> Result<Observation, FrameError> {
        let message = self.message_id()?;
        let what = match self.number()? {
            0 => Observed::Delivered { held_millis: self.option()? },
            1 => {
                let (held_millis, waits_for) = (self.number()?, self.message_id()?);
                Observed::Held { held_millis, waits_for, clock: None }
            }
            _ => return Err(self.out_of_range()),
        };
        Ok(Observation { message, what })
    }

    /// Reads the clocks of what is held, each behind the place that its observation has.
    fn held_clocks(&mut self, seen: &mut [Observation]) -> Result<(), FrameError> {
        for (place, told) in self.list(|f| Ok((f.number()?, f.clock()?)))? {
            let seen = usize::try_from(place).ok().and_then(|place| seen.get_mut(place));
            let Some(Observation { what: Observed::Held { clock, .. }, .. }) = seen else {
                return Err(self.out_of_range());
            };
            *clock = Some(told);
        }
        Ok(())
    }

    fn out_of_range(&self) -> FrameError {
        FrameError::Field { kind: self.kind, error: WireError::Integer }
    }

    fn direction(&mut self) -> Result<Direction, FrameError> {
        match self.number()? {
            0 => Ok(Direction::Before),
            1 => Ok(Direction::After),
            2 => Ok(Direction::Around),
            _ => Err(self.out_of_range()),
        }
    }

    fn place(&mut self) -> Result<Place, FrameError> {
        match self.number()? {
            0 => Ok(Place::End),
            1 => Ok(Place::Position(self.number()?)),
            2 => Ok(Place::Message(self.message_id()?)),
            3 => Ok(Place::Time(self.number()?)),
            _ => Err(self.out_of_range()),
        }
    }

    /// Stretches of positions, as the first and how many follow it.
    fn stretches(&mut self) -> Result<Vec<(u64, u64)>, FrameError> {
        self.list(|f| {
            let (from, more) = (f.number()?, f.number()?);
            Ok((from, f.field(from.checked_add(more).ok_or(WireError::Integer))?))
        })
    }

    /// Bytes behind their length.
    fn bytes(&mut self) -> Result<Bytes, FrameError> {
        let bytes = self.reader.prefixed();
        let length = self.field(bytes)?.len();
        let end = self.reader.position();
        Ok(self.body.slice(end - length..end))
    }

    fn clock(&mut self) -> Result<VectorClock, FrameError> {
        let clock = VectorClock::decode(&mut self.reader);
        self.field(clock)
    }

    fn rest(&mut self) -> Bytes {
        self.body.slice(self.reader.position()..)
    }

    /// A list; its memory is bounded by the bytes there are.
    fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, FrameError>,
    ) -> Result<Vec<T>, FrameError> {
        let count = self.number()?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn ranges(&mut self) -> Result<Vec<MissingRange>, FrameError> {
        self.list(|f| {
            let (member, from, more) = (f.member()?, f.number()?, f.number()?);
            let to = f.field(from.checked_add(more).ok_or(WireError::Integer))?;
            Ok(MissingRange { member, from, to })
        })
    }

    fn members(&mut self) -> Result<Vec<MemberInfo>, FrameError> {
        self.list(|f| Ok(MemberInfo { member: f.member()?, name: f.text()?, present: f.flag()? }))
    }

    fn room(&mut self) -> Result<RoomInfo, FrameError> {
        let (name, port, members) = (self.text()?, self.number()?, self.number()?);
        let port = self.field(u16::try_from(port).map_err(|_| WireError::Integer))?;
        Ok(RoomInfo { name, port: (port != 0).then_some(port), members })
    }
}

impl ClientFrame {
    /// Appends the frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_frame(out, self.kind(), |out| match self {
            Self::Hello { oldest, newest, agent } => {
                put_varint(out, *oldest);
                put_varint(out, *newest);
                put_text(out, agent);
            }
            Self::Join { room, name, proof, create, maker, after, epoch } => {
                put_text(out, room);
                put_text(out, name);
                put_proof(out, proof);
                out.push(u8::from(*create));
                put_option(out, *after);
                put_varint(out, *epoch);
                put_maker(out, maker.as_ref());
            }
            Self::Resume { room, member, proof, epoch, position, clock } => {
                put_text(out, room);
                put_member(out, *member);
                put_proof(out, proof);
                put_varint(out, *epoch);
                put_varint(out, *position);
                clock.encode(out);
            }
            Self::Broadcast(packet) => out.extend_from_slice(packet),
            Self::Leave { last_seq: number } | Self::Ping(number) => put_varint(out, *number),
            Self::ListRooms | Self::ListMembers => {}
            Self::CreateRoom { name, port, maker, temporary } => {
                put_text(out, name);
                out.push(u8::from(*port));
                put_maker(out, maker.as_ref());
                out.push(u8::from(*temporary));
            }
            Self::CloseRoom { name, operator, maker } => {
                put_text(out, name);
                put_text(out, operator);
                put_maker(out, maker.as_ref());
            }
            Self::ListClosedRooms { operator } => put_text(out, operator),
            Self::OpenRoom { name, operator, number } => {
                put_text(out, name);
                put_text(out, operator);
                out.push(u8::from(number.is_some()));
                number.iter().for_each(|number| put_varint(out, *number));
            }
            Self::Want(ranges) => put_ranges(out, ranges),
            Self::Clock(clock) => clock.encode(out),
            Self::History(question) => {
                put_text(out, &question.room);
                put_varint(out, question.epoch);
                out.push(match question.direction {
                    Direction::Before => 0,
                    Direction::After => 1,
                    Direction::Around => 2,
                });
                match question.place {
                    Place::End => out.push(0),
                    Place::Position(position) => {
                        out.push(1);
                        put_varint(out, position);
                    }
                    Place::Message(id) => {
                        out.push(2);
                        put_message_id(out, id);
                    }
                    Place::Time(millis) => {
                        out.push(3);
                        put_varint(out, millis);
                    }
                }
                put_varint(out, question.limit);
                put_varint(out, question.wait_millis);
            }
            Self::Observed { seen, left_out } => {
                put_varint(out, seen.len() as u64);
                for Observation { message, what } in seen {
                    put_message_id(out, *message);
                    match what {
                        Observed::Delivered { held_millis } => {
                            out.push(0);
                            put_option(out, *held_millis);
                        }
                        Observed::Held { held_millis, waits_for, .. } => {
                            out.push(1);
                            put_varint(out, *held_millis);
                            put_message_id(out, *waits_for);
                        }
                    }
                }
                put_varint(out, *left_out);
                let clocks = || {
                    let places = seen.iter().enumerate();
                    places.filter_map(|(place, seen)| seen.what.clock().map(|clock| (place, clock)))
                };
                put_varint(out, clocks().count() as u64);
                for (place, clock) in clocks() {
                    put_varint(out, place as u64);
                    clock.encode(out);
                }
            }
            Self::Acknowledge(position) => put_varint(out, *position),
            Self::FollowStable => {}
        });
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Hello { .. } => 0x01,
            Self::Join { .. } => 0x02,
            Self::Resume { .. } => 0x03,
            Self::Broadcast(_) => 0x04,
            Self::Leave { .. } => 0x05,
            Self::Ping(_) => 0x06,
            Self::ListRooms => 0x07,
            Self::CreateRoom { .. } => 0x08,
            Self::CloseRoom { .. } => 0x09,
            Self::Want(_) => 0x0a,
            Self::Clock(_) => 0x0b,
            Self::ListMembers => 0x0c,
            Self::History(_) => 0x0d,
            Self::Observed { .. } => 0x0e,
            // 0f to 12 are for accounts.
            Self::ListClosedRooms { .. } => 0x13,
            Self::OpenRoom { .. } => 0x14,
            Self::Acknowledge(_) => 0x15,
            Self::FollowStable => 0x16,
        }
    }

    /// Reads the body of a frame. `None`: a kind that this version does not know, to be skipped.
    ///
    /// # Errors
    /// [`FrameError::Field`], [`FrameError::NotUtf8`]. The stream can be read further.
    pub fn decode(kind: u8, body: &Bytes) -> Result<Option<Self>, FrameError> {
        let mut f = Fields::new(kind, body);
        Ok(Some(match kind {
            0x01 => Self::Hello { oldest: f.number()?, newest: f.number()?, agent: f.text()? },
            0x02 => Self::Join {
                room: f.text()?,
                name: f.text()?,
                proof: f.proof()?,
                create: f.flag()?,
                after: f.option()?,
                epoch: f.number()?,
                maker: f.maker()?,
            },
            0x03 => Self::Resume {
                room: f.text()?,
                member: f.member()?,
                proof: f.proof()?,
                epoch: f.number()?,
                position: f.number()?,
                clock: f.clock()?,
            },
            0x04 => Self::Broadcast(f.rest()),
            0x05 => Self::Leave { last_seq: f.number()? },
            0x06 => Self::Ping(f.number()?),
            0x07 => Self::ListRooms,
            0x08 => {
                Self::CreateRoom { name: f.text()?, port: f.flag()?, maker: f.maker()?, temporary: f.flag()? }
            }
            0x09 => Self::CloseRoom { name: f.text()?, operator: f.text()?, maker: f.maker()? },
            0x0a => Self::Want(f.ranges()?),
            0x0b => Self::Clock(f.clock()?),
            0x0c => Self::ListMembers,
            0x0d => Self::History(HistoryQuestion {
                room: f.text()?,
                epoch: f.number()?,
                direction: f.direction()?,
                place: f.place()?,
                limit: f.number()?,
                wait_millis: f.number()?,
            }),
            0x13 => Self::ListClosedRooms { operator: f.text()? },
            0x14 => Self::OpenRoom {
                name: f.text()?,
                operator: f.text()?,
                number: if f.flag()? { Some(f.number()?) } else { None },
            },
            0x15 => Self::Acknowledge(f.number()?),
            0x16 => Self::FollowStable,
            0x0e => {
                let (mut seen, left_out) = (f.list(Fields::observation)?, f.number()?);
                f.held_clocks(&mut seen)?;
                Self::Observed { seen, left_out }
            }
            _ => return Ok(None),
        }))
    }
}

/// The kind of a [`ServerFrame::Delivered`].
const DELIVERED: u8 = 0x84;

impl Delivered {
    /// Appends the record as a frame to `out`: the bytes that every reader of the log gets.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_frame(out, DELIVERED, |out| {
            put_varint(out, self.position);
            put_varint(out, self.time_millis);
            out.extend_from_slice(&self.packet);
        });
    }
}

impl ServerFrame {
    /// Appends the frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if let Self::Delivered(record) = self {
            return record.encode(out);
        }
        put_frame(out, self.kind(), |out| match self {
            Self::Hello { version, agent, challenge } => {
                put_varint(out, *version);
                put_text(out, agent);
                out.extend_from_slice(&challenge.server_key);
                out.extend_from_slice(&challenge.random);
            }
            Self::Welcome(w) => {
                put_text(out, &w.room);
                out.push(u8::from(w.created));
                put_member(out, w.member);
                put_varint(out, w.epoch);
                put_varint(out, w.position);
                put_varint(out, w.first);
                put_option(out, w.gap_from);
                w.snapshot.encode(out);
                put_members(out, &w.members);
                put_varint(out, w.limits.name_chars);
                put_varint(out, w.limits.text_bytes);
                put_varint(out, w.limits.frame_bytes);
                put_varint(out, w.limits.grace_millis);
                put_option(out, w.shared);
            }
            Self::Resumed { taken, position } => {
                put_varint(out, *taken);
                put_varint(out, *position);
            }
            Self::Delivered(_) => unreachable!("returned above"),
            Self::Parted { taken: number } | Self::Pong(number) => put_varint(out, *number),
            Self::Rooms(rooms) => {
                put_varint(out, rooms.len() as u64);
                rooms.iter().for_each(|room| put_room(out, room));
            }
            Self::RoomCreated(room) => put_room(out, room),
            Self::RoomClosed { name } => put_text(out, name),
            Self::Want(ranges) => put_ranges(out, ranges),
            Self::Clock(clock) => clock.encode(out),
            Self::Members(members) => put_members(out, members),
            Self::Refused { seq, is_final, reason } => {
                put_varint(out, *seq);
                out.push(u8::from(*is_final));
                put_text(out, reason);
            }
            Self::Error(e) => {
                put_varint(out, e.code.number());
                out.push(u8::from(e.fatal));
                put_text(out, &e.message);
                put_text(out, &e.suggestion);
                put_varint(out, e.taken);
            }
            Self::Page(page) => {
                put_text(out, &page.room);
                for number in [page.epoch, page.from, page.to, page.kept, page.end] {
                    put_varint(out, number);
                }
                put_varint(out, page.gaps.len() as u64);
                for (from, to) in &page.gaps {
                    put_varint(out, *from);
                    put_varint(out, to - from);
                }
                put_members(out, &page.names);
                put_varint(out, page.revised.len() as u64);
                for (position, deleted) in &page.revised {
                    put_varint(out, *position);
                    out.push(u8::from(*deleted));
                }
                put_varint(out, page.records.len() as u64);
                out.extend_from_slice(&page.records);
            }
            Self::Watched(watched) => {
                out.push(u8::from(watched.observations));
                out.push(u8::from(watched.acknowledgements));
            }
            Self::Stable(stable) => {
                put_varint(out, stable.position);
                put_varint(out, stable.behind.len() as u64);
                for (member, position) in &stable.behind {
                    put_member(out, *member);
                    put_varint(out, *position);
                }
            }
            Self::ClosedRooms(rooms) => {
                put_varint(out, rooms.len() as u64);
                for room in rooms {
                    put_text(out, &room.name);
                    put_varint(out, room.closed_millis);
                    put_varint(out, room.until_millis);
                    put_varint(out, room.number);
                }
            }
        });
    }

    /// Its kind on the wire.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Hello { .. } => 0x81,
            Self::Welcome(_) => 0x82,
            Self::Resumed { .. } => 0x83,
            Self::Delivered(_) => DELIVERED,
            Self::Parted { .. } => 0x85,
            Self::Pong(_) => 0x86,
            Self::Rooms(_) => 0x87,
            Self::RoomCreated(_) => 0x88,
            Self::RoomClosed { .. } => 0x89,
            Self::Want(_) => 0x8a,
            Self::Clock(_) => 0x8b,
            Self::Members(_) => 0x8c,
            Self::Refused { .. } => 0x8d,
            Self::Error(_) => 0x8e,
            Self::Page(_) => 0x8f,
            Self::Watched(_) => 0x90,
            // 91 to 93 are for accounts.
            Self::ClosedRooms(_) => 0x94,
            Self::Stable(_) => 0x95,
        }
    }

    /// Reads the body of a frame. `None`: a kind that this version does not know, to be skipped.
    ///
    /// # Errors
    /// [`FrameError::Field`], [`FrameError::NotUtf8`]. The stream can be read further.
    pub fn decode(kind: u8, body: &Bytes) -> Result<Option<Self>, FrameError> {
        let mut f = Fields::new(kind, body);
        Ok(Some(match kind {
            0x81 => Self::Hello {
                version: f.number()?,
                agent: f.text()?,
                challenge: Challenge { server_key: f.array()?, random: f.array()? },
            },
            0x82 => Self::Welcome(Box::new(Welcome {
                room: f.text()?,
                created: f.flag()?,
                member: f.member()?,
                epoch: f.number()?,
                position: f.number()?,
                first: f.number()?,
                gap_from: f.option()?,
                snapshot: {
                    let snapshot = Snapshot::decode(&mut f.reader);
                    f.field(snapshot)?
                },
                members: f.members()?,
                limits: Limits {
                    name_chars: f.number()?,
                    text_bytes: f.number()?,
                    frame_bytes: f.number()?,
                    grace_millis: f.number()?,
                },
                shared: f.option()?,
            })),
            0x83 => Self::Resumed { taken: f.number()?, position: f.number()? },
            DELIVERED => Self::Delivered(Delivered {
                position: f.number()?,
                time_millis: f.number()?,
                packet: f.rest(),
            }),
            0x85 => Self::Parted { taken: f.number()? },
            0x86 => Self::Pong(f.number()?),
            0x87 => Self::Rooms(f.list(Fields::room)?),
            0x88 => Self::RoomCreated(f.room()?),
            0x89 => Self::RoomClosed { name: f.text()? },
            0x8a => Self::Want(f.ranges()?),
            0x8b => Self::Clock(f.clock()?),
            0x8c => Self::Members(f.members()?),
            0x8d => Self::Refused { seq: f.number()?, is_final: f.flag()?, reason: f.text()? },
            0x8e => Self::Error(ErrorFrame {
                code: ErrorCode::from_number(f.number()?),
                fatal: f.flag()?,
                message: f.text()?,
                suggestion: f.text()?,
                taken: f.number()?,
            }),
            0x8f => Self::Page(Page {
                room: f.text()?,
                epoch: f.number()?,
                from: f.number()?,
                to: f.number()?,
                kept: f.number()?,
                end: f.number()?,
                gaps: f.stretches()?,
                names: f.members()?,
                revised: f.list(|f| Ok((f.number()?, f.flag()?)))?,
                records: f.bytes()?,
            }),
            0x90 => Self::Watched(Watched { observations: f.flag()?, acknowledgements: f.flag()? }),
            0x94 => Self::ClosedRooms(f.list(|f| {
                let (name, closed_millis) = (f.text()?, f.number()?);
                Ok(ClosedRoom { name, closed_millis, until_millis: f.number()?, number: f.number()? })
            })?),
            0x95 => Self::Stable(Stable {
                position: f.number()?,
                behind: f.list(|f| Ok((f.member()?, f.number()?)))?,
            }),
            _ => return Ok(None),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cbcast::MessageId;
    use proptest::prelude::*;

    const RAJ: MemberId = MemberId::new(0, 300);

    fn members() -> Vec<MemberInfo> {
        vec![MemberInfo { member: RAJ, name: "Raj é".into(), present: true }]
    }

    fn question(direction: Direction, place: Place) -> ClientFrame {
        let (room, epoch) = ("lobby".into(), 1 << 60);
        ClientFrame::History(HistoryQuestion {
            room,
            epoch,
            direction,
            place,
            limit: 300,
            wait_millis: 30_000,
        })
    }

    fn observation(seq: u64, what: Observed) -> Observation {
        Observation { message: MessageId::new(RAJ, seq), what }
    }

    fn client_frames() -> Vec<ClientFrame> {
        let clock: VectorClock = [(RAJ, 7), (MemberId::host(0), 300)].into_iter().collect();
        vec![
            ClientFrame::Hello { oldest: 1, newest: 3, agent: "causerie 0.1".into() },
            ClientFrame::Join {
                room: "lobby".into(),
                name: "Raj".into(),
                proof: Proof { key: [7; 32], signature: [8; 64] },
                create: true,
                maker: Some(Proof { key: [5; 32], signature: [4; 64] }),
                after: Some(0),
                epoch: u64::MAX,
            },
            ClientFrame::Resume {
                room: "lobby".into(),
                member: RAJ,
                proof: Proof { key: [9; 32], signature: [6; 64] },
                epoch: 3,
                position: 1 << 40,
                clock: clock.clone(),
            },
            ClientFrame::Broadcast(Bytes::from_static(b"packet")),
            ClientFrame::Leave { last_seq: 300 },
            ClientFrame::Ping(u64::MAX),
            ClientFrame::ListRooms,
            ClientFrame::CreateRoom { name: String::new(), port: true, maker: None, temporary: true },
            ClientFrame::CloseRoom {
                name: "lobby".into(),
                operator: "secret".into(),
                maker: Some(Proof { key: [5; 32], signature: [4; 64] }),
            },
            ClientFrame::ListClosedRooms { operator: "secret".into() },
            ClientFrame::OpenRoom { name: "lobby".into(), operator: "secret".into(), number: None },
            ClientFrame::OpenRoom { name: "lobby".into(), operator: "secret".into(), number: Some(300) },
            ClientFrame::Want(vec![MissingRange { member: RAJ, from: 3, to: 9 }]),
            ClientFrame::Clock(clock),
            ClientFrame::ListMembers,
            question(Direction::Before, Place::End),
            question(Direction::After, Place::Position(u64::MAX)),
            question(Direction::Around, Place::Message(MessageId::new(RAJ, 90))),
            question(Direction::After, Place::Time(1_700_000_000_000)),
            ClientFrame::Observed {
                seen: vec![
                    observation(3, Observed::Delivered { held_millis: None }),
                    observation(
                        5,
                        Observed::Held {
                            held_millis: 300,
                            waits_for: MessageId::new(RAJ, 4),
                            clock: Some([(RAJ, 3)].into_iter().collect()),
                        },
                    ),
                    observation(
                        6,
                        Observed::Held { held_millis: 0, waits_for: MessageId::new(RAJ, 5), clock: None },
                    ),
                    observation(5, Observed::Delivered { held_millis: Some(0) }),
                ],
                left_out: 300,
            },
            ClientFrame::Acknowledge(300),
            ClientFrame::FollowStable,
        ]
    }

    fn server_frames() -> Vec<ServerFrame> {
        let clock: VectorClock = [(RAJ, 7)].into_iter().collect();
        let room = RoomInfo { name: "12344".into(), port: Some(12344), members: 2 };
        vec![
            ServerFrame::Hello {
                version: 2,
                agent: "causerie 0.1".into(),
                challenge: Challenge { server_key: [1; 32], random: [2; 32] },
            },
            ServerFrame::Welcome(Box::new(Welcome {
                room: "lobby".into(),
                created: false,
                member: RAJ,
                epoch: 1 << 60,
                position: 90,
                first: 41,
                gap_from: Some(7),
                snapshot: Snapshot {
                    clock: clock.clone(),
                    next_ordinals: vec![(0, 301)],
                    frontier: vec![MessageId::new(RAJ, 7)],
                },
                members: members(),
                limits: Limits {
                    name_chars: 32,
                    text_bytes: 16_384,
                    frame_bytes: 65_536,
                    grace_millis: 600_000,
                },
                shared: Some(6),
            })),
            ServerFrame::Resumed { taken: 7, position: 90 },
            ServerFrame::Delivered(Delivered {
                position: 90,
                time_millis: 1_700_000_000_000,
                packet: Bytes::from_static(b"packet"),
            }),
            ServerFrame::Parted { taken: 7 },
            ServerFrame::Pong(0),
            ServerFrame::Rooms(vec![room.clone(), RoomInfo { port: None, ..room.clone() }]),
            ServerFrame::RoomCreated(room),
            ServerFrame::RoomClosed { name: "lobby".into() },
            ServerFrame::Want(vec![MissingRange { member: RAJ, from: 3, to: 3 }]),
            ServerFrame::Clock(clock),
            ServerFrame::Members(members()),
            ServerFrame::Refused { seq: 8, is_final: true, reason: "no".into() },
            ServerFrame::Error(ErrorFrame {
                suggestion: "Raj2".into(),
                taken: 4,
                ..ErrorFrame::fatal(ErrorCode::NameTaken, "taken")
            }),
            ServerFrame::Page(Page {
                room: "lobby".into(),
                epoch: 1 << 60,
                from: 1,
                to: 300,
                kept: 41,
                end: 301,
                gaps: vec![(1, 40), (90, 90)],
                names: members(),
                revised: vec![(41, true), (50, false)],
                records: Bytes::from_static(b"records"),
            }),
            ServerFrame::Page(Page { from: 1, ..Page::default() }),
            ServerFrame::Watched(Watched { observations: true, acknowledgements: false }),
            ServerFrame::Watched(Watched { observations: false, acknowledgements: true }),
            ServerFrame::Stable(Stable { position: 300, behind: vec![(RAJ, 299)] }),
            ServerFrame::ClosedRooms(vec![ClosedRoom {
                name: "lobby".into(),
                closed_millis: 1_700_000_000_000,
                until_millis: u64::MAX,
                number: 300,
            }]),
        ]
    }

    #[test]
    fn every_frame_round_trips_and_every_cut_of_it_is_refused_or_awaited() {
        let mut all = Vec::new();
        for frame in client_frames() {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            let (kind, body) = split_frame(&mut BytesMut::from(&bytes[..]), 1 << 20).unwrap().unwrap();
            assert_eq!(ClientFrame::decode(kind, &body), Ok(Some(frame.clone())));
            for cut in 0..bytes.len() {
                assert_eq!(split_frame(&mut BytesMut::from(&bytes[..cut]), 1 << 20), Ok(None));
            }
            let takes_the_rest = matches!(frame, ClientFrame::Broadcast(_));
            for cut in 0..body.len() {
                let cut = ClientFrame::decode(kind, &body.slice(..cut));
                assert!(takes_the_rest || cut.is_err(), "{frame:?} {cut:?}");
            }
            let mut longer = body.to_vec();
            longer.extend_from_slice(b"tomorrow");
            let longer = ClientFrame::decode(kind, &longer.into());
            assert!(takes_the_rest || longer == Ok(Some(frame)), "later versions append fields");
            all.extend(bytes);
        }
        let mut all = BytesMut::from(&all[..]);
        let count = std::iter::from_fn(|| split_frame(&mut all, 1 << 20).unwrap()).count();
        assert_eq!(count, client_frames().len());
    }

    #[test]
    fn every_server_frame_round_trips() {
        for frame in server_frames() {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            let (kind, body) = split_frame(&mut BytesMut::from(&bytes[..]), 1 << 20).unwrap().unwrap();
            assert_eq!(ServerFrame::decode(kind, &body), Ok(Some(frame.clone())));
            let takes_the_rest = matches!(frame, ServerFrame::Delivered(_));
            for cut in 0..body.len() {
                assert!(
                    takes_the_rest || ServerFrame::decode(kind, &body.slice(..cut)).is_err(),
                    "{frame:?}"
                );
            }
        }
    }

    #[test]
    fn unknown_kinds_are_skipped_and_lengths_are_bounded() {
        let mut buffer = BytesMut::from(&[3, 0x7f, 1, 2, 1, 0x07][..]);
        let (kind, body) = split_frame(&mut buffer, 100).unwrap().unwrap();
        assert_eq!(ClientFrame::decode(kind, &body), Ok(None));
        let (kind, body) = split_frame(&mut buffer, 100).unwrap().unwrap();
        assert_eq!(ClientFrame::decode(kind, &body), Ok(Some(ClientFrame::ListRooms)));

        let too_long = split_frame(&mut BytesMut::from(&[0xff, 0x7f][..]), 100);
        assert_eq!(too_long, Err(FrameError::TooLong { length: 16_383, limit: 100 }));
        assert_eq!(split_frame(&mut BytesMut::from(&[0][..]), 100), Err(FrameError::Empty));
        assert_eq!(split_frame(&mut BytesMut::from(&[0xff; 12][..]), 100), Err(FrameError::Length));
        assert_eq!(split_frame(&mut BytesMut::from(&[0x80, 0][..]), 100), Err(FrameError::Length));
    }

    #[test]
    fn codes_have_one_number_each() {
        for number in 0..100 {
            assert_eq!(ErrorCode::from_number(number).number(), number);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_frames_or_refused(kind: u8, body: Vec<u8>) {
            let body = Bytes::from(body);
            let _ = ClientFrame::decode(kind, &body);
            let _ = ServerFrame::decode(kind, &body);
            let _ = ClientFrame::decode(kind & 0x0f, &body);
            let _ = ServerFrame::decode(0x80 | (kind & 0x1f), &body);
        }

        #[test]
        fn questions_and_pages_round_trip(
            (room, epoch, limit, wait_millis) in any::<(String, u64, u64, u64)>(),
            direction in 0usize..3,
            (kind, a, b, c) in (0u8..4, any::<u32>(), any::<u32>(), any::<u64>()),
            bounds: [u64; 4],
            gaps in proptest::collection::vec((any::<u32>(), any::<u32>()), 0..9),
            records: Vec<u8>,
        ) {
            let direction = [Direction::Before, Direction::After, Direction::Around][direction];
            let place = match kind {
                0 => Place::End,
                1 => Place::Position(c),
                2 => Place::Message(MessageId::new(MemberId::new(a, b), c)),
                _ => Place::Time(c),
            };
            let asked = HistoryQuestion { room: room.clone(), epoch, direction, place, limit, wait_millis };
            let asked = ClientFrame::History(asked);
            let mut bytes = Vec::new();
            asked.encode(&mut bytes);
            let (kind, body) = split_frame(&mut BytesMut::from(&bytes[..]), 1 << 20).unwrap().unwrap();
            prop_assert_eq!(ClientFrame::decode(kind, &body), Ok(Some(asked)));

            let [from, to, kept, end] = bounds;
            let gaps = gaps.into_iter().map(|(a, b)| (u64::from(a.min(b)), u64::from(a.max(b)))).collect();
            let names = members();
            let revised = vec![(from, true), (to, false)];
            let page =
                Page { room, epoch, from, to, kept, end, gaps, names, revised, records: records.into() };
            let page = ServerFrame::Page(page);
            let mut bytes = Vec::new();
            page.encode(&mut bytes);
            let (kind, body) = split_frame(&mut BytesMut::from(&bytes[..]), 1 << 20).unwrap().unwrap();
            prop_assert_eq!(ServerFrame::decode(kind, &body), Ok(Some(page)));
        }

        #[test]
        fn any_stream_is_split_or_refused(bytes: Vec<u8>, limit in 1usize..300) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some((_, body))) = split_frame(&mut buffer, limit) {
                prop_assert!(body.len() < limit);
            }
        }
    }
}
