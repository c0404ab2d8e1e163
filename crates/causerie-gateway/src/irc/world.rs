//! What a session asks of the rooms and people around it.

use std::time::Duration;

use cbcast::{MemberId, MessageId};

use causerie_core::content::body::Body;
use causerie_core::content::name::Name;
use causerie_core::id::Position;
use causerie_core::room::{HostedSayError, JoinError, Topic};

/// A member of a room, seen from outside.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemberView {
    /// Its id.
    pub member: MemberId,
    /// Name of the member there.
    pub name: String,
    /// Person behind a member that came by IRC.
    pub person: Option<PersonView>,
}

/// Somebody with an IRC connection.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PersonView {
    /// Its nick.
    pub nick: String,
    /// The username that it gave, marked as unchecked by a `~`.
    pub user: String,
    /// Host that stands for its address.
    pub host: String,
    /// Name that it gives itself beside that.
    pub realname: String,
    /// Words on being away, if it is.
    pub away: Option<String>,
    /// Time at which it came, and that at which it said something last, in milliseconds since 1970.
    pub came: u64,
    /// See `came`.
    pub spoke: u64,
    /// Its connection is encrypted.
    pub encrypted: bool,
    /// Fingerprint of the certificate that its client has shown, in hexadecimal digits.
    pub certificate: Option<String>,
    /// The rooms that it is in.
    pub rooms: Vec<String>,
}

impl PersonView {
    /// Returns what tells it from others of that nick: `USER@HOST`.
    #[must_use]
    pub fn mask(&self) -> String {
        format!("{}@{}", self.user, self.host)
    }

    /// Returns what stands before whatever it says: `NICK!USER@HOST`.
    #[must_use]
    pub fn source(&self) -> String {
        format!("{}!{}", self.nick, self.mask())
    }
}

/// A room, seen from outside.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RoomView {
    /// Its name.
    pub name: String,
    /// Topic of the room.
    pub topic: Option<Topic>,
    /// Time at which it was made, in milliseconds since 1970.
    pub created: u64,
}

/// Somebody is in a room now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Joined {
    /// The room's number.
    pub id: u64,
    /// Member as which it has joined.
    pub member: MemberId,
    /// The position of its *Joined*: what is behind it will be told.
    pub position: Position,
    /// The room, with the newcomer.
    pub view: RoomView,
}

/// Refusal of a join.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum JoinRefusal {
    /// No such room, and it cannot be made.
    NoSuchRoom(String),
    /// Too many joins from there at the moment.
    TooOften(String),
    /// The room does not take this member.
    Room(JoinError),
}

/// Rooms, and the server around them, as a session asks them. Nothing that is answered is told to the client before
/// it is stored.
pub trait IrcWorld {
    /// Milliseconds since 1970, for people.
    fn now(&self) -> u64;
    /// Takes one change of who this connection is out of its budget, or returns for how long there is none.
    fn spend_change(&mut self) -> Result<(), Duration>;
    /// Keeps that nick for this connection, beside the one that it has.
    ///
    /// # Errors
    /// The nick of another connection, or the name of another member of any room, that reads the same.
    fn claim(&mut self, nick: &Name) -> Result<(), Name>;
    /// Goes by the nick that was claimed last; the one before is free.
    fn adopt(&mut self, nick: &Name);
    /// Gives back the nick that was claimed last; the one before stays.
    fn disclaim(&mut self, nick: &Name);
    /// The client has registered, with that username.
    fn register(&mut self, user: &str);
    /// Tells others of the realname, and of being away. `None`: as before.
    fn describe(&mut self, realname: Option<&str>, away: Option<Option<&str>>);
    /// Finds who has that nick.
    fn person(&self, nick: &str) -> Option<PersonView>;
    /// Counts the connections that have registered.
    fn people(&self) -> usize;
    /// Returns the name of the room that IRC's rules for names make of this one, if there is any.
    fn resolve(&self, room: &str) -> Option<String>;
    /// Counts the rooms.
    fn room_count(&self) -> usize;
    /// The rooms whose names come after this one, in order, `max` at most: names, how many are in each, and topics.
    fn rooms(&self, after: Option<&str>, max: usize) -> Vec<(String, u64, Option<String>)>;
    /// A room as it is now.
    fn look(&mut self, room: &str) -> Option<RoomView>;
    /// The members of a room who have come after this one, in order, `max` at most.
    fn members(&mut self, room: &str, after: Option<MemberId>, max: usize) -> Vec<MemberView>;
    /// A member of any room by its name there; in which rooms.
    fn find(&self, nick: &str) -> Vec<String>;
    /// Returns why the room would not take somebody of that name now, if so.
    fn could_join(&self, room: &str, name: &str) -> Result<(), JoinRefusal>;
    /// Joins, and makes the room if need be.
    fn join(&mut self, room: &str, name: &str) -> Result<Joined, JoinRefusal>;
    /// Its members in these rooms go on under another name, as the members that stand there afterwards. Where a room
    /// refuses, all have the name before again: the room's number, and why.
    fn rename(&mut self, members: &mut [(u64, MemberId)], name: &Name) -> Result<(), (u64, JoinRefusal)>;
    /// Invites who has that nick into a room; `false` if too many invitations wait for it.
    fn invite(&mut self, nick: &str, channel: &str) -> bool;
    /// A conversation with who has that nick, begun if need be: the number of its room, and as whom this connection is
    /// in it; or why there can be none.
    fn converse(&mut self, nick: &str) -> Result<(u64, MemberId), String>;
    /// The conversation with who has that nick, if there is one.
    fn conversation(&self, nick: &str) -> Option<u64>;
    /// The nick of the other one in a conversation.
    fn other(&self, id: u64) -> Option<String>;
    /// A member of this connection leaves the room with this number.
    fn part(&mut self, id: u64, member: MemberId, reason: &str);
    /// Leaves all rooms at once, with that reason; those with IRC clients are told the other.
    fn quit(&mut self, reason: &str, told: &str);
    /// A member of this connection says something.
    fn say(&mut self, id: u64, member: MemberId, body: &Body) -> Result<MessageId, HostedSayError>;
}
