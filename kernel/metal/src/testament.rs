//! What the node leaves behind: its figures, and its last words if it comes to speak.
//!
//! The figures stand in memory all the time (`metal::memorial` says where and how),
//! so a node that is reset without a word leaves them as well. An end in order leaves
//! nothing. RAM disks come first: where one lies, there are no pages.

use crate::memory::Memory;
use core::fmt::Write;
use engine::Node;
use io::{Instant, Text};
use log::debug;
use metal::memorial::{self, PAGES};
use node::{EPITAPH_BYTES, FIGURES_BYTES};
use spin::Mutex;

/// How often figures are written, at most.
const NOTE_US: u64 = 1_000_000;
/// What is told in front of figures without words.
const NO_WORDS: &str = "it was reset without a word\n";
/// What is told instead if that was the watchdog.
const BITTEN: &str = "it hung, and the watchdog reset it\n";

type Epitaph = Text<EPITAPH_BYTES>;

struct Testament {
    /// Empty where there is none.
    pages: [&'static mut [u8]; PAGES],
    words: Epitaph,
    figures: Text<FIGURES_BYTES>,
    noted: Instant,
    /// How much had happened when figures were written last.
    seen: Option<u64>,
}

/// Never waited for: it is taken only if somebody falls who holds it.
static TESTAMENT: Mutex<Testament> = Mutex::new(Testament {
    pages: [&mut [], &mut []],
    words: Text::EMPTY,
    figures: Text::EMPTY,
    noted: Instant(0),
    seen: None,
});

impl Testament {
    #[inline(never)]
    fn seal(&mut self) {
        let text = Epitaph::format(format_args!("{}{}", self.words, self.figures));
        for page in &mut self.pages {
            memorial::write(page, text.as_str());
        }
    }
}

/// Takes the pages, which say nothing from now on, and returns what the start before
/// this one left in them; `has_bitten` says that the watchdog ended it.
#[cold]
pub fn open(memory: &mut Memory, memory_end: u64, has_bitten: bool) -> Option<Epitaph> {
    let mut testament = TESTAMENT.try_lock()?;
    let mut left = None;
    let places = memorial::places(memory_end).into_iter().flatten();
    for (page, place) in testament.pages.iter_mut().zip(places) {
        *page = memory.take_at(place, memorial::BYTES).unwrap_or_default();
        left = left.or_else(|| memorial::read(page));
        memorial::erase(page);
    }
    if testament.pages.iter().all(|page| page.is_empty()) {
        debug!("no page of memory is left over for what a node says when it falls");
    }
    if left.is_none() && !has_bitten {
        return None;
    }
    let text = left.unwrap_or_default();
    // A report begins a line; without one there are only figures.
    let words = text.as_str().strip_prefix('\n');
    let why = match words {
        _ if has_bitten => BITTEN,
        Some(_) => "",
        None => NO_WORDS,
    };
    let rest = words.unwrap_or(text.as_str());
    Some(Epitaph::format(format_args!("{why}{rest}")))
}

/// The node has ended in order: it leaves nothing.
#[cold]
pub fn close() {
    if let Some(mut testament) = TESTAMENT.try_lock() {
        testament
            .pages
            .iter_mut()
            .for_each(|page| memorial::erase(page));
    }
}

/// Writes figures, if it is time and anything has happened, and how long the node
/// has run.
#[cold]
pub fn note(node: &Node, now: Instant) {
    let Some(mut testament) = TESTAMENT.try_lock() else {
        return;
    };
    if now.since_us(testament.noted) < NOTE_US {
        return;
    }
    testament.noted = now;
    let happened = Some(node.happened());
    if testament.seen != happened {
        testament.seen = happened;
        testament.figures = Text::EMPTY;
        // As above.
        let _ = node.write_figures(&mut testament.figures);
        testament.seal();
    }
    for page in &mut testament.pages {
        memorial::write_age(page, now.0 / 1_000_000);
    }
}

/// Keeps words that are spoken last. Who falls while he writes figures has none.
pub fn speak(text: &str) {
    if let Some(mut testament) = TESTAMENT.try_lock() {
        let _ = testament.words.write_str(text);
    }
}

/// The last words are spoken.
pub fn seal() {
    if let Some(mut testament) = TESTAMENT.try_lock() {
        testament.seal();
    }
}
