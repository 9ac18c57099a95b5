//! The power button: a person, or a host that shuts down, asks the node to stop.
//!
//! The disk has a volatile cache and the operator chose write-back, so what was
//! acknowledged is not durable yet when the button is pressed. QEMU keeps its
//! counters for us after the machine has switched itself off.

use super::world::{self, CLIENT, NODE, blame, must};
use crate::client::{Client, Flow};
use crate::machine::Board;
use crate::{Context, Disk, Failure, Nic, OrFail, Report};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
const WRITES: usize = 500;

pub(super) fn power_button(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    for board in [Board::Q35, Board::Pc] {
        let took = press(context, board)?;
        report.note(format!(
            "{board:?}: off {:.2} s after the button",
            took.as_secs_f64()
        ));
    }
    Ok(report)
}

fn press(context: &Context, board: Board) -> Result<Duration, Failure> {
    let name = format!("{board:?}").to_lowercase();
    let switch = context.switch(&name)?;
    let disk = context.disk(&name, 16 * MIB)?;
    let mut client = Client::new(&switch, CLIENT);
    let mut node = world::node(context, &name)
        .board(board)
        .append("ublade.cache=writeback")
        .arguments(&["-no-shutdown"])
        .disk(Disk::file(&disk).serial("power").cache("writeback"))
        .nic(Nic::on(&switch, NODE[0]).mtu(9000))
        .start(context.folder())?;
    let export = world::one_export(context, &node, &mut client)?;
    let flow = Flow {
        sectors_per_frame: 8,
        outstanding: 16,
        within: context.seconds(20),
        ..Flow::default()
    };
    client
        .write_pattern(&export, 0, WRITES * 8, 1, flow)
        .map_err(blame(&node))?;
    let flushes = |node: &mut crate::Machine| {
        let counters = node.qmp().disk_counters(0)?;
        counters["flush_operations"]
            .as_u64()
            .or_fail("QEMU does not count flushes")
    };
    let before = flushes(&mut node)?;
    must(before == 0, &node, || {
        format!("write-back was chosen, and {before} flushes were made")
    })?;

    let pressed = Instant::now();
    node.qmp().system_powerdown()?;
    let within = context.seconds(30);
    node.wait_for("power off: everything is answered and flushed", within)?;
    let deadline = Instant::now() + within;
    while node.qmp().status()? != "shutdown" {
        if Instant::now() >= deadline {
            return Err(node.failure("the button was pressed and the machine is still on"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let took = pressed.elapsed();
    let after = flushes(&mut node)?;
    must(after > 0, &node, || {
        "the machine is off and its disk's cache was not flushed".to_owned()
    })?;
    Ok(took)
}
