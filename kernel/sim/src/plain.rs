//! A node in a room without weather: one card, one disk, nothing goes wrong by itself.
//!
//! For harnesses that send what they like and look at every frame that leaves. The
//! card is as strict as any here: what was not kicked is not seen, what finds no
//! posted buffer is lost, and behind what arrived lies poison. A node that does not
//! come to rest is a finding.

use crate::models::dma::Machine;
use io::{
    Disk, Done, Frame, Geometry, Identity, Instant, Nic, Op, Outcome, Request, SECTOR_BYTES, Text,
    WriteCache,
};
use node::config::{Config, Source};
use node::{Attached, Boot, Node, Origin};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::mem;
use std::rc::Rc;

/// The card's address.
pub const MAC: [u8; 6] = [2, 0, 0, 0, 1, 0];
/// Bytes of a packet on its link.
pub const MTU: u16 = 1500;
/// Sectors of the disk.
pub const SECTORS: u64 = 64;
/// Frames of the node: few, so that a lost one is soon missed.
const FRAMES: usize = 32;
/// Turns within which a node with nothing new to do comes to rest.
const TURNS_MAX: usize = 5_000;

/// What is on the card's cable.
#[derive(Default)]
struct Cable {
    to_node: VecDeque<Vec<u8>>,
    from_node: Vec<Vec<u8>>,
    /// Frames in the receive ring that the node has kicked.
    posted: usize,
    poison: u8,
}

/// The card.
pub struct Card {
    cable: Rc<RefCell<Cable>>,
    unposted: Vec<Frame>,
    posted: VecDeque<Frame>,
    unsent: Vec<Frame>,
    sent: VecDeque<Frame>,
}

impl Nic for Card {
    fn mac(&self) -> [u8; 6] {
        MAC
    }

    fn mtu(&self) -> u16 {
        MTU
    }

    fn link_up(&self) -> bool {
        true
    }

    fn ring_frames(&self) -> usize {
        256
    }

    fn post(&mut self, frame: Frame) {
        self.unposted.push(frame);
    }

    fn poll_rx(&mut self) -> Option<Frame> {
        let mut cable = self.cable.borrow_mut();
        let bytes = cable.to_node.pop_front()?;
        let mut frame = self.posted.pop_front().expect("as many as were posted");
        let room = frame.buffer_mut();
        room[..bytes.len()].copy_from_slice(&bytes);
        room[bytes.len()..].fill(cable.poison);
        frame.set_len(bytes.len());
        Some(frame)
    }

    fn send(&mut self, frame: Frame) {
        self.unsent.push(frame);
    }

    fn poll_sent(&mut self) -> Option<Frame> {
        self.sent.pop_front()
    }

    fn kick(&mut self) {
        let mut cable = self.cable.borrow_mut();
        cable.posted += self.unposted.len();
        self.posted.extend(self.unposted.drain(..));
        for frame in self.unsent.drain(..) {
            cable.from_node.push(frame.wire().to_vec());
            self.sent.push_back(frame);
        }
    }

    fn tick(&mut self, _: Instant) -> bool {
        false
    }

    fn arm(&mut self) -> bool {
        !self.cable.borrow().to_node.is_empty() || !self.sent.is_empty()
    }

    fn disarm(&mut self) {}

    fn name(&self) -> &str {
        "00:03.0 plain-net"
    }
}

/// The disk: in memory, in order, at the kick.
pub struct Drive {
    geometry: Geometry,
    identity: Identity,
    content: Vec<u8>,
    submitted: VecDeque<(Request, Frame)>,
    done: VecDeque<Done>,
}

impl Drive {
    fn new() -> Self {
        Self {
            geometry: Geometry {
                sectors: SECTORS,
                physical_exponent: 0,
                alignment_offset: 0,
                read_only: false,
                write_cache: WriteCache::None,
                discard: None,
            },
            identity: Identity {
                serial: Text::new("PLAIN"),
                ..Identity::default()
            },
            content: vec![0; SECTORS as usize * SECTOR_BYTES],
            submitted: VecDeque::new(),
            done: VecDeque::new(),
        }
    }
}

impl Disk for Drive {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn submit(&mut self, request: Request, frame: Frame) {
        self.submitted.push_back((request, frame));
    }

    fn poll_done(&mut self) -> Option<Done> {
        self.done.pop_front()
    }

    fn lent<R>(&self, ticket: u32, look: impl FnOnce(&Frame) -> R) -> Option<R> {
        let mut lent = self.submitted.iter();
        let (_, frame) = lent.find(|(request, _)| request.ticket == ticket)?;
        Some(look(frame))
    }

    fn kick(&mut self) {
        for (request, mut frame) in self.submitted.drain(..) {
            let bytes = request.sectors as usize * SECTOR_BYTES;
            let at = request.lba as usize * SECTOR_BYTES;
            let data = usize::from(request.data);
            let outcome = match request.op {
                Op::Read => {
                    let read = &self.content[at..at + bytes];
                    frame.buffer_mut()[data..data + bytes].copy_from_slice(read);
                    Outcome::Done
                }
                Op::Write => {
                    let written = &frame.buffer_mut()[data..data + bytes];
                    self.content[at..at + bytes].copy_from_slice(written);
                    Outcome::Done
                }
                Op::Flush => Outcome::Done,
                Op::Discard => Outcome::Unsupported,
            };
            self.done.push_back(Done {
                ticket: request.ticket,
                outcome,
                frame,
            });
        }
    }

    fn tick(&mut self, _: Instant) -> bool {
        false
    }

    fn arm(&mut self) -> bool {
        !self.done.is_empty()
    }

    fn disarm(&mut self) {}

    fn name(&self) -> &str {
        "00:10.0 plain-blk"
    }
}

/// The node with its card and its disk. See the module's header.
pub struct Plain {
    machine: Machine<Node<Card, Drive>>,
    cable: Rc<RefCell<Cable>>,
    /// What time it is.
    pub now: Instant,
}

impl Default for Plain {
    fn default() -> Self {
        Self::new()
    }
}

impl Plain {
    /// A machine that is off.
    pub fn new() -> Self {
        Self {
            machine: Machine::new(FRAMES),
            cable: Rc::default(),
            now: Instant(0),
        }
    }

    /// Starts a node with these settings, and its management plane if they want
    /// one. Whatever ran before is gone. `poison` is what lies behind every frame
    /// that arrives.
    ///
    /// # Panics
    /// If the settings are not understood: they are the harness's own.
    pub fn start(&mut self, settings: &str, poison: u8) {
        let mut config = Box::new(Config::new());
        config.parse(Source::File, settings.as_bytes());
        assert_eq!(config.problems(), [], "{settings}");
        self.now = Instant(1_000_000);
        self.cable = Rc::default();
        self.cable.borrow_mut().poison = poison;
        let (now, cable) = (self.now, Rc::clone(&self.cable));
        self.machine.crash();
        self.machine.boot(|frames| {
            let card = Card {
                cable,
                unposted: Vec::new(),
                posted: VecDeque::new(),
                unsent: Vec::new(),
                sent: VecDeque::new(),
            };
            let disk = Attached {
                disk: Drive::new(),
                origin: Origin::Bus,
            };
            let mut node = Node::new(vec![card], vec![disk], frames.into_iter(), &config, now);
            let boot = Boot {
                route: "PVH",
                memory_bytes: 64 << 20,
                boot_us: 1_234,
            };
            node.open_management(&config, &boot, 7);
            node
        });
        self.settle();
    }

    /// The node.
    ///
    /// # Panics
    /// If it was never started.
    pub fn node(&mut self) -> &mut Node<Card, Drive> {
        self.machine.inside().expect("it was started")
    }

    /// A frame comes in from the wire; false if it is lost because nothing was
    /// posted.
    pub fn deliver(&mut self, frame: &[u8]) -> bool {
        let mut cable = self.cable.borrow_mut();
        let has_room = cable.posted > 0;
        if has_room {
            cable.posted -= 1;
            cable.to_node.push_back(frame.to_vec());
        }
        has_room
    }

    /// Everything that has left the card since the last look.
    pub fn left(&mut self) -> Vec<Vec<u8>> {
        mem::take(&mut self.cable.borrow_mut().from_node)
    }

    /// Frames that the card can receive into.
    pub fn room(&self) -> usize {
        self.cable.borrow().posted
    }

    /// Turns, each a microsecond after the last, until nothing moves.
    ///
    /// # Panics
    /// If the node does not come to rest.
    pub fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            self.now = self.now + 1;
            let now = self.now;
            if !self.node().step(now) {
                return;
            }
        }
        panic!("the node does not come to rest");
    }

    /// Lets time go by, at most `us`, up to when the node wants to be woken.
    ///
    /// # Panics
    /// If the node wants to be woken for nothing again and again.
    pub fn sleep(&mut self, us: u64) {
        let deadline = self.node().next_deadline();
        self.now = (self.now + us).min(deadline.max(self.now));
        self.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_started_again_and_again_and_answers_who_asks_for_anybody() {
        let mut plain = Plain::new();
        for poison in [0x5a, 0xa5] {
            plain.start("shelf=5\nip=off", poison);
            plain.left();
            let room = plain.room();
            assert!(room >= FRAMES / 2);
            let mut query = [0; 60];
            query[..6].fill(0xff);
            query[6..12].copy_from_slice(&[2, 0, 0, 0, 9, 9]);
            query[12..16].copy_from_slice(&[0x88, 0xa2, 0x10, 0]);
            query[16..20].copy_from_slice(&[0xff, 0xff, 0xff, 1]);
            assert!(plain.deliver(&query));
            plain.settle();
            let left = plain.left();
            assert_eq!(left.len(), 1);
            assert_eq!(left[0][16..19], [0, 5, 0]);
            assert_eq!(plain.room(), room, "every frame is back");
        }
    }
}
