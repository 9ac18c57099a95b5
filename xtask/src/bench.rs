//! `cargo xtask bench`: what a request costs the node, and what it costs vblade.
//!
//! Counts hardly depend on how busy the machine is; a snapshot of them is kept in
//! the tree, and a change that makes one worse must change the snapshot in the same
//! commit, where a reviewer sees it. Times are ratios to vblade's in the same run.

use crate::house::House;
use crate::progress::Step;
use crate::{build, command};
use qemu::bench::{self, Findings, Host, Load, Measured, Pace, Part, Place};
use qemu::packages::Debs;
use qemu::{BootFiles, Failure, OrFail, packages};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the snapshot is, from the root.
const SNAPSHOT: &str = "qemu/src/bench/snapshot.txt";
/// The folders under `target`: of the report, of counts alone, and of parts alone.
const REPORT: &str = "bench";
const PARTS: &str = "bench-parts";
const COUNTS: &str = "bench-counts";
/// How often a load that comes out worse is measured again. A busy host only adds
/// to a figure, so one that is really worse is worse every time; and a machine with
/// many times more to do than cores takes some tries to show its best.
const AGAIN_MAX: usize = 8;
/// How long building the plugin may take.
const BUILD_WITHIN: Duration = Duration::from_secs(300);

/// What to do with the figures.
#[derive(clap::Args)]
pub struct Options {
    /// Only count, and keep the figures as the new snapshot
    #[arg(long, conflicts_with = "check")]
    update: bool,
    /// Only count, and fail if a figure is worse than the snapshot by more than 5 %
    #[arg(long)]
    check: bool,
    /// Measure this part alone; may be given several times
    #[arg(long, value_name = "PART", value_parser = part, conflicts_with_all = ["update", "check"])]
    only: Vec<Part>,
    /// Few and short rounds: an idea of each figure, and no more
    #[arg(long)]
    quick: bool,
}

fn part(word: &str) -> Result<Part, String> {
    let found = Part::ALL.into_iter().find(|part| part.name() == word);
    found.ok_or_else(|| {
        let known = Part::ALL.map(Part::name).join(", ");
        format!("the parts are {known}")
    })
}

/// Measures and writes the report; or only counts, and compares that with the snapshot or
/// keeps it.
pub fn verb(house: &House, options: &Options) -> Result<(), Failure> {
    packages::ensure(&[packages::QEMU], &mut |line| eprintln!("{line}"))?;
    if options.update {
        return update(house);
    }
    if options.check {
        let boot = build::files(&build::build(house)?);
        let place = place(house, &boot, COUNTS)?;
        let mut measured = count(&place, &bench::loads())?;
        let verdict = compare(house, &place, &mut measured);
        println!("{}", bench::table(&measured));
        println!("{}", copies(&place)?);
        println!("\n{}", verdict?);
        return Ok(());
    }
    report(house, options)
}

/// Counts, and keeps the figures.
fn update(house: &House) -> Result<(), Failure> {
    let boot = build::files(&build::build(house)?);
    // Counting alone must not clear the last report away.
    let place = place(house, &boot, COUNTS)?;
    let measured = count(&place, &bench::loads())?;
    println!("\n{}", bench::table(&measured));
    let text = bench::snapshot(&measured);
    std::fs::write(house.root().join(SNAPSHOT), text)
        .or_fail(format_args!("cannot write {SNAPSHOT}"))?;
    println!("kept as {SNAPSHOT}");
    Ok(())
}

/// All parts, or those that are asked for, and the report of them.
fn report(house: &House, options: &Options) -> Result<(), Failure> {
    let pace = if options.quick {
        Pace::QUICK
    } else {
        Pace::FULL
    };
    let (parts, folder) = if options.only.is_empty() {
        (Part::ALL.to_vec(), REPORT)
    } else {
        (options.only.clone(), PARTS)
    };
    announce(&parts, pace);
    let boot = build::files(&build::build(house)?);
    let place = place(house, &boot, folder)?;
    let mut found = Findings {
        command: command_line(options),
        host: Host::here(),
        ..Findings::default()
    };
    let mut failed = Ok(());
    for part in parts {
        let step = Step::begin(part.sentence());
        let outcome = bench::run(&place, part, pace, &mut found, &mut |line| {
            step.detail(line);
        });
        step.end(if outcome.is_ok() { "ok" } else { "FAIL" });
        // A part that fails takes none of the others' figures along.
        if let Err(failure) = outcome {
            eprintln!("{}: {failure}", part.name());
            failed = Err(Failure::new(format!("the part {} failed", part.name())));
        }
        write_report(&place, &found)?;
    }
    if !found.measured.is_empty() {
        println!("\n{}", bench::table(&found.measured));
    }
    println!("{}", bench::comparison(&found));
    for line in bench::lines(&found) {
        println!("{line}");
    }
    println!("\n{}", bench::goals_table(&found));
    if found.host.was_busy() {
        println!("others worked on this host too: what has a star is worse than at rest\n");
    }
    for path in write_report(&place, &found)? {
        println!("{}", house.short(&path));
    }
    failed
}

/// Says what will be done before it is: it takes a while.
fn announce(parts: &[Part], pace: Pace) {
    let mut whole = 0;
    for part in parts {
        let seconds = part.seconds(pace);
        whole += seconds;
        println!("{:<8} {:>4} s  {}", part.name(), seconds, part.sentence());
    }
    println!(
        "about {} minutes on two cores with nothing else to do\n",
        whole.div_ceil(60)
    );
}

fn command_line(options: &Options) -> String {
    let mut line = "cargo xtask bench".to_owned();
    for part in &options.only {
        line.push_str(" --only ");
        line.push_str(part.name());
    }
    if options.quick {
        line.push_str(" --quick");
    }
    line
}

fn write_report(place: &Place, found: &Findings) -> Result<Vec<PathBuf>, Failure> {
    [
        ("report.html", bench::page(found)),
        ("report.json", bench::json(found)),
        ("report.csv", bench::csv(found)),
    ]
    .into_iter()
    .map(|(name, text)| {
        let path = place.folder.join(name);
        std::fs::write(&path, text).or_fail(format_args!("cannot write {}", path.display()))?;
        Ok(path)
    })
    .collect()
}

/// Part of `cargo xtask test`: counts a few loads, and fails with a table if one is
/// worse than the snapshot. A note for the summary.
pub fn check(house: &House, boot: &BootFiles) -> Result<String, Failure> {
    let place = place(house, boot, COUNTS)?;
    let mut measured = count(&place, &bench::loads_of_the_check())?;
    compare(house, &place, &mut measured)?;
    let copies = copies(&place)?;
    let step = Step::begin("count instructions at rest");
    let rest = bench::rest(&place);
    step.end(if rest.is_ok() { "ok" } else { "FAIL" });
    let rest = rest?;
    let costs: Vec<String> = measured
        .iter()
        .map(|one| format!("{} {:.0}", one.load.name(), one.instructions))
        .collect();
    Ok(format!(
        "guest instructions: {}; {copies}; {rest:.0} instructions a second at rest",
        costs.join(", ")
    ))
}

fn place(house: &House, boot: &BootFiles, folder: &str) -> Result<Place, Failure> {
    let folder = house.fresh_folder(folder)?;
    Ok(Place {
        boot: boot.clone(),
        debs: Debs::new(&house.cache()),
        plugin: plugin(house, &folder.join("build.log"))?,
        folder,
    })
}

fn count(place: &Place, loads: &[Load]) -> Result<Vec<Measured>, Failure> {
    let step = Step::begin("count instructions and register accesses");
    let measured = bench::measure(place, loads, |measured| {
        step.detail(&measured.load.name());
    });
    step.end(if measured.is_ok() { "ok" } else { "FAIL" });
    measured
}

/// How much of a request's data the processor copies; a failure if it does, however
/// often it is counted.
fn copies(place: &Place) -> Result<bench::Copies, Failure> {
    let step = Step::begin("count bytes copied");
    let counted = || {
        let mut copies = bench::copies(place)?;
        for _ in 0..AGAIN_MAX {
            if copies.check().is_ok() {
                break;
            }
            copies = copies.or(bench::copies(place)?);
        }
        copies.check()
    };
    let copies = counted();
    step.end(if copies.is_ok() { "ok" } else { "FAIL" });
    copies
}

/// What has become of the snapshot's figures, as a table; a failure with the table
/// if one is worse, however often it is measured.
fn compare(house: &House, place: &Place, measured: &mut [Measured]) -> Result<String, Failure> {
    let kept = std::fs::read_to_string(house.root().join(SNAPSHOT)).or_fail(format_args!(
        "no {SNAPSHOT}; `cargo xtask bench --update` makes it"
    ))?;
    let mut changes = bench::compare(&kept, measured)?;
    for _ in 0..AGAIN_MAX {
        let worse: Vec<Load> = measured
            .iter()
            .map(|one| one.load)
            .filter(|load| changes.worse.contains(&load.name()))
            .collect();
        if worse.is_empty() {
            break;
        }
        for again in count(place, &worse)? {
            for one in measured.iter_mut().filter(|one| one.load == again.load) {
                *one = one.or(again);
            }
        }
        changes = bench::compare(&kept, measured)?;
    }
    if changes.worse.is_empty() {
        return Ok(changes.text);
    }
    Err(Failure::new(format!(
        "{} figures are worse than the snapshot by more than 5 %: {}",
        changes.worse.len(),
        changes.worse.join(", ")
    ))
    .with(format!(
        "{}if that is meant, keep the new ones with `cargo xtask bench --update`",
        changes.text
    )))
}

/// Builds the QEMU plugin and says where it is.
fn plugin(house: &House, log: &Path) -> Result<PathBuf, Failure> {
    let step = Step::begin("build the counting plugin");
    let arguments = [
        "build",
        "--release",
        "--package",
        "counter",
        "--message-format=json",
    ];
    let output = command::run(
        command::cargo(house.root(), &arguments),
        log,
        BUILD_WITHIN,
        |line| step.detail(line),
    );
    step.end(if output.is_ok() { "ok" } else { "FAIL" });
    library_in(&output?)
        .map(PathBuf::from)
        .or_fail("cargo did not say where the plugin is")
}

/// The path of the plugin in cargo's messages.
fn library_in(messages: &str) -> Option<String> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "counter")
        .find_map(|message| {
            let files = message["filenames"].as_array()?;
            let mut files = files.iter().filter_map(|file| file.as_str());
            files.find(|file| file.ends_with(".so")).map(str::to_owned)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugin_is_found_among_cargos_messages() {
        let messages = "   Compiling counter\n\
            {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"libc\"},\"filenames\":[\"/a/liblibc.so\"]}\n\
            {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"counter\"},\"filenames\":[\"/t/libcounter.so\"]}\n";
        assert_eq!(library_in(messages).as_deref(), Some("/t/libcounter.so"));
        assert_eq!(library_in("no json"), None);
    }
}
