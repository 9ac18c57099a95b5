//! Between the data path and the IP stack: two short queues of copied frames.
//!
//! A frame that is not AoE is copied in here and its slot receives again at once,
//! so the stack may take as long as it likes. What the stack sends waits here until
//! a port has a frame to spare. Both queues drop when they are full, as a wire
//! would; the data path never waits for either.

use alloc::boxed::Box;
use alloc::vec;
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

/// Bytes of a frame without its tag: an IP packet of the usual 1,500 bytes.
pub const FRAME_BYTES: usize = 14 + 1500;
/// Frames that wait for the stack. A window of a connection and some ARP.
const RECEIVED_MAX: usize = 16;
/// Frames that wait for a port; also the most that one turn of the stack makes.
const SENDING_MAX: usize = 8;

struct Queue {
    slots: Box<[[u8; FRAME_BYTES]]>,
    lens: Box<[usize]>,
    first: usize,
    count: usize,
}

impl Queue {
    fn new(slots: usize) -> Self {
        Self {
            slots: vec![[0; FRAME_BYTES]; slots].into_boxed_slice(),
            lens: vec![0; slots].into_boxed_slice(),
            first: 0,
            count: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.count == self.slots.len()
    }

    /// Room for one more frame of `len` bytes; the caller has seen that there is.
    fn push(&mut self, len: usize) -> &mut [u8] {
        let place = (self.first + self.count) % self.slots.len();
        self.count += 1;
        self.lens[place] = len;
        &mut self.slots[place][..len]
    }

    fn front(&mut self) -> Option<&mut [u8]> {
        let place = self.first;
        (self.count > 0).then(|| &mut self.slots[place][..self.lens[place]])
    }

    fn pop(&mut self) {
        self.first = (self.first + 1) % self.slots.len();
        self.count -= 1;
    }
}

/// The stack's network card.
pub struct Wire {
    received: Queue,
    sending: Queue,
}

impl Wire {
    pub fn new() -> Self {
        Self {
            received: Queue::new(RECEIVED_MAX),
            sending: Queue::new(SENDING_MAX),
        }
    }

    /// Takes a copy of a frame that lies in up to two pieces (its tag left out).
    /// False if it was dropped.
    pub fn take(&mut self, addresses: &[u8], rest: &[u8]) -> bool {
        let len = addresses.len() + rest.len();
        if self.received.is_full() || len > FRAME_BYTES {
            return false;
        }
        let slot = self.received.push(len);
        let (head, tail) = slot.split_at_mut(addresses.len());
        head.copy_from_slice(addresses);
        tail.copy_from_slice(rest);
        true
    }

    /// Whether the stack has something to look at.
    #[inline]
    pub fn has_received(&self) -> bool {
        self.received.count > 0
    }

    /// Whether something waits for a port.
    #[inline]
    pub fn is_sending(&self) -> bool {
        self.sending.count > 0
    }

    /// The next frame to send. It stays until [`sent`](Self::sent).
    pub fn next(&mut self) -> Option<&[u8]> {
        self.sending.front().map(|frame| &*frame)
    }

    /// The frame that [`next`](Self::next) showed is on its way.
    pub fn sent(&mut self) {
        self.sending.pop();
    }

    /// Forgets everything: the port is another one now.
    pub fn clear(&mut self) {
        self.received.count = 0;
        self.sending.count = 0;
    }
}

impl Device for Wire {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Sending<'_>)> {
        // What the stack takes in it may answer: without room it waits.
        if !self.has_received() || self.sending.is_full() {
            return None;
        }
        Some((Received(&mut self.received), Sending(&mut self.sending)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        (!self.sending.is_full()).then_some(Sending(&mut self.sending))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_BYTES;
        capabilities.max_burst_size = Some(SENDING_MAX);
        capabilities
    }
}

/// A received frame for the stack.
pub struct Received<'a>(&'a mut Queue);

impl phy::RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, look: F) -> R {
        let frame = self.0.front().map_or(&[][..], |frame| frame);
        let result = look(frame);
        self.0.pop();
        result
    }
}

/// Room for a frame that the stack sends.
pub struct Sending<'a>(&'a mut Queue);

impl phy::TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        write(self.0.push(len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smoltcp::phy::{RxToken, TxToken};

    const NOW: Instant = Instant::ZERO;

    #[test]
    fn frames_come_out_in_order_and_the_one_too_many_is_dropped() {
        let mut wire = Wire::new();
        for number in 0..RECEIVED_MAX as u8 {
            assert!(wire.take(&[number; 12], &[number; 4]));
        }
        assert!(!wire.take(&[99; 12], &[99; 4]));
        for number in 0..RECEIVED_MAX as u8 {
            let (received, _) = wire.receive(NOW).expect("it was taken");
            received.consume(|frame| assert_eq!(frame, [number; 16]));
        }
        assert!(wire.receive(NOW).is_none());
    }

    #[test]
    fn a_frame_longer_than_the_stack_takes_is_dropped() {
        let mut wire = Wire::new();
        assert!(wire.take(&[0; 12], &[0; FRAME_BYTES - 12]));
        assert!(!wire.take(&[0; 12], &[0; FRAME_BYTES - 11]));
    }

    #[test]
    fn without_room_to_answer_the_stack_takes_nothing_in() {
        let mut wire = Wire::new();
        assert!(wire.take(&[1; 12], &[]));
        while let Some(token) = wire.transmit(NOW) {
            token.consume(60, |frame| frame.fill(7));
        }
        assert!(wire.receive(NOW).is_none());
        assert_eq!(wire.next(), Some(&[7; 60][..]));
        wire.sent();
        assert!(wire.receive(NOW).is_some());
    }
}
