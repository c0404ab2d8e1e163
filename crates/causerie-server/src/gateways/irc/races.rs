//! Sessions without sockets that take each other's nicks at the same time, and sessions that die.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Barrier};

use causerie_core::content::name::Name;
use causerie_gateway::irc::{IrcItem, IrcMessage, IrcSession, IrcWorld};
use causerie_store::MemoryStore;
use tokio::sync::watch;

use super::people::People;
use super::world::{GatewayWorld, server_view};
use crate::net::addresses::{Entrance, Visitor};
use crate::rooms::access::{Right, Who};
use crate::rooms::directory::Maker;
use crate::server::Server;
use crate::settings::{IrcSettings, Settings};

const IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Connections, and one nick more than they need.
const SESSIONS: usize = 6;
const NICKS: usize = SESSIONS + 1;
const ROOMS: usize = 12;
const CHANGES: usize = 60;

/// A server that listens nowhere and stores nothing.
fn server() -> Arc<Server> {
    // Changes without a budget.
    let irc = IrcSettings { lines_per_second: 0, ..IrcSettings::default() };
    let settings = watch::Sender::new(Settings { irc, ..Settings::default() }).subscribe();
    Arc::new(Server::new(([127, 0, 0, 1], 1).into(), Arc::new(MemoryStore::default()), settings, None).0)
}

fn send(session: &mut IrcSession, here: &mut GatewayWorld<'_>, line: &str) -> String {
    session.handle(here, IrcItem::Message(IrcMessage::parse(line).expect("a line")));
    while session.has_more() {
        session.go_on(here);
    }
    session.finish();
    drop(std::mem::take(&mut here.debts));
    String::from_utf8(session.take_output().concat()).expect("UTF-8")
}

/// Returns who is in a room, by name.
fn names(server: &Server, room: &str) -> Vec<String> {
    let hosted = server.directory.open(Who::Anybody, room, Right::Read).expect("there is such a room");
    // Nothing is stored here.
    hosted.peek_unstored(|room| room.members().into_iter().map(|member| member.name).collect())
}

/// The next of a sequence that the seed decides [Marsaglia, Xorshift RNGs].
fn next(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 33) as usize
}

/// Each takes nicks of the others as they become free, in rooms where somebody else has one of them, so that some
/// changes fail in the middle.
fn race(seed: u64) {
    let (server, people) = (server(), People::default());
    let taken = |room: usize| format!("nick{}", room % NICKS);
    for room in (0..ROOMS).step_by(3) {
        let (hosted, _) = server
            .directory
            .open_or_create(Who::Anybody, &format!("r{room}"), Maker::without_key(IP))
            .expect("a room");
        let joined = hosted.act(|r, now| r.join_hosted(now, &taken(room + seed as usize)));
        joined.told_by_its_record().expect("it is free");
    }
    let start = Barrier::new(SESSIONS);
    let nicks: BTreeSet<String> = std::thread::scope(|scope| {
        let session = |n: usize| {
            let (server, people, start) = (&server, &people, &start);
            move || {
                let visitor = Visitor::enter(&server.addresses, IP, Entrance::Connection)
                    .expect("this machine has no limit");
                let mut here = GatewayWorld::new(server, people, &visitor, IP);
                let mut session = IrcSession::new(server_view(server, &here.person));
                let mut state = (seed << 8 | n as u64) + 1;
                send(&mut session, &mut here, &format!("NICK own{n}"));
                send(&mut session, &mut here, "USER x 0 * :x");
                let rooms: Vec<_> = (0..ROOMS).map(|room| format!("#r{room}")).collect();
                send(&mut session, &mut here, &format!("JOIN {}", rooms.join(",")));
                start.wait();
                for _ in 0..CHANGES {
                    let wanted = next(&mut state) % NICKS;
                    send(&mut session, &mut here, &format!("NICK nick{wanted}"));
                }
                start.wait();
                // Everybody is still in: each room knows it by the nick that it has, and by no other.
                let nick = here.person.nick();
                let all: BTreeMap<_, _> = (0..ROOMS).map(|r| (r, names(server, &format!("r{r}")))).collect();
                start.wait();
                for (room, members) in all {
                    let of_others = usize::from(room % 3 == 0);
                    assert!(members.contains(&nick), "{seed}: {nick} is not in r{room}: {members:?}");
                    assert_eq!(members.len(), SESSIONS + of_others, "{seed}: r{room}: {members:?}");
                }
                assert!(people.named(&nick).is_some());
                nick
            }
        };
        let threads: Vec<_> = (0..SESSIONS).map(|n| scope.spawn(session(n))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no session panics")).collect()
    });
    assert_eq!(nicks.len(), SESSIONS, "{seed}: two have the same nick: {nicks:?}");
    assert_eq!(people.count(), 0, "{seed}: somebody is left");
    for room in 0..ROOMS {
        let left = names(&server, &format!("r{room}"));
        assert_eq!(left.len(), usize::from(room % 3 == 0), "{seed}: in r{room} are left {left:?}");
    }
}

#[test]
fn who_takes_each_others_nicks_at_once_has_one_and_its_rooms() {
    (1..=8).for_each(race);
}

#[tokio::test]
async fn whose_session_dies_is_in_no_room_and_has_no_nick() {
    let (server, people) = (server(), Arc::new(People::default()));
    let name = Name::parse("Ann", 9).expect("a name");
    let dies = |how: &'static str| {
        let (server, people, name) = (Arc::clone(&server), Arc::clone(&people), name.clone());
        tokio::spawn(async move {
            let visitor = Visitor::enter(&server.addresses, IP, Entrance::Connection)
                .expect("this machine has no limit");
            let mut here = GatewayWorld::new(&server, &people, &visitor, IP);
            assert_eq!(here.claim(&name), Ok(()), "{how}: the nick is free");
            here.adopt(&name);
            for room in ["one", "two"] {
                here.join(room, "Ann").expect("it can join");
            }
            assert_eq!((names(&server, "one").len(), names(&server, "two").len()), (1, 1));
            match how {
                "panics" => panic!("this is meant"),
                _ => std::future::pending::<()>().await,
            }
        })
    };
    assert!(dies("panics").await.expect_err("it dies").is_panic());
    let pending = dies("is ended");
    while server.directory.open(Who::Anybody, "two", Right::Read).is_err() || names(&server, "two").is_empty()
    {
        tokio::task::yield_now().await;
    }
    pending.abort();
    assert!(pending.await.expect_err("it dies").is_cancelled());
    assert_eq!((names(&server, "one"), names(&server, "two")), (Vec::new(), Vec::new()));
    let visitor =
        Visitor::enter(&server.addresses, IP, Entrance::Connection).expect("this machine has no limit");
    let mut next = GatewayWorld::new(&server, &people, &visitor, IP);
    assert_eq!(next.claim(&name), Ok(()), "the nick is free");
}
