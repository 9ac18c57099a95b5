//! The web server: a few connections, one request each, answered piece by piece.
//!
//! Every connection has its memory from the start. When all of them are taken the
//! one that has been silent longest is cut off, so a thousand slow clients wait
//! for each other and not in front of an operator, whose request arrives whole
//! within a round trip. One piece is made in a turn, whoever asks.

use super::out::{Out, PIECE_BYTES, put};
use super::pages::{Cursor, Document, View};
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
}

struct Connection {
    handle: SocketHandle,
    phase: Phase,
    /// When this phase began, or when it last went on.
    since: Instant,
}

/// See the module's header.
pub struct Http {
    port: u16,
    token: Text<64>,
    connections: Vec<Connection>,
    scratch: Box<[u8]>,
    /// Requests answered so far.
    pub answered: u64,
    /// Clients cut off so far.
    pub cut_off: u64,
    /// What a client with the token wants the machine to do.
    pub order: Option<Order>,
}

impl Http {
    pub fn new(port: u16, token: Text<64>, sockets: &mut SocketSet<'static>, now: Instant) -> Self {
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
            }
        };
        Self {
            port,
            token,
            connections: (0..CONNECTIONS).map(connect).collect(),
            scratch: vec![0; FRAMED_BYTES].into_boxed_slice(),
            answered: 0,
            cut_off: 0,
            order: None,
        }
    }

    /// When a client's patience with us, or ours with it, ends.
    pub fn deadline(&self) -> Option<Instant> {
        self.connections.iter().filter_map(limit).min()
    }

    /// Goes on with every connection; makes one piece at most. True if there is
    /// more to make right now.
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
                Phase::Reading => {
                    if let Some(answer) = self.read(index, sockets) {
                        self.answered += 1;
                        self.connections[index].phase = Phase::Answering(answer);
                        self.connections[index].since = now;
                        is_more = true;
                    }
                }
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
    fn read(&mut self, index: usize, sockets: &mut SocketSet<'static>) -> Option<Answer> {
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
        };
        match request::parse(bytes, REQUEST_BYTES) {
            Parsed::Partial => None,
            Parsed::Bad => Some(plain(Document::Refusal(400))),
            Parsed::TooLong => Some(plain(Document::Refusal(431))),
            Parsed::Whole(request) => {
                let (document, order) = route(&request, self.token.as_str());
                self.order = self.order.or(order);
                Some(Answer {
                    in_chunks: request.takes_chunks,
                    has_body: request.method != Method::Head,
                    ..plain(document)
                })
            }
        }
    }

    /// Makes the next piece, if the connection has room for it.
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
        if answer.document == Document::Ready && !view.is_ready() {
            answer.document = Document::Refusal(503);
        }
        let (frame, piece) = self.scratch.split_at_mut(HEAD_BYTES);
        let mut is_last = !answer.has_body;
        let mut out = Out::new(piece);
        if answer.has_body {
            is_last = !view.write(answer.document, &mut answer.cursor, &mut out);
            debug_assert!(
                !out.is_cut(),
                "a piece of {:?} is too long",
                answer.document
            );
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
        Phase::Answering(_) => PIECE_US,
        Phase::Closing => CLOSING_US,
        Phase::Cut => 0,
    };
    Some(connection.since + us).filter(|_| !matches!(connection.phase, Phase::Cut))
}

/// What a request is answered with, and what the machine is to do for it.
fn route(request: &Request<'_>, token: &str) -> (Document, Option<Order>) {
    let order = match request.path {
        "/api/v1/reboot" => Some(Order::Restart),
        "/api/v1/poweroff" => Some(Order::PowerOff),
        _ => None,
    };
    match request.method {
        Method::Get | Method::Head if order.is_some() => (Document::Refusal(405), None),
        Method::Get | Method::Head => match Document::at(request.path) {
            Some(document) => (document, None),
            None => (Document::Refusal(404), None),
        },
        Method::Post | Method::Put if token.is_empty() => (Document::Refusal(403), None),
        Method::Post | Method::Put => {
            let is_allowed = request
                .token
                .is_some_and(|given| request::is_same_secret(token.as_bytes(), given));
            match (is_allowed, order) {
                (false, _) => (Document::Refusal(401), None),
                (true, Some(order)) => (Document::Accepted, Some(order)),
                (true, None) => (Document::Refusal(404), None),
            }
        }
        Method::Other => (Document::Refusal(405), None),
    }
}

fn write_head(out: &mut Out<'_>, answer: &Answer) {
    let status = answer.document.status();
    put!(out, "HTTP/1.1 {status}\r\n");
    put!(out, "Content-Type: {}\r\n", answer.document.content_type());
    if answer.document == Document::Refusal(401) {
        out.put("WWW-Authenticate: Bearer\r\n");
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

    fn asked(
        method: Method,
        path: &str,
        given: Option<&[u8]>,
        token: &str,
    ) -> (Document, Option<Order>) {
        let request = Request {
            method,
            path,
            token: given,
            body: b"",
            takes_chunks: true,
        };
        route(&request, token)
    }

    #[test]
    fn without_a_token_nothing_can_be_changed() {
        for given in [None, Some(&b""[..]), Some(b"x")] {
            assert_eq!(
                asked(Method::Post, "/api/v1/reboot", given, ""),
                (Document::Refusal(403), None)
            );
        }
    }

    #[test]
    fn only_who_has_the_token_can_change_something() {
        assert_eq!(
            asked(Method::Post, "/api/v1/reboot", Some(b"wrong"), "right"),
            (Document::Refusal(401), None)
        );
        assert_eq!(
            asked(Method::Post, "/api/v1/reboot", None, "right"),
            (Document::Refusal(401), None)
        );
        assert_eq!(
            asked(Method::Post, "/api/v1/reboot", Some(b"right"), "right"),
            (Document::Accepted, Some(Order::Restart))
        );
        assert_eq!(
            asked(Method::Post, "/api/v1/poweroff", Some(b"right"), "right"),
            (Document::Accepted, Some(Order::PowerOff))
        );
    }

    #[test]
    fn looking_at_an_order_does_not_give_it() {
        assert_eq!(
            asked(Method::Get, "/api/v1/reboot", Some(b"right"), "right"),
            (Document::Refusal(405), None)
        );
    }
}
