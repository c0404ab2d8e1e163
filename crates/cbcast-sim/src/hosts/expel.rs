//! Destroyed servers are expelled, all of them together.

use cbcast::{ExpelError, Expulsion, MemberId};

use super::judge::JudgedProcess;
use super::parts::FlushRound;
use super::plan::Weakening;
use super::servers::NOW;
use super::world::HostsWorld;

impl HostsWorld {
    /// Returns who in the directory is to be asked, and who is dead, as a coordinator sees it.
    fn directory(&self, coordinator: u32) -> (Vec<u32>, Vec<u32>) {
        let group = &self.servers[&coordinator].group;
        let cut = group.cut();
        let here = |origin: &u32| match self.weakened(Weakening::AskKnownHosts) {
            true => group.is_member(MemberId::host(*origin)),
            false => !cut.has_parted_with(MemberId::host(*origin)),
        };
        self.servers.keys().copied().filter(here).partition(|origin| self.servers[origin].alive)
    }

    pub(super) fn flush_step(&mut self) -> Result<(), String> {
        let Some(mut flush) = self.flush.take() else {
            let up = self.up();
            let coordinator = self.pick(&up);
            let (asked, dead) = self.directory(coordinator);
            if !dead.is_empty() {
                let mut expulsion = Expulsion::new(dead.iter().copied());
                expulsion.ask(asked);
                self.flush = Some(FlushRound { coordinator, dead, expulsion });
            }
            return Ok(());
        };
        let coordinator = flush.coordinator;
        let (asked, dead) = self.directory(coordinator);
        if dead.iter().any(|origin| !flush.dead.contains(origin)) {
            // Begun again by somebody, with that one among the dead.
            self.counts.expulsions_given_up += 1;
            return Ok(());
        }
        // Who has come into the directory since is asked, too.
        flush.expulsion.ask(asked);
        if !self.servers[&coordinator].up {
            self.flush = Some(flush);
            return Ok(());
        }
        let unanswered: Vec<_> = flush.expulsion.unanswered().collect();
        if !unanswered.is_empty() {
            let one = self.pick(&unanswered);
            if self.servers[&one].is_up() && self.linked(one, coordinator) {
                let dead = flush.dead.clone();
                match self.server(one).group.freeze(NOW, dead) {
                    Ok(counts) => {
                        self.drain(one)?;
                        // It is stored before it is told.
                        self.store(one)?;
                        flush.expulsion.answer(one, &counts);
                    }
                    Err(ExpelError::Expelled { .. }) => {
                        // Another coordinator has been through: its word will come.
                        self.counts.expulsions_given_up += 1;
                        return Ok(());
                    }
                    Err(error) => return Err(error.to_string()),
                }
            }
            self.flush = Some(flush);
            return Ok(());
        }
        self.lose(&flush);
        let (host, home) = (MemberId::host(coordinator), coordinator);
        let said = self.server(coordinator).group.expel(NOW, host, &flush.expulsion, home, b"");
        self.drain(coordinator)?;
        match said {
            Ok(_) => {
                self.counts.expulsions += 1;
                self.counts.expelled_together += u64::from(flush.dead.len() > 1);
                return self.store(coordinator);
            }
            Err(ExpelError::Lacking { .. }) => {
                for other in self.up() {
                    if self.linked(other, coordinator) {
                        for message in self.since(other, &self.servers[&coordinator].group.cut()) {
                            self.take(coordinator, message, None)?;
                        }
                    }
                }
                self.store(coordinator)?;
                self.flush = Some(flush);
            }
            Err(ExpelError::Expelled { .. }) => self.counts.expulsions_given_up += 1,
            Err(error) => return Err(error.to_string()),
        }
        Ok(())
    }

    /// Counts what nobody has any more: it was only there, so that is the loss of a disk, not of the order.
    fn lose(&mut self, flush: &FlushRound) {
        let kept = |id| {
            self.servers.iter().filter(|(_, s)| s.alive).any(|(&origin, s)| {
                self.judge.seen[&JudgedProcess::Server(origin)].contains(id)
                    || s.pending.iter().any(|m| m.id() == *id)
            })
        };
        let dead = |origin: u32| flush.dead.contains(&origin);
        let lost = self.judge.made.keys().filter(|id| dead(id.member.origin) && !kept(id));
        let lost: Vec<_> = lost.copied().filter(|id| !self.judge.lost.contains(id)).collect();
        self.counts.lost_with_a_disk += lost.len() as u64;
        self.judge.lost.extend(lost);
    }
}
