//! A disk that fails as told: a VFS for SQLite whose files are in memory, with what was synced apart from what was
//! only written.
//!
//! A power cut keeps what was synced, and of the writes since then a random part, torn at sectors.

#![expect(unsafe_code, reason = "SQLite's interface to files is a table of C functions")]
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each follows the same contract, told once at `handle`"
)]

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rusqlite::ffi::{self, sqlite3_file, sqlite3_io_methods, sqlite3_vfs};

use super::Random;

const SECTOR: usize = 512;

/// What goes wrong, and when.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// The power goes at this operation (writes, truncations and syncs count).
    pub(crate) dies_at: Option<u64>,
    /// This operation fails, if it is a write: nothing of it is written.
    pub(crate) write_error_at: Option<u64>,
    /// This operation, if it is a write, writes half and says that the disk is full.
    pub(crate) short_write_at: Option<u64>,
    /// The first sync from this operation on fails, and syncs nothing; nor do later ones.
    pub(crate) sync_error_from: Option<u64>,
    /// All files together have at most so many bytes.
    pub(crate) bytes_max: Option<usize>,
    /// Syncs say that they have, and have not.
    pub(crate) lies: bool,
    /// One read of so many has a bit flipped.
    pub(crate) flips: Option<u64>,
}

#[derive(Default)]
struct File {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// Since the last sync: what was written where; a truncation has no bytes.
    pending: Vec<(usize, Option<Vec<u8>>)>,
    sync_failed: bool,
    locks: HashMap<u64, c_int>,
    regions: Vec<Box<[u64]>>,
    mapped: HashMap<u64, ()>,
    /// For each of the eight: who holds it shared, who exclusively.
    shm_shared: [Vec<u64>; 8],
    shm_exclusive: [Option<u64>; 8],
}

impl File {
    fn write(&mut self, at: usize, bytes: &[u8]) {
        write_at(&mut self.now, at, bytes);
        self.pending.push((at, Some(bytes.to_vec())));
    }

    fn truncate(&mut self, length: usize) {
        self.now.resize(length, 0);
        self.pending.push((length, None));
    }

    fn cut(&mut self, random: &mut Random) {
        let mut kept = std::mem::take(&mut self.synced);
        // Sometimes all of it had come through, sometimes nothing.
        let percent = [0, 30, 60, 90, 100][random.below(5) as usize];
        for (at, bytes) in std::mem::take(&mut self.pending) {
            match bytes {
                None if random.chance(percent) => kept.resize(at, 0),
                None => {}
                Some(bytes) => {
                    // Sectors are whole or not there.
                    let mut from = 0;
                    while from < bytes.len() {
                        let to = ((at + from) / SECTOR + 1) * SECTOR - at;
                        let to = to.min(bytes.len());
                        if random.chance(percent) {
                            write_at(&mut kept, at + from, &bytes[from..to]);
                        }
                        from = to;
                    }
                }
            }
        }
        *self = Self { now: kept.clone(), synced: kept, ..Self::default() };
    }
}

fn write_at(to: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if to.len() < at + bytes.len() {
        to.resize(at + bytes.len(), 0);
    }
    to[at..at + bytes.len()].copy_from_slice(bytes);
}

#[derive(Default)]
struct Inner {
    files: HashMap<String, Arc<Mutex<File>>>,
    faults: Faults,
    operations: u64,
    dead: bool,
    random: u64,
    handles: u64,
    flipped: u64,
}

static INNER: OnceLock<Mutex<Inner>> = OnceLock::new();

fn inner() -> MutexGuard<'static, Inner> {
    INNER.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

fn lock(file: &Arc<Mutex<File>>) -> MutexGuard<'_, File> {
    file.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The one disk of this process. One test at a time has it.
pub(crate) struct Disk {
    _turn: MutexGuard<'static, ()>,
}

impl Disk {
    /// An empty disk without faults; SQLite uses it from now on.
    pub(crate) fn new(seed: u64) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        static REGISTERED: OnceLock<()> = OnceLock::new();
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        REGISTERED.get_or_init(register);
        *inner() = Inner { random: seed, ..Inner::default() };
        Self { _turn: turn }
    }

    pub(crate) fn faults(&self, faults: Faults) {
        inner().faults = faults;
    }

    pub(crate) fn operations(&self) -> u64 {
        inner().operations
    }

    pub(crate) fn is_dead(&self) -> bool {
        inner().dead
    }

    pub(crate) fn flipped(&self) -> u64 {
        inner().flipped
    }

    pub(crate) fn bytes(&self) -> usize {
        inner().files.values().map(|file| lock(file).now.len()).sum()
    }

    /// The power goes and comes back; nobody has a file open. Faults are over.
    pub(crate) fn power_cut(&self) {
        let mut inner = inner();
        let random = &mut Random(inner.random);
        let mut names: Vec<_> = inner.files.keys().cloned().collect();
        names.sort();
        names.iter().for_each(|name| lock(&inner.files[name]).cut(random));
        inner.random = random.next();
        inner.dead = false;
        inner.faults = Faults::default();
    }

    /// Removes the file whose name ends so.
    pub(crate) fn remove(&self, ending: &str) {
        inner().files.retain(|name, _| !name.ends_with(ending));
    }

    /// The bytes of the file whose name ends so, to be looked at and changed.
    pub(crate) fn edit<T>(&self, ending: &str, edit: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let inner = inner();
        let name = inner.files.keys().find(|name| name.ends_with(ending)).expect("there is such a file");
        let mut file = lock(&inner.files[name]);
        let result = edit(&mut file.now);
        file.synced = file.now.clone();
        file.pending.clear();
        result
    }
}

/// What SQLite has of an open file: its own header, and a pointer to ours.
#[repr(C)]
struct Handle {
    base: sqlite3_file,
    open: *mut Open,
}

struct Open {
    id: u64,
    name: String,
    file: Arc<Mutex<File>>,
    delete: bool,
}

/// SQLite passes what `x_open` filled in, from one thread at a time, until `x_close`; buffers are as long as said.
unsafe fn handle<'a>(file: *mut sqlite3_file) -> &'a Open {
    unsafe { &*(*file.cast::<Handle>()).open }
}

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(x_close),
    xRead: Some(x_read),
    xWrite: Some(x_write),
    xTruncate: Some(x_truncate),
    xSync: Some(x_sync),
    xFileSize: Some(x_size),
    xLock: Some(x_lock),
    xUnlock: Some(x_unlock),
    xCheckReservedLock: Some(x_reserved),
    xFileControl: Some(x_control),
    xSectorSize: Some(x_sector),
    xDeviceCharacteristics: Some(x_device),
    xShmMap: Some(x_shm_map),
    xShmLock: Some(x_shm_lock),
    xShmBarrier: Some(x_shm_barrier),
    xShmUnmap: Some(x_shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

fn register() {
    unsafe {
        // Time and chance stay the system's.
        let system = ffi::sqlite3_vfs_find(std::ptr::null());
        let ours = Box::leak(Box::new(*system));
        ours.iVersion = 2;
        ours.szOsFile = size_of::<Handle>() as c_int;
        ours.pNext = std::ptr::null_mut();
        ours.zName = c"faulty".as_ptr();
        ours.xOpen = Some(x_open);
        ours.xDelete = Some(x_delete);
        ours.xAccess = Some(x_access);
        ours.xFullPathname = Some(x_path);
        assert_eq!(ffi::sqlite3_vfs_register(ours, 1), ffi::SQLITE_OK);
    }
}

unsafe extern "C" fn x_open(
    _: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    unsafe {
        (*file).pMethods = std::ptr::null();
        let mut inner = inner();
        if inner.dead {
            return ffi::SQLITE_CANTOPEN;
        }
        inner.handles += 1;
        let id = inner.handles;
        let name = match name.is_null() {
            true => format!("temporary {id}"),
            false => CStr::from_ptr(name).to_str().expect("tests use ASCII").to_owned(),
        };
        if !inner.files.contains_key(&name) && flags & ffi::SQLITE_OPEN_CREATE == 0 {
            return ffi::SQLITE_CANTOPEN;
        }
        let found = inner.files.entry(name.clone()).or_default().clone();
        let delete = flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0;
        let open = Box::new(Open { id, name, file: found, delete });
        (*file.cast::<Handle>()).open = Box::into_raw(open);
        (*file).pMethods = &raw const METHODS;
        if !out_flags.is_null() {
            *out_flags = flags;
        }
        ffi::SQLITE_OK
    }
}

unsafe extern "C" fn x_close(file: *mut sqlite3_file) -> c_int {
    unsafe {
        x_shm_unmap(file, 0);
        let open = Box::from_raw((*file.cast::<Handle>()).open);
        lock(&open.file).locks.remove(&open.id);
        if open.delete {
            inner().files.remove(&open.name);
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_delete(_: *mut sqlite3_vfs, name: *const c_char, _: c_int) -> c_int {
    let name = unsafe { CStr::from_ptr(name) }.to_str().expect("tests use ASCII");
    let mut inner = inner();
    if inner.dead {
        return ffi::SQLITE_IOERR_DELETE;
    }
    match inner.files.remove(name) {
        Some(_) => ffi::SQLITE_OK,
        None => ffi::SQLITE_IOERR_DELETE_NOENT,
    }
}

unsafe extern "C" fn x_access(_: *mut sqlite3_vfs, name: *const c_char, _: c_int, out: *mut c_int) -> c_int {
    let name = unsafe { CStr::from_ptr(name) }.to_str().expect("tests use ASCII");
    // An empty journal or log is as good as none.
    let there = inner().files.get(name).is_some_and(|file| !lock(file).now.is_empty());
    unsafe { *out = there.into() };
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_path(
    _: *mut sqlite3_vfs,
    name: *const c_char,
    length: c_int,
    out: *mut c_char,
) -> c_int {
    unsafe {
        let bytes = CStr::from_ptr(name).to_bytes_with_nul();
        if bytes.len() > length as usize {
            return ffi::SQLITE_CANTOPEN;
        }
        std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), out, bytes.len());
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_read(file: *mut sqlite3_file, to: *mut c_void, length: c_int, at: i64) -> c_int {
    unsafe {
        let open = handle(file);
        let flip = {
            let mut inner = inner();
            if inner.dead {
                return ffi::SQLITE_IOERR_READ;
            }
            let random = &mut Random(inner.random);
            let flip = inner.faults.flips.is_some_and(|of| random.below(of) == 0);
            let bit = random.next();
            inner.random = random.next();
            inner.flipped += u64::from(flip);
            flip.then_some(bit)
        };
        let found = lock(&open.file);
        let to = std::slice::from_raw_parts_mut(to.cast::<u8>(), length as usize);
        let at = (at as usize).min(found.now.len());
        let there = (found.now.len() - at).min(to.len());
        to[..there].copy_from_slice(&found.now[at..at + there]);
        to[there..].fill(0);
        if let Some(bit) = flip.filter(|_| there > 0) {
            let bit = bit as usize % (there * 8);
            to[bit / 8] ^= 1 << (bit % 8);
        }
        if there < to.len() { ffi::SQLITE_IOERR_SHORT_READ } else { ffi::SQLITE_OK }
    }
}

/// Counts an operation. Whether the power is still there, and its number.
fn operation() -> Result<(u64, Faults), ()> {
    let mut inner = inner();
    inner.operations += 1;
    if inner.faults.dies_at.is_some_and(|at| inner.operations >= at) {
        inner.dead = true;
    }
    if inner.dead { Err(()) } else { Ok((inner.operations, inner.faults.clone())) }
}

unsafe extern "C" fn x_write(file: *mut sqlite3_file, from: *const c_void, length: c_int, at: i64) -> c_int {
    unsafe {
        let open = handle(file);
        let from = std::slice::from_raw_parts(from.cast::<u8>(), length as usize);
        let at = at as usize;
        let Ok((number, faults)) = operation() else {
            // The power went in the middle of it: it may have come through, or part of it.
            lock(&open.file).write(at, from);
            return ffi::SQLITE_IOERR_WRITE;
        };
        if faults.write_error_at == Some(number) {
            return ffi::SQLITE_IOERR_WRITE;
        }
        if faults.short_write_at == Some(number) {
            lock(&open.file).write(at, &from[..from.len() / 2]);
            return ffi::SQLITE_FULL;
        }
        if let Some(max) = faults.bytes_max {
            let grown = (at + from.len()).saturating_sub(lock(&open.file).now.len());
            let all: usize = inner().files.values().map(|file| lock(file).now.len()).sum();
            if grown > 0 && all + grown > max {
                return ffi::SQLITE_FULL;
            }
        }
        lock(&open.file).write(at, from);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_truncate(file: *mut sqlite3_file, length: i64) -> c_int {
    if operation().is_err() {
        return ffi::SQLITE_IOERR_TRUNCATE;
    }
    lock(&unsafe { handle(file) }.file).truncate(length as usize);
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_sync(file: *mut sqlite3_file, _: c_int) -> c_int {
    let Ok((number, faults)) = operation() else { return ffi::SQLITE_IOERR_FSYNC };
    let mut found = lock(&unsafe { handle(file) }.file);
    found.sync_failed |= faults.sync_error_from.is_some_and(|from| number >= from);
    if found.sync_failed {
        return ffi::SQLITE_IOERR_FSYNC;
    }
    if !faults.lies {
        found.pending.clear();
        found.synced = found.now.clone();
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_size(file: *mut sqlite3_file, out: *mut i64) -> c_int {
    unsafe { *out = lock(&handle(file).file).now.len() as i64 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    let open = unsafe { handle(file) };
    let mut found = lock(&open.file);
    let mine = found.locks.get(&open.id).copied().unwrap_or(0);
    let others = found.locks.iter().filter(|(id, _)| **id != open.id).map(|(_, &level)| level).max();
    let others = others.unwrap_or(0);
    if mine >= level {
        return ffi::SQLITE_OK;
    }
    let busy = match level {
        ffi::SQLITE_LOCK_SHARED => others >= ffi::SQLITE_LOCK_PENDING,
        ffi::SQLITE_LOCK_RESERVED => others >= ffi::SQLITE_LOCK_RESERVED,
        _ => others >= ffi::SQLITE_LOCK_SHARED,
    };
    if busy {
        return ffi::SQLITE_BUSY;
    }
    found.locks.insert(open.id, level);
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_unlock(file: *mut sqlite3_file, level: c_int) -> c_int {
    let open = unsafe { handle(file) };
    lock(&open.file).locks.insert(open.id, level);
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_reserved(file: *mut sqlite3_file, out: *mut c_int) -> c_int {
    let held = lock(&unsafe { handle(file) }.file).locks.values().any(|&l| l >= ffi::SQLITE_LOCK_RESERVED);
    unsafe { *out = held.into() };
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_control(_: *mut sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn x_sector(_: *mut sqlite3_file) -> c_int {
    SECTOR as c_int
}

unsafe extern "C" fn x_device(_: *mut sqlite3_file) -> c_int {
    0
}

unsafe extern "C" fn x_shm_map(
    file: *mut sqlite3_file,
    region: c_int,
    length: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    unsafe {
        let open = handle(file);
        let mut found = lock(&open.file);
        found.mapped.insert(open.id, ());
        *out = std::ptr::null_mut();
        while found.regions.len() <= region as usize {
            if extend == 0 {
                return ffi::SQLITE_OK;
            }
            found.regions.push(vec![0; length as usize / 8].into());
        }
        // Boxes stay where they are, however many there are.
        *out = found.regions[region as usize].as_mut_ptr().cast();
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_shm_lock(file: *mut sqlite3_file, offset: c_int, n: c_int, flags: c_int) -> c_int {
    let open = unsafe { handle(file) };
    let mut found = lock(&open.file);
    let slots = offset as usize..(offset + n) as usize;
    if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
        for slot in slots {
            found.shm_shared[slot].retain(|&id| id != open.id);
            if found.shm_exclusive[slot] == Some(open.id) {
                found.shm_exclusive[slot] = None;
            }
        }
        return ffi::SQLITE_OK;
    }
    let shared = flags & ffi::SQLITE_SHM_SHARED != 0;
    let busy = slots.clone().any(|slot| {
        let exclusive = found.shm_exclusive[slot].is_some_and(|id| id != open.id);
        exclusive || (!shared && found.shm_shared[slot].iter().any(|&id| id != open.id))
    });
    if busy {
        return ffi::SQLITE_BUSY;
    }
    for slot in slots {
        match shared {
            true => found.shm_shared[slot].push(open.id),
            false => found.shm_exclusive[slot] = Some(open.id),
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_shm_barrier(_: *mut sqlite3_file) {
    fence(Ordering::SeqCst);
}

unsafe extern "C" fn x_shm_unmap(file: *mut sqlite3_file, _: c_int) -> c_int {
    let open = unsafe { handle(file) };
    let mut found = lock(&open.file);
    for slot in 0..8 {
        found.shm_shared[slot].retain(|&id| id != open.id);
        if found.shm_exclusive[slot] == Some(open.id) {
            found.shm_exclusive[slot] = None;
        }
    }
    found.mapped.remove(&open.id);
    if found.mapped.is_empty() {
        found.regions.clear();
    }
    ffi::SQLITE_OK
}
