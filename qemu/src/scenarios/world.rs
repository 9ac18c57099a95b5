//! What most scenarios begin with: addresses, a node, and an eye on the wire.

use crate::client::{Address, Client, Export};
use crate::network::{ETHERTYPE_AOE, Fate};
use crate::pattern::SECTOR_BYTES;
use crate::{Context, Failure, Mac, Machine, Recipe, Switch};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The shelf of every node.
pub(super) const SHELF: u16 = 5;
/// The node's cards.
pub(super) const NODE: [Mac; 2] = [Mac::local(0x0501), Mac::local(0x0502)];
/// A real initiator's cards.
pub(super) const HOST: [Mac; 2] = [Mac::local(0x0101), Mac::local(0x0102)];
/// Our own client.
pub(super) const CLIENT: Mac = Mac::local(0x0001);

/// What the console of a node says when a second processor runs its devices.
pub(super) const TWO: &str = "processor 1 runs the devices";

/// How long a node may take to its first frame here. Half a second is its own
/// claim, and `boots` measures that; elsewhere a busy host is no failure.
const SERVES_WITHIN: Duration = Duration::from_secs(30);

/// How long answers to one question are waited for.
const PAUSE: Duration = Duration::from_millis(200);

/// A node whose exports are e5.0, e5.1 … and may be written.
pub(super) fn node(context: &Context, name: &str) -> Recipe {
    context
        .node(name)
        .append(&format!("ublade.shelf={SHELF} ublade.rw=all"))
}

/// The export in `slot`.
pub(super) const fn address(slot: u8) -> Address {
    Address { shelf: SHELF, slot }
}

/// Waits until `node` serves `count` exports, and returns them in order.
pub(super) fn exports(
    context: &Context,
    node: &Machine,
    client: &mut Client,
    count: usize,
) -> Result<Vec<Export>, Failure> {
    let exports = client
        .wait_for_exports(count, context.within(SERVES_WITHIN))
        .map_err(|failure| node.failure(failure.sentence()))?;
    if exports.len() != count {
        let names: Vec<String> = exports
            .iter()
            .map(|export| format!("{} at {}", export.address, export.mac))
            .collect();
        return Err(node.failure(format!(
            "{count} exports are expected and there are {}",
            names.join(", ")
        )));
    }
    Ok(exports)
}

/// Waits until `node` serves exactly one export.
pub(super) fn one_export(
    context: &Context,
    node: &Machine,
    client: &mut Client,
) -> Result<Export, Failure> {
    exports(context, node, client, 1).map(|mut exports| exports.remove(0))
}

/// `export` as soon as it offers frames of `payload` bytes of sectors. It says how
/// long they may be in a second answer behind the first, on a busy machine long behind.
pub(super) fn offering(
    context: &Context,
    node: &Machine,
    client: &mut Client,
    export: Export,
    payload: usize,
) -> Result<Export, Failure> {
    let mut latest = export.clone();
    until(
        context.within(SERVES_WITHIN),
        node,
        || format!("{} never offers {payload} bytes a frame", export.address),
        || {
            if usize::from(latest.sectors_max) * SECTOR_BYTES == payload {
                return true;
            }
            let answers = client.discover(PAUSE);
            let found = answers
                .into_iter()
                .find(|one| (one.address, one.mac) == (export.address, export.mac));
            latest = found.unwrap_or_else(|| export.clone());
            false
        },
    )?;
    Ok(latest)
}

/// `failure` with the node's console and captures under it.
pub(super) fn blame(node: &Machine) -> impl Fn(Failure) -> Failure + '_ {
    |failure| {
        let mut whole = node.failure(failure.sentence());
        for line in failure.to_string().lines().skip(1) {
            whole = whole.with(line.trim_start());
        }
        whole
    }
}

/// `Err` with `sentence` unless `holds`.
pub(super) fn must(
    holds: bool,
    node: &Machine,
    sentence: impl FnOnce() -> String,
) -> Result<(), Failure> {
    if holds {
        Ok(())
    } else {
        Err(node.failure(sentence()))
    }
}

/// Waits until `holds`, or fails with `sentence`.
pub(super) fn until(
    within: Duration,
    node: &Machine,
    sentence: impl FnOnce() -> String,
    mut holds: impl FnMut() -> bool,
) -> Result<(), Failure> {
    let deadline = Instant::now() + within;
    while !holds() {
        if Instant::now() >= deadline {
            let waited = within.as_secs_f64();
            return Err(node.failure(format!("{} (waited {waited:.1} s)", sentence())));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The ATA frames that pass through a switch, by size and direction.
#[derive(Clone, Default)]
pub(super) struct Wire {
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    largest_request: AtomicUsize,
    largest_reply: AtomicUsize,
    requests: AtomicU64,
    replies: AtomicU64,
}

/// Flags of an AoE frame, its command, and the bit that says "response".
const FLAGS: usize = 14;
const COMMAND: usize = 19;
const RESPONSE: u8 = 0x08;
/// Bytes of a frame before its sectors.
const HEADER: usize = 36;

impl Wire {
    /// Watches everything that `switch` carries. It takes the place of a fault.
    pub(super) fn watch(switch: &Switch) -> Self {
        let wire = Self::default();
        let seen = Arc::clone(&wire.seen);
        switch.set_fault(move |passing| {
            seen.take(passing.frame);
            Fate::Pass
        });
        wire
    }

    /// Sector bytes in the largest request and in the largest reply.
    pub(super) fn largest(&self) -> (usize, usize) {
        let bytes = |size: &AtomicUsize| size.load(Ordering::Relaxed).saturating_sub(HEADER);
        (
            bytes(&self.seen.largest_request),
            bytes(&self.seen.largest_reply),
        )
    }

    /// ATA requests so far.
    pub(super) fn requests(&self) -> u64 {
        self.seen.requests.load(Ordering::Relaxed)
    }

    /// ATA replies so far.
    pub(super) fn replies(&self) -> u64 {
        self.seen.replies.load(Ordering::Relaxed)
    }
}

impl Seen {
    fn take(&self, frame: &[u8]) {
        let is_ata = frame.len() >= HEADER
            && frame[12..14] == ETHERTYPE_AOE.to_be_bytes()
            && frame[COMMAND] == crate::client::command::ATA;
        if !is_ata {
            return;
        }
        let (largest, count) = if frame[FLAGS] & RESPONSE == 0 {
            (&self.largest_request, &self.requests)
        } else {
            (&self.largest_reply, &self.replies)
        };
        largest.fetch_max(frame.len(), Ordering::Relaxed);
        count.fetch_add(1, Ordering::Relaxed);
    }
}
