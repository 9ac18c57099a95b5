//! The client against a target of a few lines that can misbehave.

use super::*;
use crate::network::Fate;
use crate::pattern;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

const TARGET: Mac = Mac::local(2);
const US: Mac = Mac::local(1);
const SECTORS: usize = 256;
const SOON: Duration = Duration::from_secs(5);

/// A target that reads and writes memory, on a thread of its own. `bend` may
/// change each reply before it is sent.
struct Stand {
    switch: Switch,
    disk: Arc<Mutex<Vec<u8>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stand {
    fn new(bend: impl Fn(&mut Vec<u8>) + Send + 'static) -> Self {
        let switch = Switch::new();
        let tap = switch.tap("target");
        let disk = Arc::new(Mutex::new(vec![0; SECTORS * SECTOR_BYTES]));
        let stop = Arc::new(AtomicBool::new(false));
        let (its_disk, its_stop) = (Arc::clone(&disk), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !its_stop.load(Ordering::Relaxed) {
                if let Some(frame) = tap.receive(Duration::from_millis(5))
                    && let Some(mut reply) = answer(&frame, &mut its_disk.lock().unwrap())
                {
                    bend(&mut reply);
                    tap.send(&reply);
                }
            }
        });
        Self {
            switch,
            disk,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn answer(frame: &[u8], disk: &mut [u8]) -> Option<Vec<u8>> {
    if frame[14] & 0x08 != 0 || frame[..6] != TARGET.0 && frame[0] != 0xff {
        return None;
    }
    let mut reply = frame[..24].to_vec();
    reply.copy_within(6..12, 0);
    reply[6..12].copy_from_slice(&TARGET.0);
    reply[14] = 0x18;
    reply[16..19].copy_from_slice(&[0, 5, 7]);
    if frame[19] == command::CONFIG {
        reply.extend([0, 16, 1, 0, 17, 0x10, 0, 2]);
        reply.extend(b"hi");
    } else {
        let lba = usize::from(frame[28]) + 256 * usize::from(frame[29]);
        let bytes = usize::from(frame[26]) * SECTOR_BYTES;
        let range = lba * SECTOR_BYTES..lba * SECTOR_BYTES + bytes;
        reply.extend(&frame[24..36]);
        reply[27] = 0x40;
        match frame[27] {
            _ if range.end > disk.len() => reply[25..28].copy_from_slice(&[0x10, 0, 0x41]),
            ata::READ_EXT => reply.extend(&disk[range]),
            ata::WRITE_EXT => disk[range].copy_from_slice(&frame[36..36 + bytes]),
            _ => return None,
        }
    }
    reply.resize(reply.len().max(60), 0);
    Some(reply)
}

#[test]
fn an_export_is_discovered_with_all_it_says() {
    let stand = Stand::new(|_| ());
    let mut client = Client::new(&stand.switch, US);
    let exports = client.wait_for_exports(1, SOON).unwrap();
    let expected = Export {
        address: Address { shelf: 5, slot: 7 },
        mac: TARGET,
        buffers: 16,
        firmware: 0x100,
        sectors_max: 17,
        config: b"hi".to_vec(),
    };
    assert_eq!(exports, [expected]);
    assert_eq!(exports[0].address.to_string(), "e5.7");
}

#[test]
fn a_pattern_is_written_and_read_back_whatever_the_frame_size() {
    let stand = Stand::new(|_| ());
    let mut client = Client::new(&stand.switch, US);
    let export = client.wait_for_exports(1, SOON).unwrap().remove(0);
    for sectors_per_frame in [1, 2, 17] {
        let flow = Flow {
            sectors_per_frame,
            ..Flow::default()
        };
        let seed = u64::from(sectors_per_frame);
        let written = client.write_pattern(&export, 3, 100, seed, flow).unwrap();
        assert_eq!(
            written.requests,
            100_u64.div_ceil(u64::from(sectors_per_frame))
        );
        client.check_pattern(&export, 3, 100, seed, flow).unwrap();
    }
    let disk = stand.disk.lock().unwrap();
    pattern::check(&disk[3 * SECTOR_BYTES..103 * SECTOR_BYTES], 3, 17).unwrap();
    assert!(disk[103 * SECTOR_BYTES..].iter().all(|&byte| byte == 0));
}

#[test]
fn lost_requests_are_sent_again_until_all_is_there() {
    let stand = Stand::new(|_| ());
    let mut client = Client::new(&stand.switch, US);
    let export = client.wait_for_exports(1, SOON).unwrap().remove(0);
    let mut count = 0;
    stand.switch.set_fault(move |_| {
        count += 1;
        if count % 5 == 0 {
            Fate::Lose
        } else {
            Fate::Pass
        }
    });
    let flow = Flow {
        sectors_per_frame: 2,
        resend_after: Duration::from_millis(50),
        ..Flow::default()
    };
    let written = client.write_pattern(&export, 0, 64, 9, flow).unwrap();
    client.check_pattern(&export, 0, 64, 9, flow).unwrap();
    assert!(written.resends > 0);
}

#[test]
fn a_read_past_the_end_is_a_failure_that_names_the_registers() {
    let stand = Stand::new(|_| ());
    let mut client = Client::new(&stand.switch, US);
    let export = client.wait_for_exports(1, SOON).unwrap().remove(0);
    let mut sector = [0; SECTOR_BYTES];
    let end = SECTORS as u64;
    client
        .read(&export, end - 1, &mut sector, Flow::default())
        .unwrap();
    let failure = client
        .read(&export, end, &mut sector, Flow::default())
        .unwrap_err();
    assert!(failure.sentence().contains("status 0x41, error 0x10"));
}

#[test]
fn a_reply_that_is_a_byte_off_is_a_failure() {
    type Bend = fn(&mut Vec<u8>);
    let bends: [(Bend, &str); 4] = [
        (|reply| reply.truncate(59), "59 bytes"),
        (|reply| reply.push(0), "61 bytes"),
        (|reply| reply[59] = 1, "not zero at byte 59"),
        (|reply| reply[18] = 8, "e5.8"),
    ];
    for (bend, complaint) in bends {
        let stand = Stand::new(move |reply| {
            if reply[19] == command::ATA {
                bend(reply);
            }
        });
        let mut client = Client::new(&stand.switch, US);
        let export = client.wait_for_exports(1, SOON).unwrap().remove(0);
        let failure = client
            .write(&export, 0, &[0; SECTOR_BYTES], Flow::default())
            .unwrap_err();
        assert!(failure.sentence().contains(complaint), "{failure}");
    }
}

#[test]
fn silence_is_a_failure_within_the_limit() {
    let stand = Stand::new(|_| ());
    let mut client = Client::new(&stand.switch, US);
    let export = client.wait_for_exports(1, SOON).unwrap().remove(0);
    stand.switch.set_fault(|_| Fate::Lose);
    let flow = Flow {
        within: Duration::from_millis(100),
        ..Flow::default()
    };
    let failure = client
        .write(&export, 0, &[0; SECTOR_BYTES], flow)
        .unwrap_err();
    assert!(failure.sentence().contains("1 requests of 1 still"));
    assert_eq!(
        client.config(TARGET, export.address, 0, b"", Duration::from_millis(20)),
        None
    );
}

#[test]
fn an_identity_is_read_as_ata_lays_it_out() {
    let mut words = [0; 256];
    words[60] = 0xffff;
    words[61] = 0x0fff;
    words[100] = 1;
    words[102] = 2;
    words[10] = u16::from_be_bytes(*b"ab");
    words[11..20].fill(0x2020);
    let identity = Identity { words };
    assert_eq!(identity.sectors(), 0x2_0000_0001);
    assert_eq!(identity.sectors_28(), 0x0fff_ffff);
    assert_eq!(identity.serial(), "ab");
}
