//! Several hosts in one group: how they come, how members go from one to another, and how the destroyed are parted with.

use cbcast::{
    BroadcastError, Config, Cut, ExpelError, Expulsion, Group, HostStability, Kind, Link, MemberId,
    MembershipError, Message, MessageId, Output, ReceiveError, Signature, Snapshot, Time, VectorClock,
};
use cbcast_sim::drive::{id, say, sent};

const NOW: Time = Time::ZERO;
const A: MemberId = MemberId::host(1);
const B: MemberId = MemberId::host(2);
const C: MemberId = MemberId::host(3);
const D: MemberId = MemberId::host(4);

fn config(early_max: usize) -> Config {
    let mut config = Config::relay();
    config.early_max = early_max;
    config
}

fn start(snapshot: &Snapshot, me: MemberId) -> Group {
    Group::new(config(64), snapshot, [me]).unwrap()
}

/// Hosts that have been there from the beginning.
fn hosts<const N: usize>(all: [MemberId; N]) -> [Group; N] {
    let snapshot = Snapshot::hosts(all.map(|host| host.origin));
    all.map(|host| start(&snapshot, host))
}

fn sponsor(group: &mut Group, by: MemberId, newcomer: MemberId) -> (Message, Group) {
    group.sponsor(NOW, by, newcomer.origin, 9, b"lyon").unwrap();
    let hosted = sent(group).pop().unwrap();
    (hosted, start(&group.snapshot(), newcomer))
}

fn admit(group: &mut Group, host: MemberId) -> (Message, MemberId) {
    let member = group.admit(NOW, host, false, b"").unwrap();
    (sent(group).pop().unwrap(), member)
}

/// Returns what it delivers when these arrive from another server.
fn hears(group: &mut Group, messages: &[&Message]) -> Vec<MessageId> {
    for &message in messages {
        group.handle_message(NOW, Link::Relay, message.clone()).unwrap();
    }
    let outputs = std::iter::from_fn(|| group.poll_output());
    outputs
        .filter_map(|o| if let Output::Deliver { message, .. } = o { Some(message.id()) } else { None })
        .collect()
}

fn is_in(group: &Group, members: &[MemberId]) -> bool {
    members.iter().all(|&member| group.is_member(member))
}

// Coming.

#[test]
fn a_host_comes_late_and_what_overtakes_its_announcement_waits() {
    let [mut a, mut b] = hosts([A, B]);
    let (hosted, mut c) = sponsor(&mut a, A, C);
    assert_eq!(hosted.kind(), Kind::Hosted { origin: 3, server: 9 });
    let (joined, raj) = admit(&mut c, C);
    let mut at_raj = start(&c.snapshot(), raj);
    let word = say(&mut at_raj, raj);
    assert_eq!(hears(&mut c, &[&word]), [word.id()]);
    assert!(hears(&mut b, &[&word, &joined]).is_empty());
    assert_eq!(b.waits_for(joined.id()), Some(id(C, 0)), "for what announces the host");
    assert_eq!(hears(&mut b, &[&hosted]), [hosted.id(), joined.id(), word.id()]);
    assert_eq!(b.cut(), c.cut());
    // What B says now depends on the newcomers.
    let answer = say(&mut b, B);
    assert_eq!(hears(&mut a, &[&answer]), []);
    assert_eq!(hears(&mut a, &[&joined, &word]), [joined.id(), word.id(), answer.id()]);
}

#[test]
fn two_sponsors_at_once_are_harmless() {
    let [mut a, mut b] = hosts([A, B]);
    let (by_a, mut c) = sponsor(&mut a, A, C);
    let (by_b, _unused) = sponsor(&mut b, B, C);
    let word = say(&mut c, C);
    assert_eq!(hears(&mut a, &[&word, &by_b]), [word.id(), by_b.id()]);
    assert_eq!(hears(&mut b, &[&word]), [], "it follows the other sponsor's word");
    assert_eq!(hears(&mut b, &[&by_a]), [by_a.id(), word.id()]);
    assert_eq!(hears(&mut c, &[&by_b]), [by_b.id()], "its own count stays");
    assert!(a.cut() == b.cut() && b.cut() == c.cut());
    assert_eq!((a.delivered(C), a.clock().get(C), a.members().count()), (Some(1), 1, 3));
    let taken = a.sponsor(NOW, A, 3, 9, b"");
    assert_eq!(taken, Err(MembershipError::OriginTaken { origin: 3 }));
}

#[test]
fn messages_of_unknown_origins_are_held_within_bounds() {
    let [mut a, _] = hosts([A, B]);
    let (_, mut c) = sponsor(&mut a, A, C);
    let words: Vec<_> = (0..4).map(|_| say(&mut c, C)).collect();
    let take = |config, link, message: &Message| {
        let mut b = Group::new(config, &Snapshot::hosts([1, 2]), [B]).unwrap();
        b.handle_message(NOW, link, message.clone()).map(|()| b)
    };
    let unknown = Err(ReceiveError::UnknownOrigin { member: C });
    assert_eq!(take(config(0), Link::Relay, &words[0]).map(drop), unknown, "no other host is expected");
    assert_eq!(take(config(4), Link::Member(C), &words[0]).map(drop), unknown, "nobody was let in as such");
    let mut b = take(config(3), Link::Relay, &words[2]).unwrap();
    let full = b.handle_message(NOW, Link::Relay, words[3].clone()).unwrap_err();
    assert!(!full.is_final(), "{full}: the gaps before it count");
    b.handle_message(NOW, Link::Relay, words[1].clone()).unwrap();
    let farthest = Message::new(id(C, u64::MAX), Kind::Data, &[], b"").unwrap();
    assert!(!b.handle_message(NOW, Link::Relay, farthest).unwrap_err().is_final());
    // Another unknown origin finds no place either.
    let (_, mut d) = sponsor(&mut a, A, D);
    let full = b.handle_message(NOW, Link::Relay, say(&mut d, D)).unwrap_err();
    assert!(!full.is_final());
}

#[test]
fn a_client_may_have_seen_what_an_unknown_host_said() {
    let [mut a, mut b] = hosts([A, B]);
    let (joined, raj) = admit(&mut b, B);
    hears(&mut a, &[&joined]);
    let mut at_raj = start(&b.snapshot(), raj);
    let mut alone = Group::new(config(0), &b.snapshot(), [B]).unwrap();
    let (hosted, mut c) = sponsor(&mut a, A, C);
    let seen = say(&mut c, C);
    hears(&mut at_raj, &[&hosted, &seen]);
    let word = say(&mut at_raj, raj);
    b.handle_message(NOW, Link::Member(raj), word.clone()).unwrap();
    assert_eq!(b.waits_for(word.id()), Some(seen.id()));
    assert_eq!(hears(&mut b, &[&seen, &hosted]), [hosted.id(), seen.id(), word.id()]);
    // Where no other hosts are expected nobody can have.
    let refused = alone.handle_message(NOW, Link::Member(raj), word.clone());
    assert_eq!(refused, Err(ReceiveError::FromTheFuture { id: word.id(), dependency: seen.id() }));
}

#[test]
fn forms_of_one_message_are_one_message() {
    let [mut a, mut b] = hosts([A, B]);
    let data = say(&mut a, A);
    let signed = data.signed(Signature { signature: [7; 64], links: Some([8; 32]) }).unwrap();
    let emptied = signed.emptied([9; 32]).unwrap();
    for form in [&signed, &emptied] {
        assert_eq!((form.id(), form.deps().count(), form.is_data()), (data.id(), 0, true));
        assert_eq!(form.signed_part(), data.signed_part());
    }
    assert_eq!((signed.payload(), emptied.payload()), (data.payload(), "".into()));
    let (next, before) = (say(&mut a, A), emptied.clone());
    assert_eq!(hears(&mut b, &[&next.signed(Signature::NONE).unwrap(), &next]), [], "the second is a copy");
    assert_eq!(hears(&mut b, &[&before, &data, &signed]), [data.id(), next.id()]);
    assert_eq!(b.stats().duplicates, 3);
    assert!(emptied.signed(Signature::NONE).is_err() && emptied.emptied([9; 32]).is_err());
}

// Going elsewhere.

/// B has said something that went down with it; Raj has seen it, and what A said before it.
struct Lost {
    a: Group,
    c: Group,
    at_raj: Group,
    raj: MemberId,
    question: Message,
}

fn lost() -> Lost {
    let [mut a, mut b, mut c] = hosts([A, B, C]);
    let (joined, raj) = admit(&mut b, B);
    let mut at_raj = start(&b.snapshot(), raj);
    for group in [&mut a, &mut c] {
        hears(group, &[&joined]);
    }
    // A's question reaches B and Raj only, and B's answer Raj only.
    let question = say(&mut a, A);
    hears(&mut b, &[&question]);
    let lost = say(&mut b, B);
    hears(&mut at_raj, &[&question, &lost]);
    Lost { a, c, at_raj, raj, question }
}

/// B is expelled by `host`, after another has answered.
fn expel_b(group: &mut Group, host: MemberId, other: &mut Group) -> Message {
    let mut expulsion = Expulsion::new([2]);
    for (server, group) in [(1, &mut *group), (3, other)] {
        expulsion.answer(server, &group.freeze(NOW, [2]).unwrap());
    }
    group.expel(NOW, host, &expulsion, 1, b"disk").unwrap();
    sent(group).pop().unwrap()
}

#[test]
fn who_goes_elsewhere_lists_all_that_is_lacking_there() {
    let Lost { mut a, mut c, mut at_raj, raj, question } = lost();
    // What was on its way to B is undone.
    say(&mut at_raj, raj);
    let cut_of_c = |c: &Group| c.cut();
    let (joined, again) = admit(&mut c, C);
    let cut = cut_of_c(&c);
    assert!(at_raj.resign(raj, 0) && !at_raj.resign(raj, 0));
    let begin: Vec<_> = at_raj.cut().first_lacking().collect();
    assert!(begin.contains(&joined.id()) && !at_raj.cut().has(joined.id()));
    hears(&mut at_raj, &[&joined]);
    assert!(at_raj.adopt(again) && !at_raj.adopt(again) && !at_raj.adopt(MemberId::new(9, 9)));
    assert_eq!(at_raj.list_beyond(&cut, None, usize::MAX), None);
    let word = say(&mut at_raj, again);
    let deps: Vec<_> = word.deps().collect();
    assert_eq!(deps, [joined.id(), question.id(), id(B, 2)], "and not what B said alone, its frontier");
    // B is gone, and its answer counts as met; the question must still come first.
    let expelled = expel_b(&mut a, A, &mut c);
    c.handle_message(NOW, Link::Member(again), word.clone()).unwrap();
    assert_eq!(c.waits_for(word.id()), Some(question.id()));
    assert_eq!(hears(&mut c, &[&expelled, &question]), [question.id(), expelled.id(), word.id()]);
    assert!(!is_in(&c, &[raj]) && !is_in(&c, &[B]));
}

#[test]
fn a_long_list_is_said_in_parts() {
    let Lost { mut c, mut at_raj, raj, .. } = lost();
    let (joined, again) = admit(&mut c, C);
    let cut = c.cut();
    at_raj.resign(raj, 0);
    hears(&mut at_raj, &[&joined]);
    at_raj.adopt(again);
    let (mut after, mut listed) = (None, Vec::new());
    loop {
        after = at_raj.list_beyond(&cut, after, 1);
        listed.push(say(&mut at_raj, again).deps().map(|dep| dep.member).collect::<Vec<_>>());
        if after.is_none() || listed.len() > 9 {
            break;
        }
    }
    assert_eq!(listed, [vec![C, A, B], vec![B]], "the frontier goes with the first");
}

#[test]
fn what_was_undone_and_taken_after_all_arrives_as_anybodys() {
    let [mut a, _] = hosts([A, B]);
    let (_, raj) = admit(&mut a, A);
    let mut at_raj = start(&a.snapshot(), raj);
    let (first, second) = (say(&mut at_raj, raj), say(&mut at_raj, raj));
    at_raj.resign(raj, 1);
    assert!(at_raj.has_delivered(first.id()) && !at_raj.has_delivered(second.id()));
    assert!(at_raj.broadcast(NOW, raj, b"x").is_err());
    assert_eq!(hears(&mut at_raj, &[&first, &second]), [second.id()]);
}

// Parting with the destroyed.

#[test]
fn nobody_is_expelled_before_all_have_answered_and_all_of_theirs_is_here() {
    let [mut a, mut b, mut c] = hosts([A, B, C]);
    let (joined, raj) = admit(&mut b, B);
    let word = say(&mut start(&b.snapshot(), raj), raj);
    hears(&mut c, &[&joined, &word]);
    let mut expulsion = Expulsion::new([2]);
    expulsion.ask([1]);
    expulsion.answer(1, &a.freeze(NOW, [2]).unwrap());
    expulsion.ask([1, 3]);
    let expel = |a: &mut Group, expulsion: &Expulsion| a.expel(NOW, A, expulsion, 1, b"");
    assert_eq!(expel(&mut a, &expulsion), Err(ExpelError::Unanswered { server: 3 }));
    assert_eq!(hears(&mut a, &[&joined]), [], "A has said that it takes no more");
    expulsion.answer(3, &c.freeze(NOW, [2]).unwrap());
    assert_eq!(expulsion.counts().iter().collect::<Vec<_>>(), [(B, 1), (raj, 1)]);
    assert_eq!(expel(&mut a, &expulsion), Err(ExpelError::Lacking { id: word.id() }));
    assert_eq!(hears(&mut a, &[]), [joined.id()], "so much is certain to count");
    assert_eq!(hears(&mut a, &[&word]), [word.id()]);
    expel(&mut a, &expulsion).unwrap();
    let expelled = sent(&mut a).pop().unwrap();
    let counts: VectorClock = [(B, 1), (raj, 1)].into_iter().collect();
    assert_eq!(expelled.kind(), Kind::Expelled { home: 1, counts });
    assert_eq!(hears(&mut c, &[&expelled]), [expelled.id()]);
    for group in [&mut a, &mut c] {
        assert!(!group.is_member(B) && !group.is_member(raj));
        assert_eq!(group.freeze(NOW, [2]), Err(ExpelError::Expelled { origin: 2 }), "and says so to another");
        let taken = group.sponsor(NOW, if group.is_local(A) { A } else { C }, 2, 9, b"");
        assert_eq!(taken, Err(MembershipError::OriginTaken { origin: 2 }));
    }
    assert_eq!(expel(&mut a, &expulsion), Err(ExpelError::Expelled { origin: 2 }));
    assert_eq!(c.freeze(NOW, [3]), Err(ExpelError::Alive { origin: 3 }));
}

#[test]
fn the_frozen_go_as_far_as_the_expulsion_counts() {
    let [mut a, mut b, mut c] = hosts([A, B, C]);
    let (joined, raj) = admit(&mut b, B);
    let mut at_raj = start(&b.snapshot(), raj);
    let words = [say(&mut at_raj, raj), say(&mut at_raj, raj)];
    hears(&mut b, &[&words[0]]);
    b.part(NOW, B, raj, b"").unwrap();
    let left = sent(&mut b).pop().unwrap();
    let after = say(&mut b, B);
    // A has all but the last; C nothing, and is frozen; what it holds then arrives in any order.
    hears(&mut a, &[&joined, &words[0], &left]);
    let mut expulsion = Expulsion::new([2]);
    for (server, group) in [(1, &mut a), (3, &mut c)] {
        expulsion.answer(server, &group.freeze(NOW, [2]).unwrap());
    }
    assert_eq!(hears(&mut c, &[&words[1], &after, &left, &words[0], &joined]), []);
    a.expel(NOW, A, &expulsion, 1, b"").unwrap();
    let expelled = sent(&mut a).pop().unwrap();
    let order = [joined.id(), words[0].id(), left.id(), expelled.id()];
    assert_eq!(hears(&mut c, &[&expelled]), order, "of Raj, who is not counted, as much as his Left says");
    assert_eq!((c.held_count(), c.held_bytes()), (0, 0), "what lay beyond is dropped");
    assert_eq!(a.cut(), c.cut());
    // B is alive after all, and is told.
    b.handle_message(NOW, Link::Relay, expelled).unwrap();
    let outputs: Vec<_> = std::iter::from_fn(|| b.poll_output()).collect();
    assert!(outputs.contains(&Output::Departed { member: B }), "{outputs:?}");
    assert_eq!(b.broadcast(NOW, B, b"x"), Err(BroadcastError::Departed { member: B }));
}

#[test]
fn what_is_frozen_itself_lets_nothing_through() {
    // B and D are gone; D had begun to expel B, and B to part with Raj, and only C has heard of it.
    let [mut a, mut b, mut c, mut d] = hosts([A, B, C, D]);
    let (joined, raj) = admit(&mut b, B);
    let word = say(&mut start(&b.snapshot(), raj), raj);
    for group in [&mut a, &mut c, &mut d] {
        hears(group, &[&joined]);
    }
    let extra = say(&mut b, B);
    hears(&mut b, &[&word]);
    b.part(NOW, B, raj, b"").unwrap();
    let left = sent(&mut b).pop().unwrap();
    hears(&mut d, &[&extra]);
    let mut by_d = Expulsion::new([2]);
    by_d.answer(4, &d.freeze(NOW, [2]).unwrap());
    d.expel(NOW, D, &by_d, 4, b"").unwrap();
    let void = sent(&mut d).pop().unwrap();

    let mut expulsion = Expulsion::new([2, 4]);
    for (server, group) in [(1, &mut a), (3, &mut c)] {
        expulsion.answer(server, &group.freeze(NOW, [2, 4]).unwrap());
    }
    assert_eq!(hears(&mut c, &[&void, &left, &extra, &word]), []);
    a.expel(NOW, A, &expulsion, 1, b"").unwrap();
    let expelled = sent(&mut a).pop().unwrap();
    assert_eq!(hears(&mut c, &[&expelled]), [expelled.id()]);
    assert_eq!((c.cut(), c.held_count()), (a.cut(), 0));
}

#[test]
fn an_expulsion_counts_on_arrival_whoever_says_it() {
    // B, who sponsored D, is gone; C knows nothing of D, which says Expelled.
    let [mut a, mut b, _] = hosts([A, B, C]);
    let mut c = Group::new(config(1), &a.snapshot(), [C]).unwrap();
    let (hosted, mut d) = sponsor(&mut b, B, D);
    hears(&mut a, &[&hosted]);
    let words: Vec<_> = (0..3).map(|_| say(&mut d, D)).collect();
    hears(&mut a, &words.iter().collect::<Vec<_>>());
    let mut expulsion = Expulsion::new([2]);
    for (server, group) in [(1, &mut a), (3, &mut c), (4, &mut d)] {
        expulsion.answer(server, &group.freeze(NOW, [2]).unwrap());
    }
    d.expel(NOW, D, &expulsion, 4, b"").unwrap();
    let expelled = sent(&mut d).pop().unwrap();
    assert_eq!(hears(&mut c, &[&hosted]), []);
    let refused = c.handle_message(NOW, Link::Relay, words[2].clone()).unwrap_err();
    assert!(!refused.is_final(), "there is no room for what D says");
    let taken = c.handle_message(NOW, Link::Relay, expelled.clone());
    assert_eq!(taken, Ok(()), "what it lets through has announced who says it");
    assert_eq!(hears(&mut c, &words.iter().collect::<Vec<_>>()).len(), 5);
    assert_eq!(hears(&mut a, &[&expelled]), [expelled.id()]);
    assert!(a.cut() == c.cut() && !c.is_member(B) && c.is_member(D));
}

#[test]
fn all_that_are_gone_are_expelled_together_the_unknown_too() {
    // B sponsored D, and both are gone; only Raj's message, which waits at C, tells of D's.
    let [mut a, mut b, mut c] = hosts([A, B, C]);
    let (hosted, mut d) = sponsor(&mut b, B, D);
    let word = say(&mut d, D);
    let (joined, raj) = admit(&mut c, C);
    hears(&mut a, &[&joined]);
    let mut at_raj = start(&c.snapshot(), raj);
    hears(&mut at_raj, &[&hosted, &word]);
    let answer = say(&mut at_raj, raj);
    c.handle_message(NOW, Link::Member(raj), answer.clone()).unwrap();
    c.handle_message(NOW, Link::Relay, word.clone()).unwrap();
    assert_eq!(hears(&mut a, &[&answer]), []);
    let mut expulsion = Expulsion::new([2, 4]);
    for (server, group) in [(1, &mut a), (3, &mut c)] {
        expulsion.answer(server, &group.freeze(NOW, [2, 4]).unwrap());
    }
    a.expel(NOW, A, &expulsion, 1, b"").unwrap();
    let mut said = sent(&mut a);
    let expelled = said.pop().unwrap();
    let counts: VectorClock = [(B, 0), (D, 0)].into_iter().collect();
    assert_eq!(expelled.kind(), Kind::Expelled { home: 1, counts });
    assert_eq!(hears(&mut c, &[&expelled]), [expelled.id(), answer.id()]);
    assert_eq!((c.held_count(), c.missing(9).len(), c.cut()), (0, 0, a.cut()));
    for message in [hosted, word] {
        let _ = c.handle_message(NOW, Link::Relay, message);
    }
    assert_eq!(hears(&mut c, &[]), [], "nobody takes it any more");
}

#[test]
fn an_expulsion_that_is_given_up_lets_nothing_through() {
    let [mut a, mut b, mut c] = hosts([A, B, C]);
    let word = say(&mut b, B);
    let mut given_up = Expulsion::new([2]);
    given_up.answer(1, &a.freeze(NOW, [2]).unwrap());
    // Somebody who is gone by now had it.
    given_up.answer(4, &[(B, 1)].into_iter().collect());
    assert_eq!(a.expel(NOW, A, &given_up, 1, b""), Err(ExpelError::Lacking { id: word.id() }));
    let expelled = expel_b(&mut c, C, &mut a);
    assert_eq!(hears(&mut a, &[&word]), [], "it has answered that it has not");
    assert_eq!(hears(&mut a, &[&expelled]), [expelled.id()]);
    assert_eq!(a.cut(), c.cut());
}

#[test]
fn an_expulsion_that_is_given_up_lets_nobody_through_who_comes_later() {
    let [mut a, mut b, mut c] = hosts([A, B, C]);
    let (joined, raj) = admit(&mut b, B);
    let word = say(&mut start(&b.snapshot(), raj), raj);
    hears(&mut c, &[&joined]);
    let mut given_up = Expulsion::new([2]);
    given_up.answer(1, &a.freeze(NOW, [2]).unwrap());
    // Somebody who is gone by now had both.
    given_up.answer(4, &[(B, 1), (raj, 1)].into_iter().collect());
    assert_eq!(a.expel(NOW, A, &given_up, 1, b""), Err(ExpelError::Lacking { id: joined.id() }));
    assert_eq!(hears(&mut a, &[&word]), []);
    let before = say(&mut c, C);
    let expelled = expel_b(&mut c, C, &mut a);
    assert_eq!(hears(&mut a, &[&expelled, &joined]), [joined.id()], "and not what Raj said");
    assert_eq!(hears(&mut a, &[&before]), [before.id(), expelled.id()]);
    assert_eq!((a.cut(), a.held_count()), (c.cut(), 0));
}

#[test]
fn what_is_frozen_survives_a_restart_and_is_given_to_newcomers() {
    let [mut a, mut b, mut c] = hosts([A, B, C]);
    let word = say(&mut b, B);
    let (joined, raj) = admit(&mut b, B);
    a.freeze(NOW, [2, 7]).unwrap();
    let mut a = Group::import(config(64), &a.export().unwrap()).unwrap();
    assert_eq!(hears(&mut a, &[&word]), []);
    assert_eq!(a.frozen_origins().collect::<Vec<_>>(), [2, 7]);
    let (_, mut d) = sponsor(&mut a, A, D);
    let frozen: Vec<_> = a.frozen_origins().collect();
    d.freeze(NOW, frozen).unwrap();
    assert_eq!(hears(&mut d, &[&word, &joined]), []);
    assert_eq!(hears(&mut c, &[&word, &joined]).len(), 2);
    // Of a frozen origin nobody who is announced may say more than counts.
    let mut expulsion = Expulsion::new([2]);
    expulsion.answer(3, &c.freeze(NOW, [2]).unwrap());
    c.expel(NOW, C, &expulsion, 3, b"").unwrap();
    let expelled = sent(&mut c).pop().unwrap();
    let beyond = say(&mut start(&b.snapshot(), raj), raj);
    assert_eq!(hears(&mut a, &[&beyond, &joined, &expelled]), [word.id(), joined.id(), expelled.id()]);
    assert_eq!(a.held_count(), 0);
}

#[test]
fn cuts_tell_what_a_log_has_beyond_them() {
    let [mut a, mut b] = hosts([A, B]);
    let before: Cut = b.cut();
    let log = [say(&mut a, A), admit(&mut a, A).0, say(&mut a, A)];
    assert!(a.cut().includes(&before) && !before.includes(&a.cut()));
    hears(&mut b, &[&log[0]]);
    let cut = b.cut();
    let lacking: Vec<_> = log.iter().filter(|m| !cut.has(m.id())).map(Message::id).collect();
    assert_eq!(lacking, [log[1].id(), log[2].id()]);
    let begin = cut.first_lacking().filter_map(|id| log.iter().position(|m| m.id() == id)).min();
    assert_eq!(begin, Some(1));
}

#[test]
fn stable_is_what_all_hosts_that_are_awake_have_told() {
    let [mut a, mut b, mut c] = hosts([A, B, C]);
    let (joined, raj) = admit(&mut b, B);
    let word = say(&mut start(&b.snapshot(), raj), raj);
    for group in [&mut a, &mut b] {
        hears(group, &[&joined, &word]);
    }
    let mut stability = HostStability::default();
    stability.tell(1, a.cut());
    stability.tell(2, b.cut());
    assert_eq!(
        (stability.stable(&a).get(raj), stability.holder(&a, raj)),
        (0, Some(3)),
        "nothing is known of C"
    );
    stability.sleep(3);
    assert_eq!(
        (stability.stable(&a).get(raj), stability.holder(&a, raj)),
        (1, None),
        "nobody is served there"
    );
    hears(&mut c, &[&joined]);
    stability.tell(3, c.cut());
    assert_eq!(stability.holder(&a, raj), Some(3), "it is awake again");
    // Who has heard that somebody left has all that it said.
    b.part(NOW, B, raj, b"").unwrap();
    let left = sent(&mut b).pop().unwrap();
    hears(&mut c, &[&word, &left]);
    stability.tell(3, c.cut());
    assert_eq!((stability.stable(&a).get(raj), stability.holder(&a, raj)), (1, None));
    // The expelled do not count.
    stability.tell(2, Cut::default());
    assert_eq!(stability.holder(&a, raj), Some(2));
    hears(&mut a, &[&left]);
    expel_b(&mut a, A, &mut c);
    assert_eq!(stability.holder(&a, A), Some(1), "it has told nothing of that");
    stability.tell(1, a.cut());
    stability.tell(3, a.cut());
    assert_eq!(stability.holder(&a, A), None);
}
