//! The room, and what happens to it by chance.

use std::collections::BTreeMap;

use cbcast::{MemberId, Message};

use super::judge::Judge;
use super::parts::{FlushRound, HostClient, HostServer};
use super::plan::{HostsCounts, Weakening};
use crate::random::SplitMix64;

/// Something on its way to a server.
#[derive(Clone, Debug)]
pub(super) enum Parcel {
    Message(Message),
    /// The client of this member is served elsewhere now.
    Gone(MemberId),
}

#[derive(Debug)]
pub(super) struct HostsWorld {
    random: SplitMix64,
    pub(super) weakening: Option<Weakening>,
    pub(super) counts: HostsCounts,
    pub(super) judge: Judge,
    /// By origin: the directory, with the destroyed.
    pub(super) servers: BTreeMap<u32, HostServer>,
    pub(super) clients: BTreeMap<u32, HostClient>,
    pub(super) next_client: u32,
    pub(super) net: Vec<(u32, Parcel)>,
    pub(super) stream: Vec<Message>,
    /// On which side of a cut a server is.
    pub(super) side: BTreeMap<u32, u8>,
    pub(super) flush: Option<FlushRound>,
    /// Places for messages of unknown origins at the servers.
    pub(super) early_max: usize,
}

const STEPS_TO_HEAL: usize = 4_000;

impl HostsWorld {
    pub(super) fn new(seed: u64, weakening: Option<Weakening>) -> Self {
        let mut world = Self {
            random: SplitMix64(seed),
            weakening,
            counts: HostsCounts::default(),
            judge: Judge::default(),
            servers: BTreeMap::new(),
            clients: BTreeMap::new(),
            next_client: 0,
            net: Vec::new(),
            stream: Vec::new(),
            side: BTreeMap::new(),
            flush: None,
            early_max: 0,
        };
        world.early_max = world.pick(&[4, 64, 4_096]);
        world.first_server();
        world
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        self.random.below(n as u64) as usize
    }

    pub(super) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        self.random.pick(items).expect("there is one")
    }

    /// With this probability, in thousandths.
    pub(super) fn chance(&mut self, thousandths: usize) -> bool {
        self.below(1_000) < thousandths
    }

    pub(super) fn weakened(&self, by: Weakening) -> bool {
        self.weakening == Some(by)
    }

    pub(super) fn up(&self) -> Vec<u32> {
        self.servers.iter().filter(|(_, s)| s.is_up()).map(|(&origin, _)| origin).collect()
    }

    pub(super) fn linked(&self, a: u32, b: u32) -> bool {
        self.side[&a] == self.side[&b]
    }

    fn with_majority(&self, origin: u32) -> bool {
        2 * self.servers.keys().filter(|other| self.linked(**other, origin)).count() > self.servers.len()
    }

    fn any_client(&mut self) -> Option<u32> {
        let clients: Vec<_> = self.clients.keys().copied().collect();
        self.random.pick(&clients)
    }

    pub(super) fn run(mut self) -> Result<HostsCounts, String> {
        let steps = 60 + self.below(200);
        let servers_max = self.pick(&[2, 3, 3, 4, 5]);
        for _ in 0..2 {
            self.join_client()?;
        }
        for step in 0..steps + STEPS_TO_HEAL {
            if step == steps {
                self.heal();
            }
            let over = step >= steps;
            if !over
                && self.chance(250)
                && let Some(client) = self.any_client()
                && self.servers[&self.clients[&client].server].alive
            {
                self.speak(client, None)?;
            }
            if self.up().is_empty() {
                let down: Vec<_> = self.servers.iter().filter(|(_, s)| s.alive).map(|(&o, _)| o).collect();
                let back = self.pick(&down);
                self.comes_back(back);
                continue;
            }
            self.something(over, servers_max)?;
            let homeless = |c: &HostClient| !self.servers[&c.server].alive;
            let homeless: Vec<_> =
                self.clients.iter().filter(|(_, c)| homeless(c)).map(|(&name, _)| name).collect();
            for client in homeless {
                self.roam(client)?;
            }
            // Nothing is left to be done.
            if over && self.net.is_empty() && step % 64 == 0 && self.is_quiet() {
                break;
            }
        }
        self.settle()?;
        Ok(self.counts)
    }

    fn heal(&mut self) {
        self.side.values_mut().for_each(|side| *side = 0);
        let down: Vec<_> = self.servers.iter().filter(|(_, s)| s.alive && !s.up).map(|(&o, _)| o).collect();
        for server in down {
            self.comes_back(server);
        }
    }

    /// One step. `over`: nothing new happens, and what is on its way arrives.
    fn something(&mut self, over: bool, servers_max: usize) -> Result<(), String> {
        let up = self.up();
        let one = self.pick(&up);
        let client = self.any_client();
        match self.below(1_000) {
            0..350 if !self.net.is_empty() => {
                let which = self.below(self.net.len());
                let (to, parcel) = self.net.swap_remove(which);
                self.arrives(to, parcel)?;
            }
            0..500 => self.store(one)?,
            500..600 => {
                if let Some(client) = client {
                    self.read(client)?;
                }
            }
            600..680 => {
                if let Some(client) = client {
                    self.send(client)?;
                }
            }
            680..730 => self.write_to_stream(one),
            730..780 => self.read_from_stream(one)?,
            780..820 => self.repair(one)?,
            820..840 => self.flush_step()?,
            _ if over => {}
            840..846 if !self.stream.is_empty() => {
                let kept = self.below(self.stream.len());
                self.stream.truncate(kept);
                self.counts.stream_losses += 1;
            }
            846..860 if self.servers.len() < servers_max => self.join_server()?,
            860..875 if self.clients.len() < 7 => self.join_client()?,
            875..882 => {
                if let Some(client) = client {
                    self.roam(client)?;
                }
            }
            882..887 => {
                if let Some(client) = client {
                    self.leave(client)?;
                }
            }
            887..897 if self.servers.len() > 1 => {
                for origin in self.servers.keys().copied().collect::<Vec<_>>() {
                    let side = self.pick(&[0, 0, 1]);
                    self.side.insert(origin, side);
                }
                self.counts.partitions += 1;
            }
            897..912 => self.side.values_mut().for_each(|side| *side = 0),
            912..922 if up.len() > 1 => self.crash(one)?,
            922..932 => {
                let down: Vec<_> =
                    self.servers.iter().filter(|(_, s)| s.alive && !s.up).map(|(&o, _)| o).collect();
                if !down.is_empty() {
                    let back = self.pick(&down);
                    self.comes_back(back);
                }
            }
            932..936 => self.destroy(one)?,
            _ => {}
        }
        Ok(())
    }

    /// A server's own records that the stream has not acknowledged are written to it, where the majority is.
    fn write_to_stream(&mut self, origin: u32) {
        let kept = self.chance(900);
        let forgets = self.chance(50);
        let with_majority = self.with_majority(origin);
        let server = self.servers.get_mut(&origin).expect("it is up");
        let own =
            server.log.iter().filter(|m| m.id().member.origin == origin).nth(server.acknowledged).cloned();
        if let Some(message) = own.filter(|_| with_majority) {
            if kept {
                self.stream.push(message);
            }
            server.acknowledged += 1;
            if forgets {
                server.acknowledged = server.acknowledged.saturating_sub(3);
            }
        }
    }

    fn read_from_stream(&mut self, origin: u32) -> Result<(), String> {
        let with_majority = self.with_majority(origin);
        let server = self.servers.get_mut(&origin).expect("it is up");
        server.read = server.read.min(self.stream.len());
        if let Some(message) = self.stream.get(server.read).filter(|_| with_majority).cloned() {
            server.read += 1;
            self.take(origin, message, None)?;
        }
        Ok(())
    }

    /// One server asks another for what its cut lacks, and perhaps not all of the answer arrives.
    fn repair(&mut self, one: u32) -> Result<(), String> {
        let up = self.up();
        let other = self.pick(&up);
        if other == one || !self.linked(one, other) {
            return Ok(());
        }
        let all = self.chance(600);
        for message in self.since(other, &self.servers[&one].group.cut()) {
            if all || self.chance(500) {
                self.take(one, message, None)?;
            }
        }
        Ok(())
    }
}
