//! QEMU itself loads the kernel: PVH from the ELF, the Linux protocol from the
//! boot file.

use super::{Row, row};
use crate::{Board, Context, Failure, Report};

const PVH: &str = "QEMU, PVH";
const LINUX: &str = "QEMU, Linux protocol";

pub(super) const ROWS: &[Row] = &[
    Row::new("pvh-q35", "the ELF on q35", PVH, |context| {
        pvh(context, Board::Q35)
    }),
    Row::new("pvh-pc", "the ELF on pc", PVH, |context| {
        pvh(context, Board::Pc)
    }),
    Row::new("pvh-microvm", "the ELF on microvm", PVH, |context| {
        pvh(context, Board::Microvm)
    }),
    Row::new("linux-q35", "the boot file on q35", LINUX, |context| {
        linux(context, Board::Q35, 1)
    }),
    Row::new("linux-pc", "the boot file on pc", LINUX, |context| {
        linux(context, Board::Pc, 1)
    }),
    Row::new(
        "cpus-2",
        "the boot file, two processors",
        LINUX,
        |context| linux(context, Board::Q35, 2),
    ),
    Row::new(
        "cpus-4",
        "the boot file, four processors",
        LINUX,
        |context| linux(context, Board::Q35, 4),
    ),
];

/// A shelf that only the command line can have brought.
const SHELF: u16 = 5;

fn pvh(context: &Context, board: Board) -> Result<Report, Failure> {
    let elf = context.boot().elf.clone();
    let recipe = context.node("node").kernel(&elf).board(board);
    row(context, asks(recipe), Some(SHELF))
}

fn linux(context: &Context, board: Board, cpus: u32) -> Result<Report, Failure> {
    let recipe = context.node("node").board(board).cpus(cpus);
    row(context, asks(recipe), Some(SHELF))
}

fn asks(recipe: crate::Recipe) -> crate::Recipe {
    recipe.append(&format!("ublade.shelf={SHELF}"))
}
