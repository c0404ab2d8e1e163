//! A classic client's bytes, in reads of any size: never more kept than a read and a text, and whatever is said,
//! a reply is one line.
#![no_main]

use std::iter::from_fn;

use arbitrary::Arbitrary;
use causerie_core::content::body::Body;
use causerie_core::content::name::Name;
use causerie_core::content::plain;
use causerie_core::content::text;
use causerie_gateway::classic::{
    self, ClassicItem, ClassicLines, ControllerCommand, RoomCommand, encode, parse_controller, parse_room,
};
use cbcast::{MemberId, MessageId};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    bytes_max: u8,
    reads: Vec<&'a [u8]>,
}

/// One line, harmless in a terminal.
fn check(reply: &str) {
    for ascii_only in [false, true] {
        let line = encode(reply, ascii_only);
        let text = std::str::from_utf8(&line).expect("UTF-8");
        let text = text.strip_suffix('\n').expect("a line end");
        assert!(!text.chars().any(|c| c.is_control() && c != '\t'), "{text:?}");
        assert!(!text.contains(['\u{2028}', '\u{2029}']), "{text:?}");
        assert!(!ascii_only || text.is_ascii());
    }
}

fuzz_target!(|input: Input<'_>| {
    let limit = usize::from(input.bytes_max);
    let mut lines = ClassicLines::new(limit);
    let mut items = Vec::new();
    for read in &input.reads {
        lines.push(read);
        let before = items.len();
        items.extend(from_fn(|| lines.poll_item()));
        assert!(items.len() - before <= read.len() + 1, "more texts than bytes");
    }
    items.extend(from_fn(|| lines.finish()));
    assert_eq!(lines.finish(), None);
    // What telnet says of itself is no text, and decides nothing.
    let is_telnet = input.reads.iter().any(|read| read.contains(&0xff));
    let is_silent = input.reads.iter().all(|read| read.is_empty());
    assert!(is_telnet || lines.line_mode().is_none() == is_silent);

    if lines.line_mode() == Some(true) && !is_telnet {
        // Lines are lines wherever they are cut.
        let whole = input.reads.concat();
        let mut again = ClassicLines::new(limit);
        let first = whole.iter().position(|byte| *byte == b'\n').expect("a line end") + 1;
        again.push(&whole[..first]);
        let mut same = Vec::from_iter(from_fn(|| again.poll_item()));
        for byte in &whole[first..] {
            again.push(&[*byte]);
            same.extend(from_fn(|| again.poll_item()));
        }
        same.extend(from_fn(|| again.finish()));
        assert_eq!(items, same);
    }

    let mut names = Vec::new();
    for item in items {
        let ClassicItem::Text(said) = item else { continue };
        assert!(!said.is_empty() && said.len() <= limit && !said.contains('\n'));
        match parse_controller(&said) {
            ControllerCommand::Join(room) => assert!(!room.is_empty()),
            ControllerCommand::Unknown(text) => check(&classic::unknown_controller_command(&text)),
            _ => {}
        }
        match parse_room(&said) {
            RoomCommand::Text(text) => assert_eq!(text, said),
            RoomCommand::Unknown(text) => check(&classic::unknown_room_command(&text)),
            _ => {}
        }
        let target = MessageId::new(MemberId::new(0, 1), 1);
        for reply in [
            plain::said(&said, &Body::Reply { to: target, text: said.clone() }, Some((&said, &said)))
                .expect("a text"),
            plain::said(&said, &Body::Text(said.clone()), None).expect("a text"),
            plain::joined(&said),
            plain::left(&said),
            classic::error(&said),
            classic::controller_error(&said),
            said.clone(),
        ] {
            check(&reply);
        }
        if let Ok(name) = Name::parse(&said, usize::MAX) {
            check(&classic::name_taken(&name, &name, &name));
        }
        let json = classic::rooms([(&said[..], None, 0)]);
        assert_eq!(encode(&json, false), format!("{json}\n").into_bytes(), "JSON passes unchanged");
        let visible = text::visible(&said);
        assert_eq!(text::visible(&visible), visible, "shown once is shown");
        names.push(said);
    }
    check(&classic::members(names.iter().map(String::as_str)));
});
