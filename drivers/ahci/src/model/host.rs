//! What the driver reads and writes: the registers of the controller and its ports,
//! and what must hold when one is touched.

use super::port::PortState;
use super::{BUSY, DATA_REQUEST, NOBODY, RECEIVE, RECEIVING, RUNNING, SPIN_UP, START, State};
use crate::registers::{
    Capabilities, Control, Handoff, PORT_BYTES, PORTS_AT, hba, port as register,
};

impl State {
    pub(super) fn read(&mut self, offset: usize) -> u32 {
        if offset >= PORTS_AT {
            let index = (offset - PORTS_AT) / PORT_BYTES;
            return self.ports[index].read((offset - PORTS_AT) % PORT_BYTES);
        }
        let settings = &self.settings;
        let flag = |set: bool, bit: u32| if set { bit } else { 0 };
        match offset {
            _ if offset == hba::CAPABILITIES.offset() => {
                u32::from(settings.ports - 1)
                    | u32::from(settings.slots - 1) << 8
                    | flag(settings.ncq, Capabilities::NCQ)
                    | flag(settings.staggered, Capabilities::STAGGERED_SPIN_UP)
                    | Capabilities::WIDE_ADDRESSES
            }
            _ if offset == hba::CONTROL.offset() => self.control,
            _ if offset == hba::INTERRUPTS.offset() => self.interrupts,
            _ if offset == hba::PORTS.offset() => ((1u64 << self.ports.len()) - 1) as u32,
            _ if offset == hba::CAPABILITIES_MORE.offset() => settings.firmware_us.is_some().into(),
            _ if offset == hba::HANDOFF.offset() => self.handoff,
            _ => panic!("the driver read {offset:#x}, which it has no use for"),
        }
    }

    pub(super) fn write(&mut self, offset: usize, value: u32) {
        if offset == hba::CONTROL.offset() {
            self.write_control(value);
            return;
        }
        assert!(
            self.control & Control::AHCI.bits() != 0,
            "{offset:#x} was written while AHCI is off (3.1.2)"
        );
        assert!(
            self.reset_until.is_none(),
            "{offset:#x} was written during a reset"
        );
        if offset >= PORTS_AT {
            let index = (offset - PORTS_AT) / PORT_BYTES;
            self.write_port(index, (offset - PORTS_AT) % PORT_BYTES, value);
        } else if offset == hba::INTERRUPTS.offset() {
            self.interrupts &= !value;
        } else if offset == hba::HANDOFF.offset() {
            assert!(self.settings.firmware_us.is_some());
            if value & Handoff::WE_OWN.bits() != 0 {
                self.handoff |= Handoff::WE_OWN.bits();
                self.asked_at.get_or_insert(self.now_us);
            }
        } else {
            panic!("the driver wrote {offset:#x}, which it has no use for");
        }
    }

    fn write_control(&mut self, value: u32) {
        let reset = Control::RESET.bits();
        if value & reset != 0 {
            let firmware_owns = self.handoff & Handoff::FIRMWARE_OWNS.bits() != 0;
            let waited_us = self.asked_at.map_or(0, |asked| self.now_us - asked);
            assert!(
                !firmware_owns || waited_us >= 25_000,
                "the controller was reset under the firmware (10.6.3)"
            );
            self.reset_until = Some(self.now_us + 120);
            self.control = reset;
            self.interrupts = 0;
        } else if self.reset_until.is_none() {
            self.control = value;
        }
    }

    /// What a reset leaves.
    pub(super) fn come_out_of_reset(&mut self) {
        self.control = 0;
        let (now_us, staggered) = (self.now_us, self.settings.staggered);
        for port in &mut self.ports {
            let drive = port.drive.take();
            *port = PortState {
                number: port.number,
                task_file: NOBODY,
                signature: u32::MAX,
                command: if staggered { 0 } else { SPIN_UP },
                drive,
                ..PortState::default()
            };
            port.rise(now_us);
        }
    }

    fn write_port(&mut self, index: usize, offset: usize, value: u32) {
        let low = u64::from(value);
        let now_us = self.now_us;
        let port = &mut self.ports[index];
        let number = port.number;
        let list_idle = port.command & (START | RUNNING) == 0;
        let receive_idle = port.command & (RECEIVE | RECEIVING) == 0;
        if offset == register::COMMAND_LIST.offset() {
            assert!(list_idle, "port {number}: the list moved while it ran");
            assert!(
                value.is_multiple_of(1024),
                "port {number}: list at {value:#x}"
            );
            port.list = port.list >> 32 << 32 | low;
        } else if offset == register::COMMAND_LIST_HIGH.offset() {
            assert!(list_idle, "port {number}: the list moved while it ran");
            port.list = low << 32 | port.list as u32 as u64;
        } else if offset == register::RECEIVED_FIS.offset() {
            assert!(receive_idle, "port {number}: FISes moved while received");
            assert!(
                value.is_multiple_of(256),
                "port {number}: FISes at {value:#x}"
            );
            port.received = port.received >> 32 << 32 | low;
        } else if offset == register::RECEIVED_FIS_HIGH.offset() {
            assert!(receive_idle, "port {number}: FISes moved while received");
            port.received = low << 32 | port.received as u32 as u64;
        } else if offset == register::INTERRUPTS.offset() {
            port.interrupts &= !value;
        } else if offset == register::INTERRUPTS_ENABLED.offset() {
            port.enabled = value;
        } else if offset == register::COMMAND.offset() {
            self.write_command(index, value);
        } else if offset == register::LINK_CONTROL.offset() {
            port.write_link_control(value, now_us);
        } else if offset == register::LINK_ERROR.offset() {
            port.link_error &= !value;
        } else if offset == register::QUEUED.offset() {
            assert!(
                port.command & (START | RUNNING) == START | RUNNING,
                "port {number}: queued bits on a list that does not run"
            );
            assert_eq!(
                port.queued & value,
                0,
                "port {number}: a tag was used twice"
            );
            port.queued |= value;
        } else if offset == register::ISSUED.offset() {
            self.issue(index, value);
        } else {
            panic!("the driver wrote {offset:#x} of a port, which it has no use for");
        }
    }

    fn write_command(&mut self, index: usize, value: u32) {
        let staggered = self.settings.staggered;
        let (stop_us, forgetful, stuck) = (
            5 + self.random(60),
            self.settings.quirks.forgetful,
            self.settings.quirks.stuck,
        );
        let now_us = self.now_us;
        let port = &mut self.ports[index];
        let number = port.number;
        let (before, rises) = (port.command, value & !port.command);
        if rises & RECEIVE != 0 {
            assert!(
                self.memory.has(port.received, 256),
                "port {number}: FISes are received nowhere"
            );
            port.command |= RECEIVE | RECEIVING;
        }
        assert!(
            before & RECEIVE == 0 || value & RECEIVE != 0,
            "port {number}: this driver never stops receiving"
        );
        if rises & START != 0 {
            assert!(
                before & RECEIVE != 0,
                "port {number}: started before it receives (10.3.1)"
            );
            assert!(
                before & RUNNING == 0,
                "port {number}: started while it runs (10.3.1)"
            );
            assert!(
                port.detection == 3 && port.task_file & (BUSY | DATA_REQUEST) == 0,
                "port {number}: started without a ready drive (10.3.1)"
            );
            assert!(
                self.memory.has(port.list, 1024),
                "port {number}: the list is nowhere"
            );
            port.command |= START | RUNNING;
            port.halted = false;
            port.stops_at = None;
        }
        if before & !value & START != 0 {
            port.command &= !START;
            if !port.commands.is_empty() {
                port.needs_reset = true;
            }
            if !stuck {
                port.stops_at = Some(now_us + stop_us);
            }
            if !forgetful {
                port.issued = 0;
            }
            port.queued = 0;
            port.falling = 0;
        }
        if rises & SPIN_UP != 0 && staggered {
            port.command |= SPIN_UP;
            port.rise(now_us);
        }
        if rises & START != 0 && port.issued != 0 {
            let issued = core::mem::take(&mut port.issued);
            self.issue(index, issued);
        }
    }
}
