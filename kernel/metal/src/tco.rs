//! The countdown in Intel's chipsets: which have it, and how it is counted.
//!
//! Bridges to the old bus (LPC) from ICH6 to the 9 series share one shape of it (Intel
//! I/O controller hub 9 data sheet, 13.9; "TCO" is Intel's name). Later chipsets hide
//! the switch that we need behind a device of the firmware's.

/// The bridges, by first and last device number.
const BRIDGES: [(u16, u16); 13] = [
    (0x2640, 0x2642), // ICH6
    (0x27b0, 0x27bd), // ICH7
    (0x2810, 0x2815), // ICH8
    (0x2912, 0x2919), // ICH9, QEMU's q35
    (0x3a14, 0x3a1a), // ICH10
    (0x3b00, 0x3b1f), // 5 series
    (0x1c40, 0x1c5f), // 6 series
    (0x1d40, 0x1d41), // C600
    (0x1e40, 0x1e5f), // 7 series
    (0x8c40, 0x8c5f), // 8 series
    (0x8cc0, 0x8cdf), // 9 series
    (0x9c40, 0x9c5f), // 8 series, mobile
    (0x9cc0, 0x9cdf), // 9 series, mobile
];

/// Whether the function whose first configuration register is `id` is one of them.
pub fn is_known(id: u32) -> bool {
    let [vendor, device] = [id as u16, (id >> 16) as u16];
    let is_in = |(first, last): &(u16, u16)| (*first..=*last).contains(&device);
    vendor == 0x8086 && BRIDGES.iter().any(is_in)
}

/// Most units that there can be; the other bits are not ours.
pub const UNITS_MAX: u16 = 0x3ff;

/// Units to count down from, so that the machine is reset `seconds` after the last
/// start of the count, and not before. A unit is 0.6 s, and the second time that the
/// count ends is the one that resets.
pub fn units(seconds: u32) -> u16 {
    let units = seconds.saturating_mul(10).div_ceil(12);
    // Fewer than four mean something else.
    units.clamp(4, UNITS_MAX.into()) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bridges_of_intel_in_the_list_are_known_and_no_others() {
        for id in [0x2918_8086, 0x2640_8086, 0x2642_8086, 0x9cdf_8086] {
            assert!(is_known(id), "{id:#x}");
        }
        // PIIX4, ICH5, Sunrise Point, another maker's, and nobody.
        for id in [0x7110_8086, 0x24d0_8086, 0xa143_8086, 0x2918_1022, u32::MAX] {
            assert!(!is_known(id), "{id:#x}");
        }
    }

    #[test]
    fn two_countdowns_are_never_shorter_than_was_asked_for_nor_much_longer() {
        for seconds in 5..=1200 {
            let ms = u32::from(units(seconds)) * 2 * 600;
            assert!(
                (seconds * 1000..=seconds * 1000 + 1200).contains(&ms),
                "{seconds}"
            );
        }
        assert_eq!(units(0), 4);
        assert_eq!(units(u32::MAX), 0x3ff);
    }
}
