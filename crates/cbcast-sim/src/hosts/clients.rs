//! Clients: they stamp their own messages, read the log of a server, and go elsewhere when that is gone.

use cbcast::{Group, Link, MemberId, Message, MessageId, Output};

use super::judge::JudgedProcess;
use super::parts::HostClient;
use super::plan::Weakening;
use super::servers::NOW;
use super::world::{HostsWorld, Parcel};

impl HostsWorld {
    fn client(&mut self, name: u32) -> &mut HostClient {
        self.clients.get_mut(&name).expect("it is in")
    }

    fn admit(&mut self, origin: u32) -> Result<MemberId, String> {
        let group = &mut self.server(origin).group;
        let member = group.admit(NOW, MemberId::host(origin), false, b"").map_err(|e| e.to_string())?;
        self.drain(origin)?;
        // A welcome waits for that.
        self.store(origin)?;
        Ok(member)
    }

    pub(super) fn join_client(&mut self) -> Result<(), String> {
        let up = self.up();
        let server = self.pick(&up);
        let member = self.admit(server)?;
        let at = &self.servers[&server];
        let group = Group::new(self.config(), &at.group.snapshot(), [member]).map_err(|e| e.to_string())?;
        let (cursor, unplaced, before) = (at.log.len(), Vec::new(), Vec::new());
        let client = HostClient { server, member, group, cursor, unplaced, sent: 0, placed: 0, before };
        self.clients.insert(self.next_client, client);
        self.judge.starts_from(JudgedProcess::Client(self.next_client), JudgedProcess::Server(server));
        self.next_client += 1;
        Ok(())
    }

    /// It says something, or something again.
    pub(super) fn speak(&mut self, name: u32, again: Option<MessageId>) -> Result<(), String> {
        let client = self.client(name);
        let text = again.map(|id| id.to_string()).unwrap_or_default();
        let id = client.group.broadcast(NOW, client.member, text.as_bytes()).map_err(|e| e.to_string())?;
        while let Some(output) = client.group.poll_output() {
            client.unplaced.extend(output.sent().cloned());
        }
        let message = client.unplaced.last().expect("it was sent").clone();
        let who = JudgedProcess::Client(name);
        let past = self.judge.seen[&who].clone();
        let content = again.unwrap_or(id);
        self.judge.make(&message, past, Some(content))?;
        self.judge.seen.get_mut(&who).expect("it has begun").insert(id);
        self.judge.shown.get_mut(&who).expect("it has begun").insert(content);
        self.counts.messages += 1;
        Ok(())
    }

    pub(super) fn send(&mut self, name: u32) -> Result<(), String> {
        let client = &self.clients[&name];
        let (server, member) = (client.server, client.member);
        let here = self.servers[&server].is_up() && self.servers[&server].group.is_member(member);
        if let Some(message) = client.unplaced.get(client.sent).filter(|_| here).cloned() {
            self.client(name).sent += 1;
            self.take(server, message, Some(member))?;
        }
        Ok(())
    }

    pub(super) fn read(&mut self, name: u32) -> Result<(), String> {
        let client = self.clients.get_mut(&name).expect("it is in");
        let server = &self.servers[&client.server];
        let Some(message) = server.log.get(client.cursor).filter(|_| server.is_up()).cloned() else {
            return Ok(());
        };
        client.cursor += 1;
        let id = message.id();
        if id.member == client.member {
            if client.unplaced.first().is_some_and(|m| m.id() == id) {
                client.unplaced.remove(0);
                client.sent = client.sent.saturating_sub(1);
                client.placed = id.seq;
            }
            return Ok(());
        }
        if client.group.has_delivered(id) {
            return Ok(());
        }
        let taken = client.group.handle_message(NOW, Link::Relay, message.clone());
        taken.map_err(|e| format!("client {name} refuses {id}: {e}"))?;
        let delivered = core::iter::from_fn(|| client.group.poll_output());
        if !delivered.into_iter().any(|o| matches!(o, Output::Deliver { message, .. } if message.id() == id))
        {
            return Err(format!("client {name} has to hold {id} of the log of server {}", client.server));
        }
        if let Some(at) = client.before.iter().position(|m| m.id() == id) {
            // The old server had taken it after all.
            client.before.remove(at);
            return Ok(());
        }
        let once = self.weakening != Some(Weakening::NoAgain);
        self.judge.deliver(JudgedProcess::Client(name), &message, once)
    }

    /// It goes elsewhere, with all that it has delivered.
    pub(super) fn roam(&mut self, name: u32) -> Result<(), String> {
        let old = self.clients[&name].server;
        let others: Vec<_> = self.up().into_iter().filter(|&origin| origin != old).collect();
        if others.is_empty() {
            return Ok(());
        }
        self.counts.roams += 1;
        let to = self.pick(&others);
        let member = self.admit(to)?;
        // What the server had when it said *Joined*.
        let cut = self.servers[&to].group.cut();
        if self.servers[&old].alive {
            let gone = Parcel::Gone(self.clients[&name].member);
            self.net.push((old, gone));
        }
        let config = self.config();
        let (forgets, at_end) =
            (self.weakened(Weakening::RoamForgets), self.weakened(Weakening::CursorAtEnd));
        let (log, snapshot) = (&self.servers[&to].log, self.servers[&to].group.snapshot());
        let client = self.clients.get_mut(&name).expect("it is in");
        client.before = core::mem::take(&mut client.unplaced);
        client.group.resign(client.member, client.placed);
        let before: Vec<_> = client.before.iter().map(Message::id).collect();
        let placed = client.group.cut();
        let brute = log.iter().position(|m| !placed.has(m.id()));
        let begin = placed.first_lacking().filter_map(|id| log.iter().position(|m| m.id() == id)).min();
        if brute != begin {
            return Err(format!(
                "the first record that is lacking is {brute:?}, by members' counts {begin:?}"
            ));
        }
        (client.server, client.member, client.sent, client.placed) = (to, member, 0, 0);
        client.cursor = if at_end { log.len() } else { begin.unwrap_or(log.len()) };
        if forgets {
            client.group = Group::new(config, &snapshot, []).map_err(|e| e.to_string())?;
            client.cursor = log.len();
        }
        let end = log.len();
        while self.clients[&name].cursor < end {
            self.read(name)?;
        }
        let client = self.client(name);
        if !client.group.adopt(member) {
            return Err(format!("client {name} does not know that it is {member}"));
        }
        client.group.list_beyond(&cut, None, usize::MAX);
        let again = core::mem::take(&mut client.before);
        let seen = self.judge.seen.get_mut(&JudgedProcess::Client(name)).expect("it has begun");
        for message in &again {
            seen.remove(&message.id());
        }
        debug_assert!(again.iter().all(|m| before.contains(&m.id())));
        for message in again {
            self.counts.said_again += 1;
            let content = self.judge.made[&message.id()].content;
            self.speak(name, content)?;
        }
        Ok(())
    }

    pub(super) fn leave(&mut self, name: u32) -> Result<(), String> {
        let client = &self.clients[&name];
        let (server, member) = (client.server, client.member);
        let may = client.unplaced.is_empty() && self.clients.len() > 1 && self.servers[&server].is_up();
        if may && self.servers[&server].group.is_member(member) {
            self.part(server, member)?;
            self.clients.remove(&name);
        }
        Ok(())
    }
}
