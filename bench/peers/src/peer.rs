//! The servers that are compared, and how each is started.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use causerie_bench::irc::Irc;
use causerie_bench::native::Native;
use causerie_bench::process::Started;
use causerie_bench::websocket::WebSocket;
use causerie_bench::{LoadProtocol, LoadServer};
use clap::Args;

use crate::config::Certificate;
use crate::tunnel::Tunnel;
use crate::{bare, config, mqtt, nats, nchan, redis};

/// Programs that are measured.
#[derive(Args, Debug)]
pub(crate) struct Programs {
    /// The causerie to measure.
    #[arg(long, value_name = "PROGRAM", default_value = "target/release/causerie")]
    causerie: PathBuf,
    /// The nats-server to measure.
    #[arg(long, value_name = "PROGRAM", default_value = "nats-server")]
    nats: PathBuf,
    /// The redis-server to measure.
    #[arg(long, value_name = "PROGRAM", default_value = "redis-server")]
    redis: PathBuf,
    /// The nginx with nchan to measure.
    #[arg(long, value_name = "PROGRAM", default_value = "nginx")]
    nginx: PathBuf,
    /// The nchan that nginx loads.
    #[arg(long, value_name = "MODULE", default_value = "/usr/lib/nginx/modules/ngx_nchan_module.so")]
    nchan: PathBuf,
    /// The mosquitto to measure.
    #[arg(long, value_name = "PROGRAM", default_value = "mosquitto")]
    mosquitto: PathBuf,
    /// The InspIRCd to measure.
    #[arg(long, value_name = "PROGRAM", default_value = "inspircd")]
    inspircd: PathBuf,
    /// The ngIRCd to measure.
    #[arg(long, value_name = "PROGRAM", default_value = "ngircd")]
    ngircd: PathBuf,
}

/// Kind of client. Servers are compared with causerie by the same kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// Each server's own protocol over TCP.
    Native,
    /// WebSockets.
    WebSocket,
    /// IRC over TCP.
    Irc,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Native, Self::WebSocket, Self::Irc];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::WebSocket => "websocket",
            Self::Irc => "irc",
        }
    }

    /// Heading of its table.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Native => "Native protocols",
            Self::WebSocket => "WebSockets",
            Self::Irc => "IRC",
        }
    }
}

/// A server, spoken to in one protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Peer {
    Causerie,
    Nats,
    Redis,
    LoopSync,
    Loop,
    CauserieWs,
    NatsWs,
    Nchan,
    Mosquitto,
    CauserieIrc,
    InspIrcd,
    NgIrcd,
}

impl Peer {
    /// All of them, kind by kind, causerie first.
    pub(crate) const ALL: [Self; 12] = [
        Self::Causerie,
        Self::Nats,
        Self::Redis,
        Self::LoopSync,
        Self::Loop,
        Self::CauserieWs,
        Self::NatsWs,
        Self::Nchan,
        Self::Mosquitto,
        Self::CauserieIrc,
        Self::InspIrcd,
        Self::NgIrcd,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Causerie => "causerie",
            Self::Nats => "nats",
            Self::Redis => "redis",
            Self::Loop => "loop",
            Self::LoopSync => "loop+sync",
            Self::CauserieWs => "causerie-ws",
            Self::NatsWs => "nats-ws",
            Self::Nchan => "nchan",
            Self::Mosquitto => "mosquitto",
            Self::CauserieIrc => "causerie-irc",
            Self::InspIrcd => "inspircd",
            Self::NgIrcd => "ngircd",
        }
    }

    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::Causerie | Self::Nats | Self::Redis | Self::Loop | Self::LoopSync => Kind::Native,
            Self::CauserieWs | Self::NatsWs | Self::Nchan | Self::Mosquitto => Kind::WebSocket,
            Self::CauserieIrc | Self::InspIrcd | Self::NgIrcd => Kind::Irc,
        }
    }

    /// Returns whether it is the server that the others of its kind are compared with.
    pub(crate) const fn is_ours(self) -> bool {
        matches!(self, Self::Causerie | Self::CauserieWs | Self::CauserieIrc)
    }

    /// Returns whether messages are on disk before anybody sees them.
    pub(crate) const fn stores(self) -> bool {
        self.is_ours() || matches!(self, Self::LoopSync)
    }

    /// Returns whether it speaks TLS from the first byte on. nats-server 2.9 says something in clear text before, but to WebSockets.
    pub(crate) const fn speaks_tls(self) -> bool {
        !matches!(self, Self::Nats | Self::Loop | Self::LoopSync)
    }

    /// Starts a server of its own, as it comes: nothing is tuned, what would write to disk beside ours is
    /// off, and so is what holds up clients who say much. Where fewer rooms or connections are allowed than
    /// the loads have, more are.
    ///
    /// It speaks TLS by `tls`, if that is there; causerie by a certificate of its own.
    pub(crate) fn start(
        self,
        programs: &Programs,
        scratch: &Path,
        tls: Option<&Certificate>,
    ) -> anyhow::Result<Started> {
        if self.is_ours() {
            let mut command = Command::new(&programs.causerie);
            command.env("CAUSERIE_ROOMS_MAX", "2000");
            let started = if tls.is_some() { Started::causerie_by_tls } else { Started::causerie };
            return Ok(started(command)?);
        }
        // Free a moment ago; whoever takes it in between makes the start fail, and is not measured.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let port = address.port().to_string();
        let mut command = match self {
            Self::Causerie | Self::CauserieWs | Self::CauserieIrc => unreachable!("started above"),
            Self::Nats => {
                let mut command = Command::new(&programs.nats);
                command.args(["--addr", "127.0.0.1", "--port", &port]);
                command
            }
            Self::Redis => {
                let mut command = Command::new(&programs.redis);
                match tls {
                    Some(tls) => {
                        command.args(["--bind", "127.0.0.1", "--port", "0", "--tls-port", &port]);
                        command.arg("--tls-cert-file").arg(&tls.certificate);
                        command.arg("--tls-key-file").arg(&tls.key).args(["--tls-auth-clients", "no"]);
                    }
                    None => _ = command.args(["--bind", "127.0.0.1", "--port", &port]),
                }
                command.args(["--maxclients", "20000", "--save", "", "--appendonly", "no", "--dir"]);
                command.arg(scratch);
                command
            }
            Self::Loop | Self::LoopSync => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["loop", &address.to_string()]);
                if let Self::LoopSync = self {
                    command.arg(scratch.join("log"));
                }
                command
            }
            Self::NatsWs => {
                let mut command = Command::new(&programs.nats);
                let config = config::write(scratch, "nats.conf", &config::nats_websocket(&port, tls))?;
                command.arg("--config").arg(config);
                command
            }
            Self::Nchan => {
                let mut command = Command::new(&programs.nginx);
                let config =
                    config::write(scratch, "nginx.conf", &config::nchan(&port, &programs.nchan, tls))?;
                command.args(["-e", "stderr", "-p"]).arg(scratch).arg("-c").arg(config);
                command
            }
            Self::Mosquitto => {
                let mut command = Command::new(&programs.mosquitto);
                let config = config::write(scratch, "mosquitto.conf", &config::mosquitto(&port, tls))?;
                command.arg("-c").arg(config);
                command
            }
            Self::InspIrcd => {
                let mut command = Command::new(&programs.inspircd);
                let config = config::write(scratch, "inspircd.conf", &config::inspircd(&port, tls))?;
                command.args(["--nofork", "--nolog", "--nopid", "--runasroot", "--config"]).arg(config);
                command
            }
            Self::NgIrcd => {
                let mut command = Command::new(&programs.ngircd);
                let config = config::write(scratch, "ngircd.conf", &config::ngircd(&port, tls))?;
                command.args(["--nodaemon", "--config"]).arg(config);
                command
            }
        };
        command.stdout(Stdio::null()).stderr(Stdio::null()).current_dir(scratch);
        Ok(Started::at(address, &mut command)?)
    }

    pub(crate) fn protocol(self, at: LoadServer) -> Box<dyn LoadProtocol> {
        let server = at.address;
        match self {
            Self::Causerie => Box::new(Native::new(at)),
            Self::Nats => Box::new(nats::Nats),
            Self::Redis => Box::new(redis::Redis),
            Self::Loop | Self::LoopSync => Box::new(bare::Bare),
            Self::CauserieWs => Box::new(WebSocket::new(at)),
            Self::NatsWs => Box::new(Tunnel { server, path: "/", subprotocol: None, inner: nats::Nats }),
            Self::Nchan => Box::new(nchan::Nchan { server }),
            Self::Mosquitto => {
                Box::new(Tunnel { server, path: "/mqtt", subprotocol: Some("mqtt"), inner: mqtt::Mqtt })
            }
            Self::CauserieIrc => Box::new(Irc::new(at)),
            Self::InspIrcd => Box::new(Irc::elsewhere(true)),
            // It has no echo-message.
            Self::NgIrcd => Box::new(Irc::elsewhere(false)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_begins_with_causerie() {
        for kind in Kind::ALL {
            let peers: Vec<_> = Peer::ALL.into_iter().filter(|peer| peer.kind() == kind).collect();
            assert!(peers[0].is_ours() && peers.len() > 1);
            assert!(peers[1..].iter().all(|peer| !peer.is_ours()));
        }
    }
}
