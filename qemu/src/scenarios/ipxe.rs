//! iPXE from a network card's own ROM boots from an export.
//!
//! DHCP hands it the root path; all the rest is between iPXE and the node. The
//! boot sector does what every boot loader does next: it asks the BIOS for
//! another sector, and so iPXE for another read, and prints what is in it.

use super::world::{self, HOST, NODE, SHELF, Wire, must};
use crate::initiator::dhcp::Dhcp;
use crate::pattern::SECTOR_BYTES;
use crate::{Context, Disk, Failure, Nic, OrFail, Report};
use std::time::Instant;

const DISK_BYTES: usize = 8 << 20;
/// Where the text lies that the boot sector prints.
const TEXT_LBA: u16 = 1000;
const TEXT: &str = "the boot sector read this through iPXE";
const NO_TEXT: &str = "the boot sector could not read on";

/// Where the disk address packet and the other text lie in the boot sector,
/// which the BIOS loads to 0x7c00.
const PACKET: usize = 0x40;
const OTHER_TEXT: usize = 0x50;

/// Reads sector `TEXT_LBA` to 0x8000 and prints it on the first serial port.
const CODE: [u8; 46] = [
    0x31, 0xc0, // xor ax, ax
    0x8e, 0xd8, // mov ds, ax
    0xfc, // cld
    0xbe, 0x40, 0x7c, // mov si, the packet
    0xb4, 0x42, // mov ah, extended read
    0xcd, 0x13, // int the disk, which the BIOS left in dl
    0xbe, 0x00, 0x80, // mov si, what was read
    0x73, 0x03, // jnc next
    0xbe, 0x50, 0x7c, // mov si, the other text
    0xac, // next: lodsb
    0x84, 0xc0, // test al, al
    0x74, 0x12, // jz end
    0x88, 0xc4, // mov ah, al
    0xba, 0xfd, 0x03, // mov dx, the line status register
    0xec, // wait: in al, dx
    0xa8, 0x20, // test al, transmitter is empty
    0x74, 0xfb, // jz wait
    0x88, 0xe0, // mov al, ah
    0xba, 0xf8, 0x03, // mov dx, the data register
    0xee, // out dx, al
    0xeb, 0xe9, // jmp next
    0xf4, // end: hlt
    0xeb, 0xfd, // jmp end
];

pub(super) fn sanboot(context: &mut Context) -> Result<Report, Failure> {
    let switch = context.switch("net")?;
    let wire = Wire::watch(&switch);
    let disk = context.disk("disk", DISK_BYTES as u64)?;
    std::fs::write(&disk, boot_disk(TEXT))
        .or_fail(format_args!("cannot fill {}", disk.display()))?;
    let mut node = world::node(context, "node")
        .disk(Disk::file(&disk).serial("boot0"))
        .nic(Nic::on(&switch, NODE[0]).mtu(9000))
        .start(context.folder())?;
    node.wait_for_first_aoe(context.seconds(10))?;

    let dhcp = Dhcp::serve(&switch, &format!("aoe:e{SHELF}.0"));
    let started = Instant::now();
    let client = context
        .guest("ipxe")
        .memory("64M")
        .nic(Nic::on(&switch, HOST[0]).boot_rom())
        .start(context.folder())?;
    let line = client.wait_for("sector", context.seconds(80));
    let line = line.map_err(|failure| {
        failure.with(format!(
            "DHCP answered {} times, the node {} times",
            dhcp.answers(),
            wire.replies()
        ))
    })?;
    // The line may not be whole yet, but "could not" comes before "read".
    client
        .console()
        .wait_for("iPXE", context.seconds(10))
        .map_err(|_| client.failure(format!("the boot sector says: {line}")))?;
    must(client.console().has_said(TEXT), &node, || {
        format!("the boot sector says: {line}")
    })?;
    let mut report = Report::new();
    report.note(format!(
        "{:.1} s from power on to the boot sector's line, {} requests",
        started.elapsed().as_secs_f64(),
        wire.requests()
    ));
    Ok(report)
}

/// A disk whose boot sector reads on and prints `text`, which is a sector at most.
pub(super) fn boot_disk(text: &str) -> Vec<u8> {
    let mut disk = vec![0; DISK_BYTES];
    disk[..CODE.len()].copy_from_slice(&CODE);
    // Disk address packet: 16 bytes, one sector, to 0000:8000, from TEXT_LBA.
    let [low, high] = TEXT_LBA.to_le_bytes();
    disk[PACKET..PACKET + 10].copy_from_slice(&[16, 0, 1, 0, 0x00, 0x80, 0, 0, low, high]);
    put_text(&mut disk[OTHER_TEXT..], NO_TEXT);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    put_text(&mut disk[usize::from(TEXT_LBA) * SECTOR_BYTES..], text);
    disk
}

/// `text`, a line end and the zero that ends it.
fn put_text(place: &mut [u8], text: &str) {
    place[..text.len()].copy_from_slice(text.as_bytes());
    place[text.len()..text.len() + 3].copy_from_slice(b"\r\n\0");
}
