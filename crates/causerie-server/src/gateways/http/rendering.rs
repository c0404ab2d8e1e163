//! Records of a room as JSON: each is written once, and all who read along share it.

use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use causerie_gateway::api::record_event;

use crate::rooms::hosted::HostedRoom;
use crate::rooms::tail::Piece;

/// Records and bytes that one reader takes at once, but one record at least.
const RECORDS_MAX: usize = 512;
const BYTES_MAX: usize = 64 << 10;

/// The records of a piece as events.
struct Events(Vec<Utf8Bytes>);

/// Returns the events behind a cursor, as many as one reader takes at once, and the position of the last.
pub(super) async fn events(piece: &Piece, hosted: &HostedRoom, cursor: u64) -> (Vec<Utf8Bytes>, u64) {
    let records = piece.records(hosted).await;
    let make = || Events(records.iter().map(|record| record_event(record).into()).collect());
    let all: Arc<Events> = piece.rendering(|_| true, make);
    let read = records.partition_point(|record| record.position <= cursor);
    let mut bytes = 0;
    let fits = |event: &&Utf8Bytes| {
        let is_first = bytes == 0;
        bytes += event.len();
        is_first || bytes <= BYTES_MAX
    };
    let events: Vec<_> = all.0[read..].iter().take(RECORDS_MAX).take_while(fits).cloned().collect();
    let last = (read + events.len()).checked_sub(1).and_then(|n| records.get(n));
    let last = last.map_or(cursor, |record| record.position);
    (events, last)
}
