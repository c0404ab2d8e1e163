//! Parts of a session's state, and the limits of what it keeps.

use std::collections::BTreeSet;

use cbcast::{MemberId, MessageId};

use crate::irc::history::{HistoryRequest, TargetsRequest};
use crate::irc::message::Line;
use crate::irc::split::fitting;
use causerie_core::content::body::TOPIC_BYTES_MAX;

/// Messages of one answer to `CHATHISTORY`.
pub const HISTORY_MAX: usize = 100;
/// Rooms that a connection may be in.
pub(super) const ROOMS_MAX: usize = 100;
/// Targets of one message.
pub(super) const TARGETS_MAX: usize = 4;
/// Lines of one text.
pub(super) const LINES_MAX: usize = 100;
/// Bytes of a topic: with what stands before it, it fits on a line.
pub(super) const TOPIC_MAX: usize = 390;
/// Bytes of what is told of being away, and of a name beside the nick.
pub(super) const AWAY_MAX: usize = 300;
pub(super) const REALNAME_MAX: usize = 150;
/// Bytes of a label [IRCv3, labeled-response].
pub(super) const LABEL_MAX: usize = 64;

const _: () = assert!(TOPIC_MAX <= TOPIC_BYTES_MAX);

/// Need of a session from elsewhere before its command is done: answer in this order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SessionNeed {
    /// A piece of history, for [`IrcSession::history`](super::IrcSession::history).
    History(HistoryRequest),
    /// Names of conversations, for [`IrcSession::targets`](super::IrcSession::targets).
    Targets(TargetsRequest),
}

/// Words of a server about itself.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ServerView {
    /// Its own name, with a dot in it.
    pub server: String,
    /// Host that others are shown instead of this connection's address.
    pub host: String,
    /// Name of the network.
    pub network: String,
    /// Program and version.
    pub version: String,
    /// Lines of welcome.
    pub motd: Vec<String>,
    /// Time at which it began, in milliseconds since 1970.
    pub since: u64,
    /// Characters of a nick.
    pub nick_max: usize,
    /// Bytes of a text.
    pub text_max: usize,
    /// Number of messages that who joins is shown, if it cannot ask for history.
    pub replay: usize,
    /// Seconds for which the client is to come by TLS only, where its certificate is one that clients trust [IRCv3, sts].
    pub encrypted_for: Option<u64>,
}

#[derive(Clone, Debug)]
pub(super) struct ChannelSeat {
    pub(super) room: String,
    pub(super) id: u64,
    pub(super) member: MemberId,
    /// Members that it was before it took another nick.
    pub(super) former: Vec<MemberId>,
    /// Position up to which its user has read.
    pub(super) read: Option<u64>,
}

/// Spot where something can be said.
pub(super) struct Spot {
    /// Channel or nick, as the client calls it.
    pub(super) target: String,
    pub(super) id: u64,
    pub(super) member: MemberId,
}

impl ChannelSeat {
    pub(super) fn is_own(&self, member: MemberId) -> bool {
        self.member == member || self.former.contains(&member)
    }
}

/// Next step of an answer.
#[derive(Clone, Debug)]
pub(super) enum AnswerStep {
    /// Joining a channel.
    Join(String),
    /// The names behind that member.
    Names { room: String, after: Option<MemberId> },
    /// The members behind that one, as `WHO` tells of them.
    Who { room: String, mask: String, fields: Option<String>, after: Option<MemberId> },
    /// The rooms behind the one of that name, if these are wanted (by their folded names) or none is named.
    List { wanted: BTreeSet<String>, after: Option<String> },
    /// A line of it.
    Tell(Line),
    /// Replay of what was said before a join.
    Replay(HistoryRequest),
}

/// Message that a command has said, and that will come back.
#[derive(Clone, Copy, Debug)]
pub(super) struct AwaitedMessage {
    pub(super) room: u64,
    pub(super) id: MessageId,
    /// The client is sent it then; otherwise it is silent.
    pub(super) is_heard: bool,
}

/// An answer that is not complete.
#[derive(Clone, Debug)]
pub(super) struct PendingAnswer {
    /// Until something has it.
    pub(super) label: Option<String>,
    /// The batch that all of it is in, which has been begun.
    pub(super) batch: Option<String>,
    /// Number of messages that have not come back.
    pub(super) awaited: usize,
}

/// A text that comes in several lines [IRCv3, multiline].
#[derive(Clone, Debug)]
pub(super) struct Multiline {
    pub(super) name: String,
    pub(super) target: String,
    pub(super) label: Option<String>,
    pub(super) reply: Option<String>,
    /// Command of the lines, once there is one.
    pub(super) command: Option<String>,
    pub(super) text: Option<String>,
    pub(super) lines: usize,
    pub(super) failed: bool,
}

pub(super) fn folded(room: &str) -> String {
    room.to_ascii_lowercase()
}

/// The targets of a list with commas, each once.
pub(super) fn targets(list: &str) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    list.split(',').filter(|target| !target.is_empty() && seen.insert(*target)).collect()
}

pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..fitting(text, bytes_max)]
}
