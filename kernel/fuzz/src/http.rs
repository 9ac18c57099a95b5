//! HTTP: a few clients with any text, any pace and any manners.
//!
//! The harness plays TCP by hand, so a client may trickle, stop to read, come back
//! out of order, reset, or lie about what it has heard. Every answer that is whole
//! is one that a browser takes; an order needs the token; the log and the pages are
//! the same whatever lay in the frames before. In the end, all time limits over,
//! somebody else asks and is answered, and every frame is back at the card.

use crate::lan::{
    ACK, FIN, HOST, NODE, RST, SYN, Said, Segment, ask_who, hear, piece, room_at_rest, say_whose,
    twice,
};
use sim::plain::Plain;
use sim::random::Random;

const PORT: u16 = 80;
const CLIENTS: usize = 10;
const MOVES_MAX: usize = 64;
/// Everything that is to be had is shorter.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// The longest time limit of the server, and more.
const PATIENCE_US: u64 = 30_000_000;
/// Paths that are there, and one that is not.
const PATHS: [&str; 14] = [
    "/",
    "/metrics",
    "/healthz",
    "/readyz",
    "/api/v1/status",
    "/api/v1/exports",
    "/api/v1/disks",
    "/api/v1/ports",
    "/api/v1/clients",
    "/api/v1/log",
    "/api/v1/trace",
    "/api/v1/reboot",
    "/api/v1/poweroff",
    "/none",
];

/// One connection, seen from its client.
#[derive(Default)]
struct Client {
    is_open: bool,
    port: u16,
    /// Our next byte, and the node's.
    seq: u32,
    ack: u32,
    window: u16,
    /// It does not say what it has heard.
    is_mute: bool,
    said: Vec<u8>,
    heard: Vec<u8>,
    is_whole: bool,
    is_reset: bool,
    /// It has broken the rules of TCP, and what it hears means nothing.
    is_rude: bool,
}

/// The clients, and the node that they talk to.
struct Bench<'a> {
    plain: &'a mut Plain,
    clients: Vec<Client>,
    ports: u16,
    /// Every frame that the node has sent.
    transcript: Vec<Vec<u8>>,
}

impl Bench<'_> {
    fn send(&mut self, at: usize, flags: u8, data: &[u8]) {
        let client = &mut self.clients[at];
        let segment = Segment {
            ports: (client.port, PORT),
            seq: client.seq,
            ack: client.ack,
            flags,
            window: client.window,
            data,
        };
        let is_more = flags & (SYN | FIN) != 0;
        client.seq = client
            .seq
            .wrapping_add(data.len() as u32 + u32::from(is_more));
        self.plain.deliver(&segment.frame());
        self.listen();
    }

    fn open(&mut self, at: usize) {
        let port = 50_000 + self.ports;
        self.ports += 1;
        self.clients[at] = Client {
            is_open: true,
            port,
            seq: u32::MAX - 5,
            window: u16::MAX,
            ..Client::default()
        };
        self.send(at, SYN, &[]);
    }

    /// Says something in its turn, as one segment.
    fn say(&mut self, at: usize, text: &[u8]) {
        if !self.clients[at].is_open {
            self.open(at);
        }
        self.clients[at].said.extend(text);
        self.send(at, ACK, text);
    }

    /// Lets the node do what it has to do, and hears it out.
    fn listen(&mut self) {
        // Ends: an answer is at most so long, and a client says so at most as often.
        loop {
            self.plain.settle();
            let left = self.plain.left();
            if left.is_empty() {
                return;
            }
            for frame in left {
                match hear(&frame, &[NODE]) {
                    Said::Segment(segment) => self.take(segment),
                    Said::Arp { asks: true, about } if about == HOST => {
                        self.plain.deliver(&say_whose(NODE));
                    }
                    _ => {}
                }
                self.transcript.push(frame);
            }
        }
    }

    fn take(&mut self, segment: Segment<'_>) {
        let (from, to) = segment.ports;
        assert_eq!(from, PORT);
        let mut clients = self.clients.iter_mut();
        let Some(client) = clients.find(|client| client.is_open && client.port == to) else {
            return;
        };
        if segment.flags & RST != 0 {
            (client.is_open, client.is_reset) = (false, true);
            return;
        }
        if segment.flags & SYN != 0 {
            client.ack = segment.seq.wrapping_add(1);
        } else if segment.seq == client.ack {
            client.heard.extend(segment.data);
            assert!(
                client.heard.len() <= ANSWER_BYTES_MAX,
                "there is no end to it"
            );
            client.ack = client.ack.wrapping_add(segment.data.len() as u32);
            if segment.flags & FIN != 0 {
                client.ack = client.ack.wrapping_add(1);
                client.is_whole = true;
            }
        } else if segment.data.is_empty() && segment.flags & FIN == 0 {
            return;
        }
        if client.is_mute || segment.data.is_empty() && segment.flags & (SYN | FIN) == 0 {
            return;
        }
        let (port, seq, ack, window) = (client.port, client.seq, client.ack, client.window);
        let answer = Segment {
            ports: (port, PORT),
            seq,
            ack,
            flags: ACK,
            window,
            data: &[],
        };
        self.plain.deliver(&answer.frame());
    }

    /// Lets time go by.
    fn wait(&mut self, us: u64) {
        let end = self.plain.now + us;
        while self.plain.now < end {
            self.plain.sleep(end - self.plain.now);
            self.listen();
        }
    }

    fn act(&mut self, act: u8, detail: u8, text: &[u8]) {
        let at = usize::from(act >> 3) % CLIENTS;
        match act & 7 {
            0..=2 => self.say(at, text),
            3 => self.open(at),
            4 => self.wait([1_000, 100_000, 3_000_000, 21_000_000][usize::from(detail & 3)]),
            _ if !self.clients[at].is_open => {}
            5 => {
                self.send(
                    at,
                    if detail & 1 == 0 {
                        ACK | FIN
                    } else {
                        ACK | RST
                    },
                    &[],
                );
                self.clients[at].is_rude |= detail & 1 != 0;
            }
            6 => {
                let client = &mut self.clients[at];
                client.is_mute = detail & 4 != 0;
                client.window = [u16::MAX, 0, 1, 536][usize::from(detail & 3)];
                self.send(at, ACK, &[]);
            }
            // A segment that is not due: of another place, with other flags.
            _ => {
                let client = &mut self.clients[at];
                client.is_rude = true;
                let segment = Segment {
                    ports: (client.port, PORT),
                    seq: client.seq.wrapping_add_signed(i32::from(detail as i8)),
                    ack: client.ack.wrapping_sub(u32::from(detail >> 6)),
                    flags: detail,
                    window: client.window,
                    data: text,
                };
                let frame = segment.frame();
                self.plain.deliver(&frame);
                self.listen();
            }
        }
    }
}

/// Any clients.
pub fn run(data: &[u8]) {
    let Some((&settings, data)) = data.split_first() else {
        return;
    };
    twice(|plain| play(plain, settings, data));
}

/// The whole play. Returns what the node has sent.
fn play((plain, poison): (&mut Plain, u8), settings: u8, mut data: &[u8]) -> Vec<Vec<u8>> {
    let has_token = settings & 1 != 0;
    let token = if has_token { "token=open" } else { "" };
    plain.start(&format!("shelf=5\nip=10.0.0.5/24\n{token}"), poison);
    plain
        .node()
        .hear(b"warning: <script>\"\\ \xc3\xa9\x01\x7f</script>\n");
    let room = room_at_rest(plain);
    let mut bench = Bench {
        plain,
        clients: (0..CLIENTS).map(|_| Client::default()).collect(),
        ports: 0,
        transcript: Vec::new(),
    };
    bench.plain.deliver(&ask_who(NODE));
    bench.listen();
    for _ in 0..MOVES_MAX {
        let Some((&[act, detail], rest)) = data.split_first_chunk::<2>() else {
            break;
        };
        data = rest;
        let text = if matches!(act & 7, 0..=2 | 7) {
            piece(&mut data)
        } else {
            &[]
        };
        bench.act(act, detail, text);
        for client in &bench.clients {
            check(client, has_token);
        }
    }
    // Nobody says anything any more, and who was to be cut off is.
    bench.wait(PATIENCE_US);
    if bench.plain.node().closed().is_none() {
        bench.open(0);
        bench.say(0, b"GET /healthz HTTP/1.0\r\n\r\n");
        bench.wait(1_000_000);
        let client = &bench.clients[0];
        assert!(client.heard.starts_with(b"HTTP/1.1 200 ") && client.is_whole);
        bench.send(0, ACK | FIN, &[]);
        bench.wait(1_000_000);
        assert_eq!(room_at_rest(bench.plain), room, "every frame is back");
    }
    bench.transcript
}

/// What a client has heard by now.
fn check(client: &Client, has_token: bool) {
    if client.is_rude || client.heard.is_empty() {
        return;
    }
    let is_look = [&b"GET "[..], b"HEAD "]
        .iter()
        .any(|method| client.said.starts_with(method));
    if client.heard.starts_with(b"HTTP/1.1 2") && !is_look {
        let has = |words: &[u8]| client.said.windows(words.len()).any(|part| part == words);
        assert!(
            has_token && has(b"Bearer open"),
            "a change without the token"
        );
    }
    if client.is_whole && !client.is_reset {
        check_answer(&client.heard, client.said.starts_with(b"HEAD "));
    }
}

/// What is in front of `mark`, and what is behind it.
fn split<'a>(bytes: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(mark.len()).position(|part| part == mark)?;
    Some((&bytes[..at], &bytes[at + mark.len()..]))
}

/// A whole answer is one that a browser takes.
fn check_answer(answer: &[u8], is_head: bool) {
    let (head, body) = split(answer, b"\r\n\r\n").expect("a head has an end");
    let mut lines = str::from_utf8(head).expect("a head is text").split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
    let (status, _) = status
        .and_then(|rest| rest.split_once(' '))
        .expect("a status");
    let number: u16 = status.parse().expect("a status is a number");
    assert!(
        (200..300).contains(&number) || (400..504).contains(&number),
        "{status}"
    );
    let headers: Vec<(&str, &str)> = lines
        .map(|line| line.split_once(": ").expect("a name and a value"))
        .collect();
    let value = |name: &str| {
        let mut named = headers.iter().filter(|(one, _)| *one == name);
        let value = named.next().map(|(_, value)| *value);
        assert!(named.next().is_none(), "two of {name}");
        value
    };
    assert_eq!(value("Connection"), Some("close"));
    let body = match value("Transfer-Encoding") {
        Some("chunked") => from_chunks(body),
        None => body.to_vec(),
        other => panic!("{other:?}"),
    };
    // A request that could not be read is answered as if it had asked for a body.
    if is_head && !matches!(number, 400 | 413 | 431) {
        assert_eq!(body, b"", "HEAD asks for no body");
        return;
    }
    let kind = value("Content-Type").expect("a kind");
    if kind == "application/json" {
        let json: Result<serde_json::Value, _> = serde_json::from_slice(&body);
        let text = String::from_utf8_lossy(&body);
        assert!(json.is_ok(), "{json:?} in {text}");
    } else if kind.starts_with("text/") {
        let text = str::from_utf8(&body).expect("a text is one");
        assert!(text.ends_with('\n'));
        let is_page = kind.starts_with("text/html");
        assert!(!is_page || text.ends_with("</body></html>\n") && text.len() < 40 << 10);
        assert!(
            !is_page || !text.contains("<script>"),
            "a text stays a text"
        );
    }
}

fn from_chunks(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let (len, rest) = split(bytes, b"\r\n").expect("a chunk's length");
        let len = str::from_utf8(len).ok();
        let len = len.and_then(|len| usize::from_str_radix(len, 16).ok());
        let (chunk, rest) = rest.split_at(len.expect("a length is a number"));
        bytes = rest.strip_prefix(b"\r\n").expect("a chunk's end");
        body.extend(chunk);
        if chunk.is_empty() {
            assert!(bytes.is_empty(), "nothing behind the last chunk");
            return body;
        }
    }
}

/// Clients who ask nearly right.
pub fn generate(random: &mut Random, input: &mut Vec<u8>) {
    input.push(random.next() as u8);
    for _ in 0..random.between(1, 6) {
        let client = (random.below(CLIENTS as u64) as u8) << 3;
        if random.one_in(2) {
            let act = *random.pick(&[3, 4, 4, 5, 6, 7]);
            input.extend([client | act, random.next() as u8]);
            if act == 7 {
                input.extend([2, b'x', b'y']);
            }
            continue;
        }
        let method = *random.pick(&["GET", "GET", "GET", "HEAD", "POST", "PUT", "BREW"]);
        let path = *random.pick(&PATHS);
        let version = *random.pick(&["1.1", "1.1", "1.0", "9"]);
        let mut text = format!("{method} {path} HTTP/{version}\r\n").into_bytes();
        for _ in 0..random.below(3) {
            let header = *random.pick(&[
                "Host: node\r\n",
                "Authorization: Bearer open\r\n",
                "authorization: Bearer shut\r\n",
                "Content-Length: 3\r\n",
                "Content-Length: 99999999999999999999\r\n",
                "Transfer-Encoding: chunked\r\n",
            ]);
            text.extend(header.as_bytes());
        }
        text.extend(b"\r\nabc");
        if random.one_in(3) {
            let at = random.below(text.len() as u64) as usize;
            text[at] = random.next() as u8;
        }
        for part in text.chunks(random.between(9, 255) as usize) {
            input.extend([client, 0, part.len() as u8]);
            input.extend(part);
        }
    }
}
