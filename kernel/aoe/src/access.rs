//! Commands 2 and 3: who exists for a target, and who may use it.
//!
//! Two lists of MAC addresses, both normally empty, so the data path asks only
//! whether they are. A mask list that is not empty makes everybody else
//! invisible. A reservation that is not empty keeps everybody else from the disk,
//! with an error, but not from talking.

use crate::limits::{MASKS_MAX, MEMBERS_MAX};
use crate::verdict::Refusal;
use crate::wire::{self, Body, Mac, mac_at};

/// AoE's command 2, MAC mask list.
pub(crate) const COMMAND_MASK: u8 = 2;
/// AoE's command 3, reserve and release.
pub(crate) const COMMAND_RESERVE: u8 = 3;

const MASK_READ: u8 = 0;
const MASK_EDIT: u8 = 1;

const DIRECTIVE_NONE: u8 = 0;
const DIRECTIVE_ADD: u8 = 1;
const DIRECTIVE_DELETE: u8 = 2;
/// Reserved byte, directive, MAC address.
const DIRECTIVE_BYTES: usize = 8;

const RESERVE_READ: u8 = 0;
const RESERVE_SET: u8 = 1;
const RESERVE_FORCE: u8 = 2;
const MEMBER_BYTES: usize = 6;

/// A short list of addresses. Order is kept, for it shows in answers.
#[derive(Clone, Debug)]
struct Macs<const N: usize> {
    len: u8,
    macs: [Mac; N],
}

impl<const N: usize> Macs<N> {
    const EMPTY: Self = Self {
        len: 0,
        macs: [Mac([0; 6]); N],
    };

    #[inline]
    fn as_slice(&self) -> &[Mac] {
        &self.macs[..usize::from(self.len)]
    }

    /// Whether there is a list and `mac` is not in it. The list is normally empty,
    /// and then this is one comparison.
    #[inline]
    fn shuts_out(&self, mac: Mac) -> bool {
        self.len > 0 && self.lacks(mac)
    }

    #[cold]
    fn lacks(&self, mac: Mac) -> bool {
        !self.as_slice().contains(&mac)
    }

    /// Appends. The caller knows that there is room.
    fn push(&mut self, mac: Mac) {
        self.macs[usize::from(self.len)] = mac;
        self.len += 1;
    }

    fn remove(&mut self, index: usize) {
        self.macs
            .copy_within(index + 1..usize::from(self.len), index);
        self.len -= 1;
    }
}

/// The mask list of one target.
#[derive(Clone, Debug)]
pub(crate) struct Masks {
    /// So many at the front are the operator's and stay.
    permanent: u8,
    list: Macs<MASKS_MAX>,
}

/// What an edit came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edited {
    /// Directives done before one that failed.
    pub done: u8,
    /// Whether the list is another one now.
    pub changed: bool,
    /// Why the next directive was not done.
    pub refusal: Option<Refusal>,
}

impl Edited {
    /// Nothing was asked for.
    pub const NOTHING: Self = Self {
        done: 0,
        changed: false,
        refusal: None,
    };
}

impl Masks {
    /// The operator's entries, as far as there is room.
    pub fn new(permanent: &[Mac]) -> Self {
        let mut list = Macs::EMPTY;
        for &mac in permanent {
            if list.as_slice().len() < MASKS_MAX && !list.as_slice().contains(&mac) {
                list.push(mac);
            }
        }
        Self {
            permanent: list.len,
            list,
        }
    }

    pub fn as_slice(&self) -> &[Mac] {
        self.list.as_slice()
    }

    /// Whether everybody may talk.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.list.len == 0
    }

    /// The entries that are not the operator's.
    pub fn edited(&self) -> &[Mac] {
        &self.as_slice()[usize::from(self.permanent)..]
    }

    /// Takes back an entry from before a restart, if there is room.
    pub fn restore(&mut self, mac: Mac) {
        if self.as_slice().len() < MASKS_MAX && !self.as_slice().contains(&mac) {
            self.list.push(mac);
        }
    }

    /// Puts other entries behind the operator's own, as far as there is room. True
    /// if the list is another one now.
    #[cold]
    pub fn replace(&mut self, macs: impl Iterator<Item = Mac>) -> bool {
        let before = self.list.clone();
        self.list.len = self.permanent;
        for mac in macs {
            self.restore(mac);
        }
        self.as_slice() != before.as_slice()
    }

    /// a list that is not empty makes all others invisible.
    #[inline]
    pub fn hides(&self, source: Mac) -> bool {
        self.list.shuts_out(source)
    }

    /// Runs the directives of a request in order; `room` is how many entries an
    /// answer can carry.
    pub fn edit(&mut self, body: &Body, room: usize) -> Edited {
        let mut edited = Edited::NOTHING;
        for number in 0..usize::from(body[wire::mask::COUNT]) {
            let at = wire::mask::LIST + number * DIRECTIVE_BYTES;
            // what was done before the failing one stays.
            match self.apply(body[at + 1], mac_at(body, at + 2), room) {
                Ok(changed) => edited.changed |= changed,
                Err(refusal) => {
                    edited.refusal = Some(refusal);
                    break;
                }
            }
            edited.done += 1;
        }
        edited
    }

    fn apply(&mut self, directive: u8, mac: Mac, room: usize) -> Result<bool, Refusal> {
        let listed = self.as_slice().iter().position(|&one| one == mac);
        match (directive, listed) {
            (DIRECTIVE_NONE, _) => Ok(false),
            // adding what is there and deleting what is not succeed.
            (DIRECTIVE_ADD, Some(_)) | (DIRECTIVE_DELETE, None) => Ok(false),
            (DIRECTIVE_ADD, None) if self.as_slice().len() < room.min(MASKS_MAX) => {
                self.list.push(mac);
                Ok(true)
            }
            //
            (DIRECTIVE_ADD, None) => Err(Refusal::MaskFull),
            //
            (DIRECTIVE_DELETE, Some(index)) if index < usize::from(self.permanent) => {
                Err(Refusal::MaskPermanent)
            }
            (DIRECTIVE_DELETE, Some(index)) => {
                self.list.remove(index);
                Ok(true)
            }
            _ => Err(Refusal::MaskDirective),
        }
    }

    /// Writes the argument of an answer and returns where it ends. R-081: the whole
    /// list, directives zero.
    pub fn write(&self, body: &mut Body) -> usize {
        use wire::mask;
        body[mask::ERROR] = 0;
        body[mask::COUNT] = self.list.len;
        let entries = body[mask::LIST..].as_chunks_mut::<DIRECTIVE_BYTES>().0;
        for (entry, mac) in entries.iter_mut().zip(self.as_slice()) {
            entry[..2].fill(0);
            entry[2..].copy_from_slice(&mac.0);
        }
        mask::LIST + self.as_slice().len() * DIRECTIVE_BYTES
    }
}

/// What a mask request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MaskRequest {
    Read,
    Edit,
}

impl MaskRequest {
    pub fn parse(body: &Body, len: usize) -> Result<Self, Refusal> {
        use wire::mask;
        match body[mask::COMMAND] {
            MASK_READ => Ok(Self::Read),
            MASK_EDIT => {
                //
                let end = mask::LIST + usize::from(body[mask::COUNT]) * DIRECTIVE_BYTES;
                if end <= len {
                    Ok(Self::Edit)
                } else {
                    Err(Refusal::MaskCount)
                }
            }
            _ => Err(Refusal::UnknownMaskCommand),
        }
    }
}

/// Entries of a mask list that an answer of `bytes` can carry.
pub(crate) fn mask_room(bytes: usize) -> usize {
    bytes.saturating_sub(wire::mask::LIST) / DIRECTIVE_BYTES
}

/// Whether a reserve request would change the reservation.
pub(crate) const fn is_reserve_change(body: &Body) -> bool {
    matches!(body[wire::reserve::COMMAND], RESERVE_SET | RESERVE_FORCE)
}

/// The reservation of one target.
#[derive(Clone, Debug)]
pub(crate) struct Reservation {
    list: Macs<MEMBERS_MAX>,
}

impl Reservation {
    pub const EMPTY: Self = Self { list: Macs::EMPTY };

    /// Takes back the members from before a restart, as far as there is room.
    pub fn restore(&mut self, members: impl Iterator<Item = Mac>) {
        self.list = Macs::EMPTY;
        for member in members.take(MEMBERS_MAX) {
            self.list.push(member);
        }
    }

    /// Puts other members in the place of these, as far as there is room. True if
    /// the list is another one now.
    #[cold]
    pub fn replace(&mut self, members: impl Iterator<Item = Mac>) -> bool {
        let before = self.list.clone();
        self.restore(members);
        self.as_slice() != before.as_slice()
    }

    pub fn as_slice(&self) -> &[Mac] {
        self.list.as_slice()
    }

    /// Whether everybody may talk.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.list.len == 0
    }

    /// members only, if there are any.
    #[inline]
    pub fn excludes(&self, source: Mac) -> bool {
        self.list.shuts_out(source)
    }

    /// Does what a request asks. True if the list is another one now. An answer
    /// can be as long as `bytes`.
    pub fn serve(
        &mut self,
        body: &Body,
        len: usize,
        source: Mac,
        bytes: usize,
    ) -> Result<bool, Refusal> {
        use wire::reserve;
        let command = body[reserve::COMMAND];
        match command {
            RESERVE_READ => return Ok(false),
            RESERVE_SET | RESERVE_FORCE => {}
            _ => return Err(Refusal::UnknownReserveCommand),
        }
        let count = usize::from(body[reserve::COUNT]);
        let end = reserve::LIST + count * MEMBER_BYTES;
        // all there, and such that it can be told again.
        if end > len || end > bytes || count > MEMBERS_MAX {
            return Err(Refusal::ReserveCount);
        }
        // membership is the source's, and force is force.
        if command == RESERVE_SET && self.excludes(source) {
            return Err(Refusal::Reserved);
        }
        let members = body[reserve::LIST..end].as_chunks::<MEMBER_BYTES>().0;
        let is_same = members.iter().eq(self.as_slice().iter().map(|mac| &mac.0));
        self.list.len = 0;
        for member in members {
            self.list.push(Mac(*member));
        }
        Ok(!is_same)
    }

    /// Writes the argument of an answer and returns where it ends.
    pub fn write(&self, body: &mut Body) -> usize {
        use wire::reserve;
        body[reserve::COUNT] = self.list.len;
        let mut at = reserve::LIST;
        for mac in self.as_slice() {
            body[at..at + MEMBER_BYTES].copy_from_slice(&mac.0);
            at += MEMBER_BYTES;
        }
        at
    }
}
