//! People and words for tests: Ann, who looks at the screen, Bob and Eve.

use causerie_client::{
    Body, Entry, Event, HistoryPage, HistoryRecord, Limits, MemberId, MemberInfo, MessageId, Position, Post,
    What,
};

use super::room::RoomModel;

pub(super) const ANN: MemberId = MemberId::new(0, 1);
pub(super) const BOB: MemberId = MemberId::new(0, 2);
pub(super) const EVE: MemberId = MemberId::new(0, 3);
/// 2026-01-31T09:30:00Z.
pub(super) const MORNING: u64 = 1_769_851_800_000;

pub(super) fn id(member: MemberId, seq: u64) -> MessageId {
    MessageId::new(member, seq)
}

fn name(member: MemberId) -> String {
    match member {
        ANN => "Ann",
        BOB => "Bob",
        _ => "Eve",
    }
    .into()
}

pub(super) fn welcome() -> Event {
    let info = |member| MemberInfo { member, name: name(member), present: true };
    Event::Welcomed {
        member: ANN,
        room: "lobby".into(),
        created: false,
        epoch: causerie_client::Epoch::new(7),
        first: Position::FIRST,
        position: Position::START,
        members: vec![info(ANN), info(BOB), info(EVE)],
        limits: Limits { name_chars: 20, text_bytes: 1_000, frame_bytes: 10_000, grace_millis: 1 },
    }
}

pub(super) fn welcomed() -> RoomModel {
    let mut room = RoomModel::new("lobby");
    room.handle(welcome(), "Ann");
    room
}

pub(super) fn change(member: MemberId, seq: u64, body: Body) -> Event {
    let deps = body.target().into_iter().filter(|target| target.member != member).collect();
    Event::Delivered(Post {
        id: id(member, seq),
        author: name(member),
        body,
        own: member == ANN,
        position: None,
        time_millis: None,
        held_for: None,
        history: false,
        deps,
    })
}

pub(super) fn said(member: MemberId, seq: u64, text: &str, after: Option<MessageId>) -> Event {
    let mut event = change(member, seq, Body::Text(text.into()));
    if let Event::Delivered(post) = &mut event {
        post.deps.extend(after);
    }
    event
}

pub(super) fn placed(member: MemberId, seq: u64, position: u64) -> Event {
    Event::Placed {
        id: id(member, seq),
        position: Position::new(position),
        time_millis: MORNING + position * 60_000,
    }
}

pub(super) fn record(member: MemberId, seq: u64, body: Body) -> HistoryRecord {
    HistoryRecord {
        position: Position::START,
        time_millis: MORNING,
        id: id(member, seq),
        deps: Vec::new(),
        member,
        name: name(member),
        what: What::Said(body),
        standing: causerie_core::log::page::Standing::AsSaid,
    }
}

/// A page that begins there, with nothing before it where that is the log's start.
pub(super) fn page(from: u64, records: Vec<HistoryRecord>) -> HistoryPage {
    let to = from + records.len() as u64 - 1;
    let placed = |(position, record)| Entry::Record(HistoryRecord { position, ..record });
    let entries = Position::new(from).onwards().zip(records).map(placed).collect();
    HistoryPage {
        room: "lobby".into(),
        epoch: causerie_client::Epoch::new(7),
        from: Position::new(from),
        to: Position::new(to),
        end: Position::new(to),
        entries,
    }
}
