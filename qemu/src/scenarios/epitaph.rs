//! Nodes that fall: the next start says why, and what they had done.
//!
//! Nothing in the node breaks it on request. It is made to fall as nodes do: the reset
//! button, the command by which an operator asks a hanging machine where it hangs (an
//! interrupt that nothing masks), and code that is broken under the processor by QEMU's
//! debugger.

use super::world::{self, CLIENT, NODE, blame, must};
use crate::client::{Client, Flow};
use crate::{Board, Context, Disk, Failure, Machine, Nic, OrFail, Report};
use serde_json::json;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
/// Where a machine of 64 MiB has the first of its two pages for what it leaves.
const PAGE_AT: u64 = 12 * MIB;
const PAGE_BYTES: u64 = 4096;
/// Requests that a node has answered before it falls.
const WRITES: usize = 48;
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// In the first page, which is never there.
const NOWHERE: u64 = 0x10;
/// An instruction that no processor knows.
const UNKNOWN: [u8; 2] = [0x0f, 0x0b];
/// An instruction that jumps to itself.
const HANGS: [u8; 2] = [0xeb, 0xfe];

pub(super) fn epitaph(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    let (q35, pc) = (Board::Q35, Board::Pc);
    let hung = "it hung, and the watchdog reset it";
    let falls: [(&str, Board, u32, Fall, &str); 6] = [
        ("reset", q35, 1, reset, "it was reset without a word"),
        ("hangs", q35, 1, hangs, hung),
        ("nmi", pc, 1, nmi, "ublade stopped: non-maskable interrupt"),
        (
            "broken",
            q35,
            1,
            broken,
            "ublade stopped: invalid instruction",
        ),
        ("second-hangs", q35, 2, second_hangs, hung),
        (
            "second-lost",
            q35,
            2,
            second_lost,
            "ublade stopped: page fault",
        ),
    ];
    for (name, board, cpus, fall, why) in falls {
        let switch = context.switch(name)?;
        let disk = context.disk(name, MIB)?;
        let mut client = Client::new(&switch, CLIENT);
        let mut node = world::node(context, name)
            .board(board)
            .cpus(cpus)
            .append(&format!("panic=1 ublade.watchdog=15 ublade.cpus={cpus}"))
            .arguments(&["-global", "ICH9-LPC.noreboot=off"])
            .disk(Disk::file(&disk).serial("falls"))
            .nic(Nic::on(&switch, NODE[0]))
            .reboots()
            .debugged()
            .start(context.folder())?;
        let export = world::one_export(context, &node, &mut client)?;
        let flow = Flow {
            sectors_per_frame: 1,
            // One that is sent again would count twice.
            resend_after: Duration::from_secs(60),
            within: context.seconds(40),
            ..Flow::default()
        };
        client
            .write_pattern(&export, 0, WRITES, 1, flow)
            .map_err(blame(&node))?;
        let done = format!("{WRITES} write,");
        until_left(context, &mut node, &done)?;

        fall(&mut node)?;
        let within = context.seconds(50);
        report.note(format!(
            "{name}: {}",
            node.wait_for(&format!("before this start: {why}"), within)?
        ));
        node.wait_for(
            &format!("before this start: requests: 0 read, {done}"),
            within,
        )?;
        node.wait_for("before this start: it had run for ", within)?;
        world::one_export(context, &node, &mut client)?;
        node.type_in("status\r")?;
        node.wait_for("before this start:", within)?;
        node.wait_for(why, within)?;
        node.wait_for(&done, within)?;

        // Once is enough.
        if board == Board::Pc {
            ends_in_order(context, &node)?;
        }
    }
    Ok(report)
}

fn ends_in_order(context: &Context, node: &Machine) -> Result<(), Failure> {
    let within = context.seconds(20);
    node.type_in("\rreboot\r")?;
    node.wait_for("restart: everything is answered and flushed", within)?;
    node.wait_for("export e5.0", within)?;
    node.type_in("\rhelp\r")?;
    node.wait_for("set KEY=VALUE", within)?;
    let text = node.console().text();
    let (_, last) = text
        .rsplit_once("everything is answered")
        .or_fail("there was an end in order")?;
    must(!last.contains("before this start"), node, || {
        "an end in order left an epitaph".to_owned()
    })
}

type Fall = fn(&mut Machine) -> Result<(), Failure>;

fn reset(node: &mut Machine) -> Result<(), Failure> {
    node.qmp().system_reset()
}

fn nmi(node: &mut Machine) -> Result<(), Failure> {
    node.qmp().inject_nmi()
}

/// Breaks the next instruction, whichever it is.
fn broken(node: &mut Machine) -> Result<(), Failure> {
    break_at_next(node, &UNKNOWN)
}

fn break_at_next(node: &mut Machine, instruction: &[u8]) -> Result<(), Failure> {
    let mut debugger = node.debug()?;
    let next = debugger.instruction_pointer()?;
    debugger.write(next, instruction)?;
    debugger.detach()
}

/// Puts a jump to itself there. With interrupts closed nothing leads out of it but the
/// watchdog.
fn hangs(node: &mut Machine) -> Result<(), Failure> {
    break_at_next(node, &HANGS)
}

/// The processor that has the devices is not to be interrupted any more: it sleeps for
/// ever, or never again.
fn second_hangs(node: &mut Machine) -> Result<(), Failure> {
    let mut debugger = node.debug()?;
    debugger.of_processor(1)?;
    debugger.close_interrupts()?;
    debugger.detach()
}

/// It goes on where there is no memory.
fn second_lost(node: &mut Machine) -> Result<(), Failure> {
    let mut debugger = node.debug()?;
    debugger.of_processor(1)?;
    debugger.jump(NOWHERE)?;
    debugger.detach()
}

/// Waits until the page in the machine's memory has `words`: figures are written
/// there once a second.
fn until_left(context: &Context, node: &mut Machine, words: &str) -> Result<(), Failure> {
    let path = context.folder().join("page");
    let deadline = Instant::now() + context.seconds(20);
    loop {
        let _ = fs::remove_file(&path);
        let arguments = json!({ "val": PAGE_AT, "size": PAGE_BYTES, "filename": path });
        node.qmp().run("pmemsave", arguments)?;
        let page = fs::read(&path).or_fail(path.display())?;
        if String::from_utf8_lossy(&page).contains(words) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(node.failure(format!("no page of its memory says \"{words}\"")));
        }
        thread::sleep(LOOK_EVERY);
    }
}
