//! Async client of causerie rooms.
//!
//! [`RoomOptions::join`] connects and makes you a member; [`Room::say`] says something, without waiting for the
//! network; [`Room::next_event`] tells what happens, in causal order: nobody's answer comes before the question.
//! Broken connections are mended in the background, and nothing is lost or repeated by it. Connections beyond this machine are
//! encrypted, and the server shows that it is the right one before anything is sent: [`Security`].
//!
//! ```no_run
//! use causerie_client::{Body, Event, RoomOptions};
//!
//! # async fn bot() -> Result<(), Box<dyn std::error::Error>> {
//! let mut room = RoomOptions::new("127.0.0.1:12343", "lobby", "echo").create(true).join().await?;
//! while let Some(event) = room.next_event().await {
//!     if let Event::Delivered(post) = event {
//!         if let (false, false, Body::Text(text)) = (post.own, post.history, post.body) {
//!             room.say(&format!("{} said: {text}", post.author))?;
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//! See `examples/bot.rs` for a whole one.

mod connection;
mod directory;
mod driver;
mod history;
mod kept;
mod own_key;
pub mod private;
mod room;
mod shared;
mod trust;

pub use causerie_core::content::body::Body;
pub use causerie_core::id::{Epoch, Position};
pub use causerie_core::key::KeyPair;
pub use causerie_core::link::{Disturbance, DisturbanceError};
pub use causerie_core::log::page::{Entry, HistoryPage, HistoryRecord, What};
pub use causerie_core::session::{End, Event, HeldPost, Post, SayError};
pub use causerie_core::wire::{
    ClosedRoom, Direction, ErrorCode, Limits, MemberInfo, Place, RoomInfo, Stable,
};
pub use cbcast::{MemberId, MessageId, VectorClock};
pub use directory::{Directory, meet};
pub use history::History;
pub use kept::Kept;
pub use own_key::own_key;
pub use room::{ConnectError, JoinError, Room, RoomOptions, Speaker};
pub use trust::{
    Fingerprint, FingerprintError, KnownServers, KnownServersError, NotTls, Security, Stranger, TrustError,
};
