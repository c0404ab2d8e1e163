//! Protection of connections, as the commands that make some are told.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::PathBuf;

use causerie_client::{Fingerprint, KnownServers, Security, Stranger};
use causerie_core::content::text::visible;
use clap::Args;

/// Heading of these flags.
pub(crate) const HEADING: &str = "Encryption";

/// Flags of the commands that connect to a server.
#[derive(Args, Clone, Debug)]
pub(crate) struct SecurityArgs {
    /// Speak TLS, also with a server on this machine. With all others it is spoken anyway.
    #[arg(long, global = true)]
    tls: bool,

    /// Speak clear text: all who are on the way can read and change it, and act in your name.
    #[arg(long, global = true, conflicts_with_all = ["tls", "pin"])]
    no_tls: bool,

    /// Key that the server must have, whatever its certificate says: its SHA-256 in hexadecimal digits, as the server prints it.
    #[arg(long, value_name = "SHA256", global = true)]
    pin: Option<Fingerprint>,

    /// File with the keys of servers whose certificates are their own. In a terminal you are asked about those that are new. By
    /// default known_servers in the platform's folder for configurations.
    #[arg(long, value_name = "FILE", env = "CAUSERIE_KNOWN_SERVERS", global = true)]
    known_servers: Option<PathBuf>,
}

impl SecurityArgs {
    /// The protection that is asked for. Where somebody sits at a terminal, they are asked about servers that are new.
    pub(crate) fn security(&self) -> Security {
        let mut security = Security::new();
        if self.tls {
            security = security.tls();
        }
        if self.no_tls {
            security = security.clear_text();
        }
        if let Some(key) = self.pin {
            security = security.pin(key);
        }
        let file = self.known_servers.clone().or_else(|| {
            Some(directories::ProjectDirs::from("", "", "causerie")?.config_dir().join("known_servers"))
        });
        if let Some(file) = file {
            security = security.known_servers(KnownServers::new(file));
        }
        let is_somebody_there = io::stdin().is_terminal() && io::stderr().is_terminal();
        if is_somebody_there { security.ask(ask) } else { security }
    }
}

/// Asks whether a new server is the right one. What is printed elsewhere may be going into a file.
fn ask(Stranger { server, fingerprint, why, .. }: &Stranger) -> bool {
    eprintln!("{} is new to this computer, and {}:\n  {fingerprint}", visible(server), visible(why));
    eprint!("Is that what its operator tells? [y/N] ");
    let mut answer = Vec::new();
    let read = io::stdin().lock().read_until(b'\n', &mut answer);
    read.is_ok() && ["y", "yes"].contains(&&*String::from_utf8_lossy(&answer).trim().to_lowercase())
}
