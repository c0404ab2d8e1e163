//! Scrolling: how far up a room is read.

use super::layout;
use super::model::Model;
use super::room::Anchor;

/// So many lines up; down below zero.
pub(super) fn scroll(model: &mut Model, up: isize) {
    let end = layout::end_anchor(model);
    let Some(mut at) = model.room().anchor.or(end) else { return };
    let height = |model: &Model, row| layout::row_height(model, row) as isize;
    let mut lines = at.lines as isize - up;
    let numbers = model.room().numbers();
    at.row = at.row.clamp(numbers.start, numbers.end - 1);
    while lines <= 0 && at.row > numbers.start {
        at.row -= 1;
        lines += height(model, at.row);
    }
    while lines > height(model, at.row) && at.row + 1 < numbers.end {
        lines -= height(model, at.row);
        at.row += 1;
    }
    at.lines = lines.clamp(1, height(model, at.row)) as usize;
    set_anchor(model, at);
}

/// The screen stays full where there is enough to fill it, and at the end it follows what comes.
pub(super) fn set_anchor(model: &mut Model, anchor: Anchor) {
    let room = &mut model.rooms[model.current];
    room.anchor = Some(anchor);
    let missing = layout::lines_missing(model);
    if missing > 0 {
        // From the first row down.
        let mut left = layout::message_lines(model);
        let numbers = model.room().numbers();
        let mut at = None;
        for row in numbers {
            let height = layout::row_height(model, row);
            at = Some(Anchor { row, lines: height.min(left) });
            if height >= left {
                break;
            }
            left -= height;
        }
        model.room_mut().anchor = at;
    }
    if model.room().anchor == layout::end_anchor(model) {
        let room = model.room_mut();
        room.anchor = None;
        (room.unread, room.mentions) = (0, 0);
        room.note_read();
    }
}

/// Puts a row on the screen, if it is not there.
pub(super) fn reveal(model: &mut Model, row: i64) {
    let (first, last) = layout::rows_seen(model);
    if row > first && row < last {
        return;
    }
    show_lowest(model, row);
    if row < last {
        // In the middle, to see what was said around it.
        scroll_on(model, row, layout::message_lines(model) / 2);
    }
}

pub(super) fn show_lowest(model: &mut Model, row: i64) {
    let lines = layout::row_height(model, row);
    set_anchor(model, Anchor { row, lines });
}

/// So many lines down, if that row is the lowest: near the first one it cannot be.
pub(super) fn scroll_on(model: &mut Model, row: i64, lines: usize) {
    if model.room().anchor.is_some_and(|anchor| anchor.row == row) {
        scroll(model, -(lines as isize));
    }
}
