//! The processors that can be started (MADT; ACPI 6.5, 5.2.12).

use super::fields::number;

/// Most processors that are kept. More than a storage node has use for.
pub const PROCESSORS_MAX: usize = 64;

/// Start of the entries.
const ENTRIES: usize = 44;
/// Entry: a processor with a local interrupt controller.
const LOCAL: u8 = 0;
/// Entry: the same, with a number above 255.
const LOCAL_X2: u8 = 9;
/// Flag of an entry: can be used. One that is only "online capable" is not there
/// yet.
const ENABLED: u64 = 1;

/// Numbers of local interrupt controllers, one for each processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processors {
    ids: [u32; PROCESSORS_MAX],
    len: usize,
}

impl Processors {
    /// The numbers, in the table's order.
    pub fn ids(&self) -> &[u32] {
        &self.ids[..self.len]
    }

    /// Keeps one that was not there yet: tables may list a processor in both forms.
    fn add(&mut self, id: u32) {
        if self.len < PROCESSORS_MAX && !self.ids().contains(&id) {
            self.ids[self.len] = id;
            self.len += 1;
        }
    }
}

/// The processors of a MADT.
pub fn processors(table: &[u8]) -> Processors {
    let mut found = Processors {
        ids: [0; PROCESSORS_MAX],
        len: 0,
    };
    let mut rest = table.get(ENTRIES..).unwrap_or_default();
    // Each turn takes at least two bytes away.
    while let [kind, bytes, ..] = *rest {
        let bytes = usize::from(bytes);
        let Some(entry) = rest.get(..bytes).filter(|entry| entry.len() >= 2) else {
            break;
        };
        let processor = match kind {
            LOCAL => number(entry, 3, 1).zip(number(entry, 4, 4)),
            LOCAL_X2 => number(entry, 4, 4).zip(number(entry, 8, 4)),
            _ => None,
        };
        if let Some((id, flags)) = processor
            && flags & ENABLED != 0
        {
            found.add(id as u32);
        }
        rest = &rest[bytes..];
    }
    found
}
