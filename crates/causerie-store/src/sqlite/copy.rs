//! Copies of the database.

use std::path::Path;

use rusqlite::Connection;

use super::folder;

/// Why a copy could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("the path is not Unicode")]
    Path,
}

/// Copies what a connection sees into the folder `to`, in place of what is there.
pub(super) fn copy(db: &Connection, to: &Path) -> Result<(), CopyError> {
    folder::make_private(to)?;
    // Where it is not ours to say who may look into it, the file in it is its owner's alone.
    let _ = folder::own(to);
    let (part, whole) = (to.join(folder::PART), to.join(folder::FILE));
    let name = part.to_str().ok_or(CopyError::Path)?;
    let write = || {
        match std::fs::remove_file(&part) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => folder::make_private_file(&part)?,
        }
        db.execute("VACUUM main INTO ?1", [name])?;
        // Not before it is whole and on the disk does it have the name.
        std::fs::File::options().write(true).open(&part)?.sync_all()?;
        std::fs::rename(&part, &whole)?;
        Ok(folder::sync_folder(to)?)
    };
    let written = write();
    if written.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    written
}
