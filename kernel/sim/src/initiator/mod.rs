//! The hosts: initiators with the habits of real ones, and one with none.
//!
//! Each is a machine of events: a frame comes, a timer rings, frames go out. No
//! model is cleverer than the driver it stands for; where a driver is known to
//! be careless (Linux does not look at versions, WinAoE not at errors), so is
//! its model.

mod crowd;
mod ipxe;
mod linux;
mod operator;
mod rogue;
mod winaoe;
mod work;

pub use crowd::Crowd;
pub use ipxe::Ipxe;
pub use linux::Linux;
pub use operator::Operator;
pub use rogue::Rogue;
pub use winaoe::WinAoe;
pub use work::{Job, JobKind, Window, Work};

use crate::ledger::Ledger;
use crate::oracle::Oracle;
use crate::random::Random;

/// What a host may use while it handles an event.
pub struct Desk<'a> {
    /// The virtual time.
    pub now_us: u64,
    /// The host's own chance.
    pub random: &'a mut Random,
    /// To be told of writes.
    pub oracle: &'a mut Oracle,
    /// To be told what happened.
    pub ledger: &'a Ledger,
    /// Frames to send, with the card they leave by.
    pub out: Vec<(usize, Vec<u8>)>,
}

/// A host on the network.
pub trait Initiator {
    /// For messages.
    fn name(&self) -> String;

    /// A frame came in on a card.
    fn receive(&mut self, desk: &mut Desk<'_>, card: usize, frame: &[u8]);

    /// The deadline is reached.
    fn wake(&mut self, desk: &mut Desk<'_>);

    /// When to wake it, at the latest.
    fn deadline_us(&self) -> u64;

    /// The processor has just been taken away from the node: whoever likes a rush
    /// begins now.
    fn rush(&mut self, _now_us: u64) {}

    /// The faults have ceased: whoever waits for something lost may ask again.
    fn fair_weather(&mut self, _desk: &mut Desk<'_>) {}

    /// Begins nothing new from here on.
    fn stop(&mut self);

    /// Whether nothing it asked for is still unanswered.
    fn is_idle(&self) -> bool;

    /// Commands that ended.
    fn completed(&self) -> u64;

    /// Whether it must have got somewhere by the end of a run.
    fn must_progress(&self) -> bool {
        true
    }
}
