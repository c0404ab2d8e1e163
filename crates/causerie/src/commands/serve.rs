//! `causerie serve`: the server, and what a service manager does with it.

mod welcome;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use causerie_server::TlsSettings;
use causerie_store::{MemoryStore, Options, SqliteStore, Store};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use welcome::Access;

use crate::config::server::{Configuration, LogFormat, default_data};

pub(crate) async fn run() -> anyhow::Result<()> {
    let mut configuration = Configuration::load()?;
    if configuration.args.print_config {
        io::stdout().lock().write_all(configuration.to_file().as_bytes())?;
        return Ok(());
    }
    // From here on a signal is heard, and none ends the process by itself.
    let mut signals = Signals::new()?;
    let on_terminal = io::stderr().is_terminal();
    let fixed = configuration.args.fixed.clone();
    let log_filter = start_log(&configuration.args.live.log, fixed.log_format)?;
    raise_open_files();
    check_open_files(configuration.args.settings().connections_max);
    let listener = TcpListener::bind(fixed.listen).await.map_err(|error| {
        anyhow!("cannot listen on {}: {error}; --listen ADDRESS:PORT chooses another", fixed.listen)
    })?;
    let store = open_store(fixed.data, fixed.forget)?;
    let settings = watch::Sender::new(configuration.args.settings());
    let others: Vec<_> = settings.borrow().own_ports.iter().map(|(_, address)| *address).collect();
    let causerie_server::Settings { tls, clear_text, classic, .. } = settings.borrow().clone();
    // Before anybody is told of it. Without a folder it is made by the server, and is another each time.
    let certificate = tls.as_ref().map(TlsSettings::prepare).transpose()?.flatten();
    welcome::print(listener.local_addr()?, &others, &Access { tls, certificate, clear_text, classic })?;
    notify(ServicePhase::Ready);

    let (stop, stopped) = oneshot::channel();
    let mut stop = Some(stop);
    let serving = causerie_server::serve(listener, Arc::clone(&store), settings.subscribe(), async {
        let _ = stopped.await;
    });
    let mut serving = std::pin::pin!(serving);
    loop {
        let signal = tokio::select! {
            served = &mut serving => {
                // It tells by itself what it cannot do, and nothing is lost then.
                let _ = store.close();
                return Ok(served?);
            }
            signal = signals.next() => signal,
        };
        // A terminal that goes away says so by the same signal.
        let left_alone = on_terminal && !io::stderr().is_terminal();
        if signal == Signal::Reload && !left_alone {
            // Once it stops, the time to drain may have been made shorter.
            if stop.is_some() {
                notify(ServicePhase::Reloading);
                reload(&mut configuration, &settings, &log_filter);
                notify(ServicePhase::Ready);
            }
        } else if let Some(stop) = stop.take() {
            notify(ServicePhase::Stopping);
            // It listens until it has stopped.
            let _ = stop.send(());
        } else {
            info!("told to stop once more: connections are cut");
            settings.send_modify(|settings| settings.drain = Duration::ZERO);
        }
    }
}

/// Reads the configuration once more; if it is wrong, the old one stays.
fn reload(
    configuration: &mut Configuration,
    settings: &watch::Sender<causerie_server::Settings>,
    log_filter: &reload::Handle<EnvFilter, Registry>,
) {
    let new = match Configuration::load() {
        Ok(new) => new,
        Err(why) => return error!("the configuration stays as it was: {why}"),
    };
    let (changed, left) = configuration.reload(new);
    // It was checked when it was read, and the log is there until the end.
    let filter = EnvFilter::try_new(&configuration.args.live.log);
    let filtered = filter.map(|filter| log_filter.reload(filter));
    settings.send_replace(configuration.args.settings());
    check_open_files(settings.borrow().connections_max);
    if !matches!(filtered, Ok(Ok(()))) {
        error!("what is logged stays as it was");
    }
    info!("the configuration was read again: {} settings have changed", changed.len());
    for change in changed {
        info!("{change}");
    }
    for name in left {
        warn!("{name} has changed, which counts from the next start on");
    }
}

fn start_log(filter: &str, format: LogFormat) -> anyhow::Result<reload::Handle<EnvFilter, Registry>> {
    let (filter, handle) = reload::Layer::new(EnvFilter::try_new(filter)?);
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_target(false).with_ansi(colours).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).init();
    Ok(handle)
}

fn open_store(data: Option<PathBuf>, forget: bool) -> anyhow::Result<Arc<dyn Store>> {
    if forget {
        return Ok(Arc::new(MemoryStore::new()));
    }
    let data = data.or_else(default_data);
    let data = data.ok_or_else(|| anyhow!("there is no folder for data here; --data DIR chooses one"))?;
    info!("rooms are kept in {}", data.display());
    Ok(Arc::new(SqliteStore::open(&data, Options::default())?))
}

/// Raises the limit of open files as far as it may be: a shell's is far below what a server has connections.
#[cfg(unix)]
fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    /// Limit of systems that take no greater one.
    const ELSE: u64 = 10_240;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let raised = [hard, hard.min(ELSE)].into_iter().filter(|limit| *limit > soft);
    // Where it cannot be raised it stays, and `check_open_files` says what that means.
    let _ = raised.into_iter().find(|limit| setrlimit(Resource::RLIMIT_NOFILE, *limit, hard).is_ok());
}

/// Says so if fewer files may be open than there may be connections.
#[cfg(unix)]
fn check_open_files(connections_max: usize) {
    use nix::sys::resource::{Resource, getrlimit};
    if let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE)
        && limit < u64::try_from(connections_max).unwrap_or(u64::MAX)
    {
        warn!(
            "the system lets this process open {limit} files, which is not enough for connections-max = \
             {connections_max}: beyond it nobody gets in until somebody leaves (LimitNOFILE, or ulimit -Hn, raises it)"
        );
    }
}

#[cfg(not(unix))]
fn raise_open_files() {}

#[cfg(not(unix))]
fn check_open_files(_: usize) {}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Signal {
    Stop,
    Reload,
}

/// Ctrl-C, and what service managers send.
#[cfg(unix)]
pub(crate) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.hang_up.recv() => Signal::Reload,
        }
    }
}

#[cfg(not(unix))]
pub(crate) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    pub(crate) async fn next(&mut self) -> Signal {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Signal::Stop
    }
}

#[derive(Clone, Copy, Debug)]
enum ServicePhase {
    Ready,
    Reloading,
    Stopping,
}

/// Tells systemd, if it has started this.
#[cfg(target_os = "linux")]
fn notify(phase: ServicePhase) {
    use sd_notify::NotifyState;
    let told = match phase {
        ServicePhase::Ready => sd_notify::notify(&[NotifyState::Ready]),
        ServicePhase::Reloading => NotifyState::monotonic_usec_now()
            .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now])),
        ServicePhase::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
    };
    if let Err(error) = told {
        warn!("the service manager cannot be told: {error}");
    }
}

#[cfg(not(target_os = "linux"))]
fn notify(_: ServicePhase) {}
