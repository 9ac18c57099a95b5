//! The usual request, judged in one look.
//!
//! Nearly every frame that a target gets is the same but for its numbers: no tag of
//! a VLAN, from one host to our MAC, version 1, no flag, the whole address, command
//! 0, and one of four opcodes. That much is three words and a byte, so it is compared
//! as three words and a byte. The numbers are checked as everywhere else.
//!
//! This is a short cut and no second opinion: what is usual and right here is right
//! on the long way, with the same outcome (the test below says so); whatever is not
//! goes the long way, which knows the reasons.

use super::Target;
use crate::ata::{FLAG_EXTENDED, LBA28_MAX, LBA48_MAX};
use crate::ata::{Io, IoOp};
use crate::limits::{SECTOR_BYTES, WIRE_BYTES};
use crate::wire::{self, Address, Mac, Port};

/// The six bytes of a MAC address in a word.
const MAC_BITS: u64 = (1 << 48) - 1;
/// READ SECTORS; with the bits below READ SECTORS EXT, WRITE SECTORS and its EXT.
const READ: u8 = 0x20;
const EXT: u8 = 0x04;
const WRITE: u8 = 0x10;

/// Ethertype, flags, error, shelf, slot and command of the usual request: the eight
/// bytes from 12 on.
pub(super) const fn header(address: Address) -> u64 {
    let [high, low] = address.shelf.to_be_bytes();
    let [one, two] = wire::ETHERTYPE;
    u64::from_le_bytes([one, two, wire::VERSION, 0, high, low, address.slot, 0])
}

const fn word_of(mac: Mac) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

impl Target {
    /// What the disk is asked for, if the frame in `buffer` is a usual request and
    /// nothing is wrong with it; `None` says nothing. Parameters and panics are those
    /// of [`admit`](Self::admit).
    #[inline(always)]
    pub fn usual(&self, port: &Port, buffer: &[u8], received: usize) -> Option<Io> {
        let frame: &[u8; wire::ata::DATA] = buffer.first_chunk().expect("a slot holds WIRE_BYTES");
        let word = |at: usize| {
            let bytes = frame[at..].first_chunk();
            u64::from_le_bytes(*bytes.expect("a word within the headers"))
        };
        let own = word_of(port.mac);
        let source = word(6) & MAC_BITS;
        // R-001 R-008 R-010 R-013 R-020, then, and that everybody may
        // talk.
        let is_usual = word(0) & MAC_BITS == own
            && word(12) == self.usual_header
            && received >= wire::ata::DATA
            && source & 1 == 0
            && source != 0
            && source != own
            && self.masks.is_empty()
            && self.reservation.is_empty();
        let opcode = frame[wire::ata::STATUS];
        if !is_usual || opcode & !(EXT | WRITE) != READ {
            return None;
        }
        // R-050 R-100
        let sectors = frame[wire::ata::COUNT];
        let bytes = wire::ata::DATA + usize::from(sectors) * SECTOR_BYTES;
        if sectors == 0 || bytes > usize::from(port.mtu).min(WIRE_BYTES) {
            return None;
        }
        // R-051 R-052
        let is_write = opcode & WRITE != 0;
        if is_write && (self.medium.read_only || received < bytes) {
            return None;
        }
        // R-042 R-043
        let mut lba = word(wire::ata::LBA) & LBA48_MAX;
        if opcode & EXT == 0 {
            if frame[wire::ata::FLAGS] & FLAG_EXTENDED != 0 {
                return None;
            }
            lba &= LBA28_MAX;
        }
        // Neither is near the end of 64 bits.
        (lba + u64::from(sectors) <= self.medium.sectors).then_some(Io {
            op: if is_write { IoOp::Write } else { IoOp::Read },
            lba,
            sectors: sectors.into(),
            data: wire::ata::DATA as u16,
        })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::ata;
    use crate::medium::{Cache, Errors, Medium, Policy};
    use crate::verdict::Verdict;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;
    use std::vec::Vec;

    const OWN: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const HOST: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const ADDRESS: Address = Address { shelf: 5, slot: 7 };
    const SECTORS: u64 = (1 << 28) + 100;

    fn target(read_only: bool, masks: &[Mac]) -> Target {
        let medium = Medium {
            sectors: SECTORS,
            physical_exponent: 0,
            alignment_offset: 0,
            read_only,
            cache: Cache::WriteThrough,
            discard: false,
            health: None,
            serial: [b' '; 20],
            model: [b' '; 40],
            firmware: [b' '; 8],
        };
        let policy = Policy {
            errors: Errors::Ata,
            masks,
        };
        Target::new(ADDRESS, medium, 16, policy)
    }

    fn request(opcode: u8, count: u8, lba: u64) -> Vec<u8> {
        let mut frame = std::vec![0; WIRE_BYTES];
        frame[..6].copy_from_slice(&OWN.0);
        frame[6..12].copy_from_slice(&HOST.0);
        frame[12..20].copy_from_slice(&header(ADDRESS).to_le_bytes());
        frame[wire::ata::COUNT] = count;
        frame[wire::ata::STATUS] = opcode;
        frame[wire::ata::LBA..][..6].copy_from_slice(&lba.to_le_bytes()[..6]);
        frame
    }

    /// Requests that are usual, each with a few bytes that perhaps are not.
    fn frames() -> impl Strategy<Value = Vec<u8>> {
        let opcode = select(std::vec![0x20, 0x24, 0x30, 0x34, 0x40, 0x21, 0xec]);
        let lba = prop_oneof![
            0..40_u64,
            SECTORS - 20..SECTORS + 1,
            0xe000_0000..0xe000_0010_u64,
        ];
        let wrong = vec((0..wire::ata::DATA, any::<u8>()), 0..3);
        (opcode, 0..20_u8, lba, wrong).prop_map(|(opcode, count, lba, wrong)| {
            let mut frame = request(opcode, count, lba);
            for (at, byte) in wrong {
                frame[at] = byte;
            }
            frame
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn what_is_usual_is_what_the_long_way_would_submit(
            frame in frames(),
            received in prop_oneof![Just(36_usize), 0..WIRE_BYTES, Just(WIRE_BYTES)],
            mtu in select(std::vec![0_u16, 547, 548, 1500, 9000, u16::MAX]),
            read_only in any::<bool>(),
            masked in 0..8_u8,
        ) {
            let masks = [Mac([2, 9, 9, 9, 9, 9])];
            let masks = if masked == 0 { &masks[..] } else { &[] };
            let mut target = target(read_only, masks);
            let port = Port { mac: OWN, mtu };
            if let Some(io) = target.usual(&port, &frame, received) {
                let mut after = frame.clone();
                let verdict = target.long_way(&port, &mut after, received);
                prop_assert!(matches!(verdict, Verdict::Submit(long) if long == io));
                prop_assert_eq!(after, frame, "and the frame stays as it is");
            }
        }
    }

    #[test]
    fn a_request_as_linux_sends_it_is_usual_up_to_the_last_sector() {
        let port = Port {
            mac: OWN,
            mtu: 9000,
        };
        let target = target(false, &[]);
        for (opcode, op) in [(0x24, IoOp::Read), (0x34, IoOp::Write)] {
            let frame = request(opcode, 17, SECTORS - 17);
            let io = target.usual(&port, &frame, WIRE_BYTES).expect("usual");
            assert_eq!(Some(io), ata::io_of(&frame, WIRE_BYTES));
            assert_eq!((io.op, io.lba, io.sectors), (op, SECTORS - 17, 17));
            let past = request(opcode, 17, SECTORS - 16);
            assert_eq!(target.usual(&port, &past, WIRE_BYTES), None);
        }
        // 28 bits, and the device register above them.
        let frame = request(0x20, 2, 0xe000_0003);
        let io = target.usual(&port, &frame, 36).expect("usual");
        assert_eq!((io.lba, io.sectors), (3, 2));
    }

    /// A write of two sectors, through a port that carries just that.
    const LEN: usize = 36 + 2 * SECTOR_BYTES;
    const NARROW: Port = Port {
        mac: OWN,
        mtu: LEN as u16,
    };

    #[test]
    fn one_byte_that_is_out_of_the_ordinary_sends_a_request_the_long_way() {
        let target = target(false, &[]);
        let plain = request(0x34, 2, 8);
        let usual = |frame: &[u8]| target.usual(&NARROW, frame, LEN);
        assert!(usual(&plain).is_some());
        let changed = |at: usize, byte: u8| {
            let mut frame = plain.clone();
            frame[at] = byte;
            frame
        };
        // R-001 R-008 R-010 R-013 R-020: to whom, and the eight bytes of the header.
        for at in (0..6).chain(12..20) {
            for bit in 0..8 {
                let frame = changed(at, plain[at] ^ 1 << bit);
                assert_eq!(usual(&frame), None, "bit {bit} of byte {at}");
            }
        }
        // nobody, a group, and the port itself.
        for source in [Mac::default(), Mac([3, 0, 0, 0, 0, 1]), OWN] {
            let mut frame = plain.clone();
            frame[6..12].copy_from_slice(&source.0);
            assert_eq!(usual(&frame), None, "from {source}");
        }
        for opcode in 0..=255 {
            let frame = changed(wire::ata::STATUS, opcode);
            let is_usual = matches!(opcode, 0x20 | 0x24 | 0x30 | 0x34);
            assert_eq!(usual(&frame).is_some(), is_usual, "opcode {opcode:02x}");
        }
        // R-042 R-043: an address of 48 bits with an opcode for 28.
        for (opcode, is_usual) in [(0x30, false), (0x34, true)] {
            let mut frame = changed(wire::ata::FLAGS, FLAG_EXTENDED);
            frame[wire::ata::STATUS] = opcode;
            assert_eq!(usual(&frame).is_some(), is_usual, "opcode {opcode:02x}");
        }
    }

    #[test]
    fn a_request_is_usual_up_to_each_border_and_not_beyond() {
        let open = target(false, &[]);
        let write = |count| request(0x34, count, 8);
        let usual = |target: &Target, frame: &[u8], received| {
            target.usual(&NARROW, frame, received).is_some()
        };
        // R-050 R-100
        for (count, is_usual) in [(0, false), (1, true), (2, true), (3, false)] {
            let frame = write(count);
            assert_eq!(usual(&open, &frame, WIRE_BYTES), is_usual, "{count}");
        }
        let narrower = Port {
            mtu: NARROW.mtu - 1,
            ..NARROW
        };
        assert_eq!(open.usual(&narrower, &write(2), LEN), None);
        // for a read, which is its headers.
        assert!(usual(&open, &write(2), LEN) && usual(&open, &write(2), LEN + 1));
        assert!(!usual(&open, &write(2), LEN - 1));
        let read = request(0x24, 2, 8);
        assert!(usual(&open, &read, 36) && !usual(&open, &read, 35));
        //
        let closed = target(true, &[]);
        assert!(usual(&closed, &read, LEN) && !usual(&closed, &write(2), LEN));
    }

    #[test]
    fn where_not_everybody_may_talk_nothing_is_usual() {
        // R-080 R-093: the long way knows who may, even if it is this host.
        let read = request(0x24, 2, 8);
        let masked = target(false, &[HOST]);
        assert_eq!(masked.usual(&NARROW, &read, LEN), None);
        let mut reserved = target(false, &[]);
        reserved.replace_reservation([HOST].into_iter());
        assert_eq!(reserved.usual(&NARROW, &read, LEN), None);
        reserved.replace_reservation([].into_iter());
        assert!(reserved.usual(&NARROW, &read, LEN).is_some());
    }
}
