//! `cargo xtask build`: the kernel and its boot file.

use crate::house::House;
use crate::progress::Step;
use ::image::{Artifacts, Options};
use qemu::{BootFiles, Failure};

/// Builds, shows progress, and prints what came out.
pub fn verb(house: &House) -> Result<(), Failure> {
    let built = build(house)?;
    for line in describe(house, &built) {
        println!("{line}");
    }
    Ok(())
}

/// Builds and shows progress.
pub fn build(house: &House) -> Result<Artifacts, Failure> {
    let step = Step::begin("build the kernel and its boot file");
    let options = Options {
        workspace: house.root().to_path_buf(),
        ..Options::default()
    };
    let built = ::image::build(&options);
    step.end(if built.is_ok() { "ok" } else { "FAIL" });
    built.map_err(|error| {
        let (sentence, rest) = error.split_once('\n').unwrap_or((&error, ""));
        Failure::new(sentence).with(rest)
    })
}

/// Where the machines find what was built.
pub fn files(built: &Artifacts) -> BootFiles {
    BootFiles {
        boot_file: built.boot_file.clone(),
        elf: built.elf.clone(),
        images: built
            .boot_file
            .parent()
            .expect("it is in a folder")
            .to_path_buf(),
    }
}

/// The lines about what was built.
pub fn describe(house: &House, built: &Artifacts) -> [String; 4] {
    let kib = |bytes: u64| bytes.div_ceil(1024);
    [
        format!(
            "boot file  {:>5} KiB  {}",
            kib(built.boot_file_bytes),
            house.short(&built.boot_file)
        ),
        format!(
            "kernel     {:>5} KiB  before it is packed",
            kib(built.kernel_bytes)
        ),
        format!(
            "ELF        {:>5} KiB  {} (with names and line numbers)",
            kib(built.elf_bytes),
            house.short(&built.elf)
        ),
        format!(
            "in memory  {:>5} KiB  before it gives any out",
            kib(built.memory_bytes)
        ),
    ]
}
