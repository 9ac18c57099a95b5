//! What time it is for people: asked from a time server, counted by our clock.
//!
//! Simple network time (RFC 4330) is enough for lines of a log: one question now
//! and then, half of the way back added. Nothing on the data path ever looks here.

use core::fmt;
use io::Instant;

/// From 1900, where network time begins, to 1970.
const SECONDS_1900_TO_1970: u64 = 2_208_988_800;
/// Bytes of a question or answer without extensions.
pub const PACKET_BYTES: usize = 48;

/// The civil time, once somebody has told it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wall {
    /// Microseconds since 1970 when our clock was 0.
    start_us: Option<u64>,
}

impl Wall {
    /// Microseconds since 1970 at `at`, if known.
    pub fn unix_us(&self, at: Instant) -> Option<u64> {
        self.start_us.map(|start| start.saturating_add(at.0))
    }

    /// Takes the time over: it was `unix_us` at `at`.
    pub fn set(&mut self, at: Instant, unix_us: u64) {
        self.start_us = Some(unix_us.saturating_sub(at.0));
    }

    /// `at` for a person: the civil time, or the time since start.
    pub fn show(&self, at: Instant) -> Shown {
        Shown {
            unix_us: self.unix_us(at),
            since_start_us: at.0,
        }
    }
}

/// See [`Wall::show`].
pub struct Shown {
    unix_us: Option<u64>,
    since_start_us: u64,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unix_us {
            Some(us) => write!(f, "{}", Utc(us)),
            None => {
                let (s, ms) = (
                    self.since_start_us / 1_000_000,
                    self.since_start_us / 1000 % 1000,
                );
                write!(f, "+{s}.{ms:03}s")
            }
        }
    }
}

/// A time as RFC 3339 wants it, from microseconds since 1970.
pub struct Utc(pub u64);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, ms) = (self.0 / 1_000_000, self.0 / 1000 % 1000);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = date_of(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"
        )
    }
}

/// Year, month and day of a number of days since 1970. Counts from 1 March of
/// the year 0, so that a leap day is the last day of its year; 400 years are
/// 146,097 days.
fn date_of(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// A question. `cookie` comes back in the answer to it and to no other.
pub fn question(cookie: u64) -> [u8; PACKET_BYTES] {
    let mut packet = [0; PACKET_BYTES];
    packet[0] = 4 << 3 | 3; // version 4, client
    packet[40..].copy_from_slice(&cookie.to_be_bytes());
    packet
}

/// The server's time, in microseconds since 1970, if `packet` is a whole answer
/// to the question with `cookie` from a server that knows the time.
pub fn answer(packet: &[u8], cookie: u64) -> Option<u64> {
    let packet: &[u8; PACKET_BYTES] = packet.first_chunk()?;
    let word = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|byte| packet[at + byte]));
    let (leap, version, mode) = (packet[0] >> 6, packet[0] >> 3 & 7, packet[0] & 7);
    let stratum = packet[1];
    let originate = u64::from(word(24)) << 32 | u64::from(word(28));
    let (seconds, fraction) = (word(40), word(44));
    let is_good = leap != 3
        && matches!(version, 3 | 4)
        && mode == 4
        && (1..16).contains(&stratum)
        && originate == cookie
        && (seconds, fraction) != (0, 0);
    if !is_good {
        return None;
    }
    // Seconds wrap in 2036: without the first bit they are of the next era (RFC
    // 4330, 3).
    let era = u64::from(seconds < 1 << 31) << 32;
    let unix = (era + u64::from(seconds)).checked_sub(SECONDS_1900_TO_1970)?;
    Some(unix * 1_000_000 + ((u64::from(fraction) * 1_000_000) >> 32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn reply(cookie: u64, seconds: u32, fraction: u32) -> [u8; PACKET_BYTES] {
        let mut packet = [0; PACKET_BYTES];
        packet[0] = 4 << 3 | 4;
        packet[1] = 2;
        packet[24..32].copy_from_slice(&cookie.to_be_bytes());
        packet[40..44].copy_from_slice(&seconds.to_be_bytes());
        packet[44..].copy_from_slice(&fraction.to_be_bytes());
        packet
    }

    #[test]
    fn dates_are_right_at_leap_days_and_ends_of_years() {
        let show = |seconds: u64| Utc(seconds * 1_000_000).to_string();
        assert_eq!(show(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(show(951_782_399), "2000-02-28T23:59:59.000Z");
        assert_eq!(show(951_782_400), "2000-02-29T00:00:00.000Z");
        assert_eq!(show(1_709_251_199), "2024-02-29T23:59:59.000Z");
        assert_eq!(show(1_767_225_599), "2025-12-31T23:59:59.000Z");
        assert_eq!(show(4_107_542_400), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn an_answer_to_our_question_is_the_time_and_no_other_is() {
        let good = reply(7, 3_913_056_000, 1 << 31);
        assert_eq!(answer(&good, 7), Some(1_704_067_200_500_000));
        assert_eq!(answer(&good, 8), None);
        assert_eq!(answer(&good[..47], 7), None);
        for (byte, value) in [(0, 3 << 6 | 4 << 3 | 4), (0, 4 << 3 | 3), (1, 0), (1, 16)] {
            let mut bad = good;
            bad[byte] = value;
            assert_eq!(answer(&bad, 7), None);
        }
        assert_eq!(answer(&reply(7, 0, 0), 7), None);
    }

    #[test]
    fn after_2036_the_next_era_begins() {
        let wall = answer(&reply(1, 10, 0), 1).expect("an answer");
        assert_eq!(Utc(wall).to_string(), "2036-02-07T06:28:26.000Z");
    }

    #[test]
    fn without_a_server_times_count_from_the_start() {
        let mut wall = Wall::default();
        assert_eq!(wall.show(Instant(1_234_567)).to_string(), "+1.234s");
        wall.set(Instant(1_000_000), 951_782_400_000_000);
        assert_eq!(
            wall.show(Instant(0)).to_string(),
            "2000-02-28T23:59:59.000Z"
        );
    }
}
