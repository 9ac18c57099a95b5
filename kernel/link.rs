// How a program that stands alone is linked; part of the build scripts of `door`
// and `metal`. Arguments given there reach no other crate, so host tools in the
// same workspace link as always.

/// Freestanding, position-independent, relocated by itself, and with the
/// sections where its link script says.
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

/// Links the package's program by the script `name` in `image/`.
fn link_by(name: &str) {
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("set by cargo");
    let script = format!("{folder}/../../image/{name}");
    println!("cargo:rerun-if-changed={script}");
    println!("cargo:rustc-link-arg-bins=-Wl,-T,{script}");
    for argument in ARGUMENTS {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
}
