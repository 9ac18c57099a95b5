//! Settings: any text, from any channel.

use node::config::{Config, Source};
use sim::random::Random;

/// Any text as settings, from any channel.
pub fn run(data: &[u8]) {
    use std::fmt::Write as _;
    let Some((&source, text)) = data.split_first() else {
        return;
    };
    let source = [
        Source::CommandLine,
        Source::File,
        Source::Dhcp,
        Source::Smbios,
        Source::FwCfg,
    ][usize::from(source) % 5];
    let mut config = Box::new(Config::new());
    config.parse(source, text);
    let mut sentences = String::new();
    for problem in config.problems() {
        writeln!(sentences, "{problem}").expect("a string takes everything");
    }
    for (_, bytes) in config.rams() {
        assert!(bytes > 0 && bytes.is_multiple_of(4_096));
    }
    // What was understood once is understood again.
    let problems = config.problems().len();
    config.parse(source, text);
    assert!(config.problems().len() >= problems);
}

/// Settings that are nearly right.
pub fn generate(random: &mut Random, input: &mut Vec<u8>) {
    const WORDS: [&str; 24] = [
        "ublade.",
        "shelf=",
        "export=",
        "rw=",
        "slot.",
        "ram.",
        "mask.",
        "cache.",
        "cache=",
        "mtu=",
        "buffers=",
        "ip=",
        "console=",
        "=",
        "all",
        "none",
        "auto",
        "serial:",
        "pci:",
        ",offset=",
        ",length=",
        "64M",
        "02:00:00:00:00:01",
        "#",
    ];
    input.push(random.next() as u8);
    for _ in 0..random.between(1, 24) {
        match random.below(6) {
            0 => input.push(random.next() as u8),
            1 => input.push(b'0' + random.below(10) as u8),
            2 => input.push(*random.pick(b" \n,.")),
            _ => input.extend(random.pick(&WORDS).as_bytes()),
        }
    }
}
