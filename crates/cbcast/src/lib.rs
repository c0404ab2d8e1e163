//! Causally ordered group broadcast, as a pure state machine.
//!
//! If the author of *b* had delivered *a* before sending *b*, nobody delivers *b* before *a*: no one sees an
//! answer before the question. This crate is the CBCAST protocol of Birman, Schiper and Stephenson \[BSS91\]
//! without any I/O: no socket, clock, thread, task or random source of its own, `no_std` with `alloc`. You bring
//! the transport: whatever it loses, delays, repeats or reorders, every member delivers every message once and
//! in causal order.
//!
//! # The rule
//! A message says which messages its author had delivered last (its *stamp*). It is *delivered* once it is the
//! next one of its sender and all those have been delivered; until then it is *held back*.
//!
//! # The contract
//! - Commands ([`Group::broadcast`], [`Group::admit`], …) and what the world did ([`Group::handle_message`],
//!   [`Group::handle_clock`], [`Group::handle_timeout`]) go in; after each of them drain [`Group::poll_output`]
//!   and do what it says, in order.
//! - Call [`Group::handle_timeout`] at [`Group::poll_timeout`]. Early, late or repeated calls are harmless.
//! - Time is what you say it is ([`Time`]); it drives repair, never order.
//! - A refusal is a named error and leaves no trace. Nothing that arrives can make a group panic or grow beyond
//!   its [`Config`].
//!
//! References are spelled out in `docs/REFERENCES.md` of the repository.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod clock;
mod config;
mod control;
mod error;
mod group;
mod id;
mod members;
pub mod message;
mod persist;
mod repair;
mod snapshot;
mod stability;
mod time;
pub mod wire;

pub use clock::VectorClock;
pub use config::{Config, GapPolicy};
pub use control::{Control, Packet};
pub use error::{BroadcastError, MembershipError, ReceiveError};
pub use group::{Group, HeldMessage, Link, Output, Relation, Stats};
pub use id::{MemberId, MessageId};
pub use message::{DecodeError, Kind, Message};
pub use persist::{ExportError, ImportError};
pub use repair::MissingRange;
pub use snapshot::Snapshot;
pub use time::Time;
pub use wire::WireError;
