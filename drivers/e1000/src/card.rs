//! The card: reset, set up, and frames in and out.
//!
//! **No frame is ever longer than its slot.** A card writes as many bytes to a
//! descriptor as it is told buffers have, for all buffers alike, in steps of powers
//! of two or of KiB. A slot has 8,740 bytes from where a frame starts, so buffers are
//! told to have 8,192. A longer frame goes on in the next descriptor, whose slot has as
//! much room, and is thrown away when its end has come. 9 KiB with a limit on the
//! length of frames would bring two sectors more a frame on the later chips, and lay
//! what memory holds into the hands of one filter register; 8,192 holds on each chip
//! by the only rule that all of them have. So the MTU is 8,178.
//!
//! A card interrupts only while the node sleeps: that is all the moderation there is,
//! one message a sleep. A card without messages (8254x) never interrupts. Where its
//! line ends is known to the firmware's language only, and lines that are shared or
//! led elsewhere than a register says hang machines; the node takes naps instead
//! ([`Card::has_interrupt`]).

use crate::error::Error;
use crate::family::{Chip, Kind};
use crate::registers::{
    ADDRESS_VALID, ADDRESSES_COUNT, BUFFERS_OF_8192, CAUSES_OF_RINGS, CONTROL, CONTROL_MORE,
    Control, ControlMore, GAP, GAP_COPPER, GONE, GROUPS, GROUPS_WORDS, LONGEST, PHY, PHY_AGREE,
    PHY_READY, Places, RINGS_RAISE_0, Receive, Registers, RingControl, RingPlace, Transmit, ten,
    write_phy_control,
};
use crate::ring::{DESCRIPTOR_BYTES, DoneIn, Ring, places};
use core::hint::spin_loop;
use io::{Frame, Instant, Nic, Text, WIRE_BYTES};
use pci::{DeviceMemory, Resources, Shared};

/// Bytes that a card may write to one frame.
pub const BUFFER_BYTES: usize = 8192;
const _: () = assert!(BUFFER_BYTES <= WIRE_BYTES, "a slot has room for it");

/// Bytes in front of an Ethernet payload, and of the check sequence behind it.
const ETHERNET_BYTES: usize = 14;
const FCS_BYTES: usize = 4;
/// What a link carries that takes ordinary frames only, and one that takes long ones.
const MTU_ORDINARY: u16 = 1500;
const MTU_LONG: u16 = (BUFFER_BYTES - ETHERNET_BYTES) as u16;

/// How long a card is left alone after it was told to reset: all chips have read
/// their EEPROM then (the slowest sit in chipsets).
const RESET_US: u64 = 20_000;
/// How long it may take to say that it has.
const RESET_MAX_US: u64 = 200_000;
/// How long the PHY may take to answer; it takes 64 bits at 2.5 MHz.
const PHY_MAX_US: u64 = 2_000;
/// How long a ring may take to start.
const RING_MAX_US: u64 = 20_000;

/// Descriptor to send (first word): the frame ends here, add its FCS, say "done".
const SEND: u32 = 1 << 24 | 1 << 25 | 1 << 27;
/// The same, in the later layout.
const SEND_LATER: u32 = SEND | 3 << 20 | 1 << 29;
/// Where the later layout says how long the whole frame is (second word).
const SEND_LATER_BYTES: u32 = 14;

/// Received: the frame ends here.
const END: u32 = 1 << 1;
/// The same of a chip of ten gigabits (CE, LE, PE, OSE, USE).
const WRONG_TEN: u32 = 0b0001_1111;

/// Received, with STATUS as bit 0: what is wrong with the frame itself (CE, SE, SEQ,
/// CXE, RXE; a checksum that we did not ask for is no fault).
const WRONG: u32 = 0b1001_0111;

/// What the card says of a descriptor that received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Received {
    bytes: usize,
    is_end: bool,
    is_wrong: bool,
}

impl Received {
    fn of(words: [u32; 2], kind: Kind) -> Self {
        let (bytes, status, errors) = if kind.is_later() {
            (words[1] & 0xffff, words[0], words[0] >> 24)
        } else {
            (words[0] & 0xffff, words[1], words[1] >> 8)
        };
        let wrong = match kind {
            Kind::Ixgbe => WRONG_TEN,
            _ => WRONG,
        };
        Self {
            bytes: bytes as usize,
            is_end: status & END != 0,
            is_wrong: errors & wrong != 0,
        }
    }
}

/// Resets the card and returns its address. It may not touch memory yet.
#[cold]
pub fn reset(
    registers: &impl Registers,
    kind: Kind,
    resources: &impl Resources,
) -> Result<[u8; 6], Error> {
    let places = Places::of(kind);
    if registers.read(places.link.0) == GONE {
        return Err(Error::NotAnswering);
    }
    // A card with an empty EEPROM may have its address from the firmware alone.
    let before = address(registers, places);
    registers.write(places.mask_clear, u32::MAX);
    registers.write(places.receive, 0);
    registers.write(places.transmit, 0);
    let control = Control::from_bits_retain(registers.read(CONTROL));
    registers.write(CONTROL, (control | Control::RESET).bits());
    // Accesses in the first microseconds hang some chips.
    let start = resources.now();
    while resources.now().since_us(start) < RESET_US {
        spin_loop();
    }
    loop {
        let control = registers.read(CONTROL);
        let has_reset =
            control != GONE && !Control::from_bits_retain(control).contains(Control::RESET);
        let is_ready = || kind != Kind::Ixgbe || registers.read(ten::RECEIVE_DMA) & ten::READY != 0;
        if has_reset && is_ready() {
            break;
        }
        if resources.now().since_us(start) > RESET_MAX_US {
            return Err(Error::NoReset {
                waited_ms: RESET_MAX_US / 1000,
            });
        }
        spin_loop();
    }
    registers.write(places.mask_clear, u32::MAX);
    registers.read(places.causes);
    address(registers, places)
        .or(before)
        .ok_or(Error::NoAddress)
}

/// The card's own address, if it has one that a card can have.
fn address(registers: &impl Registers, places: &Places) -> Option<[u8; 6]> {
    let [low, high] = [0, 4].map(|at| registers.read(places.addresses + at));
    let [a, b, c, d] = low.to_le_bytes();
    let [e, f, ..] = high.to_le_bytes();
    let mac = [a, b, c, d, e, f];
    let is_ours = mac != [0; 6] && a & 1 == 0;
    (high & ADDRESS_VALID != 0 && is_ours).then_some(mac)
}

/// A card that runs.
pub struct Card<R = DeviceMemory> {
    registers: R,
    chip: Chip,
    receive: Ring,
    transmit: Ring,
    mac: [u8; 6],
    link_up: bool,
    has_interrupt: bool,
    is_armed: bool,
    is_gone: bool,
    /// The frame whose next piece comes is longer than a buffer.
    in_long_frame: bool,
    thrown_away: u64,
    doorbells: u64,
    name: Text<48>,
}

impl<R: Registers> Card<R> {
    /// Starts a card that was reset and has address `mac`. `has_interrupt`: its
    /// messages reach the node. `name` is for messages: `00:02.0 e1000`.
    #[cold]
    pub fn start(
        registers: R,
        chip: Chip,
        mac: [u8; 6],
        has_interrupt: bool,
        resources: &mut impl Resources,
        name: &str,
    ) -> Result<Self, Error> {
        let bytes = places(resources.frames()) * DESCRIPTOR_BYTES;
        let mut memory = || {
            let memory = resources.dma(bytes, pci::shared::ALIGN);
            memory.map(Shared::new).ok_or(Error::NoMemory { bytes })
        };
        let kind = chip.kind;
        let done_in = if kind.is_later() {
            DoneIn::First
        } else {
            DoneIn::Second
        };
        let receive = Ring::new(memory()?, RingPlace::receive(kind), done_in);
        let transmit = Ring::new(memory()?, RingPlace::transmit(kind), DoneIn::Second);
        let mut card = Self {
            registers,
            chip,
            receive,
            transmit,
            mac,
            link_up: false,
            has_interrupt,
            is_armed: false,
            is_gone: false,
            in_long_frame: false,
            thrown_away: 0,
            doorbells: 0,
            name: Text::new(name),
        };
        card.set_up(resources)?;
        card.look_at_link();
        if !card.link_up {
            card.agree_on_speed(resources);
        }
        Ok(card)
    }

    /// Whether the card wakes the node. If not, the machine looks at it every now
    /// and then.
    pub fn has_interrupt(&self) -> bool {
        self.has_interrupt
    }

    /// How often the doorbells were rung.
    pub fn doorbells(&self) -> u64 {
        self.doorbells
    }

    /// Received frames that were longer than a buffer, or damaged.
    pub fn thrown_away(&self) -> u64 {
        self.thrown_away
    }

    #[cold]
    fn set_up(&self, resources: &impl Resources) -> Result<(), Error> {
        let registers = &self.registers;
        let kind = self.chip.kind;
        if kind == Kind::Ixgbe {
            self.set_up_ten();
        } else {
            self.set_up_link();
        }
        if kind != Kind::E1000 {
            let more = ControlMore::from_bits_retain(registers.read(CONTROL_MORE));
            let more = more | ControlMore::DRIVER_LOADED;
            registers.write(CONTROL_MORE, more.bits());
        }
        self.hear_only_ours();
        self.receive.tell_place(registers);
        self.transmit.tell_place(registers);
        self.run(resources)
    }

    /// The link comes up as the PHY says, which chips of ten gigabits do by themselves.
    #[cold]
    fn set_up_link(&self) {
        let registers = &self.registers;
        let control = Control::from_bits_retain(registers.read(CONTROL));
        let mut control = (control | Control::LINK_UP)
            - Control::LINK_RESET
            - Control::INVERT_LOSS
            - Control::FORCE_SPEED
            - Control::FORCE_DUPLEX
            - Control::VLAN_TAGS;
        if self.chip.kind == Kind::E1000 {
            control |= Control::TAKE_SPEED;
            registers.write(GAP, GAP_COPPER);
        }
        registers.write(CONTROL, control.bits());
    }

    /// What the others say in the registers that start them (82599, 4.6.7 and 4.6.8).
    #[cold]
    fn set_up_ten(&self) {
        let registers = &self.registers;
        let change = |at, off: u32, on: u32| registers.write(at, registers.read(at) & !off | on);
        change(ten::MAC, 0, ten::MAC_FLAGS);
        let longest = (BUFFER_BYTES + FCS_BYTES) as u32;
        change(ten::LONGEST, 0xffff << 16, longest << 16);
        let ones = ten::STRIP_FCS_TOO | ten::ONES;
        change(ten::RECEIVE_DMA, ten::MERGED, ones);
        change(self.receive.place().cache_hints(), ten::NOT_THIS, 0);
        registers.write(ten::HEARD, ten::BROADCASTS);
        registers.write(ten::CAUSES_OF_RINGS, ten::RECEIVED_RAISES_0);
    }

    /// Wakes the PHY and has it look for a partner: an operating system may have put
    /// it to sleep, and QEMU's igb waits to be told. Those of chipsets are shared with
    /// the firmware, and those of the last ones look by themselves.
    fn agree_on_speed(&self, resources: &impl Resources) {
        if !matches!(self.chip.kind, Kind::E1000 | Kind::Igb) {
            return;
        }
        let start = resources.now();
        self.registers.write(PHY, write_phy_control(PHY_AGREE));
        while self.registers.read(PHY) & PHY_READY == 0 {
            if resources.now().since_us(start) > PHY_MAX_US {
                // Without an answer there is no link, which is said elsewhere.
                return;
            }
            spin_loop();
        }
    }

    /// Our own address and broadcasts; no group.
    fn hear_only_ours(&self) {
        let [a, b, c, d, e, f] = self.mac;
        let ours = [
            u32::from_le_bytes([a, b, c, d]),
            u32::from_le_bytes([e, f, 0, 0]) | ADDRESS_VALID,
        ];
        let addresses = Places::of(self.chip.kind).addresses;
        for index in 0..ADDRESSES_COUNT {
            let words = if index == 0 { ours } else { [0; 2] };
            let at = addresses + index * 8;
            // Not valid while it is half written.
            self.registers.write(at + 4, 0);
            self.registers.write(at, words[0]);
            self.registers.write(at + 4, words[1]);
        }
        for word in 0..GROUPS_WORDS {
            self.registers.write(GROUPS + word * 4, 0);
        }
    }

    fn run(&self, resources: &impl Resources) -> Result<(), Error> {
        let registers = &self.registers;
        let kind = self.chip.kind;
        let places = Places::of(kind);
        let [receive, transmit] = [self.receive.place(), self.transmit.place()];
        let mut flags = Receive::ENABLE | Receive::BROADCASTS | Receive::STRIP_FCS;
        if self.chip.jumbo {
            flags |= Receive::LONG;
        }
        let sends = Transmit::ENABLE | Transmit::PAD | Transmit::COLLISIONS;
        match kind {
            Kind::E1000 => {}
            Kind::E1000e => {
                let control =
                    RingControl::DONE_EACH | RingControl::COUNT | RingControl::IN_DESCRIPTORS;
                registers.write(transmit.control(), control.bits());
            }
            Kind::Igb | Kind::Igc => {
                registers.write(receive.buffers(kind), BUFFERS_OF_8192);
                registers.write(LONGEST, (BUFFER_BYTES + FCS_BYTES) as u32);
                registers.write(CAUSES_OF_RINGS, RINGS_RAISE_0);
                let control = RingControl::FETCH_BELOW_8
                    | RingControl::FETCH_ONE
                    | RingControl::DONE_EACH
                    | RingControl::ENABLE;
                registers.write(receive.control(), control.bits());
                registers.write(transmit.control(), control.bits());
            }
            Kind::Ixgbe => {
                registers.write(receive.buffers(kind), BUFFERS_OF_8192);
                // A ring to send runs only once the card sends.
                registers.write(places.transmit, ten::ENABLE);
                let control = RingControl::FETCH_BELOW_8
                    | RingControl::FETCH_ONE
                    | RingControl::DONE_EACH
                    | RingControl::ENABLE;
                registers.write(receive.control(), RingControl::ENABLE.bits());
                registers.write(transmit.control(), control.bits());
            }
        }
        if kind == Kind::Ixgbe {
            registers.write(places.receive, ten::ENABLE);
        } else {
            registers.write(places.transmit, sends.bits());
            registers.write(places.receive, (flags | Receive::BYTES_8192).bits());
        }
        if !kind.is_later() {
            return Ok(());
        }
        // A tail that is written before its ring runs is lost (I210, 4.5.9).
        let start = resources.now();
        let runs = |place: RingPlace| {
            let control = RingControl::from_bits_retain(registers.read(place.control()));
            control.contains(RingControl::ENABLE)
        };
        while !(runs(receive) && runs(transmit)) {
            if resources.now().since_us(start) > RING_MAX_US {
                registers.write(places.receive, 0);
                return Err(Error::NoRing {
                    waited_ms: RING_MAX_US / 1000,
                });
            }
            spin_loop();
        }
        Ok(())
    }

    fn look_at_link(&mut self) {
        let (at, up) = Places::of(self.chip.kind).link;
        let status = self.registers.read(at);
        if status == GONE {
            // It is off the bus and touches no memory any more.
            log::error!(
                "{}: the card does not answer any more; out of service until the next start",
                self.name
            );
            self.is_gone = true;
        }
        self.link_up = !self.is_gone && status & up != 0;
    }
}

impl<R: Registers> Nic for Card<R> {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn mtu(&self) -> u16 {
        if self.chip.jumbo {
            MTU_LONG
        } else {
            MTU_ORDINARY
        }
    }

    fn link_up(&self) -> bool {
        self.link_up
    }

    fn ring_frames(&self) -> usize {
        self.receive.frames()
    }

    fn post(&mut self, frame: Frame) {
        self.receive.push(frame, [0; 2]);
    }

    fn poll_rx(&mut self) -> Option<Frame> {
        // What is posted again below is told with the next kick, so this ends when
        // the card's returns end, after at most one ring.
        while let Some((mut frame, words)) = self.receive.pop() {
            let received = Received::of(words, self.chip.kind);
            let was_in_long_frame = self.in_long_frame;
            self.in_long_frame = !received.is_end;
            let is_whole = received.is_end && !was_in_long_frame;
            let fits = (ETHERNET_BYTES..=BUFFER_BYTES).contains(&received.bytes);
            if is_whole && fits && !received.is_wrong {
                frame.set_len(received.bytes);
                return Some(frame);
            }
            if received.is_end {
                self.thrown_away += 1;
            }
            self.post(frame);
        }
        None
    }

    fn send(&mut self, frame: Frame) {
        let bytes = frame.len() as u32;
        let words = if self.chip.kind.is_later() {
            [bytes | SEND_LATER, bytes << SEND_LATER_BYTES]
        } else {
            [bytes | SEND, 0]
        };
        self.transmit.push(frame, words);
    }

    fn poll_sent(&mut self) -> Option<Frame> {
        if self.is_gone {
            return self.transmit.reclaim();
        }
        self.transmit.pop().map(|(frame, _)| frame)
    }

    fn kick(&mut self) {
        if self.is_gone {
            return;
        }
        // Empty frames are told in batches: while the card has four times as many, it
        // is in no need, and a doorbell costs an exit in a guest.
        let untold = self.receive.untold();
        if untold != 0 && untold * 4 >= self.receive.known() {
            self.receive.tell(&self.registers);
            self.doorbells += 1;
        }
        if self.transmit.untold() != 0 {
            self.transmit.tell(&self.registers);
            self.doorbells += 1;
        }
    }

    fn tick(&mut self, _now: Instant) -> bool {
        if self.is_gone {
            return false;
        }
        let before = self.link_up;
        self.look_at_link();
        before != self.link_up
    }

    fn arm(&mut self) -> bool {
        if self.is_gone {
            // No interrupt will come, and nothing else either.
            return false;
        }
        if self.has_interrupt {
            self.disarm();
            // What was received so far is seen below; its cause goes. As a read it
            // also waits until the card is silent.
            let places = Places::of(self.chip.kind);
            self.registers.read(places.causes);
            self.registers.write(places.mask_set, places.waking);
            self.is_armed = true;
        }
        self.receive.has_returned()
    }

    fn disarm(&mut self) {
        if self.is_armed && !self.is_gone {
            let places = Places::of(self.chip.kind);
            self.registers.write(places.mask_clear, u32::MAX);
        }
        self.is_armed = false;
    }

    fn name(&self) -> &str {
        self.name.as_str()
    }
}
