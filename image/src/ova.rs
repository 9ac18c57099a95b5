//! The OVA: a description of the machine, its disk, and their digests, in a tar.
//!
//! (DMTF DSP0243, OVF 1.1, the version that all importers take.) The machine has what
//! VMware and VirtualBox both know and the node has drivers for: one SATA controller
//! with the disk, and one network card. Disks to export are added by the operator;
//! nobody else knows which.

use crate::container::vmdk;
use crate::disk::Content;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

const OVF: &str = "ublade.ovf";
const MANIFEST: &str = "ublade.mf";
const DISK: &str = "ublade-disk.vmdk";
/// Memory of the machine in MiB: the node's own, its frames, and room.
const MEMORY_MIB: u32 = 256;

/// `disk`, which holds `content`, as an OVA.
pub fn ova(disk: &[u8], content: &Content<'_>) -> Vec<u8> {
    let vmdk = vmdk::stream(disk, DISK, content.number("vmdk"));
    let ovf = description(disk.len(), vmdk.len()).into_bytes();
    let mut manifest = String::new();
    for (name, bytes) in [(OVF, &ovf), (DISK, &vmdk)] {
        write!(manifest, "SHA256({name})= ").expect("a string takes everything");
        for byte in Sha256::digest(bytes) {
            write!(manifest, "{byte:02x}").expect("a string takes everything");
        }
        manifest.push('\n');
    }
    // The description has to come first, its manifest next (DSP0243, clause 6.4).
    let mut tar = Vec::new();
    for (name, bytes) in [
        (OVF, &ovf[..]),
        (MANIFEST, manifest.as_bytes()),
        (DISK, &vmdk),
    ] {
        tar.extend(tar_header(name, bytes.len()));
        tar.extend_from_slice(bytes);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// A header of POSIX's ustar: nobody's file, of the first day of 1970.
fn tar_header(name: &str, bytes: usize) -> [u8; 512] {
    let mut header = [0; 512];
    let mut put = |at: usize, text: &str| {
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
    };
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{bytes:011o}\0"));
    put(136, "00000000000\0");
    // The sum counts its own field as blanks.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\0");
    put(263, "00");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// The description of the machine.
fn description(disk_bytes: usize, vmdk_bytes: usize) -> String {
    let items = [
        item(&[
            ("Caption", "1 processor"),
            ("ElementName", "1 processor"),
            ("InstanceID", "1"),
            ("ResourceType", "3"),
            ("VirtualQuantity", "1"),
        ]),
        item(&[
            ("AllocationUnits", "byte * 2^20"),
            ("Caption", "memory"),
            ("ElementName", "memory"),
            ("InstanceID", "2"),
            ("ResourceType", "4"),
            ("VirtualQuantity", &MEMORY_MIB.to_string()),
        ]),
        item(&[
            ("Address", "0"),
            ("Caption", "SATA controller"),
            ("ElementName", "SATA controller"),
            ("InstanceID", "3"),
            ("ResourceSubType", "vmware.sata.ahci"),
            ("ResourceType", "20"),
        ]),
        item(&[
            ("AddressOnParent", "0"),
            ("Caption", "boot disk"),
            ("ElementName", "boot disk"),
            ("HostResource", "ovf:/disk/disk1"),
            ("InstanceID", "4"),
            ("Parent", "3"),
            ("ResourceType", "17"),
        ]),
        item(&[
            ("AddressOnParent", "0"),
            ("AutomaticAllocation", "true"),
            ("Caption", "network card"),
            ("Connection", "storage"),
            ("ElementName", "network card"),
            ("InstanceID", "5"),
            ("ResourceSubType", "E1000"),
            ("ResourceType", "10"),
        ]),
    ]
    .concat();
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<Envelope ovf:version="1.0" xml:lang="en-US" xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <References>
    <File ovf:href="{DISK}" ovf:id="file1" ovf:size="{vmdk_bytes}"/>
  </References>
  <DiskSection>
    <Info>Virtual disks</Info>
    <Disk ovf:capacity="{disk_bytes}" ovf:diskId="disk1" ovf:fileRef="file1" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  </DiskSection>
  <NetworkSection>
    <Info>Networks</Info>
    <Network ovf:name="storage">
      <Description>Where the initiators are</Description>
    </Network>
  </NetworkSection>
  <VirtualSystem ovf:id="ublade">
    <Info>A storage node that is its own operating system</Info>
    <Name>ublade</Name>
    <OperatingSystemSection ovf:id="102">
      <Info>Other, 64-bit</Info>
      <Description>ublade</Description>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>What the machine has</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>ublade</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>vmx-10</vssd:VirtualSystemType>
      </System>
{items}    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
"#
    )
}

/// An item of the machine: its fields, which must be in the order of the alphabet.
fn item(fields: &[(&str, &str)]) -> String {
    assert!(fields.is_sorted());
    let mut text = String::from("      <Item>\n");
    for (name, value) in fields {
        writeln!(text, "        <rasd:{name}>{value}</rasd:{name}>")
            .expect("a string takes everything");
    }
    text.push_str("      </Item>\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tar_header_sums_up_with_blanks_in_the_place_of_the_sum() {
        let header = tar_header("a", 5);
        let stored = str::from_utf8(&header[148..154]).unwrap();
        let mut blanked = header;
        blanked[148..156].fill(b' ');
        let sum: u32 = blanked.iter().map(|&byte| u32::from(byte)).sum();
        assert_eq!(u32::from_str_radix(stored, 8).unwrap(), sum);
        assert_eq!(&header[124..136], b"00000000005\0");
    }

    #[test]
    fn the_manifest_and_the_sizes_are_those_of_the_files_inside() {
        let disk = vec![0; 8 << 20];
        let content = Content {
            boot_sector: &[],
            boot_file: &[],
            conf: &[],
        };
        let ova = ova(&disk, &content);
        let mut at = 0;
        let mut files = Vec::new();
        while ova[at] != 0 {
            let name = str::from_utf8(&ova[at..at + 100]).unwrap();
            let size = str::from_utf8(&ova[at + 124..at + 135]).unwrap();
            let size = usize::from_str_radix(size, 8).unwrap();
            let bytes = &ova[at + 512..at + 512 + size];
            files.push((name.trim_end_matches('\0'), bytes));
            at += 512 + size.next_multiple_of(512);
        }
        let [(OVF, ovf), (MANIFEST, manifest), (DISK, vmdk)] = files[..] else {
            panic!("{:?}", files.iter().map(|file| file.0).collect::<Vec<_>>());
        };
        let (ovf, manifest) = (
            str::from_utf8(ovf).unwrap(),
            str::from_utf8(manifest).unwrap(),
        );
        assert!(ovf.contains(&format!("ovf:size=\"{}\"", vmdk.len())));
        for (line, bytes) in manifest.lines().zip([ovf.as_bytes(), vmdk]) {
            let (_, digest) = line.split_once("= ").unwrap();
            let expected: String = Sha256::digest(bytes)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert_eq!(digest, expected);
        }
    }
}
