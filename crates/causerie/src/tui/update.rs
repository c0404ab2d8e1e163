//! Changes by events: [`update`] is pure, and hands back what is to be done.

use causerie_client::{Event as RoomEvent, HistoryPage};
use crossterm::event::KeyEventKind;

use super::causality::{self, OwnHold};
use super::deletion;
use super::keys::on_key;
use super::layout::Layout;
use super::model::{Effect, Focus, Model, Overlay, ScreenEvent};
use super::room::LinkState;
use super::rooms::{ends_if_all_left, join, quit};
use super::scroll::scroll;
use super::search::{TOO_FAR, find};
use super::text::{cut, one_line};
use crate::config::chat::Notify;

/// Lines that may be pasted without a question.
const PASTE_LINES_MAX: usize = 5;

/// Columns of a notice to the desktop.
const NOTICE_COLUMNS: usize = 200;

/// Takes an event in, and returns what there is to do then.
pub(super) fn update(model: &mut Model, event: ScreenEvent) -> Vec<Effect> {
    let mut effects = Vec::new();
    match event {
        ScreenEvent::Key(key) if key.kind != KeyEventKind::Release => {
            model.hint = None;
            on_key(model, key, &mut effects);
        }
        ScreenEvent::Key(_) => {}
        ScreenEvent::Paste(text) => paste(model, text),
        ScreenEvent::Wheel(up) => {
            let layout = Layout::of(model);
            scroll(model.room_mut(), &layout, up);
        }
        ScreenEvent::Resize(columns, lines) => model.size = (columns, lines),
        ScreenEvent::Room { room, event } => on_room(model, &room, event, &mut effects),
        ScreenEvent::Facts { room, facts } => {
            if let Some((_, room)) = model.named(&room) {
                room.member = facts.member.or(room.member);
                room.hold(facts.held);
                (room.on_their_way, room.clock) = (facts.on_their_way, facts.clock);
                if let Some(members) = facts.members {
                    room.set_members(members);
                }
            }
        }
        ScreenEvent::Unreachable { room, reason } => {
            if let Some((_, room)) = model.named(&room) {
                room.link = LinkState::Lost(reason);
            }
        }
        ScreenEvent::NotJoined { room, reason } => {
            if let Some((_, room)) = model.named(&room) {
                room.notice(reason.clone());
                room.link = LinkState::Over(reason);
            }
            ends_if_all_left(model, &mut effects);
        }
        ScreenEvent::NotSaid { room, text, purpose, reason } => {
            model.hint = Some(format!("not said: {reason}"));
            if let Some((_, room)) = model.named(&room) {
                // Something else may have been begun meanwhile, and stays.
                let written = room.editor.text().to_owned();
                let separator = if written.is_empty() { "" } else { "\n" };
                room.editor.set(&format!("{text}{separator}{written}"));
                room.purpose = purpose;
            }
        }
        ScreenEvent::Earlier { room, page } => earlier(model, &room, page, &mut effects),
        ScreenEvent::Around { id, other, page } => match page {
            // Somebody who writes or is asked something by now is not disturbed.
            _ if model.focus != Focus::Messages || model.overlay.is_some() => {}
            Ok(page) => {
                model.hint = None;
                let room = model.rooms.iter().find(|room| room.name == page.room);
                let hold = room.and_then(|room| OwnHold::of(room, &model.name, id));
                let told = causality::explain(&page, id, other, hold.as_ref());
                model.overlay = Some(Overlay::Causality(told, 0));
            }
            Err(reason) => model.hint = Some(format!("no history: {reason}")),
        },
        ScreenEvent::Draft { room, text } => {
            if let Some((_, room)) = model.named(&room)
                && room.editor.is_empty()
            {
                room.editor.set(&text);
            }
        }
        ScreenEvent::Rooms(rooms) => {
            model.known_rooms = rooms.iter().map(|(name, _)| name.clone()).collect();
            let lines: Vec<_> = rooms.iter().map(|(name, members)| format!("{name} ({members})")).collect();
            let told = if lines.is_empty() { "there are no rooms".into() } else { lines.join("  ") };
            model.room_mut().notice(told);
        }
        ScreenEvent::DeletionDue { room, number } => {
            if let Some((_, room)) = model.named(&room) {
                deletion::due(room, number, &mut effects);
            }
            deletion::forget_hint(model);
        }
        ScreenEvent::Created(name) => join(model, &name, &mut effects),
        ScreenEvent::Notice(text) => model.room_mut().notice(text),
        ScreenEvent::Terminate => quit(model, &mut effects),
    }
    load_if_wanted(model, &mut effects);
    effects
}

fn on_room(model: &mut Model, name: &str, event: RoomEvent, effects: &mut Vec<Effect>) {
    let (me, current) = (model.name.clone(), model.current);
    let Some((index, room)) = model.named(name) else { return };
    let over = matches!(event, RoomEvent::Ended(_));
    let news = room.handle(event, &me);
    let notice = news.mention.and_then(|id| {
        // The first word is ours: some terminals take numbers at the start for commands.
        let (author, text) = (&room.message(id)?.author, room.text(id)?);
        Some(cut(&one_line(&format!("In {}, {author}: {text}", room.name)), NOTICE_COLUMNS))
    });
    let is_read = index == current && room.anchor.is_none();
    if news.message && !is_read {
        room.unread += 1;
        room.mentions += usize::from(news.mention.is_some());
        let last = room.numbers().end - 1;
        room.unread_from.get_or_insert(last);
    }
    if is_read {
        room.note_read();
    }
    // What was missed is counted, and rings for nobody any more.
    if news.mention.is_some() && !news.missed {
        match model.rings {
            Notify::Off => {}
            Notify::Bell => effects.push(Effect::Bell),
            way @ (Notify::Osc9 | Notify::Osc777) => {
                effects.extend(notice.map(|text| Effect::Notify(way, text)))
            }
        }
    }
    if over {
        ends_if_all_left(model, effects);
    }
}

fn paste(model: &mut Model, text: String) {
    // Terminals paste line ends as the key that makes them.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let lines = text.lines().count();
    if lines > PASTE_LINES_MAX {
        model.overlay = Some(Overlay::Paste(text));
    } else {
        model.focus = Focus::Input;
        model.room_mut().editor.insert(&text);
    }
}

fn earlier(
    model: &mut Model,
    name: &str,
    page: Result<Option<HistoryPage>, String>,
    effects: &mut Vec<Effect>,
) {
    let me = model.name.clone();
    let Some((_, room)) = model.named(name) else { return };
    match page {
        Ok(Some(page)) => room.earlier(page, &me),
        Ok(None) => (room.older, room.loading) = (None, false),
        Err(reason) => {
            // Scrolling on asks again.
            room.loading = false;
            model.hint = Some(format!("no history: {reason}"));
            model.search = None;
            return;
        }
    }
    if model.search.is_some() && model.room().name == name {
        find(model, &Layout::of(model), effects);
    }
}

/// Asks for what was said earlier where the screen shows the first row there is.
fn load_if_wanted(model: &mut Model, effects: &mut Vec<Effect>) {
    let room = model.room();
    let Some(before) = room.older.filter(|_| !room.loading && room.link == LinkState::In) else { return };
    if Layout::of(model).sees_first_row(room) {
        let room = model.room_mut();
        if room.is_full() {
            model.hint = Some(TOO_FAR.into());
            return;
        }
        room.loading = true;
        effects.push(Effect::Earlier { room: room.name.clone(), epoch: room.epoch, before });
    }
}

#[cfg(test)]
mod tests {
    use causerie_client::{Body, Epoch, MessageId, Position};
    use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
    use jiff::tz::TimeZone;

    use super::super::places::{Places, ReadPlace};
    use super::super::room::{Anchor, DraftPurpose, READ_BACK_MAX};
    use super::super::samples::*;
    use super::super::scroll::select;
    use super::*;

    fn rows_seen(model: &Model) -> (i64, i64) {
        Layout::of(model).rows_seen(model.room())
    }

    fn lines_missing(model: &Model) -> usize {
        Layout::of(model).seen(model.room()).empty
    }

    fn model() -> Model {
        let mut model = Model::new("example.org:12343", "Ann", "lobby", TimeZone::UTC);
        tell(&mut model, welcome());
        model
    }

    fn tell(model: &mut Model, event: RoomEvent) -> Vec<Effect> {
        update(model, ScreenEvent::Room { room: "lobby".into(), event })
    }

    fn key(model: &mut Model, code: KeyCode) -> Vec<Effect> {
        update(model, ScreenEvent::Key(code.into()))
    }

    fn control(model: &mut Model, c: char) -> Vec<Effect> {
        update(model, ScreenEvent::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL)))
    }

    fn write(model: &mut Model, text: &str) -> Vec<Effect> {
        update(model, ScreenEvent::Paste(text.into()));
        key(model, KeyCode::Enter)
    }

    fn say(body: Body, text: &str, purpose: DraftPurpose) -> Effect {
        Effect::Say { room: "lobby".into(), body, text: text.into(), purpose }
    }

    fn many(model: &mut Model, count: u64) {
        for n in 1..=count {
            tell(model, said(BOB, n, &format!("message {n}"), None));
            tell(model, placed(BOB, n, n));
        }
    }

    #[test]
    fn what_is_written_is_said() {
        let mut model = model();
        let effects = write(&mut model, "hello :tada:");
        assert_eq!(effects, [say(Body::Text("hello 🎉".into()), "hello :tada:", DraftPurpose::Say)]);
        assert!(model.room().editor.is_empty());
        assert_eq!(write(&mut model, "  \n "), []);
        model.room_mut().editor.set("");
        let effects = write(&mut model, "/me waves");
        assert_eq!(effects, [say(Body::Action("waves".into()), "/me waves", DraftPurpose::Say)]);
    }

    #[test]
    fn what_cannot_be_said_comes_back() {
        let mut model = model();
        model.room_mut().editor.insert("next");
        let (room, text, reason) = ("lobby".into(), "first".into(), "full".into());
        update(&mut model, ScreenEvent::NotSaid { room, text, purpose: DraftPurpose::Say, reason });
        assert_eq!(model.room().editor.text(), "first\nnext");
        assert_eq!(model.hint.as_deref(), Some("not said: full"));
    }

    #[test]
    fn a_command_that_is_wrong_stays_to_be_mended() {
        let mut model = model();
        assert_eq!(write(&mut model, "/hepl"), []);
        assert_eq!(model.room().editor.text(), "/hepl");
        assert!(model.hint.is_some());
    }

    #[test]
    fn a_chosen_message_is_answered_edited_deleted_and_reacted_to() {
        let mut model = model();
        tell(&mut model, said(BOB, 1, "question", None));
        tell(&mut model, placed(BOB, 1, 1));
        tell(&mut model, said(ANN, 1, "mine", None));
        let (bobs, mine) = (id(BOB, 1), id(ANN, 1));
        key(&mut model, KeyCode::Esc);
        assert_eq!(model.room().selected, Some(mine));
        key(&mut model, KeyCode::Char('e'));
        assert_eq!(model.room().editor.text(), "mine");
        let effects = write(&mut model, "!");
        assert_eq!(
            effects,
            [say(Body::Edit { of: mine, text: "mine!".into() }, "mine!", DraftPurpose::Edit(mine))]
        );

        key(&mut model, KeyCode::Esc);
        key(&mut model, KeyCode::Up);
        assert_eq!(key(&mut model, KeyCode::Char('d')), [], "Bob's is not ours to delete");
        key(&mut model, KeyCode::Char('r'));
        let effects = write(&mut model, "answer");
        assert_eq!(
            effects,
            [say(Body::Reply { to: bobs, text: "answer".into() }, "answer", DraftPurpose::Reply(bobs))]
        );

        for set in [true, false] {
            key(&mut model, KeyCode::Esc);
            key(&mut model, KeyCode::Up);
            key(&mut model, KeyCode::Char('+'));
            let effects = write(&mut model, ":+1:");
            let body = Body::Reaction { to: bobs, symbol: "👍".into(), set };
            assert_eq!(effects, [say(body.clone(), ":+1:", DraftPurpose::React(bobs))]);
            tell(&mut model, change(ANN, if set { 5 } else { 6 }, body));
        }
    }

    /// Ann's one message, chosen, and a deletion of it that was confirmed.
    fn deleting() -> (Model, MessageId) {
        let mut model = model();
        tell(&mut model, said(ANN, 1, "mine", None));
        key(&mut model, KeyCode::Esc);
        assert_eq!(key(&mut model, KeyCode::Char('d')), []);
        assert_eq!(model.hint.as_deref(), Some("delete \"mine\"? y/n"));
        let effects = key(&mut model, KeyCode::Char('y'));
        assert_eq!(effects, [Effect::SayDeletion { room: "lobby".into(), number: 0 }]);
        (model, id(ANN, 1))
    }

    #[test]
    fn a_deletion_is_asked_about_and_said_a_while_later() {
        let (mut model, mine) = deleting();
        let due = |number| ScreenEvent::DeletionDue { room: "lobby".into(), number };
        let deleted = || [say(Body::Delete { of: mine, reason: String::new() }, "", DraftPurpose::Say)];
        assert!(model.hint.is_some());
        assert_eq!(update(&mut model, due(0)), deleted());
        assert_eq!(model.hint, None, "it can be taken back no longer");
        assert_eq!(update(&mut model, due(0)), [], "once");
        // Taken back, it is not said, and can be asked for again.
        let (mut model, _) = deleting();
        key(&mut model, KeyCode::Char('u'));
        assert_eq!(model.hint.as_deref(), Some("not deleted"));
        assert_eq!(update(&mut model, due(0)), []);
        key(&mut model, KeyCode::Char('d'));
        key(&mut model, KeyCode::Enter);
        assert_eq!(update(&mut model, due(0)), [], "that was the first one's");
        assert!(model.hint.is_some());
        assert_eq!(update(&mut model, due(1)), deleted());
        // Who leaves has meant it.
        for leave in [|model: &mut Model| control(model, 'c'), |model: &mut Model| write(model, "/leave")] {
            let (mut model, _) = deleting();
            let effects = leave(&mut model);
            assert_eq!(effects, [&deleted()[..], &[Effect::Leave("lobby".into())]].concat());
        }
    }

    #[test]
    fn words_that_are_typed_at_the_messages_are_written_and_obeyed_by_no_half() {
        for word in ["sad", "what", "dad", "d'accord", "harmless"] {
            let mut model = model();
            tell(&mut model, said(ANN, 1, "mine", None));
            key(&mut model, KeyCode::Esc);
            assert_eq!(model.focus, Focus::Messages);
            for c in word.chars() {
                assert_eq!(key(&mut model, KeyCode::Char(c)), [], "{word}");
            }
            assert_eq!((model.room().editor.text(), model.focus), (word, Focus::Input));
            assert_eq!((model.room().purpose.clone(), model.overlay), (DraftPurpose::Say, None));
        }
    }

    #[test]
    fn a_long_paste_is_asked_about() {
        let mut model = model();
        let text = "line\n".repeat(200);
        update(&mut model, ScreenEvent::Paste(text.replace('\n', "\r")));
        assert!(model.room().editor.is_empty());
        key(&mut model, KeyCode::Char('q'));
        assert!(model.overlay.is_some(), "no other key drops it");
        key(&mut model, KeyCode::Char('y'));
        assert_eq!(model.room().editor.text(), text);
        update(&mut model, ScreenEvent::Paste(text));
        key(&mut model, KeyCode::Char('n'));
        assert_eq!(model.overlay, None);
        assert_eq!(model.room().editor.text().lines().count(), 200);
    }

    #[test]
    fn five_lines_are_pasted_without_a_question() {
        let mut model = model();
        update(&mut model, ScreenEvent::Paste("one\rtwo\rthree\rfour\rfive".into()));
        assert_eq!(model.overlay, None);
        assert_eq!(model.room().editor.text(), "one\ntwo\nthree\nfour\nfive");
        update(&mut model, ScreenEvent::Paste("1\n2\n3\n4\n5\n6".into()));
        assert!(matches!(model.overlay, Some(Overlay::Paste(_))));
    }

    #[test]
    fn what_is_read_stays_where_it_is() {
        let mut model = model();
        many(&mut model, 100);
        assert_eq!(model.room().anchor, None);
        key(&mut model, KeyCode::PageUp);
        let seen = rows_seen(&model);
        for n in 101..200 {
            tell(&mut model, said(BOB, n, "more", None));
            tell(&mut model, placed(BOB, n, n));
        }
        assert_eq!(rows_seen(&model), seen);
        assert_eq!(model.room().unread, 99);
        update(&mut model, ScreenEvent::Resize(40, 10));
        assert_eq!(rows_seen(&model).1, seen.1);
        update(&mut model, ScreenEvent::Resize(80, 24));
        assert_eq!(rows_seen(&model), seen);
        key(&mut model, KeyCode::End);
        assert_eq!((model.room().anchor, model.room().unread), (None, 0));
    }

    #[test]
    fn scrolling_up_and_down_comes_back() {
        let mut model = model();
        many(&mut model, 300);
        let mut seen = vec![rows_seen(&model)];
        for _ in 0..5 {
            key(&mut model, KeyCode::PageUp);
            seen.push(rows_seen(&model));
        }
        assert!(seen.windows(2).all(|pair| pair[1].1 < pair[0].1));
        while let Some(before) = seen.pop() {
            assert_eq!(rows_seen(&model), before);
            key(&mut model, KeyCode::PageDown);
        }
        assert_eq!(model.room().anchor, None);
        // The top is where it ends.
        for _ in 0..50 {
            key(&mut model, KeyCode::PageUp);
        }
        assert_eq!(rows_seen(&model).0, model.room().numbers().start);
        assert_eq!(lines_missing(&model), 0);
    }

    #[test]
    fn a_chosen_message_is_on_the_screen() {
        let mut model = model();
        many(&mut model, 100);
        for n in [1, 100, 2, 50, 99, 60, 45, 12, 1] {
            let layout = Layout::of(&model);
            select(model.room_mut(), &layout, id(BOB, n));
            let row = model.room().number_of(id(BOB, n)).expect("it was said");
            let (first, last) = rows_seen(&model);
            assert!((first..=last).contains(&row), "{row} in {first} to {last}");
            assert_eq!(lines_missing(&model), 0);
        }
        model.room_mut().unread_from = Some(3);
        update(&mut model, ScreenEvent::Key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::ALT)));
        assert_eq!(rows_seen(&model).0, 0);
    }

    #[test]
    fn earlier_pages_are_asked_for_once_at_the_top_and_move_nothing() {
        let mut model = Model::new("example.org:12343", "Ann", "lobby", TimeZone::UTC);
        let RoomEvent::Welcomed { member, room, created, epoch, members, limits, .. } = welcome() else {
            panic!()
        };
        let (first, position) = (501, 500);
        let event = RoomEvent::Welcomed {
            member,
            room,
            created,
            epoch,
            first: Position::new(first),
            position: Position::new(position),
            members,
            limits,
        };
        let asked =
            Effect::Earlier { room: "lobby".into(), epoch: Some(Epoch::new(7)), before: Position::new(501) };
        assert_eq!(tell(&mut model, event), [asked]);
        assert_eq!(tell(&mut model, said(BOB, 900, "x", None)), [], "it is asked for already");
        let records =
            |from: u64| (from..from + 200).map(|n| record(BOB, n, Body::Text("x".into()))).collect();
        let earlier = |model: &mut Model, from| {
            let page = Ok(Some(page(from, records(from))));
            update(model, ScreenEvent::Earlier { room: "lobby".into(), page })
        };
        assert_eq!(earlier(&mut model, 301), [], "the screen is full");
        let mut effects = Vec::new();
        while effects.is_empty() {
            effects = key(&mut model, KeyCode::PageUp);
        }
        assert_eq!(
            effects,
            [Effect::Earlier {
                room: "lobby".into(),
                epoch: Some(Epoch::new(7)),
                before: Position::new(301)
            }]
        );
        let seen = rows_seen(&model);
        assert_eq!(earlier(&mut model, 101), []);
        // The uppermost row has lost its date, which the day's first one has now.
        assert_eq!(rows_seen(&model), (seen.0 - 1, seen.1));
    }

    #[test]
    fn a_search_goes_back_page_by_page() {
        let mut model = model();
        many(&mut model, 30);
        model.room_mut().older = Some(Position::new(201));
        write(&mut model, "/search message 1");
        assert_eq!(model.room().selected, Some(id(BOB, 19)), "the newest first");
        key(&mut model, KeyCode::Char('n'));
        assert_eq!(model.room().selected, Some(id(BOB, 18)));
        key(&mut model, KeyCode::Esc);
        let effects = write(&mut model, "/search needle");
        assert_eq!(
            effects,
            [Effect::Earlier {
                room: "lobby".into(),
                epoch: Some(Epoch::new(7)),
                before: Position::new(201)
            }]
        );
        let found = page(1, vec![record(EVE, 1, Body::Text("a NEEDLE".into()))]);
        update(&mut model, ScreenEvent::Earlier { room: "lobby".into(), page: Ok(Some(found)) });
        assert_eq!(model.room().selected, Some(id(EVE, 1)));
        key(&mut model, KeyCode::Char('n'));
        assert!(model.hint.as_deref().is_some_and(|hint| hint.contains("not said before")));
    }

    #[test]
    fn no_more_is_asked_for_where_a_million_lines_are() {
        let mut model = model();
        let records = (2..READ_BACK_MAX as u64 + 2).map(|n| record(BOB, n, Body::Text("hay".into())));
        model.room_mut().earlier(page(2, records.collect()), "Ann");
        assert!(model.room().older.is_some(), "there is more");
        let effects = write(&mut model, "/search needle");
        assert_eq!((effects, model.hint.as_deref()), (vec![], Some(TOO_FAR)));
        model.hint = None;
        let first = model.room().numbers().start;
        model.room_mut().anchor = Some(Anchor { row: first, lines: 1 });
        assert_eq!((key(&mut model, KeyCode::PageUp), model.hint.as_deref()), (vec![], Some(TOO_FAR)));
    }

    #[test]
    fn a_search_finds_what_arrives_while_it_reads_back() {
        let mut model = model();
        many(&mut model, 30);
        model.room_mut().older = Some(Position::new(201));
        write(&mut model, "/search needle");
        tell(&mut model, said(BOB, 31, "a needle", None));
        tell(&mut model, said(BOB, 32, "hay", None));
        let earlier = page(1, vec![record(EVE, 1, Body::Text("more hay".into()))]);
        update(&mut model, ScreenEvent::Earlier { room: "lobby".into(), page: Ok(Some(earlier)) });
        assert_eq!(model.room().selected, Some(id(BOB, 31)));
    }

    #[test]
    fn what_was_said_since_the_time_before_is_new_and_counted() {
        let history = |n: u64, text: &str| {
            let mut event = said(BOB, n, text, None);
            if let RoomEvent::Delivered(post) = &mut event {
                (post.position, post.time_millis, post.history) =
                    (Some(Position::new(n)), Some(MORNING), true);
            }
            event
        };
        let place = |room: &str, read| ReadPlace { room: room.into(), epoch: Epoch::new(7), read };
        let mut model = Model::new("example.org:12343", "Ann", "lobby", TimeZone::UTC);
        let rooms = vec![place("lobby", Position::new(2)), place("ops", Position::new(3))];
        let effects = model.restore(Places { current: None, rooms });
        assert_eq!(effects, [Effect::JoinAgain("ops".into())]);
        let ops = |model: &mut Model, event| update(model, ScreenEvent::Room { room: "ops".into(), event });
        tell(&mut model, welcome());
        ops(&mut model, welcome());
        for n in 1..=5 {
            assert_eq!(tell(&mut model, history(n, "for Ann")), [], "it rings no more");
            ops(&mut model, history(n, if n == 5 { "for Ann" } else { "x" }));
        }
        // The first that is new in each; on the screen nothing is unread.
        assert_eq!((model.rooms[0].unread_from, model.rooms[0].unread), (Some(2), 0));
        let ops = &model.rooms[1];
        assert_eq!((ops.unread_from, ops.unread, ops.mentions), (Some(3), 2, 1));
        let kept = model.places();
        assert_eq!(
            kept.rooms,
            [place("lobby", Position::new(5)), place("ops", Position::new(3))],
            "what was not looked at is not read"
        );
        assert_eq!(kept.current.as_deref(), Some("lobby"));
        // Earlier pages may have more of it; another log has none.
        model.rooms[0].read_before = Some((Epoch::new(7), Position::START));
        let records = vec![record(EVE, 8, Body::Text("x".into()))];
        model.rooms[0].earlier(page(1, records), "Ann");
        assert_eq!(model.rooms[0].unread_from, Some(-1));
        write(&mut model, "/leave");
        assert_eq!(model.places().rooms, [place("ops", Position::new(3))]);
    }

    #[test]
    fn mentions_ring_and_are_counted_where_nobody_looks() {
        let mut model = model();
        assert_eq!(tell(&mut model, said(BOB, 1, "hey Ann", None)), [Effect::Bell]);
        assert_eq!(model.room().mentions, 0, "it is on the screen");
        assert_eq!(write(&mut model, "/join ops"), [Effect::Join("ops".into())]);
        tell(&mut model, said(BOB, 2, "nothing", None));
        tell(&mut model, said(BOB, 3, "ann!", None));
        assert_eq!((model.rooms[0].unread, model.rooms[0].mentions), (2, 1));
        control(&mut model, 'n');
        assert_eq!((model.current, model.rooms[0].unread, model.rooms[0].mentions), (0, 0, 0));
        assert!(model.rooms[0].unread_from.is_some(), "the line before the first of them stays");
    }

    #[test]
    fn a_mention_is_told_as_it_was_asked_for_and_harmlessly() {
        let mut model = model();
        model.rings = Notify::Off;
        assert_eq!(tell(&mut model, said(BOB, 1, "hey Ann", None)), []);
        model.rings = Notify::Osc9;
        let text = "Ann\x1b]0;x\x07\u{9c}\u{202e}\nhey";
        let notice = "In lobby, Bob: Ann\\x1b]0;x\\x07\\x9c\\u202e hey";
        assert_eq!(tell(&mut model, said(BOB, 2, text, None)), [Effect::Notify(Notify::Osc9, notice.into())]);
        assert_eq!(tell(&mut model, said(BOB, 3, "nobody", None)), []);
        let effects = tell(&mut model, said(BOB, 4, &"Ann ".repeat(10_000), None));
        let [Effect::Notify(_, text)] = &effects[..] else { panic!("{effects:?}") };
        assert!(text.len() < 210);
    }

    #[test]
    fn all_rooms_are_left_before_the_end_and_the_second_time_it_ends_at_once() {
        let mut model = model();
        write(&mut model, "/join ops");
        let leave = ["lobby", "ops"].map(|room| Effect::Leave(room.into()));
        assert_eq!(control(&mut model, 'c'), leave);
        let left = || RoomEvent::Ended(causerie_client::End::Left);
        assert_eq!(tell(&mut model, left()), []);
        assert_eq!(
            update(&mut model, ScreenEvent::Room { room: "ops".into(), event: left() }),
            [Effect::Quit]
        );
        let mut model = self::model();
        control(&mut model, 'c');
        assert_eq!(control(&mut model, 'c'), [Effect::Quit]);
    }

    #[test]
    fn a_name_that_is_taken_can_be_changed() {
        let mut model = Model::new("example.org:12343", "Ann", "lobby", TimeZone::UTC);
        update(&mut model, ScreenEvent::NotJoined { room: "lobby".into(), reason: "taken".into() });
        assert_eq!(write(&mut model, "/name Ann2"), [Effect::Join("lobby".into())]);
        assert_eq!(model.name, "Ann2");
        tell(&mut model, welcome());
        assert_eq!(write(&mut model, "/name Ann3"), []);
        assert_eq!(model.name, "Ann2");
    }
}
