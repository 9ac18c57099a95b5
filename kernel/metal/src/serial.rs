//! Which consoles: `console=tty0 console=ttyS0,115200`.
//!
//! Whoever names none gets the first serial port and the screen; whoever names
//! one that we do not have gets both as well, as nobody told is worse.

/// Speed of a port whose divisor is 1.
const BAUD_MAX: u32 = 115_200;
/// Ports of COM1 to COM4, as Linux numbers them.
const PORTS: [u16; 4] = [0x3f8, 0x2f8, 0x3e8, 0x2e8];

/// A serial port and its speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serial {
    /// Its first I/O port.
    pub port: u16,
    /// What its clock is divided by.
    pub divisor: u16,
}

impl Serial {
    /// The first port at full speed.
    pub const DEFAULT: Self = Self {
        port: PORTS[0],
        divisor: 1,
    };

    /// What `console=` names; `None` for anything that is not a serial port of a
    /// PC. Parity and bits behind the speed are taken to be 8N1.
    pub fn parse(setting: &str) -> Option<Self> {
        let (device, options) = setting.split_once(',').unwrap_or((setting, ""));
        let port = match device.strip_prefix("ttyS")? {
            "0" => PORTS[0],
            "1" => PORTS[1],
            "2" => PORTS[2],
            "3" => PORTS[3],
            _ => return None,
        };
        let digits = options
            .find(|letter: char| !letter.is_ascii_digit())
            .unwrap_or(options.len());
        let baud = match &options[..digits] {
            "" => BAUD_MAX,
            digits => digits.parse().ok()?,
        };
        // Half a step of the divisor is what a receiver tolerates.
        if baud == 0 || baud > BAUD_MAX {
            return None;
        }
        let divisor = u16::try_from((BAUD_MAX + baud / 2) / baud).ok()?;
        Some(Self { port, divisor })
    }
}

/// What the operator wants to read us on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consoles {
    /// A serial port.
    pub serial: Option<Serial>,
    /// The screen, if there is one.
    pub screen: bool,
    /// A word was none of ours.
    pub has_unknown: bool,
}

impl Consoles {
    /// The words of all `console=`, with spaces between. Of two serial ports the
    /// last one counts.
    pub fn parse(setting: &str) -> Self {
        let mut found = Self {
            serial: None,
            screen: false,
            has_unknown: false,
        };
        let mut is_off = false;
        for word in setting.split_ascii_whitespace() {
            match word {
                "off" | "none" => is_off = true,
                "screen" | "tty0" => found.screen = true,
                word => match Serial::parse(word) {
                    Some(serial) => found.serial = Some(serial),
                    None => found.has_unknown = true,
                },
            }
        }
        let has_none = found.serial.is_none() && !found.screen && !is_off;
        if has_none || found.has_unknown {
            found.serial = found.serial.or(Some(Serial::DEFAULT));
            found.screen = true;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_and_its_speed_are_read_as_linux_writes_them() {
        let serial = |port, divisor| Some(Serial { port, divisor });
        assert_eq!(Serial::parse("ttyS0,115200"), Some(Serial::DEFAULT));
        assert_eq!(Serial::parse("ttyS0"), Some(Serial::DEFAULT));
        assert_eq!(Serial::parse("ttyS1,9600n8"), serial(0x2f8, 12));
        assert_eq!(Serial::parse("ttyS3,57600"), serial(0x2e8, 2));
        assert_eq!(Serial::parse("ttyS2,n8"), serial(0x3e8, 1));
    }

    #[test]
    fn consoles_are_all_that_are_named_and_both_without_a_name() {
        let consoles = |serial, screen, has_unknown| Consoles {
            serial,
            screen,
            has_unknown,
        };
        let first = Some(Serial::DEFAULT);
        assert_eq!(Consoles::parse(""), consoles(first, true, false));
        assert_eq!(Consoles::parse("tty0"), consoles(None, true, false));
        assert_eq!(Consoles::parse("screen"), consoles(None, true, false));
        assert_eq!(Consoles::parse("ttyS0"), consoles(first, false, false));
        assert_eq!(Consoles::parse("tty0 ttyS0"), consoles(first, true, false));
        assert_eq!(Consoles::parse("off"), consoles(None, false, false));
        assert_eq!(Consoles::parse("hvc0"), consoles(first, true, true));
        assert_eq!(Consoles::parse("tty1 ttyS0"), consoles(first, true, true));
    }

    #[test]
    fn what_is_no_serial_port_of_a_pc_is_none() {
        for setting in [
            "",
            "tty0",
            "ttyS4",
            "ttyS",
            "ttyS0,0",
            "ttyS0,115201",
            "ttyS0,1",
            "ttyS0,99999999999",
            "hvc0",
            "ttyUSB0",
        ] {
            assert_eq!(Serial::parse(setting), None, "{setting}");
        }
    }
}
