//! The key with which somebody makes rooms, and may close them.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use causerie_core::key::{KeyPair, read_room_key, room_key};

use crate::kept::with_suffix;
use crate::private;

/// The key that stands in this file, or a fresh one, which stands there from now on. Blocks.
///
/// Rooms made with it can be closed with it. Only its owner can read the file.
///
/// # Errors
/// Those of the file system, and [`io::ErrorKind::InvalidData`] if something else stands there.
pub fn own_key(path: impl AsRef<Path>) -> io::Result<KeyPair> {
    let path = path.as_ref();
    if let Some(key) = read(path)? {
        return Ok(key);
    }
    if let Some(folder) = path.parent() {
        private::create_folder(folder)?;
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).expect("the operating system gives random bytes");
    // Whole, or not there; and of two programs that make one at the same time both take the first.
    let new = with_suffix(path, &format!(".{}", std::process::id()));
    let mut file = private::create(&new)?;
    writeln!(file, "{}", room_key(&seed))?;
    file.sync_all()?;
    let linked = fs::hard_link(&new, path);
    fs::remove_file(&new)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => read(path)?.ok_or_else(|| io::ErrorKind::NotFound.into()),
    }
}

fn read(path: &Path) -> io::Result<Option<KeyPair>> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(text) => match read_room_key(text.trim_end()) {
            Some(seed) => Ok(Some(KeyPair::new(seed))),
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "that is no key of rooms")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/key");
        let key = own_key(&path).unwrap();
        assert!(own_key(&path).unwrap() == key);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(dir.path().join("new")).unwrap().count(), 1);
        fs::write(&path, "something else").unwrap();
        assert_eq!(own_key(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
