//! Every limit of the data path, each with its reason.

/// Ports a node serves. Four two-port cards; the share of a disk is counted per
/// port in an array of this length.
pub const PORTS_MAX: usize = 8;

/// Fewest frames a port can live with: its spares, one request under way, and
/// something left to receive into.
pub const FRAMES_PER_PORT_MIN: usize = 16;
/// Most frames of a port that carries no AoE: a page and a log need no more.
pub const QUIET_FRAMES: usize = 64;

/// Frames taken in a turn by a node with one port. Long enough to share a
/// doorbell, short enough (some 5 us) that no answer waits for what came after
/// it. With several ports every turn takes in all that is there (see `step/admit`).
pub const ADMIT_PER_TURN: usize = 32;

/// Operations taken back from one disk in a turn. A memory disk ends what was
/// submitted in the same turn; this keeps one long discard from being a turn.
pub const FINISH_PER_TURN: usize = 256;

/// Answers a turn and port to requests that name several exports.
pub const ANSWERS_PER_TURN: usize = 32;

/// Announcements a turn and port. A shelf of 255 is announced within 32 turns.
pub const ANNOUNCE_PER_TURN: usize = 8;

/// Bytes of a request that are copied for each of several exports: the longest
/// that has a meaning is a mask list of 255 entries behind a tag (28 + 8 * 255 +
/// 4). A write is never run for several exports, so data is not worth copying.
pub const QUERY_BYTES_MAX: usize = 28 + 8 * 255 + 4;

/// An ATA operation may hold this many times what is left free on its port. One
/// hung disk ends up with four fifths of a port's frames, two with four ninths
/// each, and there is always something left to receive into.
pub const SHARE: usize = 4;

/// Operations that a disk has at once at least while a host with a small window asks
/// beside one with a large one. Enough to keep one at work while the other is on its
/// way; few enough that the small window waits for hardly more than itself.
pub const CROWD_MIN: usize = 2;

/// Requests between two looks of a host that works all the time, if only one at a time.
pub const STEADY_MIN: u64 = 4;

/// Whoever is asked for fewer than this part of what the busiest host asks for has the
/// smaller window.
pub const MODEST_PART: u64 = 3;

/// How much longer an operation may take than twice the shortest one and still count
/// as not having waited for others: about a turn.
pub const CROWD_SLACK_US: u64 = 20;

/// Frames of a port that no disk gets: the ones that receive config queries when
/// every disk hangs.
pub const RX_RESERVE: usize = 8;

/// With several ports, a write that may have lain in a ring for longer than this
/// is dropped. Linux resends after 100 ms at the earliest, perhaps through another
/// port, where a copy may have been answered and overwritten since. With one port
/// the ring keeps the order by itself.
pub const RING_AGE_MAX_US: u64 = 100_000;

/// How often links, sizes and time limits are looked at while frames move.
pub const TICK_US: u64 = 250_000;

/// How often they are looked at while nothing moves: config interrupts wake us
/// for what cannot wait.
pub const TICK_IDLE_US: u64 = 1_000_000;

/// How soon after being woken they are looked at: the interrupt may have meant
/// a change. Keeps an interrupt for every frame from reading every register.
pub const TICK_WOKEN_US: u64 = 50_000;

/// How long an order to stop waits for disks. Longer than a drive's own retries
/// for a bad sector, shorter than a person's patience with a power button.
pub const CLOSE_MAX_US: u64 = 10_000_000;

/// How soon we look again at what waits for a frame to leave a card.
pub const SOON_US: u64 = 1_000;

/// When a shelf is announced, from start or link up on: at once, and twice more
/// because a switch drops frames while it learns where we are.
pub const ANNOUNCE_AT_US: [u64; 3] = [0, 300_000, 1_000_000];

/// Smallest discard worth offering, in sectors (1 MiB). An entry names up to
/// 65,535 sectors and a request up to 1,088 entries; smaller pieces would keep
/// one request, and every write behind it, busy for minutes.
pub const DISCARD_SECTORS_MIN: u32 = 2048;

/// Frames a port keeps back for answers that nobody lent us a frame for:
/// announcements, jumbo probes, one answer for each of several exports.
pub const fn spares_of(frames: usize) -> usize {
    let spares = frames / 8;
    if spares < SPARES_MIN {
        SPARES_MIN
    } else if spares > SPARES_MAX {
        SPARES_MAX
    } else {
        spares
    }
}
/// An announcement needs two: the small one and the jumbo one made from it.
pub const SPARES_MIN: usize = 2;
/// A discovery of 16 exports without waiting for the card.
pub const SPARES_MAX: usize = 32;

/// The window that is advertised when nobody says one. Half of a port's frames:
/// the other half is for what is being answered and for the next initiator. Never
/// more than a lone disk may hold, or a full window would be dropped in part.
pub const fn buffers_of(frames: usize) -> u16 {
    let lendable = frames.saturating_sub(spares_of(frames) + RX_RESERVE);
    let share = lendable * SHARE / (SHARE + 1);
    let half = frames / 2;
    let buffers = if half < share { half } else { share };
    // R-072 of the protocol: with fewer than 2 the Linux driver stands still.
    if buffers < 2 { 2 } else { buffers as u16 }
}
const _: () = assert!(buffers_of(256) == 128, "an ordinary port: twice Linux's 64");

const _: () = assert!(
    spares_of(FRAMES_PER_PORT_MIN) + RX_RESERVE < FRAMES_PER_PORT_MIN,
    "the smallest port can still lend a frame to a disk"
);
