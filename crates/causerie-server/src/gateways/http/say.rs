//! Saying something once, however often it is sent.

use std::sync::Arc;

use causerie_core::content::body::Body;
use causerie_core::log::mark;
use causerie_core::log::records;
use causerie_core::room::SaidOnce;
use causerie_store::StoreError;
use cbcast::MemberId;

use super::failure::Failure;
use crate::journal::reads::Asker;
use crate::rooms::hosted::HostedRoom;

/// Where something stands that was said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) said: SaidOnce,
    /// It was not said before.
    pub(super) is_new: bool,
    /// May be told once so many changes are stored.
    pub(super) changes: u64,
}

/// Says it, unless it was said with this id of its client's before.
pub(super) async fn say(
    hosted: &Arc<HostedRoom>,
    member: MemberId,
    client_id: &str,
    body: &Body,
) -> Result<Placed, Failure> {
    loop {
        let forgotten = match find(hosted, member, client_id).await? {
            Ok(placed) => return Ok(placed),
            Err(forgotten) => forgotten,
        };
        let (said, changes) = hosted.act_and_count(|room, now| {
            let is_new = room.said_once(member, client_id).0.is_none();
            room.say_once(now, member, client_id, body, forgotten).map(|said| (said, is_new))
        });
        if let (Some(said), is_new) = said? {
            return Ok(Placed { said, is_new, changes });
        }
    }
}

/// What was said with this id, or how many ids the room had forgotten before that was found to be nothing.
pub(super) async fn find(
    hosted: &Arc<HostedRoom>,
    member: MemberId,
    client_id: &str,
) -> Result<Result<Placed, u64>, Failure> {
    let ((said, forgotten), changes) =
        hosted.look(|room| (room.said_once(member, client_id), room.changes()));
    if let Some(said) = said {
        return Ok(Ok(Placed { said, is_new: false, changes }));
    }
    let (room, name) = (hosted.id, mark::once(member, client_id));
    let stored = hosted.reading(Asker::Speaker, move |store| {
        let Some(&position) = store.marked(room, &name, 0, 1)?.first() else { return Ok(None) };
        let runs = store.read(room, position - 1, 1)?.runs;
        let record = runs.into_iter().flat_map(records).find(|record| record.position == position);
        Ok(record.map(|record| SaidOnce { id: record.message.id(), position }))
    });
    match stored.await {
        Ok(Some(said)) => Ok(Ok(Placed { said, is_new: false, changes: 0 })),
        // A room that was made just now has nothing stored.
        Ok(None) | Err(StoreError::NoSuchRoom(_)) => Ok(Err(forgotten)),
        Err(error) => Err(error.into()),
    }
}
