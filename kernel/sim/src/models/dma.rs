//! The memory that frames are cut from, used again after every crash.
//!
//! A frame is memory for ever: a real node carves once and never ends. In the
//! simulation a node dies thousands of times, and so the [`Machine`] keeps its
//! memory together with everything that was built from its frames, ends the one
//! before it cuts up the other anew, and is the only place that can.

use crate::network::POISON;
use io::{Frame, SLOT_BYTES};
use std::ptr::NonNull;

/// Memory, and what runs in it.
pub(crate) struct Machine<T> {
    /// Declared first and dropped first: it holds the frames.
    inside: Option<T>,
    frames: usize,
    memory: Memory,
}

struct Memory {
    bytes: NonNull<[u8]>,
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: `bytes` came from `Box::leak` in `Machine::new` and is freed
        // only here. Nobody else holds it: what was built from the frames lay in
        // `Machine::inside`, which is dropped before this field.
        drop(unsafe { Box::from_raw(self.bytes.as_ptr()) });
    }
}

impl<T> Machine<T> {
    /// A machine with memory for `frames` frames that runs nothing.
    pub(crate) fn new(frames: usize) -> Self {
        // One slot is lost to alignment.
        let bytes = vec![0; (frames + 1) * SLOT_BYTES].into_boxed_slice();
        Self {
            inside: None,
            frames,
            memory: Memory {
                bytes: NonNull::from(Box::leak(bytes)),
            },
        }
    }

    /// Ends what runs and starts `build` with all frames, full of poison. `build`
    /// must put every frame into what it returns: that is what the simulated node,
    /// its cards and its drives do, which hold frames in fields of their own.
    pub(crate) fn boot(&mut self, build: impl FnOnce(Vec<Frame>) -> T) {
        self.crash();
        // SAFETY: no frame of an earlier start is left. They all lay in `inside`
        // (the contract of `build`), which `crash` has just dropped, and `Memory`
        // keeps the bytes until `inside` is dropped again.
        let bytes: &'static mut [u8] = unsafe { self.memory.bytes.as_mut() };
        // Memory that happens to be aligned has room for one more, and a run must
        // not depend on where the heap put it.
        let mut frames: Vec<Frame> = io::carve(bytes).take(self.frames).collect();
        for frame in &mut frames {
            frame.scratch_mut().fill(POISON);
            frame.net_header_mut().fill(POISON);
            frame.buffer_mut().fill(POISON);
        }
        self.inside = Some(build(frames));
    }

    /// Ends what runs; its frames are gone.
    pub(crate) fn crash(&mut self) {
        self.inside = None;
    }

    /// What runs.
    pub(crate) fn inside(&mut self) -> Option<&mut T> {
        self.inside.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_crash_the_same_memory_is_frames_again() {
        let mut machine: Machine<Vec<Frame>> = Machine::new(4);
        let mut addresses = Vec::new();
        for _ in 0..3 {
            machine.boot(|frames| frames);
            let frames = machine.inside().expect("it was booted");
            assert_eq!(frames.len(), 4, "wherever the memory lies");
            assert!(frames[0].buffer_mut().iter().all(|&byte| byte == POISON));
            frames[0].buffer_mut().fill(1);
            addresses.push(frames[0].bus_address());
        }
        assert!(addresses.iter().all(|&address| address == addresses[0]));
        machine.crash();
        assert!(machine.inside().is_none());
    }
}
