//! Moves bytes and time between a session and the world; decides nothing about messages.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use causerie_core::frame::{ClientFrame, ServerFrame};
use causerie_core::link::{Disturbance, DisturbedLink};
use causerie_core::session::{Event, Output, Session};
use cbcast::Time;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::debug;

use crate::connection::Connection;
use crate::kept::{Kept, PLACE_PAUSE};
use crate::room::Shared;

/// The first pause before connecting again; each next one is twice as long.
const RETRY_MIN: Duration = Duration::from_millis(200);
/// The longest pause, where nobody says otherwise.
pub(crate) const RETRY_MAX: Duration = Duration::from_secs(10);
/// How long a connection must stand before the pauses start small again.
const STEADY: Duration = Duration::from_secs(5);
/// How long joining or resuming may take.
const GREETING_TIMEOUT: Duration = Duration::from_secs(15);
/// After so much silence the server is asked whether it is there, and has as long again to answer.
const SILENCE: Duration = Duration::from_secs(30);
/// While so much waits to be written, nothing more is taken from the disturbed link.
const UNWRITTEN_MAX: usize = 1 << 20;

/// Nanoseconds since `epoch`, as the state machines count them.
pub(crate) fn time_since(epoch: Instant) -> Time {
    Time::from_nanos(u64::try_from(epoch.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// The two directions of a link that is bad on purpose.
struct BadLink {
    up: DisturbedLink<ClientFrame>,
    down: DisturbedLink<ServerFrame>,
}

pub(crate) struct Driver {
    server: String,
    shared: Arc<Shared>,
    events: mpsc::Sender<Event>,
    /// Events that the application has not had room for. While there are any, nothing is read.
    waiting: VecDeque<Event>,
    connection: Option<Connection>,
    bad_link: Option<BadLink>,
    pause: Duration,
    pause_max: Duration,
    kept: Option<Kept>,
}

impl Driver {
    pub(crate) fn new(
        server: String,
        disturbance: Option<Disturbance>,
        shared: Arc<Shared>,
        events: mpsc::Sender<Event>,
        pause_max: Duration,
        kept: Option<Kept>,
    ) -> Self {
        let bad_link = disturbance
            .map(|d| BadLink { up: DisturbedLink::new(d.clone(), 0), down: DisturbedLink::new(d, 1) });
        Self {
            server,
            shared,
            events,
            waiting: VecDeque::new(),
            connection: None,
            bad_link,
            pause: RETRY_MIN,
            pause_max: pause_max.max(RETRY_MIN),
            kept,
        }
    }

    /// The first connection: its failure is the caller's to report.
    pub(crate) async fn connect_first(&mut self) -> io::Result<()> {
        self.connection = Some(Connection::open(&self.server).await?);
        Ok(())
    }

    /// Runs until the session is over, or nobody listens any more.
    pub(crate) async fn run(mut self) {
        loop {
            let since = Instant::now();
            let reason = match self.connect().await {
                Ok(()) => self.converse().await,
                Err(error) => error.to_string(),
            };
            if self.shared.session().is_over() || self.events.is_closed() {
                break;
            }
            if since.elapsed() > STEADY {
                self.pause = RETRY_MIN;
            }
            debug!(%reason, pause = ?self.pause, "connection lost");
            self.shared.session().disconnected(reason, self.pause);
            self.drain();
            let resume_at = Instant::now() + self.pause;
            self.pause = (self.pause * 2).min(self.pause_max);
            while Instant::now() < resume_at && !self.events.is_closed() {
                tokio::select! {
                    () = tokio::time::sleep_until(resume_at) => {}
                    () = self.shared.changed.notified() => {
                        self.drain();
                    }
                    () = Self::hand_over(&self.events, &mut self.waiting), if !self.waiting.is_empty() => {}
                    () = self.events.closed() => {}
                }
                if self.shared.session().is_over() {
                    break;
                }
            }
        }
        self.drain();
        self.close_kept();
        // What has been said is flushed, and what happened is told, before the end.
        if let Some(mut connection) = self.connection.take() {
            let _ = tokio::time::timeout(Duration::from_secs(1), connection.flush()).await;
        }
        while !self.waiting.is_empty() && !self.events.is_closed() {
            Self::hand_over(&self.events, &mut self.waiting).await;
        }
    }

    async fn connect(&mut self) -> io::Result<()> {
        if self.connection.is_none() {
            let opened = tokio::select! {
                opened = Connection::open(&self.server) => opened?,
                () = self.events.closed() => return Err(io::Error::other("nobody listens")),
            };
            self.connection = Some(opened);
        }
        self.shared.session().connected();
        if let Some(link) = &mut self.bad_link {
            link.up.clear();
        }
        Ok(())
    }

    /// Until the connection breaks or is to be closed: why.
    async fn converse(&mut self) -> String {
        let greeted_by = Instant::now() + GREETING_TIMEOUT;
        let mut asked = None;
        loop {
            self.let_through();
            if let Some(reason) = self.drain() {
                // The last frames, such as a farewell, should still go out.
                if let Some(mut connection) = self.connection.take() {
                    let _ = tokio::time::timeout(Duration::from_secs(1), connection.flush()).await;
                }
                return reason;
            }
            let unwritten = self.connection.as_ref().expect("conversing").unwritten();
            let greeting_ends = (!self.shared.session().is_live()).then_some(greeted_by);
            if greeting_ends.is_some_and(|at| at <= Instant::now()) {
                self.connection = None;
                return "the server does not answer".into();
            }
            let reading = self.waiting.is_empty();
            let connection = self.connection.as_mut().expect("conversing");
            if !reading {
                // What the server says meanwhile is not looked at.
                connection.heard = Instant::now();
            }
            let silent_since = connection.heard;
            if asked == Some(silent_since) && silent_since + 2 * SILENCE <= Instant::now() {
                self.connection = None;
                return "nothing is heard from the server any more".into();
            }
            if asked != Some(silent_since) && silent_since + SILENCE <= Instant::now() {
                connection.push(&ClientFrame::Ping(0));
                asked = Some(silent_since);
            }
            let patience = if asked == Some(silent_since) { 2 * SILENCE } else { SILENCE };
            let silence_ends = Some(silent_since + patience);
            let wake = self.wake_at(unwritten).into_iter().chain(greeting_ends).chain(silence_ends).min();
            let connection = self.connection.as_mut().expect("conversing");
            let stepped = tokio::select! {
                stepped = connection.step(reading) => stepped,
                () = self.shared.changed.notified() => Ok(()),
                () = sleep_until(wake) => Ok(()),
                () = Self::hand_over(&self.events, &mut self.waiting), if !reading => Ok(()),
                () = self.events.closed() => Err(io::Error::other("nobody listens")),
            };
            let handled = stepped.and_then(|()| self.handle_frames());
            if let Err(error) = handled {
                self.connection = None;
                return error.to_string();
            }
        }
    }

    /// Passes on the frames that were read.
    fn handle_frames(&mut self) -> io::Result<()> {
        let connection = self.connection.as_mut().expect("conversing");
        let now = self.shared.now();
        let mut session = self.shared.session();
        while let Some(frame) = connection.pop()? {
            session.received(&frame);
            match &mut self.bad_link {
                Some(link) if session.may_disturb(&frame) => link.down.push(now, frame),
                _ => session.handle_frame(now, frame),
            }
        }
        Ok(())
    }

    /// Passes on what has come out of the bad link, and lets timers fire.
    fn let_through(&mut self) {
        let now = self.shared.now();
        let mut session = self.shared.session();
        if let (Some(link), Some(connection)) = (&mut self.bad_link, &mut self.connection) {
            while let Some(frame) = link.down.pop(now) {
                session.handle_frame(now, frame);
            }
            while connection.unwritten() < UNWRITTEN_MAX {
                let Some(frame) = link.up.pop(now) else { break };
                connection.push(&frame);
            }
        }
        if session.poll_timeout().is_some_and(|at| at <= now) {
            session.handle_timeout(now);
        }
    }

    fn wake_at(&self, unwritten: usize) -> Option<Instant> {
        let link = self.bad_link.as_ref();
        let down = link.and_then(|link| link.down.poll_timeout());
        let up = link.filter(|_| unwritten < UNWRITTEN_MAX).and_then(|link| link.up.poll_timeout());
        let session = self.shared.session().poll_timeout();
        let timers = session.into_iter().chain(down).chain(up).min().map(|time| self.shared.instant(time));
        timers.into_iter().chain(self.place_is_due()).min()
    }

    /// When the place in the log is written down, if it has moved.
    fn place_is_due(&self) -> Option<Instant> {
        let kept = self.kept.as_ref()?;
        let moved = kept.taken != self.shared.session().taken();
        moved.then(|| kept.written_at.map_or_else(Instant::now, |at| at + PLACE_PAUSE))
    }

    /// What must outlive this process is on the disk, before anything of it is sent: nobody says anything meanwhile.
    fn keep(kept: &mut Kept, session: &mut Session) {
        let due = kept.written_at.is_none_or(|at| at + PLACE_PAUSE <= Instant::now());
        if session.is_over() || !(session.is_unkept() || due && kept.taken != session.taken()) {
            return;
        }
        let (bytes, taken) = (session.keep(), session.taken());
        let written = kept.write(&bytes);
        (kept.taken, kept.written_at) = (taken, Some(Instant::now()));
        match written {
            Ok(()) => kept.failed = false,
            Err(error) => {
                // Tried again soon.
                kept.taken = u64::MAX;
                if !std::mem::replace(&mut kept.failed, true) {
                    session.trouble(format!("this client cannot keep what is on its way: {error}"));
                }
            }
        }
    }

    /// What has left, or has nothing to say any more, is forgotten; else all is kept as it is now.
    fn close_kept(&mut self) {
        let Some(mut kept) = self.kept.take() else { return };
        let mut session = self.shared.session();
        if session.is_over() && session.on_their_way() == 0 {
            let _ = kept.remove();
        } else {
            kept.written_at = None;
            Self::keep(&mut kept, &mut session);
        }
    }

    /// Does what the session says. Why to hang up, if that is what it says.
    fn drain(&mut self) -> Option<String> {
        let now = self.shared.now();
        let mut hang_up = None;
        let mut session = self.shared.session();
        if let Some(kept) = &mut self.kept {
            Self::keep(kept, &mut session);
        }
        while let Some(output) = session.poll_output() {
            match output {
                Output::Send(frame) => match (&mut self.bad_link, &mut self.connection) {
                    (Some(link), _) if may_disturb(&frame) => link.up.push(now, frame),
                    (_, Some(connection)) => connection.push(&frame),
                    (_, None) => {}
                },
                Output::Event(event) => self.waiting.push_back(event),
                Output::HangUp(reason) => hang_up = Some(reason),
            }
        }
        while let Some(event) = self.waiting.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
                self.waiting.push_front(event);
                break;
            }
        }
        hang_up
    }

    /// Gives the application the next event that waits. Cancelling it loses nothing.
    async fn hand_over(events: &mpsc::Sender<Event>, waiting: &mut VecDeque<Event>) {
        if let Ok(permit) = events.reserve().await {
            if let Some(event) = waiting.pop_front() {
                permit.send(event);
            }
        } else {
            waiting.clear();
        }
    }
}

/// What a bad link disturbs on the way to the server; handshakes stay whole.
fn may_disturb(frame: &ClientFrame) -> bool {
    matches!(frame, ClientFrame::Broadcast(_) | ClientFrame::Want(_) | ClientFrame::Clock(_))
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use causerie_core::frame::{MAGIC, VERSION, split_frame};
    use causerie_core::key::Challenge;
    use causerie_core::room::{Now, Room, RoomSettings};
    use causerie_core::text::RoomName;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::RoomOptions;

    /// A server's side of a connection.
    struct Peer {
        stream: TcpStream,
        input: BytesMut,
    }

    impl Peer {
        async fn greeted(listener: &TcpListener) -> Self {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut [0; MAGIC.len()]).await.unwrap();
            let mut peer = Self { stream, input: BytesMut::new() };
            assert!(matches!(peer.hear().await, Some(ClientFrame::Hello { .. })));
            let (agent, challenge) = ("test".into(), Challenge::default());
            peer.say(&ServerFrame::Hello { version: VERSION, agent, challenge }).await;
            peer
        }

        /// What the client says next; `None` once it has hung up.
        async fn hear(&mut self) -> Option<ClientFrame> {
            loop {
                if let Some((kind, body)) = split_frame(&mut self.input, 1 << 20).unwrap() {
                    return ClientFrame::decode(kind, &body).unwrap();
                }
                if self.stream.read_buf(&mut self.input).await.unwrap_or(0) == 0 {
                    return None;
                }
            }
        }

        async fn say(&mut self, frame: &ServerFrame) {
            let mut out = Vec::new();
            frame.encode(&mut out);
            self.stream.write_all(&out).await.unwrap();
        }
    }

    /// A client that is in a room of its own.
    async fn joined(options: RoomOptions, listener: &TcpListener) -> (crate::Room, Peer) {
        let client = tokio::spawn(options.join());
        let mut peer = Peer::greeted(listener).await;
        let Some(ClientFrame::Join { name, proof, .. }) = peer.hear().await else { panic!("no join") };
        let lobby = RoomName::parse("lobby").unwrap();
        let mut room = Room::new(lobby, 0, 7, RoomSettings::default(), false);
        let now = Now { time: Time::ZERO, wall_millis: 0 };
        let (_, welcome) = room.join(now, &name, proof.key, None, 0).unwrap();
        peer.say(&ServerFrame::Welcome(Box::new(welcome))).await;
        (client.await.unwrap().unwrap(), peer)
    }

    /// Time passes at once where nobody has anything to do.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_falls_silent_is_asked_and_then_left() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (mut client, mut peer) = joined(RoomOptions::new(&address, "lobby", "Raj"), &listener).await;

        // As long as it answers, the connection stands.
        for _ in 0..5 {
            let Some(ClientFrame::Ping(number)) = peer.hear().await else { panic!("no ping") };
            peer.say(&ServerFrame::Pong(number)).await;
        }
        let silent_since = Instant::now();
        assert!(matches!(peer.hear().await, Some(ClientFrame::Ping(_))), "the server is asked");
        let hung_up = tokio::spawn(async move { peer.hear().await });
        let reason = loop {
            match client.next_event().await {
                Some(Event::Reconnecting { reason, .. }) => break reason,
                Some(_) => {}
                None => panic!("it has ended"),
            }
        };
        assert_eq!(reason, "nothing is heard from the server any more");
        assert_eq!(silent_since.elapsed().as_secs(), 2 * SILENCE.as_secs());
        assert_eq!(hung_up.await.unwrap(), None);
        let mut peer = Peer::greeted(&listener).await;
        assert!(matches!(peer.hear().await, Some(ClientFrame::Resume { .. })), "and it comes back");
    }

    #[tokio::test(start_paused = true)]
    async fn the_pauses_of_a_client_whose_server_is_away_grow_up_to_what_was_asked_for() {
        let mut pauses = Vec::new();
        for max in [Duration::from_millis(700), Duration::ZERO] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let options = RoomOptions::new(&address, "lobby", "Raj").retry_max(max);
            let (mut client, peer) = joined(options, &listener).await;
            drop((listener, peer));
            for _ in 0..4 {
                pauses.push(loop {
                    if let Event::Reconnecting { retry_in, .. } =
                        client.next_event().await.expect("it goes on")
                    {
                        break retry_in.as_millis();
                    }
                });
            }
        }
        assert_eq!(pauses, [200, 400, 700, 700, 200, 200, 200, 200]);
    }
}
