//! Three friends, and an answer that overtakes its question.
//!
//! Ann asks, Bob answers. Ann's message to Eve takes the slow way, so Bob's answer is there first. Eve's group
//! holds the answer back until the question has been delivered: she does not read "Yes, at one." before "Lunch?".
//!
//! `cargo run -p cbcast --example three_friends`

use std::error::Error;
use std::sync::mpsc::{Receiver, Sender, channel};

use cbcast::{Config, Group, Link, MemberId, Message, Output, Packet, Snapshot, Time, Transmit};

const ANN: usize = 0;
const BOB: usize = 1;
const EVE: usize = 2;
const NAMES: [&str; 3] = ["Ann", "Bob", "Eve"];

fn member(friend: usize) -> MemberId {
    MemberId::new(0, friend as u32)
}

/// One friend: a group, and a wire to and from each friend. The one to herself carries nothing.
struct Friend {
    me: usize,
    group: Group,
    to: [Sender<Packet>; 3],
    from: [Receiver<Packet>; 3],
    read: Vec<String>,
}

impl Friend {
    /// The core loop: do what the group says, in order, until it says nothing more.
    fn drain(&mut self, now: Time) -> Result<(), Box<dyn Error>> {
        while let Some(output) = self.group.poll_output() {
            match output {
                Output::Transmit(Transmit { to: None, packet }) => {
                    for (_, wire) in self.to.iter().enumerate().filter(|&(to, _)| to != self.me) {
                        wire.send(packet.clone())?;
                    }
                }
                Output::Deliver { message, held_since } => self.read(now, &message, held_since),
                Output::Held { id, waits_for } => {
                    println!("{} holds {id} back: it waits for {waits_for}", NAMES[self.me]);
                }
                // Requests to send something again: these wires are slow, but lose nothing.
                _ => {}
            }
        }
        Ok(())
    }

    fn say(&mut self, now: Time, text: &str) -> Result<(), Box<dyn Error>> {
        self.group.broadcast(now, member(self.me), text.as_bytes())?;
        self.drain(now)
    }

    /// The wire from that friend has brought what was on it.
    fn hear(&mut self, now: Time, from: usize) -> Result<(), Box<dyn Error>> {
        while let Ok(packet) = self.from[from].try_recv() {
            self.group.handle_packet(now, Link::Member(member(from)), packet)?;
            self.drain(now)?;
        }
        Ok(())
    }

    fn read(&mut self, now: Time, message: &Message, held_since: Option<Time>) {
        let (id, text) = (message.id(), String::from_utf8_lossy(&message.payload()).into_owned());
        let (me, author) = (NAMES[self.me], NAMES[id.member.ordinal as usize]);
        match held_since {
            _ if author == me => println!("{me} says {id}, {text:?}"),
            None => println!("{me} delivers {id}, {author}'s {text:?}"),
            Some(since) => println!("{me} delivers {id}, {author}'s {text:?}, held for {:?}", now - since),
        }
        self.read.push(text);
    }
}

fn three_friends() -> Result<[Friend; 3], Box<dyn Error>> {
    let everybody = Snapshot::fixed([ANN, BOB, EVE].map(member));
    let mut wires: Vec<_> = (0..9).map(|_| channel()).map(|(to, from)| (to, Some(from))).collect();
    let mut friend = |me: usize| -> Result<Friend, Box<dyn Error>> {
        Ok(Friend {
            me,
            group: Group::new(Config::relay(), &everybody, [member(me)])?,
            to: [ANN, BOB, EVE].map(|friend| wires[3 * me + friend].0.clone()),
            from: [ANN, BOB, EVE].map(|friend| wires[3 * friend + me].1.take().expect("taken once")),
            read: Vec::new(),
        })
    };
    Ok([friend(ANN)?, friend(BOB)?, friend(EVE)?])
}

fn main() -> Result<(), Box<dyn Error>> {
    let at = Time::from_millis;
    let [mut ann, mut bob, mut eve] = three_friends()?;

    ann.say(at(0), "Lunch?")?;
    bob.hear(at(20), ANN)?;
    bob.say(at(30), "Yes, at one.")?;
    ann.hear(at(50), BOB)?;
    // The answer overtakes the question: both are on their way to Eve, and Bob's wire is the faster one.
    eve.hear(at(60), BOB)?;
    assert!(eve.read.is_empty(), "Eve has read an answer without its question");
    eve.hear(at(300), ANN)?;

    for friend in [&ann, &bob, &eve] {
        assert_eq!(friend.read, ["Lunch?", "Yes, at one."], "what {} has read", NAMES[friend.me]);
    }
    println!("Everybody has read the question before its answer.");
    Ok(())
}
