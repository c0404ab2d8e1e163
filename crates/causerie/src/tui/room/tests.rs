use causerie_client::Stable;

use super::super::samples::*;
use super::*;

#[test]
fn neighbours_that_nobody_had_seen_both_of_are_marked() {
    let mut room = welcomed();
    let mut position = 0;
    let mut say = |room: &mut RoomModel, event: Event| {
        let Event::Delivered(Post { id, .. }) = event else { panic!("{event:?}") };
        room.handle(event, "Ann");
        position += 1;
        room.handle(placed(id.member, id.seq, position), "Ann");
        room.message(id).is_some_and(|message| message.extra.concurrent)
    };
    assert!(!say(&mut room, said(ANN, 1, "who is in?", None)), "nothing is above it");
    assert!(!say(&mut room, said(BOB, 1, "I am", Some(id(ANN, 1)))));
    assert!(say(&mut room, said(EVE, 1, "me too", Some(id(ANN, 1)))), "Eve had not seen Bob's");
    assert!(!say(&mut room, said(EVE, 2, "hello?", None)), "it follows her own");
    // Between the two, what has no row: Bob had seen Eve's last, and Ann Bob's reaction.
    let reaction = Body::Reaction { to: id(ANN, 1), symbol: "+".into(), set: true };
    let mut reaction = change(BOB, 2, reaction);
    if let Event::Delivered(post) = &mut reaction {
        post.deps = vec![id(EVE, 2)];
    }
    assert!(!say(&mut room, reaction));
    assert!(!say(&mut room, said(ANN, 2, "good", Some(id(BOB, 2)))));
    // Who joins is told what was said, and whoever has seen that has seen all.
    room.handle(placed(MemberId::new(0, 0), 9, 7), "Ann");
    assert!(!say(&mut room, said(BOB, 3, "welcome", Some(MessageId::new(MemberId::new(0, 0), 9)))));
    assert!(say(&mut room, said(EVE, 3, "bye", Some(id(ANN, 2)))));
}

#[test]
fn neighbours_in_a_page_are_compared_too() {
    let mut room = welcomed();
    let text = |member, seq, deps: &[MessageId]| causerie_client::HistoryRecord {
        deps: deps.to_vec(),
        ..record(member, seq, Body::Text("x".into()))
    };
    let records = vec![text(ANN, 1, &[]), text(BOB, 1, &[id(ANN, 1)]), text(EVE, 1, &[id(ANN, 1)])];
    room.earlier(page(1, records), "Ann");
    let marked = [ANN, BOB, EVE].map(|member| room.message(id(member, 1)).unwrap().extra.concurrent);
    assert_eq!(marked, [false, false, true]);
}

fn texts(room: &RoomModel) -> Vec<String> {
    let shown = |number| match room.row(number).expect("in range") {
        Row::Message(id) => room.text(id).unwrap_or("(deleted)").to_owned(),
        Row::Comings(comings) => {
            comings.iter().map(|c| format!("{}{}", if c.joined { '+' } else { '-' }, c.name)).collect()
        }
        Row::Gap { from, to, .. } => format!("gap {from}-{to}"),
        Row::Notice(text) => format!("* {text}"),
    };
    room.numbers().map(shown).collect()
}

fn counts(room: &RoomModel, id: MessageId) -> Vec<(&str, usize)> {
    let view = room.view(id).expect("it has a line");
    view.reactions.into_iter().map(|reaction| (reaction.symbol, reaction.by.len())).collect()
}

#[test]
fn what_is_about_an_edit_is_about_the_message() {
    let mut room = welcomed();
    room.handle(said(BOB, 1, "first words", None), "Ann");
    room.handle(change(BOB, 2, Body::Edit { of: id(BOB, 1), text: "second words".into() }), "Ann");
    let reaction = Body::Reaction { to: id(BOB, 2), symbol: "👍".into(), set: true };
    room.handle(change(EVE, 1, reaction), "Ann");
    room.handle(change(BOB, 3, Body::Edit { of: id(BOB, 2), text: "third words".into() }), "Ann");
    assert_eq!((texts(&room), counts(&room, id(BOB, 1))), (vec!["third words".into()], vec![("👍", 1)]));
    room.handle(change(EVE, 2, Body::Edit { of: id(BOB, 3), text: "not Eve's".into() }), "Ann");
    assert_eq!(texts(&room), ["third words"]);
    room.handle(change(ANN, 1, Body::Reply { to: id(BOB, 3), text: "yes".into() }), "Ann");
    let quote = room.quote(id(ANN, 1)).unwrap();
    assert_eq!((quote.id, quote.author, quote.words), (id(BOB, 1), Some("Bob"), Some("third words")));
}

#[test]
fn what_is_placed_never_moves() {
    let mut room = welcomed();
    room.handle(said(EVE, 1, "first", None), "Ann");
    room.handle(said(ANN, 1, "mine", None), "Ann");
    room.handle(said(BOB, 1, "second", None), "Ann");
    assert_eq!(texts(&room), ["first", "mine", "second"]);
    room.handle(placed(BOB, 1, 10), "Ann");
    assert_eq!(texts(&room), ["second", "first", "mine"], "what has no place stands below");
    room.handle(placed(EVE, 1, 11), "Ann");
    room.handle(placed(ANN, 1, 12), "Ann");
    assert_eq!(texts(&room), ["second", "first", "mine"]);
    assert_eq!(room.message(id(ANN, 1)).unwrap().position(), Some(Position::new(12)));
}

#[test]
fn of_two_topics_at_once_the_later_in_the_log_counts() {
    let mut room = welcomed();
    room.handle(change(ANN, 1, Body::Topic("mine".into())), "Ann");
    room.handle(change(BOB, 1, Body::Topic("Bob's".into())), "Ann");
    assert_eq!(room.topic(), "Bob's");
    room.handle(placed(BOB, 1, 10), "Ann");
    assert_eq!(room.topic(), "mine", "it has no place yet, and will have a later one");
    room.handle(placed(ANN, 1, 11), "Ann");
    assert_eq!(room.topic(), "mine");
    assert_eq!(room.words(id(ANN, 1)).as_deref(), Some("set the topic: mine"));
    room.handle(change(ANN, 2, Body::Edit { of: id(ANN, 1), text: "yours".into() }), "Ann");
    assert_eq!(room.topic(), "yours", "as it stands");
    assert_eq!(room.words(id(ANN, 1)).as_deref(), Some("set the topic: yours"));
    room.handle(change(ANN, 3, Body::Delete { of: id(ANN, 1), reason: String::new() }), "Ann");
    assert_eq!((room.topic(), room.words(id(ANN, 1))), ("", None));
    room.handle(change(BOB, 2, Body::Topic("again".into())), "Ann");
    assert_eq!(room.topic(), "again");
    room.handle(change(EVE, 1, Body::Topic(String::new())), "Ann");
    assert_eq!(room.topic(), "");
}

#[test]
fn changes_count_in_whatever_order_they_are_read() {
    let mut room = welcomed();
    // The end of the log first, then what was before it.
    room.handle(change(BOB, 4, Body::Edit { of: id(BOB, 1), text: "newest".into() }), "Ann");
    room.handle(change(EVE, 2, Body::Reaction { to: id(BOB, 1), symbol: "+".into(), set: false }), "Ann");
    let reaction = |to, set| Body::Reaction { to, symbol: "+".into(), set };
    // Hearts in either form are hearts, and what shows nothing is nothing.
    for (member, seq, symbol) in [(BOB, 5, "❤"), (EVE, 3, "❤\u{fe0f}"), (EVE, 4, "\u{202e}")] {
        let heart = Body::Reaction { to: id(BOB, 2), symbol: symbol.into(), set: true };
        room.handle(change(member, seq, heart), "Ann");
    }
    room.earlier(
        page(
            1,
            vec![
                record(BOB, 1, Body::Text("old".into())),
                record(BOB, 2, Body::Text("other".into())),
                record(BOB, 3, Body::Edit { of: id(BOB, 1), text: "newer".into() }),
                record(EVE, 1, reaction(id(BOB, 1), true)),
                record(ANN, 1, reaction(id(BOB, 1), true)),
            ],
        ),
        "Ann",
    );
    assert_eq!(texts(&room), ["newest", "other"]);
    assert_eq!(counts(&room, id(BOB, 1)), [("+", 1)]);
    assert_eq!(counts(&room, id(BOB, 2)), [("❤", 2)]);
    assert!(room.has_put("+", id(BOB, 1)) && !room.has_put("❤", id(BOB, 2)));
    room.handle(change(BOB, 6, Body::Delete { of: id(BOB, 2), reason: String::new() }), "Ann");
    assert_eq!(texts(&room), ["newest", "(deleted)"]);
}

#[test]
fn a_message_is_delivered_to_all_once_all_have_answered_after_it() {
    let mut room = welcomed();
    room.handle(said(ANN, 1, "question", None), "Ann");
    room.handle(said(BOB, 1, "not an answer", None), "Ann");
    assert!(!room.is_delivered_to_all(id(ANN, 1)));
    room.handle(said(BOB, 2, "yes", Some(id(ANN, 1))), "Ann");
    assert!(!room.is_delivered_to_all(id(ANN, 1)), "Eve has said nothing");
    // Eve has seen Bob's answer, and so the question.
    room.handle(said(EVE, 1, "me too", Some(id(BOB, 2))), "Ann");
    assert!(room.is_delivered_to_all(id(ANN, 1)));
    assert!(!room.is_delivered_to_all(id(ANN, 2)));
    assert!(!room.is_delivered_to_all(id(BOB, 1)), "of others' messages nothing is known");
}

#[test]
fn a_message_is_delivered_to_all_once_all_have_told_so_or_answered() {
    let mut room = welcomed();
    for seq in 1..=2 {
        room.handle(said(ANN, seq, "x", None), "Ann");
        room.handle(placed(ANN, seq, seq + 10), "Ann");
    }
    let (first, second) = (id(ANN, 1), id(ANN, 2));
    let stable = |position, behind: &[_]| Event::Stable(Stable { position, behind: behind.to_vec() });
    room.handle(stable(Position::new(12), &[(EVE, Position::new(10))]), "Ann");
    assert!(!room.is_delivered_to_all(first), "Eve has neither told nor said anything");
    room.handle(said(EVE, 1, "yes", Some(first)), "Ann");
    assert!(room.is_delivered_to_all(first));
    assert!(!room.is_delivered_to_all(second));
    // Frames overtake one another, and nobody has delivered less than before.
    room.handle(stable(Position::new(11), &[(BOB, Position::START), (EVE, Position::new(9))]), "Ann");
    assert!(room.is_delivered_to_all(first));
    // Who comes has begun with it; who comes again has told nothing of what was said since.
    let dan = MemberId::new(0, 4);
    let mut members = room.members.clone();
    members.push(MemberInfo { member: dan, name: "Dan".into(), present: true });
    room.handle(Event::Joined { member: dan, name: "Dan".into(), history: false }, "Ann");
    room.set_members(members);
    assert!(room.is_delivered_to_all(first));
    room.handle(stable(Position::new(12), &[]), "Ann");
    assert!(room.is_delivered_to_all(second));
    room.handle(said(ANN, 3, "on its way", None), "Ann");
    assert!(!room.is_delivered_to_all(id(ANN, 3)), "it has no place yet");
}

#[test]
fn a_message_of_a_lost_membership_keeps_its_row_under_its_new_name() {
    let mut room = welcomed();
    room.handle(said(ANN, 1, "mine", None), "Ann");
    let new = MemberId::new(0, 9);
    let renamed = vec![(id(ANN, 1), MessageId::new(new, 1))];
    room.purpose = DraftPurpose::Edit(id(ANN, 1));
    room.handle(Event::Rejoined { member: new, reason: "expired".into(), renamed }, "Ann");
    assert_eq!(texts(&room), ["* joined again (expired)", "mine"]);
    assert_eq!(room.purpose, DraftPurpose::Edit(MessageId::new(new, 1)));
    room.handle(placed(new, 1, 5), "Ann");
    assert_eq!(texts(&room), ["* joined again (expired)", "mine"]);
}

#[test]
fn comings_and_goings_are_folded() {
    let mut room = welcomed();
    for n in 0..COMINGS_MAX + 1 {
        let event = Event::Joined { member: MemberId::new(0, 50), name: n.to_string(), history: false };
        room.handle(event, "Ann");
    }
    assert_eq!(room.numbers().count(), 2);
}

#[test]
fn a_message_takes_little_beside_its_words() {
    assert!(size_of::<(MessageId, ShownMessage)>() <= 176, "{}", size_of::<(MessageId, ShownMessage)>());
}

#[test]
fn memory_is_bounded_and_what_was_forgotten_can_be_read_again() {
    let mut room = welcomed();
    for n in 1..=ROWS_MAX as u64 + 10 {
        room.handle(said(BOB, n, "x", None), "Ann");
        room.handle(placed(BOB, n, n), "Ann");
    }
    assert_eq!(room.numbers().count(), ROWS_MAX);
    assert_eq!(room.fold.len(), ROWS_MAX);
    assert_eq!(room.older, Some(Position::new(11)));
    let first = room.numbers().start;
    room.earlier(page(1, (1..=10).map(|n| record(BOB, n, Body::Text("x".into()))).collect()), "Ann");
    assert_eq!((room.numbers().start, room.older), (first - 10, None));
    let n = ROWS_MAX as u64 + 11;
    room.anchor = Some(Anchor { row: first + 500, lines: 1 });
    room.handle(said(BOB, n, "x", None), "Ann");
    room.handle(placed(BOB, n, n), "Ann");
    assert_eq!(room.numbers().count(), ROWS_MAX + 11, "it is being read");
    room.anchor = None;
    room.notice("at the end again".into());
    assert_eq!((room.numbers().count(), room.older), (ROWS_MAX, Some(Position::new(13))));
    assert_eq!(room.fold.len(), ROWS_MAX - 1);
}

#[test]
fn reading_back_ends_somewhere() {
    let mut room = welcomed();
    let (pages, rows) = (10, READ_BACK_MAX as u64 / 10);
    for n in (0..pages).rev() {
        assert!(!room.is_full());
        let record = |position| record(BOB, position, Body::Text(String::new()));
        room.earlier(page(n * rows + 1, (n * rows + 1..=(n + 1) * rows).map(record).collect()), "Ann");
    }
    assert!(room.is_full());
    // At the end nothing of that is needed.
    room.notice("news".into());
    assert_eq!(room.numbers().count(), ROWS_MAX);
}

#[test]
fn a_mention_is_a_name_as_a_word() {
    for text in ["Ann?", "hey ann", "@Ann: look", "(ANN)"] {
        assert!(mentions(text, "Ann"), "{text}");
    }
    for text in ["Anna", "Joann", "", "an n", "ann_x"] {
        assert!(!mentions(text, "Ann"), "{text}");
    }
    assert!(!mentions("anything", ""));
}
