//! A command's way: fetched from its slot, taken by the drive, ended, and told by FISes.

use super::port::Issued;
use super::{BUSY, DriveModel, RECEIVE, RUNNING, Refusal, START, State};
use crate::command::AtaCommand;
use crate::registers::Interrupts;
use alloc::vec;
use alloc::vec::Vec;

impl State {
    /// Fetches commands, as hardware may at once.
    pub(super) fn issue(&mut self, index: usize, slots: u32) {
        let port = &mut self.ports[index];
        let number = port.number;
        assert!(
            port.command & (START | RUNNING) == START | RUNNING,
            "port {number}: commands for a list that does not run"
        );
        assert_eq!(
            port.issued & slots,
            0,
            "port {number}: a slot was used twice"
        );
        assert!(
            slots.leading_zeros() >= 32 - u32::from(self.settings.slots),
            "port {number}: it has only {} slots",
            self.settings.slots
        );
        port.issued |= slots;
        if self.is_deaf {
            return;
        }
        // Nobody can know yet that the list came to a halt; it takes no more.
        if port.halted {
            return;
        }
        for slot in (0..32).filter(|slot| slots & 1 << slot != 0) {
            self.fetch(index, slot);
        }
    }

    fn fetch(&mut self, index: usize, slot: u8) {
        let header: Vec<u32> = (0..8)
            .map(|word| {
                let at = self.ports[index].list + u64::from(slot) * 32 + word * 4;
                self.memory.read_u32(at)
            })
            .collect();
        let table = u64::from(header[2]) | u64::from(header[3]) << 32;
        assert!(table.is_multiple_of(128), "a table at {table:#x}");
        let mut fis = [0; 64];
        self.memory.read(table, &mut fis);
        if self.settings.quirks.forgetful && fis == [0; 64] {
            self.ports[index].issued &= !(1 << slot);
            return;
        }
        assert_eq!(header[0] & 0xffbf, 5, "options {:#x}", header[0]);
        assert_eq!(header[1], 0, "bytes moved before it began");
        assert!(header[4..].iter().all(|&word| word == 0));
        assert_eq!(fis[..2], [0x27, 0x80], "no command FIS");
        assert_eq!(fis[14..20], [0; 6], "reserved bytes of a FIS");
        let command = AtaCommand(fis[2]);
        let queued = matches!(command, AtaCommand::READ_QUEUED | AtaCommand::WRITE_QUEUED);
        let narrow = matches!(command, AtaCommand::READ_DMA | AtaCommand::WRITE_DMA);
        let lba_bytes = [fis[4], fis[5], fis[6], fis[8], fis[9], fis[10], 0, 0];
        let mut lba = u64::from_le_bytes(lba_bytes);
        if narrow {
            assert_eq!(fis[8..12], [0; 4], "28 bits of address");
            lba |= u64::from(fis[7] & 0xf) << 24;
            assert_eq!(fis[7] & 0xf0, 0x40, "device register");
        } else {
            assert_eq!(fis[7], 0x40, "device register");
        }
        let feature = u16::from_le_bytes([fis[3], fis[11]]);
        let count = u16::from_le_bytes([fis[12], fis[13]]);
        let sectors = match command {
            _ if queued => {
                assert_eq!(count, u16::from(slot) << 3, "the tag is the slot");
                feature
            }
            AtaCommand::FLUSH | AtaCommand::FLUSH_EXT => 0,
            AtaCommand::IDENTIFY => 1,
            _ => count,
        };
        let to_drive = matches!(
            command,
            AtaCommand::WRITE_QUEUED
                | AtaCommand::WRITE_DMA
                | AtaCommand::WRITE_DMA_EXT
                | AtaCommand::DATA_SET_MANAGEMENT
        );
        assert_eq!(header[0] >> 6 & 1, u32::from(to_drive), "direction");
        let bytes = usize::from(sectors) * 512;
        assert_eq!(header[0] >> 16, u32::from(bytes > 0), "regions");
        let data = (bytes > 0).then(|| {
            let region: Vec<u32> = (0..4)
                .map(|word| self.memory.read_u32(table + 0x80 + word * 4))
                .collect();
            let address = u64::from(region[0]) | u64::from(region[1]) << 32;
            assert!(address.is_multiple_of(2), "data at {address:#x}");
            assert_eq!(region[2], 0, "reserved word of a region");
            assert_eq!(region[3] as usize + 1, bytes, "bytes of a region");
            assert!(self.memory.has(address, bytes), "data at {address:#x}");
            (address, bytes)
        });
        let asks_itself = matches!(command, AtaCommand::IDENTIFY | AtaCommand::SMART);
        let due = if self.settings.by_hand && !asks_itself {
            u64::MAX
        } else {
            self.now_us + 20 + self.random(200)
        };
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.accept(
            index,
            Issued {
                number,
                slot,
                command,
                lba,
                data,
                to_drive,
                queued,
                due,
            },
        );
    }

    /// The command arrives at the drive.
    fn accept(&mut self, index: usize, mut issued: Issued) {
        let port = &mut self.ports[index];
        let (number, bit) = (port.number, 1 << issued.slot);
        assert_eq!(
            port.queued & bit != 0,
            issued.queued,
            "port {number}: the queued bit is for queued commands"
        );
        assert!(
            port.commands
                .iter()
                .all(|other| other.queued && issued.queued),
            "port {number}: queued and unqueued commands at once, or two unqueued"
        );
        assert!(
            !port.needs_reset,
            "port {number}: a command for a drive that has to be reset"
        );
        let Some(drive) = &mut port.drive else {
            return;
        };
        let sectors =
            issued.lba..issued.lba + issued.data.map_or(0, |(_, bytes)| bytes as u64 / 512);
        if issued.queued {
            assert!(
                self.settings.ncq && issued.slot < drive.queue_depth,
                "port {number}: tag {} of {}",
                issued.slot,
                drive.queue_depth
            );
            port.issued &= !bit;
            port.task_file = 0x40;
            if DriveModel::strikes(&mut drive.silent, sectors) {
                issued.due = u64::MAX;
            }
            port.commands.push(issued);
            self.post_register_fis(index, 0x40, 0, false);
        } else {
            // While it is busy, the other bits mean nothing, and here they lie.
            port.task_file = BUSY | 0xff7f;
            let silent = issued.command == AtaCommand::IDENTIFY && drive.mute
                || issued.command == AtaCommand::SMART && drive.smart_is_silent
                || DriveModel::strikes(&mut drive.silent, sectors);
            if silent {
                issued.due = u64::MAX;
            }
            port.commands.push(issued);
        }
    }

    pub(super) fn make_noise(&mut self, index: usize) {
        let garbage: Vec<u8> = (0..20).map(|_| self.random(256) as u8).collect();
        let which = self.random(3);
        let port = &mut self.ports[index];
        if port.command & RECEIVE == 0 {
            return;
        }
        match which {
            0 => self.memory.write(port.received + 0x40, &garbage),
            1 => self.memory.write(port.received + 0x58, &garbage[..8]),
            _ => {
                port.interrupts |= (Interrupts::DEVICE_BITS_FIS | Interrupts::REGISTER_FIS).bits();
            }
        }
    }

    /// A command ends, well or not.
    pub(super) fn finish(&mut self, index: usize, issued: Issued) {
        let port = &mut self.ports[index];
        let drive = port.drive.as_mut().expect("a drive has the command");
        let bytes = issued.data.map_or(0, |(_, bytes)| bytes);
        let sectors = issued.lba..issued.lba + bytes as u64 / 512;
        if DriveModel::strikes(&mut drive.garbled, sectors) {
            port.interrupts |= Interrupts::INTERFACE_FATAL.bits();
            port.link_error |= 1 << 8;
            port.halted = true;
            port.needs_reset = true;
            return;
        }
        let mut data = vec![0; bytes];
        if let (Some((address, _)), true) = (issued.data, issued.to_drive) {
            self.memory.read(address, &mut data);
        }
        let result = if issued.queued && drive.queue_is_broken {
            Err(Refusal::ABORTED)
        } else {
            drive.run(issued.command, issued.lba, &mut data)
        };
        self.conclude(index, &issued, result, &data);
    }

    /// Tells how a command ended, and what was read.
    pub(super) fn conclude(
        &mut self,
        index: usize,
        issued: &Issued,
        result: Result<(), Refusal>,
        data: &[u8],
    ) {
        match (result, issued.queued) {
            (Ok(()), queued) => {
                if let (Some((address, _)), false) = (issued.data, issued.to_drive) {
                    self.memory.write(address, data);
                }
                if queued {
                    self.finish_queued(index, 1 << issued.slot);
                } else {
                    self.ports[index].task_file = 0x50;
                    self.ports[index].issued &= !(1 << issued.slot);
                    self.post_register_fis(index, 0x50, 0, true);
                    self.tell_health(index, issued.command);
                }
            }
            (Err(refusal), false) => {
                let port = &mut self.ports[index];
                port.task_file = u32::from(refusal.error) << 8 | u32::from(refusal.status);
                port.interrupts |= Interrupts::TASK_FILE_ERROR.bits();
                port.halted = true;
                self.post_register_fis(index, refusal.status, refusal.error, true);
            }
            (Err(refusal), true) => self.fail_queued(index, issued.slot, refusal),
        }
    }

    /// SMART answers in the address of its register FIS.
    fn tell_health(&mut self, index: usize, command: AtaCommand) {
        let port = &self.ports[index];
        if command == AtaCommand::SMART
            && let Some(drive) = &port.drive
        {
            let fails = drive.smart == Some(true);
            let answer = if fails { [0xf4, 0x2c] } else { [0x4f, 0xc2] };
            self.memory.write(port.received + 0x45, &answer);
        }
    }

    fn finish_queued(&mut self, index: usize, bits: u32) {
        // The FIS is seen before the register falls.
        self.post_device_bits_fis(index, 0x40, 0, bits);
        let port = &mut self.ports[index];
        port.falling |= bits;
        if self.settings.quirks.quiet_queue_errors {
            port.task_file = 0x50;
        }
    }

    fn fail_queued(&mut self, index: usize, slot: u8, refusal: Refusal) {
        let quiet = self.settings.quirks.quiet_queue_errors;
        let port = &mut self.ports[index];
        port.task_file = u32::from(refusal.error) << 8 | 0x41;
        if quiet {
            port.link_error |= 1 << slot;
        } else {
            port.interrupts |= Interrupts::TASK_FILE_ERROR.bits();
            port.halted = true;
            port.needs_reset = true;
        }
        self.post_device_bits_fis(index, 0x41, refusal.error, 0);
    }

    pub(super) fn post_register_fis(
        &mut self,
        index: usize,
        status: u8,
        error: u8,
        interrupt: bool,
    ) {
        let port = &mut self.ports[index];
        let mut fis = [0; 20];
        fis[..4].copy_from_slice(&[0x34, u8::from(interrupt) << 6, status, error]);
        self.memory.write(port.received + 0x40, &fis);
        if interrupt {
            port.interrupts |= Interrupts::REGISTER_FIS.bits();
        }
    }

    fn post_device_bits_fis(&mut self, index: usize, status: u8, error: u8, bits: u32) {
        let port = &mut self.ports[index];
        let mut fis = [0xa1, 1 << 6, status, error, 0, 0, 0, 0];
        fis[4..].copy_from_slice(&bits.to_le_bytes());
        self.memory.write(port.received + 0x58, &fis);
        port.interrupts |= Interrupts::DEVICE_BITS_FIS.bits();
    }
}
