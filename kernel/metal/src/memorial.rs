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
//! every length, the sum and every single letter are as we would have written them,
//! it is none of ours.

use core::fmt;
use io::Text;
use node::state::sum_of;

/// Bytes of one page.
pub const BYTES: usize = 4096;
/// How many there are.
pub const PAGES: usize = 2;
/// Most bytes of the last words, and of the figures.
pub const PART_BYTES: usize = 1024;
/// Machines with less memory keep theirs in one piece.
const MEMORY_MIN: u64 = 32 << 20;

const MARK: &[u8; 8] = b"ublade\n\x02";
/// Of everything from `LENGTHS` to the end of the text.
const SUM: usize = 8;
const LENGTHS: usize = 12;
const TEXT: usize = 16;
/// Seconds that the node has run, and the same with every bit turned: they change
/// every second, which must not cost a sum.
const AGE: usize = BYTES - 16;
const _: () = assert!(TEXT + 2 * PART_BYTES <= AGE);

/// A page.
pub type Page = [u8; BYTES];

/// Where the pages are on a machine whose memory below 4 GiB ends at `memory_end`.
/// A firmware may keep a little more or less of it at the next start, so only the
/// power of two above the end counts.
pub fn places(memory_end: u64) -> Option<[u64; PAGES]> {
    let sixteenth = memory_end.checked_next_power_of_two()? / 16;
    (memory_end >= MEMORY_MIN).then_some([3 * sixteenth, 6 * sixteenth])
}

/// What a node left to its next start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epitaph {
    /// Why it fell; nothing if it could not say.
    pub words: Text<PART_BYTES>,
    /// What it had done.
    pub figures: Text<PART_BYTES>,
    /// How long it had run, if that is known.
    pub seconds: Option<u64>,
}

impl fmt::Display for Epitaph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.words.as_str().trim() {
            "" => writeln!(f, "it ended without a word, so something reset it")?,
            words => writeln!(f, "{words}")?,
        }
        if let Some(seconds) = self.seconds {
            writeln!(f, "it had run for {seconds} s")?;
        }
        f.write_str(self.figures.as_str())
    }
}

/// Writes both parts into a page; letters beyond ASCII become points.
pub fn write(page: &mut Page, words: &Text<PART_BYTES>, figures: &Text<PART_BYTES>) {
    let parts = [words.as_str(), figures.as_str()];
    let letters = parts.iter().flat_map(|part| part.bytes());
    for (place, letter) in page[TEXT..].iter_mut().zip(letters) {
        *place = if is_ours(letter) { letter } else { b'.' };
    }
    let [words, figures] = parts.map(|part| part.len() as u16);
    page[LENGTHS..][..2].copy_from_slice(&words.to_le_bytes());
    page[LENGTHS + 2..][..2].copy_from_slice(&figures.to_le_bytes());
    let end = TEXT + usize::from(words) + usize::from(figures);
    let sum = sum_of(&page[LENGTHS..end]);
    page[SUM..LENGTHS].copy_from_slice(&sum.to_le_bytes());
    page[..SUM].copy_from_slice(MARK);
}

/// Writes how long the node has run.
pub fn write_age(page: &mut Page, seconds: u64) {
    page[AGE..][..8].copy_from_slice(&seconds.to_le_bytes());
    page[AGE + 8..].copy_from_slice(&(!seconds).to_le_bytes());
}

/// From now on the page says nothing.
pub fn erase(page: &mut Page) {
    page[..TEXT].fill(0);
    page[AGE..].fill(0);
}

/// What the page says, if it is one of ours.
#[cold]
pub fn read(page: &Page) -> Option<Epitaph> {
    let number = |at: usize, bytes: usize| {
        let digits = page[at..at + bytes].iter().rev();
        digits.fold(0, |number, digit| number << 8 | u64::from(*digit))
    };
    let words = number(LENGTHS, 2) as usize;
    let end = words + number(LENGTHS + 2, 2) as usize;
    let (words, figures) = page[TEXT..AGE].get(..end)?.split_at_checked(words)?;
    let is_whole = page.starts_with(MARK)
        && number(SUM, 4) == u64::from(sum_of(&page[LENGTHS..TEXT + end]))
        && words.len().max(figures.len()) <= PART_BYTES;
    let text = |part: &[u8]| {
        let is_clean = part.iter().all(|letter| is_ours(*letter));
        core::str::from_utf8(part)
            .ok()
            .filter(|_| is_clean)
            .map(Text::new)
    };
    let (seconds, turned) = (number(AGE, 8), number(AGE + 8, 8));
    is_whole.then_some(Epitaph {
        words: text(words)?,
        figures: text(figures)?,
        seconds: (seconds == !turned).then_some(seconds),
    })
}

/// What may stand in a page: nothing that steers a terminal.
const fn is_ours(letter: u8) -> bool {
    matches!(letter, b'\n' | b' '..=b'~')
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    const MIB: u64 = 1 << 20;

    fn written(words: &str, figures: &str, seconds: u64) -> Page {
        let mut page = [0xa5; BYTES];
        write(&mut page, &Text::new(words), &Text::new(figures));
        write_age(&mut page, seconds);
        page
    }

    /// Sets the sum right, as somebody would who wants to be believed.
    fn sealed(mut page: Page) -> Page {
        let lengths = &page[LENGTHS..TEXT];
        let end = lengths.chunks(2).fold(TEXT, |end, len| {
            end + usize::from(u16::from_le_bytes([len[0], len[1]]))
        });
        let sum = sum_of(&page[LENGTHS..end.min(BYTES)]);
        page[SUM..LENGTHS].copy_from_slice(&sum.to_le_bytes());
        page[..SUM].copy_from_slice(MARK);
        page
    }

    #[test]
    fn what_was_written_is_read_with_its_age() {
        let epitaph = read(&written("\nublade stopped: a\n", "1 read", 77)).unwrap();
        assert_eq!(
            epitaph.to_string(),
            "ublade stopped: a\nit had run for 77 s\n1 read"
        );
        let silent = read(&written("", "", 0)).unwrap().to_string();
        assert!(silent.contains("without a word"), "{silent}");
        let long = "é".repeat(PART_BYTES);
        let cut = read(&written(&long, &long, 1)).unwrap();
        assert_eq!(cut.words.as_str(), ".".repeat(PART_BYTES));
        assert_eq!(cut.figures.as_str(), ".".repeat(PART_BYTES));
    }

    #[test]
    fn an_erased_page_says_nothing() {
        let mut page = written("words", "figures", 5);
        erase(&mut page);
        assert_eq!(read(&page), None);
        assert_eq!(read(&[0; BYTES]), None);
        assert_eq!(read(&[0xff; BYTES]), None);
    }

    #[test]
    fn a_page_with_any_bit_turned_is_not_believed_about_what_it_said() {
        let page = written("the words", "the figures", 1234);
        for bit in 0..BYTES * 8 {
            let mut damaged = page;
            damaged[bit / 8] ^= 1 << (bit % 8);
            match read(&damaged) {
                None => assert!(bit / 8 < TEXT + 20, "bit {bit}"),
                Some(told) if bit / 8 >= AGE => assert_eq!(told.seconds, None, "bit {bit}"),
                Some(told) => assert_eq!(Some(told), read(&page), "bit {bit}"),
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
            let mut page = written("some words", "some figures", random());
            for _ in 0..random() % 4 {
                page[LENGTHS + random() as usize % 26] = random() as u8;
            }
            if let Some(told) = read(&sealed(page)) {
                believed += 1;
                assert!(told.to_string().bytes().all(is_ours));
            }
        }
        assert!((5_000..20_000).contains(&believed), "{believed}");
        let mut long = [b'x'; BYTES];
        for (words, figures, holds) in [(1024, 1024, true), (1025, 0, false), (0, 1025, false)] {
            long[LENGTHS..][..2].copy_from_slice(&u16::to_le_bytes(words));
            long[LENGTHS + 2..][..2].copy_from_slice(&u16::to_le_bytes(figures));
            assert_eq!(read(&sealed(long)).is_some(), holds, "{words} {figures}");
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
        // Where SeaBIOS was seen to overwrite one: 16 MiB below the end.
        let [first, second] = places(64 * MIB - (128 << 10)).unwrap();
        assert!(second < 40 * MIB && first < second);
    }
}
