//! What the node may do with a frame, and what may stand in its answers.
//!
//! A second reading of the protocol, from the side of somebody who means harm.
//! It need not predict every answer: it must know exactly which frames change
//! which sectors, and for every byte of every answer where it comes from. A
//! byte that has no source is a leak.

use super::super::world::{NODE, SHELF};
use crate::Mac;
use crate::client::{Reply, ata, command};
use crate::pattern::SECTOR_BYTES;
use std::collections::{HashMap, HashSet};

/// Sectors of each of the node's disks.
pub(super) const SECTORS: u64 = 2048;
/// Sectors a frame may carry at an MTU of 1500.
pub(super) const PER_FRAME: u8 = 2;
/// The exports that exist.
pub(super) const SLOTS: usize = 2;
/// Shortest answer that every initiator takes.
const REPLY_BYTES_MIN: usize = 60;
/// Bits of the status register that mean failure.
const STATUS_BAD: u8 = 0xa9;
/// WRITE DMA and WRITE DMA EXT: legal only where IDENTIFY claims DMA.
const WRITE_DMA: u8 = 0xca;
const WRITE_DMA_EXT: u8 = 0x35;
const READ_DMA: u8 = 0xc8;
const READ_DMA_EXT: u8 = 0x25;

/// A frame taken apart as far as it goes.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) frame: &'a [u8],
    /// Bytes of an 802.1Q or 802.1ad tag: 0 or 4.
    tag_bytes: usize,
}

impl<'a> View<'a> {
    /// The view, if this is an AoE frame with a whole header.
    pub(super) fn of(frame: &'a [u8]) -> Option<Self> {
        let ethertype = |at: usize| frame.get(at..at + 2);
        let tag_bytes = match ethertype(12)? {
            [0x81, 0x00] | [0x88, 0xa8] => 4,
            _ => 0,
        };
        let is_aoe = ethertype(12 + tag_bytes)? == [0x88, 0xa2];
        let whole = frame.len() >= 24 + tag_bytes;
        (is_aoe && whole).then_some(Self { frame, tag_bytes })
    }

    /// Byte `at` as the protocol counts, which knows of no VLAN tag.
    pub(super) fn byte(self, at: usize) -> u8 {
        self.frame.get(at + self.tag_bytes).copied().unwrap_or(0)
    }

    /// Where byte `at` of the protocol is in the frame.
    pub(super) fn place(self, at: usize) -> usize {
        at + self.tag_bytes
    }

    /// Everything from byte `at` of the protocol on.
    pub(super) fn from(self, at: usize) -> &'a [u8] {
        self.frame.get(at + self.tag_bytes..).unwrap_or_default()
    }

    fn bytes(self) -> usize {
        self.frame.len() - self.tag_bytes
    }

    pub(super) fn destination(self) -> Mac {
        Mac(self.frame[..6].try_into().expect("six bytes"))
    }

    pub(super) fn source(self) -> Mac {
        Mac(self.frame[6..12].try_into().expect("six bytes"))
    }

    pub(super) fn shelf(self) -> u16 {
        u16::from_be_bytes([self.byte(16), self.byte(17)])
    }

    pub(super) fn slot(self) -> u8 {
        self.byte(18)
    }

    pub(super) fn command(self) -> u8 {
        self.byte(19)
    }

    pub(super) fn tag(self) -> u32 {
        u32::from_be_bytes([self.byte(20), self.byte(21), self.byte(22), self.byte(23)])
    }

    /// The one existing export this names without a wildcard.
    pub(super) fn exact_slot(self) -> Option<usize> {
        let slot = usize::from(self.slot());
        (self.shelf() == SHELF && slot < SLOTS).then_some(slot)
    }

    /// Whether it names `slot`, by wildcard or exactly.
    fn covers(self, slot: usize) -> bool {
        let shelf = [0xffff, SHELF].contains(&self.shelf());
        shelf && (self.slot() == 0xff || usize::from(self.slot()) == slot)
    }

    fn opcode(self) -> u8 {
        self.byte(27)
    }

    /// The sectors that a transfer names, if they are on the disk, not too many
    /// for a frame, and named without aliasing.
    fn sectors(self, wide: bool) -> Option<(u64, u8)> {
        let count = self.byte(26);
        let all = (28..34)
            .rev()
            .fold(0_u64, |sum, at| sum << 8 | u64::from(self.byte(at)));
        let extended = self.byte(24) & 0x40 != 0;
        let lba = if wide {
            all
        } else if extended && all >> 28 != 0 {
            return None;
        } else {
            all & 0x0fff_ffff
        };
        let fits = lba
            .checked_add(u64::from(count))
            .is_some_and(|end| end <= SECTORS);
        (1..=PER_FRAME).contains(&count).then_some(())?;
        fits.then_some((lba, count))
    }

    /// Whether sender and receiver are such that the protocol leaves no choice.
    fn is_plain(self) -> bool {
        [NODE[0], Mac::BROADCAST].contains(&self.destination())
            && !self.source().is_group()
            && self.source() != Mac([0; 6])
    }

    /// Whether the frame is one that a node must take up at all.
    fn is_request(self) -> bool {
        self.byte(14) >> 4 == 1
            && self.byte(14) & 0x08 == 0
            && self.command() == command::ATA
            && self.bytes() >= 36
    }
}

/// Why a frame that looks like a write is or is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// No write at all.
    No,
    /// A write opcode in a frame that must not change anything.
    Illegal,
    /// It must be executed.
    Legal { slot: usize, lba: u64, count: u8 },
    /// The protocol leaves it open (a strange sender or receiver).
    Open { slot: usize, lba: u64, count: u8 },
}

/// A read that must be answered with these sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) lba: u64,
    pub(super) count: u8,
}

/// The two disks as they should be, and what else the node was told.
pub(super) struct Model {
    pub(super) disks: [Vec<u8>; SLOTS],
    /// IDENTIFY of each export, as it was at the start.
    pub(super) identities: [Vec<u8>; SLOTS],
    strings: [Vec<u8>; SLOTS],
    /// Bytes 24 to 28 of every config answer: buffers, firmware, sectors.
    config: [u8; 5],
    /// Every request so far, by tag: an answer may be late.
    asked: HashMap<u32, Vec<u8>>,
    /// Tags of reads of slot 0 that must still be answered.
    open_reads: HashSet<u32>,
}

impl Model {
    /// Both disks hold `content`; every config answer begins with `config`.
    pub(super) fn new(content: &[u8], identities: [Vec<u8>; SLOTS], config: [u8; 5]) -> Self {
        Self {
            disks: [content.to_vec(), content.to_vec()],
            identities,
            strings: Default::default(),
            config,
            asked: HashMap::new(),
            open_reads: HashSet::new(),
        }
    }

    fn claims_dma(&self) -> bool {
        // Word 49, bit 8.
        self.identities[0][99] & 1 != 0
    }

    /// What kind of write `frame` is.
    pub(super) fn write(&self, frame: &[u8]) -> Write {
        let Some(view) = View::of(frame) else {
            return Write::No;
        };
        let wide = match view.opcode() {
            ata::WRITE => false,
            ata::WRITE_EXT => true,
            WRITE_DMA if self.claims_dma() => false,
            WRITE_DMA_EXT if self.claims_dma() => true,
            _ => return Write::No,
        };
        if view.command() != command::ATA {
            return Write::No;
        }
        let place = view.exact_slot().zip(view.sectors(wide));
        let Some((slot, (lba, count))) = place.filter(|_| view.is_request()) else {
            return Write::Illegal;
        };
        if view.from(36).len() < usize::from(count) * SECTOR_BYTES {
            return Write::Illegal;
        }
        // Slot 1 is there to be masked and reserved, so what it takes is open.
        if view.is_plain() && slot == 0 {
            Write::Legal { slot, lba, count }
        } else {
            Write::Open { slot, lba, count }
        }
    }

    /// The sectors that must be in the answer to `frame`, if it is a read.
    fn read(&self, frame: &[u8]) -> Option<Read> {
        let view = View::of(frame)?;
        let wide = match view.opcode() {
            ata::READ => false,
            ata::READ_EXT => true,
            READ_DMA if self.claims_dma() => false,
            READ_DMA_EXT if self.claims_dma() => true,
            _ => return None,
        };
        let (lba, count) = view.sectors(wide)?;
        view.is_request().then_some(Read { lba, count })
    }

    /// Notes that `frame` is being sent.
    pub(super) fn ask(&mut self, frame: &[u8]) {
        let Some(view) = View::of(frame) else {
            return;
        };
        if self.read(frame).is_some() && view.is_plain() && view.exact_slot() == Some(0) {
            self.open_reads.insert(view.tag());
        }
        self.asked.insert(view.tag(), frame.to_vec());
    }

    /// The reads of slot 0 that have yet to be answered. What they read must
    /// not be changed meanwhile, or two answers would be right.
    pub(super) const fn open_reads(&mut self) -> &mut HashSet<u32> {
        &mut self.open_reads
    }

    /// Carries out a write.
    pub(super) fn apply(&mut self, slot: usize, lba: u64, data: &[u8]) {
        let from = usize::try_from(lba).expect("a small disk") * SECTOR_BYTES;
        self.disks[slot][from..from + data.len()].copy_from_slice(data);
    }

    /// Checks every byte of an answer. `Ok(None)` is an announcement, otherwise
    /// the tag of the request it answers.
    pub(super) fn judge(&mut self, frame: &[u8]) -> Result<Option<u32>, String> {
        let view = View::of(frame).ok_or("it is no whole AoE frame")?;
        let reply = reply(frame).ok_or("it is no response")?;
        if frame.len() < REPLY_BYTES_MIN {
            return Err(format!("it is {} bytes long", frame.len()));
        }
        if view.source() != NODE[0] {
            return Err(format!("it comes from {}", view.source()));
        }
        let slot = view.exact_slot().ok_or("it names no export of this node")?;
        if reply.tag() == 0 && view.destination() == Mac::BROADCAST {
            self.judge_config(&reply, slot, None)?;
            return Ok(None);
        }
        let asked = self
            .asked
            .get(&reply.tag())
            .ok_or("nobody asked for it")?
            .clone();
        self.open_reads.remove(&reply.tag());
        let question = View::of(&asked).expect("only AoE frames are kept");
        if view.destination() != question.source() {
            return Err(format!(
                "it is sent to {} and {} asked",
                view.destination(),
                question.source()
            ));
        }
        if view.tag_bytes != question.tag_bytes {
            return Err("it is tagged otherwise than the request".to_owned());
        }
        if question.tag_bytes != 0
            && u16::from_be_bytes([frame[14], frame[15]]) & 0x0fff
                != u16::from_be_bytes([asked[14], asked[15]]) & 0x0fff
        {
            return Err("it is in another VLAN than the request".to_owned());
        }
        if !question.covers(slot) {
            return Err(format!("slot {slot} was not asked"));
        }
        if reply.command() != question.command() {
            return Err(format!("it answers command {}", reply.command()));
        }
        match (reply.flags(), reply.frame[15]) {
            (0x18, 0) | (0x1c, 1..=6) => {}
            (flags, error) => return Err(format!("flags {flags:#04x} with error {error}")),
        }
        match reply.command() {
            command::CONFIG => self.judge_config(&reply, slot, Some(question))?,
            command::RESERVE => judge_reserve(&reply, question)?,
            _ if reply.aoe_error().is_some() => judge_error(&reply, question)?,
            command::ATA => self.judge_ata(&reply, slot, question)?,
            command::MASK => judge_mask(&reply)?,
            other => return Err(format!("command {other} succeeded")),
        }
        Ok(Some(reply.tag()))
    }

    fn judge_config(
        &mut self,
        reply: &Reply,
        slot: usize,
        question: Option<View<'_>>,
    ) -> Result<(), String> {
        if let Some(question) = question
            && reply.aoe_error().is_some()
            && judge_error(reply, question).is_ok()
        {
            return Ok(());
        }
        let head = reply.frame.get(24..29).ok_or("it has no config argument")?;
        if head != self.config {
            return Err(format!("its buffers, firmware, sectors are {head:02x?}"));
        }
        let ccmd = question.map_or(0, |question| question.byte(29) & 0x0f);
        if reply.frame[29] != 0x10 | ccmd {
            return Err(format!("byte 29 is {:#04x}", reply.frame[29]));
        }
        let length = usize::from(u16::from_be_bytes([reply.frame[30], reply.frame[31]]));
        let string = reply
            .frame
            .get(32..32 + length)
            .ok_or("its string is longer than the frame")?;
        if let Some(question) = question
            && matches!(ccmd, 3 | 4)
            && reply.aoe_error().is_none()
        {
            let asked = usize::from(u16::from_be_bytes([question.byte(30), question.byte(31)]));
            let wanted = question.from(32).get(..asked);
            let wanted = wanted.ok_or("it set a string longer than the frame")?;
            self.strings[slot] = wanted.to_vec();
        }
        if string != self.strings[slot] {
            return Err("its string is not the one that was set".to_owned());
        }
        zero_from(reply, 32 + length)
    }

    fn judge_ata(&self, reply: &Reply, slot: usize, question: View<'_>) -> Result<(), String> {
        if reply.frame[34..36] != [0, 0] {
            return Err("the reserved bytes are not zero".to_owned());
        }
        let lba = |frame: &dyn Fn(usize) -> u8| (28..34).map(frame).collect::<Vec<u8>>();
        let (echoed, asked) = (lba(&|at| reply.frame[at]), lba(&|at| question.byte(at)));
        // SMART RETURN STATUS may answer in lba1 and lba2.
        if echoed != asked && question.opcode() != ata::SMART {
            return Err("its address is not that of the request".to_owned());
        }
        if reply.ata_status() & STATUS_BAD != 0 {
            if reply.ata_error() == 0 {
                return Err("it failed for no reason".to_owned());
            }
            return zero_from(reply, 36);
        }
        if matches!(self.write(question.frame), Write::Illegal) {
            return Err("an illegal write succeeded".to_owned());
        }
        if question.opcode() == ata::IDENTIFY {
            // Words 85 (what is enabled) and 255 (the sum) follow SET FEATURES.
            let block = reply.ata_data();
            let same = block.len() == SECTOR_BYTES
                && (0..SECTOR_BYTES)
                    .filter(|at| ![85, 255].contains(&(at / 2)))
                    .all(|at| block[at] == self.identities[slot][at]);
            return same
                .then_some(())
                .ok_or("it is not the identity".to_owned());
        }
        let Some(Read { lba, count }) = self.read(question.frame) else {
            return zero_from(reply, 36);
        };
        let from = usize::try_from(lba).expect("a small disk") * SECTOR_BYTES;
        let sectors = &self.disks[slot][from..from + usize::from(count) * SECTOR_BYTES];
        (reply.ata_data() == sectors)
            .then_some(())
            .ok_or(format!("its data are not sectors {lba} to +{count}"))
    }
}

/// Behind the header of an AoE error there are zeros, or the request's own
/// argument: nothing that its sender does not know already.
fn judge_error(reply: &Reply, question: View<'_>) -> Result<(), String> {
    let unknown = (24..reply.frame.len())
        .find(|&at| reply.frame[at] != 0 && reply.frame[at] != question.byte(at));
    if reply.frame.len() > REPLY_BYTES_MIN {
        return Err(format!("an error of {} bytes", reply.frame.len()));
    }
    match unknown {
        None => Ok(()),
        Some(at) => Err(format!("byte {at} was not written for it")),
    }
}

fn judge_mask(reply: &Reply) -> Result<(), String> {
    let head = reply.frame.get(24..28).ok_or("it has no mask argument")?;
    if head[0] != 0 || head[1] > 1 || head[2] > 3 {
        return Err(format!("its argument begins with {head:02x?}"));
    }
    let entries = if head[2] == 0 {
        usize::from(head[3])
    } else {
        0
    };
    let list = reply
        .frame
        .get(28..28 + entries * 8)
        .ok_or("its list is longer than the frame")?;
    if list.chunks(8).any(|entry| entry[..2] != [0, 0]) {
        return Err("its directives are not zero".to_owned());
    }
    zero_from(reply, 28 + entries * 8)
}

fn judge_reserve(reply: &Reply, question: View<'_>) -> Result<(), String> {
    if reply.aoe_error().is_some_and(|code| code != 6) {
        return judge_error(reply, question);
    }
    let head = reply.frame.get(24..26).ok_or("it has no list")?;
    if head[0] > 2 {
        return Err(format!("its command is {}", head[0]));
    }
    zero_from(reply, 26 + usize::from(head[1]) * 6)
}

/// Nothing was written from byte `from` on, and the frame ends at 60 or there.
fn zero_from(reply: &Reply, from: usize) -> Result<(), String> {
    let bytes = reply.frame.len();
    // A tagged answer was 60 bytes long with its tag, or without it.
    if bytes > from.max(REPLY_BYTES_MIN) || bytes < from {
        return Err(format!("it is {bytes} bytes long and {from} are used"));
    }
    match reply.frame[from..].iter().position(|&byte| byte != 0) {
        None => Ok(()),
        Some(at) => Err(format!("byte {} was not written for it", from + at)),
    }
}

/// The frame as a reply, without its VLAN tag.
pub(super) fn reply(frame: &[u8]) -> Option<Reply> {
    let view = View::of(frame)?;
    let mut plain = frame[..12].to_vec();
    plain.extend(view.from(12));
    Reply::parse(plain)
}
