//! The servers of the management network: DHCP, DNS, time, and whoever says ARP, ICMP
//! or anything else.
//!
//! The harness answers what the node really asked, in words that are right until the
//! input changes them, so that an offer has the right number and an answer the right
//! question in it. The node speaks only from an address that somebody gave it, its
//! lines for the log server stay lines, and whatever it was told: AoE does not wait,
//! and every frame comes back to the card.

use crate::lan::{
    HOST, ICMP, NODE, Said, ask_who, hear, icmp, ip, piece, put_ip_right, room_at_rest, say_whose,
    twice, udp,
};
use sim::plain::{MAC, Plain};
use sim::random::Random;

const MOVES_MAX: usize = 48;
const BROADCAST: [u8; 4] = [255; 4];
/// Ports: the servers' and the client's of DHCP, names, time, log.
const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;
const NAMES: u16 = 53;
const TIME: u16 = 123;
const LOG: u16 = 514;
/// How soon a question without an answer comes again.
const FIRST_QUESTION_US: u64 = 21_000_000;
/// Where the options of a DHCP message begin, and the address that it gives.
const OPTIONS: usize = 240;
const YOURS: usize = 16;

/// What the node has asked last.
#[derive(Default)]
struct Asked {
    dhcp: Vec<u8>,
    names: Vec<u8>,
    names_port: u16,
    time: Vec<u8>,
    time_port: u16,
}

/// The servers, and the node.
struct Bench<'a> {
    plain: &'a mut Plain,
    asked: Asked,
    /// Where the node may speak from.
    sources: Vec<[u8; 4]>,
    is_dumb: bool,
    transcript: Vec<Vec<u8>>,
}

impl Bench<'_> {
    fn send(&mut self, frame: &[u8]) {
        self.plain.deliver(frame);
        self.listen();
    }

    fn listen(&mut self) {
        // Ends: every answer of ours is to a question, and those take their time.
        loop {
            self.plain.settle();
            let left = self.plain.left();
            if left.is_empty() {
                return;
            }
            for frame in left {
                match hear(&frame, &self.sources) {
                    Said::Arp { asks: true, about } if about == HOST && !self.is_dumb => {
                        self.plain.deliver(&say_whose(NODE));
                    }
                    Said::Datagram(ports, data) => self.take(ports, data),
                    _ => {}
                }
                self.transcript.push(frame);
            }
        }
    }

    fn take(&mut self, ports: (u16, u16), data: &[u8]) {
        match ports {
            (DHCP_CLIENT, DHCP_SERVER) => {
                assert!(data.len() > OPTIONS && data[28..34] == MAC);
                self.asked.dhcp = data.to_vec();
            }
            (port, NAMES) => {
                (self.asked.names_port, self.asked.names) = (port, data.to_vec());
            }
            (port, TIME) => {
                assert_eq!(data.len(), 48);
                (self.asked.time_port, self.asked.time) = (port, data.to_vec());
            }
            (_, LOG) => check_line(data),
            ports => panic!("nobody speaks to {ports:?}"),
        }
    }

    fn wait(&mut self, us: u64) {
        let end = self.plain.now + us;
        while self.plain.now < end {
            self.plain.sleep(end - self.plain.now);
            self.listen();
        }
    }

    /// A DHCP message to what was asked last, `change`d.
    fn offer(&mut self, kind: u8, detail: u8, change: impl Fn(&mut Vec<u8>)) {
        let mut message = vec![2, 1, 6, 0];
        let question = &self.asked.dhcp;
        message.extend(question.get(4..8).unwrap_or(&[0; 4]));
        message.resize(OPTIONS - 4, 0);
        message[YOURS..YOURS + 4].copy_from_slice(&[10, 0, 0, 5 + (detail >> 4 & 1)]);
        message[28..34].copy_from_slice(&MAC);
        message.extend([99, 130, 83, 99, 53, 1, kind, 54, 4]);
        message.extend(HOST);
        let lease = [3_600u32, 60, 0, u32::MAX][usize::from(detail >> 5 & 3)];
        message.extend([51, 4]);
        message.extend(lease.to_be_bytes());
        for (option, data) in [
            (1, &[255, 255, 255, 0][..]),
            (3, &HOST),
            (6, &HOST),
            (7, &HOST),
            (12, b"cellar"),
            (42, &HOST),
        ] {
            message.extend([option, data.len() as u8]);
            message.extend(data);
        }
        change(&mut message);
        message.push(0xff);
        if let Some(address) = message.get(YOURS..).and_then(|rest| rest.first_chunk()) {
            self.sources.push(*address);
        }
        let frame = udp(BROADCAST, (DHCP_SERVER, DHCP_CLIENT), &message);
        self.send(&frame);
    }

    /// The address that was asked for.
    fn name(&mut self, detail: u8, change: impl Fn(&mut Vec<u8>)) {
        let mut message = self.asked.names.clone();
        if message.len() < 12 {
            return;
        }
        message[2] |= 0x80;
        message[7] = 1;
        // The name by a pointer to the question; an address, or another name.
        message.extend([0xc0, 12, 0, 1 + (detail >> 6 & 1) * 4, 0, 1]);
        message.extend([0, 0, 0, 9, 0, 4]);
        message.extend(HOST);
        change(&mut message);
        let frame = udp(NODE, (NAMES, self.asked.names_port), &message);
        self.send(&frame);
    }

    /// The time that was asked for.
    fn tell_time(&mut self, change: impl Fn(&mut Vec<u8>)) {
        let mut message = vec![4 << 3 | 4, 2];
        message.resize(24, 0);
        message.extend(self.asked.time.get(40..48).unwrap_or(&[0; 8]));
        message.resize(40, 0);
        message.extend(3_913_056_000_u32.to_be_bytes());
        message.extend([0; 4]);
        change(&mut message);
        let frame = udp(NODE, (TIME, self.asked.time_port), &message);
        self.send(&frame);
    }

    fn act(&mut self, act: u8, detail: u8, at: u8, text: &[u8]) {
        let at = usize::from(at);
        // Adds the input's bytes, or puts them over what is there.
        let change = |from: usize| {
            move |message: &mut Vec<u8>| {
                if detail & 1 == 0 {
                    message.extend(text);
                    return;
                }
                for (place, byte) in message.iter_mut().skip(from + at).zip(text) {
                    *place = *byte;
                }
            }
        };
        match act & 7 {
            0 => {
                let kind = [2, 5, 6, detail][usize::from(detail >> 2 & 3)];
                let from = if detail & 2 == 0 { OPTIONS } else { 0 };
                self.offer(kind, detail, change(from));
            }
            1 => {
                let mut frame = match detail & 2 {
                    0 => ask_who([10, 0, 0, detail >> 2]),
                    _ => say_whose([10, 0, 0, detail >> 2]),
                };
                change(14)(&mut frame);
                self.send(&frame);
            }
            2 => self.name(detail, change(0)),
            3 => self.tell_time(change(0)),
            4 => self.wait([1_000, 1_000_000, 17_000_000, 1_100_000_000][usize::from(detail & 3)]),
            5 => {
                let asked = &self.asked;
                let ports = [
                    (DHCP_SERVER, DHCP_CLIENT),
                    (NAMES, asked.names_port),
                    (TIME, asked.time_port),
                    (LOG, 49_514),
                    (80, 80),
                ];
                let (from, to) = ports[usize::from(detail >> 2) % ports.len()];
                let address = [NODE, BROADCAST, [10, 0, 0, 6]][at % 3];
                self.send(&udp(address, (from, to), text));
            }
            6 => {
                let kind = [8, 0, 3, 11][usize::from(detail >> 2 & 3)];
                let packet = icmp(kind, detail >> 4, text);
                self.send(&ip(NODE, ICMP, &packet));
            }
            _ => {
                let mut frame = udp(NODE, (TIME, self.asked.time_port), text);
                frame[14 + at % 20] = detail;
                put_ip_right(&mut frame);
                self.send(&frame);
            }
        }
    }
}

/// A line for the log server (RFC 5424, 6): one line, from one host, with words.
fn check_line(data: &[u8]) {
    let line = str::from_utf8(data).expect("a line is text");
    let words: Vec<&str> = line.splitn(8, ' ').collect();
    let [priority, _, host, "ublade", "-", "-", "-", text] = words[..] else {
        panic!("{line:?}");
    };
    assert!(
        priority.starts_with('<') && priority.ends_with(">1"),
        "{line:?}"
    );
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    assert!(!host.is_empty() && host.chars().all(is_plain), "{line:?}");
    assert!(!text.contains(['\n', '\r', '\0']), "{line:?}");
}

/// Any servers.
pub fn run(data: &[u8]) {
    let Some((&settings, data)) = data.split_first() else {
        return;
    };
    twice(|plain| play(plain, settings, data));
}

/// The whole play. Returns what the node has sent.
fn play((plain, poison): (&mut Plain, u8), settings: u8, mut data: &[u8]) -> Vec<Vec<u8>> {
    let is_fixed = settings & 1 != 0;
    let address = if is_fixed {
        "10.0.0.5/24,10.0.0.1,10.0.0.1"
    } else {
        "dhcp"
    };
    let servers = match settings >> 1 & 3 {
        0 => "syslog=log.example\nntp=time.example",
        1 => "syslog=10.0.0.1:514\nntp=10.0.0.1",
        2 => "",
        _ => "hostname=node\nsyslog=log.example",
    };
    plain.start(&format!("shelf=5\nip={address}\n{servers}"), poison);
    plain.node().hear(b"warning: a line\nanother\n");
    let room = room_at_rest(plain);
    let mut bench = Bench {
        plain,
        asked: Asked::default(),
        sources: vec![if is_fixed { NODE } else { [0; 4] }],
        is_dumb: settings & 16 != 0,
        transcript: Vec::new(),
    };
    // What it asked while its frames were counted it asks again.
    bench.wait(FIRST_QUESTION_US);
    if settings & 8 != 0 {
        let as_it_is = |_: &mut Vec<u8>| {};
        if !is_fixed {
            bench.offer(2, 0, as_it_is);
            bench.offer(5, 0, as_it_is);
        }
        bench.wait(100_000);
        bench.name(0, as_it_is);
        bench.wait(100_000);
        bench.tell_time(as_it_is);
    }
    for _ in 0..MOVES_MAX {
        let Some((&[act, detail, at], rest)) = data.split_first_chunk::<3>() else {
            break;
        };
        data = rest;
        let text = piece(&mut data);
        bench.act(act, detail, at, text);
    }
    bench.plain.node().hear(b"the last line\n");
    bench.wait(2_000_000);
    assert_eq!(room_at_rest(bench.plain), room, "every frame is back");
    bench.transcript
}

/// Servers that are nearly right.
pub fn generate(random: &mut Random, input: &mut Vec<u8>) {
    input.push(random.next() as u8 & if random.one_in(4) { 0xff } else { 0xef });
    for _ in 0..random.between(1, 8) {
        let act = random.below(8) as u8;
        let mut detail = random.next() as u8;
        if random.one_in(2) {
            // A message as it should be.
            detail &= 0x0c;
            input.extend([act, detail, 0, 0]);
            continue;
        }
        let mut text = vec![0; random.below(24) as usize];
        random.fill(&mut text);
        if act == 0 && random.one_in(2) {
            // One more option.
            let option = *random.pick(&[1, 3, 6, 7, 12, 42, 51, 53, 58]);
            let len = text.len() as u8;
            text.splice(0..0, [option, len]);
            detail &= 0xfe;
        }
        input.extend([act, detail, random.below(48) as u8, text.len() as u8]);
        input.extend(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whom the node asks once it has an address.
    fn asked_from_its_address(settings: u8) -> Vec<u16> {
        let told = play((&mut Plain::new(), 0xa5), settings, &[]);
        let ports = told
            .iter()
            .filter_map(|frame| match hear(frame, &[[0; 4], NODE]) {
                Said::Datagram((_, to), _) if frame[26..30] == NODE => Some(to),
                _ => None,
            });
        ports.collect()
    }

    #[test]
    fn servers_that_say_what_is_right_are_understood() {
        let asked = asked_from_its_address(8 | 2);
        assert!(asked.contains(&LOG) && asked.contains(&TIME), "{asked:?}");
        let asked = asked_from_its_address(8);
        assert!(asked.contains(&NAMES), "{asked:?}");
        assert!(asked.contains(&LOG) || asked.contains(&TIME), "{asked:?}");
        assert!(asked_from_its_address(0).is_empty(), "nobody gave it one");
    }
}
