//! Two relays, each with members of its own, and a client between them that reads both.
//!
//! Each relay passes on to the other what its own members have said, and to its members all that it delivers. Who reads
//! both logs has everything sooner, and may take whichever copy comes first; it speaks through the relay that has
//! admitted it, and through no other.
//!
//! `cargo run -p cbcast --example two_relays`

use std::error::Error;

use cbcast::{Config, Group, Kind, Link, MemberId, Message, Output, Snapshot, Time};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const NOW: Time = Time::ZERO;

struct Process {
    group: Group,
    /// Messages that it has delivered, in order: of a relay, its log.
    log: Vec<Message>,
    /// Number of entries of the log of each relay that it has read.
    read: [usize; 2],
}

impl Process {
    fn new(snapshot: &Snapshot, me: MemberId) -> Outcome<Self> {
        let group = Group::new(Config::relay(), snapshot, [me])?;
        Ok(Self { group, log: Vec::new(), read: [0; 2] })
    }

    /// Says something; what is to be sent to the relay.
    fn say(&mut self, me: MemberId, text: &str) -> Outcome<Message> {
        self.group.broadcast(NOW, me, text.as_bytes())?;
        Ok(self.drain().pop().ok_or("it was not sent")?)
    }

    fn drain(&mut self) -> Vec<Message> {
        let mut sent = Vec::new();
        while let Some(output) = self.group.poll_output() {
            match output {
                Output::Deliver { message, .. } => self.log.push(message),
                output => sent.extend(output.sent().cloned()),
            }
        }
        sent
    }

    /// Reads on in the log of a relay; a relay reads of another only what that one's own members have said.
    fn read_on(&mut self, relay: &Self, origin: u32, all: bool) -> Outcome {
        let from = &mut self.read[origin as usize];
        let news = &relay.log[*from..];
        *from = relay.log.len();
        for message in news.iter().filter(|message| all || message.id().member.origin == origin) {
            if !self.group.is_local(message.id().member) {
                self.group.handle_message(NOW, Link::Relay, message.clone())?;
            }
        }
        self.drain();
        Ok(())
    }

    fn texts(&self) -> Vec<String> {
        let words = self.log.iter().filter(|message| message.kind() == Kind::Data);
        words.map(|message| String::from_utf8_lossy(&message.payload()).into_owned()).collect()
    }

    /// The relay of `origin` admits somebody, who reads on from here.
    fn join(&mut self, origin: u32) -> Outcome<(MemberId, Self)> {
        let member = self.group.admit(NOW, MemberId::host(origin), false, b"")?;
        let snapshot = self.group.snapshot();
        self.drain();
        let mut client = Self::new(&snapshot, member)?;
        client.read[origin as usize] = self.log.len();
        Ok((member, client))
    }
}

fn main() -> Outcome {
    let hosts = Snapshot::hosts([0, 1]);
    let mut west = Process::new(&hosts, MemberId::host(0))?;
    let mut east = Process::new(&hosts, MemberId::host(1))?;
    let (ann, mut at_ann) = west.join(0)?;
    let (bob, mut at_bob) = east.join(1)?;
    let (eve, mut at_eve) = west.join(0)?;
    east.read_on(&west, 0, false)?;
    west.read_on(&east, 1, false)?;

    let question = at_ann.say(ann, "lunch?")?;
    west.group.handle_message(NOW, Link::Member(ann), question)?;
    west.drain();
    east.read_on(&west, 0, false)?;
    at_bob.read_on(&east, 1, true)?;
    let answer = at_bob.say(bob, "yes")?;
    east.group.handle_message(NOW, Link::Member(bob), answer)?;
    east.drain();

    // Eve hears of the east first: the answer, whose question the same log has; then all of it again from her own relay.
    at_eve.read_on(&east, 1, true)?;
    println!("Eve, who reads the east first: {:?}", at_eve.texts());
    west.read_on(&east, 1, false)?;
    at_eve.read_on(&west, 0, true)?;
    let thanks = at_eve.say(eve, "see you")?;
    west.group.handle_message(NOW, Link::Member(eve), thanks)?;
    west.drain();
    east.read_on(&west, 0, false)?;
    at_ann.read_on(&west, 0, true)?;
    at_bob.read_on(&east, 1, true)?;
    println!("Ann, in the west: {:?}", at_ann.texts());
    println!("Bob, in the east: {:?}", at_bob.texts());
    println!("Eve has {} copies more than she needs", at_eve.group.stats().duplicates);
    Ok(())
}
