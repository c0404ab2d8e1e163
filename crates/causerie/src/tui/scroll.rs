//! Scrolling: the lowest line of a room on the screen.

use causerie_client::MessageId;

use super::layout::Layout;
use super::room::{Anchor, RoomModel};

/// Moves so many lines up; down below zero.
pub(super) fn scroll(room: &mut RoomModel, layout: &Layout, up: isize) {
    let Some(mut at) = room.anchor.or(layout.end_anchor(room)) else { return };
    let height = |row| layout.row_height(room, row) as isize;
    let mut lines = at.lines as isize - up;
    let numbers = room.numbers();
    at.row = at.row.clamp(numbers.start, numbers.end - 1);
    while lines <= 0 && at.row > numbers.start {
        at.row -= 1;
        lines += height(at.row);
    }
    while lines > height(at.row) && at.row + 1 < numbers.end {
        lines -= height(at.row);
        at.row += 1;
    }
    at.lines = lines.clamp(1, height(at.row)) as usize;
    set_anchor(room, layout, at);
}

/// Moves to a line. The screen stays full where there is enough to fill it, and at the end it follows what comes.
fn set_anchor(room: &mut RoomModel, layout: &Layout, anchor: Anchor) {
    room.anchor = Some(anchor);
    if layout.seen(room).empty > 0 {
        // From the first row down.
        let mut left = layout.message_lines();
        let mut at = None;
        for row in room.numbers() {
            let height = layout.row_height(room, row);
            at = Some(Anchor { row, lines: height.min(left) });
            if height >= left {
                break;
            }
            left -= height;
        }
        room.anchor = at;
    }
    if room.anchor == layout.end_anchor(room) {
        follow(room);
    }
}

/// Goes to the end, where all is read, and follows what comes.
pub(super) fn follow(room: &mut RoomModel) {
    room.anchor = None;
    (room.unread, room.mentions) = (0, 0);
    room.note_read();
}

/// Goes to the end, and chooses no message any more.
pub(super) fn to_end(room: &mut RoomModel) {
    room.selected = None;
    follow(room);
}

/// Chooses a message, and puts it on the screen.
pub(super) fn select(room: &mut RoomModel, layout: &Layout, id: MessageId) {
    room.selected = Some(id);
    if let Some(row) = room.number_of(id) {
        reveal(room, layout, row);
    }
}

/// Puts a row on the screen, if it is not there.
fn reveal(room: &mut RoomModel, layout: &Layout, row: i64) {
    let (first, last) = layout.rows_seen(room);
    if row > first && row < last {
        return;
    }
    show_lowest(room, layout, row);
    if row < last {
        // In the middle, to see what was said around it.
        scroll_on(room, layout, row, layout.message_lines() / 2);
    }
}

/// Puts a row on the screen with so many lines below it, if there are as many.
pub(super) fn show_above(room: &mut RoomModel, layout: &Layout, row: i64, lines: usize) {
    room.anchor = None;
    show_lowest(room, layout, row);
    scroll_on(room, layout, row, lines);
}

fn show_lowest(room: &mut RoomModel, layout: &Layout, row: i64) {
    let lines = layout.row_height(room, row);
    set_anchor(room, layout, Anchor { row, lines });
}

/// Moves so many lines down, if that row is the lowest: near the first one it cannot be.
fn scroll_on(room: &mut RoomModel, layout: &Layout, row: i64, lines: usize) {
    if room.anchor.is_some_and(|anchor| anchor.row == row) {
        scroll(room, layout, -(lines as isize));
    }
}
