//! The feature `tracing`: what goes wrong is told as it happens, and what is in order is not.

#![cfg(feature = "tracing")]

use std::cell::RefCell;
use std::fmt::{Debug, Write};
use std::sync::Once;
use std::time::Duration;

use cbcast::{
    Config, Control, GapPolicy, Group, Link, MemberId, Message, MessageId, MissingRange, Snapshot, Time,
    VectorClock,
};
use cbcast_sim::drive::message;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

const HOST: MemberId = MemberId::new(0, 0);
const ANN: MemberId = MemberId::new(0, 1);
const BOB: MemberId = MemberId::new(0, 2);
const NOW: Time = Time::ZERO;

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps each thread's events as lines: the level, the text, and the fields in their order.
///
/// One subscriber for the whole process, set before anything can be told: `tracing` remembers for
/// each place whether anybody listens, and a thread that passes it without a subscriber of its own
/// makes it deaf for the others.
struct Recorder;

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let wrote = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
        wrote.unwrap();
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "cbcast"
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        LINES.with_borrow_mut(|lines| lines.push(line.0));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Returns what is told while `act` runs.
fn told(act: impl FnOnce()) -> Vec<String> {
    LINES.take();
    act();
    LINES.take()
}

fn hear(group: &mut Group, message: &Message) {
    let _ = group.handle_message(NOW, Link::Relay, message.clone());
    drain(group);
}

fn drain(group: &mut Group) {
    while group.poll_output().is_some() {}
}

fn group(config: Config, me: MemberId) -> Group {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| tracing::subscriber::set_global_default(Recorder).unwrap());
    Group::new(config, &Snapshot::fixed([HOST, ANN, BOB]), [me]).unwrap()
}

#[test]
fn what_is_held_released_refused_or_comes_twice_is_told() {
    let mut bob = group(Config::relay(), BOB);
    let (question, answer) = (message(ANN, 1, &[]), message(HOST, 1, &[MessageId::new(ANN, 1)]));
    assert_eq!(told(|| hear(&mut bob, &answer)), ["TRACE held id=0.0#1 waits_for=0.1#1"]);
    assert_eq!(told(|| hear(&mut bob, &question)), ["TRACE released id=0.0#1 held_for=0ns"]);
    assert_eq!(told(|| hear(&mut bob, &question)), ["TRACE came twice id=0.1#1 link=Relay"]);
    assert_eq!(told(|| hear(&mut bob, &message(ANN, 2, &[]))), [""; 0], "in order");
    let early = message(MemberId::new(9, 1), 1, &[]);
    let refused = told(|| hear(&mut bob, &early));
    assert!(refused[0].starts_with("DEBUG refused id=9.1#1 link=Relay error="), "{refused:?}");
    assert_eq!(refused.len(), 1);
}

#[test]
fn requests_and_answers_are_told() {
    let mut config = Config::mesh();
    config.heartbeat = Some(Duration::from_secs(9));
    let (mut ann, mut bob) = (group(config.clone(), ANN), group(config, BOB));
    ann.broadcast(NOW, ANN, b"lost").unwrap();
    drain(&mut ann);
    bob.handle_clock(NOW, Link::Peer(ANN), &ann.clock());
    drain(&mut bob);
    bob.handle_timeout(NOW);
    let asked = told(|| bob.handle_timeout(bob.poll_timeout().unwrap()));
    assert_eq!(asked, ["DEBUG asked for to=0.1 ranges=1 member=0.1 from=1"]);
    let want = Control::Want(vec![MissingRange { member: ANN, from: 1, to: 1 }]);
    let answered = told(|| ann.handle_control(NOW, Link::Peer(BOB), &want));
    assert_eq!(answered, ["DEBUG sent again to=0.2 packets=1"]);
}

#[test]
fn who_comes_and_leaves_and_is_not_believed_any_more_is_told() {
    let mut host = group(Config::relay(), HOST);
    let carol = MemberId::new(0, 3);
    let joined = told(|| assert_eq!(host.admit(NOW, HOST, false, b""), Ok(carol)));
    assert_eq!(joined, ["DEBUG joined member=0.3 by=0.0#1"]);
    let left = told(|| _ = host.part(NOW, HOST, carol, b"").unwrap());
    assert_eq!(left, ["DEBUG left member=0.3 by=0.0#2"]);
    let late = message(carol, 1, &[]);
    let told = told(|| _ = host.handle_message(NOW, Link::Member(carol), late).unwrap_err());
    assert_eq!(told[0], "DEBUG speaks and has left member=0.3");
    assert!(told[1].starts_with("DEBUG refused id=0.3#1 link=Member(0.3) error="), "{told:?}");
}

#[test]
fn what_somebody_should_look_at_is_a_warning() {
    let warnings = |told: Vec<String>| -> Vec<String> {
        told.into_iter().filter(|line| line.starts_with(Level::WARN.as_str())).collect()
    };
    let mut ann = group(Config::mesh(), ANN);
    let clock: VectorClock = [(ANN, 3)].into_iter().collect();
    let told_back = told(|| ann.handle_clock(NOW, Link::Peer(BOB), &clock));
    assert_eq!(warnings(told_back), ["WARN rolled back member=0.1 seq=3"]);
    let let_go = Control::LetGo { member: ANN, count: 2 };
    let told_lost = told(|| ann.handle_control(NOW, Link::Peer(BOB), &let_go));
    assert_eq!(warnings(told_lost), ["WARN let go by all member=0.1 from=1 to=2"]);
    let departed = Control::Departed { member: ANN, count: 1 };
    let told_gone = told(|| ann.handle_control(NOW, Link::Peer(BOB), &departed));
    assert_eq!(warnings(told_gone), ["WARN departed member=0.1"]);

    let mut config = Config::relay();
    config.gap_policy = GapPolicy::Skip { after: Duration::from_secs(1) };
    let mut bob = group(config, BOB);
    hear(&mut bob, &message(ANN, 2, &[]));
    let skipped = told(|| {
        for _ in 0..99 {
            let Some(due) = bob.poll_timeout() else { break };
            bob.handle_timeout(due);
            drain(&mut bob);
        }
    });
    assert_eq!(warnings(skipped), ["WARN skipped member=0.1 from=1 to=1"]);
}

#[test]
fn flushes_and_expulsions_are_told() {
    let mut host = group(Config::mesh(), HOST);
    let begins = told(|| assert_eq!(host.part(NOW, HOST, ANN, b""), Ok(None)));
    assert_eq!(begins, ["DEBUG flush begins member=0.1"]);
    let ends = told(|| host.call_off_parting(NOW, HOST, ANN).unwrap());
    assert_eq!(ends, ["DEBUG flush called off member=0.1"]);

    let mut one = Group::new(Config::relay(), &Snapshot::hosts([1, 2]), [MemberId::host(1)]).unwrap();
    let mut expulsion = cbcast::Expulsion::new([2]);
    let frozen = told(|| {
        let counts = one.freeze(NOW, [2]).unwrap();
        expulsion.ask([1]);
        expulsion.answer(1, &counts);
    });
    assert_eq!(frozen, ["DEBUG frozen origins={2}"]);
    let expelled = told(|| _ = one.expel(NOW, MemberId::host(1), &expulsion, 1, b"").unwrap());
    let expected =
        ["DEBUG frozen origins={2}", "DEBUG expelled origins={2} by=1.0#1", "DEBUG left member=2.0 by=1.0#1"];
    assert_eq!(expelled, expected);
}
