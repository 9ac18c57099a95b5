//! What a driver asks of the machine around its device.
//!
//! Asked only while a device is set up; nothing here is on the data path.

use crate::{DeviceMemory, Message};
use io::Instant;

/// Lent by the machine. Memory is mapped one to one: a pointer is a bus address.
pub trait Resources {
    /// The time now: every wait for a device has a deadline.
    fn now(&self) -> Instant;

    /// How many frames the machine has, at most `io::FRAMES_MAX`. Every list of
    /// a driver holds as many.
    fn frames(&self) -> usize;

    /// Memory for rings and tables: zeroed, aligned to `align`, for ever.
    fn dma(&mut self, bytes: usize, align: usize) -> Option<&'static mut [u8]>;

    /// A device's memory, mapped uncached.
    fn map(&mut self, bus_address: u64, bytes: usize) -> Option<DeviceMemory>;

    /// A message that wakes the node. Devices may share one.
    fn message(&mut self) -> Option<Message>;

    /// A range of bus addresses below 4 GiB that nobody answers, aligned to its
    /// own size, for a device that the firmware placed nowhere.
    fn bus_range(&mut self, bytes: u64) -> Option<u64>;
}

/// Free bus addresses, given out from low to high.
#[derive(Clone, Copy, Debug)]
pub struct BusWindow {
    next: u64,
    end: u64,
}

impl BusWindow {
    /// The addresses from `start` up to, not with, `end`.
    pub const fn new(start: u64, end: u64) -> Self {
        Self { next: start, end }
    }

    /// `bytes` (a power of two) of them, aligned to `bytes`. Never address 0,
    /// which means "not placed".
    pub fn take(&mut self, bytes: u64) -> Option<u64> {
        if !bytes.is_power_of_two() {
            return None;
        }
        let start = self.next.max(1).checked_next_multiple_of(bytes)?;
        let end = start.checked_add(bytes)?;
        (end <= self.end).then(|| {
            self.next = end;
            start
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_aligned_to_their_size_and_do_not_overlap() {
        let mut window = BusWindow::new(0x1000, 0x10000);
        assert_eq!(window.take(0x100), Some(0x1000));
        assert_eq!(window.take(0x4000), Some(0x4000));
        assert_eq!(window.take(0x8000), Some(0x8000));
        assert_eq!(window.take(1), None);
    }

    #[test]
    fn a_range_never_starts_at_address_0() {
        assert_eq!(BusWindow::new(0, 0x100).take(0x10), Some(0x10));
    }

    #[test]
    fn a_range_that_would_pass_the_end_of_addresses_is_refused() {
        let mut window = BusWindow::new(u64::MAX - 10, u64::MAX);
        assert_eq!(window.take(1 << 20), None);
        assert_eq!(window.take(3), None);
    }
}
