//! Configuration of a session.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::key::KeyPair;

/// Configuration of a session.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Name of the room.
    pub room: String,
    /// Name of the member.
    pub name: String,
    /// Permission to create the room if it does not exist.
    pub create: bool,
    /// The key that may close the room then, beside the operator.
    pub maker: Option<KeyPair>,
    /// Own messages that may be on their way at once. Default 1,000.
    pub pending_max: usize,
    /// Pause between tellings of the clock, at which is sent again what has not come back; for links that lose messages
    /// above TCP. `None` (the default): the connection is reliable while it lasts.
    pub heartbeat: Option<Duration>,
    /// Age at which a gap is asked for. Default 50 ms.
    pub repair_delay: Duration,
    /// Seed of the jitter of repair.
    pub seed: u64,
    /// Acknowledgement of each event by the application ([`acknowledge`](super::Session::acknowledge)): what was not
    /// acknowledged is told again by a session that was [kept](super::Session::keep).
    pub acknowledges: bool,
    /// Wish for [`Event::Stable`](super::Event::Stable), from the first own message on. Default: no, since members then tell
    /// the server what they have delivered.
    pub follows_stable: bool,
    /// Source of keys: 32 bytes of good randomness at each call.
    pub fresh_seed: fn() -> [u8; 32],
}

impl SessionConfig {
    /// Returns the defaults, for a member called `name` in `room`.
    #[must_use]
    pub fn new(room: &str, name: &str, fresh_seed: fn() -> [u8; 32]) -> Self {
        Self {
            room: room.into(),
            name: name.into(),
            create: false,
            maker: None,
            pending_max: 1_000,
            heartbeat: None,
            repair_delay: Duration::from_millis(50),
            seed: 0,
            acknowledges: false,
            follows_stable: false,
            fresh_seed,
        }
    }
}

/// Returns a file name for what is kept of this membership, the same at each start.
#[must_use]
pub fn kept_name(server: &str, room: &str, name: &str) -> String {
    let mut hash = Sha256::new();
    for part in [server, room, name] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
