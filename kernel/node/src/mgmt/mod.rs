//! The management plane: an address, a page, figures, a log. It may be slow, and
//! it may fail alone.
//!
//! It lives on one port beside AoE. Frames that are not AoE and are for it are
//! copied into [`wire::Wire`], and what it sends leaves in frames that the port
//! keeps for it; so whatever happens here, no frame of AoE waits for it. Its turn
//! comes last, does a bounded amount of work, and is skipped when nothing arrived
//! and nothing is due.

pub mod address;
mod cec;
mod http;
mod journal;
mod net;
mod operate;
mod out;
mod pages;
mod request;
mod terminal;
#[cfg(test)]
mod tests;
mod time;
mod wire;

use crate::Node;
use crate::capture::Way;
use crate::config::{Config, SAID_MAX, Said};
use crate::epitaph::EPITAPH_BYTES;
use crate::events::Event;
use crate::limits::SPARES_MIN;
use crate::port;
use crate::state::SETTINGS_BYTES_MAX;
use address::Wanted;
use alloc::boxed::Box;
use alloc::vec::Vec;
use cec::Cec;
use http::Http;
use io::{Disk, Frame, Instant, Nic, Text};
use journal::Journal;
use net::{Net, Settings};
use pages::View;
use terminal::Terminal;

/// How many of a port's spares management may have; the others are AoE's.
pub const FRAMES: usize = 4;
/// How often a capture is told from, while there is one.
const CAPTURE_US: u64 = 50_000;
/// Where the tag of IEEE 802.1Q begins, and the ethertypes we look for.
const ETHERTYPE: usize = 12;
const TAGGED: [u8; 2] = [0x81, 0x00];
const IPV4: [u8; 2] = [0x08, 0x00];
const ARP: [u8; 2] = [0x08, 0x06];
/// Shortest frame on a wire, without its checksum.
const FRAME_BYTES_MIN: usize = 60;

/// Which port carries management.
enum Choice {
    /// None: there is a console, and nothing else.
    Nowhere,
    /// The first with a link.
    First,
    /// The one that the operator named.
    Named(usize),
}

/// A terminal.
#[derive(Clone, Copy)]
enum Which {
    Serial,
    Cec,
}

impl Which {
    fn of<'a>(
        self,
        console: &'a mut Terminal,
        cec: &'a mut Option<Box<Cec>>,
    ) -> Option<&'a mut Terminal> {
        match self {
            Self::Serial => Some(console),
            Self::Cec => cec.as_mut().map(|cec| &mut cec.terminal),
        }
    }
}

/// What there is to tell beside the node itself.
pub(crate) struct Facts {
    /// How the machine started.
    route: Text<32>,
    memory_bytes: u64,
    boot_us: u64,
    journal: Journal,
    /// The port that carries management now.
    port: Option<usize>,
    /// Opens changes; empty if there is none.
    token: Text<64>,
    http_port: u16,
    /// What holds because somebody said it.
    said: Vec<Said>,
    /// What was set and may be saved: lines of settings.
    draft: Vec<u8>,
    /// How the node ended before this start, if not in order.
    epitaph: Text<EPITAPH_BYTES>,
}

impl Facts {
    /// Whether a setting is as somebody wants it.
    fn holds(&self, key: &str, value: &str) -> bool {
        let said = self.said.iter().find(|said| said.key.as_str() == key);
        match key {
            "token" => self.token == Text::new(value),
            _ => said.is_some_and(|said| said.text == Text::new(value)),
        }
    }
}

/// See the module's header.
pub(crate) struct Mgmt {
    net: Net,
    http: Option<Http>,
    facts: Facts,
    choice: Choice,
    /// Whether `facts.port` had a link when it was last looked at.
    had_link: bool,
    vlan: Option<u16>,
    /// The serial console.
    console: Terminal,
    /// The console on the Ethernet, if the settings want one.
    cec: Option<Box<Cec>>,
    /// Where settings are read to see what a start would make of them.
    check: Box<Config>,
    /// When its turn must come although nothing arrives.
    due: Instant,
    /// When it looks around next if nothing calls it before.
    round: Instant,
}

impl Mgmt {
    /// Whether there is anything to do.
    #[inline]
    pub fn is_due(&self, now: Instant) -> bool {
        now >= self.due || self.net.wire.has_received() || self.net.wire.is_sending()
    }

    /// When the node must not sleep on.
    #[inline]
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Keeps how the node ended before this start.
    pub fn remember(&mut self, epitaph: Text<EPITAPH_BYTES>) {
        self.facts.epitaph = epitaph;
    }

    /// Something that an answer waits for has happened.
    pub fn wake(&mut self, now: Instant) {
        self.due = now;
    }
}

impl<N: Nic, D: Disk> Node<N, D> {
    /// Opens the management plane as the settings want it: with `ip=off` only its
    /// console. `seed` is as random as
    /// the machine can make it. All of its memory is taken here.
    #[cold]
    pub fn open_management(&mut self, config: &Config, boot: &crate::Boot<'_>, seed: u64) {
        let wanted = Wanted::parse(config.ip.value.as_str()).unwrap_or(Wanted::Dhcp);
        let name = config.net_mgmt.value;
        let choice = match port::named(name.as_str(), self.ports.iter().map(|port| &port.nic)) {
            _ if wanted == Wanted::Off => Choice::Nowhere,
            Some(port) => Choice::Named(port),
            None => Choice::First,
        };
        if matches!(choice, Choice::First) && !name.is_empty() {
            self.warnings.push(alloc::format!(
                "net.mgmt={name}: no such port; the first with a link is used"
            ));
        }
        let settings = Settings {
            wanted,
            hostname: config.hostname.value.as_str(),
            syslog: config.syslog.value.as_str(),
            ntp: config.ntp.value.as_str(),
        };
        // Without a port the address is as good as any.
        let mac = self.ports.first().map_or([2; 6], |port| port.nic.mac());
        let mut net = Net::new(&settings, mac, seed, http::CONNECTIONS, self.now);
        let http = config
            .http
            .value
            .filter(|_| wanted != Wanted::Off)
            .map(|port| Http::new(port, &mut net.sockets, self.now));
        for port in self.ports.iter_mut().filter(|_| wanted != Wanted::Off) {
            port.spares_wanted = port.spares_wanted.max(SPARES_MIN + FRAMES);
        }
        let mut facts = Facts {
            route: Text::new(boot.route),
            memory_bytes: boot.memory_bytes,
            boot_us: boot.boot_us,
            journal: Journal::new(),
            port: None,
            token: config.token.value,
            http_port: config.http.value.unwrap_or(0),
            said: Vec::with_capacity(SAID_MAX),
            draft: Vec::with_capacity(SETTINGS_BYTES_MAX),
            epitaph: Text::EMPTY,
        };
        facts.draft.extend_from_slice(self.keeper.saved());
        facts.said.extend_from_slice(config.said());
        self.management = Some(Box::new(Mgmt {
            net,
            http,
            facts,
            choice,
            had_link: false,
            vlan: config.vlan.value,
            console: Terminal::new(true),
            cec: config.cec.value.then(|| Box::new(Cec::new())),
            check: Box::default(),
            due: self.now,
            round: Instant(0),
        }));
    }

    /// Takes what was typed on the serial console.
    #[cold]
    pub fn type_in(&mut self, bytes: &[u8]) {
        let now = self.now;
        if let Some(management) = &mut self.management {
            management.console.type_in(bytes);
            management.wake(now);
        }
    }

    /// The next bytes to show to whoever types there, as many as `bytes` holds.
    pub fn answer_typing(&mut self, bytes: &mut [u8]) -> usize {
        let now = self.now;
        let Some(management) = &mut self.management else {
            return 0;
        };
        let len = management.console.take(bytes);
        if len > 0 && management.console.is_due() {
            management.wake(now);
        }
        len
    }

    /// Takes what was said on the console, for the page and the log server.
    pub fn hear(&mut self, bytes: &[u8]) {
        let now = self.now;
        if let Some(management) = &mut self.management {
            management.facts.journal.hear(now, bytes);
        }
    }

    /// Takes a copy of a frame that is not AoE, if it is for the management plane.
    pub(crate) fn take_for_management(&mut self, frame: &Frame) -> bool {
        let Some(management) = &mut self.management else {
            return false;
        };
        let home = usize::from(frame.home());
        let Some((addresses, rest)) = frame.wire().split_at_checked(ETHERTYPE) else {
            return false;
        };
        let own = self.ports[home].wire.mac.0;
        if addresses[..6] != own && addresses[..6] != [0xff; 6] {
            return false;
        }
        if let (Some(cec), true) = (&mut management.cec, rest.starts_with(&cec::ETHERTYPE)) {
            if let Some(frame) = cec::Frame::read(frame.home(), frame.wire()) {
                cec.take(frame);
                management.due = Instant(0);
            }
            return true;
        }
        if management.facts.port != Some(home) {
            return false;
        }
        let tagged = rest.strip_prefix(&TAGGED);
        let rest = match (management.vlan, tagged) {
            (None, None) => rest,
            (Some(vlan), Some([high, low, rest @ ..]))
                if u16::from_be_bytes([high & 0x0f, *low]) == vlan =>
            {
                rest
            }
            _ => return false,
        };
        if !rest.starts_with(&IPV4) && !rest.starts_with(&ARP) {
            return false;
        }
        let event = match management.net.wire.take(addresses, rest) {
            true => Event::ManagementReceived,
            false => Event::ManagementDropped,
        };
        self.events.count(event.into());
        true
    }

    /// One turn of management: what has arrived or is due, and what is to be sent.
    #[cold]
    pub(crate) fn run_management(&mut self, now: Instant) -> bool {
        let Some(mut management) = self.management.take() else {
            return false;
        };
        let has_received = management.net.wire.has_received();
        let is_due = has_received || now >= management.due;
        let is_round = !has_received && management.due == management.round;
        if is_due {
            self.turn_of_management(now, &mut management);
        }
        let sent = self.send_for_management(&mut management);
        self.management = Some(management);
        // A round calls for no other turn: at rest that would be every second one.
        (is_due && !is_round) | sent
    }

    #[cold]
    #[inline(never)]
    fn turn_of_management(&mut self, now: Instant, management: &mut Mgmt) {
        self.choose_management_port(management);
        let Mgmt {
            net, http, facts, ..
        } = management;
        net.receive(now, &facts.journal);
        self.hostname = net.hostname;
        let mut is_more = false;
        if let Some(http) = http {
            let totals = (http.answered, http.cut_off);
            let view = View::new(self, facts, net.lease, net.wall, totals, now);
            is_more = http.turn(now, &mut net.sockets, &view);
            if let Some(wish) = http.wish() {
                let body = http.lend_body();
                let told = self.carry_out(management, wish, &body);
                if let Some(http) = &mut management.http {
                    http.tell(body, told);
                }
                is_more = true;
            }
        }
        is_more |= self.turn_of_terminal(management, Which::Serial, now);
        is_more |= self.turn_of_terminal(management, Which::Cec, now);
        is_more |= self.send_for_cec(management, now);
        let Mgmt {
            net, http, facts, ..
        } = management;
        net.send(now);
        let deadline = net.deadline(now, &facts.journal);
        let patience = http.as_ref().and_then(Http::deadline);
        let again = management.cec.as_ref().and_then(|cec| cec.deadline());
        let next = [deadline, patience, again].into_iter().flatten().min();
        // What waits for room in the queue waits for a frame to leave.
        let soonest = if net.wire.is_sending() && !is_more {
            now + crate::limits::SOON_US
        } else {
            now
        };
        management.due = match (is_more, next) {
            (true, _) => now,
            (false, Some(next)) => next.max(soonest),
            (false, None) => now + crate::limits::TICK_IDLE_US,
        };
        // Who looks on sees frames soon after they passed.
        self.capture.look(now);
        if self.capture.is_on {
            management.due = management.due.min(now + CAPTURE_US);
        }
        // A link that comes back is seen within a second.
        let is_anywhere = !matches!(management.choice, Choice::Nowhere);
        management.round = now + crate::limits::TICK_IDLE_US;
        if is_anywhere && (matches!(management.choice, Choice::First) || !management.had_link) {
            management.due = management.due.min(management.round);
        }
    }

    /// Goes on with whoever is at a terminal. True if there is more to do at once.
    #[cold]
    #[inline(never)]
    fn turn_of_terminal(&mut self, management: &mut Mgmt, which: Which, now: Instant) -> bool {
        let Mgmt {
            net,
            facts,
            console,
            cec,
            ..
        } = &mut *management;
        let Some(terminal) = which.of(console, cec).filter(|one| !one.is_at_rest()) else {
            return false;
        };
        let view = View::new(self, facts, net.lease, net.wall, (0, 0), now);
        terminal.turn(&view);
        let mut copy = [0; terminal::LINE_BYTES];
        let wish = terminal.wish().map(|(wish, text)| {
            copy[..text.len()].copy_from_slice(text);
            (wish, text.len())
        });
        let told = wish.map(|(wish, len)| self.carry_out(management, wish, &copy[..len]));
        let Some(terminal) = which.of(&mut management.console, &mut management.cec) else {
            return false;
        };
        if let Some(told) = told {
            terminal.tell(told);
        }
        terminal.is_due()
    }

    /// Sends what the Ethernet console has to say. What finds no frame is lost, as
    /// on any wire, and said again. True if there is more to do at once.
    #[cold]
    fn send_for_cec(&mut self, management: &mut Mgmt, now: Instant) -> bool {
        let Some(cec) = &mut management.cec else {
            return false;
        };
        let name = match self.hostname.as_str() {
            "" => "ublade",
            name => name,
        };
        let name = Text::format(format_args!("{} {name}", self.shelf.number()));
        // Ends: answers are as many as there were frames, data waits for an answer.
        while let Some(frame) = cec.next(now, &name) {
            let port = &mut self.ports[usize::from(frame.port)];
            let mut bytes = [0; cec::FRAME_BYTES];
            let len = frame.write(port.wire.mac, &mut bytes);
            let len = len.max(FRAME_BYTES_MIN);
            if let Some(mut out) = port.spares.pop() {
                out.buffer_mut()[..len].copy_from_slice(&bytes[..len]);
                out.set_len(len);
                self.events.count(Event::ManagementSent.into());
                self.send(out);
            }
        }
        cec.terminal.is_due()
    }

    /// Moves to another port if the present one has lost its link.
    fn choose_management_port(&self, management: &mut Mgmt) {
        let has_link = |port: usize| self.ports[port].link;
        let wanted = match (&management.choice, management.facts.port) {
            (Choice::Nowhere, _) => None,
            (Choice::Named(port), _) => Some(*port),
            (Choice::First, Some(port)) if has_link(port) => Some(port),
            (Choice::First, before) => (0..self.ports.len())
                .find(|port| has_link(*port))
                .or(before),
        };
        let link = wanted.is_some_and(has_link);
        if wanted != management.facts.port {
            management.facts.port = wanted;
            if let Some(port) = wanted {
                management.net.move_to(self.ports[port].nic.mac());
            }
        } else if link && !management.had_link {
            management.net.renew();
        }
        management.had_link = link;
    }

    /// Sends what the stack has made, in frames that the port keeps for it.
    fn send_for_management(&mut self, management: &mut Mgmt) -> bool {
        let Some(index) = management.facts.port else {
            management.net.wire.clear();
            return false;
        };
        let port = &mut self.ports[index];
        let mut moved = false;
        // Ends: the queue is finite, and nothing fills it meanwhile.
        while port.spares.len() + FRAMES > port.spares_wanted
            && let Some(bytes) = management.net.wire.next()
        {
            let Some(mut frame) = port.spares.pop() else {
                break;
            };
            let buffer = frame.buffer_mut();
            let tag = management.vlan.map(u16::to_be_bytes);
            let (addresses, rest) = bytes.split_at(ETHERTYPE.min(bytes.len()));
            let mut len = 0;
            let tag = tag.map(|[high, low]| [TAGGED[0], TAGGED[1], high, low]);
            for part in [addresses, tag.as_ref().map_or(&[][..], |tag| tag), rest] {
                buffer[len..len + part.len()].copy_from_slice(part);
                len += part.len();
            }
            if len < FRAME_BYTES_MIN {
                buffer[len..FRAME_BYTES_MIN].fill(0);
                len = FRAME_BYTES_MIN;
            }
            frame.set_len(len);
            management.net.wire.sent();
            self.events.count(Event::ManagementSent.into());
            if self.capture.is_on {
                let now = self.now;
                self.capture.take(now, Way::Out, frame.home(), frame.wire());
            }
            port.send_aside(frame);
            moved = true;
        }
        moved
    }
}
