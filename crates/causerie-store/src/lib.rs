//! The durable room log of causerie, behind one trait: [`Store`].
//!
//! [`SqliteStore`] keeps a data folder; [`MemoryStore`] is its twin for tests and for servers that are to forget.
//! One conformance suite runs against both.
//!
//! # The contract
//!
//! - **Stored, then visible.** [`Store::commit`] takes all changes of all rooms that wait, and returns once they
//!   are synced: all of them or none. Show nothing before it has returned. One sync serves the whole batch, so
//!   let the next batch gather while one is being committed.
//! - **Positions count from 1, without holes.** An [`Append`](Change::Append) continues exactly behind the room's
//!   last position, with whole `Delivered` frames ([`causerie_core::wire`]); they come back as the same bytes.
//! - **What cannot be read is a gap, never an error and never somebody else's message.** A [`StoredPage`]
//!   ends before a removed or damaged stretch and names it; [`StoredPage::next`] is where reading goes on behind it.
//! - **Full is not broken.** [`CommitError::Full`] changed nothing; keep the batch, tell the senders, try again.
//!   Reading goes on meanwhile.
//! - **A failed sync is broken.** After [`CommitError::Sync`] or [`CommitError::Failed`] nobody knows what the
//!   disk holds: end the process. Opening again finds out.
//! - **A number is never given twice**: room ids are not reused ([`Store::next_room`]), positions neither.
//!
//! Everything here blocks. A server commits from one thread and reads from threads that may block.
//!
//! ```
//! use bytes::Bytes;
//! use causerie_core::id::{Epoch, Position};
//! use causerie_core::wire::Delivered;
//! use causerie_store::{Change, MemoryStore, RoomRow, Store};
//! use cbcast::{Kind, MemberId, Message, MessageId};
//!
//! let store = MemoryStore::new(); // or SqliteStore::open(folder, Options::default())?
//! let room = store.next_room()?;
//! let row = RoomRow { name: "lobby".into(), epoch: Epoch::new(7), ..RoomRow::default() };
//!
//! let (position, id) = (Position::FIRST, MessageId::new(MemberId::new(0, 1), 1));
//! let message = Message::new(id, Kind::Data, &[], b"\x01hello")?;
//! let mut run = Vec::new();
//! Delivered { position, time_millis: 0, packet: message.into_packet() }.encode(&mut run);
//!
//! store.commit(vec![
//!     Change::Create { room, row },
//!     Change::Append { room, first: position, last: position, run: Bytes::from(run) },
//! ])?; // now it may be shown
//! let page = store.read(room, Position::START, 1 << 20)?;
//! assert_eq!((page.first, page.last, page.gap), (position, position, None));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod change;
mod error;
mod memory;
mod page;
mod run;
mod sqlite;
mod store;
mod words;

pub use change::{Change, MARK_BYTES_MAX, MemberRow, RoomId, RoomRow, StoredSecrets};
pub use error::{CommitError, DatabaseError, InvalidChange, OpenError, RunError, StoreError};
pub use memory::MemoryStore;
pub use page::{
    CheckReport, Checkpoint, Damage, Found, Hit, MemberSelection, Removed, Retention, StoreStats, StoredPage,
    StoredRoom,
};
pub use sqlite::{Options, Recovery, SqliteStore};
pub use store::Store;
pub use words::{QUERY_TOKENS_MAX, QUERY_WORDS_MAX, QueryError};
