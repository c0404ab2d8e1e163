//! Moves bytes and time between a session and the world; decides nothing about messages.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use causerie_core::link::{Disturbance, DisturbedLink};
use causerie_core::session::{Event, Session, SessionOutput};
use causerie_core::wire::{ClientFrame, ServerFrame};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::debug;

use crate::connection::{Connection, OpenError};
use crate::kept::{Kept, PLACE_PAUSE};
use crate::shared::SharedSession;
use crate::trust::{KnownServersError, Security, TrustError};

/// The first pause before connecting again; each next one is twice as long.
const RETRY_MIN: Duration = Duration::from_millis(200);
/// The longest pause, where nobody says otherwise.
pub(crate) const RETRY_MAX: Duration = Duration::from_secs(10);
/// Time that a connection must stand before the pauses start small again.
const STEADY: Duration = Duration::from_secs(5);
/// Time that joining or resuming may take.
const GREETING_TIMEOUT: Duration = Duration::from_secs(15);
/// Silence after which the server is asked whether it is there; it has as long again to answer.
const SILENCE: Duration = Duration::from_secs(30);
/// While so much waits to be written, nothing more is read or taken from the disturbed link: a server that asks and does not
/// take what it asks for waits itself.
const UNWRITTEN_MAX: usize = 1 << 20;

/// The two directions of a link that is bad on purpose.
struct BadLink {
    up: DisturbedLink<ClientFrame>,
    down: DisturbedLink<ServerFrame>,
}

pub(crate) struct Driver {
    server: String,
    security: Security,
    shared: Arc<SharedSession>,
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
        (server, security): (String, Security),
        disturbance: Option<Disturbance>,
        shared: Arc<SharedSession>,
        events: mpsc::Sender<Event>,
        pause_max: Duration,
        kept: Option<Kept>,
    ) -> Self {
        let bad_link = disturbance
            .map(|d| BadLink { up: DisturbedLink::new(d.clone(), 0), down: DisturbedLink::new(d, 1) });
        Self {
            server,
            security,
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
    pub(crate) async fn connect_first(&mut self) -> Result<(), OpenError> {
        let security = self.only_now_asking();
        self.connection = Some(Connection::open(&self.server, &security).await?);
        Ok(())
    }

    /// Returns the security of this attempt. Nobody is asked about the server by later ones.
    fn only_now_asking(&mut self) -> Security {
        let silent = self.security.clone().without_asking();
        std::mem::replace(&mut self.security, silent)
    }

    /// Runs until the session is over, or nobody listens any more.
    pub(crate) async fn run(mut self) {
        loop {
            let since = Instant::now();
            let reason = match self.connect().await {
                Ok(()) => self.converse().await,
                // The list of known servers may be readable again later.
                Err(OpenError::Untrusted(TrustError::Known(
                    error @ (KnownServersError::Unreadable { .. } | KnownServersError::Damaged { .. }),
                ))) => error.to_string(),
                Err(OpenError::Io(error)) => error.to_string(),
                Err(OpenError::Untrusted(error)) => {
                    self.distrust(error);
                    break;
                }
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
                    () = Self::hand_over(&self.shared, &self.events, &mut self.waiting), if self.may_hand_over() => {}
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
            tokio::select! {
                () = Self::hand_over(&self.shared, &self.events, &mut self.waiting), if self.may_hand_over() => {}
                () = self.shared.changed.notified() => {}
                () = self.events.closed() => {}
            }
        }
    }

    async fn connect(&mut self) -> Result<(), OpenError> {
        if self.connection.is_none() {
            let security = self.only_now_asking();
            let opened = tokio::select! {
                opened = Connection::open(&self.server, &security) => opened?,
                () = self.events.closed() => return Err(io::Error::other("nobody listens").into()),
            };
            self.connection = Some(opened);
        }
        self.shared.session().connected();
        if let Some(link) = &mut self.bad_link {
            link.up.clear();
        }
        Ok(())
    }

    /// Ends the session, since the server is not trusted. What is kept stays as it is: the membership goes on once it is again.
    fn distrust(&mut self, why: TrustError) {
        if let Some(mut kept) = self.kept.take() {
            kept.written_at = None;
            Self::keep(&mut kept, &mut self.shared.session());
        }
        self.shared.distrust(why);
    }

    /// Talks until the connection breaks or is to be closed, and returns why.
    async fn converse(&mut self) -> String {
        let greeted_by = Instant::now() + GREETING_TIMEOUT;
        let mut asked = None;
        loop {
            let mut hang_up = match self.handle_frames() {
                Ok(hang_up) => hang_up,
                Err(error) => {
                    self.connection = None;
                    return error.to_string();
                }
            };
            if hang_up.is_none() {
                self.let_through();
                hang_up = self.drain();
            }
            if let Some(reason) = hang_up {
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
            let reading = !self.is_full();
            let handing_over = self.may_hand_over();
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
                () = Self::hand_over(&self.shared, &self.events, &mut self.waiting), if handing_over => Ok(()),
                () = self.events.closed() => Err(io::Error::other("nobody listens")),
            };
            if let Err(error) = stepped {
                self.connection = None;
                return error.to_string();
            }
        }
    }

    /// Returns whether what the server has said has to be written, or told, before more of it is looked at.
    fn is_full(&self) -> bool {
        let unwritten = self.connection.as_ref().map_or(0, Connection::unwritten);
        let link = self.bad_link.as_ref();
        let is_full = link.is_some_and(|link| link.up.is_full() || link.down.is_full());
        is_full || unwritten >= UNWRITTEN_MAX || !self.waiting.is_empty()
    }

    /// Passes on the frames that were read, as long as there is room for what comes of them. Why to hang up, if one says so.
    fn handle_frames(&mut self) -> io::Result<Option<String>> {
        while !self.is_full() {
            let connection = self.connection.as_mut().expect("conversing");
            let Some((frame, bytes)) = connection.pop()? else { break };
            let now = self.shared.now();
            let mut session = self.shared.session();
            session.received(&frame);
            match &mut self.bad_link {
                Some(link) if session.may_disturb(&frame) => {
                    link.down.push(now, frame, bytes);
                    continue;
                }
                _ => session.handle_frame(now, frame),
            }
            drop(session);
            if let Some(reason) = self.drain() {
                return Ok(Some(reason));
            }
        }
        Ok(None)
    }

    /// Passes on what has come out of the bad link, and lets timers fire.
    fn let_through(&mut self) {
        let now = self.shared.now();
        let mut session = self.shared.session();
        if let (Some(link), Some(connection)) = (&mut self.bad_link, &mut self.connection) {
            while self.waiting.is_empty() && connection.unwritten() < UNWRITTEN_MAX {
                let Some(frame) = link.down.pop(now) else { break };
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
        let down = link.filter(|_| unwritten < UNWRITTEN_MAX && self.waiting.is_empty());
        let down = down.and_then(|link| link.down.poll_timeout());
        let up = link.filter(|_| unwritten < UNWRITTEN_MAX).and_then(|link| link.up.poll_timeout());
        let session = self.shared.session().poll_timeout();
        let timers = session.into_iter().chain(down).chain(up).min().map(|time| self.shared.instant(time));
        timers.into_iter().chain(self.place_is_due()).min()
    }

    /// Returns when the place in the log is written down, if it has moved.
    fn place_is_due(&self) -> Option<Instant> {
        let kept = self.kept.as_ref()?;
        let moved = kept.taken != Some(self.shared.session().taken());
        moved.then(|| kept.written_at.map_or_else(Instant::now, |at| at + PLACE_PAUSE))
    }

    /// Writes down what must outlive this process, before anything of it is sent: nobody says anything meanwhile.
    fn keep(kept: &mut Kept, session: &mut Session) {
        let due = kept.written_at.is_none_or(|at| at + PLACE_PAUSE <= Instant::now());
        if session.is_over() || !(session.is_unkept() || due && kept.taken != Some(session.taken())) {
            return;
        }
        let (bytes, taken) = (session.keep(), session.taken());
        let written = kept.write(&bytes);
        (kept.taken, kept.written_at) = (Some(taken), Some(Instant::now()));
        match written {
            Ok(()) => kept.failed = false,
            Err(error) => {
                // Tried again soon.
                kept.taken = None;
                if !std::mem::replace(&mut kept.failed, true) {
                    session.trouble(format!("this client cannot keep what is on its way: {error}"));
                }
            }
        }
    }

    /// Forgets what has left, or has nothing to say any more; else all is kept as it is now.
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
                SessionOutput::Send(frame) => match (&mut self.bad_link, &mut self.connection) {
                    (Some(link), _) if may_disturb(&frame) => {
                        let bytes =
                            if let ClientFrame::Broadcast(packet) = &frame { packet.len() } else { 0 };
                        link.up.push(now, frame, bytes);
                    }
                    (_, Some(connection)) => connection.push(&frame),
                    (_, None) => {}
                },
                SessionOutput::Event(event) => self.waiting.push_back(event),
                SessionOutput::HangUp(reason) => hang_up = Some(reason),
            }
        }
        while self.may_hand_over() {
            let Ok(permit) = self.events.try_reserve() else { break };
            let Some(event) = self.waiting.pop_front() else { break };
            self.shared.gives(&event);
            permit.send(event);
        }
        if self.events.is_closed() {
            self.waiting.clear();
        }
        hang_up
    }

    /// Returns whether the application may be given what waits for it.
    fn may_hand_over(&self) -> bool {
        !self.waiting.is_empty() && self.shared.has_room()
    }

    /// Gives the application the next event that waits. Cancelling it loses nothing.
    async fn hand_over(shared: &SharedSession, events: &mpsc::Sender<Event>, waiting: &mut VecDeque<Event>) {
        if let Ok(permit) = events.reserve().await {
            if let Some(event) = waiting.pop_front() {
                shared.gives(&event);
                permit.send(event);
            }
        } else {
            waiting.clear();
        }
    }
}

/// Returns whether a bad link may disturb a frame on the way to the server; handshakes stay whole.
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
    use causerie_core::content::body::Body;
    use causerie_core::content::name::RoomName;
    use causerie_core::id::{Epoch, Position};
    use causerie_core::key::Challenge;
    use causerie_core::room::{Now, Room, RoomSettings};
    use causerie_core::session::SessionConfig;
    use causerie_core::wire::{Delivered, MAGIC, VERSION, split_frame};
    use cbcast::{Kind, MemberId, Message, MessageId, MissingRange, Time};
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
            stream.set_nodelay(true).unwrap();
            stream.read_exact(&mut [0; MAGIC.len()]).await.unwrap();
            let mut peer = Self { stream, input: BytesMut::new() };
            assert!(matches!(peer.hear().await, Some(ClientFrame::Hello { .. })));
            let (agent, challenge) = ("test".into(), Challenge::default());
            peer.say(&ServerFrame::Hello { version: VERSION, agent, challenge }).await;
            peer
        }

        /// Returns what the client says next; `None` once it has hung up.
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
        let mut room = Room::new(lobby, 0, Epoch::new(7), RoomSettings::default(), false);
        let now = Now { time: Time::ZERO, wall_millis: 0 };
        let (_, welcome) = room.join(now, &name, proof.key, None).unwrap();
        peer.say(&ServerFrame::Welcome(Box::new(welcome))).await;
        (client.await.unwrap().unwrap(), peer)
    }

    /// A driver whose session is live, and its server's end.
    async fn conversing(disturbance: Option<Disturbance>) -> (Driver, mpsc::Receiver<Event>, Peer) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap().to_string();
        let mut config = SessionConfig::new("lobby", "Raj", || [7; 32]);
        config.heartbeat = disturbance.as_ref().map(|_| Duration::from_millis(500));
        let shared = Arc::new(SharedSession::new(Session::new(config)));
        let (events_in, events) = mpsc::channel(1_024);
        let mut driver =
            Driver::new((server, Security::new()), disturbance, shared, events_in, RETRY_MAX, None);
        driver.connect().await.unwrap();
        driver.drain();
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut peer = Peer { stream, input: BytesMut::new() };
        let (agent, challenge) = ("test".into(), Challenge::default());
        peer.say(&ServerFrame::Hello { version: VERSION, agent, challenge }).await;
        let lobby = RoomName::parse("lobby").unwrap();
        let mut room = Room::new(lobby, 0, Epoch::new(7), RoomSettings::default(), false);
        let now = Now { time: Time::ZERO, wall_millis: 0 };
        let (_, welcome) = room.join(now, "Raj", [1; 32], None).unwrap();
        peer.say(&ServerFrame::Welcome(Box::new(welcome))).await;
        while !driver.shared.session().is_live() {
            driver.connection.as_mut().unwrap().step(true).await.unwrap();
            driver.handle_frames().unwrap();
        }
        (driver, events, peer)
    }

    /// Takes from the server as much as it will, and hands on nothing.
    async fn hear_all(driver: &mut Driver, frames: &[u8], peer: &mut Peer) {
        for piece in frames.chunks(8 << 10) {
            if driver.is_full() {
                return;
            }
            peer.stream.write_all(piece).await.unwrap();
            driver.connection.as_mut().unwrap().step(true).await.unwrap();
            driver.handle_frames().unwrap();
        }
    }

    #[tokio::test]
    async fn a_server_that_asks_again_and_again_is_answered_as_it_reads() {
        let (mut driver, _events, mut peer) = conversing(None).await;
        let id = driver.shared.session().member().unwrap();
        for _ in 0..100 {
            let text = Body::Text("x".repeat(16_000));
            driver.shared.session().say(driver.shared.now(), &text).unwrap();
        }
        let mut want = Vec::new();
        ServerFrame::Want(vec![MissingRange { member: id, from: 1, to: 100 }]).encode(&mut want);
        hear_all(&mut driver, &want.repeat(10_000), &mut peer).await;
        assert!(driver.is_full(), "it reads no more");
        let unwritten = driver.connection.as_ref().unwrap().unwritten();
        assert!(unwritten < 4 * UNWRITTEN_MAX, "{unwritten}");
    }

    #[tokio::test]
    async fn what_is_on_its_way_through_a_bad_link_is_bounded_in_bytes() {
        let slow: Disturbance = "delay=60s..60s".parse().unwrap();
        let (mut driver, _events, mut peer) = conversing(Some(slow)).await;
        let clock = (0..20_000).map(|n| (MemberId::new(0, n), 1)).collect();
        let mut frame = Vec::new();
        ServerFrame::Clock(clock).encode(&mut frame);
        let bytes = frame.repeat(2_000);
        assert!(bytes.len() > 100 << 20);
        hear_all(&mut driver, &bytes, &mut peer).await;
        assert!(driver.is_full());
    }

    #[tokio::test]
    async fn what_the_application_does_not_take_stays_at_the_server() {
        let (mut driver, mut events, mut peer) = conversing(None).await;
        let mut records = Vec::new();
        for n in 2..1_000 {
            let (id, payload) = (MessageId::new(MemberId::host(0), n), vec![b'x'; 100_000]);
            let joined = Message::new(id, Kind::Joined(MemberId::new(0, n as u32)), &[], &payload).unwrap();
            let (position, packet) = (n, joined.into_packet());
            ServerFrame::Delivered(Delivered { position: Position::new(position), time_millis: 0, packet })
                .encode(&mut records);
        }
        hear_all(&mut driver, &records, &mut peer).await;
        assert!(driver.is_full(), "it reads no more");
        let mut bytes = 0;
        while let Ok(event) = events.try_recv() {
            bytes += if let Event::Joined { name, .. } = event { name.len() } else { 0 };
        }
        assert!((100_000..8 << 20).contains(&bytes), "{bytes}");
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
