//! Harnesses that take any bytes, in one list.
//!
//! Each is used three ways: the tests here feed it the corpus, noise and a seeded
//! generator that knows what its input looks like; `cargo xtask fuzz` feeds it
//! what a coverage-guided fuzzer finds; and a finding is replayed by putting its
//! bytes into the corpus. A harness panics if a promise is broken, else returns.
//!
//! A new one is a module with `run` and `generate`, and a line in [`HARNESSES`].
//! The corpus is `corpus/NAME.txt`: one input a line, in hexadecimal.

#![forbid(unsafe_code)]

mod acpi;
mod area;
mod config;
mod console;
mod frame;
mod http;
mod lan;
mod net;
mod ring;
mod sparse;
mod table;
mod volume;

use sim::random::Random;

/// One harness.
pub struct Harness {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Any bytes in, a panic if a promise is broken.
    pub run: fn(&[u8]),
    /// Appends an input that is nearly right.
    pub generate: fn(&mut Random, &mut Vec<u8>),
    /// Inputs a process may run: what a simulated machine lends to a device is
    /// lent for ever.
    pub runs_max: u64,
    /// Inputs of the generator that a test can wait for.
    pub tried: u64,
}

const ENDLESS: u64 = u64::MAX;
const MANY: u64 = 2_000;
/// Each starts whole nodes.
const SOME: u64 = 60;

/// Every harness.
pub const HARNESSES: &[Harness] = &[
    harness("frame", frame::run, frame::generate, ENDLESS, MANY),
    harness("tag", frame::run_tag, frame::generate_tag, ENDLESS, MANY),
    harness("config", config::run, config::generate, ENDLESS, MANY),
    harness("ring", ring::run, ring::generate, 50_000, MANY),
    harness("acpi", acpi::run, acpi::generate, ENDLESS, MANY),
    harness("table", table::run, table::generate, ENDLESS, MANY),
    harness("volume", volume::run, volume::generate, ENDLESS, MANY),
    harness("area", area::run, area::generate, ENDLESS, MANY),
    harness("net", net::run, net::generate, 300_000, SOME),
    harness("console", console::run, console::generate, ENDLESS, SOME),
    harness("http", http::run, http::generate, ENDLESS, SOME),
];

const fn harness(
    name: &'static str,
    run: fn(&[u8]),
    generate: fn(&mut Random, &mut Vec<u8>),
    runs_max: u64,
    tried: u64,
) -> Harness {
    Harness {
        name,
        run,
        generate,
        runs_max,
        tried,
    }
}

/// The harness of this name.
pub fn named(name: &str) -> Option<&'static Harness> {
    HARNESSES.iter().find(|harness| harness.name == name)
}

impl Harness {
    /// Runs it on `count` inputs of the generator.
    pub fn run_seeded(&self, seed: u64, count: u64) {
        let mut random = Random::new(seed ^ 0xf022);
        let mut input = Vec::new();
        for _ in 0..count {
            input.clear();
            (self.generate)(&mut random, &mut input);
            (self.run)(&input);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn no_input_of_a_generator_breaks_its_harness() {
        for harness in HARNESSES {
            harness.run_seeded(1, harness.tried);
        }
    }

    #[test]
    fn no_noise_breaks_a_harness() {
        let mut random = Random::new(3);
        for harness in HARNESSES {
            for _ in 0..harness.tried / 4 {
                let mut noise = vec![0; random.below(300) as usize];
                random.fill(&mut noise);
                (harness.run)(&noise);
            }
        }
    }

    #[test]
    fn nothing_in_the_corpus_breaks_its_harness() {
        let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
        for harness in HARNESSES {
            let path = room.join(harness.name).with_extension("txt");
            let text = std::fs::read_to_string(&path).expect("every harness has a corpus");
            assert!(!text.is_empty(), "{} is empty", path.display());
            for (number, line) in text.lines().enumerate() {
                let digits = line.as_bytes().chunks(2);
                let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
                let input: Option<Vec<u8>> = digits.map(byte).collect();
                let place = format!("{}:{}", path.display(), number + 1);
                (harness.run)(&input.expect(&place));
            }
        }
    }
}
