//! The file of servers whose keys are known.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use causerie_core::content::text::visible;
use thiserror::Error;

use super::fingerprint::Fingerprint;
use crate::kept::with_suffix;
use crate::private;

/// File with the keys of servers that were accepted, as `known_hosts` is SSH's: a line for each, `host:port sha256:hex`. Lines
/// that begin with `#` are comments. A server may have several lines, and then has any of these keys.
///
/// Only its owner can read it. It is replaced as a whole, under a lock, so programs that write it at the same time lose
/// nothing of each other's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KnownServers {
    path: PathBuf,
}

/// Error of reading or writing the known servers.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum KnownServersError {
    /// The file cannot be read.
    #[error("{} cannot be read: {error}", shown(path))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Words of the system.
        error: String,
    },
    /// A line of it is none. Nothing in the file counts until it is mended, lest a key that has changed passes for new.
    #[error("{}:{line}: a line is HOST:PORT sha256:HEX, or a comment that begins with #", shown(path))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// A server cannot be added.
    #[error("{} cannot be written: {error}", shown(path))]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Words of the system.
        error: String,
    },
}

fn shown(path: &Path) -> String {
    visible(&path.display().to_string()).into_owned()
}

/// Bytes of the longest file: room for some ten thousand servers.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Begins a file.
const HEADING: &str =
    "# Servers whose keys were accepted: host:port sha256:hex. A server whose key is another is refused.\n";

/// Returns the one way in which a server is written: in small letters, an address as it is shortest.
pub(super) fn name(server: &str) -> String {
    if let Ok(address) = server.parse::<SocketAddr>() {
        return address.to_string();
    }
    let (host, port) = server.rsplit_once(':').unwrap_or((server, ""));
    match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]:{port}"),
        Err(_) => format!("{}:{port}", host.trim_end_matches('.').to_ascii_lowercase()),
    }
}

impl KnownServers {
    /// The file at this path, which need not be there.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the keys of the server at `HOST:PORT`, each with its line. Blocks.
    ///
    /// # Errors
    /// [`KnownServersError::Unreadable`], [`KnownServersError::Damaged`].
    pub fn keys(&self, server: &str) -> Result<Vec<(Fingerprint, usize)>, KnownServersError> {
        self.keys_in(&self.read(&self.path)?, &name(server))
    }

    /// Adds a key of the server at `HOST:PORT`, unless it is there. It is on the disk when this returns. Blocks.
    ///
    /// # Errors
    /// [`KnownServersError`]; the file is as it was.
    pub fn add(&self, server: &str, key: Fingerprint) -> Result<(), KnownServersError> {
        self.add_unless(server, key, |_| false).map(drop)
    }

    /// Adds a key of a server of which no other is known. Returns the first of the others instead, with its line, if somebody has
    /// added some meanwhile: then nothing changed. Blocks.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub(super) fn add_first(
        &self,
        server: &str,
        key: Fingerprint,
    ) -> Result<Option<(Fingerprint, usize)>, KnownServersError> {
        self.add_unless(server, key, |known| !known.is_empty())
    }

    /// Adds a key unless it is there, or the other keys of the server speak against it: then the first of these comes back.
    fn add_unless(
        &self,
        server: &str,
        key: Fingerprint,
        refused: impl FnOnce(&[(Fingerprint, usize)]) -> bool,
    ) -> Result<Option<(Fingerprint, usize)>, KnownServersError> {
        let server = name(server);
        let unwritable = |error: io::Error| KnownServersError::Unwritable {
            path: self.path.clone(),
            error: error.to_string(),
        };
        if server.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#') {
            return Err(unwritable(io::Error::new(
                io::ErrorKind::InvalidInput,
                "that is no name of a server",
            )));
        }
        // Whoever comes by a link and whoever does not take the same lock, and it is the file read that is replaced.
        let path = followed(&self.path);
        if let Some(folder) = path.parent() {
            private::create_folder(folder).map_err(unwritable)?;
        }
        // Beside it, since the file itself is replaced each time.
        let lock = private::open(&with_suffix(&path, ".lock")).map_err(unwritable)?;
        lock.lock().map_err(unwritable)?;
        let mut text = self.read(&path)?;
        let known = self.keys_in(&text, &server)?;
        if known.iter().any(|(known, _)| *known == key) {
            return Ok(None);
        }
        if refused(&known) {
            return Ok(known.into_iter().next());
        }
        if text.is_empty() {
            text.push_str(HEADING);
        } else if !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&format!("{server} sha256:{}\n", key.hex()));
        replace(&path, &text).map_err(unwritable)?;
        Ok(None)
    }

    /// Reads the file, by the path at which it was found.
    fn read(&self, path: &Path) -> Result<String, KnownServersError> {
        let read = || {
            let bytes = match fs::metadata(path) {
                Ok(found) if found.len() > FILE_BYTES_MAX => return Err(io::ErrorKind::FileTooLarge.into()),
                _ => fs::read(path),
            };
            match bytes {
                Ok(bytes) => Ok(bytes),
                // Nor is there a folder.
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(Vec::new()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
                Err(error) => Err(error),
            }
        };
        let bytes = read().map_err(|error| KnownServersError::Unreadable {
            path: self.path.clone(),
            error: error.to_string(),
        })?;
        String::from_utf8(bytes).map_err(|error| {
            let whole = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + whole.iter().filter(|byte| **byte == b'\n').count();
            KnownServersError::Damaged { path: self.path.clone(), line }
        })
    }

    /// Returns all servers in a text, with their keys and lines.
    fn servers(&self, text: &str) -> Result<Vec<(String, Fingerprint, usize)>, KnownServersError> {
        let mut servers = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let words: Vec<_> = text.split_whitespace().collect();
            let known = match words[..] {
                [server, key] if server.contains(':') => key
                    .strip_prefix("sha256:")
                    .and_then(|key| key.parse().ok())
                    .map(|key| (name(server), key)),
                _ => None,
            };
            let Some((server, key)) = known else {
                return Err(KnownServersError::Damaged { path: self.path.clone(), line });
            };
            servers.push((server, key, line));
        }
        Ok(servers)
    }

    /// Returns the keys of one server in a text, with their lines.
    fn keys_in(&self, text: &str, server: &str) -> Result<Vec<(Fingerprint, usize)>, KnownServersError> {
        let known = self.servers(text)?.into_iter().filter(|known| known.0 == server);
        Ok(known.map(|(_, key, line)| (key, line)).collect())
    }
}

/// Links that are followed to where nothing is yet; as many as Linux follows.
const LINKS_MAX: usize = 40;

/// Returns where a path leads, also by links to what is not there yet.
fn followed(path: &Path) -> PathBuf {
    if let Ok(path) = fs::canonicalize(path) {
        return path;
    }
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let Ok(target) = fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    path
}

/// Replaces a file as a whole.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let part = with_suffix(path, ".part");
    let mut file = private::create(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if cfg!(unix) { File::open(folder.unwrap_or(Path::new(".")))?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Fingerprint {
        Fingerprint::new([byte; 32])
    }

    #[test]
    fn servers_are_added_and_what_is_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let known = KnownServers::new(dir.path().join("new/known_servers"));
        assert_eq!(known.keys("a:1"), Ok(Vec::new()));
        known.add("a.example.org:1", key(1)).unwrap();
        known.add("a.example.org:1", key(1)).unwrap();
        let mut text = fs::read_to_string(known.path()).unwrap();
        assert_eq!(text, format!("{HEADING}a.example.org:1 sha256:{}\n", "01".repeat(32)));
        // As people edit it.
        text.push_str(&format!("\n  # mine\n\tB.example.org:2   sha256:{}", key(2).colons()));
        fs::write(known.path(), &text).unwrap();
        known.add("[::0:1]:3", key(3)).unwrap();
        known.add("a.example.org:1", key(4)).unwrap();
        assert!(fs::read_to_string(known.path()).unwrap().starts_with(&text));
        assert_eq!(known.keys("a.example.org:1"), Ok(vec![(key(1), 2), (key(4), 7)]));
        assert_eq!(known.keys("b.example.org:2"), Ok(vec![(key(2), 5)]));
        assert_eq!(known.keys("[::1]:3"), Ok(vec![(key(3), 6)]));
        for no_name in ["a b:1", "a\nb:1", "#:1"] {
            let refused = known.add(no_name, key(5));
            assert!(matches!(refused, Err(KnownServersError::Unwritable { .. })), "{no_name}");
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(known.path()).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_damaged_line_is_told_by_its_number_and_nothing_counts() {
        let dir = tempfile::tempdir().unwrap();
        let known = KnownServers::new(dir.path().join("known_servers"));
        let good = format!("a.example.org:1 sha256:{}", key(1).hex());
        for damage in [
            "a.example.org:1".to_owned(),
            format!("a.example.org sha256:{}", key(1).hex()),
            format!("a.example.org:1 {}", key(1).hex()),
            format!("a.example.org:1 sha256:{}", &key(1).hex()[1..]),
            format!("{good} more"),
            "\u{0}".to_owned(),
        ] {
            let text = format!("# heading\n{good}\n{damage}\n");
            fs::write(known.path(), &text).unwrap();
            let error = Err(KnownServersError::Damaged { path: known.path().into(), line: 3 });
            assert_eq!(known.keys("a.example.org:1").map(drop), error, "{damage}");
            assert_eq!(known.add("b.example.org:1", key(2)), error, "{damage}");
            assert_eq!(fs::read_to_string(known.path()).unwrap(), text);
        }
        fs::write(known.path(), b"# heading\n\xff").unwrap();
        let words = known.keys("a.example.org:1").unwrap_err().to_string();
        assert!(words.contains("known_servers:2: a line is HOST:PORT sha256:HEX"), "{words}");
        fs::remove_file(known.path()).unwrap();
        fs::write(known.path(), "").unwrap();
        let below = KnownServers::new(known.path().join("known_servers"));
        assert_eq!(below.keys("a:1"), Ok(Vec::new()));
        assert!(matches!(below.add("a:1", key(1)), Err(KnownServersError::Unwritable { .. })));
        fs::remove_file(known.path()).unwrap();
        fs::create_dir(known.path()).unwrap();
        assert!(matches!(known.keys("a:1"), Err(KnownServersError::Unreadable { .. })));
    }

    #[test]
    fn those_who_write_at_the_same_time_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let known = KnownServers::new(dir.path().join("known_servers"));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let known = &known;
                scope.spawn(move || {
                    for n in 0..8 {
                        known.add(&format!("host-{thread}-{n}:1"), key(n)).unwrap();
                    }
                });
            }
        });
        for (thread, n) in (0..4).flat_map(|thread| (0..8).map(move |n| (thread, n))) {
            assert_eq!(known.keys(&format!("host-{thread}-{n}:1")).unwrap()[0].0, key(n));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_one() {
        let dir = tempfile::tempdir().unwrap();
        let (link, target) = (dir.path().join("known_servers"), dir.path().join("elsewhere"));
        fs::write(&target, "").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        KnownServers::new(&link).add("a:1", key(1)).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(KnownServers::new(&target).keys("a:1").unwrap().len(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn who_comes_by_a_link_takes_the_lock_of_all_others() {
        let dir = tempfile::tempdir().unwrap();
        let (link, target) = (dir.path().join("link"), dir.path().join("known_servers"));
        fs::write(&target, "").unwrap();
        std::os::unix::fs::symlink("known_servers", &link).unwrap();
        let lock = private::open(&with_suffix(&target, ".lock")).unwrap();
        lock.lock().unwrap();
        std::thread::scope(|scope| {
            let adding = scope.spawn(|| KnownServers::new(&link).add("a:1", key(1)).unwrap());
            // Whoever has the lock writes as if nobody else did.
            let until = std::time::Instant::now() + std::time::Duration::from_millis(100);
            while std::time::Instant::now() < until {
                assert!(!adding.is_finished(), "it waits");
                std::thread::yield_now();
            }
            fs::write(&target, format!("b:1 sha256:{}\n", key(2).hex())).unwrap();
            lock.unlock().unwrap();
        });
        let known = KnownServers::new(&target);
        assert_eq!((known.keys("a:1"), known.keys("b:1")), (Ok(vec![(key(1), 2)]), Ok(vec![(key(2), 1)])));
        assert!(!with_suffix(&link, ".lock").exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_what_is_not_there_yet_stays_one() {
        let dir = tempfile::tempdir().unwrap();
        let (link, target) = (dir.path().join("link"), dir.path().join("new/known_servers"));
        std::os::unix::fs::symlink("second", &link).unwrap();
        std::os::unix::fs::symlink("new/known_servers", dir.path().join("second")).unwrap();
        let known = KnownServers::new(&link);
        assert_eq!(known.keys("a:1"), Ok(Vec::new()));
        known.add("a:1", key(1)).unwrap();
        known.add("b:1", key(2)).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(KnownServers::new(&target).keys("b:1").unwrap().len(), 1);
        let round = dir.path().join("round");
        std::os::unix::fs::symlink("round", &round).unwrap();
        assert!(matches!(
            KnownServers::new(&round).add("a:1", key(1)),
            Err(KnownServersError::Unreadable { .. })
        ));
        assert!(fs::symlink_metadata(&round).unwrap().is_symlink());
    }
}
