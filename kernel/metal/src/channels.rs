//! Settings that the machine itself hands over: SMBIOS, fw_cfg, the command line.
//!
//! They are there before any device is, so the console can be the one that they
//! name. `ublade.conf` and what was saved over it are weaker than all of them and come
//! last, off a disk; then everything is read once more in the order of strength, and the last one wins.

use crate::arch::{self, Port};
use crate::memory::Memory;
use metal::smbios;
use node::config::{Config, Source};

/// Most bytes of settings that SMBIOS, or fw_cfg, hands over: twice a command line.
const TEXT_BYTES: usize = 8192;

/// See the module's header.
pub struct Channels {
    smbios: Text,
    fw_cfg: Text,
    command_line: &'static [u8],
}

/// Lines of settings.
struct Text {
    bytes: [u8; TEXT_BYTES],
    len: usize,
}

impl Text {
    const EMPTY: Self = Self {
        bytes: [0; TEXT_BYTES],
        len: 0,
    };

    fn get(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Channels {
    /// Collects what there is. `smbios_root` is where UEFI says that the entry
    /// point of SMBIOS is.
    #[cold]
    pub fn find(memory: &Memory, smbios_root: Option<u64>, command_line: &'static [u8]) -> Self {
        let mut found = Self {
            smbios: Text::EMPTY,
            fw_cfg: Text::EMPTY,
            command_line,
        };
        found.smbios.len = smbios::settings(memory, smbios_root, &mut found.smbios.bytes);
        found.fw_cfg.len = fw_cfg(&mut found.fw_cfg.bytes);
        found
    }

    /// Reads everything into `config`, which is new, from the weakest to the
    /// strongest. `file` is what `ublade.conf` holds, `saved` what was saved over it.
    #[cold]
    pub fn read(&self, config: &mut Config, file: &[u8], saved: &[u8]) {
        config.parse(Source::File, file);
        config.parse(Source::Saved, saved);
        config.parse(Source::Smbios, self.smbios.get());
        config.parse(Source::FwCfg, self.fw_cfg.get());
        config.parse(Source::CommandLine, self.command_line);
    }
}

/// Which file of fw_cfg is ours.
const FILE: &[u8] = b"opt/org.ublade/config";
/// Its selector and its data (QEMU, docs/specs/fw_cfg: x86 ports).
const SELECTOR: Port = Port(0x510);
const DATA: Port = Port(0x511);
/// What can be selected: a mark, and the directory of files.
const SIGNATURE: u16 = 0x00;
const DIRECTORY: u16 = 0x19;
/// Most files that are looked at. QEMU has some tens.
const FILES_MAX: u32 = 1024;
/// Where in a directory entry the name is, and its length.
const NAME: usize = 8;
const ENTRY_BYTES: usize = 64;

/// The settings in QEMU's fw_cfg, into `text`; how many bytes that was. A text
/// that is longer is cut.
fn fw_cfg(text: &mut [u8]) -> usize {
    // On bare metal these two ports are somebody else's, or nobody's.
    let is_virtual = arch::cpuid(1).ecx & 1 << 31 != 0;
    if !is_virtual {
        return 0;
    }
    SELECTOR.write_u16(SIGNATURE);
    if next() != *b"QEMU" {
        return 0;
    }
    SELECTOR.write_u16(DIRECTORY);
    let files = u32::from_be_bytes(next());
    for _ in 0..files.min(FILES_MAX) {
        let entry: [u8; ENTRY_BYTES] = next();
        let name = entry[NAME..].split(|byte| *byte == 0).next();
        if name == Some(FILE) {
            let bytes = u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]) as usize;
            SELECTOR.write_u16(u16::from_be_bytes([entry[4], entry[5]]));
            let len = bytes.min(text.len());
            text[..len].fill_with(|| DATA.read());
            return len;
        }
    }
    0
}

/// The next bytes of what is selected.
fn next<const N: usize>() -> [u8; N] {
    core::array::from_fn(|_| DATA.read())
}
