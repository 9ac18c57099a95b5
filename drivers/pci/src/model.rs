//! What the model of every device has around it and in it: a machine, and the way in
//! which causes become messages. For the tests of drivers.

extern crate alloc;

use crate::shared::device::Memory;
use crate::{DeviceMemory, Message, Resources};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use io::{Frame, Instant, SLOT_BYTES};

/// Time that a look at the clock takes. None passes otherwise, so every deadline
/// comes, and never early.
const LOOK_US: u64 = 100;

/// The machine: its memory, which the driver is lent and the device may reach, and its
/// clock. A clone is the same machine.
#[derive(Clone)]
pub struct Machine(Rc<RefCell<State>>);

struct State {
    memory: Memory,
    frames: usize,
    now_us: u64,
    memory_is_short: bool,
}

impl Machine {
    /// One with `frames` frames.
    pub fn new(frames: usize) -> Self {
        Self::with_memory(frames, Memory::default())
    }

    /// One whose devices reach `memory`.
    pub fn with_memory(frames: usize, memory: Memory) -> Self {
        Self(Rc::new(RefCell::new(State {
            memory,
            frames,
            now_us: 0,
            memory_is_short: false,
        })))
    }

    /// Has no memory for rings any more.
    pub fn shorten_memory(&self) {
        self.0.borrow_mut().memory_is_short = true;
    }

    /// `count` frames, each in memory of its own that ends where its slot ends: a byte
    /// too many is the end of the test.
    pub fn carve(&self, count: usize) -> Vec<Frame> {
        let mut state = self.0.borrow_mut();
        let frames = (0..count).flat_map(|_| {
            let memory = state.memory.hand_out(SLOT_BYTES, 512, 0);
            io::carve(memory)
        });
        frames.collect()
    }

    /// The time, for the device: its looks take none.
    pub fn now_us(&self) -> u64 {
        self.0.borrow().now_us
    }

    /// The time is what somebody else says it is.
    pub fn set_now_us(&self, now_us: u64) {
        self.0.borrow_mut().now_us = now_us;
    }

    /// Reads as a device does.
    pub fn read(&self, address: u64, into: &mut [u8]) {
        self.0.borrow().memory.read(address, into);
    }

    /// Reads `N` words as a device does.
    pub fn words<const N: usize>(&self, address: u64) -> [u32; N] {
        let memory = &self.0.borrow().memory;
        core::array::from_fn(|index| memory.read_u32(address + index as u64 * 4))
    }

    /// Writes as a device does.
    pub fn write(&self, address: u64, from: &[u8]) {
        self.0.borrow().memory.write(address, from);
    }

    /// Writes a word that makes others known.
    pub fn release(&self, address: u64, value: u32) {
        self.0.borrow().memory.release(address, value);
    }
}

impl Resources for Machine {
    fn now(&self) -> Instant {
        let mut state = self.0.borrow_mut();
        state.now_us += LOOK_US;
        Instant(state.now_us)
    }

    fn frames(&self) -> usize {
        self.0.borrow().frames
    }

    fn dma(&mut self, bytes: usize, align: usize) -> Option<&'static mut [u8]> {
        let mut state = self.0.borrow_mut();
        (!state.memory_is_short).then(|| state.memory.hand_out(bytes, align, 0))
    }

    fn map(&mut self, _: u64, _: usize) -> Option<DeviceMemory> {
        None
    }

    fn message(&mut self) -> Option<Message> {
        None
    }

    fn bus_range(&mut self, _: u64) -> Option<u64> {
        None
    }
}

/// Causes for a message, and the mask that lets them through. A message is sent when
/// the first comes through, and none more while one is there.
pub struct Interrupt {
    causes: u32,
    mask: u32,
    messages: u64,
}

impl Interrupt {
    /// With these causes there and this mask, and no message sent of it.
    pub fn new(causes: u32, mask: u32) -> Self {
        Self {
            causes,
            mask,
            messages: 0,
        }
    }

    /// As after a reset: no message is sent of what is there.
    pub fn reset(&mut self, causes: u32, mask: u32) {
        (self.causes, self.mask) = (causes, mask);
    }

    /// The causes that are there.
    pub fn causes(&self) -> u32 {
        self.causes
    }

    /// What it lets through.
    pub fn mask(&self) -> u32 {
        self.mask
    }

    /// Messages so far.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// More causes.
    pub fn raise(&mut self, causes: u32) {
        self.change(self.causes | causes, self.mask);
    }

    /// Fewer causes: these are seen.
    pub fn clear(&mut self, causes: u32) {
        self.causes &= !causes;
    }

    /// Lets this through and nothing else.
    pub fn set_mask(&mut self, mask: u32) {
        self.change(self.causes, mask);
    }

    fn change(&mut self, causes: u32, mask: u32) {
        let was_silent = self.causes & self.mask == 0;
        self.reset(causes, mask);
        if was_silent && causes & mask != 0 {
            self.messages += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_sent_when_the_first_cause_comes_through_and_not_for_the_second() {
        let mut interrupt = Interrupt::new(0b1, 0);
        interrupt.raise(0b10);
        assert_eq!(interrupt.messages(), 0, "the mask is shut");
        interrupt.set_mask(0b11);
        assert_eq!(interrupt.messages(), 1, "what waited comes through at once");
        interrupt.raise(0b10);
        interrupt.clear(0b1);
        interrupt.raise(0b1);
        assert_eq!(interrupt.messages(), 1, "one is still there");
        interrupt.clear(0b11);
        interrupt.raise(0b100);
        assert_eq!(interrupt.messages(), 1, "not let through");
        interrupt.raise(0b10);
        assert_eq!(interrupt.messages(), 2);
    }

    #[test]
    fn time_passes_with_looks_of_the_driver_and_clones_are_the_same_machine() {
        let machine = Machine::new(3);
        let mut other = machine.clone();
        assert_eq!(other.now(), Instant(LOOK_US));
        assert_eq!((machine.now_us(), other.now_us()), (LOOK_US, LOOK_US));
        let lent = other.dma(8, 4096).expect("there is some");
        lent.copy_from_slice(&[1, 0, 0, 0, 2, 0, 0, 0]);
        let address = lent.as_ptr().expose_provenance() as u64;
        assert_eq!(machine.words(address), [1, 2]);
        machine.shorten_memory();
        assert!(other.dma(8, 8).is_none());
    }
}
