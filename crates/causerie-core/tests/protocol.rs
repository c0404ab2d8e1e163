//! The examples of `docs/protocol.md` are what it says they are.

use bytes::{Bytes, BytesMut};
use causerie_core::frame::{
    ClientFrame, Delivered, Direction, HistoryQuestion, MemberInfo, Observation, Observed, Page, Place,
    ServerFrame, split_frame,
};
use causerie_core::history::{Entry, HistoryPage};
use cbcast::{Kind, MemberId, Message, MessageId};

/// The bytes of the first example below a heading: what stands before the comments.
fn example(heading: &str) -> Vec<u8> {
    let text = include_str!("../../../docs/protocol.md");
    let (_, section) = text.split_once(&format!("\n### {heading}\n")).expect("the heading");
    let (_, example) = section.split_once("```text\n").expect("an example");
    let (example, _) = example.split_once("```").expect("its end");
    let hex = example.lines().flat_map(|line| line.split("    ").next().unwrap_or("").split_whitespace());
    hex.map(|byte| u8::from_str_radix(byte, 16).unwrap_or_else(|_| panic!("{byte} is no byte"))).collect()
}

fn whole(bytes: &[u8]) -> (u8, Bytes) {
    let mut buffer = BytesMut::from(bytes);
    let frame = split_frame(&mut buffer, 1 << 20).unwrap().expect("a whole frame");
    assert!(buffer.is_empty());
    frame
}

#[test]
fn a_question_about_history() {
    let bytes = example("0d History");
    let (kind, body) = whole(&bytes);
    let question = HistoryQuestion {
        room: "lobby".into(),
        epoch: 0,
        direction: Direction::After,
        place: Place::Message(MessageId::new(MemberId::new(0, 7), 90)),
        limit: 50,
        wait_millis: 0,
    };
    let question = ClientFrame::History(question);
    assert_eq!(ClientFrame::decode(kind, &body), Ok(Some(question.clone())));
    let mut again = Vec::new();
    question.encode(&mut again);
    assert_eq!(again, bytes);
}

#[test]
fn what_a_member_has_observed() {
    let bytes = example("0e Observed");
    let (kind, body) = whole(&bytes);
    let early = MessageId::new(MemberId::new(0, 3), 88);
    let cause = MessageId::new(MemberId::new(0, 7), 90);
    let held = Observed::Held { held_millis: 120, waits_for: cause };
    let delivered = Observed::Delivered { held_millis: None };
    let seen =
        vec![Observation { message: early, what: held }, Observation { message: cause, what: delivered }];
    let frame = ClientFrame::Observed { seen, left_out: 0 };
    assert_eq!(ClientFrame::decode(kind, &body), Ok(Some(frame.clone())));
    let mut again = Vec::new();
    frame.encode(&mut again);
    assert_eq!(again, bytes);
}

#[test]
fn a_page_of_history() {
    let bytes = example("8f Page");
    let (kind, body) = whole(&bytes);
    let raj = MemberId::new(0, 7);
    let cause = MessageId::new(MemberId::new(0, 3), 88);
    let message = Message::new(MessageId::new(raj, 90), Kind::Data, &[cause], b"\x01hi").unwrap();
    let mut records = Vec::new();
    Delivered { position: 300, time_millis: 1_700_000_000_000, packet: message.into_packet() }
        .encode(&mut records);
    let page = Page {
        room: "lobby".into(),
        epoch: 7,
        from: 298,
        to: 300,
        kept: 1,
        end: 300,
        gaps: vec![(298, 299)],
        names: vec![MemberInfo { member: raj, name: "Raj".into(), present: false }],
        records: records.into(),
    };
    assert_eq!(ServerFrame::decode(kind, &body), Ok(Some(ServerFrame::Page(page.clone()))));
    let mut again = Vec::new();
    ServerFrame::Page(page.clone()).encode(&mut again);
    assert_eq!(again, bytes);
    let entries = HistoryPage::read(&page).expect("it tells of each position").entries;
    assert_eq!(entries[0], Entry::Gap { from: 298, to: 299, removed: false });
    assert!(matches!(&entries[1], Entry::Record(record) if record.name == "Raj" && record.deps == [cause]));
}
