//! The IRC gateway without I/O: the grammar of lines, what clients may negotiate, and the session that translates
//! between an IRC client and rooms.
//!
//! Cited as `[RFC2812, section]`, `[Modern, section]` (modern.ircdocs.horse) and `[IRCv3, name]` (ircv3.net/specs).

mod capability;
#[cfg(test)]
mod conformance;
mod history;
mod message;
mod moved;
mod numeric;
mod render;
mod session;
mod shared;
mod split;
mod world;

pub use capability::Capabilities;
pub use history::{Bound, HistoryRequest, TargetsRequest, Window};
pub use message::{CLIENT_TAGS_BYTES_MAX, IrcItem, IrcLines, IrcMessage, LINE_BYTES_MAX, Line};
pub use moved::{About, FoundRecord, Move, MoveKind};
pub use render::{room_of, shown_nick};
pub use session::{HISTORY_MAX, IrcSession, ServerView, SessionNeed};
pub use shared::{IrcRendering, Perspective};
pub use split::{TextPiece, split};
pub use world::{IrcWorld, JoinRefusal, Joined, MemberView, PersonView, RoomView};
