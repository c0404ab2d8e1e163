//! The file in which a client keeps its membership and what it has said, until that is placed.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use causerie_core::id::Position;
use tokio::time::Instant;

use crate::private;

/// Time that a place in the log may be out of date in the file: so much may be shown again after a kill.
pub(crate) const PLACE_PAUSE: Duration = Duration::from_secs(1);

/// A file in which a membership outlives its process: the member's key, and what was said and is not placed yet.
///
/// Give it to [`RoomOptions::join_and_keep`](crate::RoomOptions::join_and_keep), at each start the same. It is written
/// and synced before anything is sent that it lacks, so a process that is killed goes on as the same member, and says
/// again, with the same ids, what had not come back: nothing is lost, and nothing is said twice. What others said in
/// the last second may be delivered again, and so is what the process had not got to: it counts as done with an event
/// once it asks for the next. Once the member has left, it is removed.
///
/// Only its owner can read it, since whoever does can speak for the member. It is locked while it is open.
///
/// ```no_run
/// use causerie_client::{Kept, RoomOptions};
///
/// # async fn bot() -> Result<(), Box<dyn std::error::Error>> {
/// let kept = Kept::open("oracle.kept")?;
/// let room = RoomOptions::new("127.0.0.1:12343", "lobby", "oracle").create(true).join_and_keep(kept).await?;
/// room.say("told, whatever happens to this process")?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Kept {
    path: PathBuf,
    found: Option<Vec<u8>>,
    /// The place in the log that it has, and since when.
    pub(crate) taken: Option<Position>,
    pub(crate) written_at: Option<Instant>,
    /// It could not be written, and that was told.
    pub(crate) failed: bool,
    _lock: File,
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

impl Kept {
    /// Opens the file, or prepares to make it, with its folder. Blocks.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if another process, or another part of this one, has it open, and what the file
    /// system says.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        if let Some(folder) = path.parent() {
            private::create_folder(folder)?;
        }
        // Beside it, since the file itself is replaced each time.
        let lock = private::open(&with_suffix(&path, ".lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::WouldBlock, format!("{} is in use", path.display()))
            }
            TryLockError::Error(error) => error,
        })?;
        let found = match fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Self { path, found, taken: Some(Position::START), written_at: None, failed: false, _lock: lock })
    }

    pub(crate) fn take_found(&mut self) -> Option<Vec<u8>> {
        self.found.take()
    }

    /// Keeps what is there and cannot be used under another name, and returns that.
    pub(crate) fn set_aside(&self) -> io::Result<PathBuf> {
        let aside =
            (1..).map(|n| with_suffix(&self.path, &format!(".unusable-{n}"))).find(|path| !path.exists());
        let aside = aside.expect("there are many numbers");
        fs::rename(&self.path, &aside)?;
        Ok(aside)
    }

    /// The whole of it, on the disk when this returns.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let part = with_suffix(&self.path, ".part");
        let mut file = private::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, &self.path)?;
        self.sync_folder()
    }

    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.sync_folder()
    }

    fn sync_folder(&self) -> io::Result<()> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if cfg!(unix) { File::open(folder.unwrap_or(Path::new(".")))?.sync_all() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_whole_private_and_nobody_elses() {
        let folder = std::env::temp_dir().join(format!("causerie-kept-{}", std::process::id()));
        let path = folder.join("some").join("file");
        let mut kept = Kept::open(&path).unwrap();
        assert_eq!(kept.take_found(), None);
        kept.write(b"one").unwrap();
        kept.write(b"two").unwrap();
        assert_eq!(Kept::open(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        drop(kept);
        let mut kept = Kept::open(&path).unwrap();
        assert_eq!(kept.take_found().as_deref(), Some(&b"two"[..]));
        let aside = kept.set_aside().unwrap();
        assert_eq!(fs::read(aside).unwrap(), b"two");
        kept.remove().unwrap();
        drop(kept);
        assert_eq!(Kept::open(&path).unwrap().take_found(), None);
        fs::remove_dir_all(folder).unwrap();
    }
}
