//! The other end of the management network: frames made and taken apart.
//!
//! The headers below a harness's own layer are made right, or a fuzzer would spend
//! its life on check sums. Every frame of the node is taken apart with a reader of
//! our own: lengths, check sums, addresses, and nothing behind a packet but zeros.

use sim::plain::{MAC as NODE_MAC, MTU, Plain};
use std::cell::RefCell;

pub const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 9, 9];
pub const HOST: [u8; 4] = [10, 0, 0, 1];
/// The node's address where it is given a fixed one.
pub const NODE: [u8; 4] = [10, 0, 0, 5];

const IPV4: [u8; 2] = [8, 0];
const ARP: [u8; 2] = [8, 6];
const AOE: [u8; 2] = [0x88, 0xa2];
const BROADCAST: [u8; 4] = [255; 4];
pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;

/// The Internet's check sum (RFC 1071) over pieces of which only the last may be odd.
fn sum(pieces: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for pair in pieces.iter().flat_map(|piece| piece.chunks(2)) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The check sum of what TCP or UDP puts into `packet`, with the header before it.
fn sum_with_addresses(from: [u8; 4], to: [u8; 4], protocol: u8, packet: &[u8]) -> u16 {
    let len = (packet.len() as u16).to_be_bytes();
    sum(&[&from, &to, &[0, protocol], &len, packet])
}

fn ethernet(to: [u8; 6], kind: [u8; 2], packet: &[u8]) -> Vec<u8> {
    let mut frame = to.to_vec();
    frame.extend(HOST_MAC);
    frame.extend(kind);
    frame.extend(packet);
    frame.resize(frame.len().max(60), 0);
    frame
}

/// A frame with an IP packet of ours.
pub fn ip(to: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + payload.len() as u16).to_be_bytes());
    packet.extend([0, 1, 0, 0, 64, protocol, 0, 0]);
    packet.extend(HOST);
    packet.extend(to);
    let header = sum(&[&packet]);
    packet[10..12].copy_from_slice(&header.to_be_bytes());
    packet.extend(payload);
    let mac = if to == BROADCAST { [0xff; 6] } else { NODE_MAC };
    ethernet(mac, IPV4, &packet)
}

/// Makes the header's check sum of an IP packet in a frame right.
pub fn put_ip_right(frame: &mut [u8]) {
    let bytes = usize::from(frame[14] & 15) * 4;
    if let Some(header) = frame[14..].get_mut(..bytes.max(20)) {
        header[10..12].fill(0);
        let sum = sum(&[header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}

/// An ICMP message of ours, with a piece of what it is about.
pub fn icmp(kind: u8, code: u8, data: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind, code, 0, 0];
    packet.extend(data);
    let sum = sum(&[&packet]);
    packet[2..4].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// A datagram of ours in an IP packet.
pub fn udp(to: [u8; 4], ports: (u16, u16), data: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    for field in [ports.0, ports.1, 8 + data.len() as u16, 0] {
        datagram.extend(field.to_be_bytes());
    }
    datagram.extend(data);
    let sum = sum_with_addresses(HOST, to, UDP, &datagram);
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    ip(to, UDP, &datagram)
}

/// A segment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Segment<'a> {
    pub ports: (u16, u16),
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    pub data: &'a [u8],
}

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

impl<'a> Segment<'a> {
    /// A frame of ours with this segment in it.
    pub fn frame(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.ports.0.to_be_bytes());
        bytes.extend(self.ports.1.to_be_bytes());
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.ack.to_be_bytes());
        bytes.extend([5 << 4, self.flags]);
        bytes.extend(self.window.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.data);
        let sum = sum_with_addresses(HOST, NODE, TCP, &bytes);
        bytes[16..18].copy_from_slice(&sum.to_be_bytes());
        ip(NODE, TCP, &bytes)
    }

    fn read(bytes: &'a [u8]) -> Self {
        let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four"));
        let head = usize::from(bytes[12] >> 4) * 4;
        assert!((20..=bytes.len()).contains(&head), "{bytes:02x?}");
        Self {
            ports: ((number(0) >> 16) as u16, number(0) as u16),
            seq: number(4),
            ack: number(8),
            flags: bytes[13],
            window: (number(12) & 0xffff) as u16,
            data: &bytes[head..],
        }
    }
}

/// Who has this address? Also tells whose `HOST` is.
pub fn ask_who(address: [u8; 4]) -> Vec<u8> {
    arp(1, [0; 6], address, [0xff; 6])
}

/// `HOST` is ours.
pub fn say_whose(asked_by: [u8; 4]) -> Vec<u8> {
    arp(2, NODE_MAC, asked_by, NODE_MAC)
}

fn arp(operation: u8, mac: [u8; 6], address: [u8; 4], to: [u8; 6]) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, operation];
    packet.extend(HOST_MAC);
    packet.extend(HOST);
    packet.extend(mac);
    packet.extend(address);
    ethernet(to, ARP, &packet)
}

/// What the node has sent.
#[derive(Debug)]
pub enum Said<'a> {
    Segment(Segment<'a>),
    /// Ports and data.
    Datagram((u16, u16), &'a [u8]),
    /// It asks for the hardware address of this one, or tells its own.
    Arp {
        asks: bool,
        about: [u8; 4],
    },
    /// AoE, ICMP, IGMP.
    Other,
}

/// Takes a frame of the node apart. `sources` are the addresses that it may speak
/// from.
pub fn hear<'a>(frame: &'a [u8], sources: &[[u8; 4]]) -> Said<'a> {
    assert!((60..=14 + usize::from(MTU)).contains(&frame.len()));
    assert_eq!(frame[6..12], NODE_MAC, "a frame has our address");
    let (kind, packet) = frame[12..].split_first_chunk::<2>().expect("two bytes");
    match *kind {
        AOE => Said::Other,
        ARP => {
            assert_eq!(packet[..7], [0, 1, 8, 0, 6, 4, 0], "{frame:02x?}");
            let asks = packet[7] == 1;
            let [own, about] = [14, 24].map(|at| packet[at..at + 4].try_into().expect("four"));
            assert!(sources.contains(&own), "not its address: {own:?}");
            assert!(packet[28..].iter().all(|byte| *byte == 0), "{frame:02x?}");
            Said::Arp { asks, about }
        }
        IPV4 => {
            assert_eq!(packet[0] >> 4, 4, "IP of version 4");
            // IGMP and friends carry an option.
            let head = usize::from(packet[0] & 15) * 4;
            let len = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
            assert!((20..=len).contains(&head) && len <= packet.len());
            assert_eq!(sum(&[&packet[..head]]), 0, "the header's sum");
            assert!(
                packet[len..].iter().all(|byte| *byte == 0),
                "what is that? {frame:02x?}"
            );
            let [from, to] = [12, 16].map(|at| packet[at..at + 4].try_into().expect("four"));
            assert!(sources.contains(&from), "not its address: {from:?}");
            let payload = &packet[head..len];
            match packet[9] {
                TCP => {
                    assert_eq!(sum_with_addresses(from, to, TCP, payload), 0, "TCP's sum");
                    Said::Segment(Segment::read(payload))
                }
                UDP => {
                    let field = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
                    assert_eq!(usize::from(field(4)), payload.len(), "UDP's length");
                    let whole = sum_with_addresses(from, to, UDP, payload);
                    assert!(field(6) == 0 || whole == 0, "UDP's sum");
                    Said::Datagram((field(0), field(2)), &payload[8..])
                }
                ICMP => {
                    assert_eq!(sum(&[payload]), 0, "ICMP's sum");
                    Said::Other
                }
                _ => Said::Other,
            }
        }
        kind => panic!("the node speaks no {kind:02x?}"),
    }
}

/// Whatever came to the management plane: AoE is answered within two turns.
fn check_aoe(plain: &mut Plain) {
    let mut query = [0; 60];
    query[..6].fill(0xff);
    query[6..12].copy_from_slice(&HOST_MAC);
    query[12..16].copy_from_slice(&[0x88, 0xa2, 0x10, 0]);
    query[16..20].copy_from_slice(&[0xff, 0xff, 0xff, 1]);
    assert!(
        plain.deliver(&query),
        "there is no frame left to receive into"
    );
    for _ in 0..2 {
        plain.now = plain.now + 1;
        let now = plain.now;
        plain.node().step(now);
    }
    let left = plain.left();
    let is_it = |frame: &&Vec<u8>| frame[..6] == HOST_MAC && frame[12..14] == AOE;
    assert_eq!(left.iter().filter(is_it).count(), 1, "AoE has to wait");
}

/// Frames that the card can receive into when nothing is under way. A node keeps
/// some back once they have come by, so it is asked a few times first.
pub fn room_at_rest(plain: &mut Plain) -> usize {
    for _ in 0..8 {
        check_aoe(plain);
    }
    plain.settle();
    plain.left();
    plain.room()
}

thread_local! {
    static PLAINS: RefCell<[Plain; 2]> = RefCell::new([Plain::new(), Plain::new()]);
}

/// Plays a piece on two nodes; what lies behind the frames that they receive is all
/// that differs, and must not show. A play returns every frame that its node sent.
pub fn twice(play: impl Fn((&mut Plain, u8)) -> Vec<Vec<u8>>) {
    PLAINS.with_borrow_mut(|[one, other]| {
        let told = play((one, 0xa5));
        let again = play((other, 0x5a));
        assert_eq!(told.len(), again.len());
        for (one, other) in told.iter().zip(&again) {
            assert_eq!(
                one, other,
                "what is sent depends on bytes that never arrived"
            );
        }
    });
}

/// An input's next piece: its length, and so many bytes.
pub fn piece<'a>(data: &mut &'a [u8]) -> &'a [u8] {
    let Some((&len, rest)) = data.split_first() else {
        return &[];
    };
    let (piece, rest) = rest.split_at(usize::from(len).min(rest.len()));
    *data = rest;
    piece
}
