//! The IP side: address, names, log server, time server. All of it is smoltcp's.
//!
//! [`Net::poll`] is called when something arrived or a timer is due, and does a
//! bounded amount of work: as many frames as the queues of [`Wire`] hold, one
//! answer of each service. Nothing here knows the data path.

use super::address::Wanted;
use super::journal::Journal;
use super::time::{self, Wall};
use super::wire::Wire;
use alloc::boxed::Box;
use alloc::vec;
use core::fmt::Write;
use io::{Instant, Text};
use smoltcp::iface::{Config, Interface, PollIngressSingleResult, SocketHandle, SocketSet};
use smoltcp::socket::{dhcpv4, dns, udp};
use smoltcp::time::Instant as StackInstant;
use smoltcp::wire::{
    DhcpOption, DnsQueryType, EthernetAddress, HardwareAddress, IpAddress, IpCidr, IpEndpoint,
    Ipv4Address, Ipv4Cidr,
};

/// What we ask a DHCP server for: mask, router, names, log, host name, time.
const DHCP_ASKED: &[u8] = &[1, 3, 6, 7, 12, 42];
const OPTION_LOG_SERVER: u8 = 7;
const OPTION_HOSTNAME: u8 = 12;
const OPTION_TIME_SERVER: u8 = 42;

/// UDP ports that are ours; nobody needs to know them.
const LOG_PORT: u16 = 49_514;
const TIME_PORT: u16 = 49_123;
/// Ports of the servers (RFC 5426, 3.3; RFC 4330, 4).
const LOG_SERVER_PORT: u16 = 514;
const TIME_SERVER_PORT: u16 = 123;

/// How often the time is asked for once it is known, and how long an answer may
/// take. RFC 4330, 10: not more often than every 15 s.
const TIME_EVERY_US: u64 = 1_024_000_000;
const TIME_RETRY_US: u64 = 16_000_000;
/// How soon a name that nobody knew is asked for again.
const NAME_RETRY_US: u64 = 30_000_000;
/// Lines sent to the log server in one turn.
const LOG_LINES_PER_TURN: usize = 4;
/// Frames taken in by one turn.
const FRAMES_PER_TURN: usize = 8;

/// What the node is called on the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// Our address.
    pub cidr: Option<Ipv4Cidr>,
    /// The way out.
    pub router: Option<Ipv4Address>,
    /// Who knows names.
    pub dns: Option<Ipv4Address>,
    /// Whether a server gave it.
    pub by_dhcp: bool,
}

/// A server that may be known by name.
struct Server {
    /// Name or address; empty if there is none.
    name: Text<64>,
    port: u16,
    address: Option<Ipv4Address>,
    /// When its name may be asked for again.
    ask_at: Instant,
    query: Option<dns::QueryHandle>,
}

impl Server {
    /// `NAME`, `ADDRESS` or either with `:PORT`.
    #[cold]
    fn new(setting: &str, port: u16) -> Self {
        let (name, port) = match setting.rsplit_once(':') {
            Some((name, number)) => match number.parse() {
                Ok(number) if number != 0 => (name, number),
                _ => (setting, port),
            },
            None => (setting, port),
        };
        Self {
            name: Text::new(name),
            port,
            address: name.parse().ok(),
            ask_at: Instant(0),
            query: None,
        }
    }

    /// A server that DHCP named, where the operator named none.
    fn offered(&mut self, address: Ipv4Address) {
        if self.name.is_empty() {
            self.address = Some(address);
        }
    }

    fn endpoint(&self) -> Option<IpEndpoint> {
        self.address
            .map(|address| IpEndpoint::new(IpAddress::Ipv4(address), self.port))
    }
}

/// See the module's header.
pub struct Net {
    pub wire: Wire,
    pub sockets: SocketSet<'static>,
    iface: Interface,
    dhcp: Option<SocketHandle>,
    dns: SocketHandle,
    log: SocketHandle,
    time: SocketHandle,
    pub lease: Lease,
    /// Our name: the operator's, or else the one that DHCP gave us.
    pub hostname: Text<64>,
    /// Whether the operator chose it.
    named: bool,
    log_server: Server,
    log_sent: usize,
    time_server: Server,
    pub wall: Wall,
    /// The question under way, and when it was asked.
    asked: Option<(u64, Instant)>,
    time_at: Instant,
    random: u64,
}

/// What the settings say about the network.
pub struct Settings<'a> {
    pub wanted: Wanted,
    pub hostname: &'a str,
    pub syslog: &'a str,
    pub ntp: &'a str,
}

impl Net {
    /// Everything the network will ever need is allocated here; `more` sockets
    /// are room for other services.
    #[cold]
    pub fn new(
        settings: &Settings<'_>,
        mac: [u8; 6],
        seed: u64,
        more: usize,
        now: Instant,
    ) -> Self {
        let mut wire = Wire::new();
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac)));
        config.random_seed = seed;
        let mut iface = Interface::new(config, &mut wire, stack_time(now));
        let mut sockets = SocketSet::new(alloc::vec::Vec::with_capacity(4 + more));
        let udp = |port: u16| {
            let buffer =
                || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 8], vec![0; 2048]);
            let mut socket = udp::Socket::new(buffer(), buffer());
            socket.bind(port).expect("the port is not 0");
            socket
        };
        let log = sockets.add(udp(LOG_PORT));
        let time = sockets.add(udp(TIME_PORT));
        let dns = sockets.add(dns::Socket::new(&[], vec![None, None]));
        let mut lease = Lease::default();
        let dhcp = match settings.wanted {
            Wanted::Off => None,
            Wanted::Dhcp => Some(sockets.add(dhcp_socket(settings.hostname))),
            Wanted::Static(fixed) => {
                lease = Lease {
                    cidr: Some(fixed.cidr),
                    router: fixed.router,
                    dns: fixed.dns,
                    by_dhcp: false,
                };
                None
            }
        };
        apply(&mut iface, sockets.get_mut(dns), &lease);
        Self {
            wire,
            sockets,
            iface,
            dhcp,
            dns,
            log,
            time,
            lease,
            hostname: Text::new(settings.hostname),
            named: !settings.hostname.is_empty(),
            log_server: Server::new(settings.syslog, LOG_SERVER_PORT),
            log_sent: 0,
            time_server: Server::new(settings.ntp, TIME_SERVER_PORT),
            wall: Wall::default(),
            asked: None,
            time_at: now,
            random: seed | 1,
        }
    }

    /// The operator calls us by another name.
    #[cold]
    pub fn set_hostname(&mut self, name: &str) {
        self.hostname = Text::new(name);
        self.named = !name.is_empty();
    }

    /// The operator names another log server.
    #[cold]
    #[inline(never)]
    pub fn set_log_server(&mut self, setting: &str) {
        self.forget_query(|net| net.log_server.query.take());
        self.log_server = Server::new(setting, LOG_SERVER_PORT);
    }

    /// The operator names another time server, which is asked at once.
    #[cold]
    pub fn set_time_server(&mut self, setting: &str) {
        self.forget_query(|net| net.time_server.query.take());
        self.time_server = Server::new(setting, TIME_SERVER_PORT);
        self.time_at = Instant(0);
    }

    /// Nobody wants to know any more: the place is free for another question.
    fn forget_query(&mut self, of: impl Fn(&mut Self) -> Option<dns::QueryHandle>) {
        if let Some(query) = of(self) {
            self.sockets
                .get_mut::<dns::Socket<'_>>(self.dns)
                .cancel_query(query);
        }
    }

    /// Another port is ours now.
    pub fn move_to(&mut self, mac: [u8; 6]) {
        self.iface
            .set_hardware_addr(HardwareAddress::Ethernet(EthernetAddress(mac)));
        self.wire.clear();
        self.renew();
    }

    /// The link was away: perhaps this is another network.
    pub fn renew(&mut self) {
        if let Some(dhcp) = self.dhcp {
            self.sockets.get_mut::<dhcpv4::Socket<'_>>(dhcp).reset();
        }
    }

    /// Takes in what arrived, and lets the services answer.
    #[cold]
    pub fn receive(&mut self, now: Instant, journal: &Journal) {
        for _ in 0..FRAMES_PER_TURN {
            let result =
                self.iface
                    .poll_ingress_single(stack_time(now), &mut self.wire, &mut self.sockets);
            if matches!(result, PollIngressSingleResult::None) {
                break;
            }
        }
        self.look_at_lease();
        self.look_up_names(now);
        self.keep_time(now);
        self.send_log(journal);
    }

    /// Sends what is to be sent, as far as there is room.
    #[cold]
    pub fn send(&mut self, now: Instant) {
        self.iface
            .poll_egress(stack_time(now), &mut self.wire, &mut self.sockets);
        self.iface.poll_maintenance(stack_time(now));
    }

    /// When something is due although nothing arrives.
    #[cold]
    pub fn deadline(&mut self, now: Instant, journal: &Journal) -> Option<Instant> {
        let stack = self
            .iface
            .poll_at(stack_time(now), &self.sockets)
            .map(|at| Instant(at.total_micros().max(0) as u64));
        let mut deadline = stack;
        let mut at = |other: Instant| {
            deadline = Some(deadline.map_or(other, |deadline| deadline.min(other)));
        };
        if self.lease.cidr.is_some() {
            if self.time_server.address.is_some() {
                at(self.time_at);
            }
            // Without room the lines wait for the stack, which says itself when.
            let has_room = self.sockets.get::<udp::Socket<'_>>(self.log).can_send();
            let is_more = self.log_sent < journal.written();
            if self.log_server.address.is_some() && is_more && has_room {
                at(now);
            }
            // Without somebody to ask, names wait for the lease that names one.
            if self.lease.dns.is_some() {
                for server in [&self.time_server, &self.log_server] {
                    let is_unknown = server.address.is_none() && server.query.is_none();
                    if !server.name.is_empty() && is_unknown {
                        at(server.ask_at);
                    }
                }
            }
        }
        deadline
    }

    #[cold]
    fn look_at_lease(&mut self) {
        let Some(dhcp) = self.dhcp else {
            return;
        };
        let event = self.sockets.get_mut::<dhcpv4::Socket<'_>>(dhcp).poll();
        let lease = match event {
            None => return,
            Some(dhcpv4::Event::Deconfigured) => Lease::default(),
            Some(dhcpv4::Event::Configured(config)) => {
                for option in config.packet.iter().flat_map(|packet| packet.options()) {
                    let address = option.data.first_chunk().map(|octets| {
                        let [a, b, c, d] = *octets;
                        Ipv4Address::new(a, b, c, d)
                    });
                    match (option.kind, address) {
                        (OPTION_LOG_SERVER, Some(address)) => self.log_server.offered(address),
                        (OPTION_TIME_SERVER, Some(address)) => self.time_server.offered(address),
                        (OPTION_HOSTNAME, _) if !self.named => {
                            let is_plain =
                                |byte: &u8| byte.is_ascii_alphanumeric() || b"-.".contains(byte);
                            let name = core::str::from_utf8(option.data).unwrap_or("");
                            if name.as_bytes().iter().all(is_plain) {
                                self.hostname = Text::new(name);
                            }
                        }
                        _ => {}
                    }
                }
                Lease {
                    cidr: Some(config.address),
                    router: config.router,
                    dns: config.dns_servers.first().copied(),
                    by_dhcp: true,
                }
            }
        };
        // The stack says so of every renewal, and forgets its neighbours when its
        // address is set: what it would send them next would be lost.
        if lease == self.lease {
            return;
        }
        let changed = lease.cidr != self.lease.cidr;
        self.lease = lease;
        apply(&mut self.iface, self.sockets.get_mut(self.dns), &lease);
        if let Some(cidr) = lease.cidr.filter(|_| changed) {
            log::info!("the DHCP server's address for us is {cidr}");
        } else if changed {
            log::warn!("the address from the DHCP server is no longer ours");
        }
    }

    #[cold]
    fn look_up_names(&mut self, now: Instant) {
        if self.lease.cidr.is_none() || self.lease.dns.is_none() {
            return;
        }
        let dns = self.sockets.get_mut::<dns::Socket<'_>>(self.dns);
        for server in [&mut self.log_server, &mut self.time_server] {
            match server.query {
                Some(query) => match dns.get_query_result(query) {
                    Err(dns::GetQueryResultError::Pending) => {}
                    Err(dns::GetQueryResultError::Failed) => server.query = None,
                    Ok(addresses) => {
                        server.query = None;
                        server.address = addresses.first().map(|address| match address {
                            IpAddress::Ipv4(address) => *address,
                        });
                    }
                },
                None if server.address.is_none()
                    && !server.name.is_empty()
                    && now >= server.ask_at =>
                {
                    server.ask_at = now + NAME_RETRY_US;
                    let (context, name) = (self.iface.context(), server.name);
                    server.query = dns
                        .start_query(context, name.as_str(), DnsQueryType::A)
                        .ok();
                }
                None => {}
            }
        }
    }

    #[cold]
    fn keep_time(&mut self, now: Instant) {
        let cookie = self.next_random();
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.time);
        // Ends: the socket holds eight packets.
        while let Ok((packet, from)) = socket.recv() {
            let Some((cookie, asked)) = self.asked else {
                continue;
            };
            if Some(from.endpoint) == self.time_server.endpoint()
                && let Some(unix_us) = time::answer(packet, cookie)
            {
                let way_back = (now - asked) / 2;
                let is_first = self.wall.unix_us(now).is_none();
                self.wall.set(now, unix_us + way_back);
                self.asked = None;
                self.time_at = now + TIME_EVERY_US;
                if is_first {
                    log::info!("the time is {}", self.wall.show(now));
                }
            }
        }
        let endpoint = self.time_server.endpoint();
        if let Some(endpoint) =
            endpoint.filter(|_| self.lease.cidr.is_some() && now >= self.time_at)
        {
            if self.asked.is_some() && !self.time_server.name.is_empty() {
                // No answer: the name may mean another server by now.
                let named = self.time_server.name;
                self.time_server = Server::new(named.as_str(), self.time_server.port);
            }
            self.time_at = now + TIME_RETRY_US;
            self.asked = Some((cookie, now));
            // A socket without room sends the next one.
            let _ = socket.send_slice(&time::question(cookie), endpoint);
        }
    }

    /// Sends new lines to the log server (RFC 5424, 6).
    #[cold]
    fn send_log(&mut self, journal: &Journal) {
        let Some(endpoint) = self.log_server.endpoint() else {
            return;
        };
        if self.lease.cidr.is_none() {
            return;
        }
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.log);
        self.log_sent = journal.first_from(self.log_sent);
        for _ in 0..LOG_LINES_PER_TURN {
            let Some(line) = journal.line(self.log_sent).filter(|_| socket.can_send()) else {
                return;
            };
            const DAEMON: u8 = 3;
            let mut message = Text::<400>::EMPTY;
            let priority = DAEMON * 8 + line.severity as u8;
            // `Text` takes everything and cuts.
            let _ = write!(message, "<{priority}>1 ");
            let _ = match self.wall.unix_us(line.at) {
                Some(us) => write!(message, "{}", time::Utc(us)),
                None => write!(message, "-"),
            };
            let host = if self.hostname.is_empty() {
                "-"
            } else {
                self.hostname.as_str()
            };
            let _ = write!(message, " {host} ublade - - - {}", line.text);
            let _ = socket.send_slice(message.as_str().as_bytes(), endpoint);
            self.log_sent += 1;
        }
    }

    /// Numbers that an outsider cannot guess as easily as a count: xorshift64.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

#[cold]
fn dhcp_socket(hostname: &str) -> dhcpv4::Socket<'static> {
    let mut socket = dhcpv4::Socket::new();
    socket.set_parameter_request_list(DHCP_ASKED);
    // A node lives until the machine stops: what it lends for ever is not lost.
    socket.set_receive_packet_buffer(Box::leak(vec![0; 1500].into_boxed_slice()));
    if !hostname.is_empty() {
        let data: &'static [u8] = Box::leak(Box::<[u8]>::from(hostname.as_bytes()));
        let option = DhcpOption {
            kind: OPTION_HOSTNAME,
            data,
        };
        socket.set_outgoing_options(Box::leak(vec![option].into_boxed_slice()));
    }
    socket
}

/// Makes `lease` what the stack works with.
#[cold]
fn apply(iface: &mut Interface, dns: &mut dns::Socket<'_>, lease: &Lease) {
    iface.update_ip_addrs(|addresses| {
        addresses.clear();
        if let Some(cidr) = lease.cidr {
            // There is room for two.
            let _ = addresses.push(IpCidr::Ipv4(cidr));
        }
    });
    let routes = iface.routes_mut();
    routes.remove_default_ipv4_route();
    if let Some(router) = lease.router {
        let _ = routes.add_default_ipv4_route(router);
    }
    let server = lease.dns.map(IpAddress::Ipv4);
    dns.update_servers(server.as_slice());
}

/// Our time as the stack counts it.
fn stack_time(now: Instant) -> StackInstant {
    StackInstant::from_micros(i64::try_from(now.0).unwrap_or(i64::MAX))
}
