//! Saying something once, however often it is sent.

use std::sync::Arc;

use causerie_core::content::body::Body;
use causerie_core::id::{ClientId, Position};
use causerie_core::log::mark;
use causerie_core::log::records;
use causerie_core::room::{ForgottenIds, SaidBefore, SaidOnce, SaysOnce};
use causerie_store::StoreError;
use cbcast::MemberId;

use super::failure::HttpFailure;
use crate::fanout::readable::Readable;
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
    let mut asked = None;
    loop {
        let says = hosted.act(|room, now| room.say_once(now, member, client_id, body, asked));
        // What was refused, or is to be looked for, has changed nothing.
        match says.peek_unstored().clone()? {
            SaysOnce::Said { said, is_new } => return Ok(says.map(|_| Placed { said, is_new })),
            SaysOnce::AskStore(forgotten) => {
                if let Some(said) = stored(hosted, says, forgotten, member, client_id).await? {
                    return Ok(said);
                }
                asked = Some(forgotten);
            }
        }
    }
}

/// Finds what was said with this id.
pub(super) async fn find(
    hosted: &Arc<HostedRoom>,
    member: MemberId,
    client_id: &ClientId,
) -> Result<Option<Unstored<Placed>>, HttpFailure> {
    let before = hosted.ask(|room| room.said_once(member, client_id));
    // That it was not said, or may have been, nobody is told.
    match *before.peek_unstored() {
        SaidBefore::Said(said) => Ok(Some(before.map(|_| Placed { said, is_new: false }))),
        SaidBefore::Never => Ok(None),
        SaidBefore::Forgotten(forgotten) => stored(hosted, before, forgotten, member, client_id).await,
    }
}

/// Finds what was said with this id in the store, once that has all that the room has forgotten.
async fn stored<T>(
    hosted: &Arc<HostedRoom>,
    so_far: Unstored<T>,
    forgotten: ForgottenIds,
    member: MemberId,
    client_id: &ClientId,
) -> Result<Option<Unstored<Placed>>, HttpFailure> {
    if hosted.end().last < forgotten.last {
        so_far.stored_in_time().await?;
    }
    let (room, name) = (hosted.id, mark::once(member, client_id));
    let stored = hosted.reading(Asker::Speaker, move |store| {
        let Some(&position) = store.marked(room, &name, Position::START, 1)?.first() else { return Ok(None) };
        let runs = store.read(room, position - 1, 1)?.runs;
        let record = runs.into_iter().flat_map(records).find(|record| record.position == position);
        Ok(record.map(|record| SaidOnce { id: record.message.id(), position }))
    });
    match stored.await {
        Ok(said) => Ok(said.map(|said| hosted.was_stored(Placed { said, is_new: false }))),
        // A room that was made just now has nothing stored.
        Err(StoreError::NoSuchRoom(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
