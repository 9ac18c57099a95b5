//! What a unit says of itself, and whether it is a disk for us.

use crate::error::Error;
use crate::pages::{Caching, Capacity, Inquiry};
use io::{DiscardLimits, Geometry, Identity, SECTOR_BYTES, Text, WriteCache};

/// A unit that is a disk.
pub(crate) struct Unit {
    pub geometry: Geometry,
    pub identity: Identity,
}

/// Whether there is a disk; an error if there is something else.
pub(crate) fn is_disk(inquiry: &Inquiry) -> Result<bool, Error> {
    const NOTHING: u8 = 0x1f;
    if !inquiry.connected || inquiry.kind == NOTHING {
        return Ok(false);
    }
    if inquiry.kind != 0 {
        return Err(Error::NotADisk { kind: inquiry.kind });
    }
    if inquiry.removable {
        return Err(Error::Removable);
    }
    Ok(true)
}

/// Whether a size is one that we can serve.
pub(crate) fn is_usable(capacity: Capacity) -> Result<Capacity, Error> {
    if capacity.block_bytes == SECTOR_BYTES as u32 {
        Ok(capacity)
    } else {
        Err(Error::BlockSize {
            bytes: capacity.block_bytes,
        })
    }
}

impl Unit {
    pub fn new(
        inquiry: Inquiry,
        serial: Text<20>,
        wwn: Text<32>,
        capacity: Capacity,
        caching: Caching,
        discard: Option<DiscardLimits>,
    ) -> Self {
        Self {
            geometry: Geometry {
                sectors: capacity.blocks,
                physical_exponent: capacity.physical_exponent,
                alignment_offset: capacity.alignment_offset(),
                read_only: caching.read_only,
                write_cache: if caching.volatile {
                    WriteCache::Volatile
                } else {
                    WriteCache::None
                },
                discard,
            },
            identity: Identity {
                serial,
                model: inquiry.model,
                firmware: inquiry.firmware,
                wwn,
            },
        }
    }
}
