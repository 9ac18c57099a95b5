//! From the text of a value to what it means. Each error is the rest of a
//! sentence that starts with the key and the text.

use super::Complaint;
use super::list::List;
use aoe::Mac;
use core::fmt;
use io::{Identity, Text};

/// How one disk is told from another. Holds for as long as the disk does, unlike
/// the order in which disks are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selector {
    /// By the slot that it has anyway.
    Slot(u8),
    /// By its serial number.
    Serial(Text<20>),
    /// By the address it sits at, as its name says (`00:04.0`).
    Pci(Text<16>),
    /// By its world wide name: digits, as [`io::Identity`] has them.
    Wwn(Text<32>),
    /// A partition: by its name or its identity in a GPT, or by the serial number
    /// of its disk and its own number (`WD-42/2`).
    Part(Text<40>),
    /// A pin that could not be read: its slot stays empty rather than going to
    /// another disk.
    Unreadable,
}

impl Selector {
    /// What a disk can be told by wherever it sits, if it says who it is.
    #[cold]
    pub fn of(identity: &Identity) -> Option<Self> {
        if !identity.serial.is_empty() {
            Some(Self::Serial(identity.serial))
        } else if !identity.wwn.is_empty() {
            Some(Self::Wwn(identity.wwn))
        } else {
            None
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot(slot) => write!(f, "{slot}"),
            Self::Serial(serial) => write!(f, "serial:{serial}"),
            Self::Pci(address) => write!(f, "pci:{address}"),
            Self::Wwn(name) => write!(f, "wwn:{name}"),
            Self::Part(name) => write!(f, "part:{name}"),
            Self::Unreadable => f.write_str("(unreadable)"),
        }
    }
}

/// Most entries of one list of disks: more is a file, not a line.
pub const SELECTORS_MAX: usize = 32;

/// Which disks are meant.
#[expect(
    clippy::large_enum_variant,
    reason = "there are two of them, and no heap while settings are read"
)]
#[derive(Clone, Copy)]
pub enum Selection {
    /// Every one.
    All,
    /// Not one.
    None,
    /// These.
    Some(List<Selector, SELECTORS_MAX>),
}

/// A disk, or a slice of one, that has a slot of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The slot.
    pub slot: u8,
    /// The disk.
    pub disk: Selector,
    /// Where the partition is that `disk` names, once tables have been read.
    pub part: Option<Part>,
    /// Never writable, whatever `rw=` says.
    pub read_only: bool,
    /// First sector of the slice, counted in the disk or the partition.
    pub offset: u64,
    /// Sectors of the slice; `None` is all that is left.
    pub length: Option<u64>,
}

/// Where a partition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The disk, by its place in the list.
    pub disk: u8,
    /// Its first sector.
    pub first: u64,
    /// How many.
    pub sectors: u64,
}

type Value<T> = Result<T, Complaint>;

/// A decimal number of at most `max`.
#[cold]
pub(super) fn number(text: &str, max: u64, what: &'static str) -> Value<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && number <= max => Ok(number),
        _ => Err(Complaint::Bad(what)),
    }
}

/// A slot number.
pub(super) fn slot(text: &str) -> Value<u8> {
    number(text, 254, "a slot is a number from 0 to 254").map(|slot| slot as u8)
}

/// A shelf number that every initiator accepts.
pub(super) fn shelf(text: &str) -> Value<u16> {
    const WHAT: &str = "a shelf is a number from 0 to 65534, but not 4095, which Linux refuses";
    match number(text, 65534, WHAT)? {
        0x0fff => Err(Complaint::Bad(WHAT)),
        shelf => Ok(shelf as u16),
    }
}

/// Bytes: a number and perhaps K, M, G or T, which are powers of 1024.
pub(super) fn size(text: &str) -> Value<u64> {
    const WHAT: &str = "a size is a number with K, M, G or T behind it, like 64M";
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        Some(b'T' | b't') => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    number(digits, u64::MAX >> shift, WHAT).map(|number| number << shift)
}

/// The size of a RAM disk: whole blocks of 4 KiB, at least one.
pub(super) fn ram_bytes(text: &str) -> Value<u64> {
    match size(text)? {
        0 => Err(Complaint::Bad("a RAM disk of no size cannot be exported")),
        bytes if bytes.is_multiple_of(4096) => Ok(bytes),
        _ => Err(Complaint::Bad("a RAM disk is a multiple of 4K")),
    }
}

/// An Ethernet address, six bytes in hex with colons.
#[cold]
pub(super) fn mac(text: &str) -> Value<Mac> {
    const WHAT: &str = "an Ethernet address is six bytes in hex, like 52:54:00:12:34:56";
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts.next().unwrap_or("");
        let hex = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        *byte = match u8::from_str_radix(part, 16) {
            Ok(value) if hex => value,
            _ => return Err(Complaint::Bad(WHAT)),
        };
    }
    match (parts.next(), mac[0] & 1) {
        (None, 0) => Ok(Mac(mac)),
        (None, _) => Err(Complaint::Bad("a group address is nobody's own")),
        _ => Err(Complaint::Bad(WHAT)),
    }
}

/// A text that must be there and must fit.
#[cold]
pub(super) fn text<const N: usize>(value: &str) -> Value<Text<N>> {
    match value.len() {
        0 => Err(Complaint::Bad("the value is missing")),
        len if len <= N => Ok(Text::new(value)),
        _ => Err(Complaint::Bad("the value is too long")),
    }
}

/// One disk. A bare number is a slot, any other bare text a serial number.
fn selector(value: &str) -> Value<Selector> {
    if let Some(serial) = value.strip_prefix("serial:") {
        text(serial).map(Selector::Serial)
    } else if let Some(address) = value.strip_prefix("pci:") {
        // Domain 0 is the only one on the machines we know and no name says it.
        text(address.strip_prefix("0000:").unwrap_or(address)).map(Selector::Pci)
    } else if let Some(name) = value.strip_prefix("wwn:") {
        wwn(name).map(Selector::Wwn)
    } else if let Some(name) = value.strip_prefix("part:") {
        text(name).map(Selector::Part)
    } else if value.bytes().all(|byte| byte.is_ascii_digit()) {
        slot(value).map(Selector::Slot)
    } else {
        text(value).map(Selector::Serial)
    }
}

/// A world wide name as Linux writes it: `0x…`, `naa.…` or `eui.…`, or digits alone.
#[cold]
fn wwn(value: &str) -> Value<Text<32>> {
    let digits = ["0x", "naa.", "eui."]
        .iter()
        .find_map(|prefix| value.strip_prefix(prefix))
        .unwrap_or(value);
    let is_name = matches!(digits.len(), 16 | 32);
    if !is_name || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Complaint::Bad(
            "a world wide name has 16 or 32 hexadecimal digits",
        ));
    }
    let mut bytes = [0; 32];
    let bytes = &mut bytes[..digits.len()];
    bytes.copy_from_slice(digits.as_bytes());
    bytes.make_ascii_lowercase();
    Ok(Text::from_device(bytes))
}

/// `all`, `none`, or a list of disks.
#[cold]
pub(super) fn selection(value: &str, all: &str) -> Value<Selection> {
    if value == all {
        return Ok(Selection::All);
    }
    if value == "none" {
        return Ok(Selection::None);
    }
    let mut list = List::new(Selector::Unreadable);
    for part in value.split(',') {
        if !list.push(selector(part.trim())?) {
            return Err(Complaint::Bad("a list names at most 32 disks"));
        }
    }
    Ok(Selection::Some(list))
}

/// The value of `slot.N=`.
#[cold]
pub(super) fn pin(slot: u8, value: &str) -> Value<Pin> {
    let mut parts = value.split(',').map(str::trim);
    let disk = selector(parts.next().unwrap_or(""))?;
    if matches!(disk, Selector::Slot(_)) {
        return Err(Complaint::Bad(
            "a slot is pinned to serial:..., pci:..., wwn:... or part:...",
        ));
    }
    let mut pin = Pin {
        slot,
        disk,
        part: None,
        read_only: false,
        offset: 0,
        length: None,
    };
    for part in parts {
        if part == "ro" {
            pin.read_only = true;
        } else if let Some(bytes) = part.strip_prefix("offset=") {
            pin.offset = sectors(bytes)?;
        } else if let Some(bytes) = part.strip_prefix("length=") {
            pin.length = Some(sectors(bytes)?);
        } else {
            return Err(Complaint::Bad(
                "behind the disk only ro, offset= and length= are known",
            ));
        }
    }
    if pin.length == Some(0) {
        return Err(Complaint::Bad("a slice of no length cannot be exported"));
    }
    Ok(pin)
}

fn sectors(bytes: &str) -> Value<u64> {
    match size(bytes)? {
        bytes if bytes.is_multiple_of(512) => Ok(bytes / 512),
        _ => Err(Complaint::Bad(
            "a slice starts and ends on a sector of 512 bytes",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_suffixes_and_do_not_wrap() {
        assert_eq!(size("64M"), Ok(64 << 20));
        assert_eq!(size("1k"), Ok(1024));
        assert_eq!(size("512"), Ok(512));
        assert_eq!(size("16777215T"), Ok(16_777_215 << 40));
        for bad in [
            "",
            "M",
            "64MB",
            "-1",
            "+1",
            "1.5G",
            "16777216T",
            "99999999999999999999",
        ] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shelves_that_an_initiator_refuses_are_no_shelves() {
        assert_eq!(shelf("0"), Ok(0));
        assert_eq!(shelf("4094"), Ok(4094));
        assert!(shelf("4095").is_err());
        assert_eq!(shelf("4096"), Ok(4096));
        assert_eq!(shelf("65534"), Ok(65534));
        assert!(shelf("65535").is_err());
    }

    #[test]
    fn an_address_is_six_bytes_and_belongs_to_one() {
        assert_eq!(
            mac("52:54:00:12:34:Ff"),
            Ok(Mac([0x52, 0x54, 0, 0x12, 0x34, 0xff]))
        );
        for bad in [
            "",
            "52:54:00:12:34",
            "52:54:00:12:34:56:78",
            "5:54:00:12:34:56",
            "52-54-00-12-34-56",
            "+2:54:00:12:34:56",
            "ff:ff:ff:ff:ff:ff",
        ] {
            assert!(mac(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pin_names_a_disk_and_perhaps_a_slice() {
        assert_eq!(
            pin(3, "serial:AB 1, ro,offset=1M,length=10M"),
            Ok(Pin {
                slot: 3,
                disk: Selector::Serial(Text::new("AB 1")),
                part: None,
                read_only: true,
                offset: 2048,
                length: Some(20480)
            })
        );
        assert_eq!(
            pin(0, "pci:0000:00:04.0").map(|pin| pin.disk),
            Ok(Selector::Pci(Text::new("00:04.0")))
        );
        for bad in [
            "",
            "3",
            "serial:",
            "serial:A,r0",
            "serial:A,offset=511",
            "serial:A,length=0",
            "serial:123456789012345678901",
        ] {
            assert!(pin(0, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_list_tells_slots_from_serial_numbers() {
        let Ok(Selection::Some(list)) = selection("3, WD-42,serial:7", "all") else {
            panic!("a list")
        };
        assert_eq!(
            *list,
            [
                Selector::Slot(3),
                Selector::Serial(Text::new("WD-42")),
                Selector::Serial(Text::new("7"))
            ]
        );
        assert!(selection("255", "all").is_err());
        assert!(selection("1,,2", "all").is_err());
    }
}
