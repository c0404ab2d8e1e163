//! The system's allocator, counted. One thread only: what others allocate at the same time may be missed.

#![allow(dead_code, reason = "who asks for bytes may not ask for allocations")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static LIVE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static COUNTING: Counting = Counting;

struct Counting;

/// A load and a store instead of one atomic step: nothing is added to the times that would matter.
fn allocated(bytes: usize) {
    ALLOCATIONS.store(ALLOCATIONS.load(Relaxed) + 1, Relaxed);
    let live = LIVE.load(Relaxed).wrapping_add(bytes);
    LIVE.store(live, Relaxed);
    MOST.store(MOST.load(Relaxed).max(live), Relaxed);
}

fn freed(bytes: usize) {
    LIVE.store(LIVE.load(Relaxed).wrapping_sub(bytes), Relaxed);
}

#[expect(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        allocated(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        freed(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // Old and new may exist at the same moment.
        allocated(bytes);
        freed(layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, bytes) }
    }
}

pub(crate) fn allocations() -> usize {
    ALLOCATIONS.load(Relaxed)
}

pub(crate) fn live() -> usize {
    LIVE.load(Relaxed)
}

pub(crate) fn most() -> usize {
    MOST.load(Relaxed)
}

pub(crate) fn forget_most() {
    MOST.store(live(), Relaxed);
}
