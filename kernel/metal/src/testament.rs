//! What the node leaves behind: its figures, and its last words if it comes to speak.
//!
//! The figures stand in memory all the time (`metal::memorial` says where and how),
//! so a node that is reset without a word leaves them as well. An end in order leaves
//! nothing. The next start reads what is there before anything else takes memory.

use crate::memory::Memory;
use core::fmt::Write;
use engine::Node;
use hermit_sync::InterruptTicketMutex;
use io::{Instant, Text};
use metal::memorial::{self, Epitaph, PAGES, PART_BYTES, Page};

/// How often figures are written, at most.
const NOTE_US: u64 = 1_000_000;

struct Testament {
    pages: [Option<&'static mut Page>; PAGES],
    words: Text<PART_BYTES>,
    figures: Text<PART_BYTES>,
    noted: Instant,
    /// How much had happened when figures were written last.
    seen: Option<u64>,
}

static TESTAMENT: InterruptTicketMutex<Testament> = InterruptTicketMutex::new(Testament {
    pages: [const { None }; PAGES],
    words: Text::EMPTY,
    figures: Text::EMPTY,
    noted: Instant(0),
    seen: None,
});

impl Testament {
    fn pages(&mut self) -> impl Iterator<Item = &mut Page> {
        self.pages.iter_mut().flatten().map(|page| &mut **page)
    }

    fn seal(&mut self) {
        let (words, figures) = (self.words, self.figures);
        self.pages()
            .for_each(|page| memorial::write(page, &words, &figures));
    }
}

/// What the start before this one left.
#[cold]
pub fn read(memory: &Memory, memory_end: u64) -> Option<Epitaph> {
    let mut places = memorial::places(memory_end)?.into_iter();
    places.find_map(|place| {
        let page = memory.free_at(place, memorial::BYTES)?;
        memorial::read(page.first_chunk()?)
    })
}

/// Takes the pages, which say nothing yet. False if this machine has none to spare.
#[cold]
pub fn open(memory: &mut Memory, memory_end: u64) -> bool {
    let places = memorial::places(memory_end).unwrap_or_default();
    let pages = places.map(|place| {
        let page = memory.take_at(place, memorial::BYTES);
        page?.first_chunk_mut()
    });
    TESTAMENT.lock().pages = pages;
    close();
    TESTAMENT.lock().pages().next().is_some()
}

/// The node has ended in order: it leaves nothing.
#[cold]
pub fn close() {
    TESTAMENT.lock().pages().for_each(memorial::erase);
}

/// Writes figures, if it is time and anything has happened, and how long the node
/// has run.
#[cold]
pub fn note(node: &Node, now: Instant) {
    let mut testament = TESTAMENT.lock();
    if now.since_us(testament.noted) < NOTE_US {
        return;
    }
    testament.noted = now;
    let happened = Some(node.happened());
    if testament.seen != happened {
        testament.seen = happened;
        testament.figures = Text::EMPTY;
        // A text cuts and never fails.
        let _ = node.write_figures(&mut testament.figures);
        testament.seal();
    }
    let seconds = now.0 / 1_000_000;
    testament
        .pages()
        .for_each(|page| memorial::write_age(page, seconds));
}

/// Keeps words that are spoken last. Whoever fell while he wrote figures has none.
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
