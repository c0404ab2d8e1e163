//! Servers: a group, a log, and what they store before anybody sees it.

use std::collections::BTreeSet;

use cbcast::{Config, Cut, Group, Link, MemberId, MembershipError, Message, Output, Snapshot, Time};

use super::judge::JudgedProcess;
use super::parts::HostServer;
use super::plan::Weakening;
use super::world::{HostsWorld, Parcel};

pub(super) const NOW: Time = Time::ZERO;

impl HostsWorld {
    pub(super) fn config(&self) -> Config {
        let mut config = Config::relay();
        config.early_max = self.early_max;
        config
    }

    pub(super) fn first_server(&mut self) {
        let group = Group::new(self.config(), &Snapshot::hosts([1]), [MemberId::host(1)]).expect("it can be");
        self.servers.insert(1, HostServer::new(group, Vec::new()));
        self.side.insert(1, 0);
        self.judge.begins(JudgedProcess::Server(1));
    }

    pub(super) fn server(&mut self, origin: u32) -> &mut HostServer {
        self.servers.get_mut(&origin).expect("it is in the directory")
    }

    /// Drains a group: what it says is to be stored, and what is new of its own is told to the judge.
    pub(super) fn drain(&mut self, origin: u32) -> Result<(), String> {
        let mut own = None;
        loop {
            match self.server(origin).group.poll_output() {
                Some(output) if output.sent().is_some() => own = output.sent().map(Message::id),
                Some(Output::Deliver { message, .. }) => {
                    if own.take() == Some(message.id()) {
                        let server = &self.servers[&origin];
                        let mut past: BTreeSet<_> = self.judge.seen[&JudgedProcess::Server(origin)].clone();
                        past.extend(server.pending.iter().map(Message::id));
                        self.judge.make(&message, past, None)?;
                        if self.weakened(Weakening::PublishFirst) {
                            self.publish(origin, &message);
                        }
                    }
                    self.server(origin).pending.push(message);
                }
                Some(Output::Held { .. }) => self.counts.held += 1,
                Some(Output::Gap(gap)) => return Err(format!("server {origin} skips {gap:?}")),
                Some(_) => {}
                None => return Ok(()),
            }
        }
    }

    fn publish(&mut self, origin: u32, message: &Message) {
        self.judge.published.insert(message.id());
        for other in self.servers.keys().copied().collect::<Vec<_>>() {
            if other != origin && self.linked(other, origin) && self.chance(700) {
                self.net.push((other, Parcel::Message(message.clone())));
                if self.chance(100) {
                    self.net.push((other, Parcel::Message(message.clone())));
                }
            }
        }
    }

    /// One commit: behind it clients and other servers may see what it has stored.
    pub(super) fn store(&mut self, origin: u32) -> Result<(), String> {
        let server = self.server(origin);
        let fresh = core::mem::take(&mut server.pending);
        server.log.extend(fresh.iter().cloned());
        server.durable = server.group.export().map_err(|e| e.to_string())?;
        for message in fresh {
            self.judge.deliver(JudgedProcess::Server(origin), &message, true)?;
            self.judge.published.insert(message.id());
            if message.id().member.origin == origin {
                self.publish(origin, &message);
            }
        }
        Ok(())
    }

    /// A message arrives: of the client of `speaker`, or of anybody by another server.
    pub(super) fn take(
        &mut self,
        origin: u32,
        message: Message,
        speaker: Option<MemberId>,
    ) -> Result<(), String> {
        let id = message.id();
        let link = speaker.map_or(Link::Relay, Link::Member);
        match self.server(origin).group.handle_message(NOW, link, message) {
            Ok(()) => {}
            Err(error) if !error.is_final() => self.counts.refused_for_now += 1,
            // Nobody takes what is of the expelled any more.
            Err(_) if self.servers[&origin].group.cut().has_parted_with(id.member) => {}
            Err(error) => return Err(format!("server {origin} refuses {id}: {error}")),
        }
        self.drain(origin)
    }

    pub(super) fn arrives(&mut self, to: u32, parcel: Parcel) -> Result<(), String> {
        let server = &self.servers[&to];
        match parcel {
            Parcel::Message(message) if server.is_up() => self.take(to, message, None),
            Parcel::Gone(member) if server.is_up() => self.part(to, member),
            Parcel::Gone(_) if server.alive => {
                self.net.push((to, parcel));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn part(&mut self, origin: u32, member: MemberId) -> Result<(), String> {
        let group = &mut self.server(origin).group;
        if group.is_member(member) && member.origin == origin {
            group.part(NOW, MemberId::host(origin), member, b"").map_err(|e| e.to_string())?;
            self.counts.left += 1;
            self.drain(origin)?;
        }
        Ok(())
    }

    /// Returns what a server's log has and a cut lacks, in the log's order; it begins where the cut says.
    pub(super) fn since(&self, origin: u32, cut: &Cut) -> Vec<Message> {
        let log = &self.servers[&origin].log;
        log.iter().filter(|m| !cut.has(m.id())).cloned().collect()
    }

    pub(super) fn join_server(&mut self) -> Result<(), String> {
        let origin = self.servers.keys().max().expect("there is one") + 1;
        let up = self.up();
        let (first, second) = (self.pick(&up), self.pick(&up));
        let mut answers = Vec::new();
        for sponsor in if self.chance(333) && first != second { vec![first, second] } else { vec![first] } {
            let group = &mut self.server(sponsor).group;
            match group.sponsor(NOW, MemberId::host(sponsor), origin, origin, b"") {
                Ok(_) => self.drain(sponsor)?,
                // By the other sponsor's word.
                Err(MembershipError::OriginTaken { .. }) => continue,
                Err(error) => return Err(error.to_string()),
            }
            if !self.weakened(Weakening::SnapshotEarly) {
                self.store(sponsor)?;
            }
            let group = &self.servers[&sponsor].group;
            let frozen: Vec<_> = group.frozen_origins().collect();
            let newcomer = Group::new(self.config(), &group.snapshot(), [MemberId::host(origin)]);
            let mut newcomer = newcomer.map_err(|e| e.to_string())?;
            newcomer.freeze(NOW, frozen).map_err(|e| e.to_string())?;
            answers.push((sponsor, HostServer::new(newcomer, self.servers[&sponsor].log.clone())));
        }
        // The other answer is not used.
        self.counts.two_sponsors += u64::from(answers.len() > 1);
        let which = self.below(answers.len());
        let (sponsor, server) = answers.swap_remove(which);
        self.servers.insert(origin, server);
        self.side.insert(origin, self.side[&sponsor]);
        self.judge.starts_from(JudgedProcess::Server(origin), JudgedProcess::Server(sponsor));
        self.counts.late_hosts += 1;
        Ok(())
    }

    pub(super) fn crash(&mut self, origin: u32) -> Result<(), String> {
        let config = self.config();
        let server = self.server(origin);
        server.group = Group::import(config, &server.durable).map_err(|e| e.to_string())?;
        server.pending.clear();
        (server.up, server.acknowledged, server.read) = (false, 0, 0);
        self.counts.crashes += 1;
        Ok(())
    }

    pub(super) fn comes_back(&mut self, origin: u32) {
        self.server(origin).up = true;
        // What has not come back is sent again.
        for client in self.clients.values_mut().filter(|c| c.server == origin) {
            client.sent = 0;
        }
    }

    /// A server is destroyed, with its disk.
    pub(super) fn destroy(&mut self, origin: u32) -> Result<(), String> {
        let alive = self.servers.values().filter(|s| s.alive).count();
        if alive > 2 && self.flush.as_ref().is_none_or(|flush| flush.coordinator != origin) {
            self.crash(origin)?;
            self.server(origin).alive = false;
            self.counts.destroyed += 1;
        }
        Ok(())
    }
}
