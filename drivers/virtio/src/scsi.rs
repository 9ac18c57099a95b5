//! virtio-scsi (virtio 1.2, 5.6): one request queue for all units.
//!
//! A request is a header with the address and the command, the data that is
//! written, the place for the answer, the data that is read, in this order. Header,
//! answer and the table of all four lie in the frame's scratch, so that, as with a
//! virtio disk, a command needs no memory beside its frame and one descriptor.
//!
//! What commands mean is the business of `scsi`; here they are carried. The queue
//! for events is kept filled, so that the device can say that a unit has changed or
//! is gone; the control queue has to be there and is not used.

use crate::ring::{DESCRIPTOR_BYTES, Piece, Returned, Ring};
use crate::service::Service;
use crate::transport::{feature, negotiate, ring, run};
use crate::{Bus, DeviceId, Error, Resources, Transport};
use alloc::collections::VecDeque;
use io::{Frame, Instant, SECTOR_BYTES, SLOT_BYTES, Text, carve};
use scsi::{Adapter, Address, Answer, Data, End, Mark, Notice, SENSE_BYTES, Sense, command};

/// Queues (virtio 1.2, 5.6.2). There may be more request queues; the units share
/// the first.
const CONTROL: u16 = 0;
const EVENTS: u16 = 1;
const REQUESTS: u16 = 2;

/// Features (virtio 1.2, 5.6.3).
const HOTPLUG: u64 = 1 << 1;
const CHANGE: u64 = 1 << 2;

/// Its configuration (virtio 1.2, 5.6.4).
mod config {
    pub const SECTORS_MAX: u16 = 8;
    pub const TARGET_MAX: u16 = 30;
    pub const SENSE_BYTES: u16 = 20;
    pub const COMMAND_BYTES: u16 = 24;
}

/// What the device takes where it is not told otherwise, and we do not tell it.
const COMMAND_BYTES: usize = 32;
const SENSE_BYTES_USUAL: usize = 96;

/// Where things lie in the frame's scratch. What the device reads and what it
/// writes are on different cache lines.
const TABLE: usize = 0;
const TABLE_ENTRIES: usize = 4;
const HEADER: usize = TABLE + TABLE_ENTRIES * DESCRIPTOR_BYTES;
/// Address, our mark, three bytes of attributes, the command.
const HEADER_BYTES: usize = 8 + 8 + 3 + COMMAND_BYTES;
const COMMAND: usize = HEADER + 19;
const ANSWER: usize = 128;
/// Lengths, status, response, sense data.
const ANSWER_BYTES: usize = 12 + SENSE_BYTES_USUAL;
const _: () = assert!(HEADER + HEADER_BYTES <= ANSWER);
const _: () = assert!(ANSWER + ANSWER_BYTES <= command::PARAMETERS);

/// How a request went on its way (virtio 1.2, 5.6.6.1). Others may exist.
mod response {
    pub const OK: u8 = 0;
    pub const ABORTED: u8 = 2;
    pub const BAD_TARGET: u8 = 3;
    pub const RESET: u8 = 4;
    pub const BUSY: u8 = 5;
    /// Ours: the device has said nothing.
    pub const UNANSWERED: u8 = 0xff;
}

/// How the unit answered (SAM-5, 5.3).
mod status {
    pub const GOOD: u8 = 0x00;
    pub const CHECK_CONDITION: u8 = 0x02;
    pub const BUSY: u8 = 0x08;
    pub const TASK_SET_FULL: u8 = 0x28;
}

/// Events (virtio 1.2, 5.6.6.3), the upper bit apart: some were lost.
mod event {
    pub const MISSED: u32 = 1 << 31;
    pub const TRANSPORT_RESET: u32 = 1;
    pub const PARAMETER_CHANGE: u32 = 3;
    /// Reasons of a transport reset: a unit came, and it was removed.
    pub const RESCAN: u32 = 1;
    pub const REMOVED: u32 = 2;
    pub const BYTES: usize = 16;
}
/// Events that may come before we look.
const EVENTS_MAX: usize = 4;

/// Units whose questions may wait beside the node's frames.
const UNITS_MAX: usize = 256;

/// After this time a person should know that the device does not answer.
const SILENCE_MAX_US: u64 = 30_000_000;

/// A virtio SCSI adapter.
pub struct Scsi<T = Bus> {
    transport: T,
    ring: Ring<Mark>,
    events: Ring<()>,
    /// Not used; the device wants it to be there.
    _control: Ring<()>,
    /// Commands that wait for room in the ring, in order, with what they need to
    /// be lent.
    backlog: VecDeque<Waiting>,
    noticed: VecDeque<Notice>,
    /// Whether it tells of every unit that comes.
    tells: bool,
    indirect: bool,
    targets: u16,
    transfer_bytes_max: u32,
    service: Service,
    name: Text<48>,
    doorbells: u64,
    now: Instant,
    silent: bool,
}

struct Waiting {
    data: Data,
    mark: Mark,
    frame: Frame,
}

impl<T: Transport> Scsi<T> {
    /// Starts the adapter. `name` is for messages: `00:04.0 virtio-scsi`.
    #[cold]
    pub fn new(
        mut transport: T,
        resources: &mut impl Resources,
        name: &str,
    ) -> Result<Self, Error> {
        if transport.device() != DeviceId::SCSI {
            return Err(Error::OtherKind);
        }
        let features = negotiate(
            &mut transport,
            |_| HOTPLUG | CHANGE | feature::INDIRECT_DESC,
            resources,
        )?;
        let field = |offset| transport.config_u32(offset).unwrap_or(0);
        let sizes = [config::SENSE_BYTES, config::COMMAND_BYTES].map(field);
        if sizes.map(|bytes| bytes as usize) != [SENSE_BYTES_USUAL, COMMAND_BYTES] {
            return Err(Error::MissingRegisters);
        }
        // In sectors of 512 bytes; 0 is no limit.
        let sectors_max = match field(config::SECTORS_MAX) {
            0 => u32::MAX,
            sectors => sectors,
        };
        let targets = transport.config_u16(config::TARGET_MAX).unwrap_or(0);
        let event_idx = features & feature::EVENT_IDX != 0;
        let indirect = features & feature::INDIRECT_DESC != 0;
        let frames = resources.frames();
        let pieces = if indirect { 1 } else { TABLE_ENTRIES as u16 };
        let chains = frames.max(TABLE_ENTRIES);
        let control = ring(&mut transport, CONTROL, 1, 1, event_idx, resources)?;
        let events = ring(&mut transport, EVENTS, EVENTS_MAX, 1, event_idx, resources)?;
        let requests: Ring<Mark> = ring(
            &mut transport,
            REQUESTS,
            chains,
            pieces,
            event_idx,
            resources,
        )?;
        if usize::from(requests.place().size) < TABLE_ENTRIES {
            return Err(Error::NoQueue { queue: REQUESTS });
        }
        run(&mut transport);
        let mut adapter = Self {
            transport,
            ring: requests,
            events,
            _control: control,
            // What the ring has no room for, and what it held when the device has
            // stopped: every frame, and for each unit the one of our own questions.
            backlog: VecDeque::with_capacity(frames + UNITS_MAX),
            noticed: VecDeque::with_capacity(2 * EVENTS_MAX),
            tells: features & HOTPLUG != 0,
            indirect,
            targets: targets.saturating_add(1),
            transfer_bytes_max: sectors_max.saturating_mul(SECTOR_BYTES as u32),
            service: Service::Running,
            name: Text::new(name),
            doorbells: 0,
            now: resources.now(),
            silent: false,
        };
        adapter.listen(features, resources)?;
        Ok(adapter)
    }

    /// How often the doorbell was rung.
    pub fn doorbells(&self) -> u64 {
        self.doorbells
    }

    /// Gives the device frames to tell events in, if it tells any.
    fn listen(&mut self, features: u64, resources: &mut impl Resources) -> Result<(), Error> {
        if features & (HOTPLUG | CHANGE) == 0 {
            return Ok(());
        }
        let bytes = EVENTS_MAX * SLOT_BYTES;
        let memory = resources.dma(bytes, 512).ok_or(Error::NoMemory { bytes })?;
        let room = usize::from(self.events.room()).min(EVENTS_MAX);
        for frame in carve(memory).take(room) {
            self.events.push(frame, (), &[EVENT]);
        }
        if self.events.publish() {
            self.transport.notify(EVENTS);
        }
        Ok(())
    }

    fn fits(&self) -> bool {
        self.ring.has_room()
    }

    fn lend_waiting(&mut self) {
        while self.fits()
            && let Some(waiting) = self.backlog.pop_front()
        {
            self.lend(waiting);
        }
    }

    /// Lends a command whose header is written. There is room in the ring.
    fn lend(&mut self, waiting: Waiting) {
        let Waiting { data, mark, frame } = waiting;
        let header = Piece {
            at: HEADER,
            bytes: HEADER_BYTES,
            device_writes: false,
        };
        let answer = Piece {
            at: ANSWER,
            bytes: ANSWER_BYTES,
            device_writes: true,
        };
        let piece = |at, bytes, device_writes| Piece {
            at,
            bytes,
            device_writes,
        };
        // What the device reads comes first, what it writes after it.
        let (pieces, count) = match data {
            Data::None => ([header, answer, answer], 2),
            Data::Out { at, bytes } => ([header, piece(at, bytes, false), answer], 3),
            Data::In { at, bytes } => ([header, answer, piece(at, bytes, true)], 3),
        };
        if self.indirect {
            self.ring
                .push_indirect(frame, mark, &pieces[..count], TABLE);
        } else {
            self.ring.push(frame, mark, &pieces[..count]);
        }
    }

    fn take_events(&mut self) {
        // Ends: what is returned is only given again after the loop.
        let mut heard = 0;
        let mut frames = [const { None }; EVENTS_MAX];
        while heard < EVENTS_MAX
            && let Some(returned) = self.events.pop()
        {
            let bytes = &returned.frame.scratch()[EVENT.at..][..event::BYTES];
            if let Some(notice) = notice(bytes) {
                self.noticed.push_back(notice);
            }
            // From here on we look ourselves.
            self.tells &= kind(bytes) & event::MISSED == 0;
            frames[heard] = Some(returned.frame);
            heard += 1;
        }
        for frame in frames.into_iter().flatten() {
            self.events.push(frame, (), &[EVENT]);
        }
        if self.events.publish() {
            self.transport.notify(EVENTS);
        }
    }

    /// Says once that the device is silent, and once that it is not any more.
    fn look_for_silence(&mut self) {
        let waits = |(_, mark): (&Frame, &Mark)| self.now.since_us(mark.since) > SILENCE_MAX_US;
        let silent = self.ring.iter().any(waits);
        if silent == self.silent {
            return;
        }
        self.silent = silent;
        let name = self.name.as_str();
        let seconds = SILENCE_MAX_US / 1_000_000;
        if silent {
            log::error!("{name}: has not answered a command for {seconds} s");
        } else {
            log::info!("{name}: answers again");
        }
    }
}

/// Where an event is told.
const EVENT: Piece = Piece {
    at: HEADER,
    bytes: event::BYTES,
    device_writes: true,
};

/// The first word of an event.
fn kind(bytes: &[u8]) -> u32 {
    bytes
        .first_chunk()
        .map_or(0, |word| u32::from_le_bytes(*word))
}

/// What an event says, if it is of use.
fn notice(bytes: &[u8]) -> Option<Notice> {
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let kind = kind(bytes) & !event::MISSED;
    let unit = bytes.get(4..12)?;
    let address = Address {
        target: unit[1],
        unit: u16::from_be_bytes([unit[2], unit[3]]) & 0x3fff,
    };
    match (kind, word(12)?) {
        (event::PARAMETER_CHANGE, _) => Some(Notice::Changed(address)),
        (event::TRANSPORT_RESET, event::RESCAN) => Some(Notice::Added(address)),
        (event::TRANSPORT_RESET, event::REMOVED) => Some(Notice::Removed(address)),
        _ => None,
    }
}

/// How a command ended, as the device wrote it. `written` is its word on how much.
fn end(returned: &Returned) -> End {
    let answer = &returned.frame.scratch()[ANSWER..ANSWER + ANSWER_BYTES];
    let word = |at: usize| {
        let bytes = answer[at..at + 4].try_into().expect("four bytes");
        u32::from_le_bytes(bytes)
    };
    match (answer[11], answer[10]) {
        (response::OK, status::GOOD) => End::Good { missing: word(4) },
        (response::OK, status::CHECK_CONDITION) => {
            let bytes = (word(0) as usize).min(SENSE_BYTES);
            End::Check(Sense::parse(&answer[12..12 + bytes]))
        }
        (response::OK, status::BUSY | status::TASK_SET_FULL)
        | (response::BUSY | response::RESET | response::ABORTED, _) => End::Busy,
        (response::BAD_TARGET, _) => End::Gone,
        _ => End::Failed,
    }
}

impl<T: Transport> Adapter for Scsi<T> {
    fn targets(&self) -> u16 {
        self.targets
    }

    fn transfer_bytes_max(&self) -> u32 {
        self.transfer_bytes_max
    }

    fn is_running(&self) -> bool {
        self.service.is_running()
    }

    fn send(&mut self, to: Address, cdb: &command::Cdb, data: Data, mark: Mark, mut frame: Frame) {
        let scratch = frame.scratch_mut();
        scratch[HEADER..HEADER + HEADER_BYTES].fill(0);
        // virtio 1.2, 5.6.6.1: 1, target, unit in flat space.
        let [high, low] = (to.unit | 1 << 14).to_be_bytes();
        scratch[HEADER..HEADER + 4].copy_from_slice(&[1, to.target, high, low]);
        let bytes = cdb.bytes();
        scratch[COMMAND..COMMAND + bytes.len()].copy_from_slice(bytes);
        scratch[ANSWER..ANSWER + 12].fill(response::UNANSWERED);
        let waiting = Waiting { data, mark, frame };
        // First those that wait: so the backlog holds something only while the
        // ring is full.
        self.lend_waiting();
        if self.backlog.is_empty() && self.fits() {
            self.lend(waiting);
        } else {
            self.backlog.push_back(waiting);
        }
    }

    fn poll(&mut self) -> Option<Answer> {
        if self.service == Service::Stopped
            && let Some(Waiting { mark, frame, .. }) = self.backlog.pop_front()
        {
            let end = End::Failed;
            return Some(Answer { frame, mark, end });
        }
        let returned = self.ring.pop()?;
        let end = end(&returned);
        let mark = *self.ring.mark(&returned);
        let Returned { frame, .. } = returned;
        Some(Answer { frame, mark, end })
    }

    fn lent<R>(&self, wanted: impl Fn(&Mark) -> bool, look: impl FnOnce(&Frame) -> R) -> Option<R> {
        let waiting = self
            .backlog
            .iter()
            .map(|waiting| (&waiting.frame, &waiting.mark));
        let mut all = self.ring.iter().chain(waiting);
        all.find(|(_, mark)| wanted(mark))
            .map(|(frame, _)| look(frame))
    }

    fn kick(&mut self) {
        if !self.service.is_running() {
            return;
        }
        self.lend_waiting();
        if self.ring.publish() {
            self.transport.notify(REQUESTS);
            self.doorbells += 1;
        }
    }

    fn tick(&mut self, now: Instant) {
        self.now = now;
        let broken = self.ring.broken().or(self.events.broken());
        let name = self.name.as_str();
        if let Some(silent) = self.service.watch(&mut self.transport, broken, name) {
            // What the device had goes where what waits is: `poll` ends both.
            while let Some((frame, mark)) = self.ring.reclaim(&silent) {
                let data = Data::None;
                self.backlog.push_back(Waiting { data, mark, frame });
            }
        }
        if self.service.is_running() {
            self.look_for_silence();
            self.take_events();
        }
    }

    fn tells_of_units(&self) -> bool {
        self.tells
    }

    fn notice(&mut self) -> Option<Notice> {
        self.noticed.pop_front()
    }

    fn arm(&mut self) -> bool {
        if !self.service.is_running() {
            return self.service == Service::Stopped && !self.backlog.is_empty();
        }
        if !self.transport.interrupts() {
            return self.ring.lent() > 0;
        }
        self.transport.quiet();
        // An event wakes us too; it is taken with the next tick.
        self.events.arm();
        self.ring.arm()
    }

    fn disarm(&mut self) {
        self.ring.disarm();
        self.events.disarm();
    }

    fn name(&self) -> &str {
        self.name.as_str()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::model::{Device, Machine, Profile, Registers};
    use io::{Op, Request};
    use scsi::{Key, command::Cdb};
    use std::vec;
    use std::vec::Vec;

    const UNIT: Address = Address { target: 3, unit: 5 };

    fn profile(features: u64) -> Profile {
        let mut config = vec![0; 36];
        config[20..24].copy_from_slice(&96_u32.to_le_bytes());
        config[24..28].copy_from_slice(&32_u32.to_le_bytes());
        config[30..32].copy_from_slice(&255_u16.to_le_bytes());
        let mut profile = Profile::new(DeviceId::SCSI, config);
        profile.features |= features;
        profile
    }

    fn start(profile: Profile, frames: usize) -> (Machine, Device, Scsi<Registers>) {
        let mut machine = Machine::new(frames);
        let (device, registers) = machine.device(profile);
        let adapter = Scsi::new(registers, &mut machine, "00:05.0 virtio-scsi");
        (machine, device, adapter.expect("it starts"))
    }

    fn mark(ticket: u32) -> Mark {
        Mark {
            disk: 0,
            request: Some(Request {
                op: Op::Read,
                lba: 0,
                sectors: 1,
                data: 36,
                ticket,
            }),
            since: Instant(0),
            tries: 0,
        }
    }

    fn read(adapter: &mut Scsi<Registers>, device: &Device, frame: Frame) {
        let data = Data::In {
            at: io::WIRE + 36,
            bytes: 512,
        };
        adapter.send(UNIT, &Cdb::read(7, 1), data, mark(1), frame);
        adapter.kick();
        device.check_kick(REQUESTS);
        device.fetch(REQUESTS, usize::MAX);
    }

    /// An answer: response, status, sense bytes, bytes that are missing.
    fn answer(response: u8, status: u8, sense: &[u8], missing: u32) -> Vec<u8> {
        let mut answer = vec![0; ANSWER_BYTES];
        answer[..4].copy_from_slice(&(sense.len() as u32).to_le_bytes());
        answer[4..8].copy_from_slice(&missing.to_le_bytes());
        answer[10] = status;
        answer[11] = response;
        answer[12..12 + sense.len()].copy_from_slice(sense);
        answer
    }

    #[test]
    fn an_adapter_says_how_much_it_carries() {
        let (_, _, adapter) = start(profile(0), 8);
        assert_eq!(adapter.targets(), 256);
        assert_eq!(adapter.transfer_bytes_max(), u32::MAX, "0 is no limit");
        let mut small = profile(0);
        small.config[8..12].copy_from_slice(&16_u32.to_le_bytes());
        let (_, _, adapter) = start(small, 8);
        assert_eq!(adapter.transfer_bytes_max(), 8192);
    }

    #[test]
    fn an_adapter_with_other_sizes_than_it_must_start_with_is_refused() {
        let mut odd = profile(0);
        odd.config[24] = 16;
        let mut machine = Machine::new(8);
        let (_, registers) = machine.device(odd);
        let error = Scsi::new(registers, &mut machine, "x").err();
        assert_eq!(error, Some(Error::MissingRegisters));
    }

    #[test]
    fn a_command_is_carried_to_its_unit_in_either_form_of_the_ring() {
        for indirect in [true, false] {
            let mut profile = profile(0);
            if !indirect {
                profile.features &= !feature::INDIRECT_DESC;
            }
            let (machine, device, mut adapter) = start(profile, 8);
            read(&mut adapter, &device, machine.carve(1).remove(0));
            let header = device.read(REQUESTS, 0);
            assert_eq!(header.len(), HEADER_BYTES);
            assert_eq!(header[..8], [1, 3, 0x40, 5, 0, 0, 0, 0]);
            assert_eq!(header[8..19], [0; 11]);
            assert_eq!(header[19..29], *Cdb::read(7, 1).bytes());
            assert_eq!(header[29..], [0; 22]);
            assert_eq!(device.room(REQUESTS, 0), ANSWER_BYTES + 512);
            device.write(REQUESTS, 0, 0, &answer(0, 0, &[], 0));
            device.write(REQUESTS, 0, ANSWER_BYTES, &[9; 512]);
            device.complete(REQUESTS, 0, (ANSWER_BYTES + 512) as u32);
            let mut done = adapter.poll().expect("answered");
            assert_eq!(done.end, End::Good { missing: 0 });
            assert_eq!(done.mark, mark(1));
            assert_eq!(done.frame.buffer_mut()[36..548], [9; 512]);
        }
    }

    #[test]
    fn every_response_has_its_meaning_and_silence_is_a_failure() {
        let sense = [0x70, 0, 3, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x11, 0, 0, 0, 0, 0];
        let medium = Sense {
            key: Key::MEDIUM,
            code: 0x11,
            qualifier: 0,
        };
        let cases = [
            (answer(0, 0, &[], 512), End::Good { missing: 512 }),
            (answer(0, 2, &sense, 0), End::Check(medium)),
            (answer(0, 2, &[], 0), End::Check(Sense::NOTHING)),
            (answer(0, 8, &[], 0), End::Busy),
            (answer(0, 0x28, &[], 0), End::Busy),
            (answer(0, 0x18, &[], 0), End::Failed),
            (answer(1, 0, &[], 0), End::Failed),
            (answer(2, 0, &[], 0), End::Busy),
            (answer(3, 0, &[], 0), End::Gone),
            (answer(4, 0, &[], 0), End::Busy),
            (answer(5, 0, &[], 0), End::Busy),
            (answer(9, 0, &[], 0), End::Failed),
            (answer(200, 200, &[], 0), End::Failed),
            // It returns the frame and has written nothing.
            (vec![], End::Failed),
            // More sense data than there is room for.
            (
                [[0xff; 4].to_vec(), vec![0; 6], vec![2, 0]].concat(),
                End::Check(Sense::NOTHING),
            ),
        ];
        for (bytes, expected) in cases {
            let (machine, device, mut adapter) = start(profile(0), 8);
            read(&mut adapter, &device, machine.carve(1).remove(0));
            if !bytes.is_empty() {
                device.write(REQUESTS, 0, 0, &bytes);
            }
            device.complete(REQUESTS, 0, 0);
            let done = adapter.poll().expect("answered");
            assert_eq!(done.end, expected, "{bytes:?}");
        }
    }

    #[test]
    fn an_event_says_which_unit_changed_went_or_came_and_the_place_for_it_is_given_again() {
        let (_, device, mut adapter) = start(profile(HOTPLUG | CHANGE), 8);
        device.fetch(EVENTS, usize::MAX);
        let tell = |kind: u32, reason: u32| {
            let mut bytes = [0; event::BYTES];
            bytes[..4].copy_from_slice(&kind.to_le_bytes());
            bytes[4..8].copy_from_slice(&[1, 3, 0x40, 5]);
            bytes[12..].copy_from_slice(&reason.to_le_bytes());
            device.write(EVENTS, 0, 0, &bytes);
            device.complete(EVENTS, 0, event::BYTES as u32);
        };
        for round in 1..100 {
            assert_eq!(device.in_hand(EVENTS).len(), EVENTS_MAX);
            tell(3 | event::MISSED, 0);
            tell(1, 2);
            tell(1, 1);
            tell(1, 0);
            adapter.tick(Instant(round));
            assert_eq!(adapter.notice(), Some(Notice::Changed(UNIT)));
            assert_eq!(adapter.notice(), Some(Notice::Removed(UNIT)));
            assert_eq!(adapter.notice(), Some(Notice::Added(UNIT)));
            assert_eq!(adapter.notice(), None);
            device.fetch(EVENTS, usize::MAX);
        }
    }

    #[test]
    fn a_thousand_commands_wait_for_a_ring_of_4_and_a_stopped_adapter_returns_them_all() {
        let mut small = profile(0);
        small.queue_max = 4;
        let (machine, device, mut adapter) = start(small, 1024);
        let capacity = adapter.backlog.capacity();
        for (ticket, frame) in (0..).zip(machine.carve(1024)) {
            adapter.send(
                UNIT,
                &Cdb::test_unit_ready(),
                Data::None,
                mark(ticket),
                frame,
            );
        }
        adapter.kick();
        device.fetch(REQUESTS, usize::MAX);
        assert_eq!(device.in_hand(REQUESTS).len(), 4);
        let is_last = |mark: &Mark| mark.request.is_some_and(|request| request.ticket == 1023);
        assert_eq!(adapter.lent(is_last, |_| ()), Some(()));
        device.need_reset();
        adapter.tick(Instant(1));
        assert!(adapter.poll().is_none(), "it may still write to its frames");
        adapter.tick(Instant(2));
        let mut tickets: Vec<u32> = std::iter::from_fn(|| adapter.poll())
            .map(|answer| {
                assert_eq!(answer.end, End::Failed);
                answer.mark.request.expect("ours").ticket
            })
            .collect();
        tickets.sort_unstable();
        assert!(tickets.into_iter().eq(0..1024));
        assert_eq!(adapter.backlog.capacity(), capacity, "lists never grow");
        assert!(!adapter.is_running());
    }
}
