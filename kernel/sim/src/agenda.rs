//! What will happen when: the queue of virtual time.
//!
//! Two things due at one moment happen in the order they were entered, so a
//! run depends on its seed and on nothing else.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A thing that will happen.
struct Entry<T> {
    at_us: u64,
    order: u64,
    what: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at_us, self.order) == (other.at_us, other.order)
    }
}
impl<T> Eq for Entry<T> {}
impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_us, self.order).cmp(&(other.at_us, other.order))
    }
}

/// The things that will happen, soonest first.
pub struct Agenda<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    entered: u64,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            entered: 0,
        }
    }
}

impl<T> Agenda<T> {
    /// Enters something that will happen at `at_us`.
    pub fn enter(&mut self, at_us: u64, what: T) {
        let order = self.entered;
        self.entered += 1;
        self.heap.push(Reverse(Entry { at_us, order, what }));
    }

    /// The next thing and its time.
    pub fn take(&mut self) -> Option<(u64, T)> {
        self.heap
            .pop()
            .map(|Reverse(entry)| (entry.at_us, entry.what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_happen_by_time_and_then_by_order_of_entry() {
        let mut agenda = Agenda::default();
        for (at, what) in [(5, 'c'), (1, 'a'), (5, 'd'), (2, 'b')] {
            agenda.enter(at, what);
        }
        let order: String = std::iter::from_fn(|| agenda.take().map(|(_, what)| what)).collect();
        assert_eq!(order, "abcd");
    }
}
