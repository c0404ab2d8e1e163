//! One thread's part of the load.
//!
//! A room belongs to one thread, with all its members: so what is outstanding and what was received is counted
//! without locks. A thread is one loop: say what may be said, write, wait for sockets, read.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};

use crate::check::Tally;
use crate::error::{JOIN_PATIENCE, LoadError};
use crate::payload::RunTexts;
use crate::plan::{LoadPace, LoadPlan};
use crate::room::{Checker, LoadRoom, OUTSTANDING_MAX};
use crate::socket::{LoadServer, LoadSocket};
use crate::speaker::{LoadProtocol, LoadSpeaker, SpeakError, SpeakerSeat};

/// Time without a message at the end, after which what is missing is lost.
const LOST_AFTER: Duration = Duration::from_secs(5);

/// Bytes that one read takes.
const READ_BYTES: usize = 256 << 10;

/// Latencies beyond this count as this.
const LATENCY_MAX: Duration = Duration::from_secs(100);

/// Knowledge of all threads.
pub(crate) struct SharedRun<'a> {
    pub(crate) plan: LoadPlan,
    pub(crate) protocol: &'a dyn LoadProtocol,
    pub(crate) server: LoadServer,
    pub(crate) texts: RunTexts,
    /// The run's clock starts here.
    pub(crate) epoch: Instant,
    pub(crate) stop: AtomicBool,
    pub(crate) deliveries: AtomicU64,
}

/// Times of a run, the same for all threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunTimes {
    pub(crate) start: Instant,
    pub(crate) from: Instant,
    pub(crate) to: Instant,
}

pub(crate) enum WorkerNews {
    /// The members of this thread are in.
    Ready,
    Done(Result<Box<WorkerOutcome>, LoadError>),
}

/// Result of one thread.
pub(crate) struct WorkerOutcome {
    pub(crate) messages: u64,
    pub(crate) deliveries: u64,
    pub(crate) held_up: u64,
    pub(crate) tally: Tally,
    pub(crate) latency: Histogram<u64>,
    /// Time that those who had stopped took to read all that they had missed.
    pub(crate) catching_up: Duration,
}

/// Nanoseconds from a microsecond on, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    let most = u64::try_from(LATENCY_MAX.as_nanos()).expect("a few seconds");
    Histogram::new_with_bounds(1_000, most, 3).expect("bounds in order")
}

/// One thread's part of the load.
pub(crate) struct Worker<'a> {
    shared: &'a SharedRun<'a>,
    poll: Poll,
    connections: Vec<LoadConnection>,
    rooms: Vec<LoadRoom>,
    /// Rooms where more may be said than was.
    settled: Vec<usize>,
    /// Connections with something new to write.
    unwritten: Vec<usize>,
    schedule: Option<RunTimes>,
    outcome: WorkerOutcome,
    scratch: Vec<u8>,
    text: Vec<u8>,
}

struct LoadConnection {
    stream: LoadSocket,
    speaker: Box<dyn LoadSpeaker>,
    checker: Checker,
    room: usize,
    /// The start of a frame whose end has not come.
    rest: Vec<u8>,
    out: Vec<u8>,
    /// Number of bytes of `out` that have been written.
    written: usize,
    /// It reads nothing for now.
    stopped: bool,
    name: String,
    room_name: String,
}

impl LoadConnection {
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
        self.stream.flush().map_err(|error| self.failed(error))
    }
}

impl<'a> Worker<'a> {
    /// Joins, waits for the start, talks, and waits for what is outstanding.
    pub(crate) fn work(
        shared: &'a SharedRun<'a>,
        names: &[String],
        thread: usize,
        threads: usize,
        news: &mpsc::Sender<WorkerNews>,
        started: &mpsc::Receiver<RunTimes>,
    ) -> Result<WorkerOutcome, LoadError> {
        let mut worker = Self {
            shared,
            poll: Poll::new().map_err(LoadError::Poll)?,
            connections: Vec::new(),
            rooms: Vec::new(),
            settled: Vec::new(),
            unwritten: Vec::new(),
            schedule: None,
            outcome: WorkerOutcome {
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
        let _ = news.send(WorkerNews::Ready);
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
        let LoadPlan { receivers, senders, stopped, text_bytes, answers_percent, .. } = self.shared.plan;
        let (protocol, server) = (self.shared.protocol, self.shared.server);
        let first = number * senders;
        let base = self.connections.len();
        for n in 0..receivers {
            let stream = server.connect(JOIN_PATIENCE);
            let mut stream = stream.map_err(|error| LoadError::Connect { server: server.address, error })?;
            let token = Token(self.connections.len());
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(stream.source(), token, both).map_err(LoadError::Poll)?;
            let (name, room_name) = (format!("m{n}"), room_name.to_owned());
            let seat =
                SpeakerSeat { room: room_name.clone(), name: name.clone(), talks: n < senders, text_bytes };
            let own = (n < senders && !protocol.echoes()).then_some(first + n);
            let mut connection = LoadConnection {
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
        self.rooms.push(LoadRoom::new(connections, waited_for, first, senders, audience, answers_percent));
        Ok(())
    }

    /// Waits until everybody is in.
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
    fn talk(&mut self, schedule: RunTimes) -> Result<(), LoadError> {
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
                LoadPace::Window(window) => {
                    for room in std::mem::take(&mut self.settled) {
                        while self.rooms[room].outstanding < window {
                            self.say(room);
                        }
                    }
                    schedule.to - now
                }
                LoadPace::Rate(rate) => {
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

    /// Waits until everybody has everything, or nothing comes any more.
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
        while self.read_once(index)? {}
        Ok(())
    }

    /// Reads once, and writes what is answered. Returns whether there may be more.
    fn read_once(&mut self, index: usize) -> Result<bool, LoadError> {
        let LoadConnection { stream, speaker, checker, room: room_index, rest, out, .. } =
            &mut self.connections[index];
        let room = &mut self.rooms[*room_index];
        // What was left of the last read stands in front of this one.
        let start = rest.len();
        if self.scratch.len() < start + READ_BYTES {
            self.scratch.resize(start + READ_BYTES, 0);
        }
        let read = match stream.read(&mut self.scratch[start..start + READ_BYTES]) {
            Ok(0) => {
                let closed = io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection");
                return Err(self.connections[index].failed(closed));
            }
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(self.connections[index].failed(error)),
        };
        self.scratch[..start].copy_from_slice(rest);
        let now = Instant::now();
        let now_nanos = nanos(now - self.shared.epoch);
        let counts = self.schedule.is_some_and(|s| (s.from..s.to).contains(&now));
        let WorkerOutcome { deliveries, tally, latency, .. } = &mut self.outcome;
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
        let more = stream.may_have_more() || read == READ_BYTES;
        if silent && !out.is_empty() {
            self.connections[index].flush()?;
        }
        Ok(more)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
