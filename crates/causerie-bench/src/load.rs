//! The load itself: threads that hold many connections each, begun together and added up.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::check::Tally;
use crate::error::LoadError;
use crate::payload::RunTexts;
use crate::plan::{LoadPlan, PlanError};
use crate::process::{raise_file_limit, usage};
use crate::report::{Latency, LoadReport, ServerUse};
use crate::socket::{LoadServer, told};
use crate::speaker::{LoadProtocol, SpeakError};
use crate::worker::{RunTimes, SharedRun, Worker, WorkerNews, histogram};

/// Progress of a load: told once a second, and when measuring begins and ends.
#[derive(Clone, Copy, Debug)]
pub struct LoadProgress {
    /// Time since the load began, the warm-up included.
    pub elapsed: Duration,
    /// Time that it takes in all.
    pub whole: Duration,
    /// Deliveries so far.
    pub deliveries: u64,
}

/// Puts the load on `server`, an address or a [`LoadServer`]. What it uses is read from `/proc` where `server_pid` is given.
///
/// # Errors
/// [`LoadError`]. That messages were lost is none: it stands in the report.
pub fn run(
    plan: &LoadPlan,
    protocol: &dyn LoadProtocol,
    server: impl Into<LoadServer>,
    server_pid: Option<u32>,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<LoadReport, LoadError> {
    let server = server.into();
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
        SpeakError::Io(error) => LoadError::Connect { server: server.address, error: told(error) },
        error => LoadError::Rooms(error),
    })?;

    let shared = SharedRun {
        plan: *plan,
        protocol,
        server,
        texts: RunTexts::new(run, plan.text_bytes),
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
                let _ = news.send(WorkerNews::Done(done.map(Box::new)));
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

/// Starts the threads together, reads the server's meters when measuring begins and ends, and adds up.
fn conduct(
    shared: &SharedRun<'_>,
    go: &[mpsc::Sender<RunTimes>],
    news: &mpsc::Receiver<WorkerNews>,
    server_use: &dyn Fn() -> Result<Option<crate::process::Usage>, LoadError>,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<LoadReport, LoadError> {
    const GONE: &str = "each thread tells how it ended";
    for _ in go {
        if let WorkerNews::Done(done) = news.recv().expect(GONE) {
            done?;
        }
    }
    let start = Instant::now();
    let from = start + shared.plan.warm_up;
    let schedule = RunTimes { start, from, to: from + shared.plan.seconds };
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
                Ok(WorkerNews::Done(done)) => outcomes.push(done?),
                Ok(WorkerNews::Ready) => {}
                Err(_) => {
                    progress(LoadProgress {
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
        if let WorkerNews::Done(done) = news.recv().expect(GONE) {
            outcomes.push(done?);
        }
    }
    let end = server_use()?;

    let between = (after.2 - before.2).as_secs_f64();
    let processors = |before: crate::process::Usage, after: crate::process::Usage| {
        after.cpu.saturating_sub(before.cpu).as_secs_f64() / between
    };
    let mut latency = histogram();
    let mut report = LoadReport {
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
