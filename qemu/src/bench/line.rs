//! Line rate on paper: what a wire carries at most, and what a frame may cost there.
//!
//! On the wire a frame has more than its bytes: preamble and start delimiter, check
//! sequence, and the gap to the next one (IEEE 802.3-2018, 3.1.1 and 4.4.2). The frames
//! are those of reads and writes with as many sectors as the MTU has room for; the other
//! direction carries a header alone and is never the limit.

/// Preamble and start of frame delimiter (IEEE 802.3-2018, 3.2.1 and 3.2.2).
const PREAMBLE_BYTES: u64 = 8;
/// Frame check sequence (3.2.9).
const CHECK_BYTES: u64 = 4;
/// The gap between two frames, 96 bits (4.4.2).
const GAP_BYTES: u64 = 12;
/// Destination, source, type (3.1.1).
const ETHERNET_HEADER_BYTES: u64 = 14;
/// AoE behind the Ethernet header: its common header and the one of ATA commands (AoEr11,
/// 2 and 3).
const AOE_BYTES: u64 = 10 + 12;
const SECTOR_BYTES: u64 = 512;

/// The wires that are reckoned, in Gbit/s, and the MTUs.
const GIGABITS: [u64; 4] = [1, 10, 25, 100];
const MTUS: [u64; 2] = [1500, 9000];

/// The processor whose instructions are reckoned: 3 GHz, one instruction a cycle.
pub const INSTRUCTIONS_PER_SECOND: f64 = 3e9;

/// One wire at one MTU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LineRate {
    /// Gbit/s.
    pub gigabits: u64,
    /// Bytes that a frame's payload may have.
    pub mtu: u64,
    /// Sectors in a frame.
    pub sectors: u64,
    /// Frames with data a second.
    pub frames_per_second: f64,
}

impl LineRate {
    /// Nanoseconds that a frame may cost, if one core is to fill the wire.
    pub fn nanoseconds(&self) -> f64 {
        1e9 / self.frames_per_second
    }

    /// Instructions that it may cost at [`INSTRUCTIONS_PER_SECOND`].
    pub fn instructions(&self) -> f64 {
        INSTRUCTIONS_PER_SECOND / self.frames_per_second
    }

    /// The data it carries, in MiB/s.
    pub fn mebibytes_per_second(&self) -> f64 {
        self.frames_per_second * (self.sectors * SECTOR_BYTES) as f64 / f64::from(1 << 20)
    }
}

/// Every wire at every MTU.
pub fn line_rates() -> Vec<LineRate> {
    GIGABITS
        .iter()
        .flat_map(|&gigabits| MTUS.map(|mtu| line_rate(gigabits, mtu)))
        .collect()
}

fn line_rate(gigabits: u64, mtu: u64) -> LineRate {
    let sectors = (mtu - AOE_BYTES) / SECTOR_BYTES;
    let frame = ETHERNET_HEADER_BYTES + AOE_BYTES + sectors * SECTOR_BYTES + CHECK_BYTES;
    let bits = (PREAMBLE_BYTES + frame + GAP_BYTES) * 8;
    LineRate {
        gigabits,
        mtu,
        sectors,
        frames_per_second: gigabits as f64 * 1e9 / bits as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sectors_fit_an_ordinary_frame_and_seventeen_a_jumbo_one() {
        let sectors: Vec<u64> = MTUS.iter().map(|&mtu| line_rate(1, mtu).sectors).collect();
        assert_eq!(sectors, [2, 17]);
    }

    #[test]
    fn a_gigabit_carries_as_many_frames_as_reckoned_by_hand() {
        // 8 + 14 + 22 + 1024 + 4 + 12 = 1084 bytes are 8672 bits.
        let rate = line_rate(1, 1500);
        assert!((rate.frames_per_second - 1e9 / 8672.0).abs() < 1e-6);
        assert!((rate.nanoseconds() - 8672.0).abs() < 1e-6);
        assert!((rate.instructions() - 26_016.0).abs() < 1e-6);
    }

    #[test]
    fn ten_times_the_wire_leaves_a_tenth_of_the_time() {
        let (one, ten) = (line_rate(10, 9000), line_rate(100, 9000));
        assert!((one.nanoseconds() / ten.nanoseconds() - 10.0).abs() < 1e-9);
    }
}
