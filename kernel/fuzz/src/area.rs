//! The state area: any history of writes that a power cut ends, and any bytes.
//!
//! The first moves are copies that are written, some of their sectors late, torn or
//! never; after each, the area holds the last copy that became whole, or the one
//! under way, and never anything between. Then bytes are changed as the input says,
//! sums put right again if it says so, and what is read is held against a reader
//! of our own.

use crate::sparse::{SECTOR_BYTES, Sparse, change, crc, number};
use aoe::Mac;
use node::state::{
    AREA_SECTORS, COPY_SECTORS, Copy, RECORDS_BYTES_MAX, Record, SETTINGS_BYTES_MAX, Saved, load,
    place_of, records, saved,
};
use sim::random::Random;

/// Where the area begins on its disk.
const FIRST: u64 = 7;
/// Both headers, and both lists of records.
const READS_MAX: usize = 2 * COPY_SECTORS;
const HEADER_SUM: usize = 508;

/// Any history.
pub fn run(data: &[u8]) {
    let Some((&[settings, writes], mut rest)) = data.split_first_chunk::<2>() else {
        return;
    };
    let mut disk = Sparse::new(FIRST + AREA_SECTORS);
    let mut whole = (0, Vec::new());
    for _ in 0..writes % 5 {
        let Some((head, text)) = rest.split_first_chunk::<4>() else {
            break;
        };
        let [len, late, torn, exports] = *head;
        let (text, left) = text.split_at(usize::from(len).min(text.len()));
        rest = left;
        let generation = whole.0 + 1;
        let copy = copy(generation, exports % 8, text);
        let is_whole = write(&mut disk, generation, &copy, late, torn);
        let new = (generation, copy[SECTOR_BYTES..].to_vec());
        let found = read(&mut disk);
        let is_new = found.0 == generation;
        assert!(is_new || !is_whole, "a copy that was written is there");
        let expected = if is_new { &new } else { &whole };
        assert_eq!(found.0, expected.0, "neither the old state nor the new");
        let zeros = expected.1.get(found.1.len()..).unwrap_or(&[1]);
        assert!(expected.1.starts_with(&found.1) && zeros.iter().all(|byte| *byte == 0));
        if is_new {
            whole = new;
        }
    }
    disk.change(rest, |place| FIRST + u64::from(place) % AREA_SECTORS);
    if settings & 1 == 0 {
        for at in [FIRST, FIRST + place_of(1)] {
            put_sums_right(&mut disk, at);
        }
    }
    let found = read(&mut disk);
    assert_eq!(found, by_hand(&disk), "two readers differ");
    // Bytes that nobody summed are read with the same care.
    for bytes in [&found.1, rest] {
        check_records(bytes);
        check_saved(bytes);
    }
}

/// A copy as the node makes it.
fn copy(generation: u64, exports: u8, text: &[u8]) -> Vec<u8> {
    let macs: Vec<Mac> = text.as_chunks().0.iter().map(|mac| Mac(*mac)).collect();
    let mut copy = Copy::new();
    for slot in 0..exports {
        let (masks, members) = macs.split_at(macs.len().min(slot.into()));
        let record = Record {
            slot,
            first: generation << slot,
            key: &text[..text.len().min(usize::from(slot) * 9)],
            config: text,
            masks,
            members,
        };
        assert!(copy.add(&record), "eight records fit");
    }
    copy.add_saved(&Saved {
        lines: text,
        previous: &text[..text.len() / 2],
        conf_sum: generation as u32,
    });
    copy.seal(generation);
    copy.sectors().to_vec()
}

/// Writes a copy but for one sector in `late` and a piece of one; true if it is
/// whole all the same.
fn write(disk: &mut Sparse, generation: u64, copy: &[u8], late: u8, torn: u8) -> bool {
    let mut is_whole = true;
    let first = FIRST + place_of(generation);
    for (index, sector) in copy.chunks(SECTOR_BYTES).enumerate() {
        let lba = first + index as u64;
        let bytes = match (late, torn) {
            (1.., _) if index % usize::from(late) == 0 => 0,
            (_, 1..) if index == usize::from(torn & 3) => usize::from(torn) * 2,
            _ => SECTOR_BYTES,
        };
        disk.put(lba, 0, &sector[..bytes]);
        is_whole &= disk.look(lba) == *sector;
    }
    is_whole
}

fn read(disk: &mut Sparse) -> (u64, Vec<u8>) {
    disk.allow(FIRST..FIRST + AREA_SECTORS, READS_MAX);
    let loaded = load(disk, FIRST).expect("there is no bad sector");
    (loaded.generation, loaded.records)
}

/// The sums of the copy at `at`, right.
fn put_sums_right(disk: &mut Sparse, at: u64) {
    let bytes = number::<4>(&disk.look(at), 24) as usize;
    if bytes <= RECORDS_BYTES_MAX {
        let sum = crc(&bytes_from(disk, at + 1, bytes));
        disk.put(at, 28, &sum.to_le_bytes());
    }
    let sum = crc(&disk.look(at)[..HEADER_SUM]);
    disk.put(at, HEADER_SUM, &sum.to_le_bytes());
}

fn bytes_from(disk: &Sparse, lba: u64, bytes: usize) -> Vec<u8> {
    let sectors = bytes.div_ceil(SECTOR_BYTES) as u64;
    let mut read: Vec<u8> = (lba..lba + sectors).flat_map(|at| disk.look(at)).collect();
    read.truncate(bytes);
    read
}

/// What lies in the area: the newer of the copies that are good.
fn by_hand(disk: &Sparse) -> (u64, Vec<u8>) {
    let good = [FIRST, FIRST + AREA_SECTORS / 2].map(|at| {
        let header = disk.look(at);
        let bytes = number::<4>(&header, 24) as usize;
        let is_good = header.starts_with(b"ublade state v1\n")
            && number::<4>(&header, HEADER_SUM) as u32 == crc(&header[..HEADER_SUM])
            && bytes <= RECORDS_BYTES_MAX;
        let records = bytes_from(disk, at + 1, if is_good { bytes } else { 0 });
        let is_good = is_good && number::<4>(&header, 28) as u32 == crc(&records);
        (if is_good { number::<8>(&header, 16) } else { 0 }, records)
    });
    let [first, second] = good;
    let newer = if second.0 > first.0 { second } else { first };
    if newer.0 == 0 { (0, Vec::new()) } else { newer }
}

/// What is in a list of records means the same when it is written and read again.
fn check_records(bytes: &[u8]) {
    let mut copy = Copy::new();
    let mut raw = 0;
    for kept in records(bytes) {
        raw += kept.raw.len();
        assert!(!kept.raw.is_empty() && kept.slot != u8::MAX);
        let masks: Vec<Mac> = kept.masks().collect();
        let members: Vec<Mac> = kept.members().collect();
        let before = copy.sectors().len();
        let added = copy.add(&Record {
            slot: kept.slot,
            first: kept.first,
            key: kept.key,
            config: kept.config,
            masks: &masks,
            members: &members,
        });
        if !added {
            return;
        }
        let mut again = records(&copy.sectors()[before..]);
        let again = again.next().expect("what was added is there");
        assert_eq!((again.slot, again.first), (kept.slot, kept.first));
        assert_eq!((again.key, again.config), (kept.key, kept.config));
        assert!(again.masks().eq(masks) && again.members().eq(members));
        assert!(again.raw.len() <= kept.raw.len(), "nothing was added to it");
    }
    assert!(raw <= bytes.len());
}

/// What the operator has saved means the same when it is written and read again; the
/// node takes no more of it than it would save.
fn check_saved(bytes: &[u8]) {
    let found = saved(bytes);
    let cut = |lines: &'_ [u8]| lines[..lines.len().min(SETTINGS_BYTES_MAX)].to_vec();
    let (lines, previous) = (cut(found.lines), cut(found.previous));
    let told = Saved {
        lines: &lines,
        previous: &previous,
        conf_sum: found.conf_sum,
    };
    let mut copy = Copy::new();
    copy.add_saved(&told);
    assert_eq!(saved(&copy.sectors()[SECTOR_BYTES..]), told);
}

/// Some copies, some cuts, some changes.
pub fn generate(random: &mut Random, input: &mut Vec<u8>) {
    let writes = random.below(5) as u8;
    input.extend([random.next() as u8, writes]);
    for _ in 0..writes {
        let mut text = vec![0; random.below(200) as usize];
        random.fill(&mut text);
        let late = *random.pick(&[0, 0, 1, 2, 3]);
        let torn = *random.pick(&[0, 0, 1, 77, 0xff]);
        input.extend([text.len() as u8, late, torn, random.next() as u8]);
        input.extend(text);
    }
    if random.one_in(3) {
        // A record by itself, as bytes that nobody summed.
        let list = copy(1, random.below(8) as u8, b"key and config and more");
        input.extend(&list[SECTOR_BYTES..list.len().min(900)]);
        return;
    }
    for _ in 0..random.below(4) {
        let mut noise = [0; 8];
        random.fill(&mut noise);
        let place = random.below(3) as u16 + *random.pick(&[0, 256]);
        let anywhere = random.below(512) as usize;
        let at = *random.pick(&[16, 24, 28, 508, anywhere]);
        change(input, place, at, &noise[..random.between(1, 8) as usize]);
    }
}
