//! Both boot files on every board, and how fast.

use super::world::{self, CLIENT, NODE, blame};
use crate::client::{Client, Flow};
use crate::{Accel, Board, Context, Disk, Failure, Machine, Nic, Report};
use std::path::Path;
use std::time::Duration;

/// From QEMU's start to the first AoE frame, under software emulation.
const FIRST_FRAME_WITHIN: Duration = Duration::from_millis(500);
/// A busy host may spoil one start. None of these many in time is a slow node.
const STARTS: u32 = 4;

pub(super) fn boots(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    let boot = context.boot().clone();
    let routes = [
        ("the boot file (Linux protocol)", "file", &boot.boot_file),
        ("the ELF (PVH)", "elf", &boot.elf),
    ];
    for (what, short, kernel) in routes {
        for (board, on) in [
            (Board::Q35, "q35"),
            (Board::Pc, "pc"),
            (Board::Microvm, "microvm"),
        ] {
            let mut best = Duration::MAX;
            for start in 1..=STARTS {
                let name = format!("{short}-{on}-{start}");
                best = best.min(boot_once(context, &name, kernel, board)?);
                if best <= FIRST_FRAME_WITHIN {
                    break;
                }
            }
            let figure = format!(
                "{what} on {on}: first frame after {:.3} s",
                best.as_secs_f64()
            );
            if best > FIRST_FRAME_WITHIN {
                return Err(Failure::new(format!(
                    "{figure}, the best of {STARTS} starts; {:.3} s is the limit",
                    FIRST_FRAME_WITHIN.as_secs_f64()
                )));
            }
            report.note(figure);
        }
    }
    Ok(report)
}

/// Starts a node that must serve, be found where its settings put it, and keep
/// what is written. Returns the time to its first frame.
fn boot_once(
    context: &Context,
    name: &str,
    kernel: &Path,
    board: Board,
) -> Result<Duration, Failure> {
    const SECTORS: usize = 64;
    let switch = context.switch(name)?;
    let disk = context.disk(name, 1 << 20)?;
    // The card hears of a client before it has anything to say to one.
    let mut client = Client::new(&switch, CLIENT);
    let mut node: Machine = world::node(context, name)
        .accel(Accel::Tcg)
        .board(board)
        .kernel(kernel)
        .disk(Disk::file(&disk).serial("boots"))
        .nic(Nic::on(&switch, NODE[0]).mtu(9000))
        .start(context.folder())?;
    let after = node.wait_for_first_aoe(context.seconds(10))?;
    let export = world::one_export(context, &node, &mut client)?;
    world::must(export.address == world::address(0), &node, || {
        format!("shelf 5 was asked for, {} answers", export.address)
    })?;
    let within = context.seconds(5);
    let identity = client.identify(&export, within).map_err(blame(&node))?;
    world::must(identity.serial() == "boots", &node, || {
        format!("the serial number is \"{}\"", identity.serial())
    })?;
    let flow = Flow {
        within,
        ..Flow::default()
    };
    client
        .write_pattern(&export, 0, SECTORS, 1, flow)
        .and_then(|_| client.check_pattern(&export, 0, SECTORS, 1, flow))
        .map_err(blame(&node))?;
    Ok(after)
}
