//! From a counter's ticks to microseconds, without a division.
//!
//! A tick is multiplied by a fraction of 2^32. The product has 96 bits, so the
//! counter may run for centuries.

/// How fast a counter runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Ticks a second.
    hz: u64,
    /// Microseconds a tick, times 2^32.
    us_per_tick: u64,
}

/// Slower is no processor's counter; such a number is a misreading.
pub const HZ_MIN: u64 = 10_000_000;
/// Faster is no processor's counter either.
pub const HZ_MAX: u64 = 100_000_000_000;

impl Rate {
    /// A counter of `hz` ticks a second; `None` if no processor counts so.
    pub const fn new(hz: u64) -> Option<Self> {
        if hz < HZ_MIN || hz > HZ_MAX {
            return None;
        }
        Some(Self {
            hz,
            us_per_tick: (1_000_000 << 32) / hz,
        })
    }

    /// A counter that was seen to make `ticks` in `units` of a `unit_hz` clock.
    pub const fn measured(ticks: u64, units: u64, unit_hz: u64) -> Option<Self> {
        if units == 0 {
            return None;
        }
        let hz = ticks as u128 * unit_hz as u128 / units as u128;
        if hz > HZ_MAX as u128 {
            return None;
        }
        Self::new(hz as u64)
    }

    /// A counter of which a paravirtual clock says that a tick is
    /// `multiplier / 2^32` nanoseconds, after a shift (left if positive).
    pub const fn scaled(multiplier: u32, shift: i8) -> Option<Self> {
        if multiplier == 0 || shift > 31 || shift < -31 {
            return None;
        }
        let hz = (1_000_000_000_u128 << 32) / multiplier as u128;
        let hz = if shift >= 0 {
            hz >> shift
        } else {
            hz << -shift
        };
        if hz > HZ_MAX as u128 {
            return None;
        }
        Self::new(hz as u64)
    }

    /// Ticks a second.
    pub const fn hz(self) -> u64 {
        self.hz
    }

    /// Whole microseconds in `ticks`.
    pub const fn us(self, ticks: u64) -> u64 {
        ((ticks as u128 * self.us_per_tick as u128) >> 32) as u64
    }

    /// Ticks in `us` microseconds, as many as there are at most.
    pub const fn ticks(self, us: u64) -> u64 {
        let ticks = us as u128 * self.hz as u128 / 1_000_000;
        if ticks > u64::MAX as u128 {
            u64::MAX
        } else {
            ticks as u64
        }
    }
}

/// Units a second of a clock with units of `femtoseconds`, as the high precision timer
/// says its rate; `None` if none may count so (HPET 1.0a, 2.3.4).
pub const fn hz_of_period(femtoseconds: u32) -> Option<u64> {
    const MAX: u32 = 100_000_000;
    if femtoseconds == 0 || femtoseconds > MAX {
        return None;
    }
    Some(1_000_000_000_000_000 / femtoseconds as u64)
}

/// How far a clock of `bits` bits came from one reading to a later one, if it began
/// again at most once.
///
/// ```
/// assert_eq!(metal::rate::passed(0xffff_fff0, 0x10, 24), 0x20);
/// ```
pub const fn passed(from: u32, to: u32, bits: u32) -> u64 {
    to.wrapping_sub(from) as u64 & ((1 << bits) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_off_by_less_than_a_millisecond_per_gigahertz() {
        for hz in [HZ_MIN, 1_000_000_000, 2_399_998_765, 5_000_000_000, HZ_MAX] {
            let rate = Rate::new(hz).unwrap();
            let day_us = 86_400_000_000_u64;
            let off = day_us - rate.us(rate.ticks(day_us));
            assert!(
                off <= day_us / 1_000_000 * (hz / 1_000_000_000 + 1),
                "{hz}: {off}"
            );
        }
    }

    #[test]
    fn a_century_of_ticks_does_not_overflow() {
        let rate = Rate::new(5_000_000_000).unwrap();
        let century_us = 100 * 366 * 86_400_000_000;
        assert!(rate.us(rate.ticks(century_us)) > century_us / 1000 * 999);
        assert_eq!(rate.ticks(u64::MAX), u64::MAX);
    }

    #[test]
    fn numbers_that_no_processor_has_are_refused() {
        assert_eq!(Rate::new(HZ_MIN - 1), None);
        assert_eq!(Rate::new(HZ_MAX + 1), None);
        assert_eq!(Rate::measured(1000, 0, 1000), None);
        assert_eq!(Rate::measured(u64::MAX, 1, u64::MAX), None);
        assert_eq!(Rate::scaled(0, 0), None);
        assert_eq!(Rate::scaled(1, -31), None);
        assert_eq!(Rate::scaled(1 << 31, i8::MIN), None);
    }

    #[test]
    fn a_paravirtual_clock_of_half_a_nanosecond_is_two_gigahertz() {
        assert_eq!(Rate::scaled(1 << 31, 0).unwrap().hz(), 2_000_000_000);
        assert_eq!(Rate::scaled(1 << 31, -1).unwrap().hz(), 4_000_000_000);
        assert_eq!(Rate::scaled(1 << 31, 1).unwrap().hz(), 1_000_000_000);
    }

    #[test]
    fn a_period_is_turned_into_a_rate_unless_no_clock_may_have_it() {
        // QEMU's, and that of Intel's chipsets.
        assert_eq!(hz_of_period(10_000_000), Some(100_000_000));
        assert_eq!(hz_of_period(69_841_279), Some(14_318_179));
        assert_eq!(hz_of_period(100_000_000), Some(10_000_000));
        for none in [0, 100_000_001, u32::MAX] {
            assert_eq!(hz_of_period(none), None);
        }
    }

    #[test]
    fn a_clock_that_began_again_has_gone_on() {
        for bits in [16, 24, 32] {
            let last = ((1_u64 << bits) - 1) as u32;
            assert_eq!(passed(last - 4, 3, bits), 8);
            assert_eq!(passed(3, 11, bits), 8);
            assert_eq!(passed(7, 7, bits), 0);
            // What lies above the clock's own bits says nothing.
            if bits < 32 {
                assert_eq!(passed(5 << bits | 1, 9 << bits | 2, bits), 1);
            }
        }
    }

    #[test]
    fn four_milliseconds_of_the_interval_timer_tell_the_rate() {
        // 4,773 units of 1,193,182 Hz are 4.0002 ms.
        let rate = Rate::measured(12_000_000, 4_773, 1_193_182).unwrap();
        assert!(rate.hz().abs_diff(3_000_000_000) < 1_000_000);
    }
}
