//! The power button, switching off, starting again.
//!
//! What there is to press and to write stands in a table of the firmware
//! (`metal::acpi`). The button is looked at now and then, not waited for: a press
//! stays, and no interrupt has to be shared with the firmware.
//! Without the table the machine can still be reset as PCs always could.

use crate::arch::{self, Port};
use crate::memory::Memory;
use core::sync::atomic::{AtomicU32, Ordering};
use log::warn;
use metal::acpi::{Power as Table, Reset, Space, Tables};
use node::Order;

/// PM1 status: the button was pressed; written to clear it (ACPI 6.5, 4.8.3.1.1).
const BUTTON: u16 = 1 << 8;
/// PM1 control: these registers are ours, not the firmware's.
const OURS: u16 = 1 << 0;
/// PM1 control: sleep now, as deep as the type says.
const SLEEP: u16 = 1 << 13;
/// PM1 control: where the type is.
const SLEEP_TYPE: u32 = 10;
const SLEEP_TYPE_MASK: u16 = 0b111 << SLEEP_TYPE;
/// How long the firmware may take to give the registers to us: reads of a port,
/// of about a microsecond each. It takes some milliseconds on slow machines.
const HAND_OVER_READS: u32 = 100_000;

/// What the table says about resetting, for those who have no [`Power`]: port in
/// the upper half, value in the lower; 0 for nothing.
static RESET: AtomicU32 = AtomicU32::new(0);

/// See the module's header.
pub struct Power {
    table: Option<Table>,
}

impl Power {
    /// Reads the firmware's tables.
    #[cold]
    pub fn find(tables: Option<&Tables<'_, Memory>>) -> Self {
        let table = tables.and_then(Tables::power);
        if let Some(table) = &table {
            take_over(table);
            // In memory a reset register would have to be mapped; PCs have ports.
            if let Some(Reset {
                register: Space::Port(port),
                value,
            }) = table.reset
            {
                RESET.store(u32::from(port) << 16 | u32::from(value), Ordering::Relaxed);
            }
        }
        Self { table }
    }

    /// Whether the button was pressed since it was last looked at.
    pub fn is_pressed(&self) -> bool {
        let status = self.table.and_then(|table| table.status).map(Port);
        let Some(status) = status.filter(|status| status.read_u16() & BUTTON != 0) else {
            return false;
        };
        status.write_u16(BUTTON);
        true
    }

    /// Does what was ordered.
    pub fn obey(&self, order: Order) -> ! {
        if order == Order::PowerOff {
            self.off();
            warn!("this machine does not say how to switch itself off; it can be switched off now");
            log::logger().flush();
            arch::halt();
        }
        restart()
    }

    /// Switches off, if the table says how.
    fn off(&self) {
        let Some((table, off)) = self.table.and_then(|table| Some((table, table.off?))) else {
            return;
        };
        let controls = [(table.control, off.0), (table.control_b, off.1)];
        let sleep = |flag: u16| {
            for (control, kind) in controls {
                if let Some(control) = control.map(Port) {
                    let rest = control.read_u16() & !(SLEEP_TYPE_MASK | SLEEP);
                    control.write_u16(rest | u16::from(kind) << SLEEP_TYPE | flag);
                }
            }
        };
        // The type first, then the same with the flag (ACPI 6.5, 4.8.3.2.1).
        sleep(0);
        sleep(SLEEP);
        arch::pause_a_while();
    }
}

/// Asks the firmware for the registers, if it has them: only then does the button
/// set its bit instead of switching off.
fn take_over(table: &Table) {
    let Some(control) = table.control.map(Port) else {
        return;
    };
    if control.read_u16() & OURS == 0
        && let Some((port, value)) = table.enable
    {
        Port(port).write(value);
        let is_ours = (0..HAND_OVER_READS).any(|_| control.read_u16() & OURS != 0);
        if !is_ours {
            warn!("the firmware keeps the power button to itself");
        }
    }
    // A press from before our start is not meant for us. Nobody takes the
    // interrupt that goes with the bit: its line is masked.
    if let Some((status, enable)) = table.status.zip(table.status_enable) {
        Port(status).write_u16(BUTTON);
        Port(enable).write_u16(BUTTON);
    }
}

/// Resets the machine: as its table says, else as PCs always could.
pub fn restart() -> ! {
    let reset = RESET.load(Ordering::Relaxed);
    if reset != 0 {
        Port((reset >> 16) as u16).write(reset as u8);
        arch::pause_a_while();
    }
    arch::reset()
}
