//! virtio 1.x over PCI (virtio 1.2, 4.1): our own transport.
//!
//! That of `virtio-drivers` reaches the same registers, but a kick is three
//! register accesses there, and it gives no queue a message interrupt. A node
//! that sleeps needs the second and should not pay for the first: here a
//! doorbell is one write to an address found once.
//!
//! Only the modern interface. A device that was told to offer only the one
//! before 1.0 is refused with a sentence.

use super::{DeviceId, QueuePlace, Status, Transport};
use crate::Error;
use ::pci::{
    Bar, Capability, CapabilityId, ConfigSpace, DeviceMemory, Function, Ids, Known, MsiX, Register,
    Resources,
};

/// Who makes virtio devices.
const VENDOR: u16 = 0x1af4;
/// Device 0 of those that are modern only.
const MODERN_FIRST: u16 = 0x1040;

/// Bytes of a virtio capability we read (virtio 1.2, 4.1.4): its kind, its BAR,
/// offset and length there, and behind them what only the doorbells have.
const CAPABILITY_KIND: u16 = 0;
const CAPABILITY_BAR: u16 = 4;
const CAPABILITY_OFFSET: u16 = 8;
const CAPABILITY_LENGTH: u16 = 12;
const CAPABILITY_STRIDE: u16 = 16;

/// Kinds of virtio capabilities. Others exist.
const COMMON: u8 = 1;
const NOTIFY: u8 = 2;
const DEVICE: u8 = 4;

/// The common configuration (virtio 1.2, 4.1.4.3). Only what we use has a name;
/// a 64-bit field is written as two halves.
mod common {
    use ::pci::Register;

    pub const DEVICE_FEATURE_SELECT: Register<u32> = Register::at(0x00);
    pub const DEVICE_FEATURE: Register<u32> = Register::at(0x04);
    pub const DRIVER_FEATURE_SELECT: Register<u32> = Register::at(0x08);
    pub const DRIVER_FEATURE: Register<u32> = Register::at(0x0c);
    pub const CONFIG_VECTOR: Register<u16> = Register::at(0x10);
    pub const STATUS: Register<u8> = Register::at(0x14);
    pub const GENERATION: Register<u8> = Register::at(0x15);
    pub const QUEUE_SELECT: Register<u16> = Register::at(0x16);
    pub const QUEUE_SIZE: Register<u16> = Register::at(0x18);
    pub const QUEUE_VECTOR: Register<u16> = Register::at(0x1a);
    pub const QUEUE_ENABLE: Register<u16> = Register::at(0x1c);
    pub const QUEUE_NOTIFY: Register<u16> = Register::at(0x1e);
    pub const QUEUE_DESCRIPTORS: [Register<u32>; 2] = [Register::at(0x20), Register::at(0x24)];
    pub const QUEUE_AVAILABLE: [Register<u32>; 2] = [Register::at(0x28), Register::at(0x2c)];
    pub const QUEUE_USED: [Register<u32>; 2] = [Register::at(0x30), Register::at(0x34)];
    pub const BYTES: usize = 0x38;
}

/// The table entry that all interrupts of a device use: one node, one reason to
/// wake up.
const VECTOR: u16 = 0;
/// No table entry: no interrupt. Also the answer to a vector the device can not
/// have.
const NO_VECTOR: u16 = 0xffff;

/// Queues that a driver here uses at most.
const QUEUES_MAX: usize = 3;

/// A virtio device on PCI, over the modern interface.
pub struct PciTransport {
    device: DeviceId,
    common: DeviceMemory,
    /// The device's own configuration; empty if it has none.
    config: Option<DeviceMemory>,
    notify: DeviceMemory,
    notify_stride: u32,
    doorbells: [Option<Register<u16>>; QUEUES_MAX],
    interrupts: bool,
}

/// What this crate knows of what is on PCI.
pub const DEVICES: &[Known] = &[
    known("virtio-net", &[0x1000, 0x1041], "virtio-net-pci"),
    known("virtio-blk", &[0x1001, 0x1042], "virtio-blk-pci"),
    known("virtio-scsi", &[0x1004, 0x1048], "virtio-scsi-pci"),
];

const fn known(name: &'static str, ids: &'static [u16], qemu: &'static str) -> Known {
    Known::emulated(name, Ids::Devices(VENDOR, ids), qemu)
}

impl PciTransport {
    /// What kind of virtio device the function is; `None` if it is none.
    pub fn recognize(function: &Function) -> Option<DeviceId> {
        match (function.vendor, function.device) {
            // Those that also know the old interface have old numbers, and say
            // in the subsystem what they are (virtio 1.2, 4.1.2.3).
            (VENDOR, 0x1000..MODERN_FIRST) => Some(DeviceId(function.subsystem)),
            (VENDOR, MODERN_FIRST..0x1080) => Some(DeviceId(function.device - MODERN_FIRST)),
            _ => None,
        }
    }

    /// Takes the function: maps its registers, resets it, lets it do DMA, and
    /// interrupt by a message if the machine lends one.
    #[cold]
    pub fn new(
        function: &Function,
        config: &impl ConfigSpace,
        resources: &mut impl Resources,
    ) -> Result<Self, Error> {
        let device = Self::recognize(function).ok_or(Error::NotVirtio)?;
        ::pci::open_bridges(config, function.address);
        let mut blocks = Blocks {
            function,
            bars: [None; 6],
        };
        let common = blocks.find(COMMON, config).ok_or(Error::LegacyOnly)?;
        let notify = blocks.find(NOTIFY, config).ok_or(Error::MissingRegisters)?;
        let own = blocks.find(DEVICE, config);
        if common.bytes < common::BYTES || notify.bytes < 2 {
            return Err(Error::MissingRegisters);
        }
        let common = blocks.map(&common, config, resources)?;
        let stride = notify
            .capability
            .read(config, function.address, CAPABILITY_STRIDE);
        let notify = blocks.map(&notify, config, resources)?;
        let own = own
            .map(|block| blocks.map(&block, config, resources))
            .transpose()?;
        // The registers answer from here on; DMA is still off.
        function.decode_memory(config);
        let msix = MsiX::find(function, config, resources)?;
        let mut transport = Self {
            device,
            common,
            config: own,
            notify,
            notify_stride: stride,
            doorbells: [None; QUEUES_MAX],
            interrupts: false,
        };
        // A device that an earlier boot stage left running is reset before it
        // can write to memory again.
        super::reset(&mut transport, resources)?;
        function.enable(config);
        if let Some(msix) = msix {
            if let Some(message) = resources.message() {
                msix.set(VECTOR, message);
                transport.interrupts = true;
            }
            // Also without a message: a device with messages on uses no line.
            msix.enable(config);
        }
        Ok(transport)
    }

    fn select(&self, queue: u16) {
        self.common.write(common::QUEUE_SELECT, queue);
    }

    fn write_address(&self, halves: [Register<u32>; 2], address: u64) {
        self.common.write(halves[0], address as u32);
        self.common.write(halves[1], (address >> 32) as u32);
    }

    fn config<T: ::pci::Width>(&self, offset: u16) -> Option<T> {
        let config = self.config.as_ref()?;
        let offset = usize::from(offset);
        let end = offset + size_of::<T>();
        (end <= config.len()).then(|| config.read(Register::at(offset)))
    }
}

impl Transport for PciTransport {
    fn device(&self) -> DeviceId {
        self.device
    }

    fn legacy(&self) -> bool {
        false
    }

    fn interrupts(&self) -> bool {
        self.interrupts
    }

    fn status(&self) -> Status {
        Status::from_bits_retain(self.common.read(common::STATUS))
    }

    fn set_status(&mut self, status: Status) {
        self.common.write(common::STATUS, status.bits());
    }

    fn features(&mut self) -> u64 {
        let half = |select| {
            self.common.write(common::DEVICE_FEATURE_SELECT, select);
            u64::from(self.common.read(common::DEVICE_FEATURE))
        };
        half(0) | half(1) << 32
    }

    fn accept(&mut self, features: u64) {
        for (select, half) in [(0, features as u32), (1, (features >> 32) as u32)] {
            self.common.write(common::DRIVER_FEATURE_SELECT, select);
            self.common.write(common::DRIVER_FEATURE, half);
        }
    }

    fn queue_max(&mut self, queue: u16) -> u16 {
        self.select(queue);
        self.common.read(common::QUEUE_SIZE)
    }

    fn set_queue(&mut self, queue: u16, place: &QueuePlace) -> Result<(), Error> {
        let missing = Error::NoQueue { queue };
        let doorbell = usize::from(queue);
        if doorbell >= QUEUES_MAX {
            return Err(missing);
        }
        self.select(queue);
        let offset =
            u64::from(self.common.read(common::QUEUE_NOTIFY)) * u64::from(self.notify_stride);
        // Odd or outside: a doorbell we could not ring.
        if offset % 2 != 0 || offset + 2 > self.notify.len() as u64 {
            return Err(Error::MissingRegisters);
        }
        self.doorbells[doorbell] = Some(Register::at(offset as usize));
        self.common.write(common::QUEUE_SIZE, place.size);
        self.write_address(common::QUEUE_DESCRIPTORS, place.descriptors);
        self.write_address(common::QUEUE_AVAILABLE, place.available);
        self.write_address(common::QUEUE_USED, place.used);
        if self.interrupts {
            self.common.write(common::CONFIG_VECTOR, VECTOR);
            self.common.write(common::QUEUE_VECTOR, VECTOR);
            // The device may have no room for it (virtio 1.2, 4.1.5.1.2).
            self.interrupts = self.common.read(common::CONFIG_VECTOR) != NO_VECTOR
                && self.common.read(common::QUEUE_VECTOR) != NO_VECTOR;
        }
        self.common.write(common::QUEUE_ENABLE, 1);
        Ok(())
    }

    fn notify(&mut self, queue: u16) {
        if let Some(Some(doorbell)) = self.doorbells.get(usize::from(queue)) {
            self.notify.write(*doorbell, queue);
        }
    }

    /// A message is gone when it was sent: there is nothing to take note of.
    fn quiet(&mut self) {}

    fn generation(&self) -> u32 {
        self.common.read(common::GENERATION).into()
    }

    fn config_u8(&self, offset: u16) -> Option<u8> {
        self.config(offset)
    }

    fn config_u16(&self, offset: u16) -> Option<u16> {
        self.config(offset)
    }

    fn config_u32(&self, offset: u16) -> Option<u32> {
        self.config(offset)
    }

    fn set_config_u8(&mut self, offset: u16, value: u8) {
        let offset = usize::from(offset);
        if let Some(config) = self.config.as_ref().filter(|config| offset < config.len()) {
            config.write(Register::at(offset), value);
        }
    }
}

impl Drop for PciTransport {
    /// A device that is not driven any more does no DMA.
    fn drop(&mut self) {
        self.set_status(Status::empty());
    }
}

/// Where a block of registers lies.
struct Block {
    capability: Capability,
    bar: u8,
    offset: u64,
    bytes: usize,
}

/// The function's register blocks. A BAR is sized once, however many blocks lie
/// in it.
struct Blocks<'a> {
    function: &'a Function,
    bars: [Option<Bar>; 6],
}

impl Blocks<'_> {
    /// The first block of this kind whose BAR exists; the device lists them in
    /// its order of preference (virtio 1.2, 4.1.4.1).
    fn find(&self, kind: u8, config: &impl ConfigSpace) -> Option<Block> {
        let address = self.function.address;
        for capability in self.function.capabilities(config) {
            if capability.id != CapabilityId::VENDOR {
                continue;
            }
            let read = |at| capability.read(config, address, at);
            let bar = read(CAPABILITY_BAR) as u8;
            if (read(CAPABILITY_KIND) >> 24) as u8 != kind || bar > 5 {
                continue;
            }
            return Some(Block {
                capability,
                bar,
                offset: read(CAPABILITY_OFFSET).into(),
                bytes: read(CAPABILITY_LENGTH) as usize,
            });
        }
        None
    }

    fn map(
        &mut self,
        block: &Block,
        config: &impl ConfigSpace,
        resources: &mut impl Resources,
    ) -> Result<DeviceMemory, Error> {
        let bar = &mut self.bars[usize::from(block.bar)];
        let bar = match bar {
            Some(bar) => bar,
            None => bar.insert(Bar::of(self.function, config, block.bar)?.placed(
                self.function,
                config,
                resources,
            )?),
        };
        Ok(bar.map(block.offset, block.bytes, resources)?)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::model::Machine;
    use ::pci::{Address, Message, functions};
    use std::cell::RefCell;

    const BAR: u64 = 0xfe00_0000;
    const BAR_BYTES: u32 = 0x4000;
    const COMMON_AT: u64 = 0x0000;
    const DEVICE_AT: u64 = 0x2000;
    const NOTIFY_AT: u64 = 0x3000;
    const TABLE_AT: u64 = 0x3800;

    /// One function, as QEMU makes a virtio one: BAR 4 with all register blocks
    /// (and here the table of messages too).
    struct Config(RefCell<[u8; 256]>);

    impl Config {
        fn new(device: u16, subsystem: u16, modern: bool) -> Self {
            let config = Self(RefCell::new([0; 256]));
            config.put(0x00, u32::from(VENDOR) | u32::from(device) << 16);
            config.put(0x04, 1 << 20);
            config.put(0x2c, u32::from(VENDOR) | u32::from(subsystem) << 16);
            config.put(0x34, 0x40);
            config.put(0x20, BAR as u32 | 0xc);
            config.put(0x40, 0x0001_0011 | 0x50 << 8);
            config.put(0x44, TABLE_AT as u32 | 4);
            config.put(0x48, TABLE_AT as u32 | 0x100 | 4);
            if modern {
                // A block in a BAR that does not exist comes first.
                config.block(0x50, COMMON, 7, 0, 0x1000, 0x60);
                config.block(0x60, COMMON, 4, COMMON_AT, 0x38, 0x70);
                config.block(0x70, DEVICE, 4, DEVICE_AT, 60, 0x80);
                config.block(0x80, NOTIFY, 4, NOTIFY_AT, 0x10, 0);
                config.put(0x90, 4);
            }
            config
        }

        fn put(&self, at: usize, value: u32) {
            self.0.borrow_mut()[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }

        fn block(&self, at: usize, kind: u8, bar: u32, offset: u64, bytes: u32, next: u32) {
            self.put(at, 0x09 | next << 8 | 16 << 16 | u32::from(kind) << 24);
            self.put(at + 4, bar);
            self.put(at + 8, offset as u32);
            self.put(at + 12, bytes);
        }

        fn function(&self) -> Function {
            functions(self).next().expect("it is there")
        }

        fn command(&self) -> u8 {
            self.0.borrow()[4]
        }
    }

    impl ConfigSpace for Config {
        fn read(&self, at: Address, register: u16) -> u32 {
            if (at.bus, at.device, at.function) != (0, 3, 0) {
                return u32::MAX;
            }
            let register = usize::from(register);
            let bytes = &self.0.borrow()[register..register + 4];
            u32::from_le_bytes(bytes.try_into().expect("four"))
        }

        fn write(&self, at: Address, register: u16, value: u32) {
            assert_eq!((at.bus, at.device, at.function), (0, 3, 0));
            match register {
                0x04 => self.put(0x04, value & 0x407 | 1 << 20),
                0x20 => self.put(0x20, value & !(BAR_BYTES - 1) | 0xc),
                0x24 => self.put(0x24, value),
                0x40 => {
                    let word = self.read(at, 0x40) & 0x3fff_ffff;
                    self.put(0x40, word | value & 0xc000_0000);
                }
                other => panic!("register {other:#x} is not ours to write"),
            }
        }
    }

    fn machine() -> Machine {
        let mut machine = Machine::new(8);
        machine.put_plain(BAR, BAR_BYTES as usize);
        machine
    }

    fn registers(machine: &mut Machine, at: u64, bytes: usize) -> DeviceMemory {
        machine.map(BAR + at, bytes).expect("plain memory")
    }

    #[test]
    fn virtio_functions_are_recognized_by_both_their_numbers() {
        let kind = |device, subsystem| {
            let config = Config::new(device, subsystem, true);
            PciTransport::recognize(&config.function())
        };
        assert_eq!(kind(0x1041, 0x1100), Some(DeviceId::NET));
        assert_eq!(kind(0x1042, 0x1100), Some(DeviceId::BLOCK));
        assert_eq!(kind(0x1000, 1), Some(DeviceId::NET));
        assert_eq!(kind(0x1001, 2), Some(DeviceId::BLOCK));
        let kinds = [DeviceId::NET, DeviceId::BLOCK, DeviceId::SCSI];
        for (known, id) in DEVICES.iter().zip(kinds) {
            let Ids::Devices(VENDOR, devices) = known.ids else {
                panic!("{} is told by its maker", known.name);
            };
            for &device in devices {
                assert_eq!(kind(device, id.0), Some(id), "{}", known.name);
            }
        }
        assert_eq!(kind(0x0fff, 2), None);
        assert_eq!(kind(0x1080, 2), None);
    }

    #[test]
    fn a_queue_gets_its_addresses_its_vector_and_its_own_doorbell() {
        let config = Config::new(0x1041, 0x1100, true);
        let mut machine = machine();
        let message = Message {
            address: 0xfee0_0000,
            data: 0x40,
        };
        machine.set_message(message);
        let common = registers(&mut machine, COMMON_AT, 0x38);
        common.write(common::STATUS, 0);
        common.write(common::QUEUE_NOTIFY, 2);
        common.write(common::QUEUE_SIZE, 256);
        let mut transport =
            PciTransport::new(&config.function(), &config, &mut machine).expect("it is modern");
        assert_eq!(config.command() & 6, 6, "memory and bus master");
        assert_eq!(config.0.borrow()[0x43] & 0xc0, 0x80, "messages are on");
        let table = registers(&mut machine, TABLE_AT, 32);
        let entry: [u32; 4] = [0, 4, 8, 12].map(|at| table.read(Register::at(at)));
        assert_eq!(entry, [0xfee0_0000, 0, 0x40, 0]);
        assert_eq!(
            table.read(Register::<u32>::at(28)),
            1,
            "the other is masked"
        );
        assert_eq!(transport.queue_max(1), 256);
        let place = QueuePlace {
            size: 128,
            descriptors: 0x1_0000_1000,
            available: 0x2_0000_2000,
            used: 0x3_0000_3000,
        };
        transport.set_queue(1, &place).expect("two queues");
        assert!(transport.interrupts());
        let words: [u32; 6] =
            [0x20, 0x24, 0x28, 0x2c, 0x30, 0x34].map(|at| common.read(Register::at(at)));
        assert_eq!(words, [0x1000, 1, 0x2000, 2, 0x3000, 3]);
        let halves: [u16; 4] = [0x16, 0x18, 0x1a, 0x1c].map(|at| common.read(Register::at(at)));
        assert_eq!(halves, [1, 128, VECTOR, 1]);
        transport.notify(1);
        transport.notify(0);
        let notify = registers(&mut machine, NOTIFY_AT, 16);
        let rung: [u16; 8] = core::array::from_fn(|at| notify.read(Register::at(at * 2)));
        assert_eq!(rung, [0, 0, 0, 0, 1, 0, 0, 0], "offset 2, stride 4");
        transport.set_status(Status::ACKNOWLEDGE);
        drop(transport);
        assert_eq!(common.read(common::STATUS), 0, "left in silence");
    }

    #[test]
    fn a_doorbell_outside_of_its_block_is_refused() {
        let config = Config::new(0x1041, 0x1100, true);
        let mut machine = machine();
        let common = registers(&mut machine, COMMON_AT, 0x38);
        let mut transport =
            PciTransport::new(&config.function(), &config, &mut machine).expect("it is modern");
        assert!(!transport.interrupts(), "no message was lent");
        let place = QueuePlace {
            size: 1,
            descriptors: 0x1000,
            available: 0x2000,
            used: 0x3000,
        };
        common.write(common::QUEUE_NOTIFY, 3);
        assert!(transport.set_queue(0, &place).is_ok());
        common.write(common::QUEUE_NOTIFY, 4);
        assert_eq!(transport.set_queue(0, &place), Err(Error::MissingRegisters));
        assert_eq!(
            transport.set_queue(3, &place),
            Err(Error::NoQueue { queue: 3 })
        );
    }

    #[test]
    fn configuration_is_read_as_far_as_it_reaches() {
        let config = Config::new(0x1042, 0x1100, true);
        let mut machine = machine();
        let own = registers(&mut machine, DEVICE_AT, 64);
        own.write(Register::at(56), 0x0403_0201u32);
        let mut transport =
            PciTransport::new(&config.function(), &config, &mut machine).expect("it is modern");
        assert_eq!(transport.config_u32(56), Some(0x0403_0201));
        assert_eq!(transport.config_u16(58), Some(0x0403));
        assert_eq!(transport.config_u8(59), Some(4));
        assert_eq!(transport.config_u8(60), None);
        assert_eq!(transport.config_u32(60), None);
        for offset in [57, 60] {
            transport.set_config_u8(offset, 9);
        }
        assert_eq!(own.read(Register::<u32>::at(56)), 0x0403_0901);
        assert_eq!(own.read(Register::<u32>::at(60)), 0, "it ends there");
    }

    #[test]
    fn a_device_with_the_old_interface_only_is_refused_and_does_no_dma() {
        let config = Config::new(0x1001, 2, false);
        let error = PciTransport::new(&config.function(), &config, &mut machine()).err();
        assert_eq!(error, Some(Error::LegacyOnly));
        assert_eq!(config.command() & 4, 0);
    }
}
