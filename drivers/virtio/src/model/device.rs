//! What a test or a simulated world does with a device.

use super::*;

impl Device {
    /// Takes up to `most` chains that the driver published, if the device is
    /// awake, and says how many it has now.
    pub fn fetch(&self, queue: u16, most: usize) -> usize {
        let mut inner = self.0.borrow_mut();
        assert!(
            inner.status.contains(Status::DRIVER_OK),
            "the device does not run yet"
        );
        inner.fetch(queue, most);
        inner.queues[usize::from(queue)].in_hand.len()
    }

    /// The driver has just kicked: a device that sleeps has everything.
    ///
    /// # Panics
    /// If it does not: the kick was lost.
    pub fn check_kick(&self, queue: u16) {
        let inner = self.0.borrow();
        let index = inner.available_index(queue);
        let queue = &inner.queues[usize::from(queue)];
        assert!(
            queue.awake || queue.seen == index,
            "lost kick: the device sleeps at {} and {index} is available",
            queue.seen
        );
    }

    /// The chains that the device has.
    pub fn in_hand(&self, queue: u16) -> Vec<Chain> {
        self.0.borrow().queues[usize::from(queue)].in_hand.clone()
    }

    /// What the driver gave to read in chain `number`, in one.
    pub fn read(&self, queue: u16, number: usize) -> Vec<u8> {
        let inner = self.0.borrow();
        let mut all = Vec::new();
        for &(address, bytes, writes) in &inner.queues[usize::from(queue)].in_hand[number].pieces {
            if !writes {
                all.extend(inner.memory.read(address, bytes as usize));
            }
        }
        all
    }

    /// How many bytes chain `number` has room for.
    pub fn room(&self, queue: u16, number: usize) -> usize {
        let inner = self.0.borrow();
        let pieces = &inner.queues[usize::from(queue)].in_hand[number].pieces;
        pieces
            .iter()
            .map(|&(_, bytes, writes)| if writes { bytes as usize } else { 0 })
            .sum()
    }

    /// Writes into chain `number`, from byte `from` of its room on.
    pub fn write(&self, queue: u16, number: usize, from: usize, bytes: &[u8]) {
        let inner = self.0.borrow();
        let memory = inner.memory.clone();
        inner.queues[usize::from(queue)].in_hand[number].fill(&memory, from, bytes);
    }

    /// Returns chain `number` and says that `written` bytes were written.
    ///
    /// # Panics
    /// If its descriptors are not what they were.
    pub fn complete(&self, queue: u16, number: usize, written: u32) {
        let mut inner = self.0.borrow_mut();
        let chain = inner.queues[usize::from(queue)].in_hand.remove(number);
        for &(address, words) in &chain.fetched {
            assert_eq!(
                inner.descriptor(address),
                words,
                "a descriptor changed while the device had it"
            );
        }
        inner.put_used(queue, chain.head.into(), written);
    }

    /// Fault: returns `id`, whatever that is.
    pub fn put_used(&self, queue: u16, id: u32, written: u32) {
        self.0.borrow_mut().put_used(queue, id, written);
    }

    /// How many chains of this queue it has returned, as its ring counts.
    pub fn used_index(&self, queue: u16) -> u16 {
        self.0.borrow().queues[usize::from(queue)].used
    }

    /// Fault: says that everything up to `index` was returned.
    pub fn set_used_index(&self, queue: u16, index: u16) {
        let inner = self.0.borrow();
        let place = inner.place(queue);
        inner.memory.u16(place.used + 2).store(index, Release);
    }

    /// Fault: hears no doorbell, or does again. To whoever looks from outside that is a
    /// driver that forgets to ring.
    pub fn set_deaf(&self, is_deaf: bool) {
        self.0.borrow_mut().is_deaf = is_deaf;
    }

    /// Fault: gives up.
    pub fn need_reset(&self) {
        self.0.borrow_mut().status |= Status::NEEDS_RESET;
    }

    /// Fault: from now on, or no longer, never confirms a reset.
    pub fn set_never_resets(&self, never: bool) {
        self.0.borrow_mut().profile.never_resets = never;
    }

    /// Changes the configuration.
    pub fn set_config(&self, offset: usize, bytes: &[u8]) {
        let mut inner = self.0.borrow_mut();
        inner.profile.config[offset..offset + bytes.len()].copy_from_slice(bytes);
        inner.generation += 1;
    }

    /// Whether a write that it ends now is durable by itself: it was asked for, and its
    /// driver has a say in it.
    pub fn writes_through(&self) -> bool {
        let inner = self.0.borrow();
        inner.accepted & CONFIG_WCE != 0
            && inner.profile.config.get(usize::from(WRITEBACK)) == Some(&0)
    }

    /// How often its driver wrote into its configuration.
    pub fn config_writes(&self) -> u64 {
        self.0.borrow().config_writes
    }

    /// How often it was rung.
    pub fn doorbells(&self) -> u64 {
        self.0.borrow().doorbells
    }

    /// Whether it will interrupt when it returns the next chain of this queue.
    pub fn will_interrupt(&self, queue: u16) -> bool {
        let inner = self.0.borrow();
        inner.wants_interrupt(queue, inner.queues[usize::from(queue)].used)
    }

    /// How often it interrupted for this queue.
    pub fn interrupts(&self, queue: u16) -> u64 {
        self.0.borrow().queues[usize::from(queue)].interrupts
    }

    /// How often the driver took note of interrupts.
    pub fn quieted(&self) -> u64 {
        self.0.borrow().quieted
    }

    /// What was agreed on.
    pub fn accepted(&self) -> u64 {
        self.0.borrow().accepted
    }

    /// The device status.
    pub fn status(&self) -> Status {
        self.0.borrow().status
    }
}
