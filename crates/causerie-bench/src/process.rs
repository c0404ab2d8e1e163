//! Server processes: started for a load and ended with it, and what they use.

use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use thiserror::Error;

/// Time that a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that ends when this is dropped.
#[derive(Debug)]
pub struct Started {
    child: Child,
    /// Address on which it listens.
    pub address: SocketAddr,
    /// Removed with it.
    data: Option<PathBuf>,
}

/// Error instead of a server.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// The program does not start.
    #[error("{program} does not start: {error}")]
    Program {
        /// Path of the program.
        program: String,
        /// Cause.
        error: io::Error,
    },
    /// It ended, or does not listen.
    #[error("{program} started, but does not listen")]
    Silent {
        /// Path of the program.
        program: String,
    },
}

impl Started {
    /// Starts a server of causerie's on a free port of the loopback, with a data folder of its own among the
    /// temporary files, which goes with it, and without limits on what clients send.
    ///
    /// # Errors
    /// [`LaunchError`].
    pub fn causerie(command: Command) -> Result<Self, LaunchError> {
        Self::causerie_with(command, &[])
    }

    /// Starts one as [`causerie`](Self::causerie) does, which speaks TLS as well, with a certificate of its own.
    ///
    /// # Errors
    /// [`LaunchError`].
    pub fn causerie_by_tls(command: Command) -> Result<Self, LaunchError> {
        Self::causerie_with(command, &["--tls", "self-signed"])
    }

    fn causerie_with(mut command: Command, settings: &[&str]) -> Result<Self, LaunchError> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let data = std::env::temp_dir().join(format!("causerie-bench-{}-{since}", std::process::id()));
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--irc-rate", "0", "--log", "warn", "--data"])
            .arg(&data)
            .args(settings);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let program = program(&command);
        let mut child = command.spawn().map_err(|error| LaunchError::Program { program, error })?;
        let mut out = BufReader::new(child.stdout.take().expect("it was given a pipe"));
        let mut line = String::new();
        let said = out.read_line(&mut line);
        let address = line.trim_end().rsplit_once(" is listening on ");
        let address = said.ok().and(address).and_then(|(_, at)| at.trim_end_matches('.').parse().ok());
        // What else it says is for people: it must not fill the pipe, nor find it closed.
        std::thread::spawn(move || io::copy(&mut out, &mut io::sink()));
        // Made before anything can fail: dropping it ends the process.
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let started = Self { child, address: address.unwrap_or(nowhere), data: Some(data) };
        match address {
            Some(_) => Ok(started),
            None => Err(LaunchError::Silent { program: self::program(&command) }),
        }
    }

    /// Starts a server that was told to listen at `address`, and waits until it does.
    ///
    /// # Errors
    /// [`LaunchError`].
    pub fn at(address: SocketAddr, command: &mut Command) -> Result<Self, LaunchError> {
        command.stdin(Stdio::null());
        let child =
            command.spawn().map_err(|error| LaunchError::Program { program: program(command), error })?;
        let mut started = Self { child, address, data: None };
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && matches!(started.child.try_wait(), Ok(None)) {
            if TcpStream::connect(address).is_ok() {
                return Ok(started);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(LaunchError::Silent { program: program(command) })
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(data) = &self.data {
            // What cannot be removed is among the temporary files.
            let _ = std::fs::remove_dir_all(data);
        }
    }
}

/// Use of a process so far.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Usage {
    /// Time of processors, all threads together.
    pub cpu: Duration,
    /// The most memory that it ever had, in bytes.
    pub memory_peak: u64,
}

/// Reads what a process has used from `/proc`.
///
/// # Errors
/// If there is no such process, or no `/proc`: only Linux has what is read here.
pub fn usage(pid: u32) -> io::Result<Usage> {
    let odd = || io::Error::new(io::ErrorKind::InvalidData, "not what proc(5) says");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let cpu = cpu_ticks(&stat).ok_or_else(odd)?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak: u64 = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse().ok()).ok_or_else(odd)?;
    // A tick is a hundredth of a second on every Linux that programs see (USER_HZ).
    Ok(Usage { cpu: Duration::from_millis(10 * cpu), memory_peak: peak << 10 })
}

/// User and system time: the 14th and 15th field; the second, the program's name, may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(ticks()? + ticks()?)
}

/// Allows as many open files as this process may have, for itself and for what it starts. How many that is.
#[must_use]
pub fn raise_file_limit() -> u64 {
    #[cfg(unix)]
    {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
            return match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
                Ok(()) => hard,
                Err(_) => soft,
            };
        }
    }
    u64::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_program_may_hold_anything() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 250 17 0 0 20 0 1 0";
        assert_eq!(cpu_ticks(stat), Some(267));
        assert_eq!(cpu_ticks("7 (a"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_uses_something() {
        assert!(usage(std::process::id()).unwrap().memory_peak > 1 << 20);
        assert!(usage(u32::MAX).is_err());
    }
}
