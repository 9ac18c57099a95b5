//! The heap: for start-up only.
//!
//! Settings, lists and drivers are built once, then the heap is sealed. An
//! allocation after that is a fault in this program, not a lack of memory: the
//! data path has everything it needs, and a node that could run out of memory
//! after a month would.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use linked_list_allocator::Heap;
use spin::Mutex;

/// The allocator behind `alloc`.
struct Sealable {
    heap: Mutex<Heap>,
    sealed: AtomicBool,
    peak: AtomicUsize,
}

#[global_allocator]
static HEAP: Sealable = Sealable {
    heap: Mutex::new(Heap::empty()),
    sealed: AtomicBool::new(false),
    peak: AtomicUsize::new(0),
};

/// Gives the heap its memory. Nothing can be allocated before.
pub fn open(memory: &'static mut [u8]) {
    let (start, bytes) = (memory.as_mut_ptr(), memory.len());
    // SAFETY: the memory is ours alone and for ever; this is called once, by
    // `start`, as there is only one heap to give it to.
    unsafe { HEAP.heap.lock().init(start, bytes) };
}

/// Ends all allocation.
pub fn seal() {
    HEAP.sealed.store(true, Ordering::Relaxed);
}

/// Bytes that were in use at most, and bytes that there are.
pub fn usage() -> (usize, usize) {
    (HEAP.peak.load(Ordering::Relaxed), HEAP.heap.lock().size())
}

// SAFETY: `Heap` gives out disjoint, aligned memory and takes it back; the lock
// makes one call follow the other.
unsafe impl GlobalAlloc for Sealable {
    // Only start-up calls these; a copy in every caller would be most of it.
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        assert!(
            !self.sealed.load(Ordering::Relaxed),
            "{} bytes were to be allocated after start-up; the node must run without",
            layout.size()
        );
        let mut heap = self.heap.lock();
        let memory = heap
            .allocate_first_fit(layout)
            .map_or(ptr::null_mut(), NonNull::as_ptr);
        self.peak.fetch_max(heap.used(), Ordering::Relaxed);
        memory
    }

    #[inline(never)]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        let memory = NonNull::new(memory).expect("memory that was allocated is not at 0");
        // SAFETY: the memory came from `alloc` with this layout (caller).
        unsafe { self.heap.lock().deallocate(memory, layout) };
    }
}
