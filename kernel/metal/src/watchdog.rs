//! The watchdog: a node that hangs is reset by the machine.
//!
//! Initiators only see a pause if the node is back before they give up, and nobody is
//! there to press a button. The chipset counts down beside the processor (`metal::tco`),
//! the loop sets it back now and then, and a loop that never comes round again lets it
//! end. It runs from the first turn to the last words: a start that takes long is not
//! cut short, and a report stands as long as `panic=` says.

use crate::arch::{self, Port};
use crate::machine::PortConfig;
use core::sync::atomic::{AtomicU16, Ordering};
use log::{debug, warn};
use metal::tco;
use node::config::{Setting, Source};
use pci::{Address, ConfigSpace, Register};

/// Where the bridge is that has it.
const BRIDGE: Address = Address {
    bus: 0,
    device: 31,
    function: 0,
};
/// The bridge's registers: where the ports of its power management are, whether they
/// are on, and where its other registers are.
const PORTS: u16 = 0x40;
const PORTS_CONTROL: u16 = 0x44;
const PORTS_ON: u32 = 1 << 7;
const REGISTERS: u16 = 0xf0;
const REGISTERS_ON: u32 = 1;
/// Among those: whether the end of the count resets at all.
const GENERAL_CONTROL: u64 = 0x3410;
const NO_REBOOT: u32 = 1 << 5;

/// Its own ports, from the first of power management on.
const TCO: u16 = 0x60;
const RELOAD: u16 = 0x00;
const STATUS_1: u16 = 0x04;
const STATUS_2: u16 = 0x06;
const CONTROL: u16 = 0x08;
const UNITS: u16 = 0x12;
/// Status 1: the count has ended once.
const ENDED: u16 = 1 << 3;
/// Status 2: it has ended twice, and the machine did not start at once.
const ENDED_TWICE: u16 = 1 << 1;
const NO_START: u16 = 1 << 2;
/// Control: the count stands still.
const HALTED: u16 = 1 << 11;

/// Its first port; 0 for none, or while it is not used.
static RUNNING: AtomicU16 = AtomicU16::new(0);

/// The machine's watchdog, if it has one that we know.
pub struct Watchdog {
    first: u16,
    registers: u64,
    /// Whether it reset the machine before this start.
    pub has_bitten: bool,
}

impl Watchdog {
    /// Looks for it, and at what it has done.
    #[cold]
    pub fn find() -> Option<Self> {
        let config = PortConfig::find()?;
        let [ports, on, registers] =
            [PORTS, PORTS_CONTROL, REGISTERS].map(|register| config.read(BRIDGE, register));
        let is_ours = tco::is_known(config.read(BRIDGE, 0))
            && on & PORTS_ON != 0
            && registers & REGISTERS_ON != 0;
        let first = is_ours.then_some((ports & 0xff80) as u16 + TCO)?;
        let status = Port(first + STATUS_2);
        let has_bitten = status.read_u16() & ENDED_TWICE != 0;
        // A one clears a bit; QEMU keeps what is written, so there it takes a zero.
        status.write_u16(ENDED_TWICE | NO_START);
        status.write_u16(0);
        Some(Self {
            first,
            registers: (registers & !0x3fff).into(),
            has_bitten,
        })
    }

    /// Lets it count from `seconds` on; false if the firmware keeps it from resetting.
    fn start(&self, seconds: u32) -> bool {
        stop_at(self.first);
        let Some(control) = arch::map_device(self.registers + GENERAL_CONTROL, 4) else {
            return false;
        };
        let control_at = Register::<u32>::at(0);
        control.write(control_at, control.read(control_at) & !NO_REBOOT);
        if control.read(control_at) & NO_REBOOT != 0 {
            return false;
        }
        Port(self.first + STATUS_1).write_u16(ENDED);
        let units = Port(self.first + UNITS);
        units.write_u16(units.read_u16() & !tco::UNITS_MAX | tco::units(seconds));
        let running = Port(self.first + CONTROL);
        running.write_u16(running.read_u16() & !HALTED);
        RUNNING.store(self.first, Ordering::Relaxed);
        turn();
        true
    }
}

/// From now on a loop that takes longer than the setting says is ended.
#[cold]
pub fn start(watchdog: Option<&Watchdog>, setting: Setting<Option<u32>>) {
    let Some(seconds) = setting.value else {
        return;
    };
    if watchdog.is_some_and(|watchdog| watchdog.start(seconds)) {
        debug!("the chipset resets a node that hangs for {seconds} s");
    } else if setting.source != Source::Default {
        warn!("watchdog={seconds}: this machine has none that ublade can use");
    }
}

/// The loop has come round: the count starts again.
pub fn turn() {
    let first = RUNNING.load(Ordering::Relaxed);
    if first != 0 {
        Port(first + RELOAD).write_u16(1);
    }
}

/// The loop is over.
#[cold]
pub fn stop() {
    let first = RUNNING.swap(0, Ordering::Relaxed);
    if first != 0 {
        stop_at(first);
    }
}

fn stop_at(first: u16) {
    let control = Port(first + CONTROL);
    control.write_u16(control.read_u16() | HALTED);
}
