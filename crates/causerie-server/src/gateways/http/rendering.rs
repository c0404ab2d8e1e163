//! Records of a room as JSON: each is written once, and all who read along share it.

use causerie_core::id::Position;
use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use causerie_gateway::api::record_event;

use crate::rooms::hosted::HostedRoom;
use crate::rooms::tail::{Behind, Follower};

/// Records and bytes that one reader takes at once, but one record at least.
const RECORDS_MAX: usize = 512;
const BYTES_MAX: usize = 64 << 10;

/// The records of a piece as events.
struct Events(Vec<Utf8Bytes>);

/// Returns the events behind a cursor, as many as one reader takes at once, and the position of the last; `None` if they are not
/// in memory: ask for a page.
pub(super) async fn events(
    follower: &Follower,
    hosted: &HostedRoom,
    cursor: Position,
) -> Option<(Vec<Utf8Bytes>, Position)> {
    let (mut events, mut bytes, mut last) = (Vec::new(), 0, cursor);
    // Who is some pieces behind takes them at once: each turn of a session costs more than they do.
    loop {
        let piece = match follower.behind(last) {
            Behind::Piece(piece) => piece,
            Behind::Older if last == cursor => return None,
            Behind::Older | Behind::Nothing => return Some((events, last)),
        };
        let records = piece.records(hosted).await;
        let make = || Events(records.iter().map(|record| record_event(record).into()).collect());
        let all: Arc<Events> = piece.rendering(|_| true, make);
        let read = records.partition_point(|record| record.position <= last);
        for (record, event) in records.iter().zip(&all.0).skip(read) {
            let is_full = events.len() == RECORDS_MAX || bytes + event.len() > BYTES_MAX;
            if is_full && !events.is_empty() {
                return Some((events, last));
            }
            bytes += event.len();
            events.push(event.clone());
            last = record.position;
        }
        last = piece.last;
    }
}
