//! Which memory is free, and who gets which part of it.
//!
//! Firmware lists are not trusted to be sorted, disjoint or aligned. Where two
//! entries contradict each other the one that says "not yours" wins: all usable
//! ranges go in first, then everything else is cut out.
//!
//! Memory is given out during start-up only and never comes back, so a list of
//! what is left is all there is to keep.

/// Most ranges that are kept. Firmware maps have ten to thirty entries; what is
/// beyond is memory not used.
pub const RANGES_MAX: usize = 64;
/// What every range is cut to.
pub const PAGE: u64 = 4096;

/// Addresses from `start` up to, not with, `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// The first address.
    pub start: u64,
    /// The first address behind it.
    pub end: u64,
}

impl Range {
    /// `bytes` bytes from `start` on, cut at the end of addresses.
    pub const fn of(start: u64, bytes: u64) -> Self {
        Self {
            start,
            end: start.saturating_add(bytes),
        }
    }

    /// How many bytes it holds.
    pub const fn bytes(self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

/// Which end of memory to take from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The lowest place that is large enough.
    Bottom,
    /// The highest place that is large enough.
    Top,
}

/// The free memory: disjoint ranges of whole pages in order of address.
#[derive(Clone, Debug)]
pub struct Map {
    ranges: [Range; RANGES_MAX],
    len: usize,
    total: u64,
}

impl Default for Map {
    fn default() -> Self {
        Self::new()
    }
}

impl Map {
    /// No memory.
    pub const fn new() -> Self {
        Self {
            ranges: [Range { start: 0, end: 0 }; RANGES_MAX],
            len: 0,
            total: 0,
        }
    }

    /// Adds what can be used. All of it, before the first [`Map::cut`].
    pub fn add(&mut self, range: Range) {
        self.total = self.total.saturating_add(range.bytes());
        let Some(start) = range.start.checked_next_multiple_of(PAGE) else {
            return;
        };
        let mut new = Range {
            start,
            end: range.end / PAGE * PAGE,
        };
        if new.end <= new.start {
            return;
        }
        // Everything that touches the new range becomes part of it.
        let mut kept = 0;
        for index in 0..self.len {
            let old = self.ranges[index];
            if old.end < new.start || new.end < old.start {
                self.ranges[kept] = old;
                kept += 1;
            } else {
                new.start = new.start.min(old.start);
                new.end = new.end.max(old.end);
            }
        }
        self.len = kept;
        self.insert(new);
    }

    /// Takes away what is not ours, and every page that it touches.
    pub fn cut(&mut self, range: Range) {
        if range.end <= range.start {
            return;
        }
        let start = range.start / PAGE * PAGE;
        let end = range.end.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
        let mut index = 0;
        while index < self.len {
            let old = self.ranges[index];
            if old.end <= start || end <= old.start {
                index += 1;
                continue;
            }
            self.remove(index);
            // Only a cut inside one range makes the list longer, and then no
            // other range meets it: a range lost to a full list hides none.
            if old.start < start {
                self.insert(Range {
                    start: old.start,
                    end: start,
                });
                index += 1;
            }
            if end < old.end {
                self.insert(Range {
                    start: end,
                    end: old.end,
                });
                index += 1;
            }
        }
    }

    /// Gives out `bytes`, aligned to `align` (a power of two), below `limit`.
    /// Pages are given out whole.
    pub fn take(&mut self, bytes: u64, align: u64, limit: u64, from: From) -> Option<Range> {
        let align = align.max(PAGE);
        let bytes = bytes.max(1).checked_next_multiple_of(PAGE)?;
        let place = |range: &Range| {
            let end = range.end.min(limit / PAGE * PAGE);
            let start = match from {
                From::Bottom => range.start.checked_next_multiple_of(align)?,
                From::Top => end.checked_sub(bytes)? & !(align - 1),
            };
            let fits = start >= range.start && start.checked_add(bytes)? <= end;
            fits.then(|| Range::of(start, bytes))
        };
        let mut ranges = self.ranges[..self.len].iter();
        let taken = match from {
            From::Bottom => ranges.find_map(place),
            From::Top => ranges.rev().find_map(place),
        }?;
        self.cut(taken);
        Some(taken)
    }

    /// Gives out exactly this range, if all of it is free.
    pub fn take_at(&mut self, range: Range) -> bool {
        let has = |free: &Range| free.start <= range.start && range.end <= free.end;
        let is_free = self.ranges().iter().any(has);
        if is_free {
            self.cut(range);
        }
        is_free
    }

    /// Gives out `bytes` below `limit`, or as many as lie in one piece.
    pub fn take_most(&mut self, bytes: u64, limit: u64) -> Option<Range> {
        let piece = |range: &Range| range.end.min(limit).saturating_sub(range.start);
        let largest = self.ranges().iter().map(piece).max()?;
        self.take(bytes.min(largest), PAGE, limit, From::Bottom)
            .filter(|_| largest > 0)
    }

    /// What is free, in order of address.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges[..self.len]
    }

    /// Bytes that are free.
    pub fn free(&self) -> u64 {
        self.ranges().iter().map(|range| range.bytes()).sum()
    }

    /// Bytes that were ever added: the machine's memory, for a person to read.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The first address behind all memory below 4 GiB. Called before anything
    /// is cut out, it tells memory from device addresses.
    pub fn low_end(&self) -> u64 {
        const LOW: u64 = 1 << 32;
        self.ranges()
            .iter()
            .filter(|range| range.start < LOW)
            .map(|range| range.end.min(LOW))
            .max()
            .unwrap_or(0)
    }

    fn insert(&mut self, range: Range) {
        if self.len == RANGES_MAX {
            // The smallest is the least loss, and it may be the new one.
            let (smallest, least) = self
                .ranges
                .iter()
                .enumerate()
                .min_by_key(|(_, range)| range.bytes())
                .map(|(index, range)| (index, range.bytes()))
                .expect("the list is full, so it has a member");
            if least >= range.bytes() {
                return;
            }
            self.remove(smallest);
        }
        let at = self.ranges[..self.len].partition_point(|other| other.start < range.start);
        self.ranges.copy_within(at..self.len, at + 1);
        self.ranges[at] = range;
        self.len += 1;
    }

    fn remove(&mut self, index: usize) {
        self.ranges.copy_within(index + 1..self.len, index);
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    const NO_LIMIT: u64 = u64::MAX;

    fn map(usable: &[(u64, u64)]) -> Map {
        let mut map = Map::new();
        for &(start, end) in usable {
            map.add(Range { start, end });
        }
        map
    }

    fn pairs(map: &Map) -> Vec<(u64, u64)> {
        map.ranges().iter().map(|r| (r.start, r.end)).collect()
    }

    #[test]
    fn usable_ranges_in_any_order_become_one_where_they_touch() {
        let map = map(&[
            (8 * MIB, 9 * MIB),
            (MIB, 2 * MIB),
            (4 * MIB, 6 * MIB),
            (2 * MIB, 4 * MIB),
            (5 * MIB, 7 * MIB),
        ]);
        assert_eq!(pairs(&map), [(MIB, 7 * MIB), (8 * MIB, 9 * MIB)]);
    }

    #[test]
    fn a_usable_range_shrinks_to_whole_pages_and_a_cut_grows_to_them() {
        let mut map = map(&[(1, 10 * PAGE + 5)]);
        assert_eq!(pairs(&map), [(PAGE, 10 * PAGE)]);
        map.cut(Range {
            start: 3 * PAGE + 7,
            end: 4 * PAGE + 1,
        });
        assert_eq!(pairs(&map), [(PAGE, 3 * PAGE), (5 * PAGE, 10 * PAGE)]);
    }

    #[test]
    fn what_is_cut_out_wins_over_every_usable_range_it_meets() {
        let mut map = map(&[(MIB, 2 * MIB), (3 * MIB, 4 * MIB), (5 * MIB, 6 * MIB)]);
        map.cut(Range {
            start: MIB + MIB / 2,
            end: 5 * MIB + MIB / 2,
        });
        assert_eq!(
            pairs(&map),
            [(MIB, MIB + MIB / 2), (5 * MIB + MIB / 2, 6 * MIB)]
        );
        map.cut(Range {
            start: 0,
            end: u64::MAX,
        });
        assert!(map.ranges().is_empty());
    }

    #[test]
    fn ranges_without_a_whole_page_and_backward_ranges_are_nothing() {
        let mut map = map(&[(100, 200), (9 * PAGE, PAGE), (u64::MAX - 5, u64::MAX)]);
        assert!(map.ranges().is_empty());
        map.add(Range::of(PAGE, PAGE));
        map.cut(Range {
            start: 2 * PAGE,
            end: PAGE,
        });
        assert_eq!(map.free(), PAGE);
    }

    #[test]
    fn taken_memory_is_aligned_below_the_limit_and_gone() {
        let mut map = map(&[(MIB + PAGE, 8 * MIB), (1 << 32, (1 << 32) + 8 * MIB)]);
        let free = map.free();
        let low = map.take(100, 64, 1 << 32, From::Bottom).unwrap();
        assert_eq!(low, Range::of(MIB + PAGE, PAGE));
        let aligned = map.take(MIB, 2 * MIB, 1 << 32, From::Bottom).unwrap();
        assert_eq!(aligned, Range::of(2 * MIB, MIB));
        let high = map.take(MIB, PAGE, NO_LIMIT, From::Top).unwrap();
        assert_eq!(high, Range::of((1 << 32) + 7 * MIB, MIB));
        let top_low = map.take(64 * KIB, PAGE, 1 << 32, From::Top).unwrap();
        assert_eq!(top_low.end, 8 * MIB);
        assert_eq!(map.free(), free - PAGE - 2 * MIB - 64 * KIB);
    }

    #[test]
    fn memory_that_is_not_there_is_not_given_out() {
        let mut map = map(&[(MIB, 2 * MIB)]);
        assert_eq!(map.take(MIB + 1, PAGE, NO_LIMIT, From::Bottom), None);
        assert_eq!(map.take(PAGE, 4 * MIB, NO_LIMIT, From::Bottom), None);
        assert_eq!(map.take(PAGE, 4 * MIB, NO_LIMIT, From::Top), None);
        assert_eq!(map.take(PAGE, PAGE, MIB, From::Top), None);
        assert_eq!(map.take(u64::MAX, PAGE, NO_LIMIT, From::Top), None);
        assert!(map.take(MIB, PAGE, NO_LIMIT, From::Top).is_some());
        assert_eq!(map.take(1, 1, NO_LIMIT, From::Bottom), None);
    }

    #[test]
    fn the_most_of_what_is_wanted_is_the_largest_piece_below_the_limit() {
        let mut map = map(&[(MIB, 2 * MIB), (3 * MIB, 6 * MIB), (8 * MIB, 99 * MIB)]);
        let most = map.take_most(50 * MIB, 8 * MIB).unwrap();
        assert_eq!(most, Range::of(3 * MIB, 3 * MIB));
        let all = map.take_most(PAGE, 8 * MIB).unwrap();
        assert_eq!(all, Range::of(MIB, PAGE));
        assert_eq!(map.take_most(PAGE, MIB), None);
        assert_eq!(Map::new().take_most(PAGE, NO_LIMIT), None);
    }

    #[test]
    fn more_ranges_than_there_is_room_for_lose_the_smallest() {
        let mut map = Map::new();
        for index in 0..RANGES_MAX as u64 {
            map.add(Range::of((index + 1) * MIB, 2 * PAGE));
        }
        map.add(Range::of(200 * MIB, PAGE));
        assert_eq!(map.ranges().len(), RANGES_MAX);
        map.add(Range::of(300 * MIB, MIB));
        assert_eq!(map.ranges().last(), Some(&Range::of(300 * MIB, MIB)));
        assert_eq!(map.ranges().len(), RANGES_MAX);
    }

    /// Against a page-by-page truth: 2,000 random histories of 64 pages.
    #[test]
    fn every_page_is_free_exactly_if_it_was_added_and_not_cut_or_taken() {
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        for _ in 0..2000 {
            let mut map = Map::new();
            let mut truth = [false; 64];
            for _ in 0..random(8) {
                let (start, pages) = (random(60), random(20));
                map.add(Range::of(start * PAGE, pages * PAGE));
                for page in start..(start + pages).min(64) {
                    truth[page as usize] = true;
                }
            }
            map.cut(Range::of(64 * PAGE, 1000 * PAGE));
            for _ in 0..random(6) {
                let (start, pages) = (random(60), random(6));
                map.cut(Range::of(start * PAGE, pages * PAGE));
                for page in start..(start + pages).min(64) {
                    truth[page as usize] = false;
                }
            }
            for _ in 0..random(6) {
                let from = [From::Bottom, From::Top][random(2) as usize];
                let (pages, align) = (1 + random(4), PAGE << random(3));
                if let Some(taken) = map.take(pages * PAGE, align, NO_LIMIT, from) {
                    assert_eq!(taken.start % align, 0);
                    for page in taken.start / PAGE..taken.end / PAGE {
                        assert!(truth[page as usize], "given out twice");
                        truth[page as usize] = false;
                    }
                }
            }
            for (page, &free) in truth.iter().enumerate() {
                let at = page as u64 * PAGE;
                let listed = map.ranges().iter().any(|r| r.start <= at && at < r.end);
                assert_eq!(listed, free);
            }
            for pair in map.ranges().windows(2) {
                assert!(pair[0].end <= pair[1].start);
            }
        }
    }

    #[test]
    fn a_range_is_given_out_where_it_is_wanted_or_not_at_all() {
        let mut map = Map::new();
        map.add(Range {
            start: 0x10_0000,
            end: 0x20_0000,
        });
        let page = Range::of(0x18_0000, 4096);
        assert!(map.take_at(page));
        assert!(!map.take_at(page), "it is given out once");
        assert_eq!(map.free(), 0x10_0000 - 4096);
        for outside in [0xf_f000, 0x20_0000, 0x1f_f001] {
            assert!(!map.take_at(Range::of(outside, 4096)), "{outside:#x}");
        }
        assert_eq!(map.free(), 0x10_0000 - 4096);
    }
}
