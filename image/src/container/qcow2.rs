//! qcow2, version 3: QEMU's own (QEMU, docs/interop/qcow2.txt).
//!
//! Header, one level-1 table, one level-2 table, one table and one block of
//! reference counts, each in a cluster of its own, then the clusters of the disk
//! that are not zero.

use super::{Page, pieces};

const CLUSTER_BITS: u32 = 16;
const CLUSTER: usize = 1 << CLUSTER_BITS;
/// Clusters before the disk's own.
const TABLES: usize = 5;
/// Level-2 and level-1 entry: the cluster belongs to nobody else, and may be
/// written in place.
const OWN: u64 = 1 << 63;
/// 16 bits a count.
const COUNT_ORDER: u32 = 4;
const HEADER_BYTES: u32 = 104;

/// `disk` as a qcow2 file.
pub fn qcow2(disk: &[u8]) -> Vec<u8> {
    assert!(
        disk.len() / CLUSTER <= CLUSTER / 8,
        "one level-2 table is for 512 MiB"
    );
    let cluster = |index: usize| (index * CLUSTER) as u64;
    let mut tables = Page::new(TABLES * CLUSTER);
    tables.put(0, b"QFI\xfb");
    tables.put(4, 3_u32.to_be_bytes());
    tables.put(20, CLUSTER_BITS.to_be_bytes());
    tables.put(24, (disk.len() as u64).to_be_bytes());
    // Level 1: one entry, in cluster 1. Counts: one cluster of table, in cluster 3.
    tables.put(36, 1_u32.to_be_bytes());
    tables.put(40, cluster(1).to_be_bytes());
    tables.put(48, cluster(3).to_be_bytes());
    tables.put(56, 1_u32.to_be_bytes());
    tables.put(96, COUNT_ORDER.to_be_bytes());
    tables.put(100, HEADER_BYTES.to_be_bytes());
    tables.put(CLUSTER, (cluster(2) | OWN).to_be_bytes());
    tables.put(3 * CLUSTER, cluster(4).to_be_bytes());

    let mut data = Vec::new();
    let mut used = TABLES;
    for (index, (piece, is_used)) in pieces(disk, CLUSTER).enumerate() {
        if !is_used {
            continue;
        }
        tables.put(2 * CLUSTER + 8 * index, (cluster(used) | OWN).to_be_bytes());
        data.extend_from_slice(piece);
        data.resize(data.len().next_multiple_of(CLUSTER), 0);
        used += 1;
    }
    for index in 0..used {
        tables.put(4 * CLUSTER + 2 * index, 1_u16.to_be_bytes());
    }
    let mut file = tables.0;
    file.extend(data);
    file
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn only_clusters_with_something_in_them_are_in_the_file() {
        let disk = sample();
        let file = qcow2(&disk);
        let used = disk
            .chunks(CLUSTER)
            .filter(|piece| piece.iter().any(|&byte| byte != 0))
            .count();
        assert_eq!(file.len(), (TABLES + used) * CLUSTER);
    }

    #[test]
    fn the_tables_lead_to_every_byte() {
        let disk = sample();
        let file = qcow2(&disk);
        let number = |at: usize| u64::from_be_bytes(file[at..at + 8].try_into().unwrap());
        let level_1 = number(40) as usize;
        let level_2 = (number(level_1) & !OWN) as usize;
        for (index, piece) in disk.chunks(CLUSTER).enumerate() {
            match (number(level_2 + 8 * index) & !OWN) as usize {
                0 => assert!(piece.iter().all(|&byte| byte == 0)),
                at => assert_eq!(&file[at..at + CLUSTER], piece),
            }
        }
    }
}
