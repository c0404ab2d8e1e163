//! Processes that go on from an older state than what they have said: a backup was put back.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use cbcast::{
    BroadcastError, Config, Control, Group, Kind, Link, MemberId, Message, MessageId, MissingRange, Output,
    Packet, ReceiveError, RollbackError, Snapshot, Time, Transmit, VectorClock,
};
use cbcast_sim::drive::{delivered, id, outputs, say};

const HOST: MemberId = MemberId::new(0, 0);
const ANN: MemberId = MemberId::new(0, 1);
const BOB: MemberId = MemberId::new(0, 2);
const EVE: MemberId = MemberId::new(0, 3);
const NOW: Time = Time::ZERO;

fn group(config: Config, me: MemberId) -> Group {
    Group::new(config, &Snapshot::fixed([HOST, ANN, BOB, EVE]), [me]).unwrap()
}

fn hear(group: &mut Group, link: Link, message: &Message) -> Result<(), ReceiveError> {
    group.handle_message(NOW, link, message.clone())
}

fn clock(counts: &[(MemberId, u64)]) -> VectorClock {
    counts.iter().copied().collect()
}

fn said(seq: u64) -> Result<MessageId, BroadcastError> {
    Err(BroadcastError::RolledBack { member: ANN, seq })
}

fn rollback(seq: u64) -> Output {
    Output::Rollback { member: ANN, seq }
}

/// Ann says five, of which a backup has two. Everybody has them, Bob and Eve the fifth, too.
struct Restored {
    ann: Group,
    bob: Group,
    words: Vec<Message>,
}

fn restored(config: fn() -> Config) -> Restored {
    let (mut ann, mut bob) = (group(config(), ANN), group(config(), BOB));
    let mut words: Vec<_> = (0..2).map(|_| say(&mut ann, ANN)).collect();
    let backup = ann.export().unwrap();
    words.extend((0..3).map(|_| say(&mut ann, ANN)));
    words.iter().for_each(|word| hear(&mut bob, Link::Peer(ANN), word).unwrap());
    outputs(&mut bob);
    Restored { ann: Group::import(config(), &backup).unwrap(), bob, words }
}

#[test]
fn what_a_clock_proves_stops_who_went_back_until_it_has_its_own_words_again() {
    let Restored { mut ann, mut bob, words } = restored(Config::mesh);
    ann.handle_clock(NOW, Link::Peer(BOB), &clock(&[(ANN, 4)]));
    assert_eq!(outputs(&mut ann), [rollback(4)]);
    ann.handle_clock(NOW, Link::Peer(BOB), &clock(&[(ANN, 4)]));
    assert_eq!(outputs(&mut ann), [], "told once");
    ann.handle_clock(NOW, Link::Peer(BOB), &bob.clock());
    assert_eq!(outputs(&mut ann), [rollback(5)], "or when there is more");
    assert_eq!(ann.broadcast(NOW, ANN, b"x"), said(5));
    assert_eq!(ann.missing(9), [MissingRange { member: ANN, from: 3, to: 5 }]);

    // They are asked for, of somebody else, and delivered like anybody's.
    let mut wanted = Vec::new();
    for _ in 0..9 {
        let due = ann.poll_timeout().unwrap();
        ann.handle_timeout(due);
        for output in outputs(&mut ann) {
            if let Output::Transmit(Transmit { to: Some(to), packet: Packet::Control(want) }) = output {
                assert_ne!(to, ANN, "it would ask itself");
                wanted.extend(Some(want).filter(|want| to == BOB && matches!(want, Control::Want(_))));
            }
        }
    }
    bob.handle_control(NOW, Link::Peer(ANN), wanted.first().expect("Bob is asked at some time"));
    for output in outputs(&mut bob) {
        let Output::Transmit(Transmit { to: Some(ANN), packet }) = output else { panic!("{output:?}") };
        ann.handle_packet(NOW, Link::Peer(BOB), packet).unwrap();
    }
    assert_eq!(delivered(&mut ann), [3, 4, 5].map(|seq| id(ANN, seq)));
    assert_eq!(ann.broadcast(NOW, ANN, b"x"), said(5), "until the application says so");
    assert_eq!(ann.go_on(ANN, 5), Err(RollbackError::Mesh { member: ANN }), "and it is none in a mesh");
    assert_eq!(words.len(), 5);
}

#[test]
fn its_own_words_prove_it_too_and_so_does_what_others_have_seen() {
    let Restored { mut ann, mut bob, words } = restored(Config::mesh);
    hear(&mut ann, Link::Peer(EVE), &words[3]).unwrap();
    assert_eq!(ann.held_count(), 1);
    assert_eq!(outputs(&mut ann)[0], rollback(4));
    let answer = say(&mut bob, BOB);
    hear(&mut ann, Link::Peer(BOB), &answer).unwrap();
    assert_eq!(outputs(&mut ann)[0], rollback(5));
    assert_eq!(ann.waits_for(answer.id()), Some(id(ANN, 5)));
    for word in [&words[4], &words[2]] {
        hear(&mut ann, Link::Relay, word).unwrap();
    }
    assert_eq!(delivered(&mut ann), [id(ANN, 3), id(ANN, 4), id(ANN, 5), answer.id()]);

    // One that can be delivered at once.
    let Restored { mut ann, words, .. } = restored(Config::mesh);
    hear(&mut ann, Link::Relay, &words[2]).unwrap();
    assert_eq!(outputs(&mut ann)[0], rollback(3));
    assert_eq!(ann.broadcast(NOW, ANN, b"x"), said(3));
}

/// Or any client could silence a server.
#[test]
fn a_client_proves_nothing_about_those_who_live_here() {
    let Restored { mut ann, words, .. } = restored(Config::relay);
    ann.handle_clock(NOW, Link::Member(ANN), &clock(&[(ANN, 5)]));
    ann.handle_clock(NOW, Link::Member(BOB), &clock(&[(ANN, 5)]));
    let own = hear(&mut ann, Link::Member(ANN), &words[2]).unwrap_err();
    assert_eq!(own, ReceiveError::OwnFuture { id: id(ANN, 3) });
    let dependency = id(ANN, 5);
    let lie = Message::new(id(BOB, 1), Kind::Data, &[dependency], b"x").unwrap();
    let refused = hear(&mut ann, Link::Member(BOB), &lie).unwrap_err();
    assert_eq!(refused, ReceiveError::FromTheFuture { id: lie.id(), dependency });
    assert_eq!(outputs(&mut ann), []);
    say(&mut ann, ANN);
}

/// A process that knows of the backup need not wait until somebody proves it, when the number may be given already.
#[test]
fn who_puts_a_backup_back_says_nothing_from_the_start() {
    let Restored { mut ann, bob, .. } = restored(Config::mesh);
    ann.assume_rollback();
    assert_eq!(ann.broadcast(NOW, ANN, b"x"), said(2));
    ann.handle_clock(NOW, Link::Peer(BOB), &bob.clock());
    assert_eq!(outputs(&mut ann)[0], rollback(5));
    ann.assume_rollback();
    assert_eq!(ann.broadcast(NOW, ANN, b"x"), said(5), "what was proven is not forgotten");
}

/// Links that lose nothing, each to each; and what was read of each message.
struct Perfect {
    names: Vec<MemberId>,
    groups: Vec<Group>,
    read: BTreeMap<MessageId, Vec<Bytes>>,
    now: Time,
}

impl Perfect {
    fn run(&mut self) {
        for _ in 0..60 {
            for from in 0..self.groups.len() {
                self.groups[from].handle_timeout(self.now);
                while let Some(output) = self.groups[from].poll_output() {
                    match output {
                        Output::Transmit(Transmit { to, packet }) => self.send(from, to, &packet),
                        Output::Deliver { message, .. } => {
                            self.read.entry(message.id()).or_default().push(message.payload());
                        }
                        _ => {}
                    }
                }
            }
            self.now = self.now + Duration::from_millis(50);
        }
    }

    fn send(&mut self, from: usize, to: Option<MemberId>, packet: &Packet) {
        let link = Link::Peer(self.names[from]);
        for (other, group) in self.groups.iter_mut().enumerate() {
            if other != from && to.is_none_or(|to| to == self.names[other]) {
                // Who has left is told so.
                let _ = group.handle_packet(self.now, link, packet.clone());
            }
        }
    }
}

/// Ann has forgotten three words: the first is lost, and the second only held, by Eve. No clock tells of that. The
/// third is on its way. Should Ann give the first number again, Eve would deliver the new first word and behind it
/// the old second one, and everybody else the new ones.
#[test]
fn in_a_mesh_no_number_is_given_twice() {
    let everybody = [HOST, ANN, BOB, EVE];
    let mut groups = everybody.map(|me| group(Config::mesh(), me));
    say(&mut groups[1], ANN);
    let backup = groups[1].export().unwrap();
    let lost: Vec<_> = (0..3).map(|_| say(&mut groups[1], ANN)).collect();
    hear(&mut groups[3], Link::Peer(ANN), &lost[1]).unwrap();
    groups[1] = Group::import(Config::mesh(), &backup).unwrap();
    groups[1].assume_rollback();
    for other in [0, 2, 3] {
        let (clock, link) = (groups[other].clock(), Link::Peer(everybody[other]));
        groups[1].handle_clock(NOW, link, &clock);
    }
    outputs(&mut groups[1]);
    let goes_on = groups[1].go_on(ANN, 1).is_ok();
    (0..3).filter(|_| goes_on).for_each(|_| _ = groups[1].broadcast(NOW, ANN, b"new").unwrap());
    hear(&mut groups[3], Link::Peer(ANN), &lost[2]).unwrap();

    let mut mesh =
        Perfect { names: everybody.to_vec(), groups: groups.into(), read: BTreeMap::new(), now: NOW };
    mesh.run();
    // The host parts with Ann and admits her anew.
    let newcomer = mesh.groups[0].admit(mesh.now, HOST, false, b"").unwrap();
    let fresh = Group::new(Config::mesh(), &mesh.groups[0].snapshot(), [newcomer]).unwrap();
    mesh.groups.push(fresh);
    mesh.names.push(newcomer);
    mesh.groups[0].part(mesh.now, HOST, ANN, b"").unwrap();
    mesh.groups[4].broadcast(mesh.now, newcomer, b"anew").unwrap();
    mesh.run();
    let Perfect { groups, read, .. } = mesh;
    for (id, texts) in &read {
        assert!(texts.iter().all(|text| *text == texts[0]), "{id} is {texts:?}");
    }
    assert_eq!(read[&id(newcomer, 1)].len(), 5, "everybody reads what Ann says under her new id");
    for other in [0, 2, 3, 4] {
        assert!(!groups[other].is_member(ANN), "{other}");
        assert_eq!((groups[other].held_count(), groups[other].retained_count()), (0, 0));
    }
}

#[test]
fn where_there_is_a_relay_it_says_what_it_has_taken() {
    let Restored { mut ann, bob, words } = restored(Config::relay);
    ann.assume_rollback();
    hear(&mut ann, Link::Relay, &words[2]).unwrap();
    // Another relay that Ann reads has not got everything yet. Hers has.
    ann.handle_clock(NOW, Link::Relay, &clock(&[(ANN, 3)]));
    assert_eq!(ann.go_on(ANN, 5), Err(RollbackError::Missing { member: ANN, from: 4, to: 5 }));
    hear(&mut ann, Link::Relay, &words[3]).unwrap();
    ann.handle_clock(NOW, Link::Relay, &bob.clock());
    assert_eq!(ann.go_on(ANN, 4), Err(RollbackError::Missing { member: ANN, from: 5, to: 5 }), "proven");
    hear(&mut ann, Link::Relay, &words[4]).unwrap();
    assert_eq!(ann.go_on(ANN, 5), Ok(5));
    assert_eq!(ann.go_on(ANN, 5), Err(RollbackError::NotRolledBack { member: ANN }));
    outputs(&mut ann);
    assert_eq!(say(&mut ann, ANN).id(), id(ANN, 6));

    // But a relay's clients may have seen what is nowhere else.
    let mut host = group(Config::relay(), HOST);
    host.assume_rollback();
    assert_eq!(host.go_on(HOST, 0), Err(RollbackError::Host { member: HOST }));
    assert!(host.admit(NOW, HOST, false, b"").is_err(), "ordinals would be given twice");
}

/// A relay has taken what it holds as next, too, and drops what lies behind that.
#[test]
fn a_relay_knows_what_it_has_taken_of_a_member_whose_link_begins_anew() {
    let mut relay = group(Config::relay(), HOST);
    let word = |seq, deps: &[_]| Message::new(id(ANN, seq), Kind::Data, deps, b"x").unwrap();
    assert_eq!(relay.discard_ahead(ANN), 0);
    hear(&mut relay, Link::Relay, &word(1, &[])).unwrap();
    hear(&mut relay, Link::Relay, &word(3, &[])).unwrap();
    assert_eq!((relay.discard_ahead(ANN), relay.held_count()), (1, 0));
    hear(&mut relay, Link::Relay, &word(2, &[id(BOB, 1)])).unwrap();
    hear(&mut relay, Link::Relay, &word(3, &[])).unwrap();
    assert_eq!((relay.discard_ahead(ANN), relay.held_count()), (2, 1));
}

#[test]
fn an_export_keeps_that_it_was_rolled_back() {
    let Restored { mut ann, bob, words } = restored(Config::mesh);
    ann.handle_clock(NOW, Link::Peer(BOB), &bob.clock());
    outputs(&mut ann);
    let mut again = Group::import(Config::mesh(), &ann.export().unwrap()).unwrap();
    assert_eq!(again.broadcast(NOW, ANN, b"x"), said(5));
    assert_eq!(again.missing(9), ann.missing(9));
    words[2..].iter().for_each(|word| hear(&mut again, Link::Peer(BOB), word).unwrap());
    outputs(&mut again);
    let mut again = Group::import(Config::mesh(), &again.export().unwrap()).unwrap();
    assert_eq!(again.broadcast(NOW, ANN, b"x"), said(5), "it has them, and has not gone on");
}

/// A claim may be greater than what is believed at once; what it says is not forgotten.
#[test]
fn a_member_that_lacks_more_than_may_be_ahead_does_not_go_on_too_early() {
    let config = || {
        let mut config = Config::relay();
        config.ahead_max = 2;
        config
    };
    let Restored { mut ann, bob, words } = restored(config);
    ann.handle_clock(NOW, Link::Relay, &bob.clock());
    words[2..4].iter().for_each(|word| hear(&mut ann, Link::Relay, word).unwrap());
    assert_eq!(ann.delivered(ANN), Some(4));
    assert_eq!(ann.go_on(ANN, 4), Err(RollbackError::Missing { member: ANN, from: 5, to: 5 }));
    ann.handle_clock(NOW, Link::Relay, &bob.clock());
    assert_eq!(ann.missing(9), [MissingRange { member: ANN, from: 5, to: 5 }]);
}

/// All others have acknowledged the five, and so had Ann, before her disk was put back: nobody keeps them for her.
#[test]
fn who_asks_for_what_all_have_acknowledged_is_told_that_it_is_nowhere() {
    let Restored { mut ann, mut bob, words } = restored(Config::mesh);
    for peer in [HOST, ANN, EVE] {
        bob.handle_clock(NOW, Link::Peer(peer), &clock(&[(ANN, 4)]));
    }
    outputs(&mut bob);
    assert_eq!(bob.stable(ANN), Some(4));
    let want = Control::Want(vec![MissingRange { member: ANN, from: 3, to: 5 }]);
    bob.handle_control(NOW, Link::Peer(ANN), &want);
    let let_go = Control::LetGo { member: ANN, count: 4 };
    let to = Some(ANN);
    let answers = [Packet::Control(let_go.clone()), Packet::Message(words[4].clone())];
    assert_eq!(outputs(&mut bob), answers.map(|packet| Output::Transmit(Transmit { to, packet })));

    ann.handle_control(NOW, Link::Member(BOB), &let_go);
    assert_eq!(outputs(&mut ann), [], "a client knows nothing of it");
    ann.handle_control(NOW, Link::Peer(BOB), &let_go);
    assert_eq!(outputs(&mut ann), [Output::LetGo(MissingRange { member: ANN, from: 3, to: 4 })]);
    ann.handle_control(NOW, Link::Peer(EVE), &let_go);
    bob.handle_control(NOW, Link::Peer(EVE), &let_go);
    assert_eq!((outputs(&mut ann), outputs(&mut bob)), (vec![], vec![]), "told, and not missing at all");
}

#[test]
fn own_words_that_there_is_no_room_for_prove_it_too() {
    let Restored { mut ann, .. } = restored(Config::mesh);
    let far = Message::new(id(ANN, 1 << 40), Kind::Data, &[], b"x").unwrap();
    let refused = hear(&mut ann, Link::Peer(BOB), &far).unwrap_err();
    assert!(matches!(refused, ReceiveError::TooFarAhead { .. }), "{refused}");
    assert_eq!(outputs(&mut ann), [rollback(1 << 40)]);
    assert_eq!(ann.broadcast(NOW, ANN, b"x"), said(1 << 40));
}
