//! A list with a fixed capacity and no heap behind it.

use core::ops::{Deref, DerefMut};

/// Up to `N` values.
#[derive(Clone, Copy)]
pub struct List<T, const N: usize> {
    items: [T; N],
    len: usize,
}

impl<T: Copy, const N: usize> List<T, N> {
    /// An empty list; `filler` is never seen.
    pub const fn new(filler: T) -> Self {
        Self {
            items: [filler; N],
            len: 0,
        }
    }

    /// Adds `item` at the end; false if there is no room.
    #[must_use]
    pub fn push(&mut self, item: T) -> bool {
        let room = self.items.get_mut(self.len);
        let fits = room.is_some();
        if let Some(place) = room {
            *place = item;
            self.len += 1;
        }
        fits
    }

    /// Keeps those that `keep` says, in their order.
    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        let mut kept = 0;
        for index in 0..self.len {
            if keep(&self.items[index]) {
                self.items[kept] = self.items[index];
                kept += 1;
            }
        }
        self.len = kept;
    }
}

impl<T, const N: usize> DerefMut for List<T, N> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items[..self.len]
    }
}

impl<T, const N: usize> Deref for List<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_list_takes_nothing_more() {
        let mut list = List::<u8, 2>::new(0);
        assert!(list.is_empty());
        assert!(list.push(1) && list.push(2));
        assert!(!list.push(3));
        assert_eq!(*list, [1, 2]);
        list.retain(|item| *item != 1);
        assert_eq!(*list, [2]);
    }
}
