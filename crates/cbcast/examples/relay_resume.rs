//! A relay with a log, and clients that lose their connections, are restarted, and leave.
//!
//! A client's place is a position in the relay's log. When it comes back, it is told how many of its messages the relay
//! has, sends the others again, and reads on from its position: nothing is lost or read twice, and no clock is needed.
//!
//! `cargo run -p cbcast --example relay_resume`

use std::collections::VecDeque;
use std::error::Error;

use cbcast::{Config, Group, Kind, Link, MemberId, Message, Output, Snapshot, Time};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const HOST: MemberId = MemberId::host(0);
const NOW: Time = Time::ZERO;

/// The relay delivers, and what it has delivered is its log: in causal order, and the same for all who read it.
struct Relay {
    group: Group,
    log: Vec<Message>,
}

impl Relay {
    /// The snapshot is taken right after the call, at the position of the newcomer's own *Joined*.
    fn join(&mut self) -> Outcome<Client> {
        let me = self.group.admit(NOW, HOST, false, b"")?;
        let snapshot = self.group.snapshot();
        self.drain();
        let group = Group::new(Config::relay(), &snapshot, [me])?;
        Ok(Client { me, group, position: self.log.len(), pending: VecDeque::new(), read: Vec::new() })
    }

    /// Over the connection of this member, which speaks for nobody else.
    fn receive(&mut self, from: MemberId, message: Message) -> Outcome {
        self.group.handle_message(NOW, Link::Member(from), message)?;
        self.drain();
        Ok(())
    }

    /// The member has said its last, number `last`: *Left* once that is here, so that all it has said comes before.
    fn leave(&mut self, member: MemberId, last: u64) -> Outcome {
        assert_eq!(self.group.delivered(member), Some(last), "it has sent what it had pending");
        self.group.part(NOW, HOST, member, b"")?;
        self.drain();
        Ok(())
    }

    /// A real relay stores what it delivers before anybody reads it: then it can lose nothing that others know of.
    fn drain(&mut self) {
        while let Some(output) = self.group.poll_output() {
            if let Output::Deliver { message, .. } = output {
                self.log.push(message);
            }
        }
    }
}

struct Client {
    me: MemberId,
    group: Group,
    /// Number of entries of the relay's log that it has read.
    position: usize,
    /// Messages that it has said, and has not read in the log yet.
    pending: VecDeque<Message>,
    read: Vec<String>,
}

impl Client {
    /// Says something, connected or not: it is delivered here at once.
    fn say(&mut self, text: &str) -> Outcome {
        self.group.broadcast(NOW, self.me, text.as_bytes())?;
        self.drain();
        Ok(())
    }

    /// A new connection: the relay tells how many of this member's messages it has.
    fn connect(&mut self, relay: &mut Relay) -> Outcome {
        let taken = relay.group.delivered(self.me).ok_or("the relay has parted with it: join anew")?;
        if taken > self.group.delivered(self.me).unwrap_or(0) {
            return Err("this is an older state than what was said: read the log, then `Group::go_on`".into());
        }
        for message in self.pending.iter().filter(|message| message.id().seq > taken) {
            relay.receive(self.me, message.clone())?;
        }
        self.read_on(relay)
    }

    fn read_on(&mut self, relay: &Relay) -> Outcome {
        for message in &relay.log[self.position..] {
            self.position += 1;
            if message.id().member == self.me {
                self.pending.pop_front();
            } else {
                self.group.handle_message(NOW, Link::Relay, message.clone())?;
            }
            self.drain();
        }
        Ok(())
    }

    fn drain(&mut self) {
        while let Some(output) = self.group.poll_output() {
            match output {
                Output::Deliver { message, .. } if message.kind() == Kind::Data => {
                    self.read.push(String::from_utf8_lossy(&message.payload()).into_owned());
                }
                output => self.pending.extend(output.sent().cloned()),
            }
        }
    }

    /// Everything, written down in one piece: what was read, how far, and what is pending.
    fn stored(&self) -> Outcome<(Vec<u8>, Self)> {
        let (pending, read) = (self.pending.clone(), self.read.clone());
        let shell = Group::new(Config::relay(), &Snapshot::default(), [])?;
        Ok((self.group.export()?, Self { me: self.me, group: shell, position: self.position, pending, read }))
    }

    fn restarted((export, stored): (Vec<u8>, Self)) -> Outcome<Self> {
        Ok(Self { group: Group::import(Config::relay(), &export)?, ..stored })
    }
}

fn main() -> Outcome {
    let group = Group::new(Config::relay(), &Snapshot::hosts([0]), [HOST])?;
    let mut relay = Relay { group, log: Vec::new() };
    let (mut ann, mut bob) = (relay.join()?, relay.join()?);
    ann.say("lunch?")?;
    ann.connect(&mut relay)?;
    bob.connect(&mut relay)?;

    // Bob answers while his connection is down; half of it arrives, and then he is killed.
    bob.say("yes")?;
    bob.say("at one")?;
    relay.receive(bob.me, bob.pending[0].clone())?;
    let disk = bob.stored()?;
    drop(bob);
    let mut bob = Client::restarted(disk)?;
    bob.connect(&mut relay)?;
    ann.connect(&mut relay)?;
    println!("Ann reads {:?}", ann.read);
    println!("Bob reads {:?}, and {} are pending", bob.read, bob.pending.len());

    // Who comes later has a snapshot, and reads on from there.
    let mut eve = relay.join()?;
    ann.say("bye")?;
    ann.connect(&mut relay)?;
    relay.leave(ann.me, ann.group.delivered(ann.me).unwrap_or(0))?;
    eve.connect(&mut relay)?;
    println!(
        "Eve reads {:?}, and Ann is {}there",
        eve.read,
        if eve.group.is_member(ann.me) { "" } else { "not " }
    );
    println!(
        "Ann comes back: {}",
        ann.connect(&mut relay).err().map_or_else(String::new, |why| why.to_string())
    );
    Ok(())
}
