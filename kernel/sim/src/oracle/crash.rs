//! What a crash takes away, what a start must find, and what an audit looks at.

use super::*;

impl Oracle {
    fn forget_the_node(&mut self) {
        self.now += 1;
        self.tokens.clear();
        self.asked.clear();
        self.recent.clear();
        self.reads.clear();
        for port in &mut self.ports {
            (port.mtu_low, port.mtu_high) = (port.mtu, port.mtu);
        }
        for export in &mut self.exports {
            let fresh = self.own.is_none().then(|| View::of(&export.served));
            export.views.lose_the_node(fresh);
            let last = *export.capacities.last().expect("there is always one");
            export.capacities = vec![last];
        }
    }

    /// The node died; what it only remembered is forgotten.
    pub fn lose_the_node(&mut self) {
        self.forget_the_node();
        let now = self.now;
        for history in self
            .exports
            .iter_mut()
            .flat_map(|e| e.histories.values_mut())
        {
            history.lose_the_node(now);
        }
    }

    /// The power failed. `torn`: disk, sector of the disk, what it holds now.
    pub fn lose_the_power(&mut self, torn: &[(usize, u64, Value)]) {
        self.forget_the_node();
        let now = self.now;
        for export in &mut self.exports {
            export.unflushed.clear();
            for history in export.histories.values_mut() {
                history.lose_the_power(now);
            }
        }
        for &(disk, lba, value) in torn {
            for export in &mut self.exports {
                let served = &export.served;
                let end = served.sectors.map_or(u64::MAX, |n| served.first + n);
                if served.disk == disk && (served.first..end).contains(&lba) {
                    let lba = lba - served.first;
                    if !export.history(lba).tear(value, now) {
                        self.ledger
                            .find(format!("sector {lba} was torn and nobody was writing it"));
                    }
                }
            }
        }
    }

    /// The node has started and says what is in force, by address, and whether it
    /// keeps it.
    pub fn started(&mut self, keeps: bool, mut in_force: impl FnMut(Address) -> View) {
        self.now += 1;
        self.keeps = keeps;
        let (now, now_us) = (self.now, self.ledger.now_us());
        for export in &mut self.exports {
            let address = export.served.address;
            let right = export.views.describe();
            let view = in_force(address);
            if !export.views.start(view.clone(), now, now_us) {
                self.ledger.find(format!(
                    "the node starts with {view:02x?} set for {address:?}, right: {right}"
                ));
            }
        }
    }

    /// The node took a turn: what is in force now?
    pub fn stepped(&mut self, keeps: bool, mut in_force: impl FnMut(Address) -> View) {
        self.now += 1;
        if std::mem::replace(&mut self.keeps, keeps) && !keeps {
            for export in &mut self.exports {
                export.views.freeze();
            }
        }
        let at = (self.now, self.ledger.now_us());
        for export in &mut self.exports {
            let served = &export.served;
            let apply = |request: &Request, view: &View| expect::made_of(request, served, view);
            let in_force = || in_force(served.address);
            if !export.views.look(in_force, at, apply) {
                self.ledger.find(format!(
                    "what is in force for {:?} was set by nobody: {:02x?}",
                    served.address,
                    export.views.in_force()
                ));
            }
        }
    }

    /// Somebody at the console has put another boot disk in: all is as the settings
    /// say.
    pub fn forget_state(&mut self) {
        for export in &mut self.exports {
            export.views = Views::new(View::of(&export.served));
        }
    }

    /// Looks at every sector that is or should be on the disks.
    pub fn audit(&mut self, when: &str) {
        for export in 0..self.exports.len() {
            self.look_for_losses(export);
        }
        for (index, disk) in self.disks.clone().iter().enumerate() {
            let disk = disk.borrow();
            for lba in disk.written() {
                self.audit_sector(index, lba, disk.value(lba), when);
            }
            for export in 0..self.exports.len() {
                let served = self.exports[export].served.clone();
                if served.disk != index {
                    continue;
                }
                let lbas: Vec<u64> = self.exports[export].histories.keys().copied().collect();
                for lba in lbas {
                    let lba = served.first + lba;
                    self.audit_sector(index, lba, disk.value(lba), when);
                }
            }
        }
    }

    /// A flush that fails may take with it what was never acknowledged.
    pub(super) fn look_for_losses(&mut self, export: usize) {
        let export = &mut self.exports[export];
        let losses = self.disks[export.served.disk].borrow().losses;
        if export.losses.0 != losses {
            export.losses = (losses, self.now);
            for history in export.histories.values_mut() {
                history.come_back();
            }
        }
    }

    fn audit_sector(&mut self, disk: usize, lba: u64, value: Value, when: &str) {
        for export in &mut self.exports {
            let served = &export.served;
            let end = served.sectors.map_or(u64::MAX, |n| served.first + n);
            if served.disk != disk || !(served.first..end).contains(&lba) {
                continue;
            }
            let (address, relative) = (served.address, lba - served.first);
            let history = export.history(relative);
            if !history.may_hold(value) {
                self.ledger.find(format!(
                    "{when}: sector {relative} of {address:?} holds {value:x?}, which it may not; possible: {:x?}",
                    history.possible()
                ));
            }
            return;
        }
        let is_state = |(own, area): &(usize, Range<u64>)| *own == disk && area.contains(&lba);
        if self.own.as_ref().is_some_and(is_state) {
            return;
        }
        self.ledger.find(format!(
            "{when}: sector {lba} of disk {disk} was written and belongs to no export"
        ));
    }
}
