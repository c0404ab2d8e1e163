//! The data folder: who has it, who may look into it, and whether there is to be a store in it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::error::OpenError;

/// The database that takes the commits.
pub(super) const FILE: &str = "causerie.db";
/// The database that has the blocks and the search index.
pub(super) const BLOCKS: &str = "causerie-blocks.db";
/// Copies in the making.
pub(super) const PART: &str = "causerie.part";
pub(super) const BLOCKS_PART: &str = "causerie-blocks.part";
const LOCK: &str = "lock";
/// Prefix of folders with copies from before an upgrade; the new format's number follows.
const BEFORE: &str = "before-format-";
/// What the server has beside the store: its control socket, in the making too, and its certificate.
const SERVERS: [&str; 3] = ["control.sock", "control.new", "tls"];
/// The lock's content once rooms were made: an empty database beside it was not always empty.
const USED: &[u8] = b"There are rooms in this store.\n";

pub(super) fn io(path: &Path) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::Io { path: path.to_owned(), source }
}

/// A data folder that this process has, for as long as this lives.
#[derive(Debug)]
pub(super) struct Folder {
    /// The lock's file; `None` where there is none, so that nobody has ever opened the folder to write.
    lock: Option<File>,
}

impl Folder {
    /// Locks the folder for this process alone, makes it if need be, and takes others' rights away.
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        make_private(dir).map_err(io(dir))?;
        let path = dir.join(LOCK);
        let file = private().create(true).truncate(false).read(true).open(&path).map_err(io(&path))?;
        let folder = Self::locked(dir, file.try_lock(), Some(file))?;
        tighten(dir);
        Ok(folder)
    }

    /// Locks the folder to read it; changes nothing. Others may read it meanwhile, nobody may write.
    pub(super) fn take_to_read(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(LOCK);
        match File::open(&path) {
            Ok(file) => Self::locked(dir, file.try_lock_shared(), Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self { lock: None }),
            Err(error) => Err(io(&path)(error)),
        }
    }

    fn locked(dir: &Path, locked: Result<(), TryLockError>, lock: Option<File>) -> Result<Self, OpenError> {
        match locked {
            Ok(()) => Ok(Self { lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked { dir: dir.to_owned() }),
            Err(TryLockError::Error(source)) => Err(OpenError::Io { path: dir.join(LOCK), source }),
        }
    }

    /// Returns whether rooms were made in the store at some time.
    pub(super) fn was_used(&self) -> bool {
        let Some(mut file) = self.lock.as_ref() else { return false };
        let mut found = Vec::new();
        let read = file.rewind().and_then(|()| file.take(USED.len() as u64).read_to_end(&mut found));
        read.is_ok() && !found.is_empty()
    }

    /// Notes in the lock that rooms were made. On a full disk that has to wait for another time.
    pub(super) fn note_use(&self) {
        let Some(mut file) = self.lock.as_ref().filter(|_| !self.was_used()) else { return };
        let written = file.rewind().and_then(|()| file.write_all(USED)).and_then(|()| file.sync_all());
        if let Err(error) = written {
            tracing::debug!(%error, "that there are rooms cannot be noted beside them");
        }
    }
}

/// Returns whether there is anything in a database's file.
pub(super) fn has_database(dir: &Path, file: &str) -> bool {
    length(dir.join(file)) > 0
}

/// Returns whether something of a database stands in a log beside it.
pub(super) fn has_log(dir: &Path, file: &str) -> bool {
    sizes(dir, file).1 > 0 || length(dir.join(format!("{file}-journal"))) > 0
}

/// Free bytes without which a disk counts as full: some more messages.
const ROOM_BYTES: usize = 512 << 10;

/// Returns whether the disk takes nothing more to speak of.
pub(super) fn is_full(dir: &Path) -> bool {
    let path = dir.join(format!("{FILE}-room"));
    let write = || {
        let mut file = private().create(true).truncate(true).open(&path)?;
        file.write_all(&vec![0; ROOM_BYTES])?;
        file.sync_all()
    };
    let written = write();
    let _ = std::fs::remove_file(&path);
    written.is_err_and(|e| matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}

/// Returns the sizes of a database and of its write-ahead log.
pub(super) fn sizes(dir: &Path, file: &str) -> (u64, u64) {
    (length(dir.join(file)), length(dir.join(format!("{file}-wal"))))
}

fn length(path: PathBuf) -> u64 {
    std::fs::metadata(path).map_or(0, |m| m.len())
}

/// Returns the folder for the copy that is made before the store is brought to a format.
pub(super) fn before_format(dir: &Path, format: i64) -> PathBuf {
    dir.join(format!("{BEFORE}{format}"))
}

/// Syncs the folder's own entries to the disk.
pub(super) fn sync_folder(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

// Rights.

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes an empty file that only its owner can read. SQLite gives the files beside a database the same rights.
pub(super) fn make_private_file(path: &Path) -> io::Result<()> {
    let file = private().create(true).truncate(false).open(path)?;
    set_mode(&file, 0o600)
}

/// Makes a folder, and those above it, that only its owner can look into. One that is there stays as it is.
pub(super) fn make_private(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)?;
    // Whatever the umask takes away.
    own(dir)
}

/// Takes away others' rights on a folder.
pub(super) fn own(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { set_mode(&File::open(dir)?, 0o700) } else { Ok(()) }
}

#[cfg(unix)]
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_: &File, _: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(not(unix))]
fn tighten(_: &Path) {}

/// Takes away others' rights on the folder and the store's files in it, and logs that.
#[cfg(unix)]
fn tighten(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let is_ours = |name: &str| {
        [LOCK, PART, BLOCKS_PART].contains(&name)
            || SERVERS.contains(&name)
            || [FILE, BLOCKS, BEFORE].iter().any(|begin| name.starts_with(begin))
    };
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    let (ours, others): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|name| name.to_str().is_some_and(is_ours));
    let (mut tightened, mut open) = (false, false);
    let mut each = |path: &Path, mode: u32, may: bool| {
        let Ok(found) = std::fs::metadata(path) else { return };
        if found.permissions().mode() & 0o077 == 0 {
            return;
        }
        let mode = if found.is_dir() { 0o700 } else { mode };
        match may && std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).is_ok() {
            true => tightened = true,
            false => open = true,
        }
    };
    // Who has other things in it, too, may mean others to reach these.
    each(dir, 0o700, others.is_empty());
    ours.iter().for_each(|name| each(&dir.join(name), 0o600, true));
    let shown = dir.display();
    if tightened {
        tracing::warn!("others could look into {shown}: from now on only its owner can");
    }
    if open {
        tracing::warn!(
            "others can look into {shown}, and that cannot be changed or is left so for other files in it"
        );
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_folder_with_other_things_in_it_stays_open() {
        let dir = tempfile::tempdir().unwrap();
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        };
        std::fs::write(dir.path().join("theirs"), "").unwrap();
        std::fs::write(dir.path().join(FILE), "").unwrap();
        set(&dir.path().join("theirs"), 0o644);
        set(&dir.path().join(FILE), 0o644);
        set(dir.path(), 0o755);
        tighten(dir.path());
        assert_eq!((mode(dir.path()), mode(&dir.path().join("theirs"))), (0o755, 0o644));
        assert_eq!(mode(&dir.path().join(FILE)), 0o600);
        std::fs::remove_file(dir.path().join("theirs")).unwrap();
        tighten(dir.path());
        assert_eq!(mode(dir.path()), 0o700);
    }
}
