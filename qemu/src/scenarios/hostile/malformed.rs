//! Every way in which the protocol says a frame can be wrong, one by one.

use super::super::world::{CLIENT, NODE, SHELF};
use super::model::SECTORS;
use crate::Mac;
use crate::client::{Address, AtaRequest, Client, Reply, ata, command};

/// What must come back.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    /// Nothing.
    Silence,
    /// An AoE error with this code.
    AoeError(u8),
    /// ATA registers: this status and this error.
    Registers(u8, u8),
    /// An answer without error, of this many bytes.
    Served(usize),
}

/// A frame, and what must come back.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) frame: Vec<u8>,
    pub(super) answer: Answer,
}

const ABORTED: Answer = Answer::Registers(0x41, 0x04);
const NOT_FOUND: Answer = Answer::Registers(0x41, 0x10);
/// An export that may be locked. The other must stay open.
const HERE: Address = Address {
    shelf: SHELF,
    slot: 0,
};

/// Makes frames and remembers them.
struct Maker<'a> {
    client: &'a mut Client,
    cases: Vec<Case>,
}

impl Maker<'_> {
    fn case(
        &mut self,
        name: &str,
        address: Address,
        command: u8,
        argument: &[u8],
        answer: Answer,
        bend: impl FnOnce(&mut Vec<u8>),
    ) {
        let tag = self.client.new_tag();
        let mut frame = self
            .client
            .request(NODE[0], address, command, tag, argument);
        bend(&mut frame);
        self.cases.push(Case {
            name: name.to_owned(),
            frame,
            answer,
        });
    }

    fn ata(&mut self, name: &str, request: AtaRequest, data: usize, answer: Answer) {
        let mut argument = request.bytes().to_vec();
        argument.resize(12 + data, 0xbd);
        self.case(name, HERE, command::ATA, &argument, answer, |_| ());
    }
}

/// All cases, each with a tag of its own.
pub(super) fn cases(client: &mut Client) -> Vec<Case> {
    let mut maker = Maker {
        client,
        cases: Vec::new(),
    };
    headers(&mut maker);
    arguments(&mut maker);
    transfers(&mut maker);
    maker.cases
}

fn headers(maker: &mut Maker<'_>) {
    use Answer::{AoeError, Served, Silence};
    let read = AtaRequest {
        flags: 0x40,
        count: 1,
        opcode: ata::READ_EXT,
        ..AtaRequest::default()
    }
    .bytes();
    for bytes in 15..36 {
        maker.case(
            &format!("a read cut to {bytes} bytes"),
            HERE,
            command::ATA,
            &read,
            Silence,
            |frame| frame.truncate(bytes),
        );
    }
    for (command, whole) in [
        (command::CONFIG, 32),
        (command::MASK, 28),
        (command::RESERVE, 26),
    ] {
        for bytes in 24..whole {
            maker.case(
                &format!("command {command} cut to {bytes} bytes"),
                HERE,
                command,
                &[0; 8],
                Silence,
                |frame| frame.truncate(bytes),
            );
        }
    }
    maker.case("a response", HERE, command::CONFIG, &[0; 8], Silence, |f| {
        f[14] = 0x18;
    });
    for flags in [0x14, 0x11, 0x12, 0x17] {
        maker.case(
            &format!("flags {flags:#04x}, which are not the sender's to set"),
            HERE,
            command::ATA,
            &read,
            Served(548),
            |frame| frame[14] = flags,
        );
    }
    for version in [0x00, 0x20, 0xf0] {
        maker.case(
            &format!("version {}", version >> 4),
            HERE,
            command::CONFIG,
            &[0; 8],
            AoeError(5),
            |frame| frame[14] = version,
        );
        maker.case(
            &format!("version {} to everybody", version >> 4),
            HERE,
            command::CONFIG,
            &[0; 8],
            Silence,
            |frame| {
                frame[14] = version;
                frame[..6].copy_from_slice(&Mac::BROADCAST.0);
            },
        );
    }
    for command in [4, 5, 0x7f, 0xef, 0xf0, 0xff] {
        maker.case(
            &format!("command {command}"),
            HERE,
            command,
            &[0; 36],
            AoeError(1),
            |_| (),
        );
    }
    for (shelf, slot) in [
        (SHELF + 1, 0),
        (SHELF, 9),
        (0, 0),
        (0x0fff, 0),
        (SHELF, 0xfe),
    ] {
        maker.case(
            &format!("nobody's address e{shelf}.{slot}"),
            Address { shelf, slot },
            command::ATA,
            &read,
            Silence,
            |_| (),
        );
    }
    let mut write = read.to_vec();
    write[0] = 0x41;
    write[3] = ata::WRITE_EXT;
    write.resize(12 + 512, 0xbd);
    for (shelf, slot) in [(0xffff, 0xff), (0xffff, 0), (SHELF, 0xff)] {
        let address = Address { shelf, slot };
        let mut add = vec![0, 1, 0, 1, 0, 1];
        add.extend(Mac::local(0x0777).0);
        let mut reserve = vec![2, 1];
        reserve.extend(Mac::local(0x0777).0);
        for (what, command, argument) in [
            ("write", command::ATA, &write),
            ("mask edit", command::MASK, &add),
            ("reserve", command::RESERVE, &reserve),
        ] {
            let name = format!("a {what} to the wildcard e{shelf}.{slot}");
            maker.case(&name, address, command, argument, Silence, |_| ());
        }
    }
    for ethertype in [[0x88, 0xa3], [0x08, 0x00], [0xbc, 0xbc], [0x00, 0x2e]] {
        maker.case(
            &format!("ethertype {:#06x}", u16::from_be_bytes(ethertype)),
            HERE,
            command::ATA,
            &read,
            Silence,
            |frame| frame[12..14].copy_from_slice(&ethertype),
        );
    }
    maker.case(
        "two VLAN tags",
        HERE,
        command::ATA,
        &read,
        Silence,
        |frame| {
            for _ in 0..2 {
                frame.splice(12..12, [0x81, 0x00, 0x00, 0x05]);
            }
        },
    );
    maker.case(
        "a VLAN tag cut in the AoE header",
        HERE,
        command::ATA,
        &read,
        Silence,
        |frame| {
            frame.splice(12..12, [0x81, 0x00, 0x00, 0x05]);
            frame.truncate(27);
        },
    );
}

fn arguments(maker: &mut Maker<'_>) {
    use Answer::{AoeError, Served, Silence};
    for ccmd in 5..16 {
        maker.case(
            &format!("config command {ccmd}"),
            HERE,
            command::CONFIG,
            &[0, 0, 0, 0, 0, ccmd, 0, 0],
            AoeError(2),
            |_| (),
        );
    }
    for (length, room) in [(5_u16, 4), (1025, 1025), (0xffff, 16)] {
        for (ccmd, answer) in [
            (0, Served(60)),
            (1, Silence),
            (2, Silence),
            (3, AoeError(2)),
            (4, AoeError(2)),
        ] {
            let [high, low] = length.to_be_bytes();
            let mut argument = vec![0, 0, 0, 0, 0, ccmd, high, low];
            argument.resize(8 + room, b'x');
            let name = format!("config command {ccmd} with {room} of {length} bytes");
            maker.case(&name, HERE, command::CONFIG, &argument, answer, |_| ());
        }
    }
    for mcmd in [2, 3, 0xff] {
        let name = format!("mask command {mcmd}");
        let argument = [0, mcmd, 0, 0];
        maker.case(&name, HERE, command::MASK, &argument, AoeError(2), |_| ());
    }
    for (count, room) in [(1, 0), (1, 7), (255, 64)] {
        let mut argument = vec![0, 1, 0, count];
        argument.resize(4 + room, 0);
        let name = format!("{count} mask directives in {room} bytes");
        maker.case(&name, HERE, command::MASK, &argument, AoeError(2), |_| ());
    }
    for rcmd in [3, 4, 0xff] {
        let name = format!("reserve command {rcmd}");
        maker.case(
            &name,
            HERE,
            command::RESERVE,
            &[rcmd, 0],
            AoeError(2),
            |_| (),
        );
    }
    for (count, room) in [(1, 0), (1, 5), (255, 60)] {
        let mut argument = vec![2, count];
        argument.resize(2 + room, 2);
        let name = format!("{count} reserving MACs in {room} bytes");
        maker.case(
            &name,
            HERE,
            command::RESERVE,
            &argument,
            AoeError(2),
            |_| (),
        );
    }
}

fn transfers(maker: &mut Maker<'_>) {
    use Answer::Served;
    let wide = |opcode, count, lba| AtaRequest {
        flags: 0x40,
        count,
        opcode,
        lba,
        ..AtaRequest::default()
    };
    for opcode in [ata::READ_EXT, ata::WRITE_EXT] {
        let room = if opcode == ata::WRITE_EXT { 1024 } else { 0 };
        for (name, count, lba, answer) in [
            ("no sectors", 0, 0, ABORTED),
            ("more sectors than fit", 3, 0, ABORTED),
            ("255 sectors", 255, 0, ABORTED),
            ("one past the end", 1, SECTORS, NOT_FOUND),
            ("half past the end", 2, SECTORS - 1, NOT_FOUND),
            ("the last address there is", 1, (1 << 48) - 1, NOT_FOUND),
        ] {
            let name = format!("opcode {opcode:#04x}: {name}");
            maker.ata(&name, wide(opcode, count, lba), room, answer);
        }
    }
    for (count, data) in [(1, 0), (1, 511), (2, 1023), (2, 512)] {
        let name = format!("a write of {count} sectors with {data} bytes");
        maker.ata(&name, wide(ata::WRITE_EXT, count, 7), data, ABORTED);
    }
    // A 28-bit opcode with more bits than 28 must never wrap around.
    for (opcode, data) in [(ata::READ, 0), (ata::WRITE, 512)] {
        let name = format!("opcode {opcode:#04x} with an address above 28 bits");
        let request = wide(opcode, 1, (1 << 28) | 3);
        maker.ata(&name, request, data, NOT_FOUND);
    }
    for opcode in [0x00, 0x08, 0x35, 0x60, 0xa1, 0xc5, 0xf5, 0xff] {
        maker.ata(
            &format!("opcode {opcode:#04x}"),
            wide(opcode, 1, 0),
            512,
            ABORTED,
        );
    }
    for count in [0, 2, 255] {
        let name = format!("IDENTIFY of {count} sectors");
        maker.ata(&name, wide(ata::IDENTIFY, count, 0), 0, ABORTED);
    }
    let mut contradiction = wide(ata::READ_EXT, 1, 0);
    contradiction.flags |= 0x01;
    maker.ata(
        "a read that says it writes",
        contradiction,
        512,
        Served(548),
    );
}

/// What is wrong with `replies` as the answer to `case`, if anything is.
pub(super) fn complaint(case: &Case, replies: &[Reply]) -> Option<String> {
    let reply = match (case.answer, replies) {
        (Answer::Silence, []) => return None,
        (Answer::Silence, _) => return Some(format!("is answered: {replies:?}")),
        (_, [reply]) => reply,
        (_, []) => return Some("is not answered".to_owned()),
        (_, _) => return Some(format!("is answered {} times", replies.len())),
    };
    let right = match case.answer {
        Answer::Silence => false,
        Answer::AoeError(code) => reply.aoe_error() == Some(code) && reply.frame.len() >= 60,
        Answer::Registers(status, error) => {
            reply.aoe_error().is_none()
                && (reply.ata_status(), reply.ata_error()) == (status, error)
                && reply.check_length(36).is_ok()
        }
        Answer::Served(bytes) => {
            reply.aoe_error().is_none() && reply.flags() == 0x18 && reply.frame.len() == bytes
        }
    };
    let sent_right = reply.destination() == CLIENT && reply.source() == NODE[0];
    (!right || !sent_right).then(|| format!("is answered with {reply:?}"))
}
