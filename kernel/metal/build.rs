//! The kernel is linked as `image/kernel.ld` says.

include!("../link.rs");

fn main() {
    link_by("kernel.ld");
}
