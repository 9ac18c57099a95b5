//! Base address registers, and the device memory behind them.
//!
//! The size of a BAR is found by writing ones to it, and while they stand there
//! the device would answer at the wrong place: its decoding is off meanwhile.
//! A BAR at address 0 was placed by nobody; it gets a place from the machine.
//!
//! [`DeviceMemory`] is the one door to a device's registers: the machine vouches
//! once that they are mapped, and every access is checked against their size.

use crate::config::{self, Command, ConfigSpace, change_command};
use crate::function::Function;
use crate::{Error, Resources};
use core::marker::PhantomData;
use core::ptr::NonNull;

/// Lower bits of a BAR: ports, not memory.
const IS_PORTS: u32 = 1 << 0;
/// Lower bits of a BAR: how wide the address is.
const WIDTH: u32 = 0b11 << 1;
/// The width of an address that continues in the next register.
const WIDTH_64: u32 = 0b10 << 1;
/// Lower bits that are no address.
const FLAGS: u32 = 0xf;

/// Memory that a device answers at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Which register, 0 to 5.
    pub index: u8,
    /// Where it is on the bus; 0 if it was placed nowhere.
    pub address: u64,
    /// How large it is, a power of two.
    pub bytes: u64,
    /// Whether the address has 64 bits.
    pub wide: bool,
}

impl Bar {
    /// The memory that register `index` names.
    #[cold]
    pub fn of(function: &Function, config: &impl ConfigSpace, index: u8) -> Result<Self, Error> {
        let none = Error::NotMemory { bar: index };
        if index >= function.bars() {
            return Err(none);
        }
        let at = function.address;
        let register = config::BARS + u16::from(index) * 4;
        let low = config.read(at, register);
        let wide = low & WIDTH == WIDTH_64;
        if low & IS_PORTS != 0 || wide && index + 1 >= function.bars() {
            return Err(none);
        }
        let high = if wide {
            config.read(at, register + 4)
        } else {
            0
        };

        let command = change_command(config, at, |command| {
            command - Command::MEMORY - Command::IO
        });
        config.write(at, register, u32::MAX);
        let low_mask = config.read(at, register);
        config.write(at, register, low);
        let high_mask = if wide {
            config.write(at, register + 4, u32::MAX);
            let mask = config.read(at, register + 4);
            config.write(at, register + 4, high);
            mask
        } else {
            u32::MAX
        };
        change_command(config, at, |_| command);

        let mask = u64::from(high_mask) << 32 | u64::from(low_mask & !FLAGS);
        // The lowest bit that can be written is the size.
        let bytes = mask & mask.wrapping_neg();
        if low_mask & !FLAGS == 0 && (!wide || high_mask == 0) {
            return Err(none);
        }
        Ok(Self {
            index,
            address: u64::from(high) << 32 | u64::from(low & !FLAGS),
            bytes,
            wide,
        })
    }

    /// This BAR at an address: its own, or one from the machine where the
    /// firmware gave it none.
    #[cold]
    pub fn placed(
        self,
        function: &Function,
        config: &impl ConfigSpace,
        resources: &mut impl Resources,
    ) -> Result<Self, Error> {
        if self.address != 0 {
            return Ok(self);
        }
        // A bridge passes on only its own window, and that is closed if the
        // firmware placed nothing behind it.
        let range = if function.address.bus == 0 {
            resources.bus_range(self.bytes)
        } else {
            None
        };
        let address = range.ok_or(Error::NotPlaced {
            bar: self.index,
            bytes: self.bytes,
        })?;
        let register = config::BARS + u16::from(self.index) * 4;
        let command = change_command(config, function.address, |command| {
            command - Command::MEMORY
        });
        config.write(function.address, register, address as u32);
        if self.wide {
            config.write(function.address, register + 4, (address >> 32) as u32);
        }
        change_command(config, function.address, |_| command);
        Ok(Self { address, ..self })
    }

    /// Maps `bytes` of this BAR, from `offset` on.
    #[cold]
    pub fn map(
        &self,
        offset: u64,
        bytes: usize,
        resources: &mut impl Resources,
    ) -> Result<DeviceMemory, Error> {
        let end = offset.checked_add(bytes as u64);
        let address = end
            .filter(|&end| end <= self.bytes)
            .and_then(|_| self.address.checked_add(offset))
            .ok_or(Error::OutsideBar { bar: self.index })?;
        resources
            .map(address, bytes)
            .ok_or(Error::NotMapped { address })
    }
}

/// A device's registers, mapped. Every access is volatile and checked.
#[derive(Debug)]
pub struct DeviceMemory {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a register is reached the same way from every core, and there is no
// other state. Two cores that use one device agree on an order above this.
unsafe impl Send for DeviceMemory {}

impl DeviceMemory {
    /// Device memory of `bytes` bytes at `base`.
    ///
    /// # Safety
    /// From now on and for ever, `base` is mapped for `bytes` bytes, for reading
    /// and writing, and it is a device's memory that no Rust reference points to.
    pub const unsafe fn new(base: NonNull<u8>, bytes: usize) -> Self {
        Self { base, bytes }
    }

    /// How large it is.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// A pointer to the `T` at `offset`, which lies inside and is aligned; `None`
    /// otherwise. It may be read and written by volatile accesses for ever.
    pub fn pointer<T>(&self, offset: usize) -> Option<NonNull<T>> {
        let end = offset.checked_add(size_of::<T>())?;
        if end > self.bytes {
            return None;
        }
        // SAFETY: `offset` is not larger than `bytes`, for which the memory is
        // mapped for ever (`new`).
        let pointer = unsafe { self.base.byte_add(offset) }.cast::<T>();
        pointer.is_aligned().then_some(pointer)
    }

    /// Reads a register.
    ///
    /// # Panics
    /// If it does not lie inside or is not aligned: offsets are ours, and a
    /// block's size is checked when it is mapped.
    pub fn read<T: Width>(&self, register: Register<T>) -> T {
        let pointer = self.pointer::<T>(register.offset).expect(OUTSIDE);
        // SAFETY: `pointer` checked the bounds and the alignment; the memory is
        // mapped for ever and is no Rust object (`new`), and every pattern of
        // bits is an integer (`Width`).
        unsafe { pointer.read_volatile() }
    }

    /// Writes a register.
    ///
    /// # Panics
    /// As [`DeviceMemory::read`].
    pub fn write<T: Width>(&self, register: Register<T>, value: T) {
        let pointer = self.pointer::<T>(register.offset).expect(OUTSIDE);
        // SAFETY: as in `read`.
        unsafe { pointer.write_volatile(value) }
    }
}

const OUTSIDE: &str = "a register lies inside of its block, aligned";

/// Where a register lies in its block, and how wide it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register<T> {
    offset: usize,
    width: PhantomData<T>,
}

impl<T: Width> Register<T> {
    /// The register `offset` bytes from the start of the block.
    ///
    /// # Panics
    /// If it is not aligned to its width; for a constant, at compile time.
    pub const fn at(offset: usize) -> Self {
        assert!(
            offset.is_multiple_of(size_of::<T>()),
            "a register is aligned to its width"
        );
        Self {
            offset,
            width: PhantomData,
        }
    }
}

/// Widths of a register that is read and written in one access. A 64-bit one is
/// two of 32 bits: not every device and bus keeps a wider access whole.
pub trait Width: Copy + sealed::Sealed {}
impl Width for u8 {}
impl Width for u16 {}
impl Width for u32 {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for u16 {}
    impl Sealed for u32 {}
}

/// Ordinary memory that plays a device's, for tests.
#[cfg(test)]
pub(crate) fn pretend(bytes: usize) -> DeviceMemory {
    extern crate std;
    let words = std::vec![0u64; bytes.div_ceil(8)].leak();
    // SAFETY: the memory was just leaked, so it stays for ever, and its only
    // reference becomes this pointer.
    unsafe { DeviceMemory::new(NonNull::from(words).cast(), bytes) }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::Address;
    use crate::fake::{Fake, FakeMachine};
    use crate::functions;

    const AT: Address = Address {
        bus: 0,
        device: 3,
        function: 0,
    };

    fn function(fake: &Fake) -> Function {
        functions(fake).last().expect("one was added")
    }

    #[test]
    fn a_wide_bar_above_4_gib_is_sized_and_left_as_it_was() {
        let fake = Fake::default();
        fake.add(AT, 0x1041_1af4);
        fake.add_bar(AT, 4, 0x4000, true);
        fake.poke_u32(AT, 0x20, 0x0000_400c);
        fake.poke_u32(AT, 0x24, 0x0000_00e0);
        fake.poke(AT, 0x04, 0x06);
        let bar = Bar::of(&function(&fake), &fake, 4).expect("it is memory");
        assert_eq!(bar.address, 0xe0_0000_4000);
        assert_eq!(bar.bytes, 0x4000);
        assert!(bar.wide);
        assert_eq!(fake.peek(AT, 0x04), 0x06, "decoding is on again");
        assert_eq!(Bar::of(&function(&fake), &fake, 4), Ok(bar), "restored");
        assert!(!fake.was_sized_while_decoding());
    }

    #[test]
    fn a_bar_larger_than_4_gib_is_sized_by_its_upper_half() {
        let fake = Fake::default();
        fake.add(AT, 0x1041_1af4);
        fake.add_bar(AT, 0, 1 << 33, true);
        let bar = Bar::of(&function(&fake), &fake, 0).expect("it is memory");
        assert_eq!(bar.bytes, 1 << 33);
    }

    #[test]
    fn ports_absent_registers_and_half_a_wide_bar_are_not_memory() {
        let fake = Fake::default();
        fake.add(AT, 0x1041_1af4);
        fake.poke_u32(AT, 0x10, 0x0000_c001);
        fake.add_bar(AT, 5, 0x1000, true);
        for index in [0, 1, 5, 6, 255] {
            let bar = Bar::of(&function(&fake), &fake, index);
            assert_eq!(bar, Err(Error::NotMemory { bar: index }));
        }
    }

    #[test]
    fn a_bar_without_an_address_gets_one_from_the_machine() {
        let fake = Fake::default();
        fake.add(AT, 0x1041_1af4);
        fake.add_bar(AT, 1, 0x1000, false);
        let mut machine = FakeMachine::default();
        let bar = Bar::of(&function(&fake), &fake, 1)
            .and_then(|bar| bar.placed(&function(&fake), &fake, &mut machine))
            .expect("there is room");
        assert_eq!(bar.address % 0x1000, 0);
        assert_ne!(bar.address, 0);
        assert_eq!(Bar::of(&function(&fake), &fake, 1), Ok(bar));
    }

    #[test]
    fn a_bar_without_an_address_behind_a_bridge_is_an_error() {
        let fake = Fake::default();
        fake.add_bridge(AT, 1, 1);
        let at = Address {
            bus: 1,
            device: 0,
            function: 0,
        };
        fake.add(at, 0x1041_1af4);
        fake.add_bar(at, 1, 0x1000, false);
        let placed = Bar::of(&function(&fake), &fake, 1)
            .and_then(|bar| bar.placed(&function(&fake), &fake, &mut FakeMachine::default()));
        let error = Error::NotPlaced {
            bar: 1,
            bytes: 0x1000,
        };
        assert_eq!(placed, Err(error));
    }

    #[test]
    fn a_part_that_ends_where_the_bar_ends_is_mapped_and_one_byte_more_is_not() {
        let bar = Bar {
            index: 2,
            address: 0x1000,
            bytes: 0x100,
            wide: false,
        };
        let mut machine = FakeMachine::default();
        assert!(bar.map(0xf0, 0x10, &mut machine).is_ok());
        assert!(bar.map(0xf0, 0x11, &mut machine).is_err());
        assert!(bar.map(u64::MAX, 2, &mut machine).is_err());
        assert_eq!(machine.mapped, [(0x10f0, 0x10)]);
    }

    #[test]
    fn a_pointer_is_given_only_inside_and_aligned() {
        let memory = FakeMachine::default().map(0, 8).expect("any amount");
        assert!(memory.pointer::<u32>(4).is_some());
        assert!(memory.pointer::<u32>(5).is_none());
        assert!(memory.pointer::<u16>(7).is_none());
        assert!(memory.pointer::<u8>(7).is_some());
        assert!(memory.pointer::<u8>(8).is_none());
        assert!(memory.pointer::<u64>(usize::MAX).is_none());
    }
}
