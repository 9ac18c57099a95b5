//! From an address on the wire to an export.

use aoe::Address;

/// No export.
const NOBODY: u8 = 255;

/// Which export has which slot.
pub struct Shelf {
    number: u16,
    /// One more than there are, so that any byte finds an entry.
    slots: [u8; 256],
}

/// Whom a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nobody here.
    Nobody,
    /// The one export with this index.
    One(u8),
    /// Every export that the address covers.
    Several,
}

impl Shelf {
    /// An empty shelf.
    pub fn new(number: u16) -> Self {
        Self {
            number,
            slots: [NOBODY; 256],
        }
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Gives `slot` to an export.
    pub fn put(&mut self, slot: u8, export: u8) {
        self.slots[usize::from(slot)] = export;
    }

    /// Takes `slot` back: nobody has it.
    pub fn clear(&mut self, slot: u8) {
        self.slots[usize::from(slot)] = NOBODY;
    }

    /// The export in `slot`, if its number is one of an export's.
    #[inline]
    pub fn at(&self, slot: u8) -> u8 {
        self.slots[usize::from(slot)]
    }

    /// Whom `address` means. Both wildcards count, independently of each other.
    #[inline]
    pub fn find(&self, address: Address) -> Found {
        let everyone = Address::EVERYONE;
        if address.shelf != self.number && address.shelf != everyone.shelf {
            Found::Nobody
        } else if address.shelf == everyone.shelf || address.slot == everyone.slot {
            Found::Several
        } else {
            match self.slots.get(usize::from(address.slot)) {
                None | Some(&NOBODY) => Found::Nobody,
                Some(&export) => Found::One(export),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_address_is_one_export_and_a_wildcard_may_be_several() {
        let mut shelf = Shelf::new(5);
        shelf.put(7, 0);
        shelf.put(254, 1);
        let find = |major, slot| shelf.find(Address { shelf: major, slot });
        assert_eq!(find(5, 7), Found::One(0));
        assert_eq!(find(5, 254), Found::One(1));
        assert_eq!(find(5, 8), Found::Nobody);
        assert_eq!(find(6, 7), Found::Nobody);
        assert_eq!(find(6, 255), Found::Nobody);
        assert_eq!(find(5, 255), Found::Several);
        assert_eq!(find(0xffff, 7), Found::Several);
        assert_eq!(find(0xffff, 255), Found::Several);
    }
}
