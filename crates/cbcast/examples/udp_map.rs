//! A map that processes share over UDP, where every tenth datagram is lost. They join, write, are killed, come back, and
//! leave; whoever is there comes to have the same map.
//!
//! `udp_map FILE ADDRESS` is the first process, which admits the others: `udp_map FILE ADDRESS FIRST-ADDRESS`. What is in
//! FILE it goes on from. It reads lines: `KEY VALUE` writes, anything else leaves; and prints what the map has. For
//! instance `cargo run -p cbcast --example udp_map -- /tmp/ann 127.0.0.1:7001`.
//!
//! Anybody may send to these addresses: a real program authenticates its peers.
#![expect(clippy::disallowed_types, reason = "a driver reads the clock, which the group does not")]

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};
use std::{collections::BTreeMap, env, error::Error, fs, io, path::PathBuf, str, sync::mpsc, thread};

use bytes::Bytes;
use cbcast::wire::{Reader, put_varint};
use cbcast::{Config, Group, Link, Mark, MemberId, Output, Packet, Snapshot, Time, Transmit};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const HOST: MemberId = MemberId::host(0);

/// First bytes of datagrams: these, or the ordinal of the member that a packet comes from.
const JOIN: u8 = 255;
const WELCOME: u8 = 254;

struct Node {
    me: MemberId,
    group: Group,
    /// Values with the count and the member of their write. The greater count wins, as one that has seen the other; if
    /// neither has, the greater member. Addresses stand in the map as `@member`, and stay: the departed may have to be told.
    map: BTreeMap<String, (u64, u32, String)>,
    socket: UdpSocket,
    now: Time,
    file: PathBuf,
    stored: Option<Mark>,
    has_left: bool,
    sent: u64,
}

impl Node {
    fn start(group: Group, map_lines: &[u8], socket: UdpSocket, file: PathBuf) -> Outcome<Self> {
        let (me, map) = (group.locals().next().ok_or("nobody lives here")?, BTreeMap::new());
        let (now, stored, has_left, sent) = (Time::ZERO, None, false, 0);
        let mut node = Self { me, group, map, socket, now, file, stored, has_left, sent };
        str::from_utf8(map_lines)?.lines().for_each(|line| node.apply(line));
        Ok(node)
    }

    /// Writes down a group, which is this one or that of somebody who joins, and the map.
    fn state(&self, group: &Group) -> Outcome<Vec<u8>> {
        let (mut out, group) = (Vec::new(), group.export()?);
        put_varint(&mut out, group.len() as u64);
        let line = |(key, (count, by, value)): (&String, &(_, _, _))| format!("{key} {count} {by} {value}\n");
        Ok([out, group, self.map.iter().map(line).collect::<String>().into_bytes()].concat())
    }

    fn apply(&mut self, line: &str) {
        let [key, count, by, value] = line.splitn(4, ' ').collect::<Vec<_>>()[..] else { return };
        let (Ok(count), Ok(by)) = (count.parse(), by.parse()) else { return };
        if self.map.get(key).is_none_or(|(c, b, _)| (*c, *b) < (count, by)) {
            self.map.insert(key.into(), (count, by, value.into()));
            println!("{key} {value}");
        }
    }

    fn write(&mut self, key: &str, value: &str) -> Outcome {
        let count = self.map.get(key).map_or(1, |(count, ..)| count + 1);
        let line = format!("{key} {count} {} {value}", self.me.ordinal);
        self.group.broadcast(self.now, self.me, line.as_bytes())?;
        self.drain()
    }

    /// Takes what has come, does what is due, and stores what has changed; then the group sends what waited for that.
    fn step(&mut self, now: Time) -> Outcome {
        self.now = now;
        let mut buffer = [0; 1 << 16];
        if let Ok((length @ 1.., from)) = self.socket.recv_from(&mut buffer) {
            match (buffer[0], Packet::decode_checked(Bytes::copy_from_slice(&buffer[1..length]))) {
                (JOIN, _) if self.me == HOST => self.welcome(from)?,
                // What is refused now comes again, or is of somebody who has left, who is told.
                (by, Ok(packet)) => {
                    _ = self.group.handle_packet(now, Link::Peer(MemberId::new(0, by.into())), packet);
                }
                _ => {}
            }
            self.drain()?;
        }
        self.group.handle_timeout(now);
        self.drain()?;
        let mark = self.group.mark();
        if self.stored.replace(mark) != Some(mark) {
            fs::write(self.file.with_extension("new"), self.state(&self.group)?)?; // and sync it, if the power may fail
            fs::rename(self.file.with_extension("new"), &self.file)?;
            self.group.persisted(mark);
        }
        self.drain()
    }

    /// Admits who asks to join, and answers when it asks again, from what is stored. (A larger map would come in pieces.)
    fn welcome(&mut self, at: SocketAddr) -> Outcome {
        let is_at = |key: &&String| key.starts_with('@') && self.map[*key].2 == at.to_string();
        let Some(key) = self.map.keys().find(is_at) else {
            let member = self.group.admit(self.now, HOST, false, b"")?;
            return self.write(&format!("@{}", member.ordinal), &at.to_string());
        };
        if self.stored == Some(self.group.mark()) {
            let member = MemberId::new(0, key[1..].parse()?);
            let group = Group::new(self.group.config().clone(), &self.group.snapshot(), [member])?;
            self.socket.send_to(&[vec![WELCOME], self.state(&group)?].concat(), at)?;
        }
        Ok(())
    }

    fn drain(&mut self) -> Outcome {
        while let Some(output) = self.group.poll_output() {
            match output {
                Output::Transmit(Transmit { to, packet }) => {
                    let datagram = [&[self.me.ordinal as u8][..], &packet.into_checked_bytes()].concat();
                    for (key, (.., at)) in self.map.iter().filter(|(key, _)| key.starts_with('@')) {
                        let peer = MemberId::new(0, key[1..].parse()?);
                        self.sent += 1;
                        if peer != self.me && to.is_none_or(|to| to == peer) && self.sent % 10 < 9 {
                            self.socket.send_to(&datagram, at)?;
                        }
                    }
                }
                Output::Deliver { message, .. } if message.payload() == "leave" && self.me == HOST => {
                    _ = self.group.part(self.now, HOST, message.id().member, b"")?;
                }
                Output::Deliver { message, .. } => self.apply(str::from_utf8(&message.payload())?),
                Output::Departed { .. } => self.has_left = true,
                _ => {}
            }
        }
        Ok(())
    }
}

fn ask_to_join(socket: &UdpSocket, host: &str) -> Outcome<Vec<u8>> {
    let mut buffer = [0; 1 << 16];
    loop {
        socket.send_to(&[JOIN], host)?;
        match socket.recv_from(&mut buffer) {
            Ok((length @ 2.., _)) if buffer[0] == WELCOME => return Ok(buffer[1..length].to_vec()),
            _ => {}
        }
    }
}

fn main() -> Outcome {
    let args: Vec<_> = env::args().skip(1).collect();
    let [file, address, host @ ..] = &args[..] else { return Err("udp_map FILE ADDRESS [HOST]".into()) };
    // A mesh whose processes come back from their files: what they have promised has to be in there.
    let mut config = Config::mesh();
    (config.durable, config.packet_bytes_max) = (true, 60_000);
    let (socket, started) = (UdpSocket::bind(address)?, Instant::now());
    socket.set_read_timeout(Some(Duration::from_millis(5)))?;
    let stored = fs::read(file).ok().map(Ok);
    let state = stored.or_else(|| host.first().map(|host| ask_to_join(&socket, host))).transpose()?;
    let mut reader = Reader::new(state.as_deref().unwrap_or_default());
    let group = match state {
        Some(_) => Group::import(config, reader.prefixed()?)?,
        None => Group::new(config, &Snapshot::hosts([0]), [HOST])?,
    };
    let mut node = Node::start(group, reader.rest(), socket, file.into())?;
    state.is_none().then(|| node.write("@0", address)).transpose()?;
    let (lines, commands) = mpsc::channel();
    thread::spawn(move || io::stdin().lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
    while !node.has_left {
        node.step(Time::ZERO + started.elapsed())?;
        match commands.try_recv().ok().as_deref().map(|line| line.split_once(' ')) {
            Some(Some((key, value))) => node.write(key, value)?,
            Some(None) => _ = node.group.broadcast(node.now, node.me, b"leave")?,
            None => {}
        }
    }
    println!("left");
    Ok(())
}
