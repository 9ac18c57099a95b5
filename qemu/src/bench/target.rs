//! Who is measured, and the machine that it is measured in.
//!
//! One machine for all: q35, one processor, the same memory, card, MTU and disk.

use super::counter::{Counter, Counts};
use super::load::{Contents, Load, Outcome, Until, drive};
use super::rival;
use crate::client::Export;
use crate::machine::{BootFiles, Disk, Machine, Nic, Recipe};
use crate::network::{Line, Mac, Switch};
use crate::packages::Debs;
use crate::{Client, Failure, OrFail};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// Who serves the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The node.
    Ublade,
    /// vblade past the page cache: durable as far as the disk is, the fair rival.
    VbladeDirect,
    /// vblade as it comes: it answers from the page cache of its Linux.
    Vblade,
    /// vblade that waits for every write, but reads from the page cache.
    VbladeSync,
}

impl Target {
    /// All of them, ourselves first.
    pub const ALL: [Self; 4] = [
        Self::Ublade,
        Self::VbladeDirect,
        Self::Vblade,
        Self::VbladeSync,
    ];

    /// What a person calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ublade => "ublade",
            Self::VbladeDirect => "vblade -d",
            Self::Vblade => "vblade",
            Self::VbladeSync => "vblade -s",
        }
    }

    /// A name for files.
    pub(super) const fn file_name(self) -> &'static str {
        match self {
            Self::Ublade => "ublade",
            Self::VbladeDirect => "vblade-d",
            Self::Vblade => "vblade",
            Self::VbladeSync => "vblade-s",
        }
    }
}

/// What all machines are made from.
#[derive(Clone, Debug)]
pub struct Place {
    /// The node's boot files.
    pub boot: BootFiles,
    /// Packages for the rival.
    pub debs: Debs,
    /// The plugin `counter`.
    pub plugin: PathBuf,
    /// Where consoles and counts go.
    pub folder: PathBuf,
}

/// Memory of every machine: what a Linux of this size is comfortable in.
pub(super) const MEMORY: &str = "256M";
/// The part of the disk that is used: it fits the rival's page cache with room.
pub(super) const WINDOW_SECTORS: u64 = (16 << 20) / 512;
/// A disk that moves no data and reads as zeros.
pub(super) const NULL: &str = "driver=null-co,size=1G,read-zeroes=on";
/// How long a target may take from QEMU's start to its first answer, under
/// software emulation on a busy machine.
pub(super) const UP_WITHIN: Duration = Duration::from_secs(120);

/// The machine `name` of a target, its disk and card left out. `settings` are the
/// node's own words, or what the rival's first process understands.
pub(super) fn recipe(
    place: &Place,
    target: Target,
    name: &str,
    settings: &str,
) -> Result<Recipe, Failure> {
    let recipe = match target {
        Target::Ublade => Recipe::node(name, &place.boot).append("ublade.rw=all"),
        Target::VbladeDirect => rival::recipe(name, &place.debs, "-d")?,
        Target::Vblade => rival::recipe(name, &place.debs, "")?,
        Target::VbladeSync => rival::recipe(name, &place.debs, "-s")?,
    };
    Ok(if settings.is_empty() {
        recipe
    } else {
        recipe.append(settings)
    })
}

/// The card of a machine on a switch: virtio, with room for the largest frame.
pub(super) fn card(switch: &Switch) -> Nic {
    Nic::on(switch, Mac::local(2)).mtu(9000)
}

/// How often we look whether a machine that has not answered yet has ended.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A target that serves, and a client beside it.
pub(super) struct Serving {
    machine: Machine,
    client: Client,
    /// A second host, where there is one.
    second: Option<Client>,
    export: Export,
    counter: Option<Counter>,
    contents: Contents,
    seed: u64,
}

impl Serving {
    /// Starts `target` over the null disk. `settings` are the node's own words.
    pub(super) fn start(
        place: &Place,
        target: Target,
        settings: &str,
        counter: Option<Counter>,
    ) -> Result<Self, Failure> {
        let disk = Disk::backed_by(NULL).serial("null");
        Self::start_over(place, target, settings, counter, disk, Contents::Zeros)
    }

    /// Starts the node over a RAM disk, which holds zeros.
    pub(super) fn start_on_memory(
        place: &Place,
        settings: &str,
        counter: Counter,
    ) -> Result<Self, Failure> {
        let recipe = Recipe::node("ram-disk", &place.boot)
            .append("ublade.rw=all ublade.ram.1=32M")
            .append(settings);
        Self::start_machine(place, recipe, Some(counter), Contents::Zeros)
    }

    /// Starts `target` over `disk`, which holds `contents`.
    pub(super) fn start_over(
        place: &Place,
        target: Target,
        settings: &str,
        counter: Option<Counter>,
        disk: Disk,
        contents: Contents,
    ) -> Result<Self, Failure> {
        let kind = counter
            .as_ref()
            .map_or("timed", |counter| counter.watch().name());
        let name = format!("{}-{kind}", target.file_name());
        let recipe = recipe(place, target, &name, settings)?;
        Self::start_machine(place, recipe.disk(disk), counter, contents)
    }

    /// Starts a machine with one export.
    pub(super) fn start_machine(
        place: &Place,
        recipe: Recipe,
        counter: Option<Counter>,
        contents: Contents,
    ) -> Result<Self, Failure> {
        let (line, end) = Line::new()?;
        let recipe = recipe.nic(Nic::at(&end, Mac::local(2)).mtu(9000));
        Self::start_for(place, at(line), None, recipe, counter, contents)
    }

    /// Starts `target` over the null disk, on a switch with two hosts.
    pub(super) fn start_for_two(place: &Place, target: Target) -> Result<Self, Failure> {
        let switch = Switch::new();
        let disk = Disk::backed_by(NULL).serial("null");
        let name = format!("{}-for-two", target.file_name());
        let recipe = recipe(place, target, &name, "")?
            .disk(disk)
            .nic(card(&switch));
        let [first, second] = [1, 3].map(|host| Client::new(&switch, Mac::local(host)));
        Self::start_for(place, first, Some(second), recipe, None, Contents::Zeros)
    }

    /// Starts a node over the null disk with another card than virtio's.
    pub(super) fn start_with_card(
        place: &Place,
        recipe: Recipe,
        card: &'static str,
        counter: Counter,
    ) -> Result<Self, Failure> {
        let (line, end) = Line::new()?;
        let recipe = recipe.nic(Nic::at(&end, Mac::local(2)).model(card));
        Self::start_for(
            place,
            at(line),
            None,
            recipe,
            Some(counter),
            Contents::Zeros,
        )
    }

    fn start_for(
        place: &Place,
        mut client: Client,
        second: Option<Client>,
        recipe: Recipe,
        counter: Option<Counter>,
        contents: Contents,
    ) -> Result<Self, Failure> {
        let mut recipe = recipe.memory(MEMORY);
        if let Some(counter) = &counter {
            recipe = recipe.arguments(&["-plugin", &counter.argument()]);
        }
        let machine = recipe.start(&place.folder)?;
        let deadline = Instant::now() + UP_WITHIN;
        let export = loop {
            match client.wait_for_exports(1, LOOK_EVERY) {
                Ok(mut exports) => break exports.remove(0),
                Err(_) if machine.is_running() && Instant::now() < deadline => {}
                Err(failure) => return Err(machine.failure(failure.to_string())),
            }
        };
        client.forget();
        Ok(Self {
            machine,
            client,
            second,
            export,
            counter,
            contents,
            seed: 1,
        })
    }

    /// Drives a load at it. A corrupt answer is a failure: there is no point in
    /// measuring how fast it came.
    pub(super) fn drive(&mut self, load: Load, until: Until) -> Result<Outcome, Failure> {
        self.seed += 1;
        let outcome = drive(
            &mut self.client,
            &self.export,
            load,
            WINDOW_SECTORS,
            &mut self.contents,
            self.seed,
            until,
        )
        .map_err(|failure| self.machine.failure(failure.to_string()))?;
        if outcome.trouble.corrupt != 0 {
            let (corrupt, load) = (outcome.trouble.corrupt, load.name());
            let sentence = format!("{load}: {corrupt} answers hold what was not there");
            return Err(self.machine.failure(sentence));
        }
        Ok(outcome)
    }

    /// Drives two loads at it at once, each from a host of its own.
    pub(super) fn drive_both(
        &mut self,
        loads: [Load; 2],
        until: Until,
    ) -> Result<[Outcome; 2], Failure> {
        self.seed += 2;
        let seed = self.seed;
        let other = self.second.as_mut().or_fail("there is one host")?;
        let (client, export) = (&mut self.client, &self.export);
        let drive = |client: &mut Client, load, mut contents: Contents, seed| {
            drive(
                client,
                export,
                load,
                WINDOW_SECTORS,
                &mut contents,
                seed,
                until,
            )
        };
        let [one, two] = [self.contents.clone(), self.contents.clone()];
        thread::scope(|scope| {
            let second = scope.spawn(|| drive(other, loads[1], two, seed + 1));
            let first = drive(client, loads[0], one, seed)?;
            let second = second.join().expect("a load does not panic")?;
            Ok([first, second])
        })
        .map_err(|failure: Failure| self.machine.failure(failure.to_string()))
    }

    /// What its machine has done so far; nothing where nobody counts.
    pub(super) fn counts(&self) -> Result<Counts, Failure> {
        self.counter
            .as_ref()
            .map_or_else(|| Ok(Counts::default()), Counter::read)
    }

    /// Requests that its disk has ended well, as QEMU counts them.
    pub(super) fn disk_reads(&mut self) -> Result<u64, Failure> {
        let counters = self.machine.qmp().disk_counters(0)?;
        counters["rd_operations"]
            .as_u64()
            .or_fail("QEMU does not count the disk's reads")
    }

    /// The instructions of its first two processors, where they are counted apart.
    pub(super) fn each(&self) -> Result<[u64; 2], Failure> {
        let counter = self.counter.as_ref().or_fail("nobody counts")?;
        counter.each()
    }
}

/// The host at a line.
fn at(line: Line) -> Client {
    Client::at(line, Mac::local(1))
}
