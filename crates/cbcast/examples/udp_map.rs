//! A map that processes share over UDP, where every tenth datagram is lost. They join, write, are killed, come back from
//! their files, and leave; in the end all who are there have the same map. (They take turns in one program here.)
//!
//! `cargo run -p cbcast --example udp_map`. Anybody may send to these ports: a real program authenticates its peers.
#![expect(clippy::disallowed_types, reason = "a driver reads the clock, which the group does not")]

use std::collections::BTreeMap;
use std::error::Error;
use std::net::UdpSocket;
use std::time::{Duration, Instant};
use std::{env, fs, path::PathBuf, process, str};

use bytes::Bytes;
use cbcast::wire::{Reader, put_varint};
use cbcast::{Config, Group, Link, Mark, MemberId, Output, Packet, Snapshot, Time, Transmit};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const HOST: MemberId = MemberId::host(0);

struct Node {
    me: MemberId,
    group: Group,
    /// Of two writes the one with the greater count wins: one that has seen the other. If neither has, the greater member.
    /// Where members are stands in the map itself, as `@member`, and stays there: who has left may have to be told so.
    map: BTreeMap<String, (u64, u32, String)>,
    socket: UdpSocket,
    started: Instant,
    file: PathBuf,
    stored: Option<Mark>,
    has_left: bool,
    sent: u64,
}

impl Node {
    fn new(name: &str, me: MemberId, group: Group) -> Outcome<Self> {
        let (map, socket, started) = (BTreeMap::new(), UdpSocket::bind("127.0.0.1:0")?, Instant::now());
        socket.set_nonblocking(true)?;
        let file = env::temp_dir().join(format!("udp_map-{}-{name}", process::id()));
        Ok(Self { me, group, map, socket, started, file, stored: None, has_left: false, sent: 0 })
    }

    /// Returns what a newcomer starts from, and what is stored: a member, its group in some form, and the map.
    fn state(&self, member: MemberId, group: &[u8]) -> Vec<u8> {
        let mut out = vec![member.ordinal as u8];
        put_varint(&mut out, group.len() as u64);
        let line = |(key, (count, by, value)): (&String, &(_, _, _))| format!("{key} {count} {by} {value}\n");
        [out, group.to_vec(), self.map.iter().map(line).collect::<String>().into_bytes()].concat()
    }

    fn start(name: &str, state: &[u8], group: fn(&[u8], MemberId) -> Outcome<Group>) -> Outcome<Self> {
        let (me, mut reader) = (MemberId::new(0, state[0].into()), Reader::new(&state[1..]));
        let mut node = Self::new(name, me, group(reader.prefixed()?, me)?)?;
        for line in str::from_utf8(reader.rest())?.lines() {
            let [key, count, by, value] = line.split(' ').collect::<Vec<_>>()[..] else { continue };
            node.apply(key, count.parse()?, by.parse()?, value);
        }
        // At another address than before, if it was there before.
        node.write(&format!("@{}", me.ordinal), &node.socket.local_addr()?.to_string())?;
        Ok(node)
    }

    /// The host admits somebody. What it returns goes to the newcomer over anything that loses nothing, but not before it
    /// is stored that it has joined.
    fn admit(&mut self) -> Outcome<Vec<u8>> {
        let (member, mut snapshot) = (self.group.admit(self.now(), HOST, false, b"")?, Vec::new());
        self.group.snapshot().encode(&mut snapshot);
        let welcome = self.state(member, &snapshot);
        self.step().map(|()| welcome)
    }

    fn join(name: &str, welcome: &[u8]) -> Outcome<Self> {
        Self::start(name, welcome, |bytes, me| {
            Ok(Group::new(config(), &Snapshot::decode(&mut Reader::new(bytes))?, [me])?)
        })
    }

    fn restart(name: &str, file: PathBuf) -> Outcome<Self> {
        Self::start(name, &fs::read(file)?, |bytes, _| Ok(Group::import(config(), bytes)?))
    }

    fn now(&self) -> Time {
        Time::ZERO + self.started.elapsed()
    }

    fn apply(&mut self, key: &str, count: u64, by: u32, value: &str) {
        if self.map.get(key).is_none_or(|(c, b, _)| (*c, *b) < (count, by)) {
            self.map.insert(key.into(), (count, by, value.into()));
        }
    }

    fn write(&mut self, key: &str, value: &str) -> Outcome {
        let count = self.map.get(key).map_or(1, |(count, ..)| count + 1);
        self.group.broadcast(self.now(), self.me, format!("{key} {count} {value}").as_bytes())?;
        self.drain()
    }

    /// Takes what has come, does what is due, and stores what has changed; then the group sends what waited for that.
    fn step(&mut self) -> Outcome {
        let mut buffer = [0; 1 << 16];
        while let Ok((length @ 1.., _)) = self.socket.recv_from(&mut buffer) {
            let peer = Link::Peer(MemberId::new(0, buffer[0].into()));
            let packet = Packet::decode(Bytes::copy_from_slice(&buffer[1..length]))?;
            // What is refused now comes again, or is of somebody who has left, who is told.
            let _ = self.group.handle_packet(self.now(), peer, packet);
            self.drain()?;
        }
        self.group.handle_timeout(self.now());
        self.drain()?;
        let mark = self.group.mark();
        if self.stored.replace(mark) != Some(mark) {
            let new = self.file.with_extension("new");
            fs::write(&new, self.state(self.me, &self.group.export()?))?; // and sync it, if the power may fail
            fs::rename(new, &self.file)?;
            self.group.persisted(mark);
        }
        self.drain()
    }

    fn drain(&mut self) -> Outcome {
        while let Some(output) = self.group.poll_output() {
            match output {
                Output::Transmit(Transmit { to, packet }) => {
                    let datagram = [&[self.me.ordinal as u8][..], &packet.into_bytes()].concat();
                    for (key, (.., at)) in self.map.iter().filter(|(key, _)| key.starts_with('@')) {
                        let peer = MemberId::new(0, key[1..].parse()?);
                        self.sent += 1;
                        if peer != self.me && to.is_none_or(|to| to == peer) && !self.sent.is_multiple_of(10)
                        {
                            let _ = self.socket.send_to(&datagram, at);
                        }
                    }
                }
                Output::Deliver { message, .. } => {
                    let text = String::from_utf8(message.payload().to_vec())?;
                    if let [key, count, value] = text.split(' ').collect::<Vec<_>>()[..] {
                        self.apply(key, count.parse()?, message.id().member.ordinal, value);
                    }
                }
                Output::Departed { .. } => self.has_left = true,
                _ => {}
            }
        }
        Ok(())
    }
}

/// A mesh whose processes come back from their files: what they have promised has to be in there.
fn config() -> Config {
    let mut config = Config::mesh();
    (config.durable, config.packet_bytes_max) = (true, 60_000);
    config
}

fn run(nodes: &mut [Node], until: fn(&[Node]) -> bool) -> Outcome {
    let started = Instant::now();
    while !until(nodes) {
        nodes.iter_mut().try_for_each(Node::step)?;
        assert!(started.elapsed() < Duration::from_secs(60), "they do not come to have the same");
    }
    Ok(())
}

fn settled(nodes: &[Node]) -> bool {
    let same = |a: &Node, b: &Node| a.map == b.map && a.group.acknowledged() == b.group.acknowledged();
    nodes.windows(2).all(|w| same(&w[0], &w[1]))
}

fn show(what: &str, map: &BTreeMap<String, (u64, u32, String)>) {
    let words = map.iter().filter(|(key, _)| !key.starts_with('@'));
    println!(
        "{what}: {}",
        words.map(|(key, (.., value))| format!("{key} at {value}")).collect::<Vec<_>>().join(", ")
    );
}

fn main() -> Outcome {
    let mut host = Node::new("host", HOST, Group::new(config(), &Snapshot::hosts([0]), [HOST])?)?;
    host.write("@0", &host.socket.local_addr()?.to_string())?;
    let mut nodes = vec![host];
    for name in ["ann", "bob"] {
        let welcome = nodes[0].admit()?;
        nodes.push(Node::join(name, &welcome)?);
    }
    nodes[1].write("lunch", "noon")?;
    nodes[2].write("tea", "four")?;
    run(&mut nodes, settled)?;
    show("Ann and Bob have joined", &nodes[0].map);

    nodes[2].write("lunch", "one")?;
    nodes[2].step()?;
    let file = nodes.pop().map(|killed| killed.file).unwrap_or_default();
    nodes[1].write("dinner", "eight")?;
    nodes.push(Node::restart("bob", file)?);
    run(&mut nodes, settled)?;
    show("Bob was killed, and is back", &nodes[2].map);

    let welcome = nodes[0].admit()?;
    nodes.push(Node::join("carol", &welcome)?);
    let (now, ann) = (nodes[0].now(), nodes[1].me);
    nodes[0].group.part(now, HOST, ann, b"")?;
    run(&mut nodes, |nodes| nodes[1].has_left && nodes.iter().all(|n| n.group.members().count() == 3))?;
    fs::remove_file(nodes.remove(1).file)?;
    nodes[2].write("tea", "five")?;
    run(&mut nodes, settled)?;
    show("Ann has left, Carol has joined", &nodes[2].map);
    nodes.iter().try_for_each(|node| fs::remove_file(&node.file))?;
    Ok(())
}
