//! How the kernel is linked. Only the kernel: arguments given here reach no
//! other crate, so host tools in the same workspace link as always.

use std::env;

/// Freestanding, position-independent, relocated by itself, and with the
/// sections where `image/link.ld` says.
const ARGUMENTS: &[&str] = &[
    "-nostartfiles",
    "-nostdlib",
    "-static-pie",
    "-Wl,--no-dynamic-linker",
    "-Wl,--build-id=none",
    "-Wl,-z,norelro",
    "-Wl,-z,max-page-size=4096",
    "-Wl,-z,noexecstack",
    // The Hermit loader refuses a count of relative relocations.
    "-Wl,-z,nocombreloc",
    "-Wl,--hash-style=sysv",
];

fn main() {
    let folder = env::var("CARGO_MANIFEST_DIR").expect("set by cargo");
    let script = format!("{folder}/../../image/link.ld");
    println!("cargo:rerun-if-changed={script}");
    println!("cargo:rustc-link-arg-bins=-Wl,-T,{script}");
    for argument in ARGUMENTS {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
}
