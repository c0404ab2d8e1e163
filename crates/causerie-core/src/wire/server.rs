//! Frames from the server.

use bytes::Bytes;
use cbcast::wire::put_varint;
use cbcast::{MemberId, MissingRange, Snapshot, VectorClock, WireError};

use super::error::{ErrorCode, ErrorFrame, FrameError};
use super::fields::{Fields, put_member, put_option, put_position, put_ranges, put_text};
use super::frame::put_frame;
use super::record::{DELIVERED, Delivered};
use crate::id::{Epoch, Position};
use crate::key::Challenge;

/// Frames from the server.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerFrame {
    /// The answer to the client's hello.
    Hello {
        /// The version that both speak from now on.
        version: u64,
        /// Name and version of the server.
        agent: String,
        /// Challenge that the client's keys sign on this connection.
        challenge: Challenge,
    },
    /// The client is a member.
    Welcome(Box<Welcome>),
    /// The client goes on as the member that it was; the log goes on behind the position that it presented.
    Resumed {
        /// The greatest number taken of the member's messages: it goes on from there.
        taken: u64,
        /// The log's last position.
        position: Position,
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
    /// Clock of what the server has delivered.
    Clock(VectorClock),
    /// Members who are in the room.
    Members(Vec<MemberInfo>),
    /// A message of the member was refused.
    Refused {
        /// Its number. `None`: the packet could not be read; on the wire that is 0.
        seq: Option<u64>,
        /// The same bytes can never be taken: the membership ends. Otherwise: again, later.
        is_final: bool,
        /// Reason, for people.
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
    /// Positions up to which members have delivered the log.
    Stable(Stable),
}

/// Wishes of others to be told something by a member.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Watched {
    /// Its [observations](super::ClientFrame::Observed).
    pub observations: bool,
    /// Its [acknowledgements](super::ClientFrame::Acknowledge).
    pub acknowledgements: bool,
}

/// Members that a [`Stable`] names at most.
pub const BEHIND_MAX: usize = 16;

/// Positions up to which the members who are in have delivered the log.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Stable {
    /// All have delivered up to here, but for those who are behind.
    pub position: Position,
    /// Those who are known to have delivered less, and how much; [`BEHIND_MAX`] at most.
    pub behind: Vec<(MemberId, Position)>,
}

/// A room that was closed and is kept for a while.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClosedRoom {
    /// Its name.
    pub name: String,
    /// Time at which it was closed, in milliseconds since 1970.
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
    /// Epoch of the log.
    pub epoch: Epoch,
    /// Its first position. There is more before it if this is greater than 1.
    pub from: Position,
    /// Its last position; `from - 1` if it has none. There is more behind it if this is less than `end`.
    pub to: Position,
    /// The first position that the server keeps: gaps before it were removed, others are damaged.
    pub kept: Position,
    /// The log's last position.
    pub end: Position,
    /// Positions that cannot be read: first and last of each stretch, ascending.
    pub gaps: Vec<(Position, Position)>,
    /// Members who have said the texts in it or leave in it, present or departed; by member id.
    pub names: Vec<MemberInfo>,
    /// Records whose text is another than was said, and whether it is none: the author has edited it, or taken it back.
    pub revised: Vec<(Position, bool)>,
    /// The records, as whole [`Delivered`] frames, revised ones with the text that stands.
    pub records: Bytes,
}

/// State that a new member starts from.
#[derive(Clone, Debug, PartialEq)]
pub struct Welcome {
    /// The room's name.
    pub room: String,
    /// Creation of the room by this join.
    pub created: bool,
    /// Id of the member that the client is now.
    pub member: MemberId,
    /// Epoch of the log, drawn at random when the room was made, and again when it had to begin anew: positions mean
    /// something within it only.
    pub epoch: Epoch,
    /// The position of the snapshot's cut: records up to it are history, those behind it are live.
    pub position: Position,
    /// The first position that will be sent.
    pub first: Position,
    /// The first position that the client asked for and that is no longer there, if any: records from here to
    /// `first - 1` are gone.
    pub gap_from: Option<Position>,
    /// The state at `position`.
    pub snapshot: Snapshot,
    /// Members who are in, in order of joining, and then the departed whose messages are among the history.
    pub members: Vec<MemberInfo>,
    /// Limits of the room.
    pub limits: Limits,
    /// Position up to which this log is the one that the client named a place in. `None`: it shares nothing with what the
    /// client knows.
    pub shared: Option<Position>,
}

/// Limits of a room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Characters of a name.
    pub name_chars: u64,
    /// Bytes of a message's text.
    pub text_bytes: u64,
    /// Bytes of a frame, its length field not counted.
    pub frame_bytes: u64,
    /// Time for which a member may be away before it is declared left, in milliseconds.
    pub grace_millis: u64,
}

/// One member, for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemberInfo {
    /// Id of the member.
    pub member: MemberId,
    /// Name of the member.
    pub name: String,
    /// Presence in the room (a departed one is listed to give its old messages a name).
    pub present: bool,
}

/// One room.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RoomInfo {
    /// Its name.
    pub name: String,
    /// Its own port, if it has one.
    pub port: Option<u16>,
    /// Number of members who are in.
    pub members: u64,
}

fn put_members(out: &mut Vec<u8>, members: &[MemberInfo]) {
    put_varint(out, members.len() as u64);
    for m in members {
        put_member(out, m.member);
        put_text(out, &m.name);
        out.push(u8::from(m.present));
    }
}

fn put_room(out: &mut Vec<u8>, room: &RoomInfo) {
    put_text(out, &room.name);
    put_varint(out, room.port.unwrap_or(0).into());
    put_varint(out, room.members);
}

impl Fields<'_> {
    fn members(&mut self) -> Result<Vec<MemberInfo>, FrameError> {
        self.list(|f| Ok(MemberInfo { member: f.member()?, name: f.text()?, present: f.flag()? }))
    }

    fn room(&mut self) -> Result<RoomInfo, FrameError> {
        let (name, port, members) = (self.text()?, self.number()?, self.number()?);
        let port = self.field(u16::try_from(port).map_err(|_| WireError::Integer))?;
        Ok(RoomInfo { name, port: (port != 0).then_some(port), members })
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
                put_varint(out, w.epoch.number());
                put_position(out, w.position);
                put_position(out, w.first);
                put_option(out, w.gap_from.map(Position::get));
                w.snapshot.encode(out);
                put_members(out, &w.members);
                put_varint(out, w.limits.name_chars);
                put_varint(out, w.limits.text_bytes);
                put_varint(out, w.limits.frame_bytes);
                put_varint(out, w.limits.grace_millis);
                put_option(out, w.shared.map(Position::get));
            }
            Self::Resumed { taken, position } => {
                put_varint(out, *taken);
                put_position(out, *position);
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
                put_varint(out, seq.unwrap_or(0));
                out.push(u8::from(*is_final));
                put_text(out, reason);
            }
            Self::Error(e) => {
                put_varint(out, e.code.number());
                out.push(u8::from(e.fatal));
                put_text(out, &e.message);
                put_text(out, e.suggestion.as_deref().unwrap_or_default());
                put_varint(out, e.taken.unwrap_or(0));
            }
            Self::Page(page) => {
                put_text(out, &page.room);
                for number in
                    [page.epoch.number(), page.from.get(), page.to.get(), page.kept.get(), page.end.get()]
                {
                    put_varint(out, number);
                }
                put_varint(out, page.gaps.len() as u64);
                for (from, to) in &page.gaps {
                    put_position(out, *from);
                    put_varint(out, *to - *from);
                }
                put_members(out, &page.names);
                put_varint(out, page.revised.len() as u64);
                for (position, deleted) in &page.revised {
                    put_position(out, *position);
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
                put_position(out, stable.position);
                put_varint(out, stable.behind.len() as u64);
                for (member, position) in &stable.behind {
                    put_member(out, *member);
                    put_position(out, *position);
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
        if let Some(record) = Delivered::decode(kind, body)? {
            return Ok(Some(Self::Delivered(record)));
        }
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
                epoch: f.epoch()?,
                position: f.position()?,
                first: f.position()?,
                gap_from: f.option()?.map(Position::new),
                snapshot: f.snapshot()?,
                members: f.members()?,
                limits: Limits {
                    name_chars: f.number()?,
                    text_bytes: f.number()?,
                    frame_bytes: f.number()?,
                    grace_millis: f.number()?,
                },
                shared: f.option()?.map(Position::new),
            })),
            0x83 => Self::Resumed { taken: f.number()?, position: f.position()? },
            0x85 => Self::Parted { taken: f.number()? },
            0x86 => Self::Pong(f.number()?),
            0x87 => Self::Rooms(f.list(Fields::room)?),
            0x88 => Self::RoomCreated(f.room()?),
            0x89 => Self::RoomClosed { name: f.text()? },
            0x8a => Self::Want(f.ranges()?),
            0x8b => Self::Clock(f.clock()?),
            0x8c => Self::Members(f.members()?),
            0x8d => Self::Refused {
                seq: Some(f.number()?).filter(|seq| *seq != 0),
                is_final: f.flag()?,
                reason: f.text()?,
            },
            0x8e => {
                let code = ErrorCode::from_number(f.number()?);
                let (fatal, message) = (f.flag()?, f.text()?);
                let suggestion = Some(f.text()?).filter(|name| !name.is_empty());
                let taken = Some(f.number()?).filter(|taken| *taken != 0 || code.tells_taken());
                Self::Error(ErrorFrame { code, fatal, message, suggestion, taken })
            }
            0x8f => Self::Page(Page {
                room: f.text()?,
                epoch: f.epoch()?,
                from: f.position()?,
                to: f.position()?,
                kept: f.position()?,
                end: f.position()?,
                gaps: f.stretches()?,
                names: f.members()?,
                revised: f.list(|f| Ok((f.position()?, f.flag()?)))?,
                records: f.bytes()?,
            }),
            0x90 => Self::Watched(Watched { observations: f.flag()?, acknowledgements: f.flag()? }),
            0x94 => Self::ClosedRooms(f.list(|f| {
                let (name, closed_millis) = (f.text()?, f.number()?);
                Ok(ClosedRoom { name, closed_millis, until_millis: f.number()?, number: f.number()? })
            })?),
            0x95 => Self::Stable(Stable {
                position: f.position()?,
                behind: f.list(|f| Ok((f.member()?, f.position()?)))?,
            }),
            _ => return Ok(None),
        }))
    }
}
