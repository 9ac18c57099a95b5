//! Memory that is not zero at start, and little of it.
//!
//! QEMU hands a guest zeroed memory and hides every place that relies on it.
//! A machine that was only reset, or that another boot loader used before, does
//! not. So the guest's memory is a file that we fill first; QEMU writes the
//! kernel over it and leaves the rest as it is.

use super::world::{self, CLIENT, NODE, blame};
use crate::client::{Client, Flow};
use crate::pattern::scrambled;
use crate::{Board, Context, Disk, Failure, Nic, OrFail, Recipe, Report};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MIB: usize = 1 << 20;

/// What lies in memory before the node does.
#[derive(Clone, Copy)]
pub(super) enum Dirt {
    /// One byte everywhere.
    Byte(u8),
    /// Noise from this seed.
    Noise(u64),
}

impl Dirt {
    /// `recipe` with `mebibytes` of memory that are filled with it, in the file `name`.
    pub(super) fn fill(
        self,
        context: &Context,
        recipe: Recipe,
        name: &str,
        mebibytes: usize,
    ) -> Result<(Recipe, PathBuf), Failure> {
        let memory = context.folder().join(format!("{name}.memory"));
        fs::write(&memory, self.bytes(mebibytes * MIB))
            .or_fail(format_args!("cannot fill {}", memory.display()))?;
        let path = memory.display();
        let dirt =
            format!("memory-backend-file,id=dirt,size={mebibytes}M,share=on,mem-path={path}");
        let recipe = recipe.memory(&format!("{mebibytes}M")).arguments(&[
            "-object",
            &dirt,
            "-machine",
            "memory-backend=dirt",
        ]);
        Ok((recipe, memory))
    }

    fn bytes(self, length: usize) -> Vec<u8> {
        match self {
            Self::Byte(byte) => vec![byte; length],
            Self::Noise(mut seed) => (0..length / 8)
                .flat_map(|_| scrambled(&mut seed).to_le_bytes())
                .collect(),
        }
    }
}

pub(super) fn dirty_memory(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    let boot = context.boot().clone();
    let tries = [
        ("a5-64", Dirt::Byte(0xa5), 64, Board::Q35, &boot.boot_file),
        ("ff-8", Dirt::Byte(0xff), 8, Board::Q35, &boot.boot_file),
        ("noise-8", Dirt::Noise(1), 8, Board::Q35, &boot.elf),
        ("noise-pc", Dirt::Noise(2), 16, Board::Pc, &boot.boot_file),
        ("noise-micro", Dirt::Noise(3), 16, Board::Microvm, &boot.elf),
    ];
    for (name, dirt, mebibytes, board, kernel) in tries {
        let after = start_in(context, name, dirt, mebibytes, board, kernel)?;
        report.note(format!(
            "{name}: {mebibytes} MiB, first frame after {:.3} s",
            after.as_secs_f64()
        ));
    }
    Ok(report)
}

fn start_in(
    context: &Context,
    name: &str,
    dirt: Dirt,
    mebibytes: usize,
    board: Board,
    kernel: &Path,
) -> Result<Duration, Failure> {
    const SECTORS: usize = 1000;
    let switch = context.switch(name)?;
    let disk = context.disk(name, 4 << 20)?;
    let mut client = Client::new(&switch, CLIENT);
    let recipe = world::node(context, name).board(board).kernel(kernel);
    let (recipe, memory) = dirt.fill(context, recipe, name, mebibytes)?;
    let mut node = recipe
        .disk(Disk::file(&disk).serial("dirty"))
        .nic(Nic::on(&switch, NODE[0]).mtu(9000))
        .start(context.folder())?;
    let after = node.wait_for_first_aoe(context.seconds(10))?;
    let export = world::one_export(context, &node, &mut client)?;
    let flow = Flow {
        within: context.seconds(10),
        ..Flow::default()
    };
    client
        .write_pattern(&export, 0, SECTORS, 5, flow)
        .and_then(|_| client.check_pattern(&export, 0, SECTORS, 5, flow))
        .map_err(blame(&node))?;
    drop(node);
    // As large as the memory, and of no use to anybody afterwards.
    let _ = fs::remove_file(&memory);
    Ok(after)
}
