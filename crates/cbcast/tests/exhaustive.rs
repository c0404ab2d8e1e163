//! Every causal history of a few messages, and every order in which they can arrive.
//!
//! A *history* says, for each message, which messages its author had delivered when it sent it. That is all by
//! which one process influences another here: who receives does not change what is sent, and what is sent
//! depends on the author's delivered set alone (tested: byte for byte, whatever the order in which the author
//! received). So every run of a mesh with fixed membership is a history together with one arrival order for each
//! receiver, and the receivers can be looked at one by one. This enumerates
//!
//! 1. all histories (partial orders in which each author's messages are a chain), by letting any author send
//!    next from any delivered set it can have reached;
//! 2. for each history, at a member that only listens, every order of arrivals;
//! 3. for each history and each author, every order of the others' messages and its own broadcasts that
//!    leads to this history.
//!
//! No symmetry between members is used: all histories are run, not one of each shape.
//!
//! Copies. *Four by one* is literal: each packet arrives once or twice, at every two places (own packets come
//! back once). *Three by two* has too many such orders (7,484,400 a history with all packets doubled). There, after
//! each step all that has arrived arrives again, which must change no output and nothing that can be asked for;
//! and the whole state, as `Debug` shows it, is the same but for the counts, checked once for each history,
//! receiver and set of arrivals. As a copy changes nothing, any number of copies at any place is covered.
//!
//! Losses. To a receiver a lost packet that is sent again is a late one, so repair in any order is among the
//! orders above. Beyond that, at a listener: at every step the ranges known to be missing are exact; and a clock
//! from a relay that has everything makes the group ask for exactly what was lost, which then arrives in either
//! direction and completes it (at every step in *four by one*; for each history and set of arrivals in *three
//! by two*).
//!
//! Judged by sets of messages alone: delivered is exactly what has arrived with its whole past; nothing is
//! delivered twice or before a cause (*four by one*: by [`Oracle`] too); what is held waits for an undelivered
//! cause, at the root for one that is not here; frontier and stamps are the transitive reduction of
//! happened-before. Beside it runs the rule of [BSS91, section 5.1] with whole vectors: at each arrival both
//! deliver the same set.
//!
//! Not covered: membership that changes, several local members in one group, full queues, lying peers (see
//! `random.rs`, `scenarios.rs` and `fuzz/`).

use std::collections::BTreeSet;
use std::sync::Mutex;

use cbcast::{
    Config, Control, Group, Link, MemberId, Message, MessageId, MissingRange, Output, Packet, PeerStats,
    Snapshot, Time, Transmit, VectorClock,
};
use cbcast_sim::Oracle;

/// Messages as bits.
type Set = u16;

fn members_of(set: Set) -> impl Iterator<Item = usize> {
    (0..Set::BITS as usize).filter(move |m| set & (1 << m) != 0)
}

#[derive(Clone, Copy, Debug)]
struct Shape {
    authors: usize,
    each: usize,
    /// Copies literally, at every place.
    literal_copies: bool,
}

impl Shape {
    fn count(self) -> usize {
        self.authors * self.each
    }

    fn all(self) -> Set {
        (1 << self.count()) - 1
    }

    fn author(self, m: usize) -> usize {
        m / self.each
    }

    fn of_author(self, author: usize) -> Set {
        ((1 << self.each) - 1) << (author * self.each)
    }

    /// `authors` is the listener. Ordinals from 1: nobody here is a host, whose members [`Link::Member`] would
    /// expect to be heard of through it only.
    fn member(author: usize) -> MemberId {
        MemberId::new(0, author as u32 + 1)
    }

    fn id(self, m: usize) -> MessageId {
        MessageId::new(Self::member(self.author(m)), (m % self.each) as u64 + 1)
    }

    fn index(self, id: MessageId) -> usize {
        (id.member.ordinal as usize - 1) * self.each + id.seq as usize - 1
    }

    fn ids(self, set: Set) -> Vec<MessageId> {
        members_of(set).map(|m| self.id(m)).collect()
    }

    fn group(self, me: usize) -> Group {
        let everybody = (0..=self.authors).map(Self::member);
        Group::new(Config::relay(), &Snapshot::fixed(everybody), [Self::member(me)]).unwrap()
    }
}

/// By message: what its author had delivered when it sent it, closed under causes. `UNSENT` while building.
type History = Vec<Set>;
const UNSENT: Set = Set::MAX;

fn is_closed(history: &History, set: Set) -> bool {
    members_of(set).all(|m| history[m] & !set == 0)
}

fn histories(shape: Shape) -> BTreeSet<History> {
    let mut level = BTreeSet::from([vec![UNSENT; shape.count()]]);
    for _ in 0..shape.count() {
        let mut next_level = BTreeSet::new();
        for history in &level {
            let sent = (0..shape.count()).filter(|&m| history[m] != UNSENT).fold(0, |set, m| set | 1 << m);
            for author in 0..shape.authors {
                let own = shape.of_author(author);
                let Some(m) = members_of(own & !sent).next() else { continue };
                // Whatever is closed and has all of its own is a set that the author can have delivered: what
                // it had at its last message lies in that message's past.
                for past in (0..=sent).filter(|past| past & !sent == 0 && own & sent & !past == 0) {
                    if is_closed(history, past) {
                        let mut longer = history.clone();
                        longer[m] = past;
                        next_level.insert(longer);
                    }
                }
            }
        }
        level = next_level;
    }
    level
}

/// Those that no other of the set follows.
fn maximal(history: &History, set: Set) -> Set {
    members_of(set).fold(set, |maximal, m| maximal & !history[m])
}

/// Sends every message from the real group of its author, and checks its stamp.
fn packets(shape: Shape, history: &History) -> Vec<Message> {
    let mut order: Vec<usize> = (0..shape.count()).collect();
    order.sort_by_key(|&m| history[m].count_ones()); // A cause has a smaller past.
    let mut authors: Vec<_> = (0..shape.authors).map(|a| (shape.group(a), 0 as Set)).collect();
    let mut packets: Vec<Option<Message>> = vec![None; shape.count()];
    for &m in &order {
        let author = shape.author(m);
        let (group, seen) = &mut authors[author];
        for &cause in order.iter().filter(|&&c| history[m] & !*seen & (1 << c) != 0) {
            let packet = packets[cause].clone().expect("a cause comes first");
            group.handle_message(Time::ZERO, Link::Relay, packet).unwrap();
        }
        *seen = history[m] | 1 << m;
        group.broadcast(Time::ZERO, Shape::member(author), &[m as u8]).unwrap();
        let outputs = std::iter::from_fn(|| group.poll_output());
        let sent: Vec<_> = outputs.filter_map(|o| o.sent().cloned()).collect();
        let [packet] = &sent[..] else { panic!("one packet, not {sent:?}") };
        let direct = maximal(history, history[m]) & !shape.of_author(author);
        assert_eq!(packet.id(), shape.id(m));
        assert_eq!(packet.deps().collect::<Vec<_>>(), shape.ids(direct), "stamp of {m} in {history:?}");
        packets[m] = Some(Message::decode(packet.packet().clone()).unwrap());
    }
    packets.into_iter().map(Option::unwrap).collect()
}

/// The textbook: whole vectors, a list of what is held [BSS91, section 5.1].
#[derive(Clone)]
struct Textbook {
    clock: [u8; 4],
    held: Vec<usize>,
}

type Vector = [u8; 4];

fn vectors(shape: Shape, history: &History) -> Vec<Vector> {
    let counts = |set: Set| std::array::from_fn(|a| (set & shape.of_author(a)).count_ones() as u8);
    (0..shape.count()).map(|m| counts(history[m] | 1 << m)).collect()
}

impl Textbook {
    fn receive(&mut self, shape: Shape, vectors: &[Vector], m: usize) -> Set {
        let sender = shape.author(m);
        if vectors[m][sender] <= self.clock[sender] || self.held.contains(&m) {
            return 0;
        }
        self.held.push(m);
        let mut delivered = 0;
        let deliverable = |clock: Vector, m: usize| {
            (0..4).all(|k| match k == shape.author(m) {
                true => vectors[m][k] == clock[k] + 1,
                false => vectors[m][k] <= clock[k],
            })
        };
        while let Some(at) = self.held.iter().position(|&m| deliverable(self.clock, m)) {
            let m = self.held.swap_remove(at);
            self.clock[shape.author(m)] += 1;
            delivered |= 1 << m;
        }
        delivered
    }
}

#[derive(Clone)]
struct State {
    group: Group,
    textbook: Textbook,
    /// Arrived, own ones: sent.
    here: Set,
    /// Arrived again.
    again: Set,
    delivered: Set,
    /// Only where copies are literal.
    oracle: Option<Oracle<usize, usize>>,
}

#[derive(Debug, Default)]
struct Counts {
    histories: u64,
    /// Whole orders of arrivals (and own broadcasts), those with literal copies included.
    listener_orders: u64,
    author_orders: u64,
    steps: u64,
    copies: u64,
    repairs: u64,
    held: u64,
}

/// One receiver in one history.
struct Receiver<'a> {
    shape: Shape,
    history: &'a History,
    packets: &'a [Message],
    vectors: &'a [Vector],
    /// Its number; the listener's is `shape.authors`.
    me: usize,
    counts: &'a mut Counts,
    /// By set of arrivals, for the authors also of what was delivered then.
    visited: BTreeSet<(Set, Set)>,
}

impl Receiver<'_> {
    fn own(&self) -> Set {
        if self.me < self.shape.authors { self.shape.of_author(self.me) } else { 0 }
    }

    fn start(&self) -> State {
        let oracle = self.shape.literal_copies.then(|| {
            // The authors of the other messages, as the history says; the receiver's own part comes as it acts.
            let mut oracle = Oracle::new();
            let mut order: Vec<usize> = (0..self.shape.count()).collect();
            order.sort_by_key(|&m| self.history[m].count_ones());
            for &m in &order {
                // A process for each message stands for its author at that moment.
                let process = 100 + m;
                for &cause in order.iter().filter(|&&c| self.history[m] & (1 << c) != 0) {
                    oracle.deliver(process, &cause).unwrap();
                }
                oracle.broadcast(process, m).unwrap();
            }
            oracle
        });
        State {
            group: self.shape.group(self.me),
            textbook: Textbook { clock: [0; 4], held: Vec::new() },
            here: 0,
            again: 0,
            delivered: 0,
            oracle,
        }
    }

    /// Returns what has arrived with its whole past.
    fn complete(&self, here: Set) -> Set {
        members_of(here).filter(|&m| self.history[m] & !here == 0).fold(0, |set, m| set | 1 << m)
    }

    /// Message `m` arrives at `state`, for the first time or not.
    fn arrives(&mut self, state: &mut State, m: usize) {
        let first = state.here & (1 << m) == 0;
        let before = state.delivered;
        let link = if m.is_multiple_of(2) { Link::Relay } else { Link::Member(self.shape.id(m).member) };
        state.group.handle_message(Time::ZERO, link, self.packets[m].clone()).unwrap();
        state.here |= 1 << m;
        self.drain(state);
        let new = state.delivered & !before;
        let textbook = state.textbook.receive(self.shape, self.vectors, m);
        assert_eq!(new, textbook, "{m} at {}, with {:b} here: {:?}", self.me, state.here, self.history);
        assert!(first || new == 0);
        self.counts.copies += u64::from(!first);
    }

    /// Takes the outputs, and judges each delivery.
    fn drain(&mut self, state: &mut State) {
        while let Some(output) = state.group.poll_output() {
            match output {
                Output::Deliver { message, .. } => {
                    let m = self.shape.index(message.id());
                    assert_eq!(message, self.packets[m]);
                    assert_eq!(state.delivered & (1 << m), 0, "{m} twice");
                    assert_eq!(
                        self.history[m] & !state.delivered,
                        0,
                        "{m} before a cause: {:?}",
                        self.history
                    );
                    state.delivered |= 1 << m;
                    if let Some(oracle) = &mut state.oracle {
                        oracle.deliver(self.me, &m).unwrap();
                    }
                }
                Output::Transmit(Transmit { to: None, packet: Packet::Message(message) }) => {
                    let m = self.shape.index(message.id());
                    assert_eq!(
                        message.packet(),
                        self.packets[m].packet(),
                        "a stamp is a matter of the past alone"
                    );
                }
                Output::Held { id, waits_for } => {
                    let (m, cause) = (self.shape.index(id), self.shape.index(waits_for));
                    assert_ne!(self.history[m] & !state.delivered & (1 << cause), 0, "an undelivered cause");
                    self.counts.held += 1;
                }
                _ => {}
            }
        }
    }

    /// Checks what must hold after each step.
    fn check(&self, state: &State) {
        let (shape, group) = (self.shape, &state.group);
        assert_eq!(state.delivered, self.complete(state.here), "{:b} here: {:?}", state.here, self.history);
        let held = state.here & !state.delivered;
        assert_eq!(group.held_count(), held.count_ones() as usize);
        assert_eq!(group.frontier(), shape.ids(maximal(self.history, state.delivered)));
        if held == 0 {
            assert_eq!((group.held_bytes(), group.poll_timeout()), (0, None));
        }
        // Mentioned: by being held, and as a direct cause of what is.
        let mut known = state.here;
        for m in members_of(held) {
            known |= maximal(self.history, self.history[m]) & !shape.of_author(shape.author(m));
            let id = shape.id(m);
            let waits_for = shape.index(group.waits_for(id).expect("it is held"));
            assert_ne!(
                self.history[m] & !state.delivered & (1 << waits_for),
                0,
                "waits for an undelivered cause"
            );
            let root = shape.index(group.root_cause(id).expect("nobody lies"));
            assert_ne!(self.history[m] & !state.here & (1 << root), 0, "in the end for one that is not here");
        }
        if known & !state.here != 0 || held != 0 {
            let mut missing: Set = 0;
            for author in 0..shape.authors {
                let last = members_of(known & shape.of_author(author)).last();
                missing |= last.map_or(0, |m| shape.of_author(author) & ((2 << m) - 1)) & !state.here;
            }
            assert_eq!(as_set(shape, &group.missing(64)), missing);
        }
    }

    /// All that has not arrived was lost: the clock of somebody who has it makes the group ask for exactly that.
    fn check_repair(&mut self, state: &State) {
        let lost = self.shape.all() & !state.here;
        let everything: VectorClock =
            (0..self.shape.authors).map(|a| (Shape::member(a), self.shape.each as u64)).collect();
        for backwards in [false, true] {
            let mut state = state.clone();
            state.group.handle_clock(Time::ZERO, Link::Relay, &everything);
            let due = state.group.poll_timeout().expect("something is missing");
            state.group.handle_timeout(due);
            // At first each message is asked for from its sender.
            let mut ranges = Vec::new();
            while let Some(Output::Transmit(Transmit { to, packet })) = state.group.poll_output() {
                let Packet::Control(Control::Want(wanted)) = packet else { panic!("{packet:?}") };
                assert!(wanted.iter().all(|range| Some(range.member) == to));
                ranges.extend(wanted);
            }
            assert_eq!(as_set(self.shape, &ranges), lost);
            let mut order: Vec<usize> = members_of(lost).collect();
            if backwards {
                order.reverse();
            }
            for m in order {
                self.arrives(&mut state, m);
            }
            self.check_end(&state);
        }
        self.counts.repairs += 1;
    }

    fn check_end(&self, state: &State) {
        assert_eq!(state.delivered, self.shape.all(), "all delivered");
        assert_eq!((state.group.held_count(), state.group.poll_timeout()), (0, None), "nothing left");
        assert!(state.group.missing(64).is_empty());
        if let Some(oracle) = &state.oracle {
            oracle.has_all(&self.me).unwrap();
        }
    }

    /// All that is here arrives again, and changes nothing.
    fn copies_change_nothing(&mut self, state: &mut State) {
        let whole = self.visited.insert((state.here, state.delivered));
        let before = whole.then(|| without_counts(&state.group));
        for m in members_of(state.here) {
            self.arrives(state, m);
        }
        if let Some(before) = before {
            assert_eq!(before, without_counts(&state.group), "a copy has left a trace");
        }
        let listens = self.me == self.shape.authors;
        if whole && listens && state.here != self.shape.all() {
            self.check_repair(state);
        }
    }

    /// Every way to go on from `state`.
    fn walk(&mut self, state: &State) {
        let own = self.own();
        if state.here == self.shape.all() {
            self.check_end(state);
            match own {
                0 => self.counts.listener_orders += 1,
                _ => self.counts.author_orders += 1,
            }
            if !self.shape.literal_copies {
                return;
            }
        }
        let next_own = members_of(own & !state.here).next();
        for m in 0..self.shape.count() {
            let bit = 1 << m;
            let mut next;
            if state.here & bit != 0 {
                if !self.shape.literal_copies || state.again & bit != 0 {
                    continue;
                }
                next = state.clone();
                next.again |= bit;
                self.arrives(&mut next, m);
            } else if own & bit != 0 {
                if next_own != Some(m) || state.delivered != self.history[m] {
                    continue;
                }
                next = state.clone();
                next.group.broadcast(Time::ZERO, Shape::member(self.me), &[m as u8]).unwrap();
                next.here |= bit;
                next.textbook.clock[self.me] += 1;
                self.drain(&mut next);
            } else {
                // Nobody has seen what is not sent; and what is delivered before the next own message is in its
                // past, or this is another history.
                let seen = self.complete(state.here | bit);
                if self.history[m] & own & !state.here != 0
                    || next_own.is_some_and(|own| seen & !self.history[own] != 0)
                {
                    continue;
                }
                next = state.clone();
                self.arrives(&mut next, m);
            }
            self.counts.steps += 1;
            self.check(&next);
            if !self.shape.literal_copies {
                self.copies_change_nothing(&mut next);
                self.check(&next);
            } else if own == 0 && next.here != self.shape.all() {
                self.check_repair(&next);
            }
            self.walk(&next);
        }
    }
}

fn as_set(shape: Shape, ranges: &[MissingRange]) -> Set {
    let mut set = 0;
    for range in ranges {
        for seq in range.from..=range.to {
            let bit = 1 << shape.index(MessageId::new(range.member, seq));
            assert_eq!(set & bit, 0, "named twice: {ranges:?}");
            set |= bit;
        }
    }
    set
}

/// The whole state of a group but for its counts.
fn without_counts(group: &Group) -> String {
    let mut whole = format!("{group:?}");
    let (all, relays) = (format!("{:?}", group.stats()), format!("{:?}", group.relay_stats()));
    for counts in [all, relays] {
        assert!(whole.contains(&counts));
        whole = whole.replacen(&counts, "", 1);
    }
    for peer in group.members().filter_map(|member| group.peer_stats(member)) {
        if peer != PeerStats::default() {
            whole = whole.replacen(&format!("Some({peer:?})"), "None", 1);
        }
    }
    whole
}

fn explore(shape: Shape) -> Counts {
    let histories: Vec<History> = histories(shape).into_iter().collect();
    let total = Mutex::new(Counts { histories: histories.len() as u64, ..Counts::default() });
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (histories, total) = (&histories, &total);
            scope.spawn(move || {
                let mut counts = Counts::default();
                for history in histories.iter().skip(thread).step_by(threads) {
                    let (packets, vectors) = (packets(shape, history), vectors(shape, history));
                    for me in 0..=shape.authors {
                        let mut receiver = Receiver {
                            shape,
                            history,
                            packets: &packets,
                            vectors: &vectors,
                            me,
                            counts: &mut counts,
                            visited: BTreeSet::new(),
                        };
                        let start = receiver.start();
                        receiver.walk(&start);
                    }
                }
                let mut total = total.lock().unwrap();
                total.listener_orders += counts.listener_orders;
                total.author_orders += counts.author_orders;
                total.steps += counts.steps;
                total.copies += counts.copies;
                total.repairs += counts.repairs;
                total.held += counts.held;
            });
        }
    });
    let total = total.into_inner().unwrap();
    println!("{shape:?}: {total:?}");
    total
}

// The numbers are exact, so that nothing here can shrink unnoticed. Histories and listeners' orders follow from
// arithmetic, the authors' orders were counted once.

#[test]
fn four_members_with_a_message_each_and_every_copy() {
    let counts = explore(Shape { authors: 4, each: 1, literal_copies: true });
    assert_eq!(counts.histories, 219, "the partial orders on four labelled elements, OEIS A001035");
    // With k of the four packets doubled there are C(4, k) (4 + k)! / 2^k orders.
    assert_eq!(counts.listener_orders, counts.histories * (24 + 240 + 1_080 + 2_520 + 2_520));
    assert_eq!(counts.author_orders, 1_117_200);
    assert!(counts.repairs >= 214_620 && counts.held >= 37_016, "a run without trouble proves nothing");
}

#[test]
fn three_members_with_two_messages_each() {
    let counts = explore(Shape { authors: 3, each: 2, literal_copies: false });
    assert_eq!(counts.histories, 2_827, "the partial orders of three chains of two");
    assert_eq!(counts.listener_orders, counts.histories * 720);
    assert_eq!(counts.author_orders, 118_812);
    assert!(counts.copies >= 29_657_184 && counts.repairs >= 175_274 && counts.held >= 1_974_862);
}
