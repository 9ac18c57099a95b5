//! The console: whoever types on the serial port, and guests over the Ethernet (CEC).
//!
//! A guest may trickle, fall silent, lie about numbers and connections, and take the
//! terminal over from another. Every frame to a guest is one of the protocol, with
//! nothing but zeros behind its data; what is shown is text; without a token a guest
//! changes nothing. In the end everybody is gone, AoE is answered, and every frame is
//! back at the card.

use crate::lan::{HOST_MAC, hear, piece, room_at_rest, twice};
use sim::plain::{MAC as NODE_MAC, Plain};
use sim::random::Random;

const ETHERTYPE: [u8; 2] = [0xbc, 0xbc];
/// Kinds of frames, as 9front's `cec` numbers them.
const OPEN: u8 = 0;
const OPENED: u8 = 1;
const AGREED: u8 = 2;
const DATA: u8 = 3;
const ACK: u8 = 4;
const OFFER: u8 = 6;
const RESET: u8 = 7;

const GUESTS: [[u8; 6]; 2] = [HOST_MAC, [2, 0, 0, 0, 8, 8]];
const MOVES_MAX: usize = 64;
/// All that 64 moves can ask to be shown is shorter.
const SHOWN_BYTES_MAX: usize = 4 << 20;
/// Longer than a guest may be silent, tries and all.
const PATIENCE_US: u64 = 10_000_000;

/// A guest over the Ethernet, seen from its own end.
#[derive(Clone, Copy, Default)]
struct Guest {
    connection: u8,
    /// The number of its last data.
    said: u8,
}

struct Bench<'a> {
    plain: &'a mut Plain,
    guests: [Guest; GUESTS.len()],
    /// Guests do not acknowledge.
    are_mute: bool,
    /// Frames that the node has sent, and what the serial port has shown.
    transcript: Vec<Vec<u8>>,
    shown_bytes: usize,
}

impl Bench<'_> {
    /// A frame of a guest, with anything behind its type.
    fn deliver(&mut self, guest: usize, to: [u8; 6], payload: &[u8]) {
        let mut frame = [&to[..], &GUESTS[guest], &ETHERTYPE, payload].concat();
        frame.resize(frame.len().max(60), 0);
        self.plain.deliver(&frame);
        self.listen();
    }

    fn send(&mut self, guest: usize, kind: u8, connection: u8, number: u8, data: &[u8]) {
        let head = [kind, connection, number, data.len() as u8];
        self.deliver(guest, NODE_MAC, &[&head, data].concat());
    }

    /// Lets the node do what it has to do, and hears it out.
    fn listen(&mut self) {
        // Ends: what is shown does, and an acknowledgement is sent once for each piece.
        loop {
            self.plain.settle();
            let left = self.plain.left();
            if left.is_empty() {
                return;
            }
            for frame in left {
                if frame[12..14] == ETHERTYPE {
                    self.take(&frame);
                } else {
                    hear(&frame, &[]);
                }
                self.transcript.push(frame);
            }
        }
    }

    /// A frame of the node to a guest.
    fn take(&mut self, frame: &[u8]) {
        assert!((60..=14 + 4 + 255).contains(&frame.len()));
        assert_eq!(frame[6..12], NODE_MAC);
        let guest = GUESTS.iter().position(|guest| frame[..6] == guest[..]);
        let guest = guest.expect("it speaks to those who have spoken");
        let [kind, connection, number, len] = frame[14..18].try_into().expect("four");
        let (data, rest) = frame[18..].split_at(usize::from(len));
        assert!(rest.iter().all(|byte| *byte == 0), "{frame:02x?}");
        match kind {
            DATA => {
                self.look_at(data);
                if !self.are_mute {
                    let head = [ACK, connection, number, 0];
                    let mut ack = [&NODE_MAC[..], &GUESTS[guest], &ETHERTYPE, &head].concat();
                    ack.resize(60, 0);
                    self.plain.deliver(&ack);
                }
            }
            OFFER => self.look_at(data),
            OPENED | ACK | RESET => assert_eq!(len, 0),
            kind => panic!("the node says {kind}"),
        }
    }

    /// What is shown is text, and what a terminal understands.
    fn look_at(&mut self, shown: &[u8]) {
        self.shown_bytes += shown.len();
        assert!(self.shown_bytes < SHOWN_BYTES_MAX, "there is no end to it");
        let is_text = |byte: &u8| matches!(byte, 0x07 | 0x08 | b'\n' | b'\r' | 0x1b | 0x20..=0x7e);
        let is_word = |byte: &u8| is_text(byte) || *byte >= 0x80;
        assert!(shown.iter().all(is_word), "{shown:02x?}");
    }

    /// Takes up to so many bytes from the serial port. False if there were none.
    fn read(&mut self, bytes: usize) -> bool {
        let mut shown = vec![0; bytes];
        let len = self.plain.node().answer_typing(&mut shown);
        shown.truncate(len);
        self.look_at(&shown);
        self.transcript.push(shown);
        self.listen();
        len > 0
    }

    fn act(&mut self, act: u8, detail: u8, text: &[u8]) {
        let guest = usize::from(act >> 3) % GUESTS.len();
        match act & 7 {
            0 => {
                self.plain.node().type_in(text);
                self.listen();
            }
            1 => {
                self.read(usize::from(detail));
            }
            2 => {
                let connection = detail & 3;
                self.guests[guest] = Guest {
                    connection,
                    said: 0,
                };
                self.send(guest, OPEN, connection, 0, &[]);
                self.send(guest, AGREED, connection, 0, &[]);
            }
            3 | 4 => {
                self.guests[guest].said = self.guests[guest].said.wrapping_add(1);
                let Guest { connection, said } = self.guests[guest];
                self.send(guest, DATA, connection, said, text);
            }
            5 => self.send(guest, detail & 7, detail >> 3 & 3, detail >> 5, text),
            6 => {
                let to = if detail & 1 == 0 { NODE_MAC } else { [0xff; 6] };
                self.deliver(guest, to, text);
            }
            _ => self.wait([10_000, 1_100_000, 3_500_000][usize::from(detail % 3)]),
        }
    }

    fn wait(&mut self, us: u64) {
        let end = self.plain.now + us;
        while self.plain.now < end {
            self.plain.sleep(end - self.plain.now);
            self.listen();
        }
    }
}

/// Anybody at the console.
pub fn run(data: &[u8]) {
    let Some((&settings, data)) = data.split_first() else {
        return;
    };
    twice(|plain| play(plain, settings, data));
}

fn play((plain, poison): (&mut Plain, u8), settings: u8, mut data: &[u8]) -> Vec<Vec<u8>> {
    // Who types on the machine itself may change things, and so may who has the token.
    let has_keyboard = settings & 1 != 0;
    let has_token = settings & 2 != 0;
    let token = if has_token { "token=open" } else { "" };
    plain.start(&format!("shelf=5\nip=off\ncec=on\n{token}"), poison);
    plain
        .node()
        .hear(b"info: a line \xc3\xa9 with \x01\x7f in it\n");
    let room = room_at_rest(plain);
    let mut bench = Bench {
        plain,
        guests: [Guest::default(); GUESTS.len()],
        are_mute: settings & 4 != 0,
        transcript: Vec::new(),
        shown_bytes: 0,
    };
    for _ in 0..MOVES_MAX {
        let Some((&[act, detail], rest)) = data.split_first_chunk::<2>() else {
            break;
        };
        data = rest;
        let text = if matches!(act & 7, 0 | 3..=6) {
            piece(&mut data)
        } else {
            &[]
        };
        if act & 7 != 0 || has_keyboard {
            bench.act(act, detail, text);
        }
    }
    bench.wait(PATIENCE_US);
    while bench.read(97) {}
    let is_closed = bench.plain.node().closed().is_some();
    assert!(
        !is_closed || has_keyboard || has_token,
        "a guest without a token has stopped the node"
    );
    if !is_closed {
        if has_keyboard || has_token {
            // Whatever was ordered: the export is wanted now.
            bench.plain.node().type_in(b"\x03\ronline 0\r");
            bench.listen();
            while bench.read(97) {}
        }
        assert_eq!(room_at_rest(bench.plain), room, "every frame is back");
    }
    bench.transcript
}

/// People who type nearly right.
pub fn generate(random: &mut Random, input: &mut Vec<u8>) {
    input.push(random.next() as u8);
    for _ in 0..random.between(2, 10) {
        let guest = (random.below(GUESTS.len() as u64) as u8) << 3;
        let act = *random.pick(&[0, 0, 1, 2, 3, 3, 4, 5, 6, 7]);
        input.extend([guest | act, random.next() as u8]);
        if !matches!(act, 0 | 3..=6) {
            continue;
        }
        let words = *random.pick(&[
            "help",
            "status",
            "exports",
            "disks",
            "ports",
            "clients",
            "hist",
            "log",
            "trace",
            "set",
            "set log=warn",
            "set shelf=9",
            "set token=open",
            "unset log",
            "save",
            "token open",
            "token shut",
            "online 0",
            "offline 0",
            "offline 255",
            "reboot",
            "poweroff",
            "\x1b[A",
            "\x03",
            "\x15",
        ]);
        let mut text = format!("{words}\r").into_bytes();
        if random.one_in(3) {
            let at = random.below(text.len() as u64) as usize;
            text[at] = random.next() as u8;
        }
        input.push(text.len() as u8);
        input.extend(text);
    }
}
