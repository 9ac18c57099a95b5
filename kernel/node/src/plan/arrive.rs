//! The plan for one disk that comes while the node runs: nothing moves for it.

use super::{Candidate, Place, Planned, is, selected, slice};
use crate::config::{Config, Selection, Selector};
use crate::volume::GRAIN_SECTORS;

/// What becomes of a disk that has come as number `index`. It gets the slot that a pin
/// names for it, or the one that it had (`kept`), or the first that is nobody's: neither
/// an export's, nor a pin's, nor, if it can be helped, that of a disk that is `away`.
/// `has_twin`: another disk has its serial number. Allocates nothing.
///
/// # Errors
/// Why it is not exported, as the end of a sentence.
#[cold]
pub fn arrive<'a>(
    config: &Config,
    disk: &Candidate<'_>,
    index: u8,
    has_twin: bool,
    exports: impl Iterator<Item = &'a Planned> + Clone,
    kept: Option<u8>,
    away: impl Fn(u8) -> bool,
) -> Result<Planned, &'static str> {
    if disk.sectors < GRAIN_SECTORS {
        return Err("its capacity is too small");
    }
    let is_taken = |slot: u8| exports.clone().any(|export| export.slot == slot);
    let mut pins = config.pins.iter().map(|setting| setting.value);
    let place = match pins.find(|pin| is(disk, pin.disk)) {
        Some(pin) if has_twin && matches!(pin.disk, Selector::Serial(_)) => {
            return Err("a slot is pinned to its serial number, and another disk has the same");
        }
        Some(pin) if is_taken(pin.slot) => return Err("another disk has its slot"),
        Some(pin) => {
            let (offset, length) = slice(&pin)?;
            Place {
                slot: pin.slot,
                offset,
                length,
                read_only: pin.read_only,
            }
        }
        None => {
            let is_pinned = |slot| config.pins.iter().any(|pin| pin.value.slot == slot);
            let is_free = |slot: &u8| *slot < u8::MAX && !is_taken(*slot) && !is_pinned(*slot);
            let mut all = 0..u8::MAX;
            let slot = kept
                .filter(is_free)
                .or_else(|| all.clone().find(|slot| is_free(slot) && !away(*slot)))
                .or_else(|| all.find(is_free));
            Place {
                slot: slot.ok_or("no slot is free")?,
                offset: 0,
                length: None,
                read_only: false,
            }
        }
    };
    let (mut planned, _) = place.give(config, disk, index)?;
    match config.export.value {
        Selection::None => planned.online = false,
        selection if !selected(selection, planned.slot, disk) => {
            return Err("export= does not name it");
        }
        _ => {}
    }
    planned.by_order = kept.is_none() && !config.pins.iter().any(|pin| is(disk, pin.value.disk));
    Ok(planned)
}
