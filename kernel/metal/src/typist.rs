//! Whoever types on the serial console: asked now and then, often while keys come.
//!
//! A question to the port is an exit in a guest, so a busy node asks a hundred times
//! a second and an idle one only when it is awake. The port's interrupt wakes it; a
//! byte that came unseen waits no longer than the longest sleep.

use crate::console::{self, FIFO_BYTES};
use engine::Node;
use io::Instant;

/// How often the port is asked.
const LOOK_US: u64 = 10_000;
/// How often while somebody types or reads: the port takes and gives sixteen bytes
/// in 1.4 ms.
const LOOK_OFTEN_US: u64 = 1_000;
/// How long after the last byte somebody counts as there.
const PRESENT_US: u64 = 200_000;

/// See the module's header.
pub struct Typist {
    looked: Instant,
    present_until: Instant,
}

impl Typist {
    /// Nobody yet.
    pub fn new() -> Self {
        Self {
            looked: Instant(0),
            present_until: Instant(0),
        }
    }

    /// Takes to the node what was typed, and to the port what the node answers.
    pub fn turn(&mut self, node: &mut Node, now: Instant) {
        let every = if now < self.present_until {
            LOOK_OFTEN_US
        } else {
            LOOK_US
        };
        if now.since_us(self.looked) >= every {
            self.looked = now;
            self.look(node, now);
        }
    }

    #[cold]
    fn look(&mut self, node: &mut Node, now: Instant) {
        let mut bytes = [0; FIFO_BYTES];
        let len = console::typed(&mut bytes);
        if len > 0 {
            node.type_in(&bytes[..len]);
            self.present_until = now + PRESENT_US;
        }
        if now < self.present_until {
            console::answer(|bytes| {
                let len = node.answer_typing(bytes);
                if len > 0 {
                    self.present_until = now + PRESENT_US;
                }
                len
            });
        }
    }

    /// When it must be asked again; `None` leaves that to the interrupt.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        (now < self.present_until).then(|| self.looked + LOOK_OFTEN_US)
    }
}
