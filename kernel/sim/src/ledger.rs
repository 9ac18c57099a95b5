//! What happened in a run: the time, the faults, the trace, what was found.
//!
//! One ledger is shared by everything in the world. The run is single-threaded,
//! so cells are enough. The trace is a digest of every frame and every disk
//! operation in order: two runs of one seed must end with the same one, or the
//! world is not deterministic and no failing seed can be trusted.

use std::cell::{Cell, RefCell};
use std::fmt;

/// What the world does to the node. One variant, one count in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Fault {
    /// A frame vanished on the wire.
    Lost,
    /// The network delivered a frame twice.
    Duplicated,
    /// A frame was overtaken by a later one.
    Reordered,
    /// Bits flipped, the check sum showed it, the card dropped the frame.
    Flipped,
    /// Bits flipped and nobody noticed.
    FlippedUnseen,
    /// A cable was out.
    CableCut,
    /// The network held everything back for a while.
    NetworkPaused,
    /// The node's receive ring had no frame left.
    RingFull,
    /// The card held on to what it had sent.
    TransmitStuck,
    /// The processor was taken away from the node for a while.
    NodePaused,
    /// The node was killed; its disks kept their power.
    NodeKilled,
    /// The node was told to stop in order and to start again.
    Ordered,
    /// The power of node and disks failed.
    PowerCut,
    /// A sector was half old, half new after a power cut.
    TornSector,
    /// A write that was not durable was lost in a power cut.
    CacheLost,
    /// An operation ended with an unreadable medium.
    MediumError,
    /// An operation ended with a device fault.
    DiskFault,
    /// A flush failed.
    FlushFailed,
    /// A disk answered nothing for a while.
    DiskHung,
    /// A device said that it can not go on, or broke a rule of its ring.
    DeviceTripped,
    /// Operations on one disk ended in another order than they came.
    OutOfOrder,
    /// A disk changed its size.
    Resized,
    /// A link changed the size of its frames.
    MtuChanged,
    /// A frame that no initiator of good faith would send.
    RogueFrame,
    /// A reservation was set, moved or released.
    Reserved,
    /// A mask list was changed.
    Masked,
    /// A config string was set.
    ConfigSet,
}

/// How many kinds of faults there are.
pub const FAULTS: usize = Fault::ConfigSet as usize + 1;

impl Fault {
    /// Every fault, in the order of the report.
    pub const ALL: [Self; FAULTS] = [
        Self::Lost,
        Self::Duplicated,
        Self::Reordered,
        Self::Flipped,
        Self::FlippedUnseen,
        Self::CableCut,
        Self::NetworkPaused,
        Self::RingFull,
        Self::TransmitStuck,
        Self::NodePaused,
        Self::NodeKilled,
        Self::Ordered,
        Self::PowerCut,
        Self::TornSector,
        Self::CacheLost,
        Self::MediumError,
        Self::DiskFault,
        Self::FlushFailed,
        Self::DiskHung,
        Self::DeviceTripped,
        Self::OutOfOrder,
        Self::Resized,
        Self::MtuChanged,
        Self::RogueFrame,
        Self::Reserved,
        Self::Masked,
        Self::ConfigSet,
    ];
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// When, in virtual microseconds.
    pub at_us: u64,
    /// What was seen and what would have been right.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} us: {}", self.at_us, self.text)
    }
}

/// See the module's header.
#[derive(Debug, Default)]
pub struct Ledger {
    now_us: Cell<u64>,
    trace: Cell<u64>,
    faults: RefCell<[u64; FAULTS]>,
    finding: RefCell<Option<Finding>>,
    verbose: bool,
}

impl Ledger {
    /// An empty ledger; a verbose one tells on standard output what happens.
    pub fn new(verbose: bool) -> Self {
        Self {
            verbose,
            ..Self::default()
        }
    }

    /// The virtual time.
    pub fn now_us(&self) -> u64 {
        self.now_us.get()
    }

    /// Moves the virtual time on.
    pub fn set_now_us(&self, now_us: u64) {
        debug_assert!(now_us >= self.now_us.get(), "time runs forward");
        self.now_us.set(now_us);
    }

    /// Folds something that happened into the trace.
    pub fn note(&self, what: u64, detail: u64) {
        let mut trace = self.trace.get() ^ self.now_us.get();
        for word in [what, detail] {
            trace = (trace.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        self.trace.set(trace);
    }

    /// Folds bytes that moved into the trace.
    pub fn note_bytes(&self, what: u64, bytes: &[u8]) {
        let mut folded = bytes.len() as u64;
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            folded = (folded ^ u64::from_le_bytes(*word)).wrapping_mul(0xd6e8_feb8_6659_fd93);
            folded ^= folded >> 32;
        }
        for byte in rest {
            folded = (folded ^ u64::from(*byte)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        }
        self.note(what, folded);
    }

    /// Counts a fault.
    pub fn count(&self, fault: Fault) {
        self.faults.borrow_mut()[fault as usize] += 1;
        self.note(0xfa00, fault as u64);
    }

    /// Tells the person who replays a seed what happens.
    pub fn say(&self, text: impl FnOnce() -> String) {
        if self.verbose {
            println!("{:>12} us  {}", self.now_us.get(), text());
        }
    }

    /// Keeps the first broken promise; what follows from it is noise.
    pub fn find(&self, text: impl Into<String>) {
        let mut finding = self.finding.borrow_mut();
        if finding.is_none() {
            let text = text.into();
            self.say(|| format!("FOUND: {text}"));
            *finding = Some(Finding {
                at_us: self.now_us.get(),
                text,
            });
        }
    }

    /// The first broken promise.
    pub fn finding(&self) -> Option<Finding> {
        self.finding.borrow().clone()
    }

    /// Whether a promise was broken.
    pub fn is_broken(&self) -> bool {
        self.finding.borrow().is_some()
    }

    /// How often each fault happened.
    pub fn faults(&self) -> [u64; FAULTS] {
        *self.faults.borrow()
    }

    /// The digest of all that happened.
    pub fn trace(&self) -> u64 {
        self.trace.get()
    }
}
