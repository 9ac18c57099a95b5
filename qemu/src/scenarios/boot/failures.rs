//! Starts that can not succeed: each says why, where a person may look.
//!
//! A stage that fails must tell the serial port and the screen, and then halt, or
//! restart as `panic=` says once settings can have been read. The screen is read
//! back from where it is: the letters of a VGA adapter's text mode. Under UEFI the
//! firmware has drawn them as points, so there its serial console is believed,
//! which shows the same.

use super::super::world::must;
use super::{Row, ovmf};
use crate::{Board, Context, Disk, Failure, Machine, OrFail, Recipe, Report};
use ovmf::Ovmf;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

pub(super) const ROWS: &[Row] = &[
    Row::new(
        "fails-sector",
        "an image that ends too early",
        "SeaBIOS",
        boot_sector,
    ),
    Row {
        sample: true,
        ..Row::new(
            "fails-door",
            "a damaged file; too little memory; a 32-bit processor",
            "QEMU, both protocols",
            door,
        )
    },
    Row {
        sample: true,
        ..Row::new(
            "fails-kernel",
            "a kernel that stops: halted, and restarted",
            "QEMU, Linux protocol",
            kernel,
        )
    },
    Row {
        debs: &[ovmf::DEBS],
        ..Row::new("fails-uefi", "a damaged file on a stick", "OVMF", uefi)
    }
    .within(150),
];

/// The adapter's memory in text mode, 80 cells of two bytes a row.
const TEXT_AT: u64 = 0xb8000;
const TEXT_BYTES: usize = 4000;
const COLUMNS: usize = 80;
/// What the adapter shows is drawn after what the port sends.
const DRAWN_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a machine that must not restart is watched.
const A_WHILE: Duration = Duration::from_secs(3);

/// The boot sector finds no more of the boot file than its first KiB.
fn boot_sector(context: &mut Context) -> Result<Report, Failure> {
    let image = context.boot().images.join("ublade.img");
    let mut bytes = fs::read(&image).or_fail(image.display())?;
    bytes.truncate(bytes.len() / 64);
    let cut = context.folder().join("cut.img");
    fs::write(&cut, bytes).or_fail(cut.display())?;
    let recipe = with_screen(context.guest("node")).disk(Disk::file(&cut).property("bootindex=0"));
    let mut node = recipe.start(context.folder())?;
    let said = says_everywhere(context, &mut node, "ublade: disk read error", " at LBA ")?;
    Ok(one(said))
}

fn door(context: &mut Context) -> Result<Report, Failure> {
    let damaged = damaged(context)?;
    let elf = context.boot().elf.clone();
    let boot_file = context.boot().boot_file.clone();
    let mut report = Report::new();
    let cases: [(&str, &Path, &str, &str, &str); 5] = [
        ("damaged", &damaged, "64M", "max", "is damaged"),
        ("small", &boot_file, "2M", "max", "too little memory"),
        ("small-pvh", &elf, "2M", "max", "too little memory"),
        ("old", &boot_file, "64M", "qemu32", "64-bit code"),
        ("old-pvh", &elf, "64M", "qemu32", "64-bit code"),
    ];
    for (name, kernel, memory, processor, why) in cases {
        let recipe = with_screen(context.guest(name))
            .board(Board::Pc)
            .memory(memory)
            .kernel(kernel)
            .arguments(&["-cpu", processor]);
        let mut node = recipe.start(context.folder())?;
        let said = says_everywhere(context, &mut node, why, "Halted.")?;
        report.note(format!("{name}: {said}"));
    }
    Ok(report)
}

/// The kernel itself stops: memory for its code, and none for a device.
fn kernel(context: &mut Context) -> Result<Report, Failure> {
    let stops = |name: &str, seconds: u32| {
        with_screen(context.node(name))
            .board(Board::Pc)
            .memory("3M")
            .append(&format!("panic={seconds}"))
    };
    let mut node = stops("halts", 0).start(context.folder())?;
    let said = says_everywhere(context, &mut node, "ublade stopped:", "halted")?;
    thread::sleep(A_WHILE);
    must(node.is_running(), &node, || {
        "panic=0 was given, and the machine was restarted".to_owned()
    })?;

    let mut node = stops("restarts", 2).start(context.folder())?;
    says_everywhere(context, &mut node, "ublade stopped:", "restart in 2 s")?;
    // It is started so that a reset ends QEMU.
    node.wait_for_end(context.seconds(20))?;
    Ok(one(said))
}

/// The firmware is still there, so it is told, and goes on with what it would
/// start next.
fn uefi(context: &mut Context) -> Result<Report, Failure> {
    let damaged = damaged(context)?;
    let node = Ovmf::prepare(context)?
        .firmware_of(with_stick(context, &damaged)?)
        .start(context.folder())?;
    let why = "ublade can not start: the kernel in the boot file is damaged";
    node.wait_for(why, context.seconds(100))?;
    Ok(one(why.to_owned()))
}

/// The boot file, with one byte of the packed kernel changed.
fn damaged(context: &Context) -> Result<PathBuf, Failure> {
    let boot_file = &context.boot().boot_file;
    let mut bytes = fs::read(boot_file).or_fail(boot_file.display())?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let path = context.folder().join("damaged");
    fs::write(&path, bytes).or_fail(path.display())?;
    Ok(path)
}

/// A machine with a stick on which its firmware finds `application`, and nothing
/// else.
pub(super) fn with_stick(context: &Context, application: &Path) -> Result<Recipe, Failure> {
    let stick = context.folder().join("stick");
    let boot = stick.join("EFI/BOOT");
    fs::create_dir_all(&boot)
        .and_then(|()| fs::copy(application, boot.join("BOOTX64.EFI")))
        .or_fail(format_args!("cannot fill {}", stick.display()))?;
    let backing = format!("format=raw,file=fat:rw:{}", stick.display());
    let stick = Disk::backed_by(&backing).model("usb-storage");
    let machine = context.guest("node").memory("256M");
    Ok(machine
        .controller("qemu-xhci")
        .disk(stick.property("bootindex=0")))
}

fn with_screen(recipe: Recipe) -> Recipe {
    recipe.arguments(&["-device", "VGA"])
}

/// Waits for `why` on the serial port, then for the same and for `end` on the
/// screen; returns the line.
fn says_everywhere(
    context: &Context,
    node: &mut Machine,
    why: &str,
    end: &str,
) -> Result<String, Failure> {
    node.wait_for(why, context.seconds(30))?;
    node.wait_for(end, context.seconds(10))?;
    let text = node.console().text();
    let said = text.lines().rfind(|line| line.contains(why));
    let said = said.unwrap_or_default().trim().to_owned();
    let deadline = Instant::now() + context.within(DRAWN_WITHIN);
    loop {
        let shown = screen(context, node)?;
        if shown.contains(said.as_str()) && shown.contains(end) {
            return Ok(said);
        }
        if Instant::now() >= deadline {
            let failure =
                node.failure(format!("the screen does not show \"{said}\" and \"{end}\""));
            return Err(failure.with(shown));
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// The letters on the screen, row by row without a break: what is too long for a
/// row goes on in the next.
fn screen(context: &Context, node: &mut Machine) -> Result<String, Failure> {
    let path = context.folder().join("screen");
    let _ = fs::remove_file(&path);
    let arguments = json!({ "val": TEXT_AT, "size": TEXT_BYTES, "filename": path });
    node.qmp().run("pmemsave", arguments)?;
    let cells = fs::read(&path).or_fail(path.display())?;
    let letters: Vec<u8> = cells.iter().step_by(2).copied().collect();
    let rows: Vec<String> = letters
        .chunks(COLUMNS)
        .map(|row| String::from_utf8_lossy(row).into_owned())
        .collect();
    Ok(rows.concat())
}

fn one(line: String) -> Report {
    let mut report = Report::new();
    report.note(line);
    report
}
