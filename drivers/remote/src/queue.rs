//! A queue that one processor fills and the other empties.
//!
//! Each end counts in words of its own, so an item costs no atomic operation and no line
//! that both write. What was put in is shown once a turn, by one store; what was shown
//! is looked for once a turn, by one load, which gives what was taken out back with one
//! more. Counters wrap, so only their distances are compared.
//!
//! An end is on one processor: it is not `Sync`, and nothing here calls back into one.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::{Cell, UnsafeCell};
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU32, Ordering};

/// What crosses, and which device it is for or from.
pub(crate) trait Item: Send {
    /// The device's number.
    fn device(&self) -> u8;
}

/// What both ends know: two counters, each on lines of its own, as each is written by
/// another processor.
struct Shared {
    end: Apart<AtomicU32>,
    first: Apart<AtomicU32>,
}

/// On a pair of cache lines that nothing else is on: processors fetch two at once.
#[repr(align(128))]
pub(crate) struct Apart<T>(pub T);

/// Where an item lies.
struct Place<T>(UnsafeCell<MaybeUninit<T>>);

// SAFETY: a place is the sender's until `end` has gone past it, and the receiver's from
// there until `first` has: both are stored after the last access and loaded before the
// first one. So an item is moved from one processor to the other, and never shared.
unsafe impl<T: Send> Sync for Place<T> {}

/// The places of a queue, as many as a power of two.
struct Places<T: 'static> {
    all: &'static [Place<T>],
    /// One less than there are.
    mask: u32,
}

impl<T> Places<T> {
    /// The one that a count comes to.
    #[inline(always)]
    fn at(&self, count: u32) -> *mut T {
        // SAFETY: `mask` is one less than the number of places (`queue`), so what is left
        // of any count lies below it.
        let place = unsafe { self.all.get_unchecked((count & self.mask) as usize) };
        place.0.get().cast()
    }
}

/// The end where items are put in.
pub(crate) struct Sender<T: 'static> {
    places: Places<T>,
    shared: &'static Shared,
    /// Counts what was put in.
    end: Cell<u32>,
    /// Where there is no more room, as far as is known.
    limit: Cell<u32>,
    /// What was shown of it.
    shown: Cell<u32>,
}

/// The end where they are taken out.
pub(crate) struct Receiver<T: 'static> {
    places: Places<T>,
    shared: &'static Shared,
    /// Counts what was taken out.
    first: Cell<u32>,
    /// What may be.
    known: Cell<u32>,
}

/// A queue that has room for `items` at once, for ever.
#[cold]
pub(crate) fn queue<T: Item>(items: usize) -> (Sender<T>, Receiver<T>) {
    queue_at(items, 0)
}

/// One whose counters begin there.
fn queue_at<T: Item>(items: usize, begin: u32) -> (Sender<T>, Receiver<T>) {
    // What was taken out is given back in the next turn, and may be here again by then.
    let count = (2 * items).next_power_of_two();
    let mut places = Vec::new();
    places.resize_with(count, || Place(UnsafeCell::new(MaybeUninit::uninit())));
    let all: &'static [Place<T>] = places.leak();
    let places = || Places {
        all,
        mask: count as u32 - 1,
    };
    let shared: &'static Shared = Box::leak(Box::new(Shared {
        end: Apart(AtomicU32::new(begin)),
        first: Apart(AtomicU32::new(begin)),
    }));
    let sender = Sender {
        places: places(),
        shared,
        end: Cell::new(begin),
        limit: Cell::new(begin.wrapping_add(count as u32)),
        shown: Cell::new(begin),
    };
    let receiver = Receiver {
        places: places(),
        shared,
        first: Cell::new(begin),
        known: Cell::new(begin),
    };
    (sender, receiver)
}

impl<T: Item> Sender<T> {
    /// Puts one in. The other end finds it after [`show`](Self::show).
    ///
    /// # Panics
    /// If there are more than there can be.
    #[inline(always)]
    pub fn push(&self, item: T) {
        let end = self.end.get();
        if end == self.limit.get() {
            self.make_room(end);
        }
        // SAFETY: `end` is before `limit`, so the receiver has given the place back or
        // never had it, and is not told of it before `show`.
        unsafe { self.places.at(end).write(item) };
        self.end.set(end.wrapping_add(1));
    }

    #[cold]
    #[inline(never)]
    fn make_room(&self, end: u32) {
        // Acquire: the receiver has moved out what lay in the places before it.
        let first = self.shared.first.0.load(Ordering::Acquire);
        let limit = first.wrapping_add(self.places.all.len() as u32);
        assert!(limit != end, "a queue has room for every frame");
        self.limit.set(limit);
    }

    /// Whether something was put in that was not shown.
    #[inline(always)]
    pub fn is_waiting(&self) -> bool {
        self.shown.get() != self.end.get()
    }

    /// Shows the other end what was put in. True if there is something.
    #[inline(always)]
    pub fn show(&self) -> bool {
        let end = self.end.get();
        if end == self.shown.get() {
            return false;
        }
        self.shown.set(end);
        // Release: the items are in their places before the counter that names them.
        self.shared.end.0.store(end, Ordering::Release);
        true
    }
}

impl<T: Item> Receiver<T> {
    /// Takes the first out, if it is of this device: the queue has one order for all.
    #[inline(always)]
    pub fn pop_of(&self, device: u8) -> Option<T> {
        let first = self.first.get();
        if first == self.known.get() {
            return None;
        }
        // SAFETY: `first` is before `known`, so the item is there, and nobody changes it
        // before it is given back, which `look` does for what was taken out only.
        let item = unsafe { &*self.places.at(first) };
        if item.device() != device {
            return None;
        }
        self.pop()
    }

    /// Takes the first out.
    #[inline(always)]
    pub fn pop(&self) -> Option<T> {
        let first = self.first.get();
        if first == self.known.get() {
            return None;
        }
        self.first.set(first.wrapping_add(1));
        // SAFETY: as above; and `first` goes on, so that it is moved out once.
        Some(unsafe { self.places.at(first).read() })
    }

    /// Whether everything that was found was taken out.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.first.get() == self.known.get()
    }

    /// Looks for what was shown, and gives back what was taken out.
    #[inline(always)]
    pub fn look(&self) {
        let first = self.first.get();
        // Acquire: the items that it names are in their places.
        let end = self.shared.end.0.load(Ordering::Acquire);
        // Release: what was taken out is moved out.
        self.shared.first.0.store(first, Ordering::Release);
        self.known.set(end);
    }

    /// Shows `see` every item from the first that was not taken out to the last that was
    /// put in, until it returns true: who has both ends sees all. It has no way to take
    /// one out.
    #[cold]
    pub fn visit(&self, sender: &Sender<T>, see: &mut dyn FnMut(&T) -> bool) -> bool {
        assert!(
            core::ptr::eq(self.shared, sender.shared),
            "two ends of one queue"
        );
        let (mut next, end) = (self.first.get(), sender.end.get());
        while next != end {
            // SAFETY: it was put in and not taken out, by two ends that are both on this
            // processor (they are not `Sync`), and `see` has neither.
            let item = unsafe { &*self.places.at(next) };
            if see(item) {
                return true;
            }
            next = next.wrapping_add(1);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::thread;

    impl Item for u64 {
        fn device(&self) -> u8 {
            (*self >> 56) as u8
        }
    }

    #[test]
    fn nothing_is_taken_before_it_is_shown_and_looked_for() {
        let (sender, receiver) = queue(4);
        sender.push(7_u64);
        assert!(sender.is_waiting());
        receiver.look();
        assert!(receiver.is_empty(), "not shown");
        assert!(sender.show());
        assert_eq!(receiver.pop(), None, "not looked for");
        receiver.look();
        assert!(!receiver.is_empty() && !sender.is_waiting());
        assert_eq!(receiver.pop(), Some(7));
        receiver.look();
        assert!(receiver.is_empty() && !sender.show(), "that was all");
    }

    #[test]
    fn the_first_is_taken_for_its_device_only() {
        let (sender, receiver) = queue(4);
        let of = |device: u64, number| device << 56 | number;
        sender.push(of(1, 5));
        sender.push(of(0, 6));
        sender.show();
        receiver.look();
        assert_eq!(receiver.pop_of(0), None);
        assert_eq!(receiver.pop_of(1), Some(of(1, 5)));
        assert_eq!(receiver.pop_of(1), None);
        assert_eq!(receiver.pop_of(0), Some(of(0, 6)));
    }

    /// All that there are may be put in again before what was taken out is given back.
    #[test]
    fn there_is_room_for_all_twice_at_every_place_of_counters_that_wrap() {
        for begin in [0, 1, u32::MAX - 9, u32::MAX] {
            let (sender, receiver) = queue_at(5, begin);
            let mut next = 0_u64;
            for _ in 0..10 {
                for _ in 0..2 {
                    (0..5).for_each(|number| sender.push(next + number));
                    sender.show();
                }
                receiver.look();
                for number in next..next + 5 {
                    assert_eq!(receiver.pop(), Some(number));
                }
                for number in next..next + 5 {
                    assert_eq!(receiver.pop(), Some(number));
                }
                receiver.look();
                next += 5;
            }
        }
    }

    #[test]
    #[should_panic(expected = "room for every frame")]
    fn more_than_there_can_be_are_a_broken_invariant_and_overwrite_nothing() {
        let (sender, _receiver) = queue(4);
        (0..9_u64).for_each(|number| sender.push(number));
    }

    #[test]
    fn who_has_both_ends_sees_what_was_put_in_and_not_taken_out() {
        let (sender, receiver) = queue(4);
        (0..4_u64).for_each(|number| sender.push(number));
        sender.show();
        receiver.look();
        receiver.pop();
        sender.push(4);
        let sees = |wanted| receiver.visit(&sender, &mut |item| *item == wanted);
        assert_eq!([0, 1, 3, 4, 5].map(sees), [false, true, true, true, false]);
        let mut seen = 0;
        receiver.visit(&sender, &mut |_| {
            seen += 1;
            false
        });
        assert_eq!(seen, 4);
    }

    /// A window of sixteen, refilled as it comes back: every place is used again and
    /// again, by both, at any distance from each other.
    #[test]
    fn what_two_processors_pass_round_arrives_whole_and_in_order() {
        const ITEMS: u64 = 1_000_000;
        const WINDOW: u64 = 16;
        let (sender, receiver) = queue::<Whole>(WINDOW as usize);
        let (back, returned) = queue::<Whole>(WINDOW as usize);
        let echo = thread::spawn(move || {
            let mut seen = 0;
            while seen < ITEMS {
                receiver.look();
                if receiver.is_empty() {
                    thread::yield_now();
                }
                while let Some(item) = receiver.pop() {
                    assert_eq!(item.0, [seen; 4], "in order, and not torn");
                    seen += 1;
                    back.push(item);
                }
                back.show();
            }
        });
        let (mut sent, mut came_back) = (0, 0);
        while came_back < ITEMS {
            while sent < ITEMS && sent - came_back < WINDOW {
                sender.push(Whole([sent; 4]));
                sent += 1;
            }
            sender.show();
            returned.look();
            if returned.is_empty() {
                thread::yield_now();
            }
            while let Some(item) = returned.pop() {
                assert_eq!(item.0, [came_back; 4]);
                came_back += 1;
            }
        }
        echo.join().unwrap();
    }

    struct Whole([u64; 4]);

    impl Item for Whole {
        fn device(&self) -> u8 {
            0
        }
    }
}
