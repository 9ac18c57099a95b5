//! A list that an index goes round: as long as a power of two, so that every index has
//! its place and none needs to be compared.

use alloc::boxed::Box;
use core::ptr::NonNull;

/// See the module's header. It lasts for ever, as rings do.
pub(super) struct Circle<T: 'static> {
    first: NonNull<T>,
    /// One less than there are places.
    mask: u16,
}

// SAFETY: it is the only handle to its places (made of a `&'static mut`), as a box is.
unsafe impl<T: Send> Send for Circle<T> {}

impl<T> Circle<T> {
    /// Of places that nobody else has.
    ///
    /// # Panics
    /// If they are not as many as a power of two, or more than an index can name.
    pub fn new(places: &'static mut [T]) -> Self {
        let count = places.len();
        assert!(
            count.is_power_of_two() && count <= 1 << 15,
            "an index goes round {count} places"
        );
        Self {
            mask: (count - 1) as u16,
            first: NonNull::from(places).cast(),
        }
    }

    /// Of what `each` gives for the numbers below `count`.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn fill(count: u16, each: impl FnMut(u16) -> T) -> Self {
        let places: Box<[T]> = (0..count).map(each).collect();
        Self::new(Box::leak(places))
    }

    /// Whether `index` names a place without going round.
    #[inline(always)]
    pub fn has(&self, index: u32) -> bool {
        index <= u32::from(self.mask)
    }

    /// Where the place is that `index` comes to.
    #[inline(always)]
    fn place(&self, index: u16) -> NonNull<T> {
        // SAFETY: `mask` is one less than the number of places (`new`), so what is left
        // of any index lies below it.
        unsafe { self.first.add(usize::from(index & self.mask)) }
    }

    /// The place that `index` comes to.
    #[inline(always)]
    pub fn at(&self, index: u16) -> &T {
        // SAFETY: it is one of the places, which are borrowed with `self`, their owner.
        unsafe { self.place(index).as_ref() }
    }

    /// The place that `index` comes to, to change.
    #[inline(always)]
    pub fn at_mut(&mut self, index: u16) -> &mut T {
        // SAFETY: as in `at`, and borrowed exclusively.
        unsafe { self.place(index).as_mut() }
    }

    /// All places in order.
    pub fn all(&self) -> &[T] {
        // SAFETY: `first` is that of so many (`new`), and borrowed with `self`.
        unsafe { core::slice::from_raw_parts(self.first.as_ptr(), usize::from(self.mask) + 1) }
    }
}

#[cfg(test)]
impl<T: super::Word> Circle<T> {
    /// All places, for the other side of a ring.
    pub fn shared(&self) -> &'static [T] {
        // SAFETY: they last for ever, and nobody takes a word of a ring exclusively.
        unsafe { &*core::ptr::from_ref(self.all()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_has_its_place() {
        for count in [1_u16, 2, 16, 1 << 15] {
            let mut circle = Circle::fill(count, |index| index);
            for index in [0, 1, 2, 3, 15, 16, 17, 0x7fff, 0x8000, 0xffff] {
                assert_eq!(*circle.at(index), index % count);
                assert_eq!(*circle.at_mut(index), index % count);
                assert_eq!(circle.has(index.into()), index < count);
            }
            assert!(!circle.has(0x1_0000));
            assert_eq!(circle.all().len(), usize::from(count));
        }
    }

    #[test]
    #[should_panic(expected = "an index goes round 3 places")]
    fn what_is_no_power_of_two_is_a_broken_invariant() {
        Circle::fill(3, |index| index);
    }

    #[test]
    #[should_panic(expected = "an index goes round 0 places")]
    fn nothing_at_all_is_a_broken_invariant() {
        Circle::fill(0, |index| index);
    }
}
