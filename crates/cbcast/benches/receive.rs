//! Costs of receiving: time, stamps, allocations, memory. `docs/evidence/benchmarks.md` says how to run and read it.
//!
//! A [`Group`] that only listens is given the packets of a [`History`] in some order: bytes in, outputs drained.
//! Beside it, in the same run, the protocol as its paper has it: [`Bss`], with full vectors.
//!
//! Packets lie in runs of 64 KiB in their order of arrival, as in the read buffers of a connection, and each is a
//! handle ([`Bytes`]) into its run. Making those, and the group, is not timed. Dropping what was delivered is.

#![expect(clippy::disallowed_types, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use cbcast::{Config, Group, Link, MemberId, Message, Output, Snapshot, Time};
use cbcast_sim::history::{History, Order, Pace};
use cbcast_sim::textbook::{Bss, Stamped};

#[path = "../tests/counting/mod.rs"]
mod counting;

const USAGE: &str = "\
Usage: cargo bench -p cbcast [-- OPTIONS]

Options:
  --messages N  so many messages instead of 100000
  --linear      10000, 100000 and 1000000 messages, without the textbook
  --only TEXT   only what has TEXT in its name, such as 'gossip 1024 reversed' or 'lookups'; repeats it for a profiler
  --seconds S   for so long instead of 10, at least six times
";

const ORDERS: [(&str, Order); 4] = [
    ("in order", Order::Causal),
    ("shuffled 64", Order::Shuffled(64)),
    ("fully shuffled", Order::FullyShuffled),
    ("reversed", Order::Reversed),
];

/// Targets beside what we have: nanoseconds a message in the first three orders.
const TARGETS: [(Pace, [u32; 3]); 2] = [(Pace::Chat, [25, 60, 100]), (Pace::Gossip, [90, 120, 400])];

const MEMBERS: [u32; 4] = [3, 16, 128, 1_024];

const SEED: u64 = 1;
const PAYLOAD: [u8; 32] = *b"thirty-two bytes of what is said";
const RUN_BYTES: usize = 64 << 10;

/// The textbook searches its queue after every delivery: quadratic where much is held.
const TEXTBOOK_MESSAGES: usize = 10_000;
const TEXTBOOK_MESSAGES_QUADRATIC: usize = 2_000;

fn main() {
    let mut messages = vec![100_000];
    let mut textbook = true;
    let mut only = None;
    let mut seconds = 10;
    // Cargo says `--bench` when it is to be measured; without it (`cargo test --benches`) it is to be tried.
    let mut measured = false;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match (arg.as_str(), &mut args) {
            ("--bench", _) => measured = true,
            ("--linear", _) => (messages, textbook) = (vec![10_000, 100_000, 1_000_000], false),
            ("--messages", args) => match args.next().and_then(|n| n.parse().ok()) {
                Some(n) => messages = vec![n],
                None => return eprint!("{USAGE}"),
            },
            ("--only", args) => only = args.next(),
            ("--seconds", args) => match args.next().and_then(|s| s.parse().ok()) {
                Some(s) => seconds = s,
                None => return eprint!("{USAGE}"),
            },
            _ => return eprint!("{USAGE}"),
        }
    }
    if !measured {
        messages = vec![1_000];
    }
    if only.as_deref() == Some("lookups") {
        return lookups();
    }
    if let Some(only) = only {
        return repeat(&only, &messages, Duration::from_secs(seconds));
    }
    println!(
        "Nanoseconds a message by order of arrival: median (fastest); what of that is `Message::decode` alone, in \
         order. Allocations a message in order, second half. Bytes of live memory beside the packet for each \
         message held (all but the first, reversed), and at most when that one arrives.\n"
    );
    println!(
        "| history | members | messages | in order | shuffled 64 | fully shuffled | reversed | stamp bytes | \
         dependencies | full vector bytes | decode | allocations | bytes held | bytes at most |"
    );
    println!("|{}", "---|".repeat(14));
    for (pace, targets) in TARGETS {
        target_row(pace, targets);
        for members in MEMBERS {
            for &messages in &messages {
                group_row(pace, members, messages);
            }
            if textbook {
                let most = messages.iter().copied().max().unwrap_or(0);
                textbook_row(pace, members, most.min(TEXTBOOK_MESSAGES));
            }
        }
    }
    lookups();
}

/// Finding members in random order, by what every dependency costs: so many members, of few origins and of many.
fn lookups() {
    const MEMBERS: u32 = 5_000;
    println!("\n| members of | nanoseconds a look-up |");
    println!("|---|---|");
    for origins in [1, 2, 50, MEMBERS] {
        let members = (0..MEMBERS).map(|n| MemberId::new(n % origins, n / origins));
        let snapshot = Snapshot::fixed(members.clone());
        let group = Group::new(Config::relay(), &snapshot, []).expect("few members");
        let mut asked: Vec<_> = Order::FullyShuffled
            .arrivals(MEMBERS as usize, SEED)
            .into_iter()
            .map(|n| MemberId::new(n as u32 % origins, n as u32 / origins))
            .collect();
        asked.extend(asked.clone().iter().rev());
        let time = measure(|| {
            let start = Instant::now();
            for _ in 0..20 {
                for &member in &asked {
                    black_box(group.delivered(black_box(member)));
                }
            }
            nanoseconds(start.elapsed(), 20 * asked.len())
        });
        println!("| {origins} origins | {time:.1} |");
    }
}

fn name(pace: Pace) -> &'static str {
    match pace {
        Pace::Chat => "chat",
        Pace::Gossip => "gossip",
    }
}

fn target_row(pace: Pace, [in_order, shuffled, fully]: [u32; 3]) {
    let stamps = if pace == Pace::Chat { "≤ 7" } else { "≤ 18 / 52 / 62 of 16 / 128 / 1,024" };
    let name = name(pace);
    println!(
        "| *{name}, target* | | | ≤ {in_order} | ≤ {shuffled} | ≤ {fully} | ≤ fully shuffled | {stamps} | | | | 0 | | |"
    );
}

fn group_row(pace: Pace, members: u32, messages: usize) {
    let history = History::new(pace, members, messages, SEED);
    let sent: Vec<_> = (0..messages).map(|k| history.message(k, &PAYLOAD)).collect();
    let per_message = |total: usize| total as f64 / messages as f64;
    let stamps = per_message(sent.iter().map(Message::stamp_bytes).sum());
    let dependencies = per_message(sent.iter().map(|message| message.deps().count()).sum());
    let vectors = per_message(history.vectors().map(|vector| varint_bytes(&vector)).sum());

    let times = ORDERS.map(|(_, order)| {
        let packets = packets(&sent, order);
        measure(|| {
            let (mut group, packets) = (listener(&history), packets.clone());
            let start = Instant::now();
            receive(&mut group, packets);
            let taken = start.elapsed();
            assert_eq!(group.stats().delivered, messages as u64);
            nanoseconds(taken, messages)
        })
    });
    let in_causal_order = packets(&sent, Order::Causal);
    let decode = measure(|| {
        let packets = in_causal_order.clone();
        let start = Instant::now();
        for packet in packets {
            black_box(Message::decode(packet).expect("a true packet"));
        }
        nanoseconds(start.elapsed(), messages)
    });
    let allocations = steady_allocations(&history, &in_causal_order);
    let (held, most) = held_bytes(&history, &packets(&sent, Order::Reversed));
    let [in_order, shuffled, fully, reversed] = times;
    println!(
        "| {} | {members} | {messages} | {in_order} | {shuffled} | {fully} | {reversed} | {stamps:.1} | \
         {dependencies:.1} | {vectors:.1} | {decode} | {allocations:.4} | {held:.0} | {most:.0} |",
        name(pace)
    );
}

fn textbook_row(pace: Pace, members: u32, messages: usize) {
    let quadratic = messages.min(TEXTBOOK_MESSAGES_QUADRATIC);
    let times = ORDERS.map(|(_, order)| {
        let much_held = matches!(order, Order::FullyShuffled | Order::Reversed);
        let messages = if much_held { quadratic } else { messages };
        let history = History::new(pace, members, messages, SEED);
        let senders = (0..messages).map(|k| history.author(k));
        // The listener is one more process, which never says anything.
        let sent: Vec<_> = history.vectors().zip(senders).map(with_listener).collect();
        let arrivals: Vec<_> = order.arrivals(messages, SEED).into_iter().map(|k| sent[k].clone()).collect();
        measure(|| {
            let (mut process, arrivals) = (Bss::new(members as usize + 1), arrivals.clone());
            let start = Instant::now();
            for message in arrivals {
                black_box(process.receive(message));
            }
            let taken = start.elapsed();
            assert_eq!(process.time().iter().sum::<u64>(), messages as u64);
            nanoseconds(taken, messages)
        })
    });
    let [in_order, shuffled, fully, reversed] = times;
    println!(
        "| {}, textbook | {members} | {messages}; {quadratic} where quadratic | {in_order} | {shuffled} | \
         {fully} | {reversed} | | | | | | | |",
        name(pace)
    );
}

fn with_listener((mut vector, sender): (Vec<u64>, usize)) -> Stamped<()> {
    vector.push(0);
    Stamped { sender, vector, change: None, payload: () }
}

/// For a profiler: what is called `only`, for so long.
fn repeat(only: &str, messages: &[usize], length: Duration) {
    for (pace, _) in TARGETS {
        for members in MEMBERS {
            for (order_name, order) in ORDERS {
                if !format!("{} {members} {order_name}", name(pace)).contains(only) {
                    continue;
                }
                for &messages in messages {
                    let history = History::new(pace, members, messages, SEED);
                    let sent: Vec<_> = (0..messages).map(|k| history.message(k, &PAYLOAD)).collect();
                    let packets = packets(&sent, order);
                    let time = measure_for(length, usize::MAX, || {
                        let (mut group, packets) = (listener(&history), packets.clone());
                        let start = Instant::now();
                        receive(&mut group, packets);
                        nanoseconds(start.elapsed(), messages)
                    });
                    println!("{} {members} {order_name}, {messages} messages: {time} ns", name(pace));
                }
            }
        }
    }
}

/// A group that knows all members, is none of them, and may hold back everything.
fn listener(history: &History) -> Group {
    let mut config = Config::relay();
    config.holdback_max = 1 << 24;
    config.ahead_max = 1 << 24;
    config.holdback_bytes_max = usize::MAX;
    Group::new(config, &Snapshot::fixed(history.members()), []).expect("within what can be")
}

fn packets(sent: &[Message], order: Order) -> Vec<Bytes> {
    let mut packets = Vec::with_capacity(sent.len());
    let mut run = BytesMut::with_capacity(RUN_BYTES);
    for k in order.arrivals(sent.len(), SEED) {
        let packet = sent[k].packet();
        if run.capacity() < packet.len() {
            run = BytesMut::with_capacity(RUN_BYTES.max(packet.len()));
        }
        run.extend_from_slice(packet);
        packets.push(run.split().freeze());
    }
    packets
}

/// A function of its own, so that a profiler can be told to count here only.
#[inline(never)]
fn receive(group: &mut Group, packets: Vec<Bytes>) {
    for (i, packet) in packets.into_iter().enumerate() {
        receive_one(group, i, packet);
    }
}

#[inline]
fn receive_one(group: &mut Group, i: usize, packet: Bytes) {
    let message = Message::decode(packet).expect("a true packet");
    group.handle_message(Time::from_nanos(i as u64), Link::Relay, message).expect("there is room");
    while let Some(output) = group.poll_output() {
        if let Output::Deliver { message, .. } = &output {
            black_box(message);
        }
    }
}

/// Allocations a message over the second half.
fn steady_allocations(history: &History, packets: &[Bytes]) -> f64 {
    let mut group = listener(history);
    let (first, second) = packets.split_at(packets.len() / 2);
    receive(&mut group, first.to_vec());
    let second = second.to_vec();
    let (before, messages) = (counting::allocations(), second.len());
    receive(&mut group, second);
    (counting::allocations() - before) as f64 / messages as f64
}

/// With all but the message that arrives last: how many bytes live in the group beside the packets, for each held
/// message. And how many at most while that one arrives.
fn held_bytes(history: &History, packets: &[Bytes]) -> (f64, f64) {
    let mut group = listener(history);
    let (last, others) = packets.split_last().expect("there are messages");
    let others = others.to_vec();
    let before = counting::live();
    for (i, packet) in others.iter().enumerate() {
        receive_one(&mut group, i, packet.clone());
    }
    let held = group.held_count();
    let beside = counting::live() - before;
    counting::forget_most();
    receive_one(&mut group, others.len(), last.clone());
    let most = counting::most() - before;
    (beside as f64 / held as f64, most as f64 / held as f64)
}

fn varint_bytes(vector: &[u64]) -> usize {
    vector.iter().map(|&entry| (64 - (entry | 1).leading_zeros() as usize).div_ceil(7)).sum()
}

fn nanoseconds(taken: Duration, messages: usize) -> f64 {
    taken.as_nanos() as f64 / messages as f64
}

/// Nanoseconds a message: the median and the fastest of at least five runs, and of more while they take less than
/// half a second together. Where both are far apart the machine had other things to do.
struct Measured {
    median: f64,
    fastest: f64,
}

fn measure(run: impl FnMut() -> f64) -> Measured {
    measure_for(Duration::from_millis(500), 25, run)
}

fn measure_for(time: Duration, runs_max: usize, mut run: impl FnMut() -> f64) -> Measured {
    let begin = Instant::now();
    run();
    let mut results = Vec::new();
    while results.len() < 5 || (results.len() < runs_max && begin.elapsed() < time) {
        results.push(run());
    }
    results.sort_by(f64::total_cmp);
    Measured { median: results[results.len() / 2], fastest: results[0] }
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = f.precision().unwrap_or(0);
        write!(f, "{:.digits$} ({:.digits$})", self.median, self.fastest)
    }
}
