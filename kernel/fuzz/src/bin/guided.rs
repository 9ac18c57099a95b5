//! One harness under libFuzzer, which keeps what reaches new code and changes it.
//!
//! `UBLADE_HARNESS` names the harness; `cargo xtask fuzz` builds this with the
//! instrumentation that tells libFuzzer where the code went, and starts it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

static RUN: OnceLock<fn(&[u8])> = OnceLock::new();

fuzz_target!(|data: &[u8]| {
    let run = RUN.get_or_init(|| {
        let name = std::env::var("UBLADE_HARNESS").expect("UBLADE_HARNESS names a harness");
        let harness = fuzz::named(&name);
        harness.expect("`fuzz --list` lists the harnesses").run
    });
    run(data);
});
