//! Frames from the client.

use bytes::Bytes;
use cbcast::wire::put_varint;
use cbcast::{MemberId, MessageId, MissingRange, VectorClock};

use super::error::FrameError;
use super::fields::{
    Fields, put_maker, put_member, put_message_id, put_option, put_position, put_proof, put_ranges, put_text,
};
use super::frame::put_frame;
use crate::id::{Epoch, Position, SecretText};
use crate::key::Proof;

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
        /// Position in a log, the epoch of the [`Welcome`](super::Welcome) it came from: send the records after it first, if
        /// they are still there. `None`, or another log: the common tail.
        after: Option<(Epoch, Position)>,
    },
    /// Go on as a member after a broken connection.
    Resume {
        /// The room's name.
        room: String,
        /// Id of the client's member.
        member: MemberId,
        /// The key that it joined with.
        proof: Proof,
        /// The epoch from the welcome.
        epoch: Epoch,
        /// The last contiguous position that has come off a connection.
        position: Position,
        /// Clock of what the client has delivered.
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
    /// Question for the rooms.
    ListRooms,
    /// Make a room.
    CreateRoom {
        /// Its name; may be empty with `port`: then it is named by its port.
        name: String,
        /// Give it a port of its own, for classic clients.
        port: bool,
        /// The key that may close the room, beside the operator.
        maker: Option<Proof>,
        /// Wish that nothing of it is kept once it is closed, unless the server was started again meanwhile.
        temporary: bool,
    },
    /// Close a room: who has the key that it was made with may, and the operator.
    CloseRoom {
        /// Its name.
        name: String,
        /// The operator's token, or empty.
        operator: SecretText,
        /// The key that it was made with.
        maker: Option<Proof>,
    },
    /// Question for the rooms that were closed and are kept for a while. For the operator.
    ListClosedRooms {
        /// The operator's token.
        operator: SecretText,
    },
    /// Open a closed room again. For the operator.
    OpenRoom {
        /// Its name.
        name: String,
        /// The operator's token.
        operator: SecretText,
        /// Its [number](super::ClosedRoom::number); without one, the room of that name that was closed last.
        number: Option<u64>,
    },
    /// Send these again.
    Want(Vec<MissingRange>),
    /// Clock of what the client has delivered. Answered with the server's clock.
    Clock(VectorClock),
    /// Question who is in the room.
    ListMembers,
    /// Question what was said in a room. Answered with a page.
    History(HistoryQuestion),
    /// Observations of what the member has held and delivered of others' messages, for those who watch. On the wire the
    /// clocks of what is held stand behind all else.
    Observed {
        /// In order.
        seen: Vec<Observation>,
        /// Number of those since the frame before that are not told.
        left_out: u64,
    },
    /// The position up to which all records are delivered here.
    Acknowledge(Position),
    /// Tell from now on, while this connection lasts, up to where members have delivered.
    FollowStable,
}

/// Event of a message at a member.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Observation {
    /// Id of the message.
    pub message: MessageId,
    /// Event that was observed.
    pub what: Observed,
}

/// Events of messages that arrive.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Observed {
    /// Delivery.
    Delivered {
        /// Time for which it had been held back, in milliseconds; `None`: it was not.
        held_millis: Option<u64>,
    },
    /// Hold: it waits for a cause.
    Held {
        /// Time for which it has been held by now, in milliseconds.
        held_millis: u64,
        /// A cause that has not been delivered.
        waits_for: MessageId,
        /// Clock of what had been delivered there then, if it is told.
        clock: Option<VectorClock>,
    },
}

impl Observed {
    /// Returns what had been delivered at the member when the message was held, if that is told.
    #[must_use]
    pub fn clock(&self) -> Option<&VectorClock> {
        match self {
            Self::Held { clock, .. } => clock.as_ref(),
            Self::Delivered { .. } => None,
        }
    }
}

/// Question for records of a room's log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HistoryQuestion {
    /// The room's name.
    pub room: String,
    /// Epoch of the log that a position is in: the [`Page::epoch`](super::Page::epoch) it came from. `None`: of whichever
    /// there is.
    pub epoch: Option<Epoch>,
    /// On which side of the place.
    pub direction: Direction,
    /// Place where the records begin or end.
    pub place: Place,
    /// Number of records at most; the server has a limit of its own.
    pub limit: u64,
    /// Time that the answer may wait, in milliseconds, where it would have nothing behind the place.
    pub wait_millis: u64,
}

/// On which side of a [`Place`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// The records before it, up to it.
    Before,
    /// The records behind it, from it on.
    After,
    /// The record, and as many on either side.
    Around,
}

/// A place in a room's log: a record, or between two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// Behind the last record.
    End,
    /// The record at this position; 0 is before the first, and what lies beyond the end is the end.
    Position(Position),
    /// The record of this message.
    Message(MessageId),
    /// Before the first record that the server delivered at this time or later, in milliseconds since 1970.
    Time(u64),
}

impl Fields<'_> {
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
            1 => Ok(Place::Position(self.position()?)),
            2 => Ok(Place::Message(self.message_id()?)),
            3 => Ok(Place::Time(self.number()?)),
            _ => Err(self.out_of_range()),
        }
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
            Self::Join { room, name, proof, create, maker, after } => {
                put_text(out, room);
                put_text(out, name);
                put_proof(out, proof);
                out.push(u8::from(*create));
                put_option(out, after.map(|(_, position)| position.get()));
                put_varint(out, Epoch::written(after.map(|(epoch, _)| epoch)));
                put_maker(out, maker.as_ref());
            }
            Self::Resume { room, member, proof, epoch, position, clock } => {
                put_text(out, room);
                put_member(out, *member);
                put_proof(out, proof);
                put_varint(out, epoch.number());
                put_position(out, *position);
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
                put_text(out, operator.reveal());
                put_maker(out, maker.as_ref());
            }
            Self::ListClosedRooms { operator } => put_text(out, operator.reveal()),
            Self::OpenRoom { name, operator, number } => {
                put_text(out, name);
                put_text(out, operator.reveal());
                out.push(u8::from(number.is_some()));
                number.iter().for_each(|number| put_varint(out, *number));
            }
            Self::Want(ranges) => put_ranges(out, ranges),
            Self::Clock(clock) => clock.encode(out),
            Self::History(question) => {
                put_text(out, &question.room);
                put_varint(out, Epoch::written(question.epoch));
                out.push(match question.direction {
                    Direction::Before => 0,
                    Direction::After => 1,
                    Direction::Around => 2,
                });
                match question.place {
                    Place::End => out.push(0),
                    Place::Position(position) => {
                        out.push(1);
                        put_position(out, position);
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
            Self::Acknowledge(position) => put_position(out, *position),
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
                after: {
                    let (position, epoch) = (f.option()?.map(Position::new), f.epoch()?);
                    position.map(|position| (epoch, position))
                },
                maker: f.maker()?,
            },
            0x03 => Self::Resume {
                room: f.text()?,
                member: f.member()?,
                proof: f.proof()?,
                epoch: f.epoch()?,
                position: f.position()?,
                clock: f.clock()?,
            },
            0x04 => Self::Broadcast(f.rest()),
            0x05 => Self::Leave { last_seq: f.number()? },
            0x06 => Self::Ping(f.number()?),
            0x07 => Self::ListRooms,
            0x08 => {
                Self::CreateRoom { name: f.text()?, port: f.flag()?, maker: f.maker()?, temporary: f.flag()? }
            }
            0x09 => Self::CloseRoom { name: f.text()?, operator: f.text()?.into(), maker: f.maker()? },
            0x0a => Self::Want(f.ranges()?),
            0x0b => Self::Clock(f.clock()?),
            0x0c => Self::ListMembers,
            0x0d => Self::History(HistoryQuestion {
                room: f.text()?,
                epoch: Epoch::read(f.number()?),
                direction: f.direction()?,
                place: f.place()?,
                limit: f.number()?,
                wait_millis: f.number()?,
            }),
            0x13 => Self::ListClosedRooms { operator: f.text()?.into() },
            0x14 => Self::OpenRoom {
                name: f.text()?,
                operator: f.text()?.into(),
                number: if f.flag()? { Some(f.number()?) } else { None },
            },
            0x15 => Self::Acknowledge(f.position()?),
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
