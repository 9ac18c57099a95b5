//! What a disk holds for the node: settings, the state area, its partitions.
//!
//! A disk that holds any of the first two is the node's own and is never
//! exported: a host that formats it would take the node's settings with it.

use super::fat::{Entry, Trouble, Volume};
use super::{Blocks, Kind, Partitions, Unread, partitions};
use crate::state;
use core::fmt;
use io::{SECTOR_BYTES, Text};

/// The name of the file with the settings.
pub const CONF_NAME: &str = "ublade.conf";
/// Most bytes of it that are read: some hundred lines with comments.
pub const CONF_BYTES_MAX: usize = 16 << 10;

/// Type of the partition that holds the state area: data of no file system.
const STATE_KIND: Kind = Kind::Mbr(0xda);

/// What makes a disk the node's own, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Own {
    /// It has a state area: it is a node's boot disk.
    Boot,
    /// A volume has the label UBLADE.
    Ublade,
    /// A volume has the label CIDATA.
    Cidata,
}

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boot => "it is a boot disk of ublade",
            Self::Ublade => "it holds a volume labelled UBLADE",
            Self::Cidata => "it holds a volume labelled CIDATA",
        })
    }
}

/// A file with settings, found and not yet read.
#[derive(Clone, Copy, Debug)]
pub struct Conf {
    volume: Volume,
    entry: Entry,
}

impl Conf {
    /// Bytes of the file.
    pub fn bytes(&self) -> usize {
        self.entry.bytes as usize
    }

    /// Reads it, as much as there is room for; returns how much that was.
    pub fn read(&self, blocks: &mut impl Blocks, bytes: &mut [u8]) -> Result<usize, Trouble> {
        self.volume.read(blocks, &self.entry, bytes)
    }
}

/// What was found.
pub struct Survey {
    /// Why the disk is the node's own, if it is.
    pub own: Option<Own>,
    /// The settings on it.
    pub conf: Option<Conf>,
    /// First sector and number of sectors of its state area.
    pub state: Option<(u64, u64)>,
    /// Its partitions.
    pub partitions: Partitions,
}

/// Looks at a disk.
#[cold]
pub fn survey(blocks: &mut impl Blocks) -> Result<Survey, Unread> {
    let sectors = blocks.sectors();
    let mut found = Survey {
        own: None,
        conf: None,
        state: None,
        partitions: partitions(blocks)?,
    };
    // A volume without partitions has its first sector where a table would be.
    let whole = Volume::open(blocks, 0, sectors)?;
    if let Some(volume) = whole {
        found.look_at(blocks, volume)?;
        return Ok(found);
    }
    let list = found.partitions;
    for partition in list.iter() {
        let end = partition.first.checked_add(partition.sectors);
        if end.is_none_or(|end| end > sectors) {
            continue;
        }
        if let Some(volume) = Volume::open(blocks, partition.first, partition.sectors)? {
            found.look_at(blocks, volume)?;
        }
    }
    for partition in list.iter().filter(|one| one.kind == STATE_KIND) {
        if partition.sectors < state::AREA_SECTORS {
            continue;
        }
        let mut sector = [0; SECTOR_BYTES];
        blocks.read(partition.first, &mut sector)?;
        // Others use this type as well. Zeros are ours only beside our volume.
        let is_fresh = found.own == Some(Own::Ublade) && sector.iter().all(|byte| *byte == 0);
        if state::is_marked(&sector) || is_fresh {
            found.own = Some(Own::Boot);
            found.state = Some((partition.first, partition.sectors));
            break;
        }
    }
    Ok(found)
}

impl Survey {
    #[cold]
    fn look_at(&mut self, blocks: &mut impl Blocks, volume: Volume) -> Result<(), Unread> {
        let label = match volume.label(blocks) {
            Ok(label) => label,
            Err(Trouble::Unread) => return Err(Unread),
            Err(Trouble::Broken) => Text::EMPTY,
        };
        let own = if label.as_str().eq_ignore_ascii_case("UBLADE") {
            Own::Ublade
        } else if label.as_str().eq_ignore_ascii_case("CIDATA") {
            Own::Cidata
        } else {
            return Ok(());
        };
        let is_stronger = self.own.is_none_or(|before| own < before);
        let entry = match volume.find(blocks, CONF_NAME) {
            Ok(entry) => entry,
            Err(Trouble::Unread) => return Err(Unread),
            Err(Trouble::Broken) => None,
        };
        if is_stronger {
            self.own = Some(own);
        }
        if let Some(entry) = entry.filter(|_| is_stronger || self.conf.is_none()) {
            self.conf = Some(Conf { volume, entry });
        }
        Ok(())
    }
}
