//! A switch in this process: every frame of every guest passes through it.
//!
//! A guest's network card is one end of a socket pair, which QEMU speaks as a
//! four-byte big-endian length and the frame (`-netdev socket,fd=`, in every
//! QEMU). The other end is a port here, and our own programs are ports too.
//! The switch learns source addresses and floods what it does not know, as a
//! real one does.
//!
//! The one idea is that **reading never waits for writing**. QEMU stops its
//! guest's sending while its socket is full, so a switch that blocked on one
//! guest could stop another and be waited for in turn. Each port therefore has
//! a bounded queue and a thread of its own to empty it; a frame that finds the
//! queue full is dropped and counted, as on a real wire.
//!
//! Faults are made here, where they cost the guests nothing: a cable is
//! [pulled](Cable::pull), a port refuses [long frames](Cable::limit_mtu), and
//! [`Switch::set_fault`] lets a scenario judge every frame.

mod line;

pub use line::{Line, LineEnd};

use crate::pcap::Capture;
use crate::{Failure, OrFail};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// The ethertype of ATA over Ethernet.
pub const ETHERTYPE_AOE: u16 = 0x88a2;

/// Frames a port's queue holds: four initiators with 16 exports of 64 requests.
const QUEUE_FRAMES: usize = 4096;
/// Longest frame that is believed; a longer length means the link is out of step.
const FRAME_BYTES_MAX: usize = 65_536;
/// Bytes of QEMU's length word.
const PREFIX: usize = 4;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Everybody.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// The locally administered address with number `n`, for a node or a guest.
    pub const fn local(n: u16) -> Self {
        let [high, low] = n.to_be_bytes();
        Self([0x02, 0, 0, 0, high, low])
    }

    /// Whether a switch floods a frame to this address.
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a fault does to one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on.
    Pass,
    /// It is lost.
    Lose,
    /// It arrives twice.
    Double,
    /// It arrives this much later; others overtake it.
    Delay(Duration),
}

/// One frame on its way into the switch, as a fault sees it.
pub struct Passing<'a> {
    /// The name of the port it came in on.
    pub from: &'a str,
    /// The frame, from the destination address on.
    pub frame: &'a [u8],
}

/// What a port has seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Frames that came in from the port.
    pub received: u64,
    /// Frames handed to the port.
    pub sent: u64,
    /// Frames dropped because the port's queue was full.
    pub overflowed: u64,
    /// Frames lost because the cable was pulled or the frame too long.
    pub cut: u64,
    /// Frames that a fault lost.
    pub faulted: u64,
    /// When the first AoE frame came in from the port.
    pub first_aoe: Option<Instant>,
    /// When the first AoE answer came in from the port: an announcement is one.
    pub first_answer: Option<Instant>,
}

/// The switch. Clones are handles to the same one; it ends with the last handle.
#[derive(Clone)]
pub struct Switch {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    delayed: Mutex<Sender<Late>>,
    capture_path: Option<PathBuf>,
}

type FaultFn = dyn FnMut(&Passing<'_>) -> Fate + Send;

struct State {
    ports: Vec<Port>,
    table: HashMap<Mac, usize>,
    fault: Option<Box<FaultFn>>,
    capture: Option<Capture>,
}

struct Port {
    name: Arc<str>,
    /// Frames with QEMU's length word in front. `None` once the far end is gone.
    queue: Option<SyncSender<Arc<[u8]>>>,
    pulled: bool,
    mtu: Option<usize>,
    counters: Counters,
}

/// A frame that a fault holds back.
struct Late {
    due: Instant,
    from: usize,
    wire: Arc<[u8]>,
}

impl Switch {
    /// A switch that keeps no capture.
    pub fn new() -> Self {
        Self::build(None)
    }

    /// A switch that writes everything it carries to a capture at `path`.
    pub fn with_capture(path: &Path) -> Result<Self, Failure> {
        let capture = Capture::create(path)
            .or_fail(format_args!("cannot start a capture at {}", path.display()))?;
        Ok(Self::build(Some(capture)))
    }

    fn build(capture: Option<Capture>) -> Self {
        let (delayed, late) = mpsc::channel();
        let shared = Arc::new(Shared {
            capture_path: capture.as_ref().map(|capture| capture.path().to_path_buf()),
            state: Mutex::new(State {
                ports: Vec::new(),
                table: HashMap::new(),
                fault: None,
                capture,
            }),
            delayed: Mutex::new(delayed),
        });
        let weak = Arc::downgrade(&shared);
        thread::spawn(move || deliver_late(&late, &weak));
        Self { shared }
    }

    /// A new port for a guest. The descriptor is the guest's end: QEMU takes it
    /// as `-netdev socket,fd=`.
    pub fn plug(&self, name: &str) -> Result<(Cable, OwnedFd), Failure> {
        let (ours, theirs) =
            UnixStream::pair().or_fail(format_args!("no socket pair for port {name}"))?;
        let reading = ours
            .try_clone()
            .or_fail(format_args!("no second handle for port {name}"))?;
        let (port, frames) = self.add_port(name);
        thread::spawn(move || write_frames(ours, &frames));
        let shared = Arc::downgrade(&self.shared);
        thread::spawn(move || read_frames(reading, port, &shared));
        Ok((self.cable(port), theirs.into()))
    }

    /// A new port for this process.
    pub fn tap(&self, name: &str) -> Tap {
        let (port, frames) = self.add_port(name);
        Tap {
            cable: self.cable(port),
            frames,
        }
    }

    /// Judges every frame that comes in by `fault`, before it is forwarded.
    /// It runs under the switch's lock: it must not call back into the switch.
    pub fn set_fault(&self, fault: impl FnMut(&Passing<'_>) -> Fate + Send + 'static) {
        self.shared.lock().fault = Some(Box::new(fault));
    }

    /// Ends the fault.
    pub fn clear_fault(&self) {
        self.shared.lock().fault = None;
    }

    /// Where the capture is, made complete up to now.
    pub fn capture(&self) -> Option<&Path> {
        if let Some(capture) = &mut self.shared.lock().capture {
            // A full disk ends the capture's use, not the scenario.
            let _ = capture.flush();
        }
        self.shared.capture_path.as_deref()
    }

    fn add_port(&self, name: &str) -> (usize, Receiver<Arc<[u8]>>) {
        let (queue, frames) = mpsc::sync_channel(QUEUE_FRAMES);
        let mut state = self.shared.lock();
        state.ports.push(Port {
            name: name.into(),
            queue: Some(queue),
            pulled: false,
            mtu: None,
            counters: Counters::default(),
        });
        (state.ports.len() - 1, frames)
    }

    fn cable(&self, port: usize) -> Cable {
        Cable {
            switch: self.clone(),
            port,
        }
    }
}

impl Default for Switch {
    fn default() -> Self {
        Self::new()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a failed test; the others may go on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a frame from `from`: capture, fault, forward.
    fn take(&self, from: usize, wire: Arc<[u8]>) {
        let mut state = self.lock();
        let state = &mut *state;
        let frame = &wire[PREFIX..];
        let Some(port) = state.ports.get_mut(from) else {
            return;
        };
        if !port.carries(frame) {
            port.counters.cut += 1;
            return;
        }
        port.counters.received += 1;
        if port.counters.first_aoe.is_none() && ethertype(frame) == Some(ETHERTYPE_AOE) {
            port.counters.first_aoe = Some(Instant::now());
        }
        if port.counters.first_answer.is_none() && is_answer(frame) {
            port.counters.first_answer = Some(Instant::now());
        }
        if let Some(capture) = &mut state.capture
            && capture.record(frame).is_err()
        {
            state.capture = None;
        }
        let name = Arc::clone(&port.name);
        let fate = state
            .fault
            .as_mut()
            .map_or(Fate::Pass, |fault| fault(&Passing { from: &name, frame }));
        match fate {
            Fate::Pass => state.forward(from, &wire),
            Fate::Double => {
                state.forward(from, &wire);
                state.forward(from, &wire);
            }
            Fate::Lose => state.ports[from].counters.faulted += 1,
            Fate::Delay(by) => {
                let late = Late {
                    due: Instant::now() + by,
                    from,
                    wire,
                };
                let delayed = self.delayed.lock().unwrap_or_else(PoisonError::into_inner);
                // The thread behind it lives as long as the switch.
                let _ = delayed.send(late);
            }
        }
    }

    /// The far end of `port` is gone.
    fn unplug(&self, port: usize) {
        let mut state = self.lock();
        state.ports[port].queue = None;
        state.table.retain(|_, &mut at| at != port);
    }
}

impl State {
    fn forward(&mut self, from: usize, wire: &Arc<[u8]>) {
        let frame = &wire[PREFIX..];
        let Some((to, source)) = addresses(frame) else {
            return;
        };
        if !source.is_group() {
            self.table.insert(source, from);
        }
        match self.table.get(&to) {
            Some(&port) if !to.is_group() => {
                // A switch never sends a frame back to where it came from.
                if port != from {
                    self.ports[port].hand_over(wire);
                }
            }
            _ => {
                for (index, port) in self.ports.iter_mut().enumerate() {
                    if index != from {
                        port.hand_over(wire);
                    }
                }
            }
        }
    }
}

impl Port {
    /// Whether this cable lets `frame` through at all.
    fn carries(&self, frame: &[u8]) -> bool {
        // The MTU counts what follows the 14-byte header, or a tag's 18.
        let header = if matches!(ethertype(frame), Some(0x8100 | 0x88a8)) {
            18
        } else {
            14
        };
        !self.pulled && self.mtu.is_none_or(|mtu| frame.len() <= mtu + header)
    }

    fn hand_over(&mut self, wire: &Arc<[u8]>) {
        let Some(queue) = &self.queue else {
            return;
        };
        if !self.carries(&wire[PREFIX..]) {
            self.counters.cut += 1;
            return;
        }
        match queue.try_send(Arc::clone(wire)) {
            Ok(()) => self.counters.sent += 1,
            Err(TrySendError::Full(_)) => self.counters.overflowed += 1,
            Err(TrySendError::Disconnected(_)) => self.queue = None,
        }
    }
}

/// The cable of one port: what a hand can do to it.
#[derive(Clone)]
pub struct Cable {
    switch: Switch,
    port: usize,
}

impl Cable {
    /// Pulls the cable: everything is lost, both ways. The guest does not
    /// notice; [`crate::Qmp::set_link`] is the fault it does notice.
    pub fn pull(&self) {
        self.with(|port| port.pulled = true);
    }

    /// Puts the cable back.
    pub fn restore(&self) {
        self.with(|port| port.pulled = false);
    }

    /// From now on the path loses frames whose payload is above `mtu` bytes,
    /// without a word, as a switch with a smaller MTU does.
    pub fn limit_mtu(&self, mtu: usize) {
        self.with(|port| port.mtu = Some(mtu));
    }

    /// What the port has seen.
    pub fn counters(&self) -> Counters {
        self.with(|port| port.counters)
    }

    /// The switch this cable ends in.
    pub fn switch(&self) -> &Switch {
        &self.switch
    }

    fn with<T>(&self, change: impl FnOnce(&mut Port) -> T) -> T {
        change(&mut self.switch.shared.lock().ports[self.port])
    }
}

/// A port of this process: raw frames in, raw frames out.
pub struct Tap {
    cable: Cable,
    frames: Receiver<Arc<[u8]>>,
}

impl Tap {
    /// Sends a frame exactly as it is: no padding, no check.
    pub fn send(&self, frame: &[u8]) {
        self.cable
            .switch
            .shared
            .take(self.cable.port, wire_of(frame));
    }

    /// The next frame, or `None` when none came within `within`.
    pub fn receive(&self, within: Duration) -> Option<Vec<u8>> {
        let wire = self.frames.recv_timeout(within).ok()?;
        Some(wire[PREFIX..].to_vec())
    }

    /// Throws away what has arrived so far and says how many frames that was.
    pub fn drain(&self) -> usize {
        self.frames.try_iter().count()
    }

    /// The cable, to pull.
    pub fn cable(&self) -> &Cable {
        &self.cable
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.cable.switch.shared.unplug(self.cable.port);
    }
}

fn wire_of(frame: &[u8]) -> Arc<[u8]> {
    let length = u32::try_from(frame.len()).expect("a frame is shorter than 4 GiB");
    let mut wire = Vec::with_capacity(PREFIX + frame.len());
    wire.extend_from_slice(&length.to_be_bytes());
    wire.extend_from_slice(frame);
    wire.into()
}

fn addresses(frame: &[u8]) -> Option<(Mac, Mac)> {
    let (to, rest) = frame.split_first_chunk()?;
    let (source, _) = rest.split_first_chunk()?;
    Some((Mac(*to), Mac(*source)))
}

fn ethertype(frame: &[u8]) -> Option<u16> {
    let bytes = frame.get(12..14)?;
    Some(u16::from_be_bytes(bytes.try_into().expect("two bytes")))
}

/// Whether it is an AoE frame with the response flag (AoE header, Flags).
fn is_answer(frame: &[u8]) -> bool {
    const RESPONSE: u8 = 1 << 3;
    let flags = frame.get(14).copied().unwrap_or(0);
    ethertype(frame) == Some(ETHERTYPE_AOE) && flags & RESPONSE != 0
}

fn read_frames(mut link: UnixStream, port: usize, shared: &Weak<Shared>) {
    loop {
        let mut prefix = [0; PREFIX];
        if link.read_exact(&mut prefix).is_err() {
            break;
        }
        let length = u32::from_be_bytes(prefix) as usize;
        if length > FRAME_BYTES_MAX {
            break;
        }
        let mut wire = vec![0; PREFIX + length];
        wire[..PREFIX].copy_from_slice(&prefix);
        if link.read_exact(&mut wire[PREFIX..]).is_err() {
            break;
        }
        let Some(shared) = shared.upgrade() else {
            break;
        };
        shared.take(port, wire.into());
    }
    if let Some(shared) = shared.upgrade() {
        shared.unplug(port);
    }
}

fn write_frames(mut link: UnixStream, frames: &Receiver<Arc<[u8]>>) {
    for wire in frames {
        if link.write_all(&wire).is_err() {
            break;
        }
    }
    // The reading thread waits in a read; this ends it.
    let _ = link.shutdown(Shutdown::Both);
}

fn deliver_late(late: &Receiver<Late>, shared: &Weak<Shared>) {
    let mut waiting: BinaryHeap<Reverse<(Instant, u64)>> = BinaryHeap::new();
    let mut frames: HashMap<u64, Late> = HashMap::new();
    let mut arrivals = 0;
    loop {
        let next = match waiting.peek() {
            Some(Reverse((due, _))) => {
                late.recv_timeout(due.saturating_duration_since(Instant::now()))
            }
            None => late.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match next {
            Ok(frame) => {
                waiting.push(Reverse((frame.due, arrivals)));
                frames.insert(arrivals, frame);
                arrivals += 1;
            }
            Err(RecvTimeoutError::Timeout) => {
                let Some(Reverse((_, number))) = waiting.pop() else {
                    continue;
                };
                let (Some(frame), Some(shared)) = (frames.remove(&number), shared.upgrade()) else {
                    return;
                };
                shared.lock().forward(frame.from, &frame.wire);
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(5);
    const NEVER: Duration = Duration::from_millis(30);

    fn frame(to: Mac, from: Mac, byte: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![byte; length];
        frame[..6].copy_from_slice(&to.0);
        frame[6..12].copy_from_slice(&from.0);
        frame[12..14].copy_from_slice(&ETHERTYPE_AOE.to_be_bytes());
        frame
    }

    fn three_taps() -> [Tap; 3] {
        let switch = Switch::new();
        let taps = ["a", "b", "c"].map(|name| switch.tap(name));
        for (index, tap) in (1_u16..).zip(&taps) {
            tap.send(&frame(Mac::BROADCAST, Mac::local(index), 0, 60));
        }
        for tap in &taps {
            assert_eq!(tap.drain(), 2);
        }
        taps
    }

    #[test]
    fn a_frame_to_a_known_address_goes_to_its_port_alone() {
        let [a, b, c] = three_taps();
        let sent = frame(Mac::local(2), Mac::local(1), 7, 9014);
        a.send(&sent);
        assert_eq!(b.receive(SOON), Some(sent));
        assert_eq!(a.drain() + c.drain(), 0);
    }

    #[test]
    fn a_frame_to_an_unknown_address_goes_to_every_other_port() {
        let [a, b, c] = three_taps();
        a.send(&frame(Mac::local(99), Mac::local(1), 7, 60));
        assert_eq!((a.drain(), b.drain(), c.drain()), (0, 1, 1));
    }

    #[test]
    fn a_pulled_cable_loses_frames_both_ways_until_it_is_put_back() {
        let [a, b, _c] = three_taps();
        b.cable().pull();
        a.send(&frame(Mac::local(2), Mac::local(1), 7, 60));
        b.send(&frame(Mac::local(1), Mac::local(2), 7, 60));
        assert_eq!(a.drain() + b.drain(), 0);
        assert_eq!(b.cable().counters().cut, 2);
        b.cable().restore();
        a.send(&frame(Mac::local(2), Mac::local(1), 7, 60));
        assert_eq!(b.drain(), 1);
    }

    #[test]
    fn a_path_with_a_small_mtu_loses_the_first_frame_above_it() {
        let [a, b, _c] = three_taps();
        b.cable().limit_mtu(1500);
        a.send(&frame(Mac::local(2), Mac::local(1), 7, 1514));
        a.send(&frame(Mac::local(2), Mac::local(1), 7, 1515));
        assert_eq!(b.drain(), 1);
    }

    #[test]
    fn a_fault_loses_doubles_and_delays() {
        let [a, b, _c] = three_taps();
        a.cable().switch().set_fault(|passing| {
            assert_eq!(passing.from, "a");
            match passing.frame[20] {
                1 => Fate::Lose,
                2 => Fate::Double,
                3 => Fate::Delay(Duration::from_millis(20)),
                _ => Fate::Pass,
            }
        });
        for byte in [1, 2, 3, 4] {
            a.send(&frame(Mac::local(2), Mac::local(1), byte, 60));
        }
        let order: Vec<u8> = (0..4)
            .map(|_| b.receive(SOON).expect("four frames arrive")[20])
            .collect();
        assert_eq!(order, [2, 2, 4, 3]);
        assert_eq!(b.receive(NEVER), None);
        assert_eq!(a.cable().counters().faulted, 1);
    }

    #[test]
    fn a_full_queue_drops_and_counts_and_never_waits() {
        let [a, b, _c] = three_taps();
        for _ in 0..QUEUE_FRAMES + 3 {
            a.send(&frame(Mac::local(2), Mac::local(1), 7, 60));
        }
        assert_eq!(b.cable().counters().overflowed, 3);
        assert_eq!(b.drain(), QUEUE_FRAMES);
    }

    #[test]
    fn a_guest_that_reads_nothing_stops_nobody_else() {
        let switch = Switch::new();
        let (_cable, _deaf_end) = switch.plug("deaf").unwrap();
        let [a, b] = ["a", "b"].map(|name| switch.tap(name));
        for _ in 0..QUEUE_FRAMES {
            a.send(&frame(Mac::BROADCAST, Mac::local(1), 7, 2000));
        }
        assert_eq!(b.drain(), QUEUE_FRAMES);
    }

    #[test]
    fn a_jumbo_frame_crosses_a_guest_link_both_ways() {
        let switch = Switch::new();
        let (cable, end) = switch.plug("guest").unwrap();
        let tap = switch.tap("us");
        let mut guest = UnixStream::from(end);
        let sent = frame(Mac::BROADCAST, Mac::local(5), 9, 9014);
        guest.write_all(&wire_of(&sent)).unwrap();
        assert_eq!(tap.receive(SOON), Some(sent.clone()));
        assert!(cable.counters().first_aoe.is_some());

        tap.send(&frame(Mac::local(5), Mac::local(6), 8, 9014));
        let mut wire = vec![0; PREFIX + 9014];
        guest.read_exact(&mut wire).unwrap();
        assert_eq!(wire[..PREFIX], 9014_u32.to_be_bytes());
        assert_eq!(wire[PREFIX + 100], 8);
    }

    #[test]
    fn a_guest_that_ends_is_forgotten() {
        let switch = Switch::new();
        let tap = switch.tap("us");
        let (_, end) = switch.plug("guest").unwrap();
        let mut guest = UnixStream::from(end);
        guest
            .write_all(&wire_of(&frame(Mac::BROADCAST, Mac::local(5), 9, 60)))
            .unwrap();
        assert!(tap.receive(SOON).is_some());
        drop(guest);
        let gone_by = Instant::now() + SOON;
        while switch.shared.lock().table.contains_key(&Mac::local(5)) {
            assert!(Instant::now() < gone_by, "the port is still known");
            thread::sleep(Duration::from_millis(1));
        }
    }
}
