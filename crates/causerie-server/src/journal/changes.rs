//! Changes of rooms as the store takes them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use causerie_core::room::Batch;
use causerie_store::{Change, MemberRow, RoomId, StoredSecrets};

/// A room as the writer sees it: it gives changes, and has them stored.
pub(crate) trait Journaled: Send + Sync {
    /// Returns its number.
    fn id(&self) -> RoomId;

    /// Returns the mark that it is in the writer's queue.
    fn is_queued(&self) -> &AtomicBool;

    /// Returns whether its readers are still being written to. If so it queues itself once they have been.
    fn is_busy(&self) -> bool;

    /// Returns whether it queues itself once its readers have been written to.
    fn is_awaited(&self) -> bool;

    /// Adds what is to be stored. Returns what is to be told to [`has_stored`](Self::has_stored) then.
    fn take_changes(&self, changes: &mut Vec<Change>) -> Option<Batch>;

    /// Shows what was stored.
    fn has_stored(&self, batch: Batch);
}

/// Rooms that have something to be stored.
pub(crate) type ChangedRooms = Vec<Arc<dyn Journaled>>;

/// Adds the changes that a batch of a room is to the store.
pub(crate) fn changes_of(room: RoomId, batch: &mut Batch, changes: &mut Vec<Change>) {
    if let Some(run) = &batch.records {
        changes.push(Change::Append { room, first: run.first, last: run.last, run: run.bytes.clone() });
    }
    for record in &batch.members {
        let secrets = record.secrets.map(|secrets| match secrets {
            causerie_core::room::Secrets::Key(key) => StoredSecrets::Key(key),
            causerie_core::room::Secrets::Bearer { token, nonce } => StoredSecrets::Bearer { token, nonce },
        });
        let row = MemberRow {
            member: record.member,
            name: record.name.clone(),
            joined_at: record.joined_at,
            left_at: record.left_at,
            taken: record.taken,
            secrets,
        };
        changes.push(Change::Member { room, row });
    }
    for (name, position) in std::mem::take(&mut batch.marks) {
        changes.push(Change::Mark { room, name: name.into(), position });
    }
    if let Some((position, state)) = batch.checkpoint.clone() {
        changes.push(Change::Checkpoint { room, position, state });
    }
}
