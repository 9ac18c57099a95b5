//! The Ethernet console of Coraid and Plan 9: a terminal for networks without IP.
//!
//! A client finds us by a broadcast, opens a connection with an id of its choice,
//! and then each side sends data by number, one frame at a time, until the other has
//! acknowledged it (9front, `cec`). There is one terminal: who opens a connection
//! takes it over from whoever had it.
//!
//! Nothing here proves who somebody is, so it is off unless the settings want it,
//! and changes want the token, as they do over HTTP.

use super::terminal::Terminal;
use alloc::boxed::Box;
use alloc::vec;
use aoe::Mac;
use io::{Instant, Text};

/// Its ethertype.
pub const ETHERTYPE: [u8; 2] = [0xbc, 0xbc];
/// Ethernet header, and the four bytes behind it: type, connection, number, length.
const ETHERNET_BYTES: usize = 14;
const HEADER_BYTES: usize = ETHERNET_BYTES + 4;
/// Most bytes of data in a frame.
const DATA_BYTES: usize = 255;
pub const FRAME_BYTES: usize = HEADER_BYTES + DATA_BYTES;
/// Frames that wait for a turn.
const WAITING_MAX: usize = 4;
/// How long an acknowledgement may take, and how often data is sent in all.
const ACK_US: u64 = 1_000_000;
const TRIES: u8 = 3;

/// What a frame is.
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

/// A frame of the protocol.
#[derive(Clone, Copy)]
pub struct Frame {
    /// Our port, and who is at the other end.
    pub port: u8,
    pub peer: Mac,
    kind: u8,
    connection: u8,
    number: u8,
    len: u8,
    data: [u8; DATA_BYTES],
}

impl Frame {
    fn new(port: u8, peer: Mac, kind: u8, connection: u8, number: u8, data: &[u8]) -> Self {
        let mut frame = Self {
            port,
            peer,
            kind,
            connection,
            number,
            len: data.len() as u8,
            data: [0; DATA_BYTES],
        };
        frame.data[..data.len()].copy_from_slice(data);
        frame
    }

    /// Reads what arrived on a port; `None` if it ends too early.
    pub fn read(port: u8, bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let peer = Mac(*head[6..].first_chunk()?);
        let [.., kind, connection, number, len] = *head;
        let data = rest.get(..usize::from(len))?;
        Some(Self::new(port, peer, kind, connection, number, data))
    }

    /// Writes it, and returns its length without padding.
    pub fn write(&self, own: Mac, bytes: &mut [u8; FRAME_BYTES]) -> usize {
        bytes[..6].copy_from_slice(&self.peer.0);
        bytes[6..12].copy_from_slice(&own.0);
        bytes[12..14].copy_from_slice(&ETHERTYPE);
        bytes[14..HEADER_BYTES].copy_from_slice(&[
            self.kind,
            self.connection,
            self.number,
            self.len,
        ]);
        bytes[HEADER_BYTES..].copy_from_slice(&self.data);
        HEADER_BYTES + usize::from(self.len)
    }

    fn data(&self) -> &[u8] {
        &self.data[..usize::from(self.len)]
    }
}

/// Who has the terminal.
struct Session {
    port: u8,
    peer: Mac,
    connection: u8,
    /// The number of the last data that came, and of the last that was sent.
    heard: u8,
    said: u8,
    /// Data that is not acknowledged, when it was sent last and how often.
    waiting: Option<(Frame, Instant, u8)>,
}

impl Session {
    fn is(&self, frame: &Frame) -> bool {
        (self.port, self.peer, self.connection) == (frame.port, frame.peer, frame.connection)
    }
}

/// See the module's header.
pub struct Cec {
    pub terminal: Terminal,
    session: Option<Session>,
    waiting: Box<[Frame]>,
    waiting_len: usize,
}

impl Cec {
    /// Nobody yet.
    #[cold]
    pub fn new() -> Self {
        let nothing = Frame::new(0, Mac::default(), 0, 0, 0, &[]);
        Self {
            terminal: Terminal::new(false),
            session: None,
            waiting: vec![nothing; WAITING_MAX].into_boxed_slice(),
            waiting_len: 0,
        }
    }

    /// Takes a frame in, if there is room.
    #[cold]
    pub fn take(&mut self, frame: Frame) {
        if let Some(place) = self.waiting.get_mut(self.waiting_len) {
            *place = frame;
            self.waiting_len += 1;
        }
    }

    /// When it must go on although nothing arrives.
    pub fn deadline(&self) -> Option<Instant> {
        let (_, sent, _) = self.session.as_ref()?.waiting?;
        Some(sent + ACK_US)
    }

    /// The next frame to send: an answer to what arrived, or data. `name` is what is
    /// offered to those who look around.
    #[cold]
    #[inline(never)]
    pub fn next(&mut self, now: Instant, name: &Text<80>) -> Option<Frame> {
        while self.waiting_len > 0 {
            let frame = self.waiting[0];
            self.waiting.copy_within(1.., 0);
            self.waiting_len -= 1;
            let answer = self.answer(&frame, name);
            if answer.is_some() {
                return answer;
            }
        }
        let session = self.session.as_mut()?;
        if let Some((frame, sent, tries)) = &mut session.waiting {
            if now < *sent + ACK_US {
                return None;
            }
            if *tries < TRIES {
                (*sent, *tries) = (now, *tries + 1);
                return Some(*frame);
            }
            // Nobody is there any more.
            self.close();
            return None;
        }
        let mut data = [0; DATA_BYTES];
        let len = self.terminal.take(&mut data);
        if len == 0 {
            return None;
        }
        session.said = session.said.wrapping_add(1);
        let frame = Frame::new(
            session.port,
            session.peer,
            kind::DATA,
            session.connection,
            session.said,
            &data[..len],
        );
        session.waiting = Some((frame, now, 1));
        Some(frame)
    }

    fn answer(&mut self, frame: &Frame, name: &Text<80>) -> Option<Frame> {
        let Frame {
            port,
            peer,
            connection,
            number,
            ..
        } = *frame;
        let reply =
            |kind, data: &[u8]| Some(Frame::new(port, peer, kind, connection, number, data));
        match frame.kind {
            kind::DISCOVER => reply(kind::OFFER, name.as_str().as_bytes()),
            kind::OPEN => reply(kind::OPENED, &[]),
            kind::AGREED => {
                let before = self.session.take();
                // A new guest has to say the token anew.
                self.terminal.clear();
                self.session = Some(Session {
                    port,
                    peer,
                    connection,
                    heard: 0,
                    said: 0,
                    waiting: None,
                });
                let Session {
                    port,
                    peer,
                    connection,
                    ..
                } = before.filter(|before| !before.is(frame))?;
                Some(Frame::new(port, peer, kind::RESET, connection, 0, &[]))
            }
            kind::DATA => {
                let session = self.session.as_mut().filter(|session| session.is(frame));
                let Some(session) = session else {
                    // It does not know that we have forgotten it.
                    return reply(kind::RESET, &[]);
                };
                if session.heard != number {
                    session.heard = number;
                    self.terminal.type_in(frame.data());
                }
                reply(kind::ACK, &[])
            }
            kind::ACK => {
                let session = self.session.as_mut().filter(|session| session.is(frame))?;
                session.waiting = session.waiting.filter(|(sent, ..)| sent.number != number);
                None
            }
            kind::RESET => {
                if self
                    .session
                    .as_ref()
                    .is_some_and(|session| session.is(frame))
                {
                    self.close();
                }
                None
            }
            _ => None,
        }
    }

    fn close(&mut self) {
        self.session = None;
        self.terminal.clear();
    }
}
