//! Partition tables: any disk.
//!
//! The sums of a GPT are put right before it is read, unless the input wants them
//! wrong, or no change would ever get past them. What is found lies on the disk, is
//! told apart by its number, answers to its own name, and means the same when it
//! is written down by a writer of our own and read again.

use crate::sparse::{SECTOR_BYTES, Sparse, change, crc, number};
use node::media::{Kind, PARTITIONS_MAX, Partition, partitions};
use sim::random::Random;

/// Disks: none, hardly one, one of today, one past what an MBR can say.
const SIZES: [u64; 4] = [0, 40, 8_192, 1 << 33];
/// Sectors of the longest list of a GPT.
const LIST_SECTORS_MAX: u64 = 256;
/// Table, 24 links, and both copies of a GPT with their lists.
const READS_MAX: usize = 1 + 24 + 2 * (1 + LIST_SECTORS_MAX as usize);

/// A sector counted from the disk's start, or from its end.
fn place(sectors: u64) -> impl Fn(u16) -> u64 {
    move |place| match place {
        0..0xff00 => place.into(),
        _ => sectors.wrapping_sub(u64::from(u16::MAX - place) + 1),
    }
}

/// Makes the sums of the GPT whose header is at `at` right, if there is one.
fn put_sums_right(disk: &mut Sparse, at: u64, sectors: u64) {
    let header = disk.look(at);
    let bytes = number::<4>(&header, 12) as usize;
    if !header.starts_with(b"EFI PART") || !(92..=SECTOR_BYTES).contains(&bytes) {
        return;
    }
    let list = number::<8>(&header, 72);
    let list_bytes = number::<4>(&header, 80) * number::<4>(&header, 84);
    let list_sectors = list_bytes.div_ceil(SECTOR_BYTES as u64);
    let end = list.checked_add(list_sectors);
    if list_sectors <= LIST_SECTORS_MAX && end.is_some_and(|end| end <= sectors) {
        let list: Vec<u8> = (list..list + list_sectors)
            .flat_map(|lba| disk.look(lba))
            .take(list_bytes as usize)
            .collect();
        disk.put(at, 88, &crc(&list).to_le_bytes());
    }
    disk.put(at, 16, &[0; 4]);
    let sum = crc(&disk.look(at)[..bytes]);
    disk.put(at, 16, &sum.to_le_bytes());
}

/// Any disk.
pub fn run(data: &[u8]) {
    let Some((&settings, changes)) = data.split_first() else {
        return;
    };
    let sectors = SIZES[usize::from(settings & 3)];
    let mut disk = Sparse::new(sectors);
    disk.change(changes, place(sectors));
    if settings & 4 == 0 && sectors > 0 {
        // The copy first: what is in both sums is in the first one's list.
        put_sums_right(&mut disk, sectors - 1, sectors);
        put_sums_right(&mut disk, 1, sectors);
    }
    if settings & 8 != 0 {
        disk.bad = Some(u64::from(settings >> 4));
    }
    disk.allow(0..sectors, READS_MAX);
    let found = partitions(&mut disk);
    assert_eq!(found.is_err(), disk.has_failed, "a failure is told as one");
    let Ok(found) = found else {
        return;
    };
    let found: Vec<Partition> = found.iter().copied().collect();
    check(&found, sectors);
    if let Some(mut again) = written(&found, sectors) {
        again.allow(0..sectors, READS_MAX);
        let read = partitions(&mut again).expect("there is no bad sector");
        assert_eq!(read.iter().copied().collect::<Vec<_>>(), found);
    }
}

/// What must hold for partitions, whatever disk they are of.
fn check(found: &[Partition], sectors: u64) {
    assert!(found.len() <= PARTITIONS_MAX);
    assert!(found.is_sorted_by(|one, next| one.number < next.number));
    for partition in found {
        assert!(
            partition.number > 0 && partition.sectors > 0,
            "{partition:?}"
        );
        let end = partition.first.checked_add(partition.sectors);
        assert!(end.is_some_and(|end| end <= sectors), "{partition:?}");
        let (name, id) = (partition.name, partition.id_text());
        assert!(!partition.is_called(""));
        assert!(name.is_empty() || partition.is_called(name.as_str()));
        assert!(id.is_empty() || partition.is_called(&id.as_str().to_uppercase()));
        match partition.kind {
            Kind::Mbr(kind) => assert!(kind != 0 && partition.first > 0 && id.is_empty()),
            Kind::Gpt(kind) => assert!(kind != [0; 16], "{partition:?}"),
        }
    }
}

/// The same partitions as another writer might lay them down; `None` where that
/// one has no room for it.
fn written(found: &[Partition], sectors: u64) -> Option<Sparse> {
    let mut disk = Sparse::new(sectors);
    let is_gpt = matches!(found.first()?.kind, Kind::Gpt(_));
    disk.put(0, 510, &[0x55, 0xaa]);
    let mut entry = |lba: u64, index: usize, kind: u8, first: u64, count: u64| {
        let mut entry = [0; 16];
        entry[4] = kind;
        entry[8..12].copy_from_slice(&u32::try_from(first).ok()?.to_le_bytes());
        entry[12..].copy_from_slice(&u32::try_from(count).ok()?.to_le_bytes());
        disk.put(lba, 446 + 16 * index, &entry);
        disk.put(lba, 510, &[0x55, 0xaa]);
        Some(())
    };
    if is_gpt {
        entry(0, 0, 0xee, 1, sectors.min(u32::MAX.into()))?;
        let entries = found.last()?.number;
        let fits = 2 + u64::from(entries).div_ceil(4) <= sectors;
        for partition in found.iter().filter(|_| fits) {
            disk.put(2, usize::from(partition.number - 1) * 128, &gpt(partition)?);
        }
        let mut header = b"EFI PART\0\0\x01\0\x5c\0\0\0".to_vec();
        for field in [0, 1, sectors - 1, 0, sectors - 1, 0, 0, 2] {
            header.extend(u64::to_le_bytes(field));
        }
        header.extend(u32::from(entries).to_le_bytes());
        header.extend(128u32.to_le_bytes());
        disk.put(1, 0, &header);
        put_sums_right(&mut disk, 1, sectors);
        return fits.then_some(disk);
    }
    // The links of logical partitions lie in the disk's first sectors, one after
    // the other, and each partition behind its link.
    let (primary, logical) = found.split_at(found.partition_point(|one| one.number < 5));
    let kind = |partition: &Partition| match partition.kind {
        Kind::Mbr(kind) => kind,
        Kind::Gpt(_) => 0,
    };
    for one in primary {
        let index = usize::from(one.number - 1);
        entry(0, index, kind(one), one.first, one.sectors)?;
    }
    if let Some(last) = logical.last() {
        let is_free = |number: &u16| primary.iter().all(|one| one.number != *number);
        let free = (1..5)
            .find(is_free)
            .expect("a place was the extended one's");
        entry(0, usize::from(free - 1), 0x05, 1, u32::MAX.into())?;
        for number in 5..=last.number {
            let link = u64::from(number - 4);
            if let Some(one) = logical.iter().find(|one| one.number == number) {
                let first = one.first.checked_sub(link).filter(|first| *first > 0)?;
                entry(link, 0, kind(one), first, one.sectors)?;
            }
            if number < last.number {
                entry(link, 1, 0x0f, link, 1)?;
            }
        }
    }
    Some(disk)
}

/// A GPT's entry.
fn gpt(partition: &Partition) -> Option<[u8; 128]> {
    let Kind::Gpt(kind) = partition.kind else {
        return None;
    };
    let mut entry = [0; 128];
    entry[..16].copy_from_slice(&kind);
    entry[16..32].copy_from_slice(&partition.id);
    entry[32..40].copy_from_slice(&partition.first.to_le_bytes());
    let last = partition.first + partition.sectors - 1;
    entry[40..48].copy_from_slice(&last.to_le_bytes());
    let name = partition.name.as_str().encode_utf16();
    for (place, unit) in entry[56..].chunks_exact_mut(2).zip(name) {
        place.copy_from_slice(&unit.to_le_bytes());
    }
    Some(entry)
}

/// A table that is nearly right.
pub fn generate(random: &mut Random, input: &mut Vec<u8>) {
    let settings = random.next() as u8;
    input.push(settings & if random.one_in(4) { 0xff } else { 0xf3 });
    let sectors = SIZES[usize::from(settings & 3)];
    let somewhere = |random: &mut Random| match random.below(8) {
        0 => random.next() as u32,
        1 => sectors as u32,
        _ => random.below(sectors.clamp(2, 400)) as u32,
    };
    let entry = |random: &mut Random, kind: u8| {
        let mut entry = vec![0, 0, 0, 0, kind, 0, 0, 0];
        entry.extend(somewhere(random).to_le_bytes());
        entry.extend(somewhere(random).to_le_bytes());
        entry
    };
    if random.one_in(2) {
        for link in 0..random.between(1, 4) as u16 {
            let place = if link == 0 {
                0
            } else {
                random.below(40) as u16
            };
            let mut table = Vec::new();
            for _ in 0..4 {
                let kind = *random.pick(&[0, 0x83, 0x0c, 0x05, 0x0f, 0xda]);
                table.extend(entry(random, kind));
            }
            table.extend([0x55, 0xaa]);
            change(input, place, 446, &table);
        }
    } else {
        let mut table = entry(random, 0xee);
        table.resize(64, 0);
        table.extend([0x55, 0xaa]);
        change(input, 0, 446, &table);
        let at = *random.pick(&[1, 1, 1, 0xffff]);
        let mut header = b"EFI PART\0\0\x01\0\x5c\0\0\0".to_vec();
        let here = if at == 1 { 1 } else { sectors.wrapping_sub(1) };
        let entries = random.below(9) as u32;
        for field in [
            0,
            here,
            0,
            random.below(40),
            sectors,
            0,
            0,
            random.between(2, 4),
        ] {
            header.extend(field.to_le_bytes());
        }
        header.extend(entries.to_le_bytes());
        header.extend(random.pick(&[128u32, 128, 256, 512, 64]).to_le_bytes());
        change(input, at, 0, &header);
        for index in 0..entries as usize {
            let mut entry = vec![0; 32];
            random.fill(&mut entry);
            entry.extend(u64::from(somewhere(random)).to_le_bytes());
            entry.extend(u64::from(somewhere(random)).to_le_bytes());
            entry.extend([0; 8]);
            for _ in 0..random.below(37) {
                let unit = *random.pick(&[0x61, 0xf6, 0x4e2d, 0xd83d, 0xde00]);
                entry.extend(u16::to_le_bytes(unit));
            }
            change(input, 2, index * 128, &entry);
        }
    }
    if random.one_in(2) {
        let mut noise = [0; 4];
        random.fill(&mut noise);
        let (place, at) = (random.below(6) as u16, random.below(512) as usize);
        change(input, place, at, &noise[..random.between(1, 4) as usize]);
    }
}
