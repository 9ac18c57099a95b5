//! One port of the model: its registers, its link, and what is on its way.

use super::{DriveModel, NOBODY, RUNNING, SPIN_UP, START};
use crate::command::AtaCommand;
use crate::registers::{Interrupts, LinkError, port as register};
use alloc::vec::Vec;

/// A port.
#[derive(Default)]
pub(super) struct PortState {
    pub(super) number: u8,
    pub(super) list: u64,
    pub(super) received: u64,
    pub(super) interrupts: u32,
    pub(super) enabled: u32,
    pub(super) command: u32,
    pub(super) task_file: u32,
    pub(super) signature: u32,
    pub(super) detection: u32,
    pub(super) link_control: u32,
    pub(super) link_error: u32,
    pub(super) queued: u32,
    pub(super) issued: u32,
    pub(super) drive: Option<DriveModel>,
    /// When the link comes up.
    pub(super) link_at: Option<u64>,
    /// When the drive is ready.
    pub(super) ready_at: Option<u64>,
    /// When the list has stopped.
    pub(super) stops_at: Option<u64>,
    /// COMRESET stands since.
    pub(super) held_since: Option<u64>,
    /// An error stopped the list; only our stop and start goes on.
    pub(super) halted: bool,
    /// The drive refuses everything until a reset.
    pub(super) needs_reset: bool,
    pub(super) commands: Vec<Issued>,
    /// Queued bits that fall after the next read of their register.
    pub(super) falling: u32,
}

/// A command on its way.
pub(super) struct Issued {
    /// No other command of the controller has it.
    pub(super) number: u32,
    pub(super) slot: u8,
    pub(super) command: AtaCommand,
    pub(super) lba: u64,
    pub(super) data: Option<(u64, usize)>,
    pub(super) to_drive: bool,
    pub(super) queued: bool,
    pub(super) due: u64,
}

impl PortState {
    pub(super) fn read(&mut self, offset: usize) -> u32 {
        match offset {
            _ if offset == register::INTERRUPTS.offset() => self.all_interrupts(),
            _ if offset == register::COMMAND.offset() => self.command,
            _ if offset == register::TASK_FILE.offset() => self.task_file,
            _ if offset == register::SIGNATURE.offset() => self.signature,
            _ if offset == register::LINK_STATUS.offset() => self.detection,
            _ if offset == register::LINK_ERROR.offset() => self.link_error,
            _ if offset == register::QUEUED.offset() => {
                // Falls behind this read once, as a posted write may be ahead.
                let seen = self.queued;
                self.queued &= !core::mem::take(&mut self.falling);
                seen
            }
            _ if offset == register::ISSUED.offset() => self.issued,
            _ => panic!("the driver read {offset:#x} of a port, which it has no use for"),
        }
    }

    /// PxIS, of which two bits follow PxSERR.
    pub(super) fn all_interrupts(&self) -> u32 {
        let link = LinkError::from_bits_retain(self.link_error);
        let mut interrupts = Interrupts::from_bits_retain(self.interrupts);
        interrupts.set(Interrupts::PHY_CHANGE, link.contains(LinkError::PHY_CHANGE));
        interrupts.set(
            Interrupts::CONNECT_CHANGE,
            link.contains(LinkError::EXCHANGED),
        );
        interrupts.bits()
    }

    /// The link begins to come up, if there is a drive and it may.
    pub(super) fn rise(&mut self, now_us: u64) {
        if self.command & SPIN_UP != 0
            && self.link_control & 0xf == 0
            && let Some(drive) = &self.drive
        {
            self.link_at = Some(now_us + drive.link_us);
        }
    }

    /// The link goes down, and with it what the drive was doing.
    pub(super) fn fall(&mut self) {
        self.detection = 0;
        self.task_file = NOBODY;
        self.signature = u32::MAX;
        self.link_at = None;
        self.ready_at = None;
        self.commands.clear();
        self.halted = true;
    }

    pub(super) fn write_link_control(&mut self, value: u32, now_us: u64) {
        let number = self.number;
        let before = self.link_control & 0xf;
        assert!(
            value & 0xf == before || self.command & START == 0,
            "port {number}: COMRESET on a list that runs (3.3.11)"
        );
        self.link_control = value;
        match (before, value & 0xf) {
            (0, 1) => {
                self.held_since = Some(now_us);
                self.fall();
                if let Some(drive) = &mut self.drive {
                    drive.resets += 1;
                }
            }
            (1, 0) => {
                let held_since = self.held_since.take().expect("it stood");
                assert!(
                    now_us - held_since >= 1000,
                    "port {number}: a COMRESET of {} us (10.4.2)",
                    now_us - held_since
                );
                self.needs_reset = false;
                // A list that was stuck stops with the reset.
                self.command &= !RUNNING;
                self.stops_at = None;
                self.rise(now_us);
            }
            (0, 0) => {}
            _ => panic!("port {number}: link control {value:#x}"),
        }
    }
}
