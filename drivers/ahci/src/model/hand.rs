//! Commands that somebody else carries out: what they ask, and how they end.

use super::{Model, RUNNING, Refusal, START, State};
use crate::command::AtaCommand;
use crate::registers::{Control, Interrupts};
use alloc::vec;
use alloc::vec::Vec;
use io::SECTOR_BYTES;

/// What a command asks of the drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Sectors from the first one on.
    Read(u64, u64),
    /// From this sector on, these bytes.
    Write(u64, Vec<u8>),
    /// Everything that was written stays.
    Flush,
    /// Sectors from the first one on are of no use any more.
    Discard(u64, u64),
}

impl Model {
    /// The time is what somebody else says it is. It never goes back.
    pub fn set_now_us(&self, now_us: u64) {
        self.with(|state| state.now_us = state.now_us.max(now_us));
    }

    /// The numbers of the commands that a port has from its driver and that end by hand.
    pub fn commands(&self, port: u8, numbers: &mut Vec<u32>) {
        self.with(|state| {
            let commands = state.ports[usize::from(port)].commands.iter();
            let by_hand = commands.filter(|command| command.due == u64::MAX);
            numbers.extend(by_hand.map(|command| command.number));
        });
    }

    /// What a command asks.
    pub fn asked(&self, port: u8, number: u32) -> Asked {
        self.with(|state| {
            let port = &state.ports[usize::from(port)];
            let is_it = |command: &&super::port::Issued| command.number == number;
            let command = port.commands.iter().find(is_it).expect("a command it has");
            let (address, bytes) = command.data.unwrap_or((0, 0));
            let sectors = (bytes / SECTOR_BYTES) as u64;
            let mut data = vec![0; bytes];
            if command.to_drive {
                state.memory.read(address, &mut data);
            }
            match command.command {
                AtaCommand::READ_QUEUED | AtaCommand::READ_DMA_EXT | AtaCommand::READ_DMA => {
                    Asked::Read(command.lba, sectors)
                }
                AtaCommand::WRITE_QUEUED | AtaCommand::WRITE_DMA_EXT | AtaCommand::WRITE_DMA => {
                    Asked::Write(command.lba, data)
                }
                AtaCommand::FLUSH | AtaCommand::FLUSH_EXT => Asked::Flush,
                AtaCommand::DATA_SET_MANAGEMENT => discarded(&data),
                other => panic!("command {:#x} ends by itself", other.0),
            }
        })
    }

    /// Ends a command. `data` is what was read.
    pub fn end(&self, port: u8, number: u32, result: Result<(), Refusal>, data: &[u8]) {
        self.with(|state| {
            let index = usize::from(port);
            let commands = &mut state.ports[index].commands;
            let is_it = |command: &super::port::Issued| command.number == number;
            let at = commands.iter().position(is_it).expect("a command it has");
            let issued = commands.remove(at);
            state.conclude(index, &issued, result, data);
        });
    }

    /// Whether a port takes commands and ends them.
    pub fn is_running(&self, port: u8) -> bool {
        self.with(|state| {
            let port = &state.ports[usize::from(port)];
            let is_well = !port.halted && !port.needs_reset && port.detection == 3;
            is_well && port.command & (START | RUNNING) == START | RUNNING
        })
    }

    /// Whether a message will be sent when a command of a port ends.
    pub fn will_interrupt(&self, port: u8) -> bool {
        self.with(|state| {
            let wakers = Interrupts::REGISTER_FIS | Interrupts::DEVICE_BITS_FIS;
            let is_on = state.control & Control::INTERRUPTS.bits() != 0;
            let port = &state.ports[usize::from(port)];
            let is_silent = state.interrupts & 1 << port.number == 0;
            is_on && is_silent && port.enabled & wakers.bits() == wakers.bits()
        })
    }

    /// The plug of a drive is pulled and put in again.
    pub fn replug(&self, port: u8) {
        let drive = self.unplug(port);
        self.plug(port, drive);
    }

    /// The link spoils a command that is on its way.
    pub fn garble(&self, port: u8) {
        self.with(|state| {
            let port = &mut state.ports[usize::from(port)];
            port.interrupts |= Interrupts::INTERFACE_FATAL.bits();
            port.link_error |= 1 << 8;
            port.halted = true;
            port.needs_reset = true;
        });
    }

    /// Garbage in the received FISes, or an interrupt without a cause.
    pub fn make_noise(&self, port: u8) {
        self.with(|state| State::make_noise(state, port.into()));
    }

    /// Hears nobody issue a command, or does again.
    pub fn set_deaf(&self, is_deaf: bool) {
        self.with(|state| state.is_deaf = is_deaf);
    }
}

/// The range that the entries of a discard name, which follow each other.
fn discarded(entries: &[u8]) -> Asked {
    let mut all = entries
        .as_chunks::<8>()
        .0
        .iter()
        .map(|entry| u64::from_le_bytes(*entry))
        .map(|entry| (entry & 0xffff_ffff_ffff, entry >> 48))
        .filter(|(_, sectors)| *sectors > 0);
    let (lba, mut sectors) = all.next().expect("a discard names a range");
    for (next, more) in all {
        assert_eq!(next, lba + sectors, "this driver names one range");
        sectors += more;
    }
    Asked::Discard(lba, sectors)
}
