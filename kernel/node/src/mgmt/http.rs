//! The web server: a few connections, one request each, answered piece by piece.
//!
//! Every connection has its memory from the start. When all of them are taken the
//! one that has been silent longest is cut off, so a thousand slow clients wait
//! for each other and not in front of an operator, whose request arrives whole
//! within a round trip. One piece is made in a turn, and one wish carried out,
//! whoever asks.

use super::operate::{Told, Wish};
use super::out::{Out, PIECE_BYTES, Quoted, put};
use super::pages::{Cursor, Document, Topic, View};
use super::request::{self, Method, Parsed, Request};
use crate::closing::Order;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use io::{Disk, Instant, Nic, Text};
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{self, Socket, State};

/// Connections at once: a browser opens six.
pub const CONNECTIONS: usize = 8;
/// Bytes of a request with its headers and body.
const REQUEST_BYTES: usize = 4096;
/// Bytes of an answer that may be under way.
const ANSWER_BYTES: usize = 8192;
/// A piece and what HTTP puts around it.
const FRAMED_BYTES: usize = PIECE_BYTES + HEAD_BYTES;
/// Status line and headers, or a chunk's frame.
const HEAD_BYTES: usize = 512;
const _: () = assert!(
    FRAMED_BYTES <= ANSWER_BYTES,
    "a piece fits into a connection"
);

/// How long a request may take to arrive.
const REQUEST_US: u64 = 10_000_000;
/// How long a client may take for a piece.
const PIECE_US: u64 = 20_000_000;
/// How long a client may take to let go.
const CLOSING_US: u64 = 3_000_000;

#[derive(Clone, Copy)]
enum Phase {
    /// Nobody is there, or their connection is being made.
    Free,
    /// A request is arriving.
    Reading,
    /// It is whole, and what it wants is being done.
    Wishing(Answer),
    /// An answer is on its way.
    Answering(Answer),
    /// All is said.
    Closing,
    /// Cut off: the stack still has to say so.
    Cut,
}

/// An answer that is being made.
#[derive(Clone, Copy)]
struct Answer {
    document: Document,
    cursor: Cursor,
    head_is_out: bool,
    in_chunks: bool,
    /// HEAD asks for no body.
    has_body: bool,
    /// What must be durable before this leaves.
    pending: Option<usize>,
    /// What may be done here instead.
    allowed: &'static str,
}

struct Connection {
    handle: SocketHandle,
    phase: Phase,
    /// When this phase began, or when it last went on.
    since: Instant,
    /// What became of a wish.
    words: Text<240>,
}

/// See the module's header.
pub struct Http {
    port: u16,
    connections: Vec<Connection>,
    scratch: Box<[u8]>,
    /// The wish of this turn: whose it is, and what came with it.
    wish: Option<(usize, Wish)>,
    body: Vec<u8>,
    /// Requests answered so far.
    pub answered: u64,
    /// Clients cut off so far.
    pub cut_off: u64,
}

impl Http {
    pub fn new(port: u16, sockets: &mut SocketSet<'static>, now: Instant) -> Self {
        let connect = |_| {
            let mut socket = Socket::new(
                tcp::SocketBuffer::new(vec![0; REQUEST_BYTES]),
                tcp::SocketBuffer::new(vec![0; ANSWER_BYTES]),
            );
            // A piece is sent as soon as it is made.
            socket.set_nagle_enabled(false);
            Connection {
                handle: sockets.add(socket),
                phase: Phase::Free,
                since: now,
                words: Text::EMPTY,
            }
        };
        Self {
            port,
            connections: (0..CONNECTIONS).map(connect).collect(),
            scratch: vec![0; FRAMED_BYTES].into_boxed_slice(),
            wish: None,
            body: Vec::with_capacity(REQUEST_BYTES),
            answered: 0,
            cut_off: 0,
        }
    }

    /// When a client's patience with us, or ours with it, ends.
    pub fn deadline(&self) -> Option<Instant> {
        self.connections.iter().filter_map(limit).min()
    }

    /// Goes on with every connection; makes one piece at most. True if there is
    /// more to make right now.
    #[cold]
    pub fn turn<N: Nic, D: Disk>(
        &mut self,
        now: Instant,
        sockets: &mut SocketSet<'static>,
        view: &View<'_, N, D>,
    ) -> bool {
        let mut piece_is_made = false;
        let mut is_more = false;
        for index in 0..self.connections.len() {
            let connection = &mut self.connections[index];
            let socket = sockets.get_mut::<Socket<'_>>(connection.handle);
            if limit(connection).is_some_and(|limit| now >= limit) {
                self.cut_off += u64::from(!matches!(connection.phase, Phase::Closing));
                socket.abort();
                connection.phase = Phase::Cut;
                continue;
            }
            match connection.phase {
                Phase::Free if !socket.is_open() => {
                    // The port is not 0 and the socket is closed.
                    let _ = socket.listen(self.port);
                }
                Phase::Free if socket.state() != State::Listen => {
                    connection.phase = Phase::Reading;
                    connection.since = now;
                    is_more = true;
                }
                Phase::Free => {}
                // One wish a turn: the next one stays where it is.
                Phase::Reading if self.wish.is_some() => is_more = true,
                Phase::Reading => {
                    if let Some(answer) = self.read(index, sockets, view.token()) {
                        self.answered += 1;
                        self.connections[index].phase = match self.wish {
                            Some(_) => Phase::Wishing(answer),
                            None => Phase::Answering(answer),
                        };
                        self.connections[index].since = now;
                        is_more = true;
                    }
                }
                Phase::Wishing(_) => {}
                Phase::Answering(_) if piece_is_made => is_more = true,
                Phase::Answering(answer) => {
                    let made = self.answer(now, index, answer, sockets, view);
                    piece_is_made |= made;
                    is_more |= made;
                }
                Phase::Closing if matches!(socket.state(), State::TimeWait | State::Closed) => {
                    // The client has all and has let go; its own end keeps the
                    // time that TCP wants to pass.
                    socket.abort();
                    connection.phase = Phase::Cut;
                    is_more = true;
                }
                Phase::Closing => {}
                Phase::Cut => {
                    connection.phase = Phase::Free;
                    let _ = socket.listen(self.port);
                }
            }
        }
        self.make_room(sockets);
        is_more
    }

    /// Looks at what has arrived of a request.
    #[cold]
    #[inline(never)]
    fn read(
        &mut self,
        index: usize,
        sockets: &mut SocketSet<'static>,
        token: &str,
    ) -> Option<Answer> {
        let connection = &mut self.connections[index];
        let socket = sockets.get_mut::<Socket<'_>>(connection.handle);
        if !socket.is_active() || !socket.may_recv() && !socket.can_recv() {
            if !matches!(socket.state(), State::SynReceived | State::SynSent) {
                socket.abort();
                connection.phase = Phase::Cut;
            }
            return None;
        }
        // One request a connection: it begins where the buffer begins, so it lies
        // in one piece.
        let bytes = socket.peek(REQUEST_BYTES).unwrap_or(&[]);
        let plain = |document| Answer {
            document,
            cursor: Cursor::default(),
            head_is_out: false,
            in_chunks: false,
            has_body: true,
            pending: None,
            allowed: "",
        };
        match request::parse(bytes, REQUEST_BYTES) {
            Parsed::Partial => None,
            Parsed::Bad => Some(plain(Document::Refusal(400))),
            Parsed::TooLong => Some(plain(Document::Refusal(431))),
            Parsed::TooMuch => Some(plain(Document::Refusal(413))),
            Parsed::Whole(request) => {
                let mut answer = Answer {
                    in_chunks: request.takes_chunks,
                    has_body: request.method != Method::Head,
                    ..plain(Document::Refusal(404))
                };
                match route(&request, token) {
                    Routed::Look(document) => answer.document = document,
                    Routed::NotSo(allowed) => {
                        answer.document = Document::Refusal(405);
                        answer.allowed = allowed;
                    }
                    Routed::Do(wish) => {
                        self.wish = Some((index, wish));
                        self.body.clear();
                        // A request is never longer than this has room for.
                        self.body.extend_from_slice(request.body);
                    }
                }
                Some(answer)
            }
        }
    }

    /// What somebody who may wants to have done.
    pub fn wish(&self) -> Option<Wish> {
        self.wish.map(|(_, wish)| wish)
    }

    /// What came with the wish, until [`tell`](Self::tell).
    pub fn lend_body(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.body)
    }

    /// What became of the wish.
    #[cold]
    pub fn tell(&mut self, body: Vec<u8>, told: Told) {
        self.body = body;
        let Some((index, wish)) = self.wish.take() else {
            return;
        };
        let document = match wish {
            Wish::Capture(_) => Document::Capture,
            _ => Document::Told(told.status),
        };
        let connection = &mut self.connections[index];
        // It may have been cut off in the meantime.
        if let Phase::Wishing(answer) = connection.phase {
            connection.words = told.words;
            connection.phase = Phase::Answering(Answer {
                document,
                pending: told.pending,
                ..answer
            });
        }
    }

    /// Makes the next piece, if the connection has room for it.
    #[cold]
    #[inline(never)]
    fn answer<N: Nic, D: Disk>(
        &mut self,
        now: Instant,
        index: usize,
        mut answer: Answer,
        sockets: &mut SocketSet<'static>,
        view: &View<'_, N, D>,
    ) -> bool {
        let connection = &mut self.connections[index];
        let socket = sockets.get_mut::<Socket<'_>>(connection.handle);
        if !socket.may_send() {
            socket.abort();
            connection.phase = Phase::Cut;
            return true;
        }
        if socket.send_capacity() - socket.send_queue() < FRAMED_BYTES {
            return false;
        }
        if answer.pending.is_some_and(|what| view.is_pending(what)) {
            return false;
        }
        if answer.document == Document::Ready && !view.is_ready() {
            answer.document = Document::Refusal(503);
        }
        let (frame, piece) = self.scratch.split_at_mut(HEAD_BYTES);
        let mut is_last = !answer.has_body;
        let mut out = Out::new(piece);
        if let (Document::Told(status), true) = (answer.document, answer.has_body) {
            let key = if status < 300 { "done" } else { "error" };
            put!(out, "{{\"{key}\":\"{}\"}}\n", Quoted(connection.words));
            is_last = true;
        } else if answer.has_body {
            is_last = !view.write(answer.document, &mut answer.cursor, &mut out);
            debug_assert!(
                !out.is_cut(),
                "a piece of {:?} is too long",
                answer.document
            );
        }
        let is_silent = out.written().is_empty() && !is_last;
        if answer.document == Document::Capture && answer.head_is_out && is_silent {
            // Nothing has passed since: that is not the client's fault.
            connection.since = now;
            return false;
        }
        let mut head = Out::new(frame);
        if !answer.head_is_out {
            answer.head_is_out = true;
            write_head(&mut head, &answer);
        }
        let body = out.written();
        let is_chunk = answer.in_chunks && !body.is_empty();
        if is_chunk {
            put!(head, "{:x}\r\n", body.len());
        }
        let end: &[u8] = match (is_chunk, is_last && answer.in_chunks && answer.has_body) {
            (true, true) => b"\r\n0\r\n\r\n",
            (true, false) => b"\r\n",
            (false, true) => b"0\r\n\r\n",
            (false, false) => b"",
        };
        for part in [head.written(), body, end] {
            // There is room; that was asked first.
            let _ = socket.send_slice(part);
        }
        connection.since = now;
        connection.phase = if is_last {
            socket.close();
            Phase::Closing
        } else {
            Phase::Answering(answer)
        };
        true
    }

    /// Cuts the most silent client off if nobody else could come in.
    #[cold]
    fn make_room(&mut self, sockets: &mut SocketSet<'static>) {
        let is_free =
            |connection: &Connection| matches!(connection.phase, Phase::Free | Phase::Cut);
        if self.connections.iter().any(is_free) {
            return;
        }
        let rank = |connection: &&mut Connection| {
            let order = match connection.phase {
                Phase::Closing => 0,
                Phase::Reading => 1,
                Phase::Wishing(_) => 3,
                _ => 2,
            };
            (order, connection.since)
        };
        if let Some(connection) = self.connections.iter_mut().min_by_key(rank) {
            self.cut_off += 1;
            sockets.get_mut::<Socket<'_>>(connection.handle).abort();
            connection.phase = Phase::Cut;
        }
    }
}

fn limit(connection: &Connection) -> Option<Instant> {
    let us = match connection.phase {
        Phase::Free => return None,
        Phase::Reading => REQUEST_US,
        Phase::Answering(_) | Phase::Wishing(_) => PIECE_US,
        Phase::Closing => CLOSING_US,
        Phase::Cut => 0,
    };
    Some(connection.since + us).filter(|_| !matches!(connection.phase, Phase::Cut))
}

/// What is to be done about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Routed {
    /// To show something.
    Look(Document),
    /// To do something for somebody who may.
    Do(Wish),
    /// To say how it may be asked.
    NotSo(&'static str),
}

/// How long frames are captured if nobody says, and at most.
const CAPTURE_SECONDS: u8 = 10;
const CAPTURE_SECONDS_MAX: u8 = 60;

/// What is at a path: what can be read there, and what can be done there and how.
#[cold]
fn resource(path: &str) -> (Option<Document>, Option<(Method, Wish)>) {
    let post = |wish| (None, Some((Method::Post, wish)));
    if let Some(rest) = path.strip_prefix("/api/v1/exports/")
        && let Some((slot, what)) = rest.split_once('/')
        && let Ok(slot) = slot.parse()
    {
        let list = |topic, wish| {
            let put = Some((Method::Put, wish));
            (Some(Document::Api(topic)), put)
        };
        return match what {
            "online" => post(Wish::Online { slot, online: true }),
            "offline" => post(Wish::Online {
                slot,
                online: false,
            }),
            "masks" => list(Topic::Masks(slot), Wish::Masks(slot)),
            "reservation" => list(Topic::Members(slot), Wish::Members(slot)),
            _ => (None, None),
        };
    }
    match path {
        "/api/v1/reboot" => post(Wish::Stop(Order::Restart)),
        "/api/v1/poweroff" => post(Wish::Stop(Order::PowerOff)),
        "/api/v1/config" => (Document::at(path), Some((Method::Put, Wish::Save))),
        "/api/v1/config/previous" => post(Wish::SavePrevious),
        _ => (Document::at(path), None),
    }
}

/// What a request is answered with. Who may not change anything is told so before
/// it is looked at what should be changed.
#[cold]
#[inline(never)]
fn route(request: &Request<'_>, token: &str) -> Routed {
    let refuse = |status| Routed::Look(Document::Refusal(status));
    let is_look = matches!(request.method, Method::Get | Method::Head);
    let is_allowed = request
        .token
        .is_some_and(|given| request::is_same_secret(token.as_bytes(), given));
    if request.path == CAPTURE && request.method == Method::Get {
        // Nothing is changed by it, but a copy of every frame has its price: where
        // there is a token, it is for those who have it.
        return match (
            token.is_empty() || is_allowed,
            capture_seconds(request.query),
        ) {
            (false, _) => refuse(401),
            (true, None) => refuse(400),
            (true, Some(seconds)) => Routed::Do(Wish::Capture(seconds)),
        };
    }
    let (shown, done) = match request.path {
        CAPTURE => (Some(Document::Capture), None),
        path => resource(path),
    };
    match (shown, done) {
        (None, None) => refuse(404),
        (Some(Document::Capture), _) => Routed::NotSo("GET"),
        (Some(document), _) if is_look => Routed::Look(document),
        (_, Some((method, wish))) if method == request.method => {
            match (token.is_empty(), is_allowed) {
                (true, _) => refuse(403),
                (false, false) => refuse(401),
                (false, true) => Routed::Do(wish),
            }
        }
        (Some(_), None) => Routed::NotSo("GET, HEAD"),
        (Some(_), Some(_)) => Routed::NotSo("GET, HEAD, PUT"),
        (None, Some(_)) => Routed::NotSo("POST"),
    }
}

/// Where frames are.
const CAPTURE: &str = "/debug/pcap";

/// For how long, as `seconds=N` says.
fn capture_seconds(query: &str) -> Option<u8> {
    match query.strip_prefix("seconds=") {
        Some(number) => number
            .parse()
            .ok()
            .filter(|seconds| (1..=CAPTURE_SECONDS_MAX).contains(seconds)),
        None => query.is_empty().then_some(CAPTURE_SECONDS),
    }
}

#[cold]
fn write_head(out: &mut Out<'_>, answer: &Answer) {
    let status = answer.document.status();
    put!(out, "HTTP/1.1 {status}\r\n");
    put!(out, "Content-Type: {}\r\n", answer.document.content_type());
    if answer.document == Document::Refusal(401) {
        out.put("WWW-Authenticate: Bearer\r\n");
    }
    if !answer.allowed.is_empty() {
        put!(out, "Allow: {}\r\n", answer.allowed);
    }
    if answer.in_chunks && answer.has_body {
        out.put("Transfer-Encoding: chunked\r\n");
    }
    // Nothing from elsewhere is ever loaded, whatever a text on the page says.
    out.put(
        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
         Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; img-src data:\r\n\
         Connection: close\r\n\r\n",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: [Method; 2] = [Method::Get, Method::Head];
    const REBOOT: Wish = Wish::Stop(Order::Restart);

    fn asked(method: Method, path: &str, given: Option<&[u8]>, token: &str) -> Routed {
        let request = Request {
            method,
            path,
            query: "",
            token: given,
            body: b"",
            takes_chunks: true,
        };
        route(&request, token)
    }

    const fn refused(status: u16) -> Routed {
        Routed::Look(Document::Refusal(status))
    }

    /// Everything that can be done, and what is done there.
    const WISHES: [(Method, &str, Wish); 8] = [
        (Method::Post, "/api/v1/reboot", REBOOT),
        (
            Method::Post,
            "/api/v1/poweroff",
            Wish::Stop(Order::PowerOff),
        ),
        (
            Method::Post,
            "/api/v1/exports/7/online",
            Wish::Online {
                slot: 7,
                online: true,
            },
        ),
        (
            Method::Post,
            "/api/v1/exports/254/offline",
            Wish::Online {
                slot: 254,
                online: false,
            },
        ),
        (Method::Put, "/api/v1/exports/0/masks", Wish::Masks(0)),
        (
            Method::Put,
            "/api/v1/exports/0/reservation",
            Wish::Members(0),
        ),
        (Method::Put, "/api/v1/config", Wish::Save),
        (Method::Post, "/api/v1/config/previous", Wish::SavePrevious),
    ];

    #[test]
    fn without_a_token_nothing_can_be_changed() {
        for (method, path, _) in WISHES {
            for given in [None, Some(&b""[..]), Some(b"x")] {
                assert_eq!(asked(method, path, given, ""), refused(403), "{path}");
            }
        }
    }

    #[test]
    fn only_who_has_the_token_can_change_something() {
        for (method, path, wish) in WISHES {
            for wrong in [None, Some(&b""[..]), Some(b"wrong"), Some(b"righ")] {
                assert_eq!(asked(method, path, wrong, "right"), refused(401), "{path}");
            }
            assert_eq!(
                asked(method, path, Some(b"right"), "right"),
                Routed::Do(wish)
            );
        }
    }

    #[test]
    fn every_other_method_is_told_how_it_is_done() {
        for (method, path, _) in WISHES {
            for other in [
                Method::Get,
                Method::Head,
                Method::Post,
                Method::Put,
                Method::Other,
            ] {
                let got = asked(other, path, Some(b"right"), "right");
                let is_list = method == Method::Put && LOOK.contains(&other);
                match got {
                    Routed::Do(_) => assert_eq!(other, method, "{path}"),
                    Routed::Look(Document::Api(_)) => assert!(is_list, "{path}"),
                    Routed::NotSo(allowed) => {
                        let word = if method == Method::Put { "PUT" } else { "POST" };
                        assert!(allowed.contains(word), "{path}: {allowed}");
                    }
                    Routed::Look(other) => panic!("{path}: {other:?}"),
                }
            }
        }
        assert_eq!(
            asked(Method::Post, "/metrics", None, ""),
            Routed::NotSo("GET, HEAD")
        );
    }

    #[test]
    fn what_is_not_there_is_not_there_for_anybody() {
        for path in [
            "/api/v1/exports/255/online/",
            "/api/v1/exports/256/online",
            "/api/v1/exports/-1/online",
            "/api/v1/exports//online",
            "/api/v1/exports/0/",
            "/api/v1/exports/0",
            "/api/v1/reboot/",
        ] {
            for method in [Method::Get, Method::Post, Method::Put] {
                assert_eq!(asked(method, path, Some(b"right"), "right"), refused(404));
            }
        }
    }
}
