//! The capture as a file of pcapng, which Wireshark opens while it still grows.
//!
//! One block says what the file is, one stands for each port, and one for each
//! frame with its port, its time and which way it went (IETF opsawg-pcapng, 4.1,
//! 4.2, 4.3). All of it little-endian, padded to four bytes.

use super::{Step, View};
use crate::capture::{Captured, HEAD_BYTES};
use crate::mgmt::out::Out;
use io::{Disk, Nic, Text};

const SECTION: u32 = 0x0a0d_0d0a;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
/// Link type: Ethernet.
const ETHERNET: u32 = 1;
/// Options: the name of an interface, the flags of a frame.
const NAME: u16 = 2;
const FLAGS: u16 = 2;
/// Bytes around the body of a block: type, length, length again.
const FRAMING: usize = 12;
/// Bytes of the longest block: times and lengths, a frame, its flags.
const BLOCK_BYTES: usize = FRAMING + 20 + HEAD_BYTES + 12;

impl<N: Nic, D: Disk> View<'_, N, D> {
    /// The next frames, as many as fit; nothing if there are none yet.
    pub(super) fn pcap(&self, section: u16, item: &mut usize, out: &mut Out<'_>) -> Step {
        let capture = &self.node.capture;
        if section == 0 {
            self.pcap_head(out);
            return Step::Next;
        }
        // What is told is what was captured since the reader came, which is when
        // the capture began or went on.
        if *item == 0 {
            *item = capture.begun();
        }
        *item = capture.first_from(*item);
        while out.room() >= BLOCK_BYTES
            && let Some(frame) = capture.frame(*item)
        {
            self.pcap_frame(frame, out);
            *item += 1;
        }
        if capture.is_on || *item < capture.written() {
            Step::Again
        } else {
            Step::End
        }
    }

    #[cold]
    fn pcap_head(&self, out: &mut Out<'_>) {
        let unknown = [0xff; 8];
        let mut head = [0; 16];
        head[..4].copy_from_slice(&BYTE_ORDER.to_le_bytes());
        head[4] = 1; // version 1.0
        head[8..].copy_from_slice(&unknown);
        block(out, SECTION, &[&head]);
        for index in 0..self.node.ports.len() {
            let name = Text::<8>::format(format_args!("eth{index}"));
            let mut link = [0; 8];
            link[..4].copy_from_slice(&ETHERNET.to_le_bytes());
            link[4..].copy_from_slice(&(HEAD_BYTES as u32).to_le_bytes());
            let option = option_head(NAME, name.as_str().len());
            let pad = &[0; 3][..padding(name.as_str().len())];
            block(
                out,
                INTERFACE,
                &[&link, &option, name.as_str().as_bytes(), pad, &[0; 4]],
            );
        }
    }

    fn pcap_frame(&self, frame: &Captured, out: &mut Out<'_>) {
        // Without a time server: since the node's start.
        let us = self.wall.unix_us(frame.at).unwrap_or(frame.at.0);
        let head = frame.head();
        let mut about = [0; 20];
        for (place, word) in about.as_chunks_mut::<4>().0.iter_mut().zip([
            u32::from(frame.port),
            (us >> 32) as u32,
            us as u32,
            head.len() as u32,
            u32::from(frame.len),
        ]) {
            *place = word.to_le_bytes();
        }
        let pad = &[0; 3][..padding(head.len())];
        let option = option_head(FLAGS, 4);
        let way = (frame.way as u32).to_le_bytes();
        block(out, PACKET, &[&about, head, pad, &option, &way, &[0; 4]]);
    }
}

fn option_head(code: u16, len: usize) -> [u8; 4] {
    let ([a, b], [c, d]) = (code.to_le_bytes(), (len as u16).to_le_bytes());
    [a, b, c, d]
}

/// What is missing to a multiple of four.
const fn padding(len: usize) -> usize {
    len.wrapping_neg() % 4
}

/// One block with its length at both ends.
#[cold]
#[inline(never)]
fn block(out: &mut Out<'_>, kind: u32, parts: &[&[u8]]) {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let len = ((FRAMING + len) as u32).to_le_bytes();
    out.put_bytes(&kind.to_le_bytes());
    out.put_bytes(&len);
    for part in parts {
        out.put_bytes(part);
    }
    out.put_bytes(&len);
}
