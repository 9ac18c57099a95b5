//! The frame: where things lie in it, and the few ways of writing to it.
//!
//! One optional VLAN tag moves everything behind the MAC addresses by four bytes.
//! A tagged frame is not copied: cut off its first four bytes and the ethertype,
//! the AoE header and all that follows lie where they lie without a tag. So every
//! offset below is a constant that counts from there, and only lengths are told
//! apart. Frames without a tag pay one comparison.
//!
//! The whole slot is passed as an array. Offsets into it need no check at run
//! time; what does need one is how much of it has *arrived*.

use crate::limits::{FRAME_BYTES_MIN, SECTOR_BYTES, WIRE_BYTES};
use core::fmt;

/// A MAC address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Everyone on the segment.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether it names a group, broadcast included.
    #[inline]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// An AoE address: shelf (major) and slot (minor).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// 0 to 65,534; 65,535 means every shelf.
    pub shelf: u16,
    /// 0 to 254; 255 means every slot.
    pub slot: u8,
}

impl Address {
    /// Every shelf and every slot.
    pub const EVERYONE: Self = Self {
        shelf: 0xffff,
        slot: 0xff,
    };

    /// Whether a request to `self` is meant for `target`.
    #[inline]
    pub const fn covers(self, target: Self) -> bool {
        // both wildcards count, independently of each other, and R-022: in
        // every command, since this is asked before the command is.
        (self.shelf == target.shelf || self.shelf == Self::EVERYONE.shelf)
            && (self.slot == target.slot || self.slot == Self::EVERYONE.slot)
    }

    /// Whether shelf or slot is a wildcard.
    #[inline]
    pub const fn is_wildcard(self) -> bool {
        self.shelf == Self::EVERYONE.shelf || self.slot == Self::EVERYONE.slot
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}.{}", self.shelf, self.slot)
    }
}

/// What a target must know of the port that a frame came in on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// The port's own address.
    pub mac: Mac,
    /// Its MTU: bytes of a frame without the 14 of the Ethernet header.
    pub mtu: u16,
}

impl Port {
    /// Sectors that one frame may carry, at most what a slot holds. 0 if the MTU
    /// is too small for any.
    #[inline]
    pub fn sectors_max(&self, tagged: bool) -> u8 {
        // all headers count against the MTU, the tag too.
        let headers = ata::DATA + if tagged { TAG_BYTES } else { 0 };
        let room = usize::from(self.mtu).min(WIRE_BYTES);
        (room.saturating_sub(headers) / SECTOR_BYTES) as u8
    }

    /// Longest frame that may leave through this port.
    #[inline]
    pub(crate) fn frame_bytes_max(&self) -> usize {
        (usize::from(self.mtu) + ETHERNET_BYTES).min(WIRE_BYTES)
    }
}

/// What can be told about a frame at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peek {
    /// Whom it is for; wildcards possible.
    pub addressed: Address,
    /// Whether it is an answer.
    pub response: bool,
    /// Whether it was sent to the broadcast MAC address.
    pub broadcast: bool,
    /// Whether it carries a VLAN tag.
    pub tagged: bool,
    /// Who sent it.
    pub source: Mac,
    /// The AoE command.
    pub command: u8,
}

/// Looks at a frame. `None` if it is not AoE or ends before the AoE header does.
#[inline]
pub fn peek(bytes: &[u8]) -> Option<Peek> {
    let head: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
    let shift = shift_of(head)?;
    let body: &[u8; HEADER_BYTES] = bytes.get(shift..)?.first_chunk()?;
    Some(Peek {
        addressed: addressed(body),
        response: body[FLAGS] & FLAG_RESPONSE != 0,
        broadcast: mac_at(head, 0) == Mac::BROADCAST,
        tagged: shift != 0,
        source: mac_at(head, 6),
        command: body[COMMAND],
    })
}

/// The tag of an AoE frame, which an answer has from its question.
#[cold]
pub fn tag_of(bytes: &[u8]) -> Option<u32> {
    let head: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
    let shift = shift_of(head)?;
    let tag = bytes.get(shift + TAG..)?.first_chunk()?;
    Some(u32::from_be_bytes(*tag))
}

/// Makes a request for sectors its own echo: to its sender, marked as an answer so
/// that nobody sends it back again, every other byte as it came. Returns its length, or
/// `None` if it is no such request, and then nothing is changed.
///
/// # Panics
/// If `buffer` is shorter than `received` or than the shortest frame.
#[inline]
pub fn echo(port: &Port, buffer: &mut [u8], received: usize) -> Option<usize> {
    let peek = peek(&buffer[..received])?;
    if peek.response || peek.command != ata::COMMAND || peek.source.is_multicast() {
        return None;
    }
    buffer.copy_within(6..12, 0);
    buffer[6..12].copy_from_slice(&port.mac.0);
    buffer[FLAGS + if peek.tagged { TAG_BYTES } else { 0 }] |= FLAG_RESPONSE;
    if received < FRAME_BYTES_MIN {
        buffer[received..FRAME_BYTES_MIN].fill(0);
    }
    Some(received.max(FRAME_BYTES_MIN))
}

/// Writes the question whether anybody answers for a slot of `shelf`, to everybody:
/// a config read as an initiator sends it. Returns its length.
///
/// # Panics
/// If `buffer` is shorter than [`WIRE_BYTES`].
#[cold]
pub fn ask(port: &Port, shelf: u16, tag: u32, buffer: &mut [u8]) -> usize {
    let slot = slot_of(buffer);
    slot[..FRAME_BYTES_MIN].fill(0);
    slot[..6].copy_from_slice(&Mac::BROADCAST.0);
    slot[6..12].copy_from_slice(&port.mac.0);
    let body = body_of(slot, 0);
    body[ETHERNET_BYTES - 2..ETHERNET_BYTES].copy_from_slice(&ETHERTYPE);
    body[FLAGS] = VERSION;
    let slot = Address::EVERYONE.slot;
    set_address(body, Address { shelf, slot });
    body[COMMAND] = crate::config::COMMAND;
    body[TAG..][..4].copy_from_slice(&tag.to_be_bytes());
    FRAME_BYTES_MIN
}

/// Bytes of a VLAN tag.
pub(crate) const TAG_BYTES: usize = 4;
/// Bytes of the Ethernet header.
pub(crate) const ETHERNET_BYTES: usize = 14;
/// Bytes of Ethernet and AoE header.
pub(crate) const HEADER_BYTES: usize = 24;

/// Ethertype of AoE.
pub(crate) const ETHERTYPE: [u8; 2] = [0x88, 0xa2];
/// Ethertypes of a VLAN tag (802.1Q and 802.1ad).
const TAGS: [[u8; 2]; 2] = [[0x81, 0x00], [0x88, 0xa8]];

/// Where the fields of the AoE header lie.
pub(crate) const FLAGS: usize = 14;
pub(crate) const ERROR: usize = 15;
pub(crate) const SHELF: usize = 16;
pub(crate) const SLOT: usize = 18;
pub(crate) const COMMAND: usize = 19;
pub(crate) const TAG: usize = 20;

/// Version 1, in the upper half of the flags byte.
pub(crate) const VERSION: u8 = 0x10;
pub(crate) const VERSION_MASK: u8 = 0xf0;
/// R: the frame is an answer.
pub(crate) const FLAG_RESPONSE: u8 = 0x08;
/// E: and it says no.
pub(crate) const FLAG_ERROR: u8 = 0x04;

/// Command 0, issue ATA command.
pub(crate) mod ata {
    pub const COMMAND: u8 = 0;
    pub const FLAGS: usize = 24;
    /// Feature in a request, error in an answer.
    pub const ERROR: usize = 25;
    pub const COUNT: usize = 26;
    /// Command in a request, status in an answer.
    pub const STATUS: usize = 27;
    pub const LBA: usize = 28;
    pub const DATA: usize = 36;
}

/// Command 1, query config information.
pub(crate) mod config {
    pub const BUFFERS: usize = 24;
    pub const FIRMWARE: usize = 26;
    pub const SECTORS: usize = 28;
    /// AoE version in the upper half.
    pub const COMMAND: usize = 29;
    pub const LENGTH: usize = 30;
    pub const STRING: usize = 32;
}

/// Command 2, MAC mask list.
pub(crate) mod mask {
    pub const COMMAND: usize = 25;
    pub const ERROR: usize = 26;
    pub const COUNT: usize = 27;
    pub const LIST: usize = 28;
}

/// Command 3, reserve and release.
pub(crate) mod reserve {
    pub const COMMAND: usize = 24;
    pub const COUNT: usize = 25;
    pub const LIST: usize = 26;
}

/// How far a tag moves the body: 0 or [`TAG_BYTES`]. `None` if it is not AoE. What
/// is passed begins with the frame and is as long as a header, arrived or not.
#[inline]
pub(crate) fn shift_of<const N: usize>(frame: &[u8; N]) -> Option<usize> {
    const { assert!(N >= HEADER_BYTES, "both ethertypes lie within") };
    if frame[12..14] == ETHERTYPE {
        return Some(0);
    }
    // one tag, of either kind.
    let is_tagged = TAGS.iter().any(|tag| frame[12..14] == *tag) && frame[16..18] == ETHERTYPE;
    is_tagged.then_some(TAG_BYTES)
}

/// The MAC address at `at`.
#[inline]
pub(crate) fn mac_at(bytes: &[u8], at: usize) -> Mac {
    Mac(bytes[at..]
        .first_chunk()
        .copied()
        .expect("a MAC address has six bytes"))
}

#[inline]
pub(crate) fn addressed(body: &[u8; HEADER_BYTES]) -> Address {
    Address {
        shelf: u16::from_be_bytes([body[SHELF], body[SHELF + 1]]),
        slot: body[SLOT],
    }
}

/// A slot's wire bytes.
pub(crate) type Slot = [u8; WIRE_BYTES];
/// A slot behind a tag, or as much of it without one: every header and list lies
/// in here at constant offsets. Only a read's data may reach beyond.
pub(crate) type Body = [u8; BODY_BYTES];
const BODY_BYTES: usize = WIRE_BYTES - TAG_BYTES;

/// The whole room of a slot.
///
/// # Panics
/// If it is less than a slot has: whoever passed it passed something else.
#[inline]
pub(crate) fn slot_of(buffer: &mut [u8]) -> &mut Slot {
    buffer.first_chunk_mut().expect("a slot holds WIRE_BYTES")
}

/// The slot from where a frame without a tag would begin.
#[inline]
pub(crate) fn body_of(slot: &mut Slot, shift: usize) -> &mut Body {
    let body = if shift == 0 {
        slot.first_chunk_mut()
    } else {
        slot.last_chunk_mut()
    };
    body.expect("a body is shorter than a slot")
}

/// The Ethernet and AoE headers, from where a frame without a tag would begin.
#[inline]
pub(crate) fn header_of(slot: &Slot, shift: usize) -> &[u8; HEADER_BYTES] {
    slot[shift..]
        .first_chunk()
        .expect("a header is shorter than a slot")
}

/// Makes an empty query of it: ethertype, command 1, tag 0, reserved bytes 0.
pub(crate) fn set_query(body: &mut Body) {
    body[..HEADER_BYTES].fill(0);
    body[ETHERNET_BYTES - 2..ETHERNET_BYTES].copy_from_slice(&ETHERTYPE);
    body[COMMAND] = crate::config::COMMAND;
}

/// The header of an answer, field by field. R-006: all that leaves has been written
/// here, in the body, or by the request. What stays of the request is the ethertype,
/// the tag of the VLAN, the command, and the tag, which is nobody's business
///
#[inline]
pub(crate) fn answer_header(
    slot: &mut Slot,
    shift: usize,
    port: &Port,
    to: Mac,
    address: Address,
    error: u8,
) {
    slot[..6].copy_from_slice(&to.0);
    slot[6..12].copy_from_slice(&port.mac.0);
    let body = body_of(slot, shift);
    // nothing of the request's flags comes back.
    body[FLAGS] = VERSION | FLAG_RESPONSE | if error == 0 { 0 } else { FLAG_ERROR };
    body[ERROR] = error;
    set_address(body, address);
}

/// a body that ends at `len` is padded, with zeros and nothing else. Returns
/// where it ends then.
#[inline]
pub(crate) fn pad(body: &mut Body, len: usize) -> usize {
    if len < FRAME_BYTES_MIN {
        body[len..FRAME_BYTES_MIN].fill(0);
    }
    len.max(FRAME_BYTES_MIN)
}

/// Writes a real shelf and slot.
#[inline]
pub(crate) fn set_address(body: &mut Body, address: Address) {
    body[SHELF..SLOT].copy_from_slice(&address.shelf.to_be_bytes());
    body[SLOT] = address.slot;
}
