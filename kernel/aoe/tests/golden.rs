//! The golden frames of `vectors.txt`, replayed in order.

mod common;

use common::{Bench, Got, pattern};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// One entry of the file.
struct Vector {
    name: String,
    frame: Vec<u8>,
}

/// Reads the file. `block` is the IDENTIFY block, which it names and does not show.
fn vectors(block: &[u8]) -> Vec<Vector> {
    let mut vectors: Vec<Vector> = Vec::new();
    for line in include_str!("vectors.txt").lines() {
        let text = line.trim_start();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if text.len() == line.len() {
            let (name, _) = text.split_once(' ').expect("a name and what it is");
            vectors.push(Vector {
                name: name.to_owned(),
                frame: Vec::new(),
            });
            continue;
        }
        let vector = vectors.last_mut().expect("a name comes first");
        match text.strip_prefix("+ ") {
            None => vector.frame.extend(hex(text)),
            Some(data) => {
                vector.frame.extend(data_of(data, block));
                let (_, hash) = data.rsplit_once(' ').expect("a hash");
                let own = Sha256::digest(&vector.frame);
                assert_eq!(own[..], hex(hash), "{} as it was written down", vector.name);
            }
        }
    }
    vectors
}

/// "1024 of byte ed; ...", "512 of identify; ...", "512 of sectors 1234; ..."
fn data_of(text: &str, block: &[u8]) -> Vec<u8> {
    let (what, _) = text.split_once(';').expect("a hash follows");
    let (len, what) = what.split_once(" of ").expect("how many of what");
    let mut data: Vec<u8> = match what.split_once(' ') {
        Some(("byte", byte)) => hex(byte).repeat(2048),
        Some(("sectors", lba)) => {
            let lba = u64::from_str_radix(lba, 16).expect("an LBA");
            [pattern(lba), pattern(lba + 1)].concat()
        }
        _ => block.to_vec(),
    };
    data.truncate(len.parse().expect("how many"));
    data
}

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal");
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    frame.resize(frame.len().max(60), 0);
    frame
}

fn identify_block() -> Vec<u8> {
    let answer = Bench::new()
        .send(&common::Frame::ata(0xec, 0, 1, 0))
        .answer();
    answer.bytes[36..].to_vec()
}

#[test]
fn every_golden_frame_is_answered_to_the_byte() {
    // R-001 R-002 R-003 R-010 R-012 R-013 R-021 R-032 R-033 R-071 R-081
    let block = identify_block();
    let vectors = vectors(&block);
    assert_eq!(vectors.len(), 75);
    let answers: BTreeMap<_, _> = vectors
        .iter()
        .filter_map(|vector| Some((vector.name.strip_suffix('r')?, &vector.frame)))
        .collect();
    let mut bench = Bench::new();
    for vector in &vectors {
        let name = vector.name.as_str();
        if name.starts_with('K') {
            let got = bench.send(&vector.frame);
            assert_eq!(got, Got::Dropped(aoe::Drop::NotAoe), "{name}");
            continue;
        }
        if name.ends_with('r') {
            continue;
        }
        if name == "Q3" {
            assert_eq!(bench.announcement(), padded(vector.frame.clone()), "{name}");
            continue;
        }
        let got = bench.send(&vector.frame);
        match (name, answers.get(name)) {
            ("C4", None) => assert_eq!(got, Got::Dropped(aoe::Drop::TestMismatch)),
            ("A2" | "A3", None) => assert_eq!(got.answer().bytes[36..], block, "{name}"),
            (_, Some(answer)) => {
                assert_eq!(got.answer().bytes, padded(answer.to_vec()), "{name}");
            }
            (_, None) => panic!("{name}: what should come of it?"),
        }
    }
    assert_eq!(bench.flushes, 2, "F1, and its twin in the other slot");
    assert_eq!(
        bench.sector(0x1234),
        pattern(0x1234),
        "W1 was written, E4 was not"
    );
    assert_eq!(bench.written.len(), 1);
}

#[test]
fn golden_frames_padded_to_60_bytes_are_answered_alike() {
    // R-002 R-004
    let (mut plain, mut filled) = (Bench::new(), Bench::new());
    for vector in vectors(&identify_block()) {
        if vector.name.ends_with('r') || vector.name == "Q3" {
            continue;
        }
        let got = plain.send(&vector.frame);
        assert_eq!(got, filled.send(&padded(vector.frame)), "{}", vector.name);
    }
}
