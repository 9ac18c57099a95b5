//! Where virtio devices without PCI are.
//!
//! Nothing on such a machine can be asked. Some monitors say it on the kernel's
//! command line, `virtio_mmio.device=512@0xfeb00e00:12` for size, address and
//! interrupt line, as Linux wants it. QEMU's microvm with ACPI says it only in
//! AML, but always has its devices in one window ([`WINDOW`]).

/// QEMU microvm: where the first transport is.
pub const WINDOW: u64 = 0xfeb0_0000;
/// QEMU microvm: bytes from one transport to the next.
pub const WINDOW_STEP: u64 = 512;

/// One transport that may have a device behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where its registers are.
    pub address: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// Its interrupt line, counted over all interrupt controllers.
    pub line: u32,
}

/// The places that a command line names, in its order. Words that can not be
/// read are left out.
pub fn named(command_line: &[u8]) -> impl Iterator<Item = Place> {
    command_line
        .split(|&byte| byte.is_ascii_whitespace())
        .filter_map(|word| word.strip_prefix(b"virtio_mmio.device="))
        .filter_map(|value| parse(core::str::from_utf8(value).ok()?))
}

/// The places of QEMU's microvm. A second interrupt controller means 24 of them
/// on its lines; otherwise there are 8 on the upper lines of the first.
pub fn window(second_controller: bool) -> impl Iterator<Item = Place> {
    let (first_line, places) = if second_controller { (24, 24) } else { (16, 8) };
    (0..places).map(move |index| Place {
        address: WINDOW + u64::from(index) * WINDOW_STEP,
        bytes: WINDOW_STEP,
        line: first_line + index,
    })
}

/// `size@address:line[:id]`.
fn parse(value: &str) -> Option<Place> {
    let (bytes, rest) = value.split_once('@')?;
    let mut rest = rest.split(':');
    let place = Place {
        address: number(rest.next()?)?,
        bytes: number(bytes)?,
        line: number(rest.next()?)?.try_into().ok()?,
    };
    let sane = place.bytes >= 0x100 && place.address.checked_add(place.bytes).is_some();
    sane.then_some(place)
}

/// Decimal, `0x` hexadecimal, with `K`, `M` or `G` behind it.
fn number(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'K' | b'k' => (&text[..text.len() - 1], 10),
        b'M' | b'm' => (&text[..text.len() - 1], 20),
        b'G' | b'g' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let value = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    value.ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn places_are_read_as_the_monitors_write_them() {
        let line = b"panic=1 virtio_mmio.device=512@0xfeb00e00:12 ublade.rw=all\tvirtio_mmio.device=4K@0xd0000000:5:7";
        let places: Vec<_> = named(line).collect();
        assert_eq!(
            places,
            [
                Place {
                    address: 0xfeb0_0e00,
                    bytes: 512,
                    line: 12
                },
                Place {
                    address: 0xd000_0000,
                    bytes: 4096,
                    line: 5
                },
            ]
        );
    }

    #[test]
    fn words_that_name_no_place_are_left_out() {
        for word in [
            "",
            "512",
            "512@",
            "512@0x1000",
            "512@0x1000:",
            "512@0x1000:x",
            "512@0x1000:-1",
            "512@0x1000:99999999999",
            "16@0x1000:5",
            "@0x1000:5",
            "512@0xffffffffffffffff:5",
            "99999999999G@0:5",
            "K@M:G",
            "512@0x:5",
            "\u{e9}@\u{e9}:5",
        ] {
            let line = std::format!("virtio_mmio.device={word}");
            assert_eq!(named(line.as_bytes()).next(), None, "{word}");
        }
        assert_eq!(named(b"virtio_mmio.device=\xff\xfe@1:5").next(), None);
        assert_eq!(named(b"xvirtio_mmio.device=512@0x1000:5").next(), None);
    }

    #[test]
    fn the_window_ends_with_the_controllers_lines() {
        let last = |second| window(second).last().expect("there are places");
        assert_eq!((last(false).address, last(false).line), (0xfeb0_0e00, 23));
        assert_eq!((last(true).address, last(true).line), (0xfeb0_2e00, 47));
    }
}
