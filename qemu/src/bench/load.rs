//! A load generator: so many requests on their way, every answer looked at.
//!
//! It is lean rather than general: one export, one size, a closed window. No two
//! requests on their way touch the same sectors, so what a read must return is
//! known exactly, and a target is not measured at putting overlapping writes into
//! order. An answer may be lost, late, double or wrong; each is counted, because a
//! target that is fast and wrong has not won.

use super::latency::Latencies;
use crate::client::{AtaRequest, Export, Reply, ata, command};
use crate::pattern::{self, SECTOR_BYTES};
use crate::{Client, Failure};
use std::time::{Duration, Instant};

/// What requests do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// They read.
    Read,
    /// They write.
    Write,
    /// Seven of ten read, the others write.
    Mixed,
}

/// Where requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// One behind the other, and from the start again.
    Sequential,
    /// Anywhere.
    Random,
}

/// A kind of request, so many at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// What requests do.
    pub access: Access,
    /// Where they go.
    pub order: Order,
    /// Sectors in a request.
    pub sectors: u8,
    /// Requests on their way at once.
    pub depth: usize,
}

impl Load {
    /// Its name in a report and in a snapshot: `read-2-depth-32`.
    pub fn name(&self) -> String {
        let order = match self.order {
            Order::Sequential => "",
            Order::Random => "-random",
        };
        let (sectors, depth) = (self.sectors, self.depth);
        format!("{}-{sectors}{order}-depth-{depth}", self.access.word())
    }

    /// Bytes in a request.
    pub fn bytes(&self) -> usize {
        usize::from(self.sectors) * SECTOR_BYTES
    }
}

impl Load {
    /// Its bytes as a person says them: `8.5 KiB`.
    pub fn size(&self) -> String {
        match self.bytes() {
            bytes if bytes < 1024 => format!("{bytes} bytes"),
            bytes => format!("{} KiB", bytes as f64 / 1024.0),
        }
    }
}

impl Access {
    /// One word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Mixed => "mixed",
        }
    }
}

/// When a run ends. What is on its way then is waited for.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After so many requests.
    Requests(u64),
    /// After this long.
    Time(Duration),
}

/// What the sectors of an export hold, so that reads can be checked.
#[derive(Clone, Debug)]
pub enum Contents {
    /// Zeros, whatever was written: the disk that moves no data.
    Zeros,
    /// What was written last: how often each place was, counted from 0 for a
    /// place that holds zeros.
    Kept(Vec<u64>),
    /// Nobody knows; nothing is compared.
    Unknown,
    /// Nothing: nobody serves, and what comes back is the request.
    Echo,
}

impl Contents {
    /// A disk that keeps what is written and holds zeros so far.
    pub fn kept(load: Load, window_sectors: u64) -> Self {
        let places = window_sectors / u64::from(load.sectors);
        Self::Kept(vec![0; usize::try_from(places).unwrap_or(0)])
    }

    fn are(&self, bytes: &[u8], place: u64, lba: u64) -> bool {
        match self {
            Self::Kept(writes) if writes[place as usize] != 0 => {
                pattern::check(bytes, lba, writes[place as usize]).is_ok()
            }
            _ => bytes
                .chunks(ZEROS.len())
                .all(|chunk| chunk == &ZEROS[..chunk.len()]),
        }
    }
}

static ZEROS: [u8; SECTOR_BYTES] = [0; SECTOR_BYTES];

/// What went wrong with answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Requests without an answer in time; each was sent again.
    pub lost: u64,
    /// Answers to requests that had been given up.
    pub late: u64,
    /// Answers to requests that had been answered.
    pub duplicate: u64,
    /// Reads that returned what was not there.
    pub corrupt: u64,
}

impl Trouble {
    /// The sum of two runs.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            lost: self.lost + other.lost,
            late: self.late + other.late,
            duplicate: self.duplicate + other.duplicate,
            corrupt: self.corrupt + other.corrupt,
        }
    }

    /// Whether there was none.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// What a run showed.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Requests answered.
    pub requests: u64,
    /// Of these, how many before the time was over.
    pub in_time: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// How long each answer took.
    pub latencies: Latencies,
    /// What went wrong.
    pub trouble: Trouble,
}

impl Outcome {
    /// Requests a second.
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }
}

/// How long an answer may take before the request is sent again. Longer than any
/// pause of a busy machine: a resend is one request more that nobody counts.
const RESEND_AFTER: Duration = Duration::from_millis(if cfg!(test) { 300 } else { 4_000 });
/// A request that was sent this often without an answer ends the run.
const SENDS_MAX: u32 = 5;
/// Tags that were given up and are remembered, so that a late answer is known.
const GIVEN_UP_MAX: usize = 1024;

struct OnItsWay {
    tag: u32,
    place: u64,
    writes: bool,
    /// When it was first sent: a resend does not make an answer faster.
    first_sent: Instant,
    sent: Instant,
    sends: u32,
}

/// Drives `load` at `export` over its first `window_sectors`, from a random state
/// that `seed` begins. The sectors hold `contents`.
pub fn drive(
    client: &mut Client,
    export: &Export,
    load: Load,
    window_sectors: u64,
    contents: &mut Contents,
    seed: u64,
    until: Until,
) -> Result<Outcome, Failure> {
    let places = window_sectors / u64::from(load.sectors);
    if load.sectors > export.sectors_max || places < 2 * load.depth as u64 {
        return Err(Failure::new(format!(
            "{}: {} does not fit: {} sectors a frame, {places} places",
            export.address,
            load.name(),
            export.sectors_max
        )));
    }
    let mut run = Run {
        client,
        export,
        load,
        contents,
        places,
        random: seed,
        next: 0,
        on_its_way: Vec::with_capacity(load.depth),
        given_up: Vec::new(),
        data: vec![0; load.bytes()],
        outcome: Outcome::default(),
    };
    let started = Instant::now();
    let mut begun = 0;
    loop {
        let goes_on = match until {
            Until::Requests(requests) => begun < requests,
            Until::Time(time) => started.elapsed() < time,
        };
        while goes_on && run.on_its_way.len() < load.depth {
            if matches!(until, Until::Requests(requests) if begun == requests) {
                break;
            }
            run.begin();
            begun += 1;
        }
        if goes_on {
            run.outcome.in_time = run.outcome.requests;
        }
        if run.on_its_way.is_empty() {
            break;
        }
        match run.client.receive(Duration::from_millis(50)) {
            Some(reply) => run.take(&reply)?,
            None => run.send_again()?,
        }
    }
    run.outcome.elapsed = started.elapsed();
    Ok(run.outcome)
}

/// A run under way.
struct Run<'a> {
    client: &'a mut Client,
    export: &'a Export,
    load: Load,
    contents: &'a mut Contents,
    places: u64,
    random: u64,
    next: u64,
    on_its_way: Vec<OnItsWay>,
    given_up: Vec<u32>,
    data: Vec<u8>,
    outcome: Outcome,
}

impl Run<'_> {
    fn begin(&mut self) {
        let place = self.free_place();
        let writes = match self.load.access {
            Access::Read => false,
            Access::Write => true,
            Access::Mixed => pattern::scrambled(&mut self.random) % 10 >= 7,
        };
        if writes && let Contents::Kept(written) = self.contents {
            written[place as usize] += 1;
        }
        let now = Instant::now();
        let tag = self.send(place, writes);
        self.on_its_way.push(OnItsWay {
            tag,
            place,
            writes,
            first_sent: now,
            sent: now,
            sends: 1,
        });
    }

    /// A place that no request is on its way to. There are twice as many places
    /// as requests.
    fn free_place(&mut self) -> u64 {
        loop {
            let place = match self.load.order {
                Order::Sequential => self.next % self.places,
                Order::Random => pattern::scrambled(&mut self.random) % self.places,
            };
            self.next += 1;
            if self.on_its_way.iter().all(|other| other.place != place) {
                return place;
            }
        }
    }

    fn send(&mut self, place: u64, writes: bool) -> u32 {
        let lba = place * u64::from(self.load.sectors);
        let request = AtaRequest {
            flags: if writes { 0x41 } else { 0x40 },
            count: self.load.sectors,
            opcode: if writes {
                ata::WRITE_EXT
            } else {
                ata::READ_EXT
            },
            lba,
            ..AtaRequest::default()
        };
        let mut argument = Vec::with_capacity(12 + self.data.len());
        argument.extend(request.bytes());
        if writes {
            if let Contents::Kept(written) = self.contents {
                pattern::fill(&mut self.data, lba, written[place as usize]);
            }
            argument.extend_from_slice(&self.data);
        }
        let tag = self.client.new_tag();
        let (to, address) = (self.export.mac, self.export.address);
        let frame = self
            .client
            .request(to, address, command::ATA, tag, &argument);
        self.client.send(&frame);
        tag
    }

    fn take(&mut self, reply: &Reply) -> Result<(), Failure> {
        // An announcement is nobody's answer.
        if reply.command() != command::ATA {
            return Ok(());
        }
        let tag = reply.tag();
        let Some(index) = self.on_its_way.iter().position(|one| one.tag == tag) else {
            match self.given_up.iter().position(|&one| one == tag) {
                Some(index) => {
                    self.given_up.swap_remove(index);
                    self.outcome.trouble.late += 1;
                }
                None => self.outcome.trouble.duplicate += 1,
            }
            return Ok(());
        };
        let one = self.on_its_way.swap_remove(index);
        let is_echo = matches!(self.contents, Contents::Echo);
        if reply.aoe_error().is_some() || (reply.ata_failed() && !is_echo) {
            return Err(Failure::new(format!(
                "{}: a {} at place {} is refused: {reply:?}",
                self.export.address,
                self.load.name(),
                one.place
            )));
        }
        self.outcome.latencies.add(one.first_sent.elapsed());
        self.outcome.requests += 1;
        if !one.writes {
            let lba = one.place * u64::from(self.load.sectors);
            let data = reply.ata_data();
            let is_right = match self.contents {
                Contents::Unknown | Contents::Echo => true,
                _ => data.len() == self.load.bytes() && self.contents.are(data, one.place, lba),
            };
            self.outcome.trouble.corrupt += u64::from(!is_right);
        }
        Ok(())
    }

    /// Gives up what is overdue and sends it again, under a new tag.
    fn send_again(&mut self) -> Result<(), Failure> {
        for index in 0..self.on_its_way.len() {
            let one = &self.on_its_way[index];
            if one.sent.elapsed() < RESEND_AFTER {
                continue;
            }
            if one.sends == SENDS_MAX {
                return Err(Failure::new(format!(
                    "{}: {}: no answer to a request that was sent {SENDS_MAX} times",
                    self.export.address,
                    self.load.name()
                )));
            }
            let (old, place, writes) = (one.tag, one.place, one.writes);
            if self.given_up.len() == GIVEN_UP_MAX {
                self.given_up.remove(0);
            }
            self.given_up.push(old);
            self.outcome.trouble.lost += 1;
            let tag = self.send(place, writes);
            let one = &mut self.on_its_way[index];
            (one.tag, one.sent, one.sends) = (tag, Instant::now(), one.sends + 1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
