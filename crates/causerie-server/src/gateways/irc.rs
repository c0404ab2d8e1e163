//! Sessions of IRC clients: a connection in as many rooms as it likes. The decisions are in
//! [`causerie_gateway::irc::IrcSession`]; here are its socket, its cursors in the rooms' logs, and what it
//! can ask for.

mod history;
mod host;
mod people;
#[cfg(test)]
mod races;
mod rendering;
mod world;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use causerie_gateway::irc::{IrcItem, IrcLines, IrcSession, IrcWorld, ServerView, SessionNeed};
use futures_util::future::select_all;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::certificates::ENCRYPTED_FOR;
use crate::gateways::membership::acknowledge;
use crate::gateways::refusal::Refusal;
use crate::journal::writer::StoreNews;
use crate::metrics::Refused;
use crate::net::addresses::Visitor;
use crate::net::budget::{Bucket, Rate};
use crate::net::memory::Charge;
use crate::net::outbox::{self, write_all};
use crate::net::stream::Stream;
use crate::rooms::error::Unreadable;
use crate::server::Server;
use crate::settings::Protocol;
pub(crate) use people::People;
use people::PersonNews;
use rendering::KnownRecords;
use world::{GatewayWorld, JoinedRoom, server_view};

/// Bytes that one read takes at most.
const READ_MAX: usize = 16 << 10;
/// Lines handled before what they have brought is written, and bytes of that.
const LINES_AT_ONCE: usize = 64;
const OUTPUT_AT_ONCE: usize = 32 << 10;
/// Time that a client has to come again by TLS before it is told that it must.
const STS: Duration = Duration::from_secs(2);
/// Seconds' worth of lines that may come at once.
const BURST_SECONDS: u32 = 5;
/// Returns the last line for a connection that is not served. Clients that ask for it are told first to come by TLS, where what
/// they find there is a certificate that they trust [IRCv3, sts].
pub(crate) async fn refusal(
    server: &Server,
    stream: &Stream,
    first: &[u8],
    why: Refusal,
) -> io::Result<Vec<u8>> {
    let mut begun = [0; 64];
    let begun = match first {
        [] => {
            let length = stream.peek(&mut begun).await?;
            &begun[..length]
        }
        first => first,
    };
    if server.has_trusted_certificate()
        && begun.get(..6).is_some_and(|word| word.eq_ignore_ascii_case(b"CAP LS"))
    {
        let name = server.settings().irc.server_name.clone();
        let port = stream.local_addr()?.port();
        let line = format!(":{name} CAP * LS :sts=port={port}\r\n");
        write_all(stream, vec![line.into()], None).await?;
        // Who understands that ends here, and comes again.
        let ended = async {
            let mut rest = BytesMut::new();
            while outbox::read(stream, &mut rest, READ_MAX, READ_MAX).await? > 0 {
                rest.clear();
            }
            io::Result::Ok(())
        };
        tokio::time::timeout(STS, ended).await.unwrap_or(Ok(()))?;
    }
    Ok(format!("ERROR :{why}\r\n").into_bytes())
}

/// Returns the SHA-256 of a certificate, as IRC clients write it.
fn fingerprint(certificate: &[u8]) -> String {
    Sha256::digest(certificate).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Serves an IRC client until its connection ends.
pub(crate) async fn serve(
    server: &Arc<Server>,
    people: &People,
    stream: Arc<Stream>,
    peer: SocketAddr,
    visitor: &Visitor,
    first: BytesMut,
) -> io::Result<()> {
    if !server.settings().irc.enabled {
        write_all(&stream, vec![Bytes::from_static(b"ERROR :IRC is turned off on this server\r\n")], None)
            .await?;
        outbox::close(&stream).await;
        return Ok(());
    }
    let here = GatewayWorld::new(server, people, visitor, peer.ip());
    {
        let mut person = here.person.state();
        person.view.encrypted = stream.is_encrypted();
        person.view.certificate = stream.client_certificate().map(|certificate| fingerprint(&certificate));
    }
    // Who has asked for a name that it trusts is told to come by TLS from now on.
    let is_trusted = stream.asked_name().is_some() && server.has_trusted_certificate();
    let encrypted_for = is_trusted.then_some(ENCRYPTED_FOR);
    let session = IrcSession::new(ServerView { encrypted_for, ..server_view(server, &here.person) });
    let (lines, budget, news) = (IrcLines::default(), Bucket::default(), server.writer.news());
    let charge = server.memory.open(peer.ip());
    let mut connection = IrcConnection { session, here, stream, lines, budget, news, charge: &charge };
    let ended = tokio::select! {
        ended = connection.converse(first) => Some(ended),
        () = charge.cut() => None,
    };
    let IrcConnection { here, stream, .. } = connection;
    drop(here);
    outbox::end(&stream, ended).await
}

struct IrcConnection<'a> {
    session: IrcSession,
    here: GatewayWorld<'a>,
    stream: Arc<Stream>,
    lines: IrcLines,
    /// Budget for lines to be handled.
    budget: Bucket,
    /// News of whether anything can be stored.
    news: StoreNews,
    charge: &'a Charge,
}

impl IrcConnection<'_> {
    /// Serves until either side ends it.
    async fn converse(&mut self, mut buffer: BytesMut) -> io::Result<()> {
        let begun = Instant::now();
        let server = self.here.server;
        // A line, and what it still has to take out of the budgets.
        let mut next: Option<(IrcItem, Due)> = None;
        let mut ask_at = begun + server.settings().irc.ping;
        loop {
            let mut wait = None;
            self.write().await?;
            if self.session.has_ended() {
                return Ok(());
            }
            for place in self.here.places.values() {
                for &member in &place.members {
                    acknowledge(server, &place.hosted, member, place.cursor);
                }
            }
            if self.tell_rooms().await {
                continue;
            }
            self.lines.push(&std::mem::take(&mut buffer));
            let mut handled = 0;
            while handled < LINES_AT_ONCE
                && self.session.output_bytes() < OUTPUT_AT_ONCE
                && !self.session.has_ended()
                && let Some((item, mut due)) = next.take().or_else(|| self.next_item())
            {
                wait = self.must_wait(&mut due);
                if wait.is_some() {
                    next = Some((item, due));
                    break;
                }
                self.handle(item).await?;
                handled += 1;
            }
            if handled > 0 {
                continue;
            }
            if server.stop.is_cancelled() {
                self.session.end("The server is shutting down");
                continue;
            }
            let registered_by = begun + server.settings().irc.registration;
            if !self.session.is_registered() && Instant::now() >= registered_by {
                self.session.end("Registration timed out");
                continue;
            }
            tokio::select! {
                read = outbox::read(&self.stream, &mut buffer, READ_MAX, READ_MAX), if wait.is_none() => {
                    if read? == 0 {
                        return Ok(());
                    }
                    ask_at = Instant::now() + server.settings().irc.ping;
                }
                () = tokio::time::sleep_until(ask_at), if self.session.is_registered() => {
                    self.session.ping();
                    ask_at = Instant::now() + server.settings().irc.ping;
                }
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
                () = any_changed(&mut self.here.places) => {}
                () = self.here.person.stirred.notified() => self.tell_news(),
                notice = self.news.next() => self.session.notice(&notice.to_string()),
                () = server.stop.cancelled() => {}
                () = tokio::time::sleep_until(registered_by), if !self.session.is_registered() => {}
            }
        }
    }

    fn next_item(&mut self) -> Option<(IrcItem, Due)> {
        let item = self.lines.poll_item()?;
        let refused = match item {
            IrcItem::Message(_) => None,
            IrcItem::TooLong => Some(Refused::TooLong),
            IrcItem::NotUtf8 | IrcItem::Malformed => Some(Refused::Malformed),
        };
        if let Some(reason) = refused {
            self.here.server.metrics.refused(Protocol::Irc, reason);
        }
        let due = Due { line: true, messages: messages_of(&item) };
        Some((item, due))
    }

    /// Returns for how long a client that sends too fast has to wait. If it does not, all is paid.
    fn must_wait(&mut self, due: &mut Due) -> Option<Duration> {
        if due.line {
            let rate = self.here.server.settings().irc.lines_per_second;
            let rate = Rate::new(rate, Duration::from_secs(1), rate.saturating_mul(BURST_SECONDS));
            if let Some(wait) = rate.and_then(|rate| self.budget.take(Instant::now(), rate, 1).err()) {
                return Some(wait);
            }
            due.line = false;
        }
        while due.messages > 0 {
            match self.here.visitor.speak(due.messages) {
                Ok(taken) => due.messages = due.messages.saturating_sub(taken),
                Err(wait) => return Some(wait),
            }
        }
        None
    }

    async fn handle(&mut self, item: IrcItem) -> io::Result<()> {
        let server = self.here.server;
        self.until(server.writer.has_room()).await?;
        if let IrcItem::Message(message) = &item
            && matches!(&message.command[..], "PRIVMSG" | "NOTICE" | "TAGMSG")
        {
            let now = self.here.now();
            self.here.person.state().view.spoke = now;
        }
        self.session.handle(&mut self.here, item);
        loop {
            // Nothing is told before it is stored.
            let debts = std::mem::take(&mut self.here.debts);
            self.until(debts.stored()).await?;
            while let Some(need) = self.session.poll_need() {
                match need {
                    SessionNeed::History(request) => {
                        let _turn = self.here.visitor.turn().await;
                        let found = self.here.history(&request).await;
                        self.session.history(&self.here, &request, found.as_deref());
                    }
                    SessionNeed::Targets(request) => {
                        let _turn = self.here.visitor.turn().await;
                        let found = self.here.targets(&request).await;
                        self.session.targets(&found);
                    }
                }
            }
            // A long answer waits until its beginning is written, and the lines behind it for its end.
            if self.session.output_bytes() >= OUTPUT_AT_ONCE {
                self.write().await?;
            }
            if !self.session.has_more() {
                break;
            }
            let _turn = self.here.visitor.turn().await;
            self.session.go_on(&mut self.here);
        }
        self.session.finish();
        let seats: BTreeMap<_, _> = self.session.seats().collect();
        self.here.places.retain(|id, _| seats.contains_key(id));
        self.here.person.state().wants_news = self.session.wants_news();
        Ok(())
    }

    /// Waits, and tells the client meanwhile why it has to.
    async fn until(&mut self, done: impl Future<Output = ()>) -> io::Result<()> {
        let mut done = std::pin::pin!(done);
        loop {
            tokio::select! {
                biased;
                () = &mut done => return Ok(()),
                notice = self.news.next() => {
                    self.session.notice(&notice.to_string());
                    self.write().await?;
                }
            }
        }
    }

    /// Writes what the session has to say.
    async fn write(&mut self) -> io::Result<()> {
        let output = self.session.take_output();
        self.here.visitor.made(output.iter().map(Bytes::len).sum());
        write_all(&self.stream, output, Some(self.charge)).await
    }

    /// Tells what lies behind the cursors. Whether that was anything.
    async fn tell_rooms(&mut self) -> bool {
        let mut told = false;
        let ids: Vec<_> = self.here.places.keys().copied().collect();
        for id in ids {
            if self.session.output_bytes() >= OUTPUT_AT_ONCE {
                return true;
            }
            let place = self.here.places.get_mut(&id).expect("it is not removed here before");
            place.changed.mark_unchanged();
            let hosted = Arc::clone(&place.hosted);
            let closed = hosted.closed.is_cancelled();
            let before = place.cursor;
            let piece = match place.follower.read(before).await {
                Ok(piece) => piece,
                Err(gap @ Unreadable::Gap { end, .. }) => {
                    self.session.gap(id, &gap.to_string());
                    place.cursor = end;
                    told = true;
                    None
                }
                Err(failed @ Unreadable::Failed(_)) => {
                    self.session.end(&failed.to_string());
                    return true;
                }
            };
            let Some(piece) = piece else {
                if closed {
                    self.session.closed(id);
                    self.here.leave(id);
                    told = true;
                }
                continue;
            };
            place.cursor = piece.last;
            told = true;
            let known = KnownRecords::of(&piece, &hosted).await;
            let (found, rendering) = known.read(&piece, before, self.session.perspective(id));
            self.session.records(&mut self.here, id, found, rendering.as_deref());
        }
        // Of a room that it was made to leave.
        let seats: BTreeMap<_, _> = self.session.seats().collect();
        let gone: Vec<_> = self.here.places.keys().filter(|id| !seats.contains_key(id)).copied().collect();
        gone.into_iter().for_each(|id| self.here.leave(id));
        told
    }

    fn tell_news(&mut self) {
        for conversation in self.here.person.take_addressed() {
            let member = self.here.enter(&conversation);
            self.session.addressed(conversation.hosted.id.0, member);
        }
        for (source, channel) in self.here.person.take_invitations() {
            self.session.invited(&source, &channel);
        }
        let (news, lost) = self.here.person.take_news();
        if lost > 0 {
            let words =
                format!("{lost} changes of who is away and of real names were not told, as too many waited");
            self.session.notice(&words);
        }
        for (source, PersonNews { away, realname }) in news {
            if let Some(away) = away {
                self.session.away_changed(&source, away.as_deref());
            }
            if let Some(realname) = realname {
                self.session.realname_changed(&source, &realname);
            }
        }
    }
}

/// Rest that a line has still to take out of the budgets before it is handled.
struct Due {
    line: bool,
    messages: usize,
}

/// Returns how many messages a line becomes, at most.
fn messages_of(item: &IrcItem) -> usize {
    let IrcItem::Message(message) = item else { return 0 };
    match &message.command[..] {
        // Of a text of many lines, its end counts.
        "PRIVMSG" | "NOTICE" if message.tag("batch").is_some() => 0,
        "PRIVMSG" | "NOTICE" | "TAGMSG" => message.param(0).map_or(0, |targets| targets.split(',').count()),
        "TOPIC" | "REDACT" | "BATCH" => 1,
        _ => 0,
    }
}

/// Waits until there is something new in one of the rooms.
async fn any_changed(places: &mut BTreeMap<u64, JoinedRoom>) {
    if places.is_empty() {
        return std::future::pending().await;
    }
    // It fails only without the room, which is held here.
    drop(select_all(places.values_mut().map(|place| Box::pin(place.changed.changed()))).await);
}
