//! The settings of `causerie serve`. Each has one name: `--name`, `CAUSERIE_NAME`, and `name = ` in the file.
//!
//! The flags are the only list, which is why this is long. A file's values are checked by the flags' own parsers and become
//! their defaults, so flags come before the environment, the environment before the file, and the file before what is built in.

mod encryption;
mod values;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use causerie_core::id::SecretText;
use causerie_core::room::{MEMBERS_MAX, RoomSettings};
use causerie_server::{AddressLimits, CONTROL_SOCKET, IrcSettings, Protocol, Settings, TlsSettings};
use causerie_store::Retention;
use clap::builder::{NonEmptyStringValueParser, TypedValueParser};
use clap::parser::ValueSource;
use clap::{Arg, Args, Command, FromArgMatches, ValueEnum};

use super::file::{SettingKind, UsageError, check_environment, name, read_file, read_text, wrapped};
use crate::address::{DEFAULT_SERVER, listening};
use encryption::{EncryptionArgs, Plain, TlsMode};
use values::{
    host_names, irc_network, irc_server_name, log_filter, names, networks, parse_networks, range, read_secret,
};

/// Open rooms for others to talk in.
///
/// Every setting can be given as a flag, in the environment, or in the configuration file, under the same name; the first
/// of these that has it counts.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServeArgs {
    /// The configuration file. By default config.toml in the platform's folder for configurations, if it is there.
    #[arg(long, value_name = "FILE", env = "CAUSERIE_CONFIG")]
    config: Option<PathBuf>,

    /// Print the configuration as a configuration file, and end.
    #[arg(long)]
    pub(crate) print_config: bool,

    #[command(flatten)]
    pub(crate) fixed: Fixed,

    #[command(flatten, next_help_heading = RELOADED)]
    pub(crate) live: Live,
}

/// The heading of the settings that SIGHUP reads again; by it they are told from the others.
const RELOADED: &str = "Options that SIGHUP reads again";

/// Settings that count from the start to the end.
#[derive(Args, Clone, Debug)]
pub(crate) struct Fixed {
    /// Address to listen on. Rooms made by `./createRoom` get ports above this one.
    #[arg(long, value_name = "ADDRESS[:PORT]", default_value = DEFAULT_SERVER, value_parser = listening,
        env = "CAUSERIE_LISTEN")]
    pub(crate) listen: SocketAddr,

    /// A port on which only the native protocol is spoken, beside the one for all.
    #[arg(long, value_name = "ADDRESS:PORT", env = "CAUSERIE_LISTEN_NATIVE")]
    listen_native: Option<SocketAddr>,

    /// A port on which only classic clients are served, beside the one for all.
    #[arg(long, value_name = "ADDRESS:PORT", env = "CAUSERIE_LISTEN_CLASSIC")]
    listen_classic: Option<SocketAddr>,

    /// A port on which only HTTP is spoken, beside the one for all.
    #[arg(long, value_name = "ADDRESS:PORT", env = "CAUSERIE_LISTEN_HTTP")]
    listen_http: Option<SocketAddr>,

    /// A port on which only IRC is spoken, beside the one for all.
    #[arg(long, value_name = "ADDRESS:PORT", env = "CAUSERIE_LISTEN_IRC")]
    listen_irc: Option<SocketAddr>,

    /// Folder for the rooms. By default in the platform's folder for data of programs.
    #[arg(long, value_name = "DIR", env = "CAUSERIE_DATA")]
    pub(crate) data: Option<PathBuf>,

    /// Keep nothing: rooms and what was said in them are gone when the server stops.
    #[arg(
        long, value_name = "BOOL", default_value_t = false, default_missing_value = "true",
        num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set, env = "CAUSERIE_FORGET"
    )]
    pub(crate) forget: bool,

    /// Longest text, in bytes.
    #[arg(long, value_name = "N", default_value_t = RoomSettings::default().text_bytes_max,
        value_parser = range::<usize>(1, 1 << 24), env = "CAUSERIE_TEXT_MAX")]
    text_max: usize,

    /// Members of one room at once.
    #[arg(long, value_name = "N", default_value_t = RoomSettings::default().members_max,
        value_parser = range::<usize>(1, MEMBERS_MAX as u64), env = "CAUSERIE_MEMBERS_MAX")]
    members_max: usize,

    /// Part of each room's log that is kept in memory, in MiB; what is older is read from the disk.
    #[arg(long, value_name = "MIB", default_value_t = RoomSettings::default().log_bytes_max >> 20,
        value_parser = range::<usize>(0, 1 << 20), env = "CAUSERIE_LOG_MEMORY")]
    log_memory: usize,

    /// Encryption by TLS, on the same ports as clear text: off, by a certificate that the server signs itself and keeps, by one
    /// from files, or by one that an authority makes for tls-name (ACME). By default self-signed where others than this machine can connect, files where tls-cert is given, and
    /// else off.
    #[arg(long, value_name = "SOURCE", value_enum, env = "CAUSERIE_TLS")]
    tls: Option<TlsMode>,

    /// Serve classic clients, who cannot encrypt. By default where nobody but this machine can connect, or plain is any.
    #[arg(
        long, value_name = "BOOL", default_missing_value = "true", num_args = 0..=1, require_equals = true,
        env = "CAUSERIE_CLASSIC"
    )]
    classic: Option<bool>,

    /// Form of the log on standard error: lines for people, or JSON, one object a line.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text, env = "CAUSERIE_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
}

/// Settings that SIGHUP reads again.
#[derive(Args, Clone, Debug)]
pub(crate) struct Live {
    /// Longest name of a member, in characters.
    #[arg(long, value_name = "N", default_value_t = RoomSettings::default().name_chars_max,
        value_parser = range::<usize>(1, 1_000), env = "CAUSERIE_NAME_MAX")]
    name_max: usize,

    /// Rooms at once.
    #[arg(long, value_name = "N", default_value_t = Settings::default().rooms_max,
        value_parser = range::<usize>(1, u64::MAX), env = "CAUSERIE_ROOMS_MAX")]
    rooms_max: usize,

    /// Rooms with ports of their own at once, as `./createRoom` makes them.
    #[arg(long, value_name = "N", default_value_t = Settings::default().ports_max,
        value_parser = range::<usize>(0, u64::MAX), env = "CAUSERIE_PORTS_MAX")]
    ports_max: usize,

    /// Hours that a room stays in which nobody is and nothing is said. Rooms that were made from this machine stay. 0 is
    /// for ever.
    #[arg(long, value_name = "HOURS", default_value_t = Settings::default().rooms_idle.as_secs() / 3_600,
        value_parser = range::<u64>(0, 1_000_000), env = "CAUSERIE_ROOMS_IDLE")]
    rooms_idle: u64,

    /// Connections at once of one address: one of IPv4, or a network of 64 bits of IPv6. For this and what follows about
    /// addresses 0 is no limit.
    #[arg(long, value_name = "N", default_value_t = AddressLimits::default().connections,
        value_parser = range::<usize>(0, u64::MAX), env = "CAUSERIE_ADDRESS_CONNECTIONS")]
    address_connections: usize,

    /// New connections of one address in ten minutes.
    #[arg(long, value_name = "N", default_value_t = AddressLimits::default().rate.into(),
        value_parser = range::<u64>(0, 1_000_000_000), env = "CAUSERIE_ADDRESS_RATE")]
    address_rate: u64,

    /// Connections at once of one address that have not shown yet what they speak; of more the oldest closes.
    #[arg(long, value_name = "N", default_value_t = AddressLimits::default().silent,
        value_parser = range::<usize>(0, u64::MAX), env = "CAUSERIE_ADDRESS_SILENT")]
    address_silent: usize,

    /// Rooms at once that one address has made.
    #[arg(long, value_name = "N", default_value_t = AddressLimits::default().rooms,
        value_parser = range::<usize>(0, u64::MAX), env = "CAUSERIE_ADDRESS_ROOMS")]
    address_rooms: usize,

    /// Joins and new rooms of one address in ten minutes.
    #[arg(long, value_name = "N", default_value_t = AddressLimits::default().joins.into(),
        value_parser = range::<u64>(0, 1_000_000_000), env = "CAUSERIE_ADDRESS_JOINS")]
    address_joins: u64,

    /// Messages a second that one address may go on saying: what comes faster waits, and by HTTP is refused for now.
    #[arg(long, value_name = "N", default_value_t = AddressLimits::default().say_rate.into(),
        value_parser = range::<u64>(0, 1_000_000), env = "CAUSERIE_SAY_RATE")]
    say_rate: u64,

    /// Messages that one address may say at once.
    #[arg(long, value_name = "N", default_value_t = AddressLimits::default().say_burst.into(),
        value_parser = range::<u64>(1, 1_000_000), env = "CAUSERIE_SAY_BURST")]
    say_burst: u64,

    /// Let the limits of addresses count for this machine's own, too: where a proxy passes on what others send and is
    /// not among trusted-proxies, all of them share one.
    #[arg(
        long, value_name = "BOOL", default_value_t = AddressLimits::default().loopback, default_missing_value = "true",
        num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set, env = "CAUSERIE_ADDRESS_LOOPBACK"
    )]
    address_loopback: bool,

    /// Connections at once.
    #[arg(long, value_name = "N", default_value_t = Settings::default().connections_max,
        value_parser = range::<usize>(1, u64::MAX), env = "CAUSERIE_CONNECTIONS_MAX")]
    connections_max: usize,

    /// Memory for what clients leave unread and rooms hold back, all of them together, in MiB; beyond it connections that
    /// read nothing are ended.
    #[arg(long, value_name = "MIB", default_value_t = Settings::default().unread_bytes_max >> 20,
        value_parser = range::<usize>(1, 1 << 20), env = "CAUSERIE_UNREAD_MEMORY")]
    unread_memory: usize,

    /// Connections at once that have not shown yet what they speak; of more the oldest closes.
    #[arg(long, value_name = "N", default_value_t = Settings::default().silent_max,
        value_parser = range::<usize>(1, u64::MAX), env = "CAUSERIE_SILENT_MAX")]
    silent_max: usize,

    /// Time that a connection may say nothing at all before it closes, in seconds. The original client connects before it asks
    /// its user anything.
    #[arg(long, value_name = "SECONDS", default_value_t = Settings::default().silent_time.as_secs(),
        value_parser = range::<u64>(1, 86_400), env = "CAUSERIE_SILENT_TIME")]
    silent_time: u64,

    /// Time that a client may take to say a frame that it has begun, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = Settings::default().first_words.as_secs(),
        value_parser = range::<u64>(1, 86_400), env = "CAUSERIE_FRAME_TIME")]
    frame_time: u64,

    /// Origins of web pages that may use the API beside the server's own, such as `https://chat.example.org`, with commas
    /// between them.
    #[arg(long, value_name = "ORIGINS", value_parser = NonEmptyStringValueParser::new(),
        env = "CAUSERIE_ALLOW_ORIGIN")]
    allow_origin: Option<String>,

    /// Names under which browsers may ask for the server beside its addresses and `localhost`, such as `chat.example.org`, with
    /// commas between them. Any other is refused, so that no page can give its own name the server's address.
    #[arg(long, value_name = "NAMES", value_parser = host_names, env = "CAUSERIE_ALLOW_HOST")]
    allow_host: Option<String>,

    #[command(flatten)]
    encryption: EncryptionArgs,

    /// Networks of reverse proxies, such as `127.0.0.1/32`, with commas between them. They are believed when they say whom they
    /// speak for, and may speak in clear text. Who comes through them is never taken for this machine.
    #[arg(long, value_name = "NETWORKS", value_parser = networks, env = "CAUSERIE_TRUSTED_PROXIES")]
    trusted_proxies: Option<String>,

    /// Each connection of a trusted proxy has to begin with a PROXY header. One that is there counts without this, too.
    #[arg(
        long, value_name = "BOOL", default_value_t = Settings::default().proxy_protocol, default_missing_value = "true",
        num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set, env = "CAUSERIE_PROXY_PROTOCOL"
    )]
    proxy_protocol: bool,

    /// Serve IRC clients.
    #[arg(
        long, value_name = "BOOL", default_value_t = IrcSettings::default().enabled, default_missing_value = "true",
        num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set, env = "CAUSERIE_IRC"
    )]
    irc: bool,

    /// Name of the server for IRC clients, with a dot in it.
    #[arg(long, value_name = "NAME", default_value = IrcSettings::default().server_name,
        value_parser = irc_server_name, env = "CAUSERIE_IRC_SERVER_NAME")]
    irc_server_name: String,

    /// Name of the network that IRC clients show.
    #[arg(long, value_name = "NAME", default_value = IrcSettings::default().network,
        value_parser = irc_network, env = "CAUSERIE_IRC_NETWORK")]
    irc_network: String,

    /// The file whose lines IRC clients are shown when they connect.
    #[arg(long, value_name = "FILE", env = "CAUSERIE_IRC_MOTD")]
    irc_motd: Option<PathBuf>,

    /// Messages that an IRC client is shown at most, when it joins a room, of those that it has not seen, unless it can
    /// ask for history itself. 0 is none.
    #[arg(long, value_name = "N", default_value_t = IrcSettings::default().history,
        value_parser = range::<usize>(0, causerie_gateway::irc::HISTORY_MAX as u64), env = "CAUSERIE_IRC_HISTORY")]
    irc_history: usize,

    /// Lines a second that an IRC client may go on sending: what comes faster waits. 0 is no limit.
    #[arg(long, value_name = "N", default_value_t = IrcSettings::default().lines_per_second.into(),
        value_parser = range::<u64>(0, 1_000_000), env = "CAUSERIE_IRC_RATE")]
    irc_rate: u64,

    /// Time that an IRC client may take to say who it is, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = IrcSettings::default().registration.as_secs(),
        value_parser = range::<u64>(1, 86_400), env = "CAUSERIE_IRC_REGISTRATION_TIME")]
    irc_registration_time: u64,

    /// Messages that newcomers are shown of what was said before.
    #[arg(long, value_name = "N", default_value_t = RoomSettings::default().history,
        value_parser = range::<u64>(0, 1_000_000_000), env = "CAUSERIE_HISTORY")]
    history: u64,

    /// Time that a member whose connection broke keeps its place, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = RoomSettings::default().grace.as_secs(),
        value_parser = range::<u64>(0, 315_360_000), env = "CAUSERIE_GRACE")]
    grace: u64,

    /// Remove messages older than so many days. By default none is removed.
    #[arg(long, value_name = "DAYS", value_parser = range::<u64>(0, 1_000_000), env = "CAUSERIE_KEEP_DAYS")]
    keep_days: Option<u64>,

    /// Keep at most so many messages a room.
    #[arg(long, value_name = "N", value_parser = range::<u64>(0, u64::MAX), env = "CAUSERIE_KEEP_MESSAGES")]
    keep_messages: Option<u64>,

    /// Keep at most so many MiB of messages a room.
    #[arg(long, value_name = "MIB", value_parser = range::<u64>(0, 1 << 40), env = "CAUSERIE_KEEP_MIB")]
    keep_mib: Option<u64>,

    /// Days that a room is kept that was closed: so long the operator can open it again. Then it is removed.
    #[arg(long, value_name = "DAYS", default_value_t = Settings::default().closed.as_secs() / 86_400,
        value_parser = range::<u64>(0, 36_500), env = "CAUSERIE_CLOSED_DAYS")]
    closed_days: u64,

    /// Token with which one may close any room, open it again, and read /metrics. Better kept in a file of its own.
    #[arg(long, value_name = "TOKEN", value_parser = NonEmptyStringValueParser::new().map(SecretText::from),
        env = "CAUSERIE_OPERATOR_TOKEN", hide_env_values = true)]
    operator_token: Option<SecretText>,

    /// The file that the operator's token is read from.
    #[arg(long, value_name = "FILE", env = "CAUSERIE_OPERATOR_TOKEN_FILE")]
    operator_token_file: Option<PathBuf>,

    /// Lines of [`irc_motd`](Self::irc_motd).
    #[arg(skip)]
    irc_motd_lines: Vec<String>,

    /// Time that connections may take at the end to read what was said so far, in seconds; then they are cut.
    #[arg(long, value_name = "SECONDS", default_value_t = Settings::default().drain.as_secs(),
        value_parser = range::<u64>(0, 86_400), env = "CAUSERIE_DRAIN")]
    drain: u64,

    /// Level of the log: off, error, warn, info, debug or trace, or a filter such as info,causerie_server=debug.
    #[arg(long, value_name = "FILTER", default_value = "info", value_parser = log_filter, env = "CAUSERIE_LOG")]
    pub(crate) log: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl ServeArgs {
    /// Returns whether others than this machine can connect, be it through a proxy.
    fn is_exposed(&self) -> bool {
        let Fixed { listen, listen_native, listen_classic, listen_http, listen_irc, .. } = &self.fixed;
        let own = [listen_native, listen_classic, listen_http, listen_irc];
        let mut all = own.into_iter().flatten().chain([listen]);
        self.has_proxies() || all.any(|address| !address.ip().to_canonical().is_loopback())
    }

    fn has_proxies(&self) -> bool {
        self.live.trusted_proxies.is_some()
    }

    fn tls_mode(&self) -> TlsMode {
        self.live.encryption.mode(self.fixed.tls, self.is_exposed())
    }

    fn serves_classic(&self) -> bool {
        let is_for_all = !self.is_exposed() || self.live.encryption.plain == Plain::Any;
        self.fixed.classic.unwrap_or(is_for_all)
    }

    /// Returns the settings of TLS, or, where it is off, those of a server that signs its own certificate; and whether it is on.
    pub(crate) fn certificate_settings(&self) -> (TlsSettings, bool) {
        let (encryption, folder) = (&self.live.encryption, self.tls_folder());
        let tls = encryption.settings(self.tls_mode(), folder.as_deref());
        tls.map_or_else(|| (encryption.self_signed(folder.as_deref()), false), |tls| (tls, true))
    }

    /// Returns the folder that certificates are kept in, unless nothing is.
    fn tls_folder(&self) -> Option<PathBuf> {
        self.data().map(|data| data.join("tls"))
    }

    /// Returns the folder for the rooms, if they are kept.
    fn data(&self) -> Option<PathBuf> {
        self.fixed.data.clone().or_else(default_data).filter(|_| !self.fixed.forget)
    }

    /// Checks settings that depend on each other.
    fn check(&self) -> Result<(), UsageError> {
        let (mode, folder) = (self.tls_mode(), self.tls_folder());
        // Proxies have a way in, in clear text.
        let is_exposed = self.is_exposed() && !self.has_proxies();
        self.live.encryption.check(mode, is_exposed, folder.as_deref()).map_err(|why| UsageError(why.into()))
    }

    /// Returns the settings as the server knows them.
    pub(crate) fn settings(&self) -> Settings {
        let Self { fixed, live, .. } = self;
        let own_ports = [
            (Protocol::Native, fixed.listen_native),
            (Protocol::Classic, fixed.listen_classic),
            (Protocol::Http, fixed.listen_http),
            (Protocol::Irc, fixed.listen_irc),
        ];
        let own_ports = own_ports.into_iter().filter_map(|(protocol, address)| Some((protocol, address?)));
        let origins = live.allow_origin.iter().flat_map(|origins| origins.split(','));
        let mut hosts = names(live.allow_host.as_deref());
        hosts.extend(live.encryption.names());
        Settings {
            room: RoomSettings {
                name_chars_max: live.name_max,
                text_bytes_max: fixed.text_max,
                members_max: fixed.members_max,
                grace: Duration::from_secs(live.grace),
                history: live.history,
                log_bytes_max: fixed.log_memory << 20,
                admits: true,
            },
            rooms_max: live.rooms_max,
            ports_max: live.ports_max,
            rooms_idle: Duration::from_secs(live.rooms_idle * 3_600),
            address: AddressLimits {
                connections: live.address_connections,
                rate: u32::try_from(live.address_rate).unwrap_or(u32::MAX),
                silent: live.address_silent,
                rooms: live.address_rooms,
                joins: u32::try_from(live.address_joins).unwrap_or(u32::MAX),
                say_rate: u32::try_from(live.say_rate).unwrap_or(u32::MAX),
                say_burst: u32::try_from(live.say_burst).unwrap_or(u32::MAX),
                loopback: live.address_loopback,
            },
            connections_max: live.connections_max,
            unread_bytes_max: live.unread_memory << 20,
            silent_max: live.silent_max,
            silent_time: Duration::from_secs(live.silent_time),
            first_words: Duration::from_secs(live.frame_time),
            answer_time: Settings::default().answer_time,
            drain: Duration::from_secs(live.drain),
            operator_token: live.operator_token.clone(),
            control: self.data().map(|data| data.join(CONTROL_SOCKET)),
            closed: Duration::from_secs(live.closed_days * 86_400),
            origins: origins.map(|origin| origin.trim().to_owned()).collect(),
            hosts,
            tls: live.encryption.settings(self.tls_mode(), self.tls_folder().as_deref()),
            clear_text: live.encryption.plain.into(),
            trusted_proxies: parse_networks(live.trusted_proxies.as_deref())
                .collect::<Result<_, _>>()
                .unwrap_or_default(),
            proxy_protocol: live.proxy_protocol,
            classic: self.serves_classic(),
            irc: IrcSettings {
                enabled: live.irc,
                server_name: live.irc_server_name.clone(),
                network: live.irc_network.clone(),
                motd: live.irc_motd_lines.clone(),
                history: live.irc_history,
                ping: IrcSettings::default().ping,
                lines_per_second: u32::try_from(live.irc_rate).unwrap_or(u32::MAX),
                registration: Duration::from_secs(live.irc_registration_time),
            },
            own_ports: own_ports.collect(),
            retention: Retention {
                age_millis: live.keep_days.map(|days| days.saturating_mul(86_400_000)),
                count: live.keep_messages,
                bytes: live.keep_mib.map(|mib| mib.saturating_mul(1 << 20)),
                before: None,
            },
        }
    }
}

/// Source of a value. The later ones count before the earlier.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Origin {
    BuiltIn,
    /// The file and the line in it.
    File(String),
    Environment,
    Flag,
}

#[derive(Clone, Eq, PartialEq)]
struct Given {
    value: Option<OsString>,
    origin: Origin,
}

impl fmt::Debug for Given {
    /// Without the value, which may be the operator's token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// The settings, and where each comes from.
#[derive(Clone, Debug)]
pub(crate) struct Configuration {
    pub(crate) args: ServeArgs,
    given: BTreeMap<String, Given>,
}

impl Configuration {
    /// Reads this program's flags, its environment and the configuration file.
    pub(crate) fn load() -> Result<Self, UsageError> {
        // Without a subcommand it serves, and nothing stands before the subcommand.
        let mut words: Vec<_> = env::args_os().collect();
        if words.get(1).is_some_and(|word| word == "serve") {
            words.remove(1);
        }
        Self::read(&words)
    }

    /// Reads these flags behind the program's name, its environment and the configuration file.
    pub(crate) fn read(words: &[OsString]) -> Result<Self, UsageError> {
        check_environment(&command())?;
        let parse = |command: Command| {
            let matches = command.try_get_matches_from(words);
            matches.map_err(|error| UsageError(error.to_string().trim_end().to_owned()))
        };
        let mut command = command();
        let chosen = parse(command.clone())?.get_one::<PathBuf>("config").cloned();
        let file = chosen.or_else(|| default_file().filter(|file| file.exists()));
        let mut lines = BTreeMap::new();
        if let Some(file) = &file {
            let args: Vec<_> = options(&command).collect();
            for (id, value, line) in read_file(file, &args, "causerie serve --print-config shows all")? {
                lines.insert(id.clone(), format!("{}:{line}", file.display()));
                command = command.mut_arg(id, |arg| arg.default_value(value));
            }
        }
        let matches = parse(command.clone())?;
        let mut given = BTreeMap::new();
        for arg in options(&command) {
            let id = arg.get_id().as_str();
            let origin = match matches.value_source(id) {
                Some(ValueSource::CommandLine) => Origin::Flag,
                Some(ValueSource::EnvVariable) => Origin::Environment,
                _ => lines.remove(id).map_or(Origin::BuiltIn, Origin::File),
            };
            let value = matches.get_raw(id).and_then(|mut values| values.next()).map(OsStr::to_owned);
            given.insert(name(arg).to_owned(), Given { value, origin });
        }
        let args = ServeArgs::from_arg_matches(&matches).map_err(|error| UsageError(error.to_string()))?;
        let mut this = Self { args, given };
        this.settle()?;
        this.args.check()?;
        // What follows from settings that may change counts from the start to the end all the same.
        this.args.fixed.classic = Some(this.args.serves_classic());
        this.args.fixed.tls = Some(this.args.tls_mode());
        let room = this.args.settings().room;
        room.check().map_err(|error| UsageError(error.to_string()))?;
        Ok(this)
    }

    /// Drops one of two settings that exclude each other: the one counts that was given closer by.
    fn settle(&mut self) -> Result<(), UsageError> {
        let Fixed { data, forget, .. } = &mut self.args.fixed;
        if *forget && data.is_some() {
            match compare(&mut self.given, "forget", "data", Some("false".into()))? {
                Ordering::Less => *forget = false,
                _ => *data = None,
            }
        }
        let Live { operator_token, operator_token_file, .. } = &mut self.args.live;
        if operator_token.is_some() && operator_token_file.is_some() {
            match compare(&mut self.given, "operator-token", "operator-token-file", None)? {
                Ordering::Less => *operator_token = None,
                _ => *operator_token_file = None,
            }
        }
        if let Some(file) = &self.args.live.irc_motd {
            let text = read_text(file, MOTD_MAX)
                .map_err(|error| UsageError(format!("irc-motd: {}: {error}", file.display())))?;
            self.args.live.irc_motd_lines = text.lines().map(str::to_owned).collect();
        }
        let Live { operator_token, operator_token_file, .. } = &mut self.args.live;
        if let Some(file) = operator_token_file {
            let token = read_secret(file);
            let token = token.map_err(|error| format!("operator-token-file: {}: {error}", file.display()));
            *operator_token = Some(token.map_err(UsageError)?);
        }
        Ok(())
    }

    /// Takes over from `new` what may change while the server runs. What is to be said of it: what has changed, and
    /// what else would have to.
    pub(crate) fn reload(&mut self, mut new: Self) -> (Vec<String>, Vec<String>) {
        let (mut changed, mut left) = (Vec::new(), Vec::new());
        for arg in options(&command()) {
            let name = name(arg);
            if self.given[name].value != new.given[name].value {
                if is_reloaded(arg) {
                    let value = match &new.given[name].value {
                        None => "not set any more".to_owned(),
                        Some(_) if arg.is_hide_env_values_set() => "another".to_owned(),
                        Some(value) => format!("now {}", value.to_string_lossy()),
                    };
                    changed.push(format!("{name} is {value}"));
                    self.given.insert(name.to_owned(), new.given[name].clone());
                } else {
                    left.push(name.to_owned());
                }
            }
        }
        if changed.is_empty() && self.args.live.operator_token != new.args.live.operator_token {
            changed.push("the operator's token is another".to_owned());
        }
        self.follow(&mut new.args, &mut left);
        self.args.live = new.args.live;
        (changed, left)
    }

    /// Follows `new` in what is not set and follows from settings that may change: where the certificate comes from, but not
    /// whether there is one, nor whether classic clients are served. What would have to change is added to `left`.
    fn follow(&mut self, new: &mut ServeArgs, left: &mut Vec<String>) {
        let (fixed, live) = (&mut self.args.fixed, &self.args.live);
        if !left.iter().any(|name| name == "tls") {
            let is_off = |fixed: &Fixed| fixed.tls == Some(TlsMode::Off);
            match is_off(fixed) == is_off(&new.fixed) {
                true => fixed.tls = new.fixed.tls,
                false => left.push("tls".to_owned()),
            }
        }
        if fixed.tls == Some(TlsMode::Files) {
            new.live.encryption.keep_files(&live.encryption);
        }
        if fixed.classic != new.fixed.classic && !left.iter().any(|name| name == "classic") {
            left.push("classic".to_owned());
        }
    }

    /// Returns a configuration file that says the same.
    pub(crate) fn to_file(&self) -> String {
        let mut out = String::new();
        let mut say = |text: &str| out.push_str(text);
        say(
            "# The configuration of `causerie serve`. A flag counts before the environment (CAUSERIE_ and the name in\n",
        );
        say(
            "# capitals, with _ for -), that before this file, and that before the defaults, which are commented out.\n",
        );
        for arg in options(&command()) {
            let (name, kind) = (name(arg), SettingKind::of(arg));
            let Given { value, origin } = &self.given[name];
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let default = arg.get_default_values().first().map(|value| kind.write(&value.to_string_lossy()));
            let default =
                default.map_or("Not set by default.".to_owned(), |value| format!("Default: {value}."));
            let reload = match is_reloaded(arg) {
                true => "SIGHUP reads it again.",
                false => "Read at the start only.",
            };
            let by = match origin {
                Origin::BuiltIn => String::new(),
                Origin::File(line) => format!(" Given in {line}."),
                Origin::Environment => " Given by the environment.".to_owned(),
                Origin::Flag => " Given by a flag.".to_owned(),
            };
            say("\n");
            say(&wrapped(&format!("{}.", help.trim_end_matches('.'))));
            say(&wrapped(&format!("{default} {reload}{by}")));
            let written = value.as_ref().map(|value| (value.to_str().map(|value| kind.write(value)), value));
            let line = match written {
                None => format!("#{name} =\n"),
                Some(_) if arg.is_hide_env_values_set() => format!("#{name} = \"(not shown)\"\n"),
                Some((Some(written), _)) if *origin == Origin::BuiltIn => format!("#{name} = {written}\n"),
                Some((Some(written), _)) => format!("{name} = {written}\n"),
                Some((None, value)) => format!("#{name} = {value:?} (not Unicode: it cannot stand here)\n"),
            };
            say(&line);
        }
        out
    }
}

/// Compares how close by two were given, and takes back the other one.
fn compare(
    given: &mut BTreeMap<String, Given>,
    first: &str,
    second: &str,
    without_first: Option<OsString>,
) -> Result<Ordering, UsageError> {
    let rank = |name: &str| match given[name].origin {
        Origin::BuiltIn => 0,
        Origin::File(_) => 1,
        Origin::Environment => 2,
        Origin::Flag => 3,
    };
    let order = rank(first).cmp(&rank(second));
    let (loser, value) = match order {
        Ordering::Equal => return Err(UsageError(format!("{first} and {second} exclude each other"))),
        Ordering::Less => (first, without_first),
        Ordering::Greater => (second, None),
    };
    given.insert(loser.to_owned(), Given { value, origin: Origin::BuiltIn });
    Ok(order)
}

pub(crate) fn command() -> Command {
    ServeArgs::augment_args(Command::new("causerie serve"))
}

/// The settings: all flags but those that are about the configuration itself.
fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !["config", "print_config"].contains(&arg.get_id().as_str()))
}

fn is_reloaded(arg: &Arg) -> bool {
    arg.get_help_heading() == Some(RELOADED)
}

/// The platform's folder for data of programs.
pub(crate) fn default_data() -> Option<PathBuf> {
    Some(directories::ProjectDirs::from("", "", "causerie")?.data_dir().join("server"))
}

fn default_file() -> Option<PathBuf> {
    Some(directories::ProjectDirs::from("", "", "causerie")?.config_dir().join("config.toml"))
}

/// Bytes of the longest message of the day.
const MOTD_MAX: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_documented_and_has_one_name_in_all_places() {
        let command = command();
        command.clone().debug_assert();
        assert!(options(&command).count() > 15);
        for arg in options(&command) {
            let name = name(arg);
            assert!(
                arg.get_help().is_some_and(|help| help.to_string().len() > 10),
                "{name} is not documented"
            );
            assert_eq!(arg.get_id().as_str().replace('_', "-"), name);
            let variable = format!("CAUSERIE_{}", name.replace('-', "_").to_uppercase());
            assert_eq!(arg.get_env().and_then(OsStr::to_str), Some(&variable[..]));
        }
    }

    #[test]
    fn a_reload_follows_in_what_is_not_set_and_says_what_it_cannot() {
        let read = |words: &str| {
            let words: Vec<_> =
                ["causerie", "--forget"].into_iter().chain(words.split_whitespace()).collect();
            Configuration::read(&words.into_iter().map(OsString::from).collect::<Vec<_>>()).unwrap()
        };
        let source = |configuration: &Configuration| {
            let tls = configuration.args.settings().tls;
            tls.map(|tls| format!("{:?}", tls.source).split([' ', '{']).next().unwrap_or_default().to_owned())
        };
        let mut here = read("--listen 0.0.0.0:1");
        assert_eq!(source(&here).as_deref(), Some("SelfSigned"));
        let (changed, left) = here.reload(read("--listen 0.0.0.0:1 --tls-cert a.pem"));
        assert_eq!((&changed[..], &left[..]), (&["tls-cert is now a.pem".to_owned()][..], &[][..]));
        assert_eq!(source(&here).as_deref(), Some("Files"));
        here.reload(read("--listen 0.0.0.0:1"));
        assert_eq!(source(&here).as_deref(), Some("SelfSigned"));

        let mut here = read("--listen 127.0.0.1:1 --tls-cert a.pem");
        let (_, left) = here.reload(read("--listen 127.0.0.1:1"));
        assert_eq!(left, ["tls"]);
        let TlsSettings { source: kept, .. } = here.args.settings().tls.unwrap();
        assert!(
            format!("{kept:?}").contains("a.pem"),
            "what was there counts until the next start: {kept:?}"
        );

        let mut here = read("--listen 0.0.0.0:1");
        assert!(!here.args.settings().classic);
        let (_, left) = here.reload(read("--listen 0.0.0.0:1 --plain any"));
        assert_eq!((left, here.args.settings().classic), (vec!["classic".to_owned()], false));
    }

    #[test]
    fn whoever_prints_the_configuration_sees_no_secrets() {
        let matches = command().get_matches_from(["serve", "--operator-token", "sesame"]);
        let args = ServeArgs::from_arg_matches(&matches).unwrap();
        assert_eq!(args.live.operator_token, Some("sesame".into()));
        let given = Given { value: Some("sesame".into()), origin: Origin::Flag };
        for printed in [format!("{args:?}"), format!("{:?}", args.settings()), format!("{given:?}")] {
            assert!(!printed.contains("sesame"), "{printed}");
        }
    }
}
