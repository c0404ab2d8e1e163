//! The examples of `docs/protocol.md` are what it says they are.

use bytes::{Bytes, BytesMut};
use causerie_core::id::Position;
use causerie_core::key::{Challenge, KeyPair, Purpose};
use causerie_core::log::page::{Entry, HistoryPage};
use causerie_core::wire::{
    ClientFrame, Delivered, Direction, HistoryQuestion, MAGIC, MemberInfo, Observation, Observed, Page,
    Place, ServerFrame, split_frame,
};
use cbcast::{Kind, MemberId, Message, MessageId, Signature};

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
        epoch: None,
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
    let clock = [(MemberId::host(0), 2), (early.member, 87), (cause.member, 89)];
    let clock = Some(clock.into_iter().collect());
    let held = Observed::Held { held_millis: 120, waits_for: cause, clock };
    let delivered = Observed::Delivered { held_millis: None };
    let seen =
        vec![Observation { message: early, what: held }, Observation { message: cause, what: delivered }];
    let frame = ClientFrame::Observed { seen, left_out: 0 };
    assert_eq!(ClientFrame::decode(kind, &body), Ok(Some(frame.clone())));
    let mut again = Vec::new();
    frame.encode(&mut again);
    assert_eq!(again, bytes);

    // It is only of what is held that a clock can be told.
    let told = 15;
    assert!(ClientFrame::decode(kind, &body.slice(..told)).is_err(), "the list is part of the frame");
    for place in [1, 2] {
        let mut wrong = body.to_vec();
        wrong[told + 1] = place;
        assert!(ClientFrame::decode(kind, &wrong.into()).is_err(), "a clock of {place}");
    }
}

#[test]
fn a_page_of_history() {
    let bytes = example("8f Page");
    let (kind, body) = whole(&bytes);
    let raj = MemberId::new(0, 7);
    let cause = MessageId::new(MemberId::new(0, 3), 88);
    let message = Message::new(MessageId::new(raj, 90), Kind::Data, &[cause], b"\x01hi").unwrap();
    let mut records = Vec::new();
    Delivered { position: Position::new(300), time_millis: 1_700_000_000_000, packet: message.into_packet() }
        .encode(&mut records);
    let page = Page {
        room: "lobby".into(),
        epoch: causerie_core::id::Epoch::new(7),
        from: Position::new(298),
        to: Position::new(300),
        kept: Position::FIRST,
        end: Position::new(300),
        gaps: vec![(Position::new(298), Position::new(299))],
        names: vec![MemberInfo { member: raj, name: "Raj".into(), present: false }],
        revised: vec![],
        records: records.into(),
    };
    assert_eq!(ServerFrame::decode(kind, &body), Ok(Some(ServerFrame::Page(page.clone()))));
    let mut again = Vec::new();
    ServerFrame::Page(page.clone()).encode(&mut again);
    assert_eq!(again, bytes);
    let entries = HistoryPage::read(&page).expect("it tells of each position").entries;
    assert_eq!(entries[0], Entry::Gap { from: Position::new(298), to: Position::new(299), removed: false });
    assert!(matches!(&entries[1], Entry::Record(record) if record.name == "Raj" && record.deps == [cause]));
}

/// Packets of kinds that only signing members and several servers use.
#[test]
fn packets_of_each_kind() {
    let text = include_str!("../../../docs/protocol.md");
    let (_, section) = text.split_once("\n### Signed, emptied, hosted, expelled\n").expect("the heading");
    let (section, _) = section.split_once("\n## ").expect("its end");
    let packet = |block: &str| -> Vec<u8> {
        let hex = block.lines().flat_map(|l| l.split("    ").next().unwrap_or("").split_whitespace());
        hex.map(|byte| u8::from_str_radix(byte, 16).expect("a byte")).collect()
    };
    let blocks: Vec<_> = section.split("```text\n").skip(1).map(|b| b.split("```").next().unwrap()).collect();
    let [signed, emptied, hosted, expelled] = [0, 1, 2, 3].map(|n| packet(blocks[n]));

    let (id, cause) = (MessageId::new(MemberId::new(0, 7), 90), MessageId::new(MemberId::new(0, 3), 88));
    let payload: Vec<u8> = (0..16).chain(*b"\x01hi").collect();
    let data = Message::new(id, Kind::Data, &[cause], &payload).unwrap();
    let mut signature = Signature { signature: [0xaa; 64], links: None };
    let message = data.signed(signature).unwrap();
    assert_eq!(message.packet()[..], signed);
    assert_eq!((message.payload(), message.signed_part()), (payload.into(), data.signed_part()));
    signature.links = Some([0xbb; 32]);
    let message = data.signed(signature).unwrap().emptied([0xcc; 32]).unwrap();
    assert_eq!(message.packet()[..], emptied);
    assert_eq!(message.signed_part(), data.signed_part());

    let host = MemberId::host(1);
    let kind = Kind::Hosted { origin: 3, server: 12 };
    let message = Message::new(MessageId::new(host, 1), kind, &[], b"lyon").unwrap();
    assert_eq!(message.packet()[..], hosted);
    assert_eq!(message.signed_part(), (5, &hosted[1..7]), "whom it is about is covered");
    let counts = [(MemberId::host(2), 5), (MemberId::new(2, 4), 1), (MemberId::host(3), 0)];
    let kind = Kind::Expelled { home: 1, counts: counts.into_iter().collect() };
    let message = Message::new(MessageId::new(host, 2), kind, &[], b"disk").unwrap();
    assert_eq!(message.packet()[..], expelled);
    assert_eq!(message.signed_part(), (6, &expelled[1..expelled.len() - 4]));
}

/// Reads what stands in hexadecimal in a block of the section below a heading.
fn hex(line: &str) -> Option<Vec<u8>> {
    line.split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).ok().filter(|_| byte.len() == 2))
        .collect()
}

#[test]
fn a_proof_of_a_key() {
    let bytes = example("3.1 Keys");
    let key = KeyPair::new(std::array::from_fn(|n| n as u8));
    let challenge = Challenge { server_key: [0; 32], random: std::array::from_fn(|n| 0x20 + n as u8) };
    let proof = key.prove(Purpose::Member, &challenge);
    assert!(proof.holds(Purpose::Member, &challenge));
    assert_eq!(bytes, [&proof.key[..], &proof.signature].concat());
}

/// Each frame of the dialogue is one, and is written as it stands there; proofs hold on their connections.
#[test]
fn the_dialogue() {
    let text = include_str!("../../../docs/protocol.md");
    let (_, section) = text.split_once("\n## 13. A dialogue\n").unwrap();
    let (block, _) = section.split_once("```text\n").unwrap().1.split_once("```").unwrap();
    let mut frames = Vec::<(char, Vec<u8>)>::new();
    for line in block.lines() {
        match (line.chars().next(), frames.last_mut()) {
            (Some(who @ ('C' | 'S')), _) => frames.push((who, hex(&line[1..]).expect("bytes"))),
            (Some(' '), Some((_, frame))) => frame.extend(hex(line).unwrap_or_default()),
            _ => {}
        }
    }
    assert_eq!(frames.remove(0), ('C', MAGIC.to_vec()));
    let (mut challenge, mut proofs) = (None, 0);
    for (who, bytes) in frames {
        let (kind, body) = whole(&bytes);
        let mut again = Vec::new();
        if who == 'C' {
            let frame = ClientFrame::decode(kind, &body).unwrap().unwrap();
            if let ClientFrame::Join { proof, .. } | ClientFrame::Resume { proof, .. } = &frame {
                assert!(proof.holds(Purpose::Member, &challenge.expect("a hello")));
                proofs += 1;
            }
            frame.encode(&mut again);
        } else {
            let frame = ServerFrame::decode(kind, &body).unwrap().unwrap();
            if let ServerFrame::Hello { challenge: given, .. } = &frame {
                challenge = Some(*given);
            }
            frame.encode(&mut again);
        }
        assert_eq!(again, bytes);
    }
    assert_eq!(proofs, 2);
}
