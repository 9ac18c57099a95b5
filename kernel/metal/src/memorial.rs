//! A page of memory that outlives the node: what stands in it, and who believes it.
//!
//! Memory keeps what it holds over a warm reset as far as nobody writes to it, and
//! firmware and boot loaders write where they like: SeaBIOS moves itself to 16 MiB
//! below the end of memory and stacks its data there, OVMF unpacks itself from 8 MiB
//! on and grows down from the end, a loader puts a kernel low. So there are two pages
//! with the same text, far from both ends and from each other, and the next start
//! believes the first one whose sum is right.
//!
//! Anything may have run between two starts, so a page is an outside text: unless
//! its length, its sum and every single letter are as we would have written them, it
//! is none of ours.

use core::fmt::Write;
use io::Text;
use node::EPITAPH_BYTES;
use node::state::sum_of;

/// Bytes of one page.
pub const BYTES: usize = 4096;
/// How many there are.
pub const PAGES: usize = 2;
/// Machines with less memory keep theirs in one piece.
const MEMORY_MIN: u64 = 32 << 20;

const MARK: [u8; 8] = *b"ublade\n\x01";
/// Of the length and the text.
const SUM: usize = 8;
const LENGTH: usize = 12;
const TEXT: usize = 16;
/// Seconds that the node has run, and the same with every bit turned: they change
/// every second, which must not cost a sum.
const AGE: usize = BYTES - 16;
const _: () = assert!(TEXT + EPITAPH_BYTES <= AGE);

/// Where the pages are on a machine whose memory below 4 GiB ends at `memory_end`.
/// A firmware may keep a little more or less of it at the next start, so only the
/// power of two above the end counts.
pub fn places(memory_end: u64) -> Option<[u64; PAGES]> {
    let sixteenth = memory_end.checked_next_power_of_two()? / 16;
    (memory_end >= MEMORY_MIN).then_some([3 * sixteenth, 6 * sixteenth])
}

/// Writes a text; letters that are not ours become points. Does nothing to what is
/// no page.
pub fn write(page: &mut [u8], text: &str) {
    let Some(page) = page.first_chunk_mut::<BYTES>() else {
        return;
    };
    let len = text.len().min(EPITAPH_BYTES);
    for (place, letter) in page[TEXT..TEXT + len].iter_mut().zip(text.bytes()) {
        *place = if is_ours(&letter) { letter } else { b'.' };
    }
    page[LENGTH..TEXT].copy_from_slice(&(len as u32).to_le_bytes());
    let sum = sum_of(&page[LENGTH..TEXT + len]);
    page[SUM..LENGTH].copy_from_slice(&sum.to_le_bytes());
    page[..SUM].copy_from_slice(&MARK);
}

/// Writes how long the node has run.
pub fn write_age(page: &mut [u8], seconds: u64) {
    if let Some(age) = page.get_mut(AGE..BYTES) {
        age[..8].copy_from_slice(&seconds.to_le_bytes());
        age[8..].copy_from_slice(&(!seconds).to_le_bytes());
    }
}

/// From now on the page says nothing.
pub fn erase(page: &mut [u8]) {
    page.fill(0);
}

/// What the page says, and how long the node had run, if that is whole; `None` if it is
/// no page of ours.
#[cold]
pub fn read(page: &[u8]) -> Option<Text<EPITAPH_BYTES>> {
    let page = page.first_chunk::<BYTES>()?;
    let number = |at: usize| Some(u32::from_le_bytes(*page.get(at..)?.first_chunk()?));
    let age = |at: usize| Some(u64::from_le_bytes(*page.get(at..)?.first_chunk()?));
    let len = number(LENGTH)? as usize;
    let text = page.get(TEXT..AGE)?.get(..len)?;
    let is_whole = page.starts_with(&MARK)
        && number(SUM)? == sum_of(&page[LENGTH..TEXT + len])
        && len <= EPITAPH_BYTES
        && text.iter().all(is_ours);
    let text = core::str::from_utf8(text).ok().filter(|_| is_whole)?;
    let mut text = Text::new(text);
    let seconds = age(AGE)?;
    if age(AGE + 8)? == !seconds {
        // A text cuts and never fails.
        let _ = writeln!(text, "it had run for {seconds} s");
    }
    Some(text)
}

/// What may stand in a page: nothing that steers a terminal.
fn is_ours(letter: &u8) -> bool {
    matches!(letter, b'\n' | b' '..=b'~')
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::{String, ToString};

    const MIB: u64 = 1 << 20;

    fn written(text: &str, seconds: u64) -> [u8; BYTES] {
        let mut page = [0xa5; BYTES];
        write(&mut page, text);
        write_age(&mut page, seconds);
        page
    }

    /// Sets the sum right, as somebody would who wants to be believed.
    fn sealed(mut page: [u8; BYTES]) -> [u8; BYTES] {
        let len = u32::from_le_bytes(*page[LENGTH..].first_chunk().unwrap());
        let end = (TEXT + len as usize).min(BYTES);
        let sum = sum_of(&page[LENGTH..end]);
        page[SUM..LENGTH].copy_from_slice(&sum.to_le_bytes());
        page[..SUM].copy_from_slice(&MARK);
        page
    }

    fn told(page: &[u8]) -> Option<String> {
        read(page).map(|text| text.to_string())
    }

    #[test]
    fn what_was_written_is_read_with_its_age() {
        let page = written("ublade stopped: a\n", 77);
        let words = "ublade stopped: a\nit had run for 77 s\n";
        assert_eq!(told(&page).as_deref(), Some(words));
        let cut = told(&written(&"é".repeat(EPITAPH_BYTES), 1)).unwrap();
        assert_eq!(cut, ".".repeat(EPITAPH_BYTES));
    }

    #[test]
    fn what_is_no_page_is_left_alone_and_says_nothing() {
        let mut page = written("words", 5);
        erase(&mut page);
        assert_eq!(read(&page), None);
        assert_eq!(read(&[0xff; BYTES]), None);
        let mut short = [7; BYTES - 1];
        write(&mut short, "words");
        write_age(&mut short, 1);
        assert_eq!(short, [7; BYTES - 1]);
        for len in 0..BYTES {
            assert_eq!(read(&written("words", 5)[..len]), None, "{len}");
        }
    }

    #[test]
    fn a_page_with_any_bit_turned_is_not_believed_about_what_it_said() {
        let page = written("the words\n", 1234);
        for bit in 0..BYTES * 8 {
            let mut damaged = page;
            damaged[bit / 8] ^= 1 << (bit % 8);
            match told(&damaged) {
                None => assert!(bit / 8 < TEXT + 10, "bit {bit}"),
                Some(text) if bit / 8 >= AGE => assert_eq!(text, "the words\n", "bit {bit}"),
                text => assert_eq!(text, told(&page), "bit {bit}"),
            }
        }
    }

    #[test]
    fn a_page_with_a_right_sum_shows_only_letters_and_never_more_than_there_are() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let mut believed = 0;
        for _ in 0..20_000 {
            let mut page = written("some words of a page", random());
            for _ in 0..random() % 4 {
                page[LENGTH + random() as usize % 24] = random() as u8;
            }
            if let Some(text) = told(&sealed(page)) {
                believed += 1;
                assert!(text.bytes().all(|letter| is_ours(&letter)));
            }
        }
        assert!((5_000..20_000).contains(&believed), "{believed}");
        let mut long = [b'x'; BYTES];
        for (len, holds) in [
            (EPITAPH_BYTES, true),
            (EPITAPH_BYTES + 1, false),
            (1 << 31, false),
        ] {
            long[LENGTH..TEXT].copy_from_slice(&(len as u32).to_le_bytes());
            assert_eq!(read(&sealed(long)).is_some(), holds, "{len}");
        }
    }

    #[test]
    fn the_pages_lie_in_memory_and_where_they_are_does_not_hang_on_its_last_megabyte() {
        assert_eq!(places(MEMORY_MIN - 1), None);
        assert_eq!(places(u64::MAX), None);
        for mib in 32..=4096 {
            let end = mib * MIB;
            let [first, second] = places(end).unwrap();
            assert!(
                first.is_multiple_of(BYTES as u64) && first >= 6 * MIB,
                "{mib}"
            );
            assert!(
                first + 6 * MIB <= second && second + BYTES as u64 <= end,
                "{mib}"
            );
            if !mib.is_power_of_two() {
                assert_eq!(places(end + MIB / 2), Some([first, second]), "{mib}");
            }
        }
        // SeaBIOS was seen to overwrite what lies there.
        let below_seabios = 64 * MIB - 16 * MIB - MIB;
        assert!(places(64 * MIB - (128 << 10)).unwrap()[1] < below_seabios);
    }
}
