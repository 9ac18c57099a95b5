//! The console on the Ethernet, for networks without IP, as 9front's `cec` uses it.
//!
//! The client is ours: it finds the node, opens a connection, types, and acknowledges
//! each piece of what is shown. One piece it does not acknowledge, and gets again. The
//! node has no address; who has no token may look and change nothing.

use super::super::world::{self, CLIENT, HOST, NODE, SHELF, blame, must};
use crate::client::Client;
use crate::network::Tap;
use crate::{Context, Disk, Failure, Nic, OrFail, Report, Switch};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
const TOKEN: &str = "open-sesame";
const PROMPT: &str = "ublade> ";
const ETHERTYPE: [u8; 2] = [0xbc, 0xbc];
/// Ethernet header, type, connection, number, length.
const HEADER: usize = 18;
/// Shortest frame on a wire.
const FRAME_MIN: usize = 60;
/// The connection's name, which the client chooses.
const CONNECTION: u8 = 0x2a;
/// How long an answer may take before it is asked for again, and how often.
const PATIENCE: Duration = Duration::from_secs(2);
const TRIES: u32 = 5;

mod kind {
    pub const OPEN: u8 = 0;
    pub const OPENED: u8 = 1;
    pub const AGREED: u8 = 2;
    pub const DATA: u8 = 3;
    pub const ACK: u8 = 4;
    pub const DISCOVER: u8 = 5;
    pub const OFFER: u8 = 6;
    pub const RESET: u8 = 7;
}

/// A frame that came from the node.
struct Heard {
    kind: u8,
    number: u8,
    data: Vec<u8>,
}

/// Somebody with a terminal.
struct Guest {
    tap: Tap,
    /// The number of what was typed last, and of what was shown last.
    typed: u8,
    shown: u8,
    /// Pieces that came a second time, since they were not acknowledged.
    again: u32,
}

impl Guest {
    fn new(switch: &Switch) -> Self {
        Self {
            tap: switch.tap("guest"),
            typed: 0,
            shown: 0,
            again: 0,
        }
    }

    fn send(&self, to: [u8; 6], kind: u8, number: u8, data: &[u8]) {
        let mut frame = Vec::new();
        frame.extend(to);
        frame.extend(HOST[0].0);
        frame.extend(ETHERTYPE);
        let connection = if kind == kind::DISCOVER {
            0
        } else {
            CONNECTION
        };
        frame.extend([kind, connection, number, data.len() as u8]);
        frame.extend(data);
        frame.resize(frame.len().max(FRAME_MIN), 0);
        self.tap.send(&frame);
    }

    /// The next frame of the protocol that is for us.
    fn hear(&self, within: Duration) -> Result<Option<Heard>, Failure> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(frame) = self.tap.receive(left) else {
                return Ok(None);
            };
            if frame.len() < HEADER || frame[..6] != HOST[0].0 || frame[12..14] != ETHERTYPE {
                continue;
            }
            let len = usize::from(frame[17]);
            let padding = frame.get(HEADER + len..).or_fail("a frame is cut")?;
            if frame.len() < FRAME_MIN || padding.iter().any(|byte| *byte != 0) {
                return Err(Failure::new(format!("no frame of a wire: {frame:02x?}")));
            }
            return Ok(Some(Heard {
                kind: frame[14],
                number: frame[16],
                data: frame[HEADER..HEADER + len].to_vec(),
            }));
        }
    }

    /// Sends until a frame of kind `wanted` comes.
    fn ask(&self, to: [u8; 6], kind: u8, wanted: u8) -> Result<Heard, Failure> {
        for _ in 0..TRIES {
            self.send(to, kind, 0, &[]);
            let deadline = Instant::now() + PATIENCE;
            while let Some(heard) = self.hear(deadline.saturating_duration_since(Instant::now()))? {
                if heard.kind == wanted {
                    return Ok(heard);
                }
            }
        }
        Err(Failure::new(format!("no answer {wanted} to {kind}")))
    }

    fn open(&mut self) -> Result<(), Failure> {
        self.ask(NODE[0].0, kind::OPEN, kind::OPENED)?;
        self.send(NODE[0].0, kind::AGREED, 0, &[]);
        (self.typed, self.shown) = (0, 0);
        Ok(())
    }

    /// Types `line` and returns what is shown up to the next prompt. One piece is
    /// acknowledged only when it comes again, if `lose` says so.
    fn types(&mut self, line: &str, mut lose: bool) -> Result<String, Failure> {
        self.typed = self.typed.wrapping_add(1);
        let mut text = Vec::new();
        let mut is_taken = false;
        for _ in 0..TRIES {
            if !is_taken {
                self.send(NODE[0].0, kind::DATA, self.typed, line.as_bytes());
            }
            while let Some(heard) = self.hear(PATIENCE)? {
                match heard.kind {
                    kind::ACK => is_taken |= heard.number == self.typed,
                    kind::DATA if heard.number == self.shown => {
                        self.again += 1;
                        self.send(NODE[0].0, kind::ACK, heard.number, &[]);
                    }
                    kind::DATA if heard.number == self.shown.wrapping_add(1) => {
                        self.shown = heard.number;
                        text.extend(&heard.data);
                        if !std::mem::take(&mut lose) {
                            self.send(NODE[0].0, kind::ACK, heard.number, &[]);
                        }
                    }
                    // Of a question that was asked twice.
                    kind::OPENED | kind::OFFER => {}
                    other => {
                        return Err(Failure::new(format!("{line:?} is answered by {other}")));
                    }
                }
                let text = String::from_utf8_lossy(&text);
                // The last prompt is what the next line begins behind.
                if is_taken && text.ends_with(PROMPT) && text.contains('\n') {
                    return Ok(text.into_owned());
                }
            }
        }
        let text = String::from_utf8_lossy(&text);
        Err(Failure::new(format!(
            "{line:?} shows no more than {text:?}"
        )))
    }
}

pub(in super::super) fn cec(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    let switch = context.switch("net")?;
    let disk = context.disk("disk", MIB)?;
    let node = world::node(context, "node")
        .append(&format!(
            "ublade.ip=off ublade.cec=on ublade.hostname=cellar ublade.token={TOKEN}"
        ))
        .disk(Disk::file(&disk).serial("quiet"))
        .nic(Nic::on(&switch, NODE[0]).mtu(9000))
        .start(context.folder())?;
    let mut client = Client::new(&switch, CLIENT);
    world::one_export(context, &node, &mut client)?;
    let mut guest = Guest::new(&switch);

    let offer = guest.ask([0xff; 6], kind::DISCOVER, kind::OFFER);
    let offer = offer.map_err(blame(&node))?;
    let offer = String::from_utf8_lossy(&offer.data).into_owned();
    must(offer == format!("{SHELF} cellar"), &node, || {
        format!("it offers {offer:?}")
    })?;
    guest.open().map_err(blame(&node))?;
    for (line, lose, words) in [
        ("exports\r", true, "e5.0  1 MiB  online, read-write"),
        ("status\r", false, "no address"),
        ("set\r", false, "token=(hidden)"),
        ("offline 0\r", false, "say token and the token first"),
        ("token open-barley\r", false, "that is not it"),
        ("exports\r", false, "e5.0  1 MiB  online, read-write"),
        ("token open-sesame\r", false, "changes are open to you"),
        ("offline 0\r", false, "e5.0 is offline"),
    ] {
        let shown = guest.types(line, lose).map_err(blame(&node))?;
        must(shown.contains(words), &node, || {
            format!("{line:?} shows {shown:?}")
        })?;
    }
    must(guest.again > 0, &node, || {
        "what was not acknowledged never came again".to_owned()
    })?;
    let left = client.discover(Duration::from_millis(300));
    must(left.is_empty(), &node, || {
        format!("after offline {left:?} answer")
    })?;
    guest.types("online 0\r", false).map_err(blame(&node))?;
    client
        .wait_for_exports(1, context.seconds(10))
        .map_err(blame(&node))?;

    // Whoever comes next has to say the token anew; and who was reset is told so.
    guest.open().map_err(blame(&node))?;
    let shown = guest.types("offline 0\r", false).map_err(blame(&node))?;
    must(shown.contains("say token"), &node, || {
        format!("a new guest may change things: {shown:?}")
    })?;
    guest.send(NODE[0].0, kind::RESET, 0, &[]);
    guest.send(
        NODE[0].0,
        kind::DATA,
        guest.typed.wrapping_add(1),
        b"status\r",
    );
    let mut is_told = false;
    while !is_told && let Some(heard) = guest.hear(context.seconds(10)).map_err(blame(&node))? {
        is_told = heard.kind == kind::RESET;
    }
    must(is_told, &node, || {
        "who types after the end is not told of it".to_owned()
    })?;
    report.note(format!(
        "found as {offer:?}, ten lines typed and answered without an address; of what was not \
         acknowledged {} came again",
        guest.again
    ));
    Ok(report)
}
