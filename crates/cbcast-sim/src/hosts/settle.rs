//! The end: everybody that is left has everything, holds nothing, and remembers nobody who has gone.

use std::collections::BTreeSet;

use cbcast::{Kind, MemberId};

use super::judge::JudgedProcess;
use super::world::HostsWorld;

impl HostsWorld {
    /// Nothing is on its way, and nobody is about to be expelled.
    pub(super) fn is_quiet(&self) -> bool {
        self.flush.is_none() && self.clients.values().all(|c| c.unplaced.is_empty())
    }

    pub(super) fn settle(&mut self) -> Result<(), String> {
        for _ in 0..80 {
            self.flush_step()?;
            for one in self.up() {
                for other in self.up() {
                    for message in self.since(other, &self.servers[&one].group.cut()) {
                        self.take(one, message, None)?;
                    }
                }
                while let Some((to, parcel)) = self.net.pop() {
                    if self.servers[&to].is_up() {
                        self.arrives(to, parcel)?;
                    }
                }
                // Grace is over.
                let here: BTreeSet<_> = self.clients.values().map(|c| c.member).collect();
                let clock = self.servers[&one].group.clock();
                for (member, _) in clock.iter().filter(|(m, _)| m.origin == one && !m.is_host()) {
                    if !here.contains(&member) {
                        self.part(one, member)?;
                    }
                }
                self.store(one)?;
            }
            for client in self.clients.keys().copied().collect::<Vec<_>>() {
                for _ in 0..=self.clients[&client].unplaced.len() {
                    self.send(client)?;
                }
                for _ in 0..400 {
                    self.read(client)?;
                }
            }
        }
        self.judge_the_end()
    }

    fn judge_the_end(&self) -> Result<(), String> {
        let up = self.up();
        let every: BTreeSet<_> =
            up.iter().flat_map(|&o| self.judge.seen[&JudgedProcess::Server(o)].iter().copied()).collect();
        let members: BTreeSet<_> = self.clients.values().map(|c| c.member).collect();
        let first = &self.servers[&up[0]].group;
        for &origin in &up {
            let server = &self.servers[&origin];
            if let Some(lacking) = every.difference(&self.judge.seen[&JudgedProcess::Server(origin)]).next() {
                return Err(format!("server {origin} lacks {lacking}"));
            }
            if let Some(held) = server.group.held().next() {
                return Err(format!("server {origin} still holds {held:?}"));
            }
            if server.group.cut() != first.cut() {
                return Err(format!("servers {} and {origin} differ", up[0]));
            }
            let gone = |m: MemberId| match m.is_host() {
                true => !self.servers.get(&m.origin).is_some_and(|s| s.alive),
                false => !members.contains(&m),
            };
            if let Some((member, _)) = server.group.clock().iter().find(|&(m, _)| gone(m)) {
                return Err(format!("server {origin} remembers {member}"));
            }
            if server.group.frozen_origins().next().is_some() {
                return Err(format!("server {origin} still has frozen origins"));
            }
            let expelled = server.log.iter().filter(|m| matches!(m.kind(), Kind::Expelled { .. })).count();
            if (self.counts.destroyed > 0) != (expelled > 0) {
                return Err(format!(
                    "{} servers were destroyed, {expelled} expulsions said",
                    self.counts.destroyed
                ));
            }
        }
        let said: BTreeSet<_> = every.iter().filter_map(|id| self.judge.made[id].content).collect();
        for (&name, client) in &self.clients {
            let who = JudgedProcess::Client(name);
            if let Some(message) = client.unplaced.first() {
                return Err(format!("client {name}: {} never came back", message.id()));
            }
            if let Some(lacking) = every.difference(&self.judge.seen[&who]).next() {
                return Err(format!("client {name} lacks {lacking}"));
            }
            if let Some(content) = said.difference(&self.judge.shown[&who]).next() {
                return Err(format!("client {name} was never shown {content}"));
            }
        }
        Ok(())
    }
}
