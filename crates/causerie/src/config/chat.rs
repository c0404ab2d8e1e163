//! The settings of `causerie chat`.

use std::path::PathBuf;

use causerie_client::Disturbance;
use clap::{Args, ValueEnum};

use super::security::{self, SecurityArgs};

/// Join a room and talk.
#[derive(Args, Debug)]
pub(crate) struct ChatArgs {
    /// The configuration file of the full-screen client. By default chat.toml in the platform's folder for configurations. The
    /// first chat in a terminal asks for server and name, and writes it.
    #[arg(long, value_name = "FILE", env = "CAUSERIE_CHAT_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Lines in, lines out, also in a terminal; in pipes always.
    #[arg(long)]
    pub(crate) plain: bool,

    /// Every line is said as it is, also one that reads like a command.
    #[arg(long)]
    pub(crate) text: bool,

    /// Show what was said before you joined (always in a terminal).
    #[arg(long)]
    pub(crate) history: bool,

    /// Folder for who you are in a room and for what you have said, until the server has it: a chat that is killed
    /// goes on where it was. By default in the platform's folder for the state of programs.
    #[arg(long, value_name = "DIR", env = "CAUSERIE_STATE")]
    pub(crate) state: Option<PathBuf>,

    /// Disturb the connection on purpose, to see causal order at work: delay=0..800ms,loss=5%,dup=2%,seed=7.
    #[arg(long, value_name = "FAULTS")]
    pub(crate) link: Option<Disturbance>,

    #[command(flatten, next_help_heading = security::HEADING)]
    pub(crate) security: SecurityArgs,

    #[command(flatten, next_help_heading = HEADING)]
    pub(crate) settings: ChatSettings,
}

/// Heading by which the settings are told from the other flags.
pub(crate) const HEADING: &str = "Options that the configuration file can have too";

/// Settings that the configuration file can have. Each has one name: `--name`, `CAUSERIE_NAME` and `name = `; the server is not a
/// flag but the argument.
#[derive(Args, Clone, Debug)]
pub(crate) struct ChatSettings {
    /// The server, 127.0.0.1:12343 if there is none.
    #[arg(value_name = "HOST[:PORT]", env = "CAUSERIE_SERVER")]
    pub(crate) server: Option<String>,

    /// Your name. Without it you are asked, or called as on your machine.
    #[arg(long, env = "CAUSERIE_NAME")]
    pub(crate) name: Option<String>,

    /// The room to join; it is created if it does not exist. Without it you are asked, or it is the lobby.
    #[arg(long, env = "CAUSERIE_ROOM")]
    pub(crate) room: Option<String>,

    /// Colours. By default they read on dark and on light backgrounds, and NO_COLOR is heeded.
    #[arg(long, value_enum, env = "CAUSERIE_THEME")]
    pub(crate) theme: Option<Theme>,

    /// Signal that somebody has written your name: the terminal's bell, or a notice of the desktop, by the sequence that your
    /// terminal knows.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Notify::Bell, env = "CAUSERIE_NOTIFY")]
    pub(crate) notify: Notify,

    /// Make addresses of web pages links, where the terminal opens such (OSC 8).
    #[arg(long, value_name = "BOOL", default_value_t = true, default_missing_value = "true", num_args = 0..=1,
        require_equals = true, action = clap::ArgAction::Set, env = "CAUSERIE_LINKS")]
    pub(crate) links: bool,

    /// List rooms at the left. By default they are as soon as there are two.
    #[arg(long, value_name = "BOOL", default_missing_value = "true", num_args = 0..=1, require_equals = true,
        env = "CAUSERIE_ROOMS_PANE")]
    pub(crate) rooms_pane: Option<bool>,

    /// List members at the right, where there is room.
    #[arg(long, value_name = "BOOL", default_value_t = true, default_missing_value = "true", num_args = 0..=1,
        require_equals = true, action = clap::ArgAction::Set, env = "CAUSERIE_MEMBERS_PANE")]
    pub(crate) members_pane: bool,

    /// Show at the bottom how many messages of each have been delivered here (the vector clock).
    #[arg(long, value_name = "BOOL", default_value_t = false, default_missing_value = "true", num_args = 0..=1,
        require_equals = true, action = clap::ArgAction::Set, env = "CAUSERIE_CLOCK")]
    pub(crate) clock: bool,
}

/// Signal of a mention.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Notify {
    Bell,
    /// As iTerm2, WezTerm, Ghostty and kitty have it
    Osc9,
    /// As foot, urxvt, Ghostty and WezTerm have it
    Osc777,
    /// Nothing
    Off,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Theme {
    /// Colours that read on dark and on light backgrounds
    Auto,
    Dark,
    Light,
    /// No colours
    Mono,
}
