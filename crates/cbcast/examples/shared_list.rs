//! A shared text: an operation-based CRDT on top of causal delivery.
//!
//! Each replica is a member of a group, and edits are its messages: *insert this character after that one*, *delete
//! that one*. A character is named by the [`MessageId`] of its insertion. Replicas that have delivered the same
//! edits have the same text, in whatever order concurrent ones came: a replicated growable array, as in H. Roh,
//! M. Jeon, J. Kim, J. Lee, *Replicated abstract data types*, J. Parallel Distrib. Comput. 71(3), 2011.
//!
//! What causal delivery is for: an author can only insert after, or delete, a character that it has delivered.
//! Therefore it has been delivered wherever the edit is, and there is no case "the parent is not here yet".
//!
//! What stability is for: a deleted character stays in the list as a tombstone, since others may still insert after
//! it. `Replica::stable` and `Text::drop_tombstones` say when it may go; that its deletion is stable is not enough.
//!
//! `cargo run -p cbcast --example shared_list [SEEDS]` tells a story, and then checks that many random ones.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::time::Duration;
use std::{env, fmt};

use bytes::Bytes;
use cbcast::wire::{Reader, WireError, put_varint};
use cbcast::{
    Config, Group, Link, MemberId, MessageId, Output, Packet, Snapshot, Time, Transmit, VectorClock,
};

const ANN: usize = 0;
const BOB: usize = 1;
const EVE: usize = 2;
const NAMES: [&str; 3] = ["Ann", "Bob", "Eve"];

fn member(replica: usize) -> MemberId {
    MemberId::new(0, replica as u32)
}

// Edits, and the text that they make.

/// An edit, as it is broadcast.
#[derive(Clone, Copy, Debug)]
enum Edit {
    /// A character after another one; `None`: at the beginning.
    Insert {
        after: Option<MessageId>,
        /// Number of edits that the author had delivered: more than the author of any edit in the past of this one.
        rank: u64,
        character: char,
    },
    Delete {
        target: MessageId,
    },
}

impl Edit {
    fn encode(self) -> Vec<u8> {
        let mut out = Vec::new();
        let (target, insertion) = match self {
            Self::Insert { after, rank, character } => (after, Some((rank, character))),
            Self::Delete { target } => (Some(target), None),
        };
        // Messages are numbered from 1, so 0 stands for none.
        let target = target.unwrap_or(MessageId::new(member(0), 0));
        put_varint(&mut out, target.member.origin.into());
        put_varint(&mut out, target.member.ordinal.into());
        put_varint(&mut out, target.seq);
        if let Some((rank, character)) = insertion {
            put_varint(&mut out, rank);
            put_varint(&mut out, u32::from(character).into());
        }
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let author = MemberId::new(reader.varint_u32()?, reader.varint_u32()?);
        let target = MessageId::new(author, reader.varint()?);
        if reader.rest().is_empty() {
            return Ok(Self::Delete { target });
        }
        let (rank, character) = (reader.varint()?, char::from_u32(reader.varint_u32()?));
        let character = character.ok_or(WireError::Integer)?;
        Ok(Self::Insert { after: (target.seq > 0).then_some(target), rank, character })
    }
}

/// A character, or the tombstone of one.
#[derive(Clone, Copy, Debug)]
struct Element {
    /// Its insertion.
    id: MessageId,
    rank: u64,
    character: char,
    /// Its deletion, the first that was delivered here.
    deleted_by: Option<MessageId>,
}

impl Element {
    /// Total, and an edit has a greater one than those in its past.
    fn key(&self) -> (u64, MessageId) {
        (self.rank, self.id)
    }
}

/// The elements form a tree: each is a child of the one that it was inserted after, and among siblings greater keys
/// come first. The list is that tree, parents before children.
#[derive(Clone, Debug, Default)]
struct Text {
    elements: Vec<Element>,
}

impl Text {
    /// Applies an edit that has been delivered.
    fn apply(&mut self, id: MessageId, edit: Edit) {
        match edit {
            Edit::Insert { after, rank, character } => {
                let new = Element { id, rank, character, deleted_by: None };
                let start = after.map_or(0, |after| self.place(after) + 1);
                // Past the concurrent ones that come first, and their descendants, whose keys are greater still.
                let beyond = self.elements[start..].iter().take_while(|other| other.key() > new.key());
                self.elements.insert(start + beyond.count(), new);
            }
            Edit::Delete { target } => {
                let place = self.place(target);
                self.elements[place].deleted_by.get_or_insert(id);
            }
        }
    }

    /// Without causal delivery this would have to deal with a character that is not there yet.
    fn place(&self, id: MessageId) -> usize {
        let place = self.elements.iter().position(|element| element.id == id);
        place.expect("the author had delivered it, so it has been delivered here")
    }

    /// Drops the tombstones that nobody will mention again, and whose absence nobody can notice.
    ///
    /// `settled` tells of an edit whether everything that is still to be delivered here was made by somebody who
    /// had delivered it. Where that holds of a deletion, no edit to come is about its tombstone, and insertions to
    /// come have greater keys: on their way past concurrent ones they stop at the tombstone at the latest.
    /// Without it they would stop at the element behind it instead, which is the same place. But only if that
    /// element is settled, too, or has a smaller key than the tombstone. If it is neither, somebody who had not
    /// seen it may yet make an insertion with a key between the two: then the tombstone has to stay for now.
    fn drop_tombstones(&mut self, settled: impl Fn(MessageId) -> bool) {
        for place in (0..self.elements.len()).rev() {
            let tombstone = &self.elements[place];
            let stops = |next: &Element| next.key() < tombstone.key() || settled(next.id);
            if tombstone.deleted_by.is_some_and(&settled) && self.elements.get(place + 1).is_none_or(stops) {
                self.elements.remove(place);
            }
        }
    }

    fn visible(&self) -> impl Iterator<Item = &Element> {
        self.elements.iter().filter(|element| element.deleted_by.is_none())
    }

    fn tombstones(&self) -> usize {
        self.elements.len() - self.visible().count()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visible().try_for_each(|element| write!(f, "{}", element.character))
    }
}

// A replica.

struct Replica {
    me: usize,
    group: Group,
    text: Text,
    /// Cuts that are stable, each with what has to be delivered here until it is settled as well. Oldest first.
    settling: VecDeque<(VectorClock, VectorClock)>,
    settled: VectorClock,
    /// True if it drops tombstones. One that does not shows that nobody can tell.
    tidy: bool,
}

impl Replica {
    fn new(me: usize, tidy: bool) -> Self {
        let everybody = Snapshot::fixed([ANN, BOB, EVE].map(member));
        let group = Group::new(Config::mesh(), &everybody, [member(me)]).expect("a preset and three members");
        let (settling, settled) = (VecDeque::new(), VectorClock::new());
        Self { me, group, text: Text::default(), settling, settled, tidy }
    }

    /// Every member has delivered what is in the cut. Before it did, each may have sent something that is not here
    /// yet. But with the clock that acknowledged, it told how much it had sent: once all is here that is known to
    /// exist now, nothing is to come from anybody who had not delivered the cut.
    fn stable(&mut self, cut: VectorClock) {
        let mut known = self.group.clock();
        let held = self.group.held().map(|held| held.id);
        let missing = self.group.missing(usize::MAX);
        for id in held.chain(missing.iter().map(|range| MessageId::new(range.member, range.to))) {
            known.set(id.member, known.get(id.member).max(id.seq));
        }
        self.settling.push_back((cut, known));
    }

    /// After each call that may have delivered something.
    fn settle(&mut self) {
        let clock = self.group.clock();
        while self.settling.front().is_some_and(|(_, known)| *known <= clock) {
            let (cut, _) = self.settling.pop_front().expect("it is there");
            cut.iter().for_each(|(member, count)| self.settled.set(member, count));
            if self.tidy {
                self.text.drop_tombstones(|id| self.settled.includes(id));
            }
        }
    }
}

// Three of them, and a network that loses, delays and reorders.

struct World {
    now: Time,
    random: u64,
    replicas: [Replica; 3],
    /// Process that nobody reaches, and that reaches nobody.
    cut_off: Option<usize>,
    network: BTreeMap<(Time, u64), (usize, usize, Bytes)>,
    sent: u64,
}

impl World {
    fn new(seed: u64, tidy: [bool; 3]) -> Self {
        Self {
            now: Time::ZERO,
            random: seed,
            replicas: [ANN, BOB, EVE].map(|me| Replica::new(me, tidy[me])),
            cut_off: None,
            network: BTreeMap::new(),
            sent: 0,
        }
    }

    /// SplitMix64.
    fn below(&mut self, limit: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    /// Writes at that place of what the replica shows.
    fn insert(&mut self, who: usize, at: usize, text: &str) -> Result<(), Box<dyn Error>> {
        let replica = &self.replicas[who];
        let mut after =
            at.checked_sub(1).map(|left| replica.text.visible().nth(left).expect("in the text").id);
        for character in text.chars() {
            // Membership is fixed here, so that the sum never shrinks.
            let rank = self.replicas[who].group.clock().iter().map(|(_, count)| count).sum();
            after = Some(self.broadcast(who, Edit::Insert { after, rank, character })?);
        }
        Ok(())
    }

    fn delete(&mut self, who: usize, at: usize, count: usize) -> Result<(), Box<dyn Error>> {
        let targets: Vec<_> = self.replicas[who].text.visible().skip(at).take(count).map(|e| e.id).collect();
        for target in targets {
            self.broadcast(who, Edit::Delete { target })?;
        }
        Ok(())
    }

    fn broadcast(&mut self, who: usize, edit: Edit) -> Result<MessageId, Box<dyn Error>> {
        let id = self.replicas[who].group.broadcast(self.now, member(who), &edit.encode())?;
        self.drain(who)?;
        Ok(id)
    }

    /// Does what a group says. The edits of its own member are applied here, too, when they are delivered.
    fn drain(&mut self, who: usize) -> Result<(), Box<dyn Error>> {
        while let Some(output) = self.replicas[who].group.poll_output() {
            match output {
                Output::Transmit(Transmit { to, packet }) => self.send(who, to, packet),
                Output::Deliver { message, .. } => {
                    self.replicas[who].text.apply(message.id(), Edit::decode(&message.payload())?);
                }
                Output::Stable(cut) => self.replicas[who].stable(cut),
                _ => {}
            }
        }
        self.replicas[who].settle();
        Ok(())
    }

    fn send(&mut self, from: usize, to: Option<MemberId>, packet: Packet) {
        let bytes = packet.into_bytes();
        for other in [ANN, BOB, EVE] {
            let reaches = self.cut_off.is_none_or(|apart| from != apart && other != apart);
            let lost = !reaches || self.below(100) < 20;
            if other != from && to.is_none_or(|to| to == member(other)) && !lost {
                let at = self.now + Duration::from_millis(1 + self.below(60));
                self.sent += 1;
                self.network.insert((at, self.sent), (from, other, bytes.clone()));
            }
        }
    }

    /// Time goes on.
    fn run(&mut self, span: Duration) -> Result<(), Box<dyn Error>> {
        let end = self.now + span;
        loop {
            let arrival = self.network.first_key_value().map(|(&(at, _), _)| at);
            let timers = self.replicas.iter().filter_map(|replica| replica.group.poll_timeout());
            let Some(next) = timers.chain(arrival).min().filter(|&next| next <= end) else { break };
            self.now = self.now.max(next);
            while let Some(first) = self.network.first_entry().filter(|first| first.key().0 <= self.now) {
                let (from, to, bytes) = first.remove();
                let packet = Packet::decode(bytes)?;
                self.replicas[to].group.handle_packet(self.now, Link::Peer(member(from)), packet)?;
                self.drain(to)?;
            }
            for who in [ANN, BOB, EVE] {
                self.replicas[who].group.handle_timeout(self.now);
                self.drain(who)?;
            }
        }
        self.now = end;
        Ok(())
    }

    /// The network heals, and time goes on until everybody has everything and knows that everybody has.
    fn converge(&mut self) -> Result<(), Box<dyn Error>> {
        self.cut_off = None;
        for _ in 0..600 {
            self.run(Duration::from_millis(100))?;
            let clock = self.replicas[ANN].group.clock();
            let done = |r: &Replica| {
                r.group.clock() == clock && r.group.retained_count() == 0 && r.settling.is_empty()
            };
            if self.replicas.iter().all(done) {
                let texts: Vec<_> = self.replicas.iter().map(|replica| replica.text.to_string()).collect();
                if texts.iter().any(|text| *text != texts[0]) {
                    return Err(format!("diverged: {texts:?}").into());
                }
                if self.replicas.iter().any(|replica| replica.tidy && replica.text.tombstones() > 0) {
                    return Err("everything is settled, but not all tombstones are gone".into());
                }
                return Ok(());
            }
        }
        Err("a minute after the network has healed, something is still missing".into())
    }

    fn show(&self, what: &str) {
        println!("{what}");
        for replica in &self.replicas {
            let (text, tombstones) = (replica.text.to_string(), replica.text.tombstones());
            println!("  {}: {text:?}, and {tombstones} tombstones", NAMES[replica.me]);
        }
    }
}

fn story() -> Result<(), Box<dyn Error>> {
    let mut world = World::new(1, [true; 3]);
    world.insert(ANN, 0, "Hello wrld")?;
    world.converge()?;
    world.show("Ann has written something, and all have it:");

    world.cut_off = Some(EVE);
    world.insert(ANN, 7, "o")?;
    world.delete(BOB, 0, 5)?;
    world.insert(BOB, 0, "Good bye")?;
    world.insert(EVE, 5, ", dear")?;
    world.insert(EVE, 16, "!")?;
    world.run(Duration::from_secs(2))?;
    world.show("Eve is cut off. All three edit; Eve does so after a word that Bob deletes:");

    world.converge()?;
    world.show("The network has healed. What Eve inserted after has been deleted, and still tells where:");
    Ok(())
}

/// Random edits, losses and partitions. Eve keeps all tombstones, the others must not be distinguishable. How many
/// edits had to be held back.
fn random_story(seed: u64) -> Result<u64, Box<dyn Error>> {
    let mut world = World::new(seed, [true, true, false]);
    for _ in 0..80 {
        let who = world.below(3) as usize;
        let length = world.replicas[who].text.visible().count();
        let at = world.below(length as u64 + 1) as usize;
        if world.below(2) == 0 {
            let letter = char::from(b'a' + world.below(26) as u8);
            world.insert(who, at, &letter.to_string())?;
        } else {
            world.delete(who, at, 1)?;
        }
        if world.below(10) == 0 {
            let apart = world.below(4) as usize;
            world.cut_off = (apart < 3).then_some(apart);
        }
        let pause = world.below(60);
        world.run(Duration::from_millis(pause))?;
    }
    world.converge()?;
    Ok(world.replicas.iter().map(|replica| replica.group.stats().held).sum())
}

fn main() -> Result<(), Box<dyn Error>> {
    let seeds: u64 = env::args().nth(1).map_or(Ok(600), |seeds| seeds.parse())?;
    story()?;
    let mut held = 0;
    for seed in 0..seeds {
        held += random_story(seed).map_err(|failure| format!("seed {seed}: {failure}"))?;
    }
    println!(
        "{seeds} random stories: all have converged; {held} edits came before a cause of theirs, and waited"
    );
    Ok(())
}
