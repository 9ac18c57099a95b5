//! A recipe in QEMU's words.

use super::{Board, Disk, FIRST_FD, Nic, Recipe};
use crate::accel::Accel;
use std::fmt::Write as _;

impl Recipe {
    /// The whole command line, for a person to try.
    pub fn command_line(&self) -> Vec<String> {
        let accel = self.accel.unwrap_or(Accel::Tcg);
        let mut line: Vec<String> = Vec::new();
        let mut add = |words: &[&str]| line.extend(words.iter().map(|&word| word.to_owned()));
        for folder in &self.emulator.firmware {
            add(&["-L", &folder.to_string_lossy()]);
        }
        add(&["-name", &self.name, "-machine", self.board.name()]);
        if self.board != Board::Cables {
            add(&accel.arguments());
        }
        add(&["-m", &self.memory, "-smp", &self.cpus.to_string()]);
        add(&["-nodefaults", "-no-user-config", "-display", "none"]);
        add(&["-chardev", "stdio,id=console,signal=off"]);
        add(&["-serial", "chardev:console"]);
        add(&["-chardev", &format!("socket,id=qmp,fd={FIRST_FD}")]);
        add(&["-mon", "chardev=qmp,mode=control"]);
        if self.debugged {
            let fd = FIRST_FD as usize + 1 + self.nics.len();
            add(&["-chardev", &format!("socket,id=gdb,fd={fd}")]);
        }
        if !self.reboots {
            add(&["-no-reboot"]);
        }
        if let Some(kernel) = &self.kernel {
            add(&["-kernel", &kernel.to_string_lossy()]);
            if !self.append.is_empty() {
                add(&["-append", &self.append]);
            }
        }
        if let Some(initrd) = &self.initrd {
            add(&["-initrd", &initrd.to_string_lossy()]);
        }
        for controller in &self.controllers {
            add(&["-device", controller]);
        }
        for (index, disk) in self.disks.iter().enumerate() {
            let Disk {
                backing,
                cache,
                properties,
                ..
            } = disk;
            let device = match disk.model {
                Some(model) => model.to_owned(),
                None => format!("virtio-blk-{}", self.board.bus()),
            };
            let read_only = if disk.read_only { ",read-only=on" } else { "" };
            add(&[
                "-drive",
                &format!(
                    "if=none,id=drive{index},cache={cache},discard=unmap{read_only},{backing}"
                ),
                "-device",
                &format!("{device},id=disk{index},drive=drive{index}{properties}"),
            ]);
        }
        for (index, nic) in self.nics.iter().enumerate() {
            for words in nic.words(index, self.board) {
                add(&[&words.0, &words.1]);
            }
        }
        line.extend(self.extra.iter().cloned());
        line
    }
}

impl Nic {
    /// The options of card `index`.
    fn words(&self, index: usize, board: Board) -> Vec<(String, String)> {
        let fd = FIRST_FD + 1 + i32::try_from(index).expect("a handful of cards");
        let netdev = |value: String| ("-netdev".to_owned(), value);
        let mut words = Vec::new();
        match &self.tap {
            None => words.push(netdev(format!("socket,id=nic{index},fd={fd}"))),
            Some(tap) => {
                // A hub inside QEMU joins our socket, the tap and the card.
                words.push(netdev(format!("socket,id=link{index},fd={fd}")));
                words.push(netdev(format!(
                    "tap,id=tap{index},ifname={tap},script=no,downscript=no"
                )));
                for end in ["link", "tap"] {
                    words.push(netdev(format!(
                        "hubport,id={end}-port{index},hubid={index},netdev={end}{index}"
                    )));
                }
                if board == Board::Cables {
                    return words;
                }
                words.push(netdev(format!("hubport,id=nic{index},hubid={index}")));
            }
        }
        let mut device = match self.model {
            Some(model) => model.to_owned(),
            None => format!("virtio-net-{}", board.bus()),
        };
        write!(device, ",id=card{index},netdev=nic{index},mac={}", self.mac)
            .expect("a string takes everything");
        if let Some(mtu) = self.mtu {
            write!(device, ",host_mtu={mtu}").expect("a string takes everything");
        }
        if !self.rom && board != Board::Microvm {
            device.push_str(",romfile=");
        }
        device.push_str(&self.properties);
        words.push(("-device".to_owned(), device));
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Mac, Switch};
    use std::path::Path;

    #[test]
    fn a_microvm_gets_virtio_over_mmio_and_no_rom() {
        let switch = Switch::new();
        let line = Recipe::new("m")
            .board(Board::Microvm)
            .disk(Disk::file(Path::new("/tmp/a,b.img")).serial("s0"))
            .nic(Nic::on(&switch, Mac::local(1)).mtu(9000))
            .command_line()
            .join(" ");
        assert!(line.contains("-machine microvm"), "{line}");
        assert!(line.contains("virtio-blk-device,id=disk0,drive=drive0,serial=s0"));
        assert!(line.contains("file=/tmp/a,,b.img"), "{line}");
        assert!(line.contains(
            "virtio-net-device,id=card0,netdev=nic0,mac=02:00:00:00:00:01,host_mtu=9000"
        ));
        assert!(!line.contains("romfile"), "{line}");
    }

    #[test]
    fn cables_without_a_machine_have_no_card_in_them() {
        let switch = Switch::new();
        let line = Recipe::new("m")
            .board(Board::Cables)
            .nic(Nic::on(&switch, Mac::local(1)).with_tap("tap0"))
            .command_line()
            .join(" ");
        assert!(line.contains("-machine none"), "{line}");
        assert!(
            line.contains("hubport,id=tap-port0,hubid=0,netdev=tap0"),
            "{line}"
        );
        assert!(!line.contains("-device"), "{line}");
        assert!(!line.contains("-cpu"), "{line}");
    }

    #[test]
    fn every_card_gets_a_descriptor_of_its_own() {
        let switch = Switch::new();
        let line = Recipe::new("m")
            .nic(Nic::on(&switch, Mac::local(1)))
            .nic(Nic::on(&switch, Mac::local(2)).with_tap("tap0"))
            .command_line()
            .join(" ");
        assert!(line.contains("socket,id=qmp,fd=3"), "{line}");
        assert!(line.contains("socket,id=nic0,fd=4"), "{line}");
        assert!(line.contains("socket,id=link1,fd=5"), "{line}");
        assert!(line.contains("hubport,id=nic1,hubid=1"), "{line}");
    }
}
