//! The load itself: threads that hold many connections each.
//!
//! A room belongs to one thread, with all its members: so what is outstanding and what was received is counted
//! without locks. A thread is one loop: say what may be said, write, wait for sockets, read.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use thiserror::Error;

use crate::check::Tally;
use crate::payload::{TEXT_BYTES_MIN, Texts};
use crate::process::{raise_file_limit, usage};
use crate::report::{Latency, Report, ServerUse};
use crate::room::{Checker, OUTSTANDING_MAX, Room};
use crate::speaker::{Protocol, Seat, SpeakError, Speaker};

/// How long connecting and joining may take, all members together.
const JOIN_PATIENCE: Duration = Duration::from_secs(60);
/// At the end nothing has come for so long: what is missing is lost.
const LOST_AFTER: Duration = Duration::from_secs(5);
/// What one read takes.
const READ_BYTES: usize = 256 << 10;
/// Latencies beyond this count as this.
const LATENCY_MAX: Duration = Duration::from_secs(100);

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// How many rooms.
    pub rooms: u32,
    /// How many members are in each: all of them receive.
    pub receivers: u32,
    /// How many of them talk.
    pub senders: u32,
    /// How many of them read nothing until the others have finished. They do not talk.
    pub stopped: u32,
    /// How long each text is.
    pub text_bytes: usize,
    /// How much they talk.
    pub pace: Pace,
    /// How many of a hundred messages answer what their sender has just received.
    pub answers_percent: u32,
    /// How long they talk before anything is measured.
    pub warm_up: Duration,
    /// How long is measured.
    pub seconds: Duration,
    /// Threads that share the rooms.
    pub threads: u32,
}

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As much as goes through: so many messages are outstanding in each room, that is, sent and not yet received by
    /// everybody.
    Window(usize),
    /// So many messages a second, over all rooms.
    Rate(f64),
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            rooms: 1,
            receivers: 10,
            senders: 1,
            stopped: 0,
            text_bytes: 128,
            pace: Pace::Window(100),
            answers_percent: 25,
            warm_up: Duration::from_secs(1),
            seconds: Duration::from_secs(10),
            threads: 1,
        }
    }
}

/// Why a plan cannot be.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum PlanError {
    /// Something is needed of which there is none.
    #[error("at least one {what} is needed")]
    None {
        /// Of what.
        what: &'static str,
    },
    /// Who talks is among those who receive.
    #[error("{senders} senders among {receivers} receivers: a room's senders are some of its receivers")]
    Senders {
        /// How many talk.
        senders: u32,
        /// How many there are.
        receivers: u32,
    },
    /// Who has stopped neither talks nor is waited for.
    #[error("{senders} senders and {stopped} stopped readers among {receivers} receivers: nobody is both")]
    Stopped {
        /// How many talk.
        senders: u32,
        /// How many read nothing.
        stopped: u32,
        /// How many there are.
        receivers: u32,
    },
    /// The text has no room for what it must say.
    #[error("a payload of {bytes} bytes is too small: what is checked takes {TEXT_BYTES_MIN}")]
    Text {
        /// How long it would be.
        bytes: usize,
    },
    /// The protocol would cut the text.
    #[error("a payload of {bytes} bytes is too large for {protocol}: {most} at most")]
    LongText {
        /// How long it would be.
        bytes: usize,
        /// What carries it.
        protocol: &'static str,
        /// How long it may be.
        most: usize,
    },
    /// No such pace.
    #[error("a rate must be above 0 and below a million messages a second")]
    Rate,
    /// More than can be kept.
    #[error("at most {OUTSTANDING_MAX} messages can be outstanding in a room")]
    Window,
    /// More than a hundred of a hundred.
    #[error("{percent} % of the messages cannot be answers")]
    Answers {
        /// How many.
        percent: u32,
    },
    /// The operating system does not allow as many connections.
    #[error(
        "{connections} connections are too many: this process may have {limit} files open (see ulimit -n)"
    )]
    Files {
        /// How many there would be.
        connections: u64,
        /// How many files may be open.
        limit: u64,
    },
}

impl Plan {
    /// Whether it can be.
    ///
    /// # Errors
    /// [`PlanError`] says what is wrong with it.
    pub fn check(&self) -> Result<(), PlanError> {
        let needed = [
            ("room", self.rooms),
            ("receiver", self.receivers),
            ("sender", self.senders),
            ("thread", self.threads),
            ("second", u32::from(!self.seconds.is_zero())),
        ];
        if let Some((what, _)) = needed.into_iter().find(|(_, n)| *n == 0) {
            return Err(PlanError::None { what });
        }
        if self.senders > self.receivers {
            return Err(PlanError::Senders { senders: self.senders, receivers: self.receivers });
        }
        if self.stopped > self.receivers - self.senders {
            let Self { senders, stopped, receivers, .. } = *self;
            return Err(PlanError::Stopped { senders, stopped, receivers });
        }
        if self.text_bytes < TEXT_BYTES_MIN {
            return Err(PlanError::Text { bytes: self.text_bytes });
        }
        if self.answers_percent > 100 {
            return Err(PlanError::Answers { percent: self.answers_percent });
        }
        match self.pace {
            Pace::Window(0) => Err(PlanError::None { what: "message outstanding" }),
            Pace::Window(window) if window > OUTSTANDING_MAX => Err(PlanError::Window),
            Pace::Rate(rate) if !(rate > 0.0 && rate < 1e6) => Err(PlanError::Rate),
            _ => Ok(()),
        }
    }

    fn connections(&self) -> u64 {
        u64::from(self.rooms) * u64::from(self.receivers)
    }
}

/// Why there is no report.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The plan cannot be.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The rooms could not be made.
    #[error("cannot make the rooms: {0}")]
    Rooms(SpeakError),
    /// No connection.
    #[error("cannot connect to {server}: {error}")]
    Connect {
        /// Where to.
        server: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// A conversation ended too early.
    #[error("{name} in room {room}: {error}")]
    Member {
        /// Whose.
        name: String,
        /// Where.
        room: String,
        /// Why.
        error: SpeakError,
    },
    /// Members who never got in.
    #[error("{left} of {members} members were not in their room after {} s", JOIN_PATIENCE.as_secs())]
    Joining {
        /// How many did not get in.
        left: usize,
        /// How many there are.
        members: usize,
    },
    /// What the server uses cannot be read.
    #[error("cannot read what the server (process {pid}) uses: {error}")]
    Usage {
        /// The process.
        pid: u32,
        /// Why.
        error: io::Error,
    },
    /// The operating system does not let us wait for sockets.
    #[error("cannot wait for connections: {0}")]
    Poll(#[source] io::Error),
}

/// Where a load is: told once a second, and when measuring begins and ends.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Since the load began, the warm-up included.
    pub elapsed: Duration,
    /// How long it takes in all.
    pub whole: Duration,
    /// Deliveries so far.
    pub deliveries: u64,
}

/// Puts the load on `server`. What it uses is read from `/proc` where `server_pid` is given.
///
/// # Errors
/// [`LoadError`]. That messages were lost is none: it stands in the report.
pub fn run(
    plan: &Plan,
    protocol: &dyn Protocol,
    server: SocketAddr,
    server_pid: Option<u32>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, LoadError> {
    plan.check()?;
    let (bytes, most) = (plan.text_bytes, protocol.text_bytes_max());
    if bytes > most {
        return Err(PlanError::LongText { bytes, protocol: protocol.name(), most }.into());
    }
    let limit = raise_file_limit();
    // A few for everything else.
    if plan.connections() + 32 > limit {
        return Err(PlanError::Files { connections: plan.connections(), limit }.into());
    }
    let server_use = || match server_pid {
        None => Ok(None),
        Some(pid) => usage(pid).map(Some).map_err(|error| LoadError::Usage { pid, error }),
    };
    server_use()?;
    let mut run = [0; 4];
    getrandom::fill(&mut run).expect("the operating system gives random bytes");
    let run = u32::from_le_bytes(run);
    let names: Vec<_> = (0..plan.rooms).map(|n| format!("bench-{run:08x}-{n}")).collect();
    protocol.open(&names).map_err(|error| match error {
        SpeakError::Io(error) => LoadError::Connect { server, error },
        error => LoadError::Rooms(error),
    })?;

    let shared = Shared {
        plan: *plan,
        protocol,
        server,
        texts: Texts::new(run, plan.text_bytes),
        epoch: Instant::now(),
        stop: AtomicBool::new(false),
        deliveries: AtomicU64::new(0),
    };
    let threads = plan.threads.min(plan.rooms) as usize;
    let (news_in, news) = mpsc::channel();
    let done = std::thread::scope(|scope| {
        let mut go = Vec::new();
        for thread in 0..threads {
            let (start, started) = mpsc::channel();
            go.push(start);
            let (shared, names, news) = (&shared, &names, news_in.clone());
            scope.spawn(move || {
                let done = Worker::work(shared, names, thread, threads, &news, &started);
                // The other side waits for this, whatever it is; if it does not any more, nobody does.
                let _ = news.send(News::Done(done.map(Box::new)));
            });
        }
        let done = conduct(&shared, &go, &news, &server_use, progress);
        // However it ended: who still works, ends.
        shared.stop.store(true, Ordering::Relaxed);
        done
    });
    protocol.close(&names);
    done
}

/// What all threads know.
struct Shared<'a> {
    plan: Plan,
    protocol: &'a dyn Protocol,
    server: SocketAddr,
    texts: Texts,
    /// The run's clock starts here.
    epoch: Instant,
    stop: AtomicBool,
    deliveries: AtomicU64,
}

/// When what happens, the same for all threads.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    start: Instant,
    from: Instant,
    to: Instant,
}

enum News {
    /// All members of this thread are in.
    Ready,
    Done(Result<Box<Outcome>, LoadError>),
}

/// What one thread found.
struct Outcome {
    messages: u64,
    deliveries: u64,
    held_up: u64,
    tally: Tally,
    latency: Histogram<u64>,
    /// How long those who had stopped took to read all that they had missed.
    catching_up: Duration,
}

/// Starts the threads together, reads the server's meters when measuring begins and ends, and adds up.
fn conduct(
    shared: &Shared<'_>,
    go: &[mpsc::Sender<Schedule>],
    news: &mpsc::Receiver<News>,
    server_use: &dyn Fn() -> Result<Option<crate::process::Usage>, LoadError>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, LoadError> {
    const GONE: &str = "each thread tells how it ended";
    for _ in go {
        if let News::Done(done) = news.recv().expect(GONE) {
            done?;
        }
    }
    let start = Instant::now();
    let from = start + shared.plan.warm_up;
    let schedule = Schedule { start, from, to: from + shared.plan.seconds };
    for go in go {
        // A thread that has ended since then tells why.
        let _ = go.send(schedule);
    }
    let mut outcomes = Vec::new();
    let mut wait_until = |deadline: Instant| -> Result<(), LoadError> {
        loop {
            let now = Instant::now();
            let second = now + Duration::from_secs(1);
            match news.recv_timeout(deadline.min(second).saturating_duration_since(now)) {
                Ok(News::Done(done)) => outcomes.push(done?),
                Ok(News::Ready) => {}
                Err(_) => {
                    progress(Progress {
                        elapsed: start.elapsed(),
                        whole: schedule.to - start,
                        deliveries: shared.deliveries.load(Ordering::Relaxed),
                    });
                    if Instant::now() >= deadline {
                        return Ok(());
                    }
                }
            }
        }
    };
    let own_use = || usage(std::process::id()).ok();
    wait_until(schedule.from)?;
    let before = (server_use()?, own_use(), Instant::now());
    wait_until(schedule.to)?;
    let after = (server_use()?, own_use(), Instant::now());
    while outcomes.len() < go.len() {
        if let News::Done(done) = news.recv().expect(GONE) {
            outcomes.push(done?);
        }
    }
    let end = server_use()?;

    let between = (after.2 - before.2).as_secs_f64();
    let processors = |before: crate::process::Usage, after: crate::process::Usage| {
        after.cpu.saturating_sub(before.cpu).as_secs_f64() / between
    };
    let mut latency = histogram();
    let mut report = Report {
        plan: shared.plan,
        protocol: shared.protocol.name(),
        measured: shared.plan.seconds,
        messages: 0,
        deliveries: 0,
        latency: Latency::default(),
        tally: Tally::default(),
        held_up: 0,
        catching_up: Duration::ZERO,
        server: before.0.zip(after.0).zip(end).map(|((before, after), end)| ServerUse {
            cpu: processors(before, after),
            memory_peak: end.memory_peak,
        }),
        own_cpu: before.1.zip(after.1).map(|(before, after)| processors(before, after)),
    };
    for outcome in outcomes {
        report.messages += outcome.messages;
        report.deliveries += outcome.deliveries;
        report.held_up += outcome.held_up;
        report.tally.add(&outcome.tally);
        report.catching_up = report.catching_up.max(outcome.catching_up);
        latency.add(&outcome.latency).expect("made alike");
    }
    report.latency = Latency::of(&latency);
    Ok(report)
}

/// Nanoseconds from a microsecond on, to three digits.
fn histogram() -> Histogram<u64> {
    let most = u64::try_from(LATENCY_MAX.as_nanos()).expect("a few seconds");
    Histogram::new_with_bounds(1_000, most, 3).expect("bounds in order")
}

/// One thread's part of the load.
struct Worker<'a> {
    shared: &'a Shared<'a>,
    poll: Poll,
    connections: Vec<Connection>,
    rooms: Vec<Room>,
    /// Rooms where more may be said than was.
    settled: Vec<usize>,
    /// Connections with something new to write.
    unwritten: Vec<usize>,
    schedule: Option<Schedule>,
    outcome: Outcome,
    scratch: Vec<u8>,
    text: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    speaker: Box<dyn Speaker>,
    checker: Checker,
    room: usize,
    /// The start of a frame whose end has not come.
    rest: Vec<u8>,
    out: Vec<u8>,
    /// How much of `out` has been written.
    written: usize,
    /// It reads nothing for now.
    stopped: bool,
    name: String,
    room_name: String,
}

impl Connection {
    fn failed(&self, error: impl Into<SpeakError>) -> LoadError {
        LoadError::Member { name: self.name.clone(), room: self.room_name.clone(), error: error.into() }
    }

    /// Writes what the socket takes.
    fn flush(&mut self) -> Result<(), LoadError> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(n) => self.written += n,
                // The socket says when it takes more.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }
}

impl<'a> Worker<'a> {
    /// Joins, waits for the start, talks, and waits for what is outstanding.
    fn work(
        shared: &'a Shared<'a>,
        names: &[String],
        thread: usize,
        threads: usize,
        news: &mpsc::Sender<News>,
        started: &mpsc::Receiver<Schedule>,
    ) -> Result<Outcome, LoadError> {
        let mut worker = Self {
            shared,
            poll: Poll::new().map_err(LoadError::Poll)?,
            connections: Vec::new(),
            rooms: Vec::new(),
            settled: Vec::new(),
            unwritten: Vec::new(),
            schedule: None,
            outcome: Outcome {
                messages: 0,
                deliveries: 0,
                held_up: 0,
                tally: Tally::default(),
                latency: histogram(),
                catching_up: Duration::ZERO,
            },
            scratch: vec![0; READ_BYTES],
            text: Vec::new(),
        };
        for (number, name) in names.iter().enumerate().skip(thread).step_by(threads) {
            worker.connect(number as u32, name)?;
        }
        worker.join()?;
        // Nobody listens any more if another thread has failed.
        let _ = news.send(News::Ready);
        if let Ok(schedule) = started.recv() {
            worker.schedule = Some(schedule);
            worker.talk(schedule)?;
            worker.drain()?;
        }
        for room in &worker.rooms {
            let sent = room.sent();
            let checkers = worker.connections[room.connections.clone()].iter().map(|c| &c.checker);
            worker.outcome.tally.lost += checkers.map(|checker| checker.lost(&sent)).sum::<u64>();
        }
        Ok(worker.outcome)
    }

    /// Connects all members of a room, and says their first words.
    fn connect(&mut self, number: u32, room_name: &str) -> Result<(), LoadError> {
        let Plan { receivers, senders, stopped, text_bytes, answers_percent, .. } = self.shared.plan;
        let (protocol, server) = (self.shared.protocol, self.shared.server);
        let first = number * senders;
        let base = self.connections.len();
        for n in 0..receivers {
            let connect = || -> io::Result<TcpStream> {
                let stream = std::net::TcpStream::connect_timeout(&server, JOIN_PATIENCE)?;
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                Ok(TcpStream::from_std(stream))
            };
            let mut stream = connect().map_err(|error| LoadError::Connect { server, error })?;
            let token = Token(self.connections.len());
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, token, both).map_err(LoadError::Poll)?;
            let (name, room_name) = (format!("m{n}"), room_name.to_owned());
            let seat = Seat { room: room_name.clone(), name: name.clone(), talks: n < senders, text_bytes };
            let own = (n < senders && !protocol.echoes()).then_some(first + n);
            let mut connection = Connection {
                stream,
                speaker: protocol.speaker(seat),
                checker: Checker::new(first, senders, own),
                room: self.rooms.len(),
                rest: Vec::new(),
                out: Vec::new(),
                written: 0,
                stopped: false,
                name,
                room_name,
            };
            connection.speaker.greet(&mut connection.out);
            connection.flush()?;
            self.connections.push(connection);
        }
        let connections = base..self.connections.len();
        let audience = receivers - stopped - u32::from(!protocol.echoes());
        let waited_for = base..connections.end - stopped as usize;
        self.rooms.push(Room::new(connections, waited_for, first, senders, audience, answers_percent));
        Ok(())
    }

    /// Until everybody is in.
    fn join(&mut self) -> Result<(), LoadError> {
        let deadline = Instant::now() + JOIN_PATIENCE;
        let mut events = Events::with_capacity(1024);
        loop {
            let left = self.connections.iter().filter(|c| !c.speaker.is_ready()).count();
            let stop = self.shared.stop.load(Ordering::Relaxed);
            if left == 0 || stop {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(LoadError::Joining { left, members: self.connections.len() });
            }
            self.wait(&mut events, Duration::from_millis(100))?;
        }
    }

    /// Says what may be said, until the time is up.
    fn talk(&mut self, schedule: Schedule) -> Result<(), LoadError> {
        let mut events = Events::with_capacity(1024);
        let mut due = 0u64;
        self.settled = (0..self.rooms.len()).collect();
        for room in &self.rooms {
            self.connections[room.waited_for.end..room.connections.end]
                .iter_mut()
                .for_each(|c| c.stopped = true);
        }
        loop {
            let now = Instant::now();
            if now >= schedule.to || self.shared.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let wait = match self.shared.plan.pace {
                Pace::Window(window) => {
                    for room in std::mem::take(&mut self.settled) {
                        while self.rooms[room].outstanding < window {
                            self.say(room);
                        }
                    }
                    schedule.to - now
                }
                Pace::Rate(rate) => {
                    self.settled.clear();
                    let mine = rate * self.rooms.len() as f64 / f64::from(self.shared.plan.rooms);
                    loop {
                        let next = schedule.start + Duration::from_secs_f64(due as f64 / mine);
                        if next > now {
                            break next.min(schedule.to) - now;
                        }
                        let room = (due % self.rooms.len() as u64) as usize;
                        due += 1;
                        match self.rooms[room].outstanding < OUTSTANDING_MAX {
                            true => self.say(room),
                            false => self.outcome.held_up += 1,
                        }
                    }
                }
            };
            for connection in std::mem::take(&mut self.unwritten) {
                self.connections[connection].flush()?;
            }
            // Not for ever: another thread may have failed.
            self.wait(&mut events, wait.min(Duration::from_millis(100)))?;
        }
    }

    /// Until everybody has everything, or nothing comes any more.
    fn drain(&mut self) -> Result<(), LoadError> {
        let mut events = Events::with_capacity(1024);
        let begun = Instant::now();
        for index in 0..self.connections.len() {
            if std::mem::take(&mut self.connections[index].stopped) {
                self.read(index)?;
            }
        }
        let mut last = Instant::now();
        while !self.has_everybody_everything() && last.elapsed() < LOST_AFTER {
            let before = self.outcome.tally.received;
            self.wait(&mut events, Duration::from_millis(100))?;
            if self.outcome.tally.received > before {
                last = Instant::now();
            }
            if self.shared.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        if self.shared.plan.stopped > 0 {
            self.outcome.catching_up = last - begun;
        }
        Ok(())
    }

    fn has_everybody_everything(&self) -> bool {
        self.rooms.iter().all(|room| {
            let sent = room.sent();
            let mut late = self.connections[room.waited_for.end..room.connections.end].iter();
            room.outstanding == 0 && late.all(|c| c.checker.lost(&sent) == 0)
        })
    }

    fn say(&mut self, room: usize) {
        let now = Instant::now();
        let (index, said) = self.rooms[room].next(nanos(now - self.shared.epoch));
        self.text.clear();
        self.shared.texts.write(&mut self.text, &said);
        let connection = &mut self.connections[index];
        if connection.out.is_empty() {
            self.unwritten.push(index);
        }
        connection.speaker.say(&self.text, &mut connection.out);
        if self.schedule.is_some_and(|s| (s.from..s.to).contains(&now)) {
            self.outcome.messages += 1;
        }
    }

    /// Waits for sockets, and does what they are ready for.
    fn wait(&mut self, events: &mut Events, timeout: Duration) -> Result<(), LoadError> {
        match self.poll.poll(events, Some(timeout)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(LoadError::Poll(error)),
        }
        let before = self.outcome.tally.received;
        for event in events.iter() {
            let stopped = self.connections[event.token().0].stopped;
            if (event.is_readable() || event.is_read_closed()) && !stopped {
                self.read(event.token().0)?;
            }
            if event.is_writable() {
                self.connections[event.token().0].flush()?;
            }
        }
        self.shared.deliveries.fetch_add(self.outcome.tally.received - before, Ordering::Relaxed);
        Ok(())
    }

    /// Reads until there is nothing more.
    fn read(&mut self, index: usize) -> Result<(), LoadError> {
        let Connection { stream, speaker, checker, room: room_index, rest, out, .. } =
            &mut self.connections[index];
        let room = &mut self.rooms[*room_index];
        loop {
            // What was left of the last read stands in front of this one.
            let start = rest.len();
            if self.scratch.len() < start + READ_BYTES {
                self.scratch.resize(start + READ_BYTES, 0);
            }
            let read = match stream.read(&mut self.scratch[start..start + READ_BYTES]) {
                Ok(0) => {
                    let closed =
                        io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection");
                    return Err(self.connections[index].failed(closed));
                }
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.connections[index].failed(error)),
            };
            self.scratch[..start].copy_from_slice(rest);
            let now = Instant::now();
            let now_nanos = nanos(now - self.shared.epoch);
            let counts = self.schedule.is_some_and(|s| (s.from..s.to).contains(&now));
            let Outcome { deliveries, tally, latency, .. } = &mut self.outcome;
            let outstanding = room.outstanding;
            let silent = out.is_empty();
            let input = &self.scratch[..start + read];
            let used = speaker.read(input, out, &mut |text| {
                let said = room.receive(text, &self.shared.texts, index, checker, tally);
                if let (Some(said), true) = (said, counts) {
                    *deliveries += 1;
                    latency.saturating_record(now_nanos.saturating_sub(said.sent_nanos));
                }
            });
            let used = match used {
                Ok(used) => used,
                Err(error) => return Err(self.connections[index].failed(error)),
            };
            rest.clear();
            rest.extend_from_slice(&input[used..]);
            if room.outstanding < outstanding && self.settled.last() != Some(room_index) {
                self.settled.push(*room_index);
            }
            let answered = silent && !out.is_empty();
            // Where sockets tell of changes by epoll, one that gave less than was asked for has nothing more, and
            // tells when it has.
            let more = !cfg!(target_os = "linux") || read == READ_BYTES;
            if answered {
                self.connections[index].flush()?;
                return match more {
                    true => self.read(index),
                    false => Ok(()),
                };
            }
            if !more {
                return Ok(());
            }
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_that_cannot_be_are_refused_with_the_reason() {
        let good = Plan::default();
        assert_eq!(good.check(), Ok(()));
        let bad = [
            Plan { rooms: 0, ..good },
            Plan { receivers: 0, ..good },
            Plan { senders: 0, ..good },
            Plan { senders: 11, ..good },
            Plan { senders: 8, stopped: 3, ..good },
            Plan { text_bytes: TEXT_BYTES_MIN - 1, ..good },
            Plan { answers_percent: 101, ..good },
            Plan { pace: Pace::Window(0), ..good },
            Plan { pace: Pace::Window(OUTSTANDING_MAX + 1), ..good },
            Plan { pace: Pace::Rate(0.0), ..good },
            Plan { pace: Pace::Rate(f64::NAN), ..good },
            Plan { seconds: Duration::ZERO, ..good },
            Plan { threads: 0, ..good },
        ];
        for plan in bad {
            assert!(plan.check().is_err(), "{plan:?}");
        }
    }
}
