//! Limits and delays of a group.

use core::time::Duration;

use thiserror::Error;

use crate::message::PACKET_BYTES_MAX;

/// The host's announcements must fit: *Left* with the longest numbers has 38 bytes and its dependencies.
const PACKET_BYTES_LEAST: usize = 64;

/// A place in the hold-back queue takes 64 bytes, be it a gap: one short packet may open as many as
/// [`Config::ahead_max`] says.
const PLACES_MOST: usize = 1 << 24;

/// Each has a slot of 32 bits, and about 200 bytes.
const MEMBERS_MOST: usize = 1 << 24;

/// Shorter ones would keep the caller busy with timers alone.
const DELAY_LEAST: Duration = Duration::from_micros(100);

/// Policy for a message that has been asked for again and again, and that nobody has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum GapPolicy {
    /// Go on asking, and hold back what depends on it. Nothing is ever delivered without its causes.
    #[default]
    Wait,
    /// After this long without progress, deliver a visible [`Output::Gap`](crate::Output::Gap) in its place and
    /// go on, once it has been asked for at least three times. Messages of hosts are never skipped: who is in must be
    /// known; nor is what only a member claims that speaks over a link of its own. What a skipped message had followed is not
    /// known, so who follows it may be delivered before that; all other causes are awaited as ever.
    Skip {
        /// Time for which a member's next message may be missing; no less than [`Config::repair_delay`].
        after: Duration,
    },
}

/// The ways that messages of a member take to the others, which decide how its host parts with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Topology {
    /// Through the process of the host that admitted it, and through nobody else: then whatever anybody has of a member
    /// is in the past of the host's *Left*, which [`Group::part`](crate::Group::part) says at once.
    Relay,
    /// From the member to everybody: its last message may have reached only one.
    /// [`Group::part`](crate::Group::part) then asks all who stay for what they have before *Left* is said. Needs
    /// [`heartbeat`](Config::heartbeat), with which it is asked again, and [`retain`](Config::retain).
    Mesh,
}

/// Limits and delays of a group. Reaching a limit is a named error or event, never silence.
///
/// Begin with [`Config::relay`] or [`Config::mesh`] and change what you need: [`Group::new`](crate::Group::new) checks
/// that it can be done ([`validate`](Self::validate)).
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// The ways that messages of a member take to the others.
    pub topology: Topology,
    /// Members present at once up to which a local host admits others, local ones included. Default 65,536, from 1 to
    /// 2²⁴. Whom hosts elsewhere admit counts in any case, up to [`members_known_max`](Self::members_known_max).
    pub members_max: usize,
    /// Bytes of one packet, stamp and payload. Default 1 MiB, from 64 bytes to 1 GiB.
    pub packet_bytes_max: usize,
    /// Places in the hold-back queue, the gaps between held messages of one sender included, so that a message
    /// far ahead of its predecessors costs what it takes: 64 bytes each. Default 65,536, at most 2²⁴.
    pub holdback_max: usize,
    /// Bytes of packets held back. Default 64 MiB.
    pub holdback_bytes_max: usize,
    /// Bytes of one sender's packets held back, so that one alone cannot fill the queue. Default 64 MiB.
    pub ahead_bytes_max: usize,
    /// Distance that a message may be ahead of its sender's next one. Default 16,384, at most 2²⁴.
    pub ahead_max: u64,
    /// Places in the hold-back queue for members of origins that are not known here, whose *Hosted* is to come. Default 0:
    /// they are refused ([`ReceiveError::UnknownOrigin`](crate::ReceiveError::UnknownOrigin)), and so is what depends on
    /// them. A relay among several sets it: see [`Group::sponsor`](crate::Group::sponsor).
    pub early_max: usize,
    /// Time that a gap may last before it is asked for, and that a request has to be answered before who is
    /// shown to have it is asked. Default 30 ms (a guess: several round trips on a fast link, and short enough not to be
    /// noticed). At least 100 µs.
    pub repair_delay: Duration,
    /// The longest pause between two requests for messages of one member while none of them comes: each pause is twice
    /// the last, from `repair_delay` up to this. Default 1 s, at least `repair_delay`.
    pub repair_delay_max: Duration,
    /// Ranges named in one repair request. Default 64, at least 1.
    pub repair_ranges_max: usize,
    /// Pause between telling everybody what has been delivered here, which exposes lost tails and is what stability
    /// is made of. `None` in [`Config::relay`]: where links lose nothing while they last, there is no need. In
    /// [`Config::mesh`] every 100 ms; at least 100 µs.
    pub heartbeat: Option<Duration>,
    /// Policy for a message that nobody has. Default [`GapPolicy::Wait`].
    pub gap_policy: GapPolicy,
    /// Keep delivered messages until they are *stable* (delivered by every member), to answer repair requests
    /// from. No in [`Config::relay`], where the log does that; yes in [`Config::mesh`], together with `heartbeat`.
    pub retain: bool,
    /// Tell others nothing that they may rely on before the caller has said that it is stored
    /// ([`Group::persisted`](crate::Group::persisted)): own messages wait to be sent, and what was delivered to be
    /// acknowledged. For processes that come back from what they have stored. Default no.
    pub durable: bool,
    /// Copy what is kept (held back, retained, not yet stored), so that it does not keep alive a larger buffer that it
    /// came in: for packets that are slices of what was read from a stream, where a stranger could make few bytes cost
    /// many. A copy takes as long as receiving a message does. Default no: a datagram's buffer is its own.
    pub copies_kept: bool,
    /// Changes that may wait to be stored, where `durable` is set. Default 65,536, from 1 to 2²⁴.
    pub unpersisted_max: usize,
    /// Messages of one local member that may be unstable at once, where `retain` is on. Default 4,096, from 1 to 2²⁴.
    pub unstable_max: usize,
    /// Bytes of one local member's unstable packets, likewise. Default 16 MiB.
    pub unstable_bytes_max: usize,
    /// Seed of the jitter of repair requests. Same seed and same calls: same outputs.
    pub seed: u64,
}

impl Config {
    /// Returns the settings of a relay, and of members that hear of the group through one: links are ordered and lose nothing
    /// while they last, and the relay's log answers whoever lacks something.
    #[must_use]
    pub const fn relay() -> Self {
        Self {
            topology: Topology::Relay,
            members_max: 65_536,
            packet_bytes_max: 1 << 20,
            holdback_max: 65_536,
            holdback_bytes_max: 64 << 20,
            ahead_bytes_max: 64 << 20,
            ahead_max: 16_384,
            early_max: 0,
            repair_delay: Duration::from_millis(30),
            repair_delay_max: Duration::from_secs(1),
            repair_ranges_max: 64,
            heartbeat: None,
            gap_policy: GapPolicy::Wait,
            retain: false,
            durable: false,
            copies_kept: false,
            unpersisted_max: 65_536,
            unstable_max: 4_096,
            unstable_bytes_max: 16 << 20,
            seed: 0,
        }
    }

    /// Returns the settings of a process of a mesh: everybody sends to everybody over links that may lose, so each tells what it
    /// has delivered and keeps what others may still ask for. Give each process a [`seed`](Self::seed) of its own.
    #[must_use]
    pub const fn mesh() -> Self {
        let mut config = Self::relay();
        config.topology = Topology::Mesh;
        config.heartbeat = Some(Duration::from_millis(100));
        config.retain = true;
        config
    }

    /// Checks what a group could not live with: no room for anything, more places than memory has, delays of nothing,
    /// which would keep the caller busy with timers alone.
    ///
    /// # Errors
    /// [`ConfigError`] names the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let places_most = PLACES_MOST as u64;
        for (setting, value, least, most) in [
            ("members_max", self.members_max as u64, 1, MEMBERS_MOST as u64),
            (
                "packet_bytes_max",
                self.packet_bytes_max as u64,
                PACKET_BYTES_LEAST as u64,
                PACKET_BYTES_MAX as u64,
            ),
            ("holdback_max", self.holdback_max as u64, 0, places_most),
            ("ahead_max", self.ahead_max, 0, places_most),
            ("early_max", self.early_max as u64, 0, places_most),
            ("repair_ranges_max", self.repair_ranges_max as u64, 1, u64::MAX),
            ("unpersisted_max", self.unpersisted_max as u64, 1, places_most),
            ("unstable_max", self.unstable_max as u64, 1, places_most),
        ] {
            if value < least || value > most {
                return Err(ConfigError::OutOfRange { setting, value, least, most });
            }
        }
        let skip_after = match self.gap_policy {
            GapPolicy::Wait => None,
            GapPolicy::Skip { after } => Some(after),
        };
        for (setting, delay, least) in [
            ("repair_delay", Some(self.repair_delay), DELAY_LEAST),
            ("repair_delay_max", Some(self.repair_delay_max), self.repair_delay),
            ("heartbeat", self.heartbeat, DELAY_LEAST),
            ("gap_policy", skip_after, self.repair_delay),
        ] {
            if let Some(delay) = delay.filter(|&delay| delay < least) {
                return Err(ConfigError::TooShort { setting, delay, least });
            }
        }
        Ok(())
    }

    /// Returns how many members may be known at once, whoever admitted them: twice [`members_max`](Self::members_max).
    /// What a snapshot may hold is bounded by it, and how many dependencies a message may have
    /// ([`ReceiveError::TooManyDependencies`](crate::ReceiveError::TooManyDependencies)). Beyond it hosts elsewhere
    /// admit in vain: [`Output::MembersFull`](crate::Output::MembersFull).
    #[must_use]
    pub const fn members_known_max(&self) -> usize {
        self.members_max.saturating_mul(2)
    }
}

/// Reason why there can be no group of this configuration.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A limit allows nothing, or more than there can be.
    #[error("{setting} is {value}: from {least} to {most} can be done")]
    OutOfRange {
        /// The field of [`Config`].
        setting: &'static str,
        /// Value that it has.
        value: u64,
        /// The least that it may say.
        least: u64,
        /// The most that it may say.
        most: u64,
    },
    /// A delay is too short.
    #[error("{setting} is {delay:?}: {least:?} is the least")]
    TooShort {
        /// The field of [`Config`].
        setting: &'static str,
        /// Value that it has.
        delay: Duration,
        /// The least that it may say.
        least: Duration,
    },
    /// The snapshot has more members, or more origins, than may be known.
    #[error("the snapshot lists {listed} members or origins, the limit is {limit}")]
    SnapshotTooLarge {
        /// Number that it has, of whichever are more.
        listed: usize,
        /// [`Config::members_known_max`].
        limit: usize,
    },
}
