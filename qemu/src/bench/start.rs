//! From the start of QEMU to the first answer, and whose time it was.
//!
//! QEMU builds its machine and waits; when it can be spoken to, it is told to let the
//! guest run: what was before is the monitor's time. What comes then is firmware, which
//! finds the kernel and unpacks nothing, and the target itself, which says how long it
//! has been running. The node's last step is a wait on purpose: it asks whether
//! somebody else answers for the address, and gives an answer time to arrive.

use super::counter::{Counter, Watch};
use super::spread::Spread;
use super::target::{self, NULL, Place, Target, UP_WITHIN};
use crate::machine::{Board, Disk, Recipe};
use crate::network::Switch;
use crate::{Failure, OrFail};
use std::time::Duration;

/// What the node says when it is ready, around how many milliseconds it has run.
const READY: [&str; 2] = ["booted by ", " ms"];
/// What the rival says before it becomes vblade, around how many seconds it has run.
const UP: [&str; 2] = ["Linux: vblade after ", " s"];

/// Who takes the time of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// QEMU, before any guest runs.
    Monitor,
    /// The firmware, which looks for what to boot and loads it.
    Firmware,
    /// The target.
    Guest,
    /// Nobody: it is a wait.
    Wait,
}

/// A part of a start.
#[derive(Clone, Debug)]
pub struct Step {
    /// What happens.
    pub name: &'static str,
    /// Who takes the time.
    pub whose: Whose,
    /// Milliseconds that it takes.
    pub milliseconds: Spread,
}

/// The machine that is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// q35, with the firmware of a PC: what most users start.
    Q35,
    /// microvm, into the ELF by PVH: next to no firmware and no PCI, so what is left is
    /// the target.
    Microvm,
}

impl On {
    /// What a person calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Q35 => "q35",
            Self::Microvm => "microvm, without firmware",
        }
    }
}

/// The starts of a target.
#[derive(Clone, Debug)]
pub struct Start {
    /// Who.
    pub target: Target,
    /// Where.
    pub on: On,
    /// One after the other.
    pub steps: Vec<Step>,
    /// Milliseconds from the start of QEMU to the first answer.
    pub whole: Spread,
    /// Guest instructions to the first answer, firmware and all.
    pub instructions: u64,
}

impl Start {
    /// Milliseconds from the guest's own first instruction until it has made itself ready;
    /// monitor and firmware before it and what is waited for behind it left out.
    pub fn guest(&self) -> f64 {
        let own = self.steps.iter().filter(|step| step.whose == Whose::Guest);
        own.map(|step| step.milliseconds.median).sum()
    }
}

/// The steps of one start, as the times at which they end.
type Ends = Vec<(&'static str, Whose, Duration)>;

/// Starts `target` so many times. On a microvm only the node can be.
pub(super) fn start(place: &Place, target: Target, on: On, times: usize) -> Result<Start, Failure> {
    // The first start reads the files that the others find in memory.
    once(place, target, on)?;
    let runs = (0..times)
        .map(|_| once(place, target, on))
        .collect::<Result<Vec<Ends>, _>>()?;
    let names: Vec<(&'static str, Whose)> = runs
        .first()
        .into_iter()
        .flatten()
        .map(|&(name, whose, _)| (name, whose))
        .collect();
    let of = |index: usize| -> Spread {
        let took = runs.iter().map(|ends| {
            let began = match index {
                0 => Duration::ZERO,
                _ => ends[index - 1].2,
            };
            milliseconds(ends[index].2.saturating_sub(began))
        });
        Spread::of(&took.collect::<Vec<f64>>())
    };
    let whole: Vec<f64> = runs
        .iter()
        .filter_map(|ends| ends.last())
        .map(|(.., end)| milliseconds(*end))
        .collect();
    Ok(Start {
        target,
        on,
        steps: names
            .iter()
            .enumerate()
            .map(|(index, &(name, whose))| Step {
                name,
                whose,
                milliseconds: of(index),
            })
            .collect(),
        whole: Spread::of(&whole),
        instructions: instructions(place, target, on)?,
    })
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn recipe(place: &Place, target: Target, on: On, name: &str) -> Result<Recipe, Failure> {
    let recipe = target::recipe(place, target, name, "")?;
    Ok(match on {
        On::Q35 => recipe,
        On::Microvm => recipe.board(Board::Microvm).kernel(&place.boot.elf),
    })
}

fn once(place: &Place, target: Target, on: On) -> Result<Ends, Failure> {
    let switch = Switch::new();
    let name = format!("{}-start-{on:?}", target.file_name());
    let mut machine = recipe(place, target, on, &name)?
        .memory(target::MEMORY)
        .disk(Disk::backed_by(NULL).serial("null"))
        .nic(target::card(&switch))
        // It waits until it is told to go on.
        .arguments(&["-S"])
        .start(&place.folder)?;
    let began = machine.started();
    machine.qmp().status()?;
    let monitor = began.elapsed();
    machine.qmp().cont()?;
    let [before, behind] = match target {
        Target::Ublade => READY,
        _ => UP,
    };
    machine.wait_for(before, UP_WITHIN)?;
    let ready = began.elapsed();
    // The rest of the line may still be on its way.
    let line = machine.wait_for("\n", UP_WITHIN)?;
    let said = number_in(&line, before, behind);
    let ran = said.or_fail(format_args!("no time in \"{line}\""))?;
    let ran = match target {
        Target::Ublade => Duration::from_secs_f64(ran / 1000.0),
        _ => Duration::from_secs_f64(ran),
    };
    let entered = ready.saturating_sub(ran).max(monitor);
    let answered = machine.wait_for_first_answer(UP_WITHIN)?;
    let first = machine.first_aoe_after().unwrap_or(answered);
    // What the console says may be read later than what the cable carries.
    let ready = ready.min(first);
    Ok(match target {
        Target::Ublade => vec![
            ("QEMU makes the machine", Whose::Monitor, monitor),
            ("firmware, loading", Whose::Firmware, entered.min(ready)),
            ("kernel, devices, first frame", Whose::Guest, first),
            ("waits whether another answers", Whose::Wait, answered),
        ],
        _ => vec![
            ("QEMU makes the machine", Whose::Monitor, monitor),
            (
                "firmware, loading, unpacking",
                Whose::Firmware,
                entered.min(ready),
            ),
            ("Linux up to vblade", Whose::Guest, ready),
            ("vblade's first answer", Whose::Guest, answered),
        ],
    })
}

/// What the guest runs until its first answer.
fn instructions(place: &Place, target: Target, on: On) -> Result<u64, Failure> {
    let switch = Switch::new();
    let name = format!("{}-start-{on:?}-counted", target.file_name());
    let file = place.folder.join(format!("{name}.counts"));
    let counter = Counter::new(&place.plugin, file, Watch::Instructions);
    let mut machine = recipe(place, target, on, &name)?
        .memory(target::MEMORY)
        .disk(Disk::backed_by(NULL).serial("null"))
        .nic(target::card(&switch))
        .arguments(&["-plugin", &counter.argument()])
        .start(&place.folder)?;
    machine.wait_for_first_answer(UP_WITHIN)?;
    Ok(counter.read()?.instructions)
}

/// The last number of `line` behind `before` that `behind` follows.
fn number_in(line: &str, before: &str, behind: &str) -> Option<f64> {
    let (_, rest) = line.split_once(before)?;
    let (rest, _) = rest.split_once(behind)?;
    rest.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_targets_say_how_long_they_have_run() {
        let node = "ublade 0.1.0: booted by Linux protocol in 123 ms, 255.4 MiB memory";
        assert_eq!(number_in(node, READY[0], READY[1]), Some(123.0));
        assert_eq!(
            number_in("Linux: vblade after 1.25 s", UP[0], UP[1]),
            Some(1.25)
        );
        assert_eq!(number_in("Linux: vblade after", UP[0], UP[1]), None);
    }
}
