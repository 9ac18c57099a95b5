//! One export: who is heard, what is answered, and what the disk is asked for.
//!
//! A request passes three gates, each cheaper than the next: is it a frame for
//! us at all, may its sender talk, and does it ask for something that we have.
//! Whatever is answered is written into the request's own buffer; what the disk
//! must do first leaves the buffer as it is, and [`Target::complete`] reads the
//! request from it again.
//!
//! Every answer goes through [`wire::close`], so no answer can forget its flags,
//! its address or its padding.

mod usual;

use crate::access::{self, Edited, MaskRequest, Masks, Reservation};
use crate::ata::{self, Action, Io, IoOp, Outcome, TaskFile, Width, feature};
use crate::config::{self, ConfigString, Unserved};
use crate::identify::{self, InForce};
use crate::limits::{BUFFERS_MIN, SECTOR_BYTES};
use crate::medium::{Cache, Errors, Medium, Policy};
use crate::smart::{self, Smart};
use crate::verdict::{Drop, Refusal, Telling, Verdict};
use crate::wire::{
    self, Address, Body, HEADER_BYTES, Mac, Port, Slot, TAG_BYTES, body_of, mac_at, slot_of,
};

/// What an initiator has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The config string.
    Config,
    /// The mask list.
    Masks,
    /// The reservation.
    Reservation,
}

impl Change {
    const ALL: [Self; 3] = [Self::Config, Self::Masks, Self::Reservation];

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// One export, as the protocol knows it.
#[derive(Clone, Debug)]
pub struct Target {
    address: Address,
    /// How a usual request to it begins (see `usual`).
    usual_header: u64,
    errors: Errors,
    /// SET FEATURES has switched the write cache off.
    cache_off: bool,
    /// SMART has been switched off.
    smart_off: bool,
    buffers: u16,
    /// One bit for each [`Change`] that nobody has asked for yet.
    changes: u8,
    medium: Medium,
    masks: Masks,
    reservation: Reservation,
    config: ConfigString,
}

/// What has been found out about a request.
struct Request {
    /// How far a tag moves everything.
    shift: usize,
    /// Bytes that arrived, counted without the tag.
    len: usize,
    source: Mac,
    /// It names us by a wildcard.
    is_wildcard: bool,
}

/// An answer whose body has been written.
struct Answer {
    /// Where the body ends.
    len: usize,
    refusal: Option<Refusal>,
    /// A jumbo frame may follow.
    probe: bool,
}

impl Answer {
    const fn of(len: usize) -> Self {
        Self {
            len,
            refusal: None,
            probe: false,
        }
    }
}

/// What an ATA command needs.
enum Served {
    Here(Answer),
    ByDisk(Io),
}

impl Target {
    /// An export with an empty config string and no reservation. `buffers` is how
    /// many requests can be queued for it, the initiators' window.
    pub fn new(address: Address, medium: Medium, buffers: u16, policy: Policy<'_>) -> Self {
        Self {
            address,
            usual_header: usual::header(address),
            errors: policy.errors,
            cache_off: false,
            smart_off: false,
            // with less the Linux driver makes a device and stands still.
            buffers: buffers.max(BUFFERS_MIN),
            changes: 0,
            medium,
            masks: Masks::new(policy.masks),
            reservation: Reservation::EMPTY,
            config: ConfigString::EMPTY,
        }
    }

    /// Its shelf and slot.
    pub fn address(&self) -> Address {
        self.address
    }

    /// What it was told of its disk.
    pub fn medium(&self) -> &Medium {
        &self.medium
    }

    /// Tells it that the disk is another one now, larger perhaps.
    pub fn set_medium(&mut self, medium: Medium) {
        self.medium = medium;
    }

    /// When a write is to be acknowledged, now.
    #[inline]
    pub fn cache(&self) -> Cache {
        if self.cache_off {
            Cache::WriteThrough
        } else {
            self.medium.cache
        }
    }

    /// The config string.
    pub fn config_string(&self) -> &[u8] {
        self.config.as_bytes()
    }

    /// The mask list; empty if everybody may talk.
    pub fn masks(&self) -> &[Mac] {
        self.masks.as_slice()
    }

    /// Who has reserved it; empty if nobody has.
    pub fn reservation(&self) -> &[Mac] {
        self.reservation.as_slice()
    }

    /// The entries of the mask list that are not the operator's.
    pub fn edited_masks(&self) -> &[Mac] {
        self.masks.edited()
    }

    /// Takes back what initiators had set before a restart, as far as there is
    /// room. None of it counts as a change.
    pub fn restore(
        &mut self,
        config: &[u8],
        masks: impl Iterator<Item = Mac>,
        members: impl Iterator<Item = Mac>,
    ) {
        self.config.restore(config);
        for mac in masks {
            self.masks.restore(mac);
        }
        self.reservation.restore(members);
    }

    /// What initiators have added to the mask list becomes `macs`, by order of the
    /// operator; the entries of the settings stay.
    pub fn replace_masks(&mut self, macs: impl Iterator<Item = Mac>) {
        let changed = self.masks.replace(macs);
        self.note(Change::Masks, changed);
    }

    /// The reservation becomes `members`, by order of the operator; none is free
    /// for all.
    pub fn replace_reservation(&mut self, members: impl Iterator<Item = Mac>) {
        let changed = self.reservation.replace(members);
        self.note(Change::Reservation, changed);
    }

    /// Something that an initiator has changed since this was asked last: to be
    /// announced, or kept across a restart. Ask until there is nothing more.
    pub fn take_change(&mut self) -> Option<Change> {
        let change = Change::ALL
            .into_iter()
            .find(|change| self.changes & change.bit() != 0)?;
        self.changes &= !change.bit();
        Some(change)
    }

    /// Judges a frame. `buffer` is all the room for wire bytes that its slot has,
    /// `received` how many of them arrived.
    ///
    /// # Panics
    /// If `buffer` is shorter than [`WIRE_BYTES`](crate::limits::WIRE_BYTES).
    #[inline]
    pub fn admit(&mut self, port: &Port, buffer: &mut [u8], received: usize) -> Verdict {
        match self.usual(port, buffer, received) {
            Some(io) => Verdict::Submit(io),
            None => self.long_way(port, buffer, received),
        }
    }

    /// As [`admit`](Self::admit), for any frame: through the three gates.
    #[inline(never)]
    fn long_way(&mut self, port: &Port, buffer: &mut [u8], received: usize) -> Verdict {
        let slot = slot_of(buffer);
        let request = match self.screen(port, slot, received) {
            Ok(request) => request,
            Err(reason) => return Verdict::Drop(reason),
        };
        let body = body_of(slot, request.shift);
        // from here on it carries the real address, as its answer will.
        wire::set_address(body, self.address);
        let served = if body[wire::FLAGS] & wire::VERSION_MASK != wire::VERSION {
            // to one who asked us alone.
            self.refuse(body, Refusal::Version).map(Served::Here)
        } else if body[wire::COMMAND] == ata::COMMAND {
            self.serve_ata(port, body, &request)
        } else {
            self.serve_other(port, body, &request).map(Served::Here)
        };
        match served {
            Ok(Served::ByDisk(io)) => Verdict::Submit(io),
            Ok(Served::Here(answer)) => self.answer(port, slot, &request, &answer),
            Err(reason) => Verdict::Drop(reason),
        }
    }

    /// Edits the request of an admitted frame into its answer, now that the disk
    /// has done what it was asked. Returns the length of the answer, or 0 if there
    /// is to be none ([`Drop::Silenced`]).
    ///
    /// # Panics
    /// If the frame is not one that [`admit`](Self::admit) has submitted.
    #[inline]
    pub fn complete(
        &self,
        port: &Port,
        buffer: &mut [u8],
        received: usize,
        outcome: Outcome,
    ) -> usize {
        debug_assert!(
            ata::io_of(buffer, received).is_some(),
            "admitted, so it parses"
        );
        let failure = outcome.failure();
        if failure.is_some() && self.errors == Errors::Silent {
            return 0;
        }
        let slot = slot_of(buffer);
        let shift = wire::shift_of(slot).expect("admitted, so it is AoE");
        let to = mac_at(slot, 6);
        wire::answer_header(slot, shift, port, to, self.address, 0);
        let body = body_of(slot, shift);
        let registers = registers_of(body);
        let task = TaskFile::read(registers);
        ata::answer(registers, failure);
        // a read has exactly its sectors, all else and all failures none.
        let end = match (ata::transfer(task.opcode), failure) {
            (Some((IoOp::Read, _)), None) => {
                wire::ata::DATA + usize::from(task.count) * SECTOR_BYTES
            }
            _ => wire::pad(body, wire::ata::DATA),
        };
        end + shift
    }

    /// Writes the announcement that nobody asked for: an answer to everybody, in
    /// its small form. [`probe`](Self::probe) makes the jumbo one from it. Returns
    /// its length.
    ///
    /// # Panics
    /// If `buffer` is shorter than [`WIRE_BYTES`](crate::limits::WIRE_BYTES).
    pub fn announce(&self, port: &Port, buffer: &mut [u8]) -> usize {
        let slot = slot_of(buffer);
        let body = body_of(slot, 0);
        // tag 0, or Linux ignores it; sub-command 0; the current string.
        wire::set_query(body);
        let sectors = config::sectors_small(port, false);
        let len = self.config.write(body, config::READ, self.buffers, sectors);
        let len = wire::pad(body, len);
        wire::answer_header(slot, 0, port, Mac::BROADCAST, self.address, 0);
        len
    }

    /// Makes the second answer to a query from the first: it says how many sectors
    /// the port can really do, and is as long as the frames that it allows. `None`
    /// where there is no more to say than the first answer did.
    ///
    /// # Panics
    /// If `buffer` is shorter than [`WIRE_BYTES`](crate::limits::WIRE_BYTES).
    pub fn probe(&self, port: &Port, query_answer: &[u8], buffer: &mut [u8]) -> Option<usize> {
        let is_tagged = wire::peek(query_answer)?.tagged;
        let shift = if is_tagged { TAG_BYTES } else { 0 };
        let sectors = config::sectors_jumbo(port, is_tagged)?;
        let first_len = shift + wire::config::STRING + self.config.as_bytes().len();
        let first = query_answer.get(..first_len)?;
        // padded with zeros to a whole jumbo frame.
        let len = shift + wire::ata::DATA + usize::from(sectors) * SECTOR_BYTES;
        let slot = slot_of(buffer);
        slot[..first_len].copy_from_slice(first);
        slot[first_len..len].fill(0);
        body_of(slot, shift)[wire::config::SECTORS] = sectors;
        Some(len)
    }

    /// The first two gates: is it for us, and may its sender talk.
    #[inline]
    fn screen(&self, port: &Port, slot: &Slot, received: usize) -> Result<Request, Drop> {
        // R-001 R-002: it must be AoE, and whole up to the end of its header.
        let shift = wire::shift_of(slot).ok_or(Drop::NotAoe)?;
        let len = received.min(slot.len()).saturating_sub(shift);
        if len < HEADER_BYTES {
            return Err(Drop::Short);
        }
        //
        let to = mac_at(slot, 0);
        let is_broadcast = to == Mac::BROADCAST;
        if to != port.mac && !is_broadcast {
            return Err(Drop::NotForUs);
        }
        //
        let source = mac_at(slot, 6);
        if source.is_multicast() || source == Mac::default() || source == port.mac {
            return Err(Drop::BadSource);
        }
        let body = wire::header_of(slot, shift);
        // our own broadcasts come back.
        if body[wire::FLAGS] & wire::FLAG_RESPONSE != 0 {
            return Err(Drop::Response);
        }
        let addressed = wire::addressed(body);
        if !addressed.covers(self.address) {
            return Err(Drop::NotForUs);
        }
        if self.masks.hides(source) {
            return Err(Drop::Masked);
        }
        //
        if is_broadcast && body[wire::FLAGS] & wire::VERSION_MASK != wire::VERSION {
            return Err(Drop::WrongVersion);
        }
        Ok(Request {
            shift,
            len,
            source,
            is_wildcard: addressed.is_wildcard(),
        })
    }

    /// Command 0.
    fn serve_ata(
        &mut self,
        port: &Port,
        body: &mut Body,
        request: &Request,
    ) -> Result<Served, Drop> {
        //
        if request.len < wire::ata::DATA {
            return Err(Drop::Short);
        }
        let task = TaskFile::read(registers_of(body));
        let action = task.action();
        // nothing is changed for one who does not know whom he changes.
        if request.is_wildcard && task.changes_something() {
            return Err(Drop::WildcardWrite);
        }
        // all but IDENTIFY is for members.
        if self.reservation.excludes(request.source) && action != Action::Identify {
            return self.refuse(body, Refusal::Reserved).map(Served::Here);
        }
        let sectors_max = port.sectors_max(request.shift != 0);
        let checked = match action {
            Action::Transfer(op, width) => {
                self.check_transfer(op, width, task, request, sectors_max)
            }
            Action::Discard => self.check_discard(body, task, request, sectors_max),
            // only the disk knows what is durable.
            Action::Flush => Ok(()),
            Action::SetFeatures => self.set_features(task),
            Action::Identify
            | Action::PowerMode
            | Action::Idle
            | Action::Smart
            | Action::Unknown => Ok(()),
        };
        match (checked, task.io(request.shift)) {
            (Ok(()), Some(io)) => Ok(Served::ByDisk(io)),
            (Ok(()), None) => self
                .serve_ata_here(body, task, sectors_max)
                .map(Served::Here),
            (Err(refusal), _) => self.refuse(body, refusal).map(Served::Here),
        }
    }

    /// Whether a transfer can be done at all.
    #[inline]
    fn check_transfer(
        &self,
        op: IoOp,
        width: Width,
        task: TaskFile,
        request: &Request,
        sectors_max: u8,
    ) -> Result<(), Refusal> {
        // 0 would mean more than any frame holds.
        if task.count == 0 || task.count > sectors_max {
            return Err(Refusal::BadCount);
        }
        if op == IoOp::Write {
            //
            if self.medium.read_only {
                return Err(Refusal::ReadOnly);
            }
            // compared with what arrived, whatever lies behind it.
            if request.len < wire::ata::DATA + usize::from(task.count) * SECTOR_BYTES {
                return Err(Refusal::ShortData);
            }
        }
        if task.is_too_wide(width) {
            return Err(Refusal::WideAddress);
        }
        self.check_range(task.first(width), task.count.into())
    }

    /// wholly there, or nothing is done.
    #[inline]
    fn check_range(&self, first: u64, sectors: u64) -> Result<(), Refusal> {
        let end = first.checked_add(sectors);
        if end.is_some_and(|end| end <= self.medium.sectors) {
            Ok(())
        } else {
            Err(Refusal::PastEnd)
        }
    }

    /// a discard is checked as a whole before any of it is done.
    fn check_discard(
        &self,
        body: &Body,
        task: TaskFile,
        request: &Request,
        sectors_max: u8,
    ) -> Result<(), Refusal> {
        if !self.medium.discard {
            return Err(Refusal::UnknownOpcode);
        }
        if self.medium.read_only {
            return Err(Refusal::ReadOnly);
        }
        if task.feature != feature::TRIM {
            return Err(Refusal::UnknownFeature);
        }
        if task.count == 0 || task.count > sectors_max {
            return Err(Refusal::BadCount);
        }
        let end = wire::ata::DATA + usize::from(task.count) * SECTOR_BYTES;
        if request.len < end {
            return Err(Refusal::ShortData);
        }
        ata::discard_ranges(&body[wire::ata::DATA..end])
            .try_for_each(|(first, sectors)| self.check_range(first, sectors.into()))
    }

    /// SET FEATURES (ATA8-ACS 7.47). R-056: the operator's choice of cache can be
    /// made safer and unmade again, never made less safe.
    fn set_features(&mut self, task: TaskFile) -> Result<(), Refusal> {
        match task.feature {
            feature::WRITE_CACHE_OFF => {
                self.cache_off = true;
                Ok(())
            }
            feature::WRITE_CACHE_ON if self.medium.cache == Cache::WriteBack => {
                self.cache_off = false;
                Ok(())
            }
            // Nothing here has a transfer mode or looks ahead, so any will do.
            feature::TRANSFER_MODE | feature::LOOK_AHEAD_ON | feature::LOOK_AHEAD_OFF => Ok(()),
            _ => Err(Refusal::UnknownFeature),
        }
    }

    /// ATA commands that need no disk.
    fn serve_ata_here(
        &mut self,
        body: &mut Body,
        task: TaskFile,
        sectors_max: u8,
    ) -> Result<Answer, Drop> {
        let mut len = wire::ata::DATA;
        match task.action() {
            Action::Identify => {
                // one block, if the port carries one.
                if task.count != 1 || sectors_max == 0 {
                    return self.refuse(body, Refusal::BadCount);
                }
                let in_force = InForce {
                    cache: self.cache(),
                    smart: !self.smart_off,
                    sectors_max,
                };
                identify::write(block_of(body), &self.medium, in_force);
                len += SECTOR_BYTES;
            }
            Action::Smart => match self.smart(body, task, sectors_max) {
                Ok(bytes) => len += bytes,
                Err(refusal) => return self.refuse(body, refusal),
            },
            Action::Unknown => return self.refuse(body, Refusal::UnknownOpcode),
            Action::PowerMode | Action::Idle | Action::SetFeatures => {}
            Action::Transfer(..) | Action::Flush | Action::Discard => {
                unreachable!("these are asked of the disk")
            }
        }
        ata::answer(registers_of(body), None);
        if task.action() == Action::PowerMode {
            // active or idle, whatever IDLE and STANDBY have asked for.
            body[wire::ata::COUNT] = 0xff;
        }
        Ok(Answer::of(len))
    }

    /// SMART; returns how many bytes of data the answer has.
    fn smart(
        &mut self,
        body: &mut Body,
        task: TaskFile,
        sectors_max: u8,
    ) -> Result<usize, Refusal> {
        // only if IDENTIFY claims it.
        let health = self.medium.health.ok_or(Refusal::UnknownOpcode)?;
        let asked = Smart::parse(task.feature, task.lba)?;
        match asked {
            Smart::Enable | Smart::Disable => self.smart_off = asked == Smart::Disable,
            Smart::ReadData | Smart::ReturnStatus if self.smart_off => {
                return Err(Refusal::UnknownFeature);
            }
            Smart::ReadData if sectors_max == 0 => return Err(Refusal::BadCount),
            Smart::ReadData => {
                smart::write_data(block_of(body));
                return Ok(SECTOR_BYTES);
            }
            Smart::ReturnStatus => {
                let lba = wire::ata::LBA;
                body[lba + 1..lba + 3].copy_from_slice(&smart::status(health));
            }
        }
        Ok(0)
    }

    /// Commands other than 0.
    #[cold]
    fn serve_other(
        &mut self,
        port: &Port,
        body: &mut Body,
        request: &Request,
    ) -> Result<Answer, Drop> {
        match body[wire::COMMAND] {
            config::COMMAND => self.serve_config(port, body, request),
            access::COMMAND_MASK => self.serve_mask(port, body, request),
            access::COMMAND_RESERVE => self.serve_reserve(port, body, request),
            //
            _ => self.refuse(body, Refusal::UnknownCommand),
        }
    }

    /// Command 1. R-024: also a set by wildcard, which is how aoecfg sets.
    fn serve_config(
        &mut self,
        port: &Port,
        body: &mut Body,
        request: &Request,
    ) -> Result<Answer, Drop> {
        if request.len < wire::config::STRING {
            return Err(Drop::Short);
        }
        let command = body[wire::config::COMMAND];
        let served = self.config.serve(body, request.len);
        // a refusal tells the string in force as well.
        let sectors = config::sectors_small(port, request.shift != 0);
        let len = self.config.write(body, command, self.buffers, sectors);
        match served {
            Ok(changed) => {
                self.note(Change::Config, changed);
                Ok(Answer {
                    len,
                    refusal: None,
                    //
                    probe: config::is_read(command)
                        && config::sectors_jumbo(port, request.shift != 0).is_some(),
                })
            }
            Err(Unserved::Refuse(refusal)) => self.refuse_with(body, refusal, len),
            Err(Unserved::Drop(reason)) => Err(reason),
        }
    }

    /// Command 2.
    fn serve_mask(
        &mut self,
        port: &Port,
        body: &mut Body,
        request: &Request,
    ) -> Result<Answer, Drop> {
        if request.len < wire::mask::LIST {
            return Err(Drop::Short);
        }
        let room = access::mask_room(port.frame_bytes_max() - request.shift);
        let edited = match MaskRequest::parse(body, request.len) {
            Err(refusal) => return self.refuse(body, refusal),
            Ok(MaskRequest::Read) => Edited::NOTHING,
            //
            Ok(MaskRequest::Edit) if request.is_wildcard => return Err(Drop::WildcardWrite),
            Ok(MaskRequest::Edit) => self.masks.edit(body, room),
        };
        self.note(Change::Masks, edited.changed);
        body[wire::mask::COMMAND - 1] = 0;
        match edited.refusal {
            None => Ok(Answer::of(self.masks.write(body))),
            Some(refusal) => {
                body[wire::mask::COUNT] = edited.done;
                self.refuse_with(body, refusal, wire::mask::LIST)
            }
        }
    }

    /// Command 3. R-094: like commands 1 and 2 it does not ask for membership.
    fn serve_reserve(
        &mut self,
        port: &Port,
        body: &mut Body,
        request: &Request,
    ) -> Result<Answer, Drop> {
        if request.len < wire::reserve::LIST {
            return Err(Drop::Short);
        }
        //
        if request.is_wildcard && access::is_reserve_change(body) {
            return Err(Drop::WildcardWrite);
        }
        let bytes = port.frame_bytes_max() - request.shift;
        match self
            .reservation
            .serve(body, request.len, request.source, bytes)
        {
            Ok(changed) => {
                self.note(Change::Reservation, changed);
                Ok(Answer::of(self.reservation.write(body)))
            }
            // who is kept out is told by whom.
            Err(Refusal::Reserved) => {
                let len = self.reservation.write(body);
                self.refuse_with(body, Refusal::Reserved, len)
            }
            Err(refusal) => self.refuse(body, refusal),
        }
    }

    ///
    fn note(&mut self, change: Change, changed: bool) {
        if changed {
            self.changes |= change.bit();
        }
    }

    /// An answer that says no and has no more to say.
    #[cold]
    fn refuse(&self, body: &mut Body, refusal: Refusal) -> Result<Answer, Drop> {
        // of an ATA command the argument is echoed, it has just been read.
        let len = match refusal {
            Refusal::Reserved if body[wire::COMMAND] == ata::COMMAND => wire::ata::DATA,
            _ => HEADER_BYTES,
        };
        self.refuse_with(body, refusal, len)
    }

    /// An answer that says no behind a body that ends at `len`.
    #[cold]
    fn refuse_with(&self, body: &mut Body, refusal: Refusal, len: usize) -> Result<Answer, Drop> {
        let mut answer = Answer::of(len);
        answer.refusal = Some(refusal);
        match refusal.telling() {
            // The code is written with the header, by `answer`.
            Telling::Aoe(_) => {}
            Telling::Mask(error) => body[wire::mask::ERROR] = error,
            //
            Telling::Ata(_) if self.errors == Errors::Silent => return Err(Drop::Silenced),
            Telling::Ata(failure) => {
                ata::answer(registers_of(body), Some(failure));
                answer.len = wire::ata::DATA;
            }
        }
        Ok(answer)
    }

    /// Puts the header before a body.
    fn answer(&self, port: &Port, slot: &mut Slot, request: &Request, answer: &Answer) -> Verdict {
        //
        if answer.len + request.shift > port.frame_bytes_max() {
            return Verdict::Drop(Drop::PastMtu);
        }
        let error = answer.refusal.map_or(0, Refusal::aoe_code);
        let to = request.source;
        wire::answer_header(slot, request.shift, port, to, self.address, error);
        let len = wire::pad(body_of(slot, request.shift), answer.len) + request.shift;
        if answer.probe {
            Verdict::ReplyThenProbe { len }
        } else {
            Verdict::Reply {
                len,
                refusal: answer.refusal,
            }
        }
    }
}

/// The header and the ATA registers of a frame.
#[inline]
fn registers_of(body: &mut Body) -> &mut [u8; wire::ata::DATA] {
    body.first_chunk_mut()
        .expect("a body is longer than its registers")
}

/// The first sector of a frame's data.
fn block_of(body: &mut Body) -> &mut identify::Block {
    body[wire::ata::DATA..]
        .first_chunk_mut()
        .expect("a body holds a sector")
}
