//! The boot file's own code is linked as `image/door.ld` says.

include!("../link.rs");

fn main() {
    link_by("door.ld");
}
