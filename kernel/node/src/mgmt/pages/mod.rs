//! What can be read over HTTP, made piece by piece from the node as it is.
//!
//! A document is a row of sections, and a section may be a list; a [`Cursor`] says
//! how far an answer has come. Pieces of one answer are made in different turns, so
//! two figures of one page may be some microseconds apart.

mod html;
mod json;
mod metrics;
mod pcap;
mod text;

pub use text::Show;

use super::Facts;
use super::net::Lease;
use super::out::{Out, put};
use super::time::Wall;
use crate::config::{DEFAULTS, HIDDEN, Source, lines};
use crate::histogram::Histogram;
use crate::node::{Export, Node};
use crate::station::Station;
use crate::tally::{Client, Work};
use alloc::string::String;
use aoe::Mac;
use core::fmt;
use io::{Disk, Instant, Nic, Text};

/// How long a client counts as one: a minute.
const CLIENT_US: u64 = 60_000_000;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// The page for people.
    Page,
    /// Figures for Prometheus.
    Metrics,
    /// Whether the node runs.
    Health,
    /// Whether it serves.
    Ready,
    /// Frames as they come.
    Capture,
    /// One list or object of the API.
    Api(Topic),
    /// What became of a wish; the number is HTTP's, the words are elsewhere.
    Told(u16),
    /// It is not done; the number is HTTP's.
    Refusal(u16),
}

/// What the API tells about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// The node as a whole.
    Status,
    /// Each export.
    Exports,
    /// Each disk.
    Disks,
    /// Each port.
    Ports,
    /// Who asked in the last minute.
    Clients,
    /// Who may see an export of this slot.
    Masks(u8),
    /// Who has reserved it.
    Members(u8),
    /// Every setting, and who said it.
    Config,
    /// The last lines of the log.
    Log,
    /// The last events of note.
    Trace,
}

impl Document {
    /// What is at `path`.
    pub fn at(path: &str) -> Option<Self> {
        Some(match path {
            "/" => Self::Page,
            "/metrics" => Self::Metrics,
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            "/api/v1/status" => Self::Api(Topic::Status),
            "/api/v1/exports" => Self::Api(Topic::Exports),
            "/api/v1/disks" => Self::Api(Topic::Disks),
            "/api/v1/ports" => Self::Api(Topic::Ports),
            "/api/v1/clients" => Self::Api(Topic::Clients),
            "/api/v1/config" => Self::Api(Topic::Config),
            "/api/v1/log" => Self::Api(Topic::Log),
            "/api/v1/trace" => Self::Api(Topic::Trace),
            _ => return None,
        })
    }

    /// HTTP's status line for it.
    pub fn status(self) -> &'static str {
        match self {
            Self::Told(number) | Self::Refusal(number) => match number {
                200 => "200 OK",
                202 => "202 Accepted",
                400 => "400 Bad Request",
                401 => "401 Unauthorized",
                403 => "403 Forbidden",
                405 => "405 Method Not Allowed",
                409 => "409 Conflict",
                413 => "413 Content Too Large",
                431 => "431 Request Header Fields Too Large",
                503 => "503 Service Unavailable",
                _ => "404 Not Found",
            },
            _ => "200 OK",
        }
    }

    /// What kind of text it is.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Page => "text/html; charset=utf-8",
            Self::Capture => "application/x-pcapng",
            Self::Metrics => "text/plain; version=0.0.4; charset=utf-8",
            Self::Api(_) | Self::Told(_) | Self::Refusal(_) => "application/json",
            Self::Health | Self::Ready => "text/plain; charset=utf-8",
        }
    }

    /// What a refusal says.
    fn refusal(self) -> &'static str {
        match self {
            Self::Refusal(400) => "this is no request that can be understood",
            Self::Refusal(401) => "say Authorization: Bearer and the token",
            Self::Refusal(403) => "read-only: the setting token= opens changes",
            Self::Refusal(405) => "not in this way; Allow: says how",
            Self::Refusal(413) => "a request has 4096 bytes at most, its head and all",
            Self::Refusal(431) => "the head of a request has 4096 bytes and 32 lines at most",
            Self::Refusal(503) => "not serving",
            _ => "there is nothing here; begin at /",
        }
    }
}

/// How far an answer has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    section: u16,
    item: usize,
}

/// What comes after a piece.
enum Step {
    /// More of this section.
    Again,
    /// The next section.
    Next,
    /// Nothing.
    End,
}

/// A setting.
struct Row<'a> {
    key: &'a str,
    value: &'a str,
    source: &'static str,
    /// Whether it holds now, or from the next start on.
    in_force: bool,
}

/// The node as an answer sees it.
pub struct View<'a, N, D> {
    node: &'a Node<N, D>,
    facts: &'a Facts,
    lease: Lease,
    wall: Wall,
    /// Requests answered by this server, and clients cut off.
    served: (u64, u64),
    now: Instant,
}

/// How a node is, in one word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Serving,
    Degraded,
    Idle,
    Down,
    Stopping,
}

impl State {
    const ALL: [Self; 5] = [
        Self::Serving,
        Self::Degraded,
        Self::Idle,
        Self::Down,
        Self::Stopping,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Degraded => "degraded",
            Self::Idle => "idle",
            Self::Down => "down",
            Self::Stopping => "stopping",
        }
    }
}

/// Whether an export answers, and why not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Online,
    /// It is online, and somebody else answers for it, too.
    Shared(Mac),
    /// It is not known yet whether somebody else has it.
    Asking,
    /// Somebody else has it.
    Taken(Mac),
    /// Nobody has told it to go online.
    Waiting,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Online => f.write_str("online"),
            Self::Shared(other) => write!(f, "online, and {other} answers for it, too"),
            Self::Asking => f.write_str("offline until it is known that nobody else answers"),
            Self::Taken(other) => write!(f, "offline as long as {other} answers for it"),
            Self::Waiting => f.write_str("offline until it is told to go online"),
        }
    }
}

impl<'a, N: Nic, D: Disk> View<'a, N, D> {
    pub fn new(
        node: &'a Node<N, D>,
        facts: &'a Facts,
        lease: Lease,
        wall: Wall,
        served: (u64, u64),
        now: Instant,
    ) -> Self {
        Self {
            node,
            facts,
            lease,
            wall,
            served,
            now,
        }
    }

    /// Writes the next piece of `document`. True if there is more.
    pub fn write(&self, document: Document, cursor: &mut Cursor, out: &mut Out<'_>) -> bool {
        let Cursor { section, item } = cursor;
        let step = match document {
            Document::Page => self.page(*section, item, out),
            Document::Capture => self.pcap(*section, item, out),
            Document::Metrics => self.metrics(*section, item, out),
            Document::Api(topic) => self.json(topic, *section, item, out),
            Document::Health => {
                out.put("alive\n");
                Step::End
            }
            Document::Ready => {
                put!(out, "{}\n", self.state().0.name());
                Step::End
            }
            Document::Refusal(_) => {
                put!(out, "{{\"error\":\"{}\"}}\n", document.refusal());
                Step::End
            }
            // The server has the words.
            Document::Told(_) => Step::End,
        };
        match step {
            Step::Again => true,
            Step::Next => {
                *section += 1;
                *item = 0;
                true
            }
            Step::End => false,
        }
    }

    /// The token that opens changes; empty if there is none.
    pub fn token(&self) -> &'a str {
        self.facts.token.as_str()
    }

    /// What holds and who said so, what holds because nobody said anything, and what
    /// was set or saved and waits for a start.
    fn settings(&self) -> impl Iterator<Item = Row<'a>> {
        let (facts, saved) = (self.facts, self.node.keeper.saved());
        let said = facts.said.iter().map(|said| Row {
            key: said.key.as_str(),
            value: said.text.as_str(),
            source: said.source.name(),
            in_force: true,
        });
        let is_said = |key: &str| facts.said.iter().any(|said| said.key.as_str() == key);
        let defaults = DEFAULTS.iter().filter(move |(key, _)| !is_said(key));
        let defaults = defaults.map(|&(key, value)| Row {
            key,
            value,
            source: Source::Default.name(),
            in_force: true,
        });
        let waiting = lines(&facts.draft).filter_map(move |(key, value)| {
            let value = value.unwrap_or("");
            let is_saved = lines(saved).any(|line| line == (key, Ok(value)));
            let source = if is_saved {
                Source::Saved
            } else {
                Source::Live
            };
            (!facts.holds(key, value)).then_some(Row {
                key,
                value: if key == "token" { HIDDEN } else { value },
                source: source.name(),
                in_force: false,
            })
        });
        said.chain(defaults).chain(waiting)
    }

    /// Whether something of an export, or of the settings, is not durable yet.
    pub fn is_pending(&self, what: usize) -> bool {
        self.node.keeper.is_pending(what)
    }

    /// Whether it can do its work at all.
    pub fn is_ready(&self) -> bool {
        matches!(self.state().0, State::Serving | State::Degraded)
    }

    /// The state and the reason for it.
    fn state(&self) -> (State, Text<160>) {
        let node = self.node;
        let say = |state, args: fmt::Arguments<'_>| (state, Text::format(args));
        if node.closing.is_some() {
            return say(
                State::Stopping,
                format_args!("an order to stop is being carried out"),
            );
        }
        if !node.ports.iter().any(|port| port.link) {
            return say(State::Down, format_args!("no port has a link"));
        }
        if node.exports.is_empty() {
            return say(State::Idle, format_args!("nothing is exported"));
        }
        let failing = |station: &&Station<D>| station.failing;
        if let Some(station) = node.stations.iter().find(failing) {
            let name = station.disk.name();
            return say(
                State::Degraded,
                format_args!("disk {name} has reported errors"),
            );
        }
        let other = |index| Some((index, node.claims.other(index)?));
        if let Some((index, other)) = (0..node.exports.len()).find_map(other) {
            let address = node.exports[index].target.address();
            return say(
                State::Degraded,
                format_args!("{other} answers for {address}, too"),
            );
        }
        let is_waiting = |index| self.standing(index) == Standing::Waiting;
        if (0..node.exports.len()).all(is_waiting) {
            return say(State::Idle, format_args!("every export is offline"));
        }
        if let Some(index) = node.ports.iter().position(|port| !port.link) {
            return say(State::Degraded, format_args!("eth{index} has no link"));
        }
        match self.told_at_start().count() {
            0 => say(
                State::Serving,
                format_args!("every port has a link, every disk is well"),
            ),
            1 => say(
                State::Degraded,
                format_args!("one setting needs a look, see below"),
            ),
            many => say(
                State::Degraded,
                format_args!("{many} settings need a look, see below"),
            ),
        }
    }

    /// What was said at the start and still holds. Links have a word of their own
    /// now.
    fn told_at_start(&self) -> impl Iterator<Item = &'a str> {
        let warnings = self.node.warnings.iter().map(String::as_str);
        warnings.filter(|warning| !warning.starts_with("port "))
    }

    /// How an export stands to its address.
    fn standing(&self, index: usize) -> Standing {
        let claims = &self.node.claims;
        match (self.node.exports[index].online, claims.other(index)) {
            (true, None) => Standing::Online,
            (true, Some(other)) => Standing::Shared(other),
            (false, Some(other)) => Standing::Taken(other),
            (false, None) if claims.is_asking(index) => Standing::Asking,
            (false, None) => Standing::Waiting,
        }
    }

    fn disk_of(&self, export: &Export) -> &'a Station<D> {
        &self.node.stations[usize::from(export.volume.disk)]
    }

    fn clients(&self) -> impl Iterator<Item = &'a Client> {
        self.node.clients.since(self.clients_since())
    }

    fn clients_since(&self) -> Instant {
        Instant(self.now.0.saturating_sub(CLIENT_US))
    }

    fn work(&self) -> Work {
        let mut total = Work::default();
        for export in &self.node.exports {
            total.add(&export.work);
        }
        total
    }

    /// Latency by stage: as hosts see it, at the disks, in flushes.
    fn stages(&self) -> [(&'static str, Histogram); 3] {
        let mut all = [
            ("total", Histogram::default()),
            ("disk", Histogram::default()),
            ("flush", Histogram::default()),
        ];
        for export in &self.node.exports {
            all[0].1.add(&export.latency);
        }
        for station in &self.node.stations {
            all[1].1.add(&station.operations);
            all[2].1.add(&station.flushes);
        }
        all
    }

    /// Requests at disks or waiting.
    fn inflight(&self) -> usize {
        self.node.ports.iter().map(|port| port.lent).sum()
    }

    /// Of a thousand microseconds, how many the node was awake.
    fn busy_permille(&self) -> u64 {
        let lived = (self.now - self.node.began).max(1);
        1000 - (self.node.slept_us.min(lived) * 1000 / lived)
    }
}
