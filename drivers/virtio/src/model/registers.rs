//! The registers as the driver reads and writes them, and in which order it may.

use super::*;

impl Transport for Registers {
    fn device(&self) -> DeviceId {
        self.0.borrow().profile.device
    }

    fn legacy(&self) -> bool {
        self.0.borrow().profile.legacy
    }

    fn interrupts(&self) -> bool {
        self.0.borrow().profile.interrupts
    }

    fn status(&self) -> Status {
        self.0.borrow().status
    }

    fn set_status(&mut self, status: Status) {
        let mut inner = self.0.borrow_mut();
        if status.is_empty() {
            if !inner.profile.never_resets {
                inner.status = status;
                inner.accepted = 0;
                inner.queues = Default::default();
                if let Some(writeback) = inner.writeback {
                    inner.profile.config[usize::from(WRITEBACK)] = writeback;
                }
            }
            return;
        }
        assert!(
            status.contains(inner.status),
            "status bits are not taken back"
        );
        let mut status = status;
        if inner.profile.refuses_features {
            status -= Status::FEATURES_OK;
        }
        if status.contains(Status::DRIVER_OK) {
            assert!(
                inner.profile.legacy || status.contains(Status::FEATURES_OK),
                "features before running"
            );
            assert!(inner.queues[0].place.is_some(), "queues before running");
        }
        inner.status = status;
    }

    fn features(&mut self) -> u64 {
        let inner = self.0.borrow();
        assert!(inner.status.contains(Status::DRIVER), "noticed first");
        inner.profile.features
    }

    fn accept(&mut self, features: u64) {
        let mut inner = self.0.borrow_mut();
        assert_eq!(features & !inner.profile.features, 0, "was not offered");
        assert!(
            !inner.status.contains(Status::FEATURES_OK),
            "negotiation is over"
        );
        inner.accepted = features;
    }

    fn queue_max(&mut self, queue: u16) -> u16 {
        let inner = self.0.borrow();
        let queues = match inner.profile.device {
            DeviceId::NET => 2,
            DeviceId::SCSI => 3,
            _ => 1,
        };
        if queue < queues {
            inner.profile.queue_max
        } else {
            0
        }
    }

    fn set_queue(&mut self, queue: u16, place: &QueuePlace) -> Result<(), Error> {
        let mut inner = self.0.borrow_mut();
        assert!(
            inner.profile.legacy || inner.status.contains(Status::FEATURES_OK),
            "features before queues"
        );
        assert!(!inner.status.contains(Status::DRIVER_OK), "too late");
        assert!(place.size.is_power_of_two() && place.size <= inner.profile.queue_max);
        assert_eq!(place.descriptors % 16, 0);
        assert_eq!(place.available % 2, 0);
        assert_eq!(place.used % 4, 0);
        if inner.profile.legacy {
            // virtio 1.2, 2.7.2: one region, the used ring on the next page.
            let size = u64::from(place.size);
            assert_eq!(place.descriptors % 4096, 0);
            assert_eq!(place.available, place.descriptors + size * 16);
            let available_end = place.available + 2 * (3 + size);
            assert_eq!(place.used, available_end.next_multiple_of(4096));
        }
        inner.queues[usize::from(queue)].place = Some(*place);
        Ok(())
    }

    fn notify(&mut self, queue: u16) {
        let mut inner = self.0.borrow_mut();
        assert!(
            inner.status.contains(Status::DRIVER_OK),
            "rung before it runs"
        );
        inner.doorbells += 1;
        if inner.is_deaf {
            return;
        }
        inner.queues[usize::from(queue)].awake = true;
        if inner.profile.device == DeviceId::BLOCK {
            inner.answer_identity();
        }
    }

    fn quiet(&mut self) {
        self.0.borrow_mut().quieted += 1;
    }

    fn generation(&self) -> u32 {
        let inner = self.0.borrow();
        if inner.profile.legacy {
            0
        } else {
            inner.generation
        }
    }

    fn config_u8(&self, offset: u16) -> Option<u8> {
        let inner = self.0.borrow();
        inner.profile.config.get(usize::from(offset)).copied()
    }

    fn config_u16(&self, offset: u16) -> Option<u16> {
        assert_eq!(offset % 2, 0);
        let bytes = [offset, offset + 1].map(|offset| self.config_u8(offset));
        Some(u16::from_le_bytes([bytes[0]?, bytes[1]?]))
    }

    fn config_u32(&self, offset: u16) -> Option<u32> {
        assert_eq!(offset % 4, 0);
        let halves = [offset, offset + 2].map(|offset| self.config_u16(offset));
        Some(u32::from(halves[0]?) | u32::from(halves[1]?) << 16)
    }

    fn set_config_u8(&mut self, offset: u16, value: u8) {
        let mut inner = self.0.borrow_mut();
        // virtio 1.2, 5.2.4: the only byte of a disk that is the driver's to write, and
        // of a card none is.
        assert!(
            inner.profile.device == DeviceId::BLOCK
                && offset == WRITEBACK
                && inner.accepted & CONFIG_WCE != 0
                && inner.status.contains(Status::DRIVER_OK)
                && value <= 1,
            "byte {offset} of the configuration is not ours to write"
        );
        inner.config_writes += 1;
        if !inner.profile.keeps_writeback {
            inner.profile.config[usize::from(offset)] = value;
        }
    }
}
