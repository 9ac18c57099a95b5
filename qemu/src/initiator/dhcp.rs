//! A DHCP server of one answer: "your root is this disk".
//!
//! iPXE, started from a network card's ROM, asks for an address and boots from
//! the root path of the answer (option 17). That is all it needs for
//! `aoe:e5.0`, so this server hands every client one address and that path, and
//! knows nothing of leases.

use crate::network::{Mac, Switch};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const NETMASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
const SERVER_MAC: Mac = Mac::local(0xd4c9);

const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
/// Bytes of an Ethernet, an IPv4 and a UDP header.
const ETHERNET: usize = 14;
const IPV4: usize = 20;
const UDP: usize = 8;
/// Bytes of a message before its options (RFC 2131, section 2).
const FIXED: usize = 236;
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// How often the server looks whether it should end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The server; it ends when dropped.
pub struct Dhcp {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Dhcp {
    /// Serves every client on `switch` with `root_path`, which is at most 255
    /// bytes long.
    pub fn serve(switch: &Switch, root_path: &str) -> Self {
        let tap = switch.tap("dhcp");
        let stop = Arc::new(AtomicBool::new(false));
        let answers = Arc::new(AtomicU32::new(0));
        let (its_stop, its_answers) = (Arc::clone(&stop), Arc::clone(&answers));
        let root_path = root_path.to_owned();
        let thread = thread::spawn(move || {
            while !its_stop.load(Ordering::Relaxed) {
                let frame = tap.receive(LOOK_EVERY);
                if let Some(answer) = frame.and_then(|frame| answer(&frame, &root_path)) {
                    tap.send(&answer);
                    its_answers.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self {
            stop,
            answers,
            thread: Some(thread),
        }
    }

    /// How many answers it has given.
    pub fn answers(&self) -> u32 {
        self.answers.load(Ordering::Relaxed)
    }
}

impl Drop for Dhcp {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A server that panicked has already said so.
            let _ = thread.join();
        }
    }
}

/// The answer to `frame`, if it is a client's question.
fn answer(frame: &[u8], root_path: &str) -> Option<Vec<u8>> {
    let ip = frame.get(ETHERNET..)?;
    let is_udp = frame[12..14] == [0x08, 0x00] && *ip.first()? == 0x45 && *ip.get(9)? == 17;
    let udp = ip.get(IPV4..)?;
    let question = udp.get(UDP..)?;
    let to_server = udp[2..4] == SERVER_PORT.to_be_bytes();
    if !is_udp || !to_server || question.get(FIXED..FIXED + 4)? != COOKIE || question[0] != 1 {
        return None;
    }
    let kind = match option(&question[FIXED + 4..], 53)? {
        // DISCOVER is answered with OFFER, REQUEST with ACK.
        [1] => 2,
        [3] => 5,
        _ => return None,
    };

    let mut message = vec![0; FIXED];
    message[0] = 2;
    message[1..3].copy_from_slice(&[1, 6]);
    // The transaction and the broadcast flag are the client's.
    message[4..8].copy_from_slice(&question[4..8]);
    message[10..12].copy_from_slice(&question[10..12]);
    message[16..20].copy_from_slice(&CLIENT.octets());
    message[20..24].copy_from_slice(&SERVER.octets());
    message[28..44].copy_from_slice(&question[28..44]);
    message.extend(COOKIE);
    message.extend([53, 1, kind]);
    message.extend([54, 4]);
    message.extend(SERVER.octets());
    message.extend([51, 4, 0, 0, 0x0e, 0x10]);
    message.extend([1, 4]);
    message.extend(NETMASK.octets());
    message.extend([17, u8::try_from(root_path.len()).ok()?]);
    message.extend(root_path.bytes());
    message.push(255);
    Some(wrapped(&message))
}

/// The value of option `wanted` (RFC 2132).
fn option(mut options: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        match *options.first()? {
            0 => options = &options[1..],
            255 => return None,
            code => {
                let length = usize::from(*options.get(1)?);
                let value = options.get(2..2 + length)?;
                if code == wanted {
                    return Some(value);
                }
                options = &options[2 + length..];
            }
        }
    }
}

/// `message` from the server to everybody, in UDP, IPv4 and Ethernet.
fn wrapped(message: &[u8]) -> Vec<u8> {
    let length =
        |bytes: usize| u16::try_from(bytes).expect("an answer is a few hundred bytes long");
    let mut ip = vec![0x45, 0];
    ip.extend(length(IPV4 + UDP + message.len()).to_be_bytes());
    // No identification, no fragments, 64 hops, UDP, checksum below.
    ip.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    ip.extend(SERVER.octets());
    ip.extend(Ipv4Addr::BROADCAST.octets());
    let sum: u32 = ip
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let [_, _, high, low] = (!folded).to_be_bytes();
    ip[10..12].copy_from_slice(&[high, low]);

    let mut frame = Vec::new();
    frame.extend(Mac::BROADCAST.0);
    frame.extend(SERVER_MAC.0);
    frame.extend([0x08, 0x00]);
    frame.extend(ip);
    frame.extend(SERVER_PORT.to_be_bytes());
    frame.extend(CLIENT_PORT.to_be_bytes());
    frame.extend(length(UDP + message.len()).to_be_bytes());
    // Zero says that there is no checksum.
    frame.extend([0, 0]);
    frame.extend(message);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client's DISCOVER or REQUEST.
    fn question(kind: u8) -> Vec<u8> {
        let mut message = vec![0; FIXED];
        message[..8].copy_from_slice(&[1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef]);
        message[28..34].copy_from_slice(&Mac::local(7).0);
        message.extend(COOKIE);
        message.extend([0, 57, 2, 5, 0xc0, 53, 1, kind, 255]);
        let mut frame = wrapped(&message);
        frame[ETHERNET + IPV4 + 2..ETHERNET + IPV4 + 4].copy_from_slice(&SERVER_PORT.to_be_bytes());
        frame
    }

    #[test]
    fn a_discover_gets_an_offer_and_a_request_an_ack_with_the_root_path() {
        for (asked, answered) in [(1, 2), (3, 5)] {
            let frame = answer(&question(asked), "aoe:e5.0").expect("it is a question");
            let message = &frame[ETHERNET + IPV4 + UDP..];
            assert_eq!(message[4..8], [0xde, 0xad, 0xbe, 0xef]);
            assert_eq!(message[28..34], Mac::local(7).0);
            let options = &message[FIXED + 4..];
            assert_eq!(option(options, 53), Some(&[answered][..]));
            assert_eq!(option(options, 17), Some(&b"aoe:e5.0"[..]));
            let sum: u32 = frame[ETHERNET..ETHERNET + IPV4]
                .chunks_exact(2)
                .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
                .sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
        }
    }

    #[test]
    fn nothing_else_is_answered_however_short() {
        let whole = question(1);
        for length in 0..whole.len() - 4 {
            answer(&whole[..length], "aoe:e5.0");
        }
        assert_eq!(answer(&question(2), "aoe:e5.0"), None);
        let offer = answer(&whole, "aoe:e5.0").unwrap();
        assert_eq!(answer(&offer, "aoe:e5.0"), None);
    }
}
