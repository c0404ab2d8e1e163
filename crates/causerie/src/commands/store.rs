//! `causerie store`: a server's data folder, checked, measured, copied and put back.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use causerie_client::private;
use causerie_core::content::text::visible;
use causerie_store::{MemberSelection, Options, RoomId, SqliteStore, Store};
use clap::{Args, Subcommand};

/// Check, measure, copy and restore a server's data folder.
#[derive(Args, Debug)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,

    /// Folder of the rooms. By default in the platform's folder for data of programs, as for `serve`.
    #[arg(long, global = true, value_name = "DIR", env = "CAUSERIE_DATA")]
    data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Read everything, compare every checksum, and name what is damaged. No server may be running on it.
    Check,
    /// Rooms, messages, members, bytes. No server may be running on it.
    Stats,
    /// A consistent copy into a new folder. A server may be running on it meanwhile.
    Backup {
        /// The folder to make.
        #[arg(value_name = "FOLDER")]
        to: PathBuf,
    },
    /// Put a copy in place as the data folder. Clients that have seen what the copy lacks join anew.
    Restore {
        /// The folder that `backup` has made.
        #[arg(value_name = "FOLDER")]
        from: PathBuf,

        /// Set aside what is in the data folder.
        #[arg(long)]
        replace: bool,
    },
}

pub(crate) fn run(args: StoreArgs) -> anyhow::Result<()> {
    let data = args.data.or_else(crate::config::server::default_data);
    let data = data.ok_or_else(|| anyhow!("there is no folder for data here; --data DIR chooses one"))?;
    match args.command {
        StoreCommand::Check => check(&data),
        StoreCommand::Stats => stats(&data),
        StoreCommand::Backup { to } => backup(&data, &to),
        StoreCommand::Restore { from, replace } => restore(&from, &data, replace),
    }
}

/// Opens what is there to be read; changes nothing.
fn open(data: &Path) -> anyhow::Result<SqliteStore> {
    must_exist(data)?;
    let store = SqliteStore::open_to_read(data, Options::default())?;
    if store.format() < SqliteStore::FORMAT {
        let (found, known) = (store.format(), SqliteStore::FORMAT);
        println!("format {found}; `causerie serve` brings it to {known}, after a copy");
    }
    Ok(store)
}

fn must_exist(data: &Path) -> anyhow::Result<()> {
    match data.join(SqliteStore::FILE).try_exists() {
        Ok(true) => Ok(()),
        Ok(false) => bail!("there is no store in {}", data.display()),
        Err(error) => Err(error).with_context(|| data.display().to_string()),
    }
}

fn names(store: &SqliteStore) -> anyhow::Result<BTreeMap<RoomId, String>> {
    let rooms = store.rooms()?;
    Ok(rooms.into_iter().map(|r| (r.room, visible(&r.row.name).into_owned())).collect())
}

fn check(data: &Path) -> anyhow::Result<()> {
    let store = open(data)?;
    let report = store.check();
    let names = names(&store).unwrap_or_default();
    let mut out = io::stdout().lock();
    for damage in &report.damaged {
        let room = names.get(&damage.room).map_or(damage.room.to_string(), |name| format!("room '{name}'"));
        let (from, to) = (damage.positions.start(), damage.positions.end());
        match from == to {
            true => writeln!(out, "{room}: the record at position {from} is damaged")?,
            false => writeln!(out, "{room}: the records at positions {from} to {to} are damaged")?,
        }
    }
    for problem in &report.problems {
        writeln!(out, "{}", visible(problem))?;
    }
    let cut = &store.recovery().rooms_cut;
    for room in cut {
        let room = names.get(room).map_or(room.to_string(), |name| format!("room '{name}'"));
        writeln!(out, "{room}: what was stored last may be lost: a damaged batch may have had more of it")?;
    }
    writeln!(out, "{} rooms, {} records, {} bytes read", report.rooms, report.records, report.bytes)?;
    if !report.is_clean() || !cut.is_empty() {
        bail!("the store in {} is damaged", data.display());
    }
    writeln!(out, "nothing is damaged")?;
    Ok(())
}

fn stats(data: &Path) -> anyhow::Result<()> {
    let store = open(data)?;
    let mut out = io::stdout().lock();
    for room in store.rooms()? {
        let (mut bytes, mut records, mut cursor) = (0, 0, room.first.saturating_sub(1));
        while cursor < room.last {
            let page = store.read(room.room, cursor, 1 << 20)?;
            bytes += page.bytes() as u64;
            records += page.len();
            cursor = page.next().max(cursor + 1);
        }
        let members = store.members(room.room, MemberSelection::Present)?.len();
        let kept = match room.first > room.last {
            true => "none kept".to_owned(),
            false => format!("positions {} to {}", room.first, room.last),
        };
        let name = visible(&room.row.name);
        writeln!(out, "room '{name}': {members} members, {records} records, {bytes} bytes, {kept}")?;
    }
    let stats = store.stats();
    let (rooms, records) = (stats.rooms, stats.records);
    writeln!(out, "{rooms} rooms, {records} records")?;
    let (file, free, log) = (stats.file_bytes, stats.free_bytes, stats.wal_bytes);
    writeln!(out, "databases {file} bytes, {free} of them free; write-ahead logs {log} bytes")?;
    Ok(())
}

fn backup(data: &Path, to: &Path) -> anyhow::Result<()> {
    must_exist(data)?;
    SqliteStore::backup_of(data, to)?;
    println!("copied to {}", to.display());
    Ok(())
}

fn restore(from: &Path, data: &Path, replace: bool) -> anyhow::Result<()> {
    must_exist(from)?;
    if fs::canonicalize(from).ok() == fs::canonicalize(data).ok() {
        bail!("{} is the data folder itself", from.display());
    }
    // Held until the folder is set aside, so that no server starts on it; whatever state it is in.
    let is_there = data.join(SqliteStore::FILE).try_exists()? || data.join(LOCK).try_exists()?;
    let before = if is_there { Some(SqliteStore::hold(data)?) } else { None };
    if before.is_some() && !replace {
        bail!("there is a store in {} already; --replace sets it aside", data.display());
    }
    let part = beside(data, "restoring")?;
    clear(&part).with_context(|| part.display().to_string())?;
    let rooms = prepare(from, &part).with_context(|| format!("{} cannot be restored", from.display()))?;
    if before.is_some() {
        let aside = (1..).map(|n| beside(data, &format!("replaced-{n}"))).find(|aside| match aside {
            Ok(aside) => !aside.exists(),
            Err(_) => true,
        });
        let aside = aside.expect("there are many numbers")?;
        fs::rename(data, &aside).with_context(|| format!("{} cannot be set aside", data.display()))?;
        println!("what was there is in {} now", aside.display());
    }
    fs::rename(&part, data)
        .with_context(|| format!("{} is whole, but cannot become {}", part.display(), data.display()))?;
    drop(before);
    if let Some(parent) = data.parent().filter(|_| cfg!(unix)) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        fs::File::open(parent)?.sync_all()?;
    }
    println!("{rooms} rooms are restored in {}; their members join again", data.display());
    Ok(())
}

/// The copy in a folder of its own, made ready for a server.
fn prepare(from: &Path, part: &Path) -> anyhow::Result<usize> {
    private::create_folder(part)?;
    for name in files(&["", "-wal"]) {
        match fs::File::open(from.join(&name)) {
            Ok(mut from) => {
                let mut to = private::create(&part.join(&name))?;
                io::copy(&mut from, &mut to)?;
                to.sync_all()?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    // The copy is a copy already.
    let options = Options { background: false, copy_before_upgrade: false, ..Options::default() };
    let store = SqliteStore::open(part, options)?;
    let report = store.check();
    if !report.is_clean() {
        eprintln!("the copy is damaged: `causerie store check` tells where; what can be read is restored");
    }
    let rooms = causerie_server::renew_all(&store)?;
    store.close()?;
    Ok(rooms)
}

/// The names of a store's databases, and of what is beside them: a write-ahead log (not in a copy by
/// `backup`), its index.
fn files(endings: &[&str]) -> impl Iterator<Item = String> {
    SqliteStore::FILES
        .into_iter()
        .flat_map(move |file| endings.iter().map(move |ending| format!("{file}{ending}")))
}

/// File that shows that somebody has had a folder open.
const LOCK: &str = "lock";

fn beside(data: &Path, what: &str) -> anyhow::Result<PathBuf> {
    let name = data.file_name().ok_or_else(|| anyhow!("{} has no name", data.display()))?;
    let mut name = name.to_owned();
    name.push(format!(".{what}"));
    Ok(data.with_file_name(name))
}

/// Removes what an earlier try has left.
fn clear(part: &Path) -> io::Result<()> {
    for name in files(&["", "-wal", "-shm"]).chain([LOCK.to_owned()]) {
        match fs::remove_file(part.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    match fs::remove_dir(part) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
