//! Every image there is: its name, what machine it is for, and its bytes.

use crate::container::{qcow2, vhd, vhdx, vmdk};
use crate::disk::{self, Content};
use crate::{iso, ova};

/// One kind of image.
pub struct Kind {
    /// The file's name.
    pub name: &'static str,
    /// Which machine takes it, and how.
    pub machine: &'static str,
    make: fn(&Content<'_>, &[u8]) -> Result<Vec<u8>, String>,
}

/// All kinds.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "ublade.img",
        machine: "USB stick or disk of a PC (dd), cloud import, Proxmox (qm importdisk), any \
                  QEMU: BIOS and UEFI",
        make: |_, disk| Ok(disk.to_vec()),
    },
    Kind {
        name: "ublade.iso",
        machine: "CD-ROM drive of any machine or remote console; dd to a USB stick works as well",
        make: |content, _| iso::iso(content),
    },
    Kind {
        name: "ublade.qcow2",
        machine: "QEMU, libvirt, Proxmox, OpenStack",
        make: |_, disk| Ok(qcow2::qcow2(disk)),
    },
    Kind {
        name: "ublade.vmdk",
        machine: "VMware Workstation, VirtualBox; ESXi after vmkfstools -i",
        make: |content, disk| Ok(vmdk::sparse(disk, "ublade.vmdk", content.number("vmdk"))),
    },
    Kind {
        name: "ublade.vhdx",
        machine: "Hyper-V, generation 2 (UEFI, Secure Boot off) and 1",
        make: |content, disk| {
            let names = vhdx::Names {
                file_write: content.uuid("vhdx file"),
                data_write: content.uuid("vhdx data"),
                disk: content.uuid("vhdx disk"),
            };
            Ok(vhdx::vhdx(disk, names))
        },
    },
    Kind {
        name: "ublade.vhd",
        machine: "Azure, Hyper-V generation 1, XCP-ng",
        make: |content, disk| Ok(vhd::vhd(disk, content.uuid("vhd"))),
    },
    Kind {
        name: "ublade.ova",
        machine: "ESXi, vCenter, VirtualBox: import as an appliance",
        make: |content, disk| Ok(ova::ova(disk, content)),
    },
];

/// What starts without an image: the boot file and the ELF of `cargo xtask build`.
pub const BOOT_FILES: &[(&str, &str)] = &[
    (
        "ublade",
        "whatever loads a Linux kernel or a UEFI application: PXE, iPXE, GRUB, syslinux, kexec, \
         QEMU -kernel",
    ),
    (
        "ublade.elf",
        "whatever loads a PVH kernel: QEMU -kernel, Firecracker, Cloud Hypervisor, Xen",
    ),
];

/// Every image of `content`, made one after the other.
pub fn all(
    content: &Content<'_>,
) -> Result<impl Iterator<Item = Result<(&'static Kind, Vec<u8>), String>>, String> {
    let disk = disk::raw(content)?;
    Ok(KINDS
        .iter()
        .map(move |kind| Ok((kind, (kind.make)(content, &disk)?))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_made_twice_is_the_same_and_differs_from_that_of_other_settings() {
        let content = |conf| Content {
            boot_sector: &[0xfa; 440],
            boot_file: &[0x4d; 100_000],
            conf,
        };
        let make = |conf| -> Vec<Vec<u8>> {
            let content = content(conf);
            all(&content).unwrap().map(|made| made.unwrap().1).collect()
        };
        let (first, second, other) = (make(b"rw=all\n"), make(b"rw=all\n"), make(b"rw=none\n"));
        assert_eq!(first.len(), KINDS.len());
        for (index, kind) in KINDS.iter().enumerate() {
            assert!(first[index] == second[index], "{}", kind.name);
            assert!(first[index] != other[index], "{}", kind.name);
        }
    }
}
