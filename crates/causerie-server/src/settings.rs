//! The settings of a server, which may change while it serves.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use causerie_core::id::SecretText;
use causerie_core::room::RoomSettings;
use causerie_store::Retention;
use ipnet::IpNet;

/// Name of the [control socket](Settings::control) in a data folder.
pub const CONTROL_SOCKET: &str = "control.sock";

/// Limits and waiting times of a server. All of it may change while it serves, except what a room is made
/// with: [`RoomSettings::text_bytes_max`], [`RoomSettings::members_max`] and [`RoomSettings::log_bytes_max`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// Settings of each room.
    pub room: RoomSettings,
    /// Rooms at once. Default 1,000.
    pub rooms_max: usize,
    /// Rooms with ports of their own at once. Default 100.
    pub ports_max: usize,
    /// Time after which a room goes in which nobody is and nothing is said, unless it was made from an address without limits.
    /// Zero: for ever. Default: a day.
    pub rooms_idle: Duration,
    /// Connections at once. Default 20,000.
    pub connections_max: usize,
    /// Limits of one address.
    pub address: AddressLimits,
    /// Bytes that clients of all connections may leave unread, and rooms hold back, taken together. Beyond it connections
    /// that read nothing are ended. Default 256 MiB.
    pub unread_bytes_max: usize,
    /// Connections that have not shown yet what they speak; beyond it the oldest of them closes. Default 1,000.
    pub silent_max: usize,
    /// Time that a connection may say nothing at all. Default 10 minutes.
    pub silent_time: Duration,
    /// Time, from its first byte, that a begun frame may take, and a connection to show what it speaks. Default
    /// 10 s.
    pub first_words: Duration,
    /// Time that a connection's host may leave all that is sent to it without any answer, before it counts as gone. Whoever
    /// is slow answers that it has no room. Default 90 s.
    pub answer_time: Duration,
    /// Time that connections have at shutdown to read what was said so far. Default 10 s.
    pub drain: Duration,
    /// Token of the operator, who may close any room and read the metrics, which else only programs on the same machine may.
    pub operator_token: Option<SecretText>,
    /// Path of the socket by which whoever may open it is served as the operator, from the start to the end; on Unix only. Default:
    /// none.
    pub control: Option<PathBuf>,
    /// Time for which a closed room is kept. Default 7 days.
    pub closed: Duration,
    /// Part of each room's log that is kept. Default: all.
    pub retention: Retention,
    /// Origins (`https://chat.example.org`) whose web pages may use the API, beside the server's own. Default: none.
    pub origins: Vec<String>,
    /// Names under which HTTP clients may ask for the server, beside its addresses and `localhost`. Default: none.
    pub hosts: Vec<String>,
    /// Appearance to IRC clients. Read when one connects.
    pub irc: IrcSettings,
    /// Encryption, if it is on. Whether it is, and the source of the certificate's kind, count from the start to the end.
    /// Default: none.
    pub tls: Option<TlsSettings>,
    /// Clients that may speak in clear text. Default: those on this machine.
    pub clear_text: ClearText,
    /// Networks of reverse proxies that are believed when they say whom they speak for. Default: none.
    pub trusted_proxies: Vec<IpNet>,
    /// Each connection of a trusted proxy has to begin with a PROXY header. Default: no, but one that is there counts.
    pub proxy_protocol: bool,
    /// Classic clients are served at all. Default: yes.
    pub classic: bool,
    /// Ports on which only one protocol is spoken, beside the one for all. Default: none.
    pub own_ports: Vec<(Protocol, SocketAddr)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            room: RoomSettings::default(),
            rooms_max: 1_000,
            ports_max: 100,
            rooms_idle: Duration::from_secs(86_400),
            connections_max: 20_000,
            address: AddressLimits::default(),
            unread_bytes_max: 256 << 20,
            silent_max: 1_000,
            silent_time: Duration::from_secs(600),
            first_words: Duration::from_secs(10),
            answer_time: Duration::from_secs(90),
            drain: Duration::from_secs(10),
            operator_token: None,
            control: None,
            closed: Duration::from_secs(7 * 86_400),
            retention: Retention::default(),
            origins: Vec::new(),
            hosts: Vec::new(),
            irc: IrcSettings::default(),
            tls: None,
            clear_text: ClearText::Loopback,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            classic: true,
            own_ports: Vec::new(),
        }
    }
}

impl Settings {
    /// Returns whether an address is a trusted proxy's.
    pub(crate) fn is_trusted_proxy(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted_proxies.iter().any(|network| network.contains(&address))
    }
}

/// Encryption of connections by TLS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsSettings {
    /// The certificate's source.
    pub source: CertificateSource,
    /// Names of the server that clients ask for. The first is the one that browsers are to trust.
    pub names: Vec<String>,
}

/// Sources of the server's certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CertificateSource {
    /// The server signs its own.
    SelfSigned {
        /// Folder that it is kept in. Without one it is another at each start.
        folder: Option<PathBuf>,
    },
    /// Files in PEM form, which are read again when they change.
    Files {
        /// The chain, the server's own certificate first.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// An authority makes it, by ACME. Until it has, the server signs its own.
    Acme(AcmeSettings),
}

/// Ways to an authority that makes certificates.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AcmeSettings {
    /// Address of its directory.
    pub directory: String,
    /// E-mail address of whoever is to be told of trouble.
    pub contact: Option<String>,
    /// Way in which it looks whether the server has its names.
    pub challenge: AcmeChallenge,
    /// Kind of certificate that is asked for, where the authority has several: `shortlived`.
    pub profile: Option<String>,
    /// File with the roots by which the authority itself is trusted, in PEM form. Without one: those of this machine.
    pub roots: Option<PathBuf>,
    /// Folder that certificate and account are kept in.
    pub folder: PathBuf,
}

/// Ways in which an authority looks whether a server has a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AcmeChallenge {
    /// By TLS, on port 443.
    TlsAlpn,
    /// By HTTP, on port 80.
    Http,
}

/// Clients that may speak in clear text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClearText {
    /// Those on this machine, and trusted proxies.
    Loopback,
    /// All.
    Any,
    /// None.
    Never,
}

/// Limits of one address. 0 is no limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AddressLimits {
    /// Connections at once. Default 64.
    pub connections: usize,
    /// New connections in ten minutes. Default 240.
    pub rate: u32,
    /// Connections at once that have not shown yet what they speak; of more the oldest closes. Default 32.
    pub silent: usize,
    /// Rooms at once that it has made. Default 20.
    pub rooms: usize,
    /// Joins, and rooms made, in ten minutes. Default 100.
    pub joins: u32,
    /// Messages a second in the long term; what comes faster is read later. Default 10.
    pub say_rate: u32,
    /// Messages at once. Default 50.
    pub say_burst: u32,
    /// These limits hold for this machine's own addresses, too. Default: no.
    pub loopback: bool,
}

impl Default for AddressLimits {
    fn default() -> Self {
        Self {
            connections: 64,
            rate: 240,
            silent: 32,
            rooms: 20,
            joins: 100,
            say_rate: 10,
            say_burst: 50,
            loopback: false,
        }
    }
}

/// Appearance of the server to IRC clients.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IrcSettings {
    /// IRC is spoken at all. Default: yes.
    pub enabled: bool,
    /// Name of the server: with a dot in it, so that it is not taken for a nick. Default `causerie.local`.
    pub server_name: String,
    /// Name of the network that clients show. Default `Causerie`.
    pub network: String,
    /// Lines that everybody is shown who connects. Default: none.
    pub motd: Vec<String>,
    /// Messages that who joins is shown of those that it has not seen, unless it can ask for history itself; at most 100.
    /// Default 50.
    pub history: usize,
    /// Time after which a client that says nothing is asked whether it is there. Default 60 s.
    pub ping: Duration,
    /// Lines a second that a client may go on sending; what comes faster waits. 0: no limit. Default 10.
    pub lines_per_second: u32,
    /// Time that a client may take to say who it is: people are asked for passwords meanwhile. Default 60 s.
    pub registration: Duration,
}

impl Default for IrcSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            server_name: "causerie.local".into(),
            network: "Causerie".into(),
            motd: Vec::new(),
            history: 50,
            ping: Duration::from_secs(60),
            lines_per_second: 10,
            registration: Duration::from_secs(60),
        }
    }
}

/// Protocols that clients speak.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Protocol {
    /// `docs/protocol.md`.
    Native,
    /// Lines.
    Classic,
    /// `docs/api.md`.
    Http,
    /// `docs/irc.md`.
    Irc,
}

impl Protocol {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Native, Self::Classic, Self::Http, Self::Irc];
}
