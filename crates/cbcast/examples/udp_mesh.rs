//! A mesh of real processes that talk UDP, and a network that loses a fifth of what they say.
//!
//! The program starts itself once per member. Each member sends every datagram late, by a delay of its own, so that
//! datagrams overtake each other, and some not at all. It says its words, and ends when it knows that everybody has
//! delivered everything. Then the parent judges what each has delivered, in which order:
//! - everything, once, and the words of each author in the order in which they were said;
//! - nothing before what its author had read. For this each word lists the ids that its author has delivered since
//!   the author's last word: sets of ids, nothing of which cbcast has a part in.
//!
//! `cargo run -p cbcast --example udp_mesh -- --help`
//!
//! Any process of this machine may send to these ports; a real program would authenticate its peers.

#![expect(clippy::disallowed_types, reason = "a driver reads the clock, which the group does not")]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use std::{env, thread};

use bytes::Bytes;
use cbcast::{
    BroadcastError, Config, Group, Link, MemberId, MessageId, Output, Packet, Snapshot, Time, Transmit,
};

const USAGE: &str = "\
Usage: udp_mesh [OPTIONS]

Options:
  --members N    so many processes (5)
  --words N      so many words said by each (40)
  --loss N       so many of 100 datagrams are lost (20)
  --seed N       what losses, delays and pauses are drawn from (1)
  --seconds N    give up after so long (30)

  --member N     be one of the processes: the Nth, from 0
  --ports N,...  the port of each of them on 127.0.0.1; as many as there are members
";

/// Longest time that a datagram is on its way: anything up to this, so that they overtake each other.
const DELAY_MAX: Duration = Duration::from_millis(30);
/// Between two words of one author: anything up to this.
const PAUSE_MAX: Duration = Duration::from_millis(12);
const HEARTBEAT: Duration = Duration::from_millis(25);
/// Heartbeats for which a process stays when it is done, since others may still lack its clock. That all are lost, if a fifth
/// of them is, has a chance of 10^-21.
const LINGER_HEARTBEATS: u32 = 30;
/// A datagram holds 65,507 bytes over IPv4. Clocks are not bounded by this: they have some bytes per member.
const PACKET_BYTES_MAX: usize = 60_000;
const DATAGRAM_BYTES_MAX: usize = 1 << 16;
/// Words that one author may have on the way, or it waits for the others.
const UNSTABLE_MAX: usize = 32;

/// A member could not have its port: somebody else took it in the meantime.
const PORT_TAKEN: u8 = 3;
/// Number of times that the parent tries other ports then.
const ATTEMPTS: usize = 3;
/// Time that the parent grants members beyond their own limit.
const GRACE: Duration = Duration::from_secs(5);

type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    let options = match Options::parse(env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            eprint!("udp_mesh: {wrong}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let outcome = match options.member {
        Some(me) => run_member(me, &options),
        None => run_mesh(&options),
    };
    outcome.unwrap_or_else(|failure| {
        eprintln!("udp_mesh: {failure}");
        ExitCode::FAILURE
    })
}

#[derive(Clone, Debug)]
struct Options {
    members: usize,
    words: u64,
    loss: u64,
    seed: u64,
    seconds: u64,
    member: Option<usize>,
    ports: Vec<u16>,
}

impl Options {
    /// `None`: the usage was asked for.
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, Failure> {
        let mut options =
            Self { members: 5, words: 40, loss: 20, seed: 1, seconds: 30, member: None, ports: Vec::new() };
        while let Some(name) = args.next() {
            if name == "--help" {
                return Ok(None);
            }
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--members" => options.members = value.parse()?,
                "--words" => options.words = value.parse()?,
                "--loss" => options.loss = value.parse()?,
                "--seed" => options.seed = value.parse()?,
                "--seconds" => options.seconds = value.parse()?,
                "--member" => options.member = Some(value.parse()?),
                "--ports" => options.ports = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
                _ => return Err(format!("{name} is unknown").into()),
            }
        }
        if !options.ports.is_empty() {
            options.members = options.ports.len();
        }
        if options.member.is_some_and(|me| me >= options.ports.len()) {
            return Err("--member needs --ports, and is one of them".into());
        }
        Ok(Some(options))
    }
}

fn member(index: usize) -> MemberId {
    MemberId::new(0, index as u32)
}

// One of the processes.

struct Member {
    me: MemberId,
    members: usize,
    group: Group,
    network: Network,
    words_each: u64,
    words_left: u64,
    /// Time to say the next word, while there is one.
    next_word: Option<Time>,
    /// Messages delivered since this member's last word.
    read: Vec<MessageId>,
    /// Messages delivered, each with what its author had read before.
    log: Vec<(MessageId, String)>,
    heartbeats_left: u32,
    pauses: u64,
}

fn run_member(me: usize, options: &Options) -> Result<ExitCode, Failure> {
    let network = match Network::open(me, options) {
        Ok(network) => network,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            eprintln!("udp_mesh: port {} is taken", options.ports[me]);
            return Ok(ExitCode::from(PORT_TAKEN));
        }
        Err(error) => return Err(error.into()),
    };
    let mut config = Config::mesh();
    config.heartbeat = Some(HEARTBEAT);
    config.repair_delay_max = Duration::from_millis(100);
    config.packet_bytes_max = PACKET_BYTES_MAX;
    config.unstable_max = UNSTABLE_MAX;
    config.seed = options.seed;
    let everybody = Snapshot::fixed((0..options.members).map(member));
    let mut this = Member {
        me: member(me),
        members: options.members,
        group: Group::new(config, &everybody, [member(me)])?,
        network,
        words_each: options.words,
        words_left: options.words,
        next_word: (options.words > 0).then_some(Time::ZERO),
        read: Vec::new(),
        log: Vec::new(),
        heartbeats_left: LINGER_HEARTBEATS,
        pauses: 0,
    };
    this.run(Duration::from_secs(options.seconds))?;
    this.report();
    Ok(ExitCode::SUCCESS)
}

impl Member {
    /// The driver: one loop, one deadline, one place to wait.
    fn run(&mut self, limit: Duration) -> Result<(), Failure> {
        let end = self.network.now() + limit;
        while self.heartbeats_left > 0 {
            let now = self.network.now();
            if now >= end {
                return Err(self.diagnosis(limit).into());
            }
            self.group.handle_timeout(now);
            self.drain(now);
            if self.next_word.is_some_and(|at| at <= now) {
                self.say(now)?;
                self.drain(now);
            }
            self.network.send_due(now)?;
            let deadlines = [self.group.poll_timeout(), self.next_word, self.network.next_due()];
            let deadline = deadlines.into_iter().flatten().fold(end, Time::min);
            if let Some((from, packet)) = self.network.receive(deadline)? {
                let now = self.network.now();
                // A refusal is counted by the group, and the parent looks at the count.
                let _ = self.group.handle_packet(now, Link::Peer(member(from)), packet);
                self.drain(now);
            }
        }
        Ok(())
    }

    /// Does what the group says, in order.
    fn drain(&mut self, now: Time) {
        while let Some(output) = self.group.poll_output() {
            match output {
                Output::Transmit(Transmit { to, packet }) => {
                    if to.is_none() && matches!(packet, Packet::Control(_)) && self.is_done() {
                        self.heartbeats_left = self.heartbeats_left.saturating_sub(1);
                    }
                    self.network.queue(now, to, &packet);
                }
                Output::Deliver { message, .. } => {
                    let (id, causes) = (message.id(), message.payload());
                    if id.member != self.me {
                        self.read.push(id);
                    }
                    self.log.push((id, String::from_utf8_lossy(&causes).into_owned()));
                }
                // What is held, and what is stable, is asked for where it matters.
                _ => {}
            }
        }
    }

    /// Says the next word: the ids that were delivered since the last one.
    fn say(&mut self, now: Time) -> Result<(), Failure> {
        let read: Vec<_> = self.read.iter().map(MessageId::to_string).collect();
        match self.group.broadcast(now, self.me, read.join(" ").as_bytes()) {
            Ok(_) => {
                self.words_left -= 1;
                self.read.clear();
            }
            // Somebody is far behind. The same word again, a little later.
            Err(BroadcastError::WouldBlock { .. }) => self.pauses += 1,
            Err(other) => return Err(other.into()),
        }
        self.next_word = (self.words_left > 0).then(|| now + self.network.random.below(PAUSE_MAX));
        Ok(())
    }

    /// Everything has been delivered here, and everybody has acknowledged it.
    fn is_done(&self) -> bool {
        let all = self.members as u64 * self.words_each;
        self.group.stats().delivered == all && self.group.retained_count() == 0
    }

    fn diagnosis(&self, limit: Duration) -> String {
        let (me, group) = (self.me, &self.group);
        let mut text =
            format!("{me} is not done after {limit:?}: it has delivered {}", group.stats().delivered);
        let _ = write!(text, ", lacks {:?}", group.missing(8));
        if let Some(held) = group.held().next() {
            let _ = write!(
                text,
                ", holds {}, where {} waits for {}",
                group.held_count(),
                held.id,
                held.waits_for
            );
        }
        let behind: BTreeSet<_> =
            (0..self.members).filter_map(|m| group.stability_holder(member(m))).collect();
        let _ = write!(text, ", retains {}; those behind are {behind:?}", group.retained_count());
        text
    }

    /// For the parent.
    fn report(&self) {
        for (id, causes) in &self.log {
            println!("delivered {id} {causes}");
        }
        let stats = self.group.stats();
        let Network { sent, dropped, overtaking, .. } = self.network;
        for (name, count) in [
            ("sent", sent),
            ("dropped", dropped),
            ("overtaking", overtaking),
            ("held", stats.held),
            ("wants", stats.wants),
            ("resent", stats.resent),
            ("duplicates", stats.duplicates),
            ("refused", stats.refused),
            ("pauses", self.pauses),
        ] {
            println!("count {name} {count}");
        }
    }
}

// The network: UDP, made worse.

struct Network {
    me: usize,
    socket: UdpSocket,
    addresses: Vec<SocketAddr>,
    epoch: Instant,
    random: Random,
    loss: u64,
    /// By when it is to be sent, and how many were queued before.
    on_the_way: BTreeMap<(Time, u64), (usize, Bytes)>,
    sent: u64,
    dropped: u64,
    overtaking: u64,
    buffer: Vec<u8>,
}

impl Network {
    fn open(me: usize, options: &Options) -> io::Result<Self> {
        let addresses: Vec<_> =
            options.ports.iter().map(|&port| (Ipv4Addr::LOCALHOST, port).into()).collect();
        Ok(Self {
            me,
            socket: UdpSocket::bind(addresses[me])?,
            addresses,
            epoch: Instant::now(),
            random: Random(options.seed ^ ((me as u64 + 1) << 32)),
            loss: options.loss,
            on_the_way: BTreeMap::new(),
            sent: 0,
            dropped: 0,
            overtaking: 0,
            buffer: vec![0; DATAGRAM_BYTES_MAX],
        })
    }

    fn now(&self) -> Time {
        Time::ZERO + self.epoch.elapsed()
    }

    /// Sends a packet to one member or to all others: later, or never.
    fn queue(&mut self, now: Time, to: Option<MemberId>, packet: &Packet) {
        let bytes = packet.clone().into_checked_bytes();
        let everybody = 0..self.addresses.len();
        for to in everybody.filter(|&i| i != self.me && to.is_none_or(|to| to == member(i))) {
            self.sent += 1;
            if self.random.next() % 100 < self.loss {
                self.dropped += 1;
                continue;
            }
            let at = (now + self.random.below(DELAY_MAX), self.sent);
            self.overtaking += u64::from(self.on_the_way.range(at..).any(|(_, &(other, _))| other == to));
            self.on_the_way.insert(at, (to, bytes.clone()));
        }
    }

    fn next_due(&self) -> Option<Time> {
        self.on_the_way.first_key_value().map(|(&(at, _), _)| at)
    }

    fn send_due(&mut self, now: Time) -> io::Result<()> {
        while let Some(first) = self.on_the_way.first_entry().filter(|first| first.key().0 <= now) {
            let (to, bytes) = first.remove();
            match self.socket.send_to(&bytes, self.addresses[to]) {
                Err(error) if !is_loss(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// The next packet from another member, if there is one before `deadline`.
    fn receive(&mut self, deadline: Time) -> io::Result<Option<(usize, Packet)>> {
        // Where the deadline has passed there may still be something to read; a timeout of zero is an error.
        let timeout = deadline.since(self.now()).max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(timeout))?;
        let (length, address) = match self.socket.recv_from(&mut self.buffer) {
            Ok(received) => received,
            Err(error) if is_loss(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let from = self.addresses.iter().position(|&known| known == address).filter(|&from| from != self.me);
        let packet = Packet::decode_checked(Bytes::copy_from_slice(&self.buffer[..length]));
        Ok(from.zip(packet.ok()))
    }
}

/// Nothing came in time, or the other end is not there (yet, or any more), which some systems tell.
fn is_loss(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | Interrupted | TimedOut | WouldBlock)
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: Duration) -> Duration {
        Duration::from_nanos(self.next() % limit.as_nanos() as u64)
    }
}

// The parent.

fn run_mesh(options: &Options) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    let reports = (0..ATTEMPTS).find_map(|_| run_members(options).transpose());
    let reports = reports.ok_or("ports that were free are taken, again and again")??;
    let violations = judge(&reports, options.words);
    for violation in &violations {
        println!("violation: {violation}");
    }
    let total = |name: &str| reports.iter().filter_map(|report| report.counts.get(name)).sum::<u64>();
    println!(
        "{} datagrams: {} dropped, {} overtaking others",
        total("sent"),
        total("dropped"),
        total("overtaking")
    );
    println!(
        "{} deliveries: {} held back, {} repairs asked for, {} words sent again, {} pauses for those behind",
        reports.iter().map(|report| report.log.len()).sum::<usize>(),
        total("held"),
        total("wants"),
        total("resent"),
        total("pauses")
    );
    let (members, words, took) = (options.members, options.words, started.elapsed().as_secs_f64());
    if violations.is_empty() {
        println!(
            "{members} processes, {words} words each: all delivered everywhere, in causal order ({took:.1} s)"
        );
        Ok(ExitCode::SUCCESS)
    } else {
        println!("{members} processes, {words} words each: {} violations ({took:.1} s)", violations.len());
        Ok(ExitCode::FAILURE)
    }
}

/// Whatever happens to the parent, they end with it.
struct Members(Vec<Child>);

impl Drop for Members {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // An error says that it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs all of them to their ends. `None`: a port was taken.
fn run_members(options: &Options) -> Result<Option<Vec<Report>>, Failure> {
    let ports: Vec<_> = free_ports(options.members)?.iter().map(u16::to_string).collect();
    let mut members = Members(Vec::new());
    let (ended, ends) = channel();
    for me in 0..options.members {
        let mut command = Command::new(env::current_exe()?);
        command.args(["--member", &me.to_string(), "--ports", &ports.join(",")]);
        for (name, value) in [
            ("--words", options.words),
            ("--loss", options.loss),
            ("--seed", options.seed),
            ("--seconds", options.seconds),
        ] {
            command.args([name, &value.to_string()]);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut stdout = child.stdout.take().expect("it is piped");
        members.0.push(child);
        let ended = ended.clone();
        thread::spawn(move || {
            let mut text = String::new();
            let read = stdout.read_to_string(&mut text).map(|_| text);
            // Nobody listens any more after a failure.
            let _ = ended.send((me, read));
        });
    }
    let end = Instant::now() + Duration::from_secs(options.seconds) + GRACE;
    let mut reports: Vec<_> = (0..options.members).map(|_| None).collect();
    while let Some(running) = reports.iter().position(Option::is_none) {
        let Ok((me, text)) = ends.recv_timeout(end.saturating_duration_since(Instant::now())) else {
            return Err(format!("{} does not end, and is killed", member(running)).into());
        };
        let status = members.0[me].wait()?;
        if status.code() == Some(PORT_TAKEN.into()) {
            return Ok(None);
        } else if !status.success() {
            return Err(format!("{} failed: {status}", member(me)).into());
        }
        reports[me] = Some(Report::parse(&text?)?);
    }
    Ok(Some(reports.into_iter().flatten().collect()))
}

/// Ports that nobody has at the moment. Somebody else may take one before the member that is to have it.
fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    let sockets: Vec<_> =
        (0..count).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))).collect::<io::Result<_>>()?;
    sockets.iter().map(|socket| Ok(socket.local_addr()?.port())).collect()
}

/// Output of a member.
#[derive(Default)]
struct Report {
    /// Messages delivered, in that order, each with what its author says to have read since the last.
    log: Vec<(MessageId, BTreeSet<MessageId>)>,
    counts: BTreeMap<String, u64>,
}

impl Report {
    fn parse(text: &str) -> Result<Self, Failure> {
        let mut report = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("delivered"), Some(id)) => {
                    report.log.push((id.parse()?, words.map(str::parse).collect::<Result<_, _>>()?));
                }
                (Some("count"), Some(name)) => {
                    let count = words.next().ok_or("a count without a number")?.parse()?;
                    report.counts.insert(name.to_owned(), count);
                }
                _ => return Err(format!("a member has printed {line:?}").into()),
            }
        }
        Ok(report)
    }
}

/// Whatever is wrong with the logs. That the direct causes of each word are before it is enough: they have theirs
/// before them.
fn judge(reports: &[Report], words: u64) -> Vec<String> {
    let mut violations = Vec::new();
    let mut causes_of = BTreeMap::new();
    for (me, report) in (0..).map(member).zip(reports) {
        let mut seen = BTreeSet::new();
        let mut read = BTreeSet::new();
        for (id, causes) in &report.log {
            if !seen.insert(*id) {
                violations.push(format!("{me} has delivered {id} twice"));
            }
            if id.seq > 1 && !seen.contains(&MessageId::new(id.member, id.seq - 1)) {
                violations
                    .push(format!("{me} has delivered {id} before the word that its author said before"));
            }
            if let Some(cause) = causes.iter().find(|cause| !seen.contains(cause)) {
                violations.push(format!("{me} has delivered {id} before {cause}, which its author had read"));
            }
            if causes_of.entry(*id).or_insert(causes) != &causes {
                violations.push(format!("{me} has delivered another {id} than others"));
            }
            // An author's own log tells whether the word says the truth.
            if id.member != me {
                read.insert(*id);
            } else if *causes != std::mem::take(&mut read) {
                violations.push(format!("{id} does not say what {me} had read"));
            }
        }
        let everything =
            (0..reports.len()).flat_map(|m| (1..=words).map(move |n| MessageId::new(member(m), n)));
        let everything: BTreeSet<_> = everything.collect();
        if seen != everything {
            let lacks = everything.difference(&seen).count();
            let extra = seen.difference(&everything).count();
            violations.push(format!("{me} lacks {lacks} words, and has {extra} that nobody said"));
        }
        if report.counts.get("refused") != Some(&0) {
            violations.push(format!("{me} has refused what honest members sent"));
        }
    }
    violations
}
