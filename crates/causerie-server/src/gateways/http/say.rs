//! Saying something once, however often it is sent.

use std::sync::Arc;

use causerie_core::content::body::Body;
use causerie_core::id::{ClientId, Position};
use causerie_core::log::mark;
use causerie_core::log::records;
use causerie_core::room::{HostedSayError, SaidOnce};
use causerie_store::StoreError;
use cbcast::MemberId;

use super::failure::HttpFailure;
use crate::journal::reads::Asker;
use crate::journal::unstored::Unstored;
use crate::rooms::hosted::HostedRoom;

/// Place of something that was said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) said: SaidOnce,
    /// It was not said before.
    pub(super) is_new: bool,
}

/// Says it, unless it was said with this id of its client's before.
pub(super) async fn say(
    hosted: &Arc<HostedRoom>,
    member: MemberId,
    client_id: &ClientId,
    body: &Body,
) -> Result<Unstored<Placed>, HttpFailure> {
    loop {
        let forgotten = match find(hosted, member, client_id).await? {
            Ok(placed) => return Ok(placed),
            Err(forgotten) => forgotten,
        };
        let said = hosted.act(|room, now| {
            let is_new = room.said_once(member, client_id).0.is_none();
            let said = room.say_once(now, member, client_id, body, forgotten)?;
            Ok::<_, HostedSayError>(said.map(|said| Placed { said, is_new }))
        });
        // What was refused has changed nothing.
        if let Some(placed) = transpose(said)? {
            return Ok(placed);
        }
    }
}

/// Finds what was said with this id, or how many ids the room had forgotten before that was found to be nothing.
pub(super) async fn find(
    hosted: &Arc<HostedRoom>,
    member: MemberId,
    client_id: &ClientId,
) -> Result<Result<Unstored<Placed>, u64>, HttpFailure> {
    let said = hosted.ask(|room| room.said_once(member, client_id));
    // How many ids are forgotten nobody is told.
    let (known, forgotten) = *said.peek_unstored();
    if let Some(known) = known {
        return Ok(Ok(said.map(|_| Placed { said: known, is_new: false })));
    }
    let (room, name) = (hosted.id, mark::once(member, client_id));
    let stored = hosted.reading(Asker::Speaker, move |store| {
        let Some(&position) = store.marked(room, &name, Position::START, 1)?.first() else { return Ok(None) };
        let runs = store.read(room, position - 1, 1)?.runs;
        let record = runs.into_iter().flat_map(records).find(|record| record.position == position);
        Ok(record.map(|record| SaidOnce { id: record.message.id(), position }))
    });
    match stored.await {
        Ok(Some(said)) => Ok(Ok(hosted.was_stored(Placed { said, is_new: false }))),
        // A room that was made just now has nothing stored.
        Ok(None) | Err(StoreError::NoSuchRoom(_)) => Ok(Err(forgotten)),
        Err(error) => Err(error.into()),
    }
}

/// Takes out what was refused, or is to be looked for again: of neither has anything changed.
fn transpose<E>(said: Unstored<Result<Option<Placed>, E>>) -> Result<Option<Unstored<Placed>>, E>
where
    E: Clone,
{
    match said.peek_unstored().clone()? {
        None => Ok(None),
        Some(placed) => Ok(Some(said.map(|_| placed))),
    }
}
