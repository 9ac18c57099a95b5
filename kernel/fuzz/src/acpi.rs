//! ACPI tables: any memory behind the root pointer.
//!
//! The input is a piece of physical memory. Sums are put right before it is read,
//! or no change would ever get past them.

use metal::acpi::{Memory, Tables};
use sim::random::Random;

/// Where the memory begins.
const BASE: u64 = 0x10_0000;
const HEADER: usize = 36;

struct Physical(Vec<u8>);

impl Memory for Physical {
    fn bytes(&self, address: u64, bytes: usize) -> Option<&[u8]> {
        let from = usize::try_from(address.checked_sub(BASE)?).ok()?;
        self.0.get(from..from.checked_add(bytes)?)
    }
}

/// Makes the bytes from `from` to `to` add up to zero, by the one at `at`.
fn put_sum_right(memory: &mut [u8], (from, to): (usize, usize), at: usize) {
    if let Some(bytes) = memory.get_mut(from..to)
        && at < bytes.len()
    {
        bytes[at] = 0;
        let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        bytes[at] = sum.wrapping_neg();
    }
}

/// Any memory.
pub fn run(data: &[u8]) {
    let mut memory = data.to_vec();
    for at in (0..memory.len().saturating_sub(HEADER)).step_by(4) {
        let word = |from: usize| memory.get(from..from + 4).map(|b| b.to_vec());
        let signature = word(at).unwrap_or_default();
        const TABLES: [&[u8]; 8] = [
            b"RSDT", b"XSDT", b"FACP", b"MCFG", b"APIC", b"SPCR", b"HPET", b"DSDT",
        ];
        if TABLES.contains(&signature.as_slice()) {
            let length = word(at + 4).unwrap_or_default();
            let length = length
                .iter()
                .rev()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            put_sum_right(&mut memory, (at, at.saturating_add(length)), 9);
        }
    }
    if memory.starts_with(b"RSD PTR ") {
        put_sum_right(&mut memory, (0, 20), 8);
        put_sum_right(&mut memory, (0, 36), 32);
    }
    let memory = Physical(memory);
    let Some(tables) = Tables::at(&memory, BASE) else {
        return;
    };
    for window in tables.configuration_windows().take(1_000) {
        std::hint::black_box(window);
    }
    std::hint::black_box((tables.power(), tables.console_port()));
    std::hint::black_box(tables.precision_timer());
    if let Some(processors) = tables.processors() {
        std::hint::black_box(processors.ids().len());
    }
}

fn table(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut table = signature.to_vec();
    table.extend(((HEADER + body.len()) as u32).to_le_bytes());
    table.resize(HEADER, 0);
    table.extend(body);
    table
}

/// Tables that hang together, with some bytes changed.
pub fn generate(random: &mut Random, input: &mut Vec<u8>) {
    let mut memory = b"RSD PTR ".to_vec();
    memory.extend([0; 7]);
    memory.push(2);
    memory.extend((BASE as u32 + 64).to_le_bytes());
    memory.extend(36u32.to_le_bytes());
    memory.extend((BASE + 64).to_le_bytes());
    memory.resize(64, 0);
    let mut body = vec![0; random.below(280) as usize];
    random.fill(&mut body);
    let names = [*b"FACP", *b"MCFG", *b"APIC", *b"SPCR", *b"HPET"];
    let tables: Vec<Vec<u8>> = (0..random.between(1, 4))
        .map(|_| {
            table(
                random.pick(&names),
                &body[..random.below(body.len() as u64 + 1) as usize],
            )
        })
        .collect();
    let mut address = BASE + 64 + (HEADER + 8 * tables.len()) as u64;
    let mut list = Vec::new();
    for table in &tables {
        list.extend(address.to_le_bytes());
        address += table.len().next_multiple_of(4) as u64;
    }
    memory.extend(self::table(b"XSDT", &list));
    for table in &tables {
        memory.extend(table);
        memory.resize(memory.len().next_multiple_of(4), 0);
    }
    for _ in 0..random.below(4) {
        let at = random.below(memory.len() as u64) as usize;
        memory[at] = random.next() as u8;
    }
    input.extend(memory);
}
