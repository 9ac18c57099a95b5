use super::*;
use alloc::vec;
use alloc::vec::Vec;

extern crate alloc;

/// The first MiB of a machine, and nothing else.
struct Low(Vec<u8>);

impl Memory for Low {
    fn bytes(&self, address: u64, bytes: usize) -> Option<&[u8]> {
        let start = usize::try_from(address).ok()?;
        self.0.get(start..start.checked_add(bytes)?)
    }
}

impl Low {
    fn new() -> Self {
        Self(vec![0; 1 << 20])
    }

    fn put(&mut self, at: u64, bytes: &[u8]) {
        self.0[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    }
}

fn close(mut table: Vec<u8>, sum_at: usize) -> Vec<u8> {
    table[sum_at] = 0;
    let sum = table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    table[sum_at] = sum.wrapping_neg();
    table
}

fn table_of(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut table = vec![0; HEADER_BYTES];
    table[..4].copy_from_slice(signature);
    table[4..8].copy_from_slice(&((HEADER_BYTES + body.len()) as u32).to_le_bytes());
    table.extend_from_slice(body);
    close(table, 9)
}

fn root(plain: u32, extended: Option<u64>) -> Vec<u8> {
    let mut root = vec![0; 36];
    root[..8].copy_from_slice(b"RSD PTR ");
    root[16..20].copy_from_slice(&plain.to_le_bytes());
    if let Some(address) = extended {
        root[15] = 2;
        root[20..24].copy_from_slice(&36_u32.to_le_bytes());
        root[24..32].copy_from_slice(&address.to_le_bytes());
    }
    let first = close(root[..20].to_vec(), 8);
    root[..20].copy_from_slice(&first);
    close(root, 32)
}

fn fadt() -> Vec<u8> {
    let mut body = vec![0; 148 - HEADER_BYTES];
    let mut put = |at: usize, bytes: &[u8]| {
        body[at - HEADER_BYTES..at - HEADER_BYTES + bytes.len()].copy_from_slice(bytes);
    };
    put(40, &0x3000_u32.to_le_bytes());
    put(48, &0xb2_u32.to_le_bytes());
    put(52, &[2]);
    put(56, &0x600_u32.to_le_bytes());
    put(64, &0x604_u32.to_le_bytes());
    put(76, &0x608_u32.to_le_bytes());
    put(88, &[4]);
    put(112, &(1_u32 << 10).to_le_bytes());
    put(116, &[1, 8, 0, 0]);
    put(120, &0xcf9_u64.to_le_bytes());
    put(128, &[0x0f]);
    table_of(b"FACP", &body)
}

const OFF_PACKAGE: &[u8] = b"\x08_S5_\x12\x06\x04\x0a\x05\x00\x00\x00";

fn machine() -> Low {
    let mut memory = Low::new();
    memory.put(0xf_5a00, &root(0x1000, None));
    let list: Vec<u8> = [0x2000_u32, 0x2800, 0x9_0000]
        .iter()
        .flat_map(|address| address.to_le_bytes())
        .collect();
    memory.put(0x1000, &table_of(b"RSDT", &list));
    memory.put(0x2000, &fadt());
    let mut windows = vec![0; 8];
    windows.extend_from_slice(&0xb000_0000_u64.to_le_bytes());
    windows.extend_from_slice(&[0, 0, 0, 255, 0, 0, 0, 0]);
    memory.put(0x2800, &table_of(b"MCFG", &windows));
    memory.put(0x3000, &table_of(b"DSDT", OFF_PACKAGE));
    memory
}

#[test]
fn the_root_pointer_is_found_where_a_bios_leaves_it() {
    let memory = machine();
    let tables = Tables::find(&memory, 0).unwrap();
    assert!(tables.table(*b"FACP").is_some());
    assert!(tables.table(*b"HPET").is_none());

    let mut memory = Low::new();
    memory.put(0x9_fc10, &root(0x1000, None));
    assert!(
        Tables::find(&memory, 0x9fc0).is_none(),
        "it leads nowhere yet"
    );
    memory.put(0x1000, &table_of(b"RSDT", &[]));
    assert!(Tables::find(&memory, 0x9fc0).is_some());
    assert!(
        Tables::find(&memory, 0x4000).is_none(),
        "no such area there"
    );
}

#[test]
fn the_long_list_counts_where_it_is_whole_and_the_short_one_where_it_is_not() {
    let mut memory = machine();
    memory.put(0xf_5a00, &root(0x1000, Some(0x4000)));
    assert!(Tables::find(&memory, 0).unwrap().table(*b"FACP").is_some());
    memory.put(0x4000, &table_of(b"XSDT", &0x2800_u64.to_le_bytes()));
    let tables = Tables::find(&memory, 0).unwrap();
    assert!(tables.table(*b"FACP").is_none());
    assert!(tables.table(*b"MCFG").is_some());
}

#[test]
fn a_table_with_a_wrong_sum_is_no_table() {
    let memory = machine();
    for at in [0x1000 + 38, 0x2000 + 60, 0x2000 + 5] {
        let mut broken = Low(memory.0.clone());
        broken.0[at] ^= 1;
        let tables = Tables::find(&broken, 0);
        assert!(tables.is_none_or(|tables| tables.table(*b"FACP").is_none()));
    }
}

#[test]
fn qemus_pc_tells_its_ports() {
    let memory = machine();
    let power = Tables::find(&memory, 0).unwrap().power().unwrap();
    assert_eq!(power.status, Some(0x600));
    assert_eq!(power.status_enable, Some(0x602));
    assert_eq!(power.control, Some(0x604));
    assert_eq!(power.control_b, None);
    assert_eq!(power.timer, Some(0x608));
    assert_eq!(power.enable, Some((0xb2, 2)));
    assert_eq!(power.off, Some((5, 0)));
    let reset = power.reset.unwrap();
    assert_eq!((reset.register, reset.value), (Space::Port(0xcf9), 0x0f));
}

#[test]
fn numbers_of_the_off_package_have_four_forms() {
    assert_eq!(power::off(OFF_PACKAGE), Some((5, 0)));
    let zeros = b"\x08\\_S5_\x12\x06\x04\x00\x00\x00\x00";
    assert_eq!(power::off(zeros), Some((0, 0)));
    let words = b"\x08_S5_\x12\x0a\x04\x0b\x07\x00\x0c\x07\x00\x00\x00";
    assert_eq!(power::off(words), Some((7, 7)));
    let long = b"\x08_S5_\x12\x47\x00\x02\x01\x01";
    assert_eq!(power::off(long), Some((1, 1)));
    assert_eq!(
        power::off(b"_S5_\x12\x06\x04\x05\x05"),
        None,
        "only used, not named"
    );
    assert_eq!(
        power::off(b"\x08_S5_\x12\x06\x04\x0a\x08\x00"),
        None,
        "past three bits"
    );
    for end in 0..OFF_PACKAGE.len() - 3 {
        assert_eq!(power::off(&OFF_PACKAGE[..end]), None);
    }
}

#[test]
fn configuration_space_is_where_the_table_says() {
    let memory = machine();
    let tables = Tables::find(&memory, 0).unwrap();
    let windows: Vec<_> = tables.configuration_windows().collect();
    let expected = ConfigurationWindow {
        base: 0xb000_0000,
        segment: 0,
        first_bus: 0,
        last_bus: 255,
    };
    assert_eq!(windows, [expected]);
}

#[test]
fn a_window_that_can_not_be_is_left_out() {
    let entry = |base: u64, first: u8, last: u8| {
        let mut entry = base.to_le_bytes().to_vec();
        entry.extend_from_slice(&[0, 0, first, last, 0, 0, 0, 0]);
        ConfigurationWindow::read(&entry)
    };
    assert!(entry(0xe000_0000, 0, 255).is_some());
    assert!(entry(0, 0, 255).is_none());
    assert!(entry(0xe000_0001, 0, 255).is_none());
    assert!(entry(0xe000_0000, 9, 8).is_none());
    assert!(entry(u64::MAX << 20, 0, 255).is_none());
}

#[test]
fn processors_are_those_that_are_enabled_once_each() {
    let mut body = vec![0; 8];
    let local = |id: u8, flags: u8| [0, 8, id, id, flags, 0, 0, 0];
    body.extend_from_slice(&local(0, 1));
    body.extend_from_slice(&local(1, 0));
    body.extend_from_slice(&[1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
    body.extend_from_slice(&local(2, 1));
    body.extend_from_slice(&[9, 16, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    body.extend_from_slice(&[9, 16, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    body.extend_from_slice(&[0, 8, 5]);
    let found = processors(&table_of(b"APIC", &body));
    assert_eq!(found.ids(), [0, 2, 256]);
}

#[test]
fn an_entry_of_no_length_ends_the_walk() {
    let mut body = vec![0; 8];
    body.extend_from_slice(&[0, 0, 1, 1, 1, 0, 0, 0]);
    assert!(processors(&table_of(b"APIC", &body)).ids().is_empty());
}

#[test]
fn more_processors_than_are_kept_are_left_out() {
    let mut body = vec![0; 8];
    for id in 0..=255 {
        body.extend_from_slice(&[0, 8, id, id, 1, 0, 0, 0]);
    }
    let found = processors(&table_of(b"APIC", &body));
    assert_eq!(found.ids().len(), processors::PROCESSORS_MAX);
}

#[test]
fn the_console_is_only_one_at_a_port() {
    let console = |kind: u8, space: u8, address: u64| {
        let mut body = vec![kind, 0, 0, 0, space, 8, 0, 1];
        body.extend_from_slice(&address.to_le_bytes());
        let mut memory = Low::new();
        memory.put(0xf_0000, &root(0x1000, None));
        memory.put(0x1000, &table_of(b"RSDT", &0x2000_u32.to_le_bytes()));
        memory.put(0x2000, &table_of(b"SPCR", &body));
        Tables::find(&memory, 0).unwrap().console_port()
    };
    assert_eq!(console(0, 1, 0x2f8), Some(0x2f8));
    assert_eq!(console(0, 0, 0xfe03_0000), None);
    assert_eq!(console(3, 1, 0x2f8), None);
    assert_eq!(console(0, 1, 0x1_0000), None);
}

/// Every byte of every table, changed to every value that matters, and every
/// length: nothing panics, and every walk ends.
#[test]
fn no_byte_of_a_table_makes_the_reader_fall() {
    let memory = machine();
    let read = |memory: &Low| {
        let Some(tables) = Tables::find(memory, 0) else {
            return;
        };
        let _ = tables.power();
        let _ = tables.configuration_windows().count();
        let _ = tables.processors();
        let _ = tables.console_port();
        let _ = tables.precision_timer();
    };
    let places = (0x1000..0x1034).chain(0x2000..0x2094).chain(0x3000..0x3034);
    for at in places {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut broken = Low::new();
            for (from, to) in [(0x1000, 0x4000), (0xf_5a00, 0xf_5a40)] {
                broken.put(from, &memory.0[from as usize..to]);
            }
            broken.0[at] = value;
            // The sums are made right again, so that the change is believed.
            for (from, bytes) in [
                (0x1000, 48),
                (0x2000, 148),
                (0x3000, 36 + OFF_PACKAGE.len()),
            ] {
                let fixed = close(broken.0[from..from + bytes].to_vec(), 9);
                broken.put(from as u64, &fixed);
            }
            read(&broken);
        }
    }
}
