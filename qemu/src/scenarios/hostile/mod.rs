//! Frames made by somebody who means harm.
//!
//! First every malformed frame that the protocol names, each with the answer it
//! must get. Then 100,000 made from a seed: valid ones bent, and noise. The node
//! is asked for a known sector again and again in between; every byte of every
//! answer is checked against [`model`], and at the end the disks are compared
//! with what the legal writes among those frames make of them.
//!
//! Frames that write go one at a time, so that what is on the disk is known at
//! every moment and a read beside them can be checked byte by byte. Everything
//! else is sent as fast as the node takes it.

mod forge;
mod malformed;
mod model;
#[cfg(test)]
mod tests;

use super::memory::Dirt;
use super::world::{self, CLIENT, NODE, must};
use crate::client::{Address, AtaRequest, Client, Export, Reply, ata, command, hex};
use crate::pattern;
use crate::{Context, Disk, Failure, Machine, Nic, OrFail, Report};
use forge::Dice;
use model::{Model, PER_FRAME, SECTORS, SLOTS, View, Write};
use std::collections::VecDeque;
use std::env;
use std::path::Path;
use std::time::{Duration, Instant};

/// How many frames follow from the seed.
const FRAMES: u32 = 100_000;
/// The seed; `UBLADE_SEED` replays another.
const SEED: u64 = 0x5eed_0002;
/// Frames that are sent without looking whether the node still answers.
const BURST: u32 = 48;
/// How long the node may take to answer a plain read in the middle of it all.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// How long silence must last to count as an answer.
const SILENCE: Duration = Duration::from_millis(15);
/// Frames shown when something goes wrong.
const SHOWN: usize = 64;
/// The seed of what is on the disks at the start.
const CONTENT: u64 = 0xc0;
/// What the node's memory is filled with, and how much there is.
const DIRT: u8 = 0xd7;
const MEBIBYTES: usize = 64;
/// Tags of the frames that follow from the seed; probes have bit 30 set.
const FIRST_TAG: u32 = 0x8000_0001;
const PROBE_BIT: u32 = 0x4000_0000;

pub(super) fn hostile_frames(context: &mut Context) -> Result<Report, Failure> {
    let switch = context.switch("net")?;
    let mut content = vec![0; usize::try_from(SECTORS).expect("a small disk") * 512];
    pattern::fill(&mut content, 0, CONTENT);
    let mut disks = Vec::new();
    // Every frame that leaves is judged here, so nothing but AoE may.
    let mut recipe = world::node(context, "node")
        .append("ip=off")
        .nic(Nic::on(&switch, NODE[0]).mtu(1500));
    for slot in 0..SLOTS {
        let path = context.disk(&format!("disk{slot}"), 0)?;
        std::fs::write(&path, &content).or_fail(format_args!("cannot fill {}", path.display()))?;
        // Flushes are another scenario's business, and a disk that can discard
        // would have one more way to change: both would only cost time here.
        let disk = Disk::file(&path)
            .serial(&format!("victim-{slot}"))
            .cache("unsafe")
            .property("discard=off");
        recipe = recipe.disk(disk);
        disks.push(path);
    }
    // What lay in the node's memory before it must not leave either.
    let (recipe, memory) = Dirt::Byte(DIRT).fill(context, recipe, "node", MEBIBYTES)?;
    let node = recipe.start(context.folder())?;
    let mut client = Client::new(&switch, CLIENT);
    let exports = world::exports(context, &node, &mut client, SLOTS)?;
    must(exports[0].sectors_max == PER_FRAME, &node, || {
        format!("{} sectors a frame are offered", exports[0].sectors_max)
    })?;

    let mut report = Report::new();
    let named = malformed_ones(&node, &mut client)?;
    report.note(format!(
        "{named} malformed frames got the answer they must get"
    ));
    let seed = env::var("UBLADE_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(SEED);
    let siege = Siege::new(context, &node, client, &exports, &content, seed)?;
    let (model, line) = siege.run()?;
    report.note(line);
    node.quit()?;
    // As large as the memory, and of no use to anybody afterwards.
    let _ = std::fs::remove_file(&memory);
    for (slot, path) in disks.iter().enumerate() {
        compare(path, &model.disks[slot], seed)?;
    }
    Ok(report)
}

/// Sends every named malformed frame and checks what comes back.
fn malformed_ones(node: &Machine, client: &mut Client) -> Result<usize, Failure> {
    client.forget();
    let cases = malformed::cases(client);
    for case in &cases {
        client.send(&case.frame);
        let mut replies: Vec<Reply> = Vec::new();
        // A read behind it tells silence from slowness: requests of one
        // sender that need no disk are answered in order.
        let fence = client.new_tag();
        let query = client.request(NODE[0], world::address(0), command::CONFIG, fence, &[0; 8]);
        client.send(&query);
        let deadline = Instant::now() + ANSWER_WITHIN;
        let mut fenced = false;
        loop {
            let left = if fenced {
                SILENCE
            } else {
                deadline.saturating_duration_since(Instant::now())
            };
            match client.receive(left) {
                Some(reply) if reply.tag() == fence => fenced = true,
                // An announcement answers nobody.
                Some(reply) if reply.tag() == 0 && reply.destination().is_group() => {}
                Some(reply) => replies.push(reply),
                None => break,
            }
            if fenced && !replies.is_empty() {
                break;
            }
        }
        must(fenced, node, || {
            format!("after {} the node no longer answers", case.name)
        })?;
        if let Some(complaint) = malformed::complaint(case, &replies) {
            return Err(node
                .failure(format!(
                    "{} {complaint}, and not with {:?}",
                    case.name, case.answer
                ))
                .with(format!("sent: {}", hex(&case.frame))));
        }
    }
    Ok(cases.len())
}

/// The random part: the node, the model, and what was sent last.
struct Siege<'a> {
    context: &'a Context,
    node: &'a Machine,
    client: Client,
    model: Model,
    dice: Dice,
    seed: u64,
    /// The newest frames, oldest first.
    sent: VecDeque<Vec<u8>>,
    next_probe: u32,
    answers: u64,
    writes: u64,
}

impl<'a> Siege<'a> {
    fn new(
        context: &'a Context,
        node: &'a Machine,
        mut client: Client,
        exports: &[Export],
        content: &[u8],
        seed: u64,
    ) -> Result<Self, Failure> {
        let mut identities: [Vec<u8>; SLOTS] = Default::default();
        for (identity, export) in identities.iter_mut().zip(exports) {
            let words = client.identify(export, context.seconds(5))?.words;
            *identity = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        }
        let export = &exports[0];
        let [a, b] = export.buffers.to_be_bytes();
        let [c, d] = export.firmware.to_be_bytes();
        client.forget();
        Ok(Self {
            context,
            node,
            client,
            model: Model::new(content, identities, [a, b, c, d, export.sectors_max]),
            dice: Dice::new(seed),
            seed,
            sent: VecDeque::new(),
            next_probe: FIRST_TAG | PROBE_BIT,
            answers: 0,
            writes: 0,
        })
    }

    fn run(mut self) -> Result<(Model, String), Failure> {
        let started = Instant::now();
        for number in 0..FRAMES {
            let frame = forge::frame(&mut self.dice, FIRST_TAG + number);
            match self.model.write(&frame) {
                Write::No | Write::Illegal => self.send(frame),
                Write::Legal { slot, lba, .. } => self.legal_write(frame, slot, lba)?,
                Write::Open { slot, lba, count } => self.open_write(frame, slot, lba, count)?,
            }
            if number % BURST == BURST - 1 {
                self.probe()?;
            }
        }
        self.settle()?;
        let line = format!(
            "{FRAMES} frames of seed {:#x} in {:.1} s: {} answers, every byte accounted for; \
             {} of them were legal writes",
            self.seed,
            started.elapsed().as_secs_f64(),
            self.answers,
            self.writes
        );
        Ok((self.model, line))
    }

    fn send(&mut self, frame: Vec<u8>) {
        self.model.ask(&frame);
        self.client.send(&frame);
        self.sent.push_back(frame);
        if self.sent.len() > SHOWN {
            self.sent.pop_front();
        }
    }

    /// A write that must be executed: answered without error, then on the disk.
    fn legal_write(&mut self, frame: Vec<u8>, slot: usize, lba: u64) -> Result<(), Failure> {
        self.settle()?;
        let view = View::of(&frame).expect("a write is a whole frame");
        let tag = view.tag();
        let data = data_of(view).to_vec();
        self.send(frame.clone());
        let Some(reply) = self.answer_to(tag, ANSWER_WITHIN)? else {
            return Err(self.failure("a legal write is not answered", &frame));
        };
        let good = reply.aoe_error().is_none() && reply.ata_status() & 0xa9 == 0;
        if !good {
            return Err(self.failure(&format!("a legal write is refused: {reply:?}"), &frame));
        }
        self.model.apply(slot, lba, &data);
        self.writes += 1;
        Ok(())
    }

    /// A write of which the protocol does not say whether it counts: what is on
    /// the disk afterwards must be all of it or nothing of it.
    fn open_write(
        &mut self,
        frame: Vec<u8>,
        slot: usize,
        lba: u64,
        count: u8,
    ) -> Result<(), Failure> {
        self.settle()?;
        let view = View::of(&frame).expect("a write is a whole frame");
        let tag = view.tag();
        let data = data_of(view).to_vec();
        self.send(frame.clone());
        let reply = self.answer_to(tag, SILENCE)?;
        let accepted = reply
            .as_ref()
            .is_some_and(|reply| reply.aoe_error().is_none() && reply.ata_status() & 0xa9 == 0);
        if accepted {
            self.model.apply(slot, lba, &data);
            self.writes += 1;
        } else if slot == 0 && reply.is_none() {
            // Silence may still have written it.
            let now = self.read(lba, count)?;
            if now == data {
                self.model.apply(slot, lba, &data);
            }
        }
        Ok(())
    }

    /// Asks for a known sector; everything that comes meanwhile is judged.
    fn probe(&mut self) -> Result<(), Failure> {
        let lba = u64::from(self.next_probe) % SECTORS;
        self.read(lba, 1).map(drop)
    }

    /// Waits until the node has nothing more to say about what was sent.
    fn settle(&mut self) -> Result<(), Failure> {
        self.probe()?;
        let deadline = Instant::now() + ANSWER_WITHIN;
        loop {
            let quiet = self.take(Duration::from_millis(2))?.is_none();
            let none_open = self.model.open_reads().is_empty();
            if quiet && (none_open || Instant::now() >= deadline) {
                // A request may be lost under a flood; it is not asked again.
                self.model.open_reads().clear();
                return Ok(());
            }
        }
    }

    /// Reads from slot 0. The answer's data are compared by the model.
    fn read(&mut self, lba: u64, count: u8) -> Result<Vec<u8>, Failure> {
        let deadline = Instant::now() + ANSWER_WITHIN;
        // Under a flood a request may be lost like any other.
        while Instant::now() < deadline {
            let tag = self.next_probe;
            self.next_probe += 1;
            let request = AtaRequest {
                flags: 0x40,
                count,
                opcode: ata::READ_EXT,
                lba,
                ..AtaRequest::default()
            };
            let here: Address = world::address(0);
            let frame = self
                .client
                .request(NODE[0], here, command::ATA, tag, &request.bytes());
            self.send(frame);
            if let Some(reply) = self.answer_to(tag, Duration::from_millis(500))? {
                if reply.ata_status() & 0xa9 != 0 || reply.aoe_error().is_some() {
                    let sent = self.sent.back().cloned().unwrap_or_default();
                    return Err(self.failure(&format!("a plain read fails: {reply:?}"), &sent));
                }
                return Ok(reply.ata_data().to_vec());
            }
        }
        let sent = self.sent.back().cloned().unwrap_or_default();
        Err(self.failure("the node no longer answers a plain read", &sent))
    }

    /// The answer to `tag`, with all others judged on the way.
    fn answer_to(&mut self, tag: u32, within: Duration) -> Result<Option<Reply>, Failure> {
        let deadline = Instant::now() + self.context.within(within);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.take(left)? {
                None => return Ok(None),
                Some(judged) if judged.answers == Some(tag) => {
                    return Ok(model::reply(&judged.frame));
                }
                Some(_) => {}
            }
        }
    }

    /// The next frame, if it is one that may be.
    fn take(&mut self, within: Duration) -> Result<Option<Judged>, Failure> {
        let Some(frame) = self.client.frame(within) else {
            return Ok(None);
        };
        self.answers += 1;
        match self.model.judge(&frame) {
            Ok(answers) => Ok(Some(Judged { answers, frame })),
            Err(complaint) => {
                Err(self.failure(&format!("an answer is wrong: {complaint}"), &frame))
            }
        }
    }

    /// A failure with the frame it is about, and the frames sent before it in a
    /// file.
    fn failure(&self, sentence: &str, about: &[u8]) -> Failure {
        let path = self.context.folder().join("last-frames.txt");
        let lines: Vec<String> = self
            .sent
            .iter()
            .map(|frame| frame.iter().map(|byte| format!("{byte:02x}")).collect())
            .collect();
        let mut failure = self
            .node
            .failure(format!("seed {:#x}: {sentence}", self.seed))
            .with(format!("the frame: {}", hex(about)));
        if std::fs::write(&path, lines.join("\n")).is_ok() {
            failure = failure.with(format!("sent before it: {}", path.display()));
        }
        failure
    }
}

/// A frame from the node in which nothing is wrong.
struct Judged {
    /// The tag of the request it answers; announcements answer none.
    answers: Option<u32>,
    frame: Vec<u8>,
}

/// The sectors a write carries.
fn data_of(view: View<'_>) -> &[u8] {
    &view.from(36)[..usize::from(view.byte(26)) * 512]
}

/// The disk must be what the legal writes made of it.
fn compare(path: &Path, expected: &[u8], seed: u64) -> Result<(), Failure> {
    let found = std::fs::read(path).or_fail(format_args!("cannot read {}", path.display()))?;
    let different = found
        .chunks(512)
        .zip(expected.chunks(512))
        .position(|(found, expected)| found != expected);
    if found.len() == expected.len() && different.is_none() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "seed {seed:#x}: no legal write explains sector {} of {}",
        different.unwrap_or_default(),
        path.display()
    )))
}
