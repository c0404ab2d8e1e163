//! Builds `cbcast` into a static library where there is no standard library.
//!
//! A static library must bring everything that std would: a panic handler and an allocator. If `cbcast` or a
//! dependency of it pulls in std there are two panic handlers, and the build fails. Nobody runs the result.
#![no_std]

use cbcast::{Config, Group, MemberId, Output, Snapshot, Time};
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::panic::PanicInfo;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

const HEAP_BYTES: usize = 64 * 1024;

/// The simplest allocator there is: hands out one array from its start on, and takes nothing back.
struct Bump {
    heap: UnsafeCell<[u8; HEAP_BYTES]>,
    used: AtomicUsize,
}

// SAFETY: the heap is only reached through `alloc`, which gives each byte of it to one caller at most.
unsafe impl Sync for Bump {}

// SAFETY: a block is aligned, lies within the heap, and overlaps no other, for `used` only grows and was moved
// past the block before it is handed out. Allocators are unsafe by nature; there is no safe way to have one.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let heap = self.heap.get().cast::<u8>();
        let block = |used: usize| {
            let start = used.checked_add(heap.wrapping_add(used).align_offset(layout.align()))?;
            let end = start.checked_add(layout.size())?;
            (end <= HEAP_BYTES).then_some((start, end))
        };
        let taken = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| block(used).map(|(_, end)| end));
        match taken.ok().and_then(block) {
            Some((start, _)) => heap.wrapping_add(start),
            None => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, _block: *mut u8, _layout: Layout) {}
}

#[global_allocator]
static HEAP: Bump = Bump { heap: UnsafeCell::new([0; HEAP_BYTES]), used: AtomicUsize::new(0) };

#[panic_handler]
fn panic(_info: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// Broadcasts once, and counts what there is to send and to deliver: 2 if all is well.
///
/// Exported, so that the code of a group is generated and not only type-checked.
// SAFETY: no other symbol of this library or of what it links has this name.
#[unsafe(no_mangle)]
pub extern "C" fn causerie_no_std_check() -> u32 {
    let [ann, bob] = [MemberId::new(0, 0), MemberId::new(0, 1)];
    let Ok(mut group) = Group::new(Config::mesh(), &Snapshot::fixed([ann, bob]), [ann]) else { return 0 };
    if group.broadcast(Time::ZERO, ann, b"hello").is_err() {
        return 0;
    }
    let mut done = 0;
    while let Some(output) = group.poll_output() {
        if matches!(output, Output::Transmit(_) | Output::Deliver { .. }) {
            done += 1;
        }
    }
    done
}
