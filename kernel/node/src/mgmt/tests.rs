//! The management plane from the other end of the wire: a second IP stack, played
//! by hand, with the node's own clock.

mod cec;
mod console;
mod epitaph;
mod operator;

use super::pages::{Document, Topic};
use super::wire::Wire;
use super::*;
use crate::config::Source;
use crate::fake::{FakeDisk, Pace, World};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use smoltcp::iface::{Config as StackConfig, Interface, SocketHandle, SocketSet};
use smoltcp::socket::{tcp, udp};
use smoltcp::time::Instant as StackInstant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr, IpEndpoint, Ipv4Address};

const NODE: Ipv4Address = Ipv4Address::new(10, 0, 0, 5);
const HOST: Ipv4Address = Ipv4Address::new(10, 0, 0, 1);
const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 9, 9];

struct Host {
    world: World,
    wire: Wire,
    iface: Interface,
    sockets: SocketSet<'static>,
    tag: Option<[u8; 4]>,
}

fn managed(world: &mut World, settings: &str) {
    let mut config = Box::new(Config::new());
    config.parse(Source::File, settings.as_bytes());
    config.parse(Source::Saved, world.node.keeper.saved());
    assert_eq!(config.problems(), []);
    let boot = crate::Boot {
        route: "PVH",
        memory_bytes: 64 << 20,
        boot_us: 1234,
    };
    world.node.open_management(&config, &boot, 7);
}

impl Host {
    fn with(mut world: World, settings: &str) -> Self {
        managed(&mut world, settings);
        let mut wire = Wire::new();
        let address = HardwareAddress::Ethernet(EthernetAddress(HOST_MAC));
        let mut iface = Interface::new(
            StackConfig::new(address),
            &mut wire,
            StackInstant::from_micros(world.now.0 as i64),
        );
        iface.update_ip_addrs(|addresses| {
            addresses
                .push(IpCidr::new(IpAddress::Ipv4(HOST), 24))
                .expect("there is room");
        });
        Self {
            world,
            wire,
            iface,
            sockets: SocketSet::new(Vec::new()),
            tag: None,
        }
    }

    fn new(settings: &str) -> Self {
        Self::with(World::build("shelf=5").start(), settings)
    }

    /// A millisecond goes by on both sides.
    fn turn(&mut self) {
        let now = StackInstant::from_micros(self.world.now.0 as i64);
        self.iface.poll(now, &mut self.wire, &mut self.sockets);
        while let Some(frame) = self.wire.next() {
            let mut bytes = frame.to_vec();
            if let Some(tag) = self.tag {
                bytes.splice(12..12, tag);
            }
            self.wire.sent();
            self.world.nic(0).deliver(&bytes);
        }
        for _ in 0..20 {
            self.world.now = self.world.now + 50;
            self.world.node.step(self.world.now);
        }
        for frame in self.world.left(0) {
            let tag: [u8; 4] = frame[12..16].try_into().expect("a frame is longer");
            let rest = match self.tag {
                Some(own) if own == tag => &frame[16..],
                _ => &frame[12..],
            };
            // A host of 1,500 bytes does not hear the jumbo frames of AoE.
            let _ = self.wire.take(&frame[..12], rest);
        }
    }

    fn connect(&mut self, local: u16) -> SocketHandle {
        let buffer = |bytes| tcp::SocketBuffer::new(vec![0; bytes]);
        let mut socket = tcp::Socket::new(buffer(65_535), buffer(8192));
        let remote = IpEndpoint::new(IpAddress::Ipv4(NODE), 80);
        socket
            .connect(self.iface.context(), remote, local)
            .expect("a fresh socket connects");
        self.sockets.add(socket)
    }

    fn socket(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// Sends `request` and returns everything up to the end, which is text.
    fn ask(&mut self, local: u16, request: &str) -> String {
        let answer = self.ask_for_bytes(local, request, |_| {});
        String::from_utf8(answer).expect("an answer is text")
    }

    /// Sends `request` and returns everything up to the end; `meanwhile` is called
    /// once a millisecond.
    fn ask_for_bytes(
        &mut self,
        local: u16,
        request: &str,
        meanwhile: impl Fn(&mut World),
    ) -> Vec<u8> {
        let handle = self.connect(local);
        let mut answer = Vec::new();
        let mut sent = 0;
        for _ in 0..5_000 {
            self.turn();
            meanwhile(&mut self.world);
            let socket = self.socket(handle);
            if socket.can_send() && sent < request.len() {
                sent += socket
                    .send_slice(&request.as_bytes()[sent..])
                    .expect("it can send");
            }
            let mut piece = [0; 4096];
            while let Ok(len @ 1..) = socket.recv_slice(&mut piece) {
                answer.extend_from_slice(&piece[..len]);
            }
            if sent == request.len() && !socket.may_recv() {
                socket.close();
                break;
            }
        }
        for _ in 0..20 {
            self.turn();
        }
        self.sockets.remove(handle);
        answer
    }

    fn get(&mut self, local: u16, path: &str) -> String {
        self.ask(local, &alloc::format!("GET {path} HTTP/1.0\r\n\r\n"))
    }
}

const FIXED: &str = "ip=10.0.0.5/24,10.0.0.1";

/// Every path that is there.
const PATHS: [&str; 14] = [
    "/",
    "/metrics",
    "/healthz",
    "/readyz",
    "/api/v1/status",
    "/api/v1/exports",
    "/api/v1/exports/0/masks",
    "/api/v1/exports/0/reservation",
    "/api/v1/disks",
    "/api/v1/ports",
    "/api/v1/clients",
    "/api/v1/config",
    "/api/v1/log",
    "/api/v1/trace",
];

#[test]
fn every_document_is_whole_however_much_there_is_to_tell() {
    let world = World::build("shelf=5\nrw=all\nnonsense=1")
        .ports(8)
        .disks(255)
        .start();
    let mut host = Host::with(
        world,
        &alloc::format!("{FIXED}\ntoken=secret\nhostname=cellar"),
    );
    for number in 0..200 {
        let line = alloc::format!("warning: <b>{number}</b> {}\n", "x\"".repeat(90));
        host.world.node.hear(line.as_bytes());
    }
    let epitaph = ("\"".repeat(300) + "\n" + &"<\\\n".repeat(20)).repeat(5);
    host.world.node.remember(Text::new(&epitaph));
    for client in 0..2000_u32 {
        let mut wire = [0; 14];
        wire[6..10].copy_from_slice(&client.to_be_bytes());
        host.world
            .node
            .clients
            .note(host.world.now, &wire, (client % 8) as u8, client as u8);
    }
    for (local, path) in (50_000..).zip(PATHS) {
        let answer = host.get(local, path);
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{path}: {head}");
        match path {
            "/" => {
                assert!(body.ends_with("</body></html>\n"));
                assert!(body.len() < 40 << 10, "{} bytes", body.len());
                assert!(body.contains("e5.0"));
                assert!(!body.contains("<b>199</b>"), "a text stays a text");
                assert_eq!(
                    body.matches("<section").count(),
                    body.matches("</section>").count()
                );
            }
            "/metrics" => {
                assert!(body.contains("node_disk_reads_completed_total{device=\"e5.254\"} 0\n"));
                assert!(body.contains("ublade_stage_duration_seconds_count{stage=\"flush\"} 0\n"));
                assert!(body.contains("nodename=\"cellar\""));
                assert!(body.contains("device=\"e5.254\",model=\"\",serial=\"S254\"} 1\n"));
                assert!(body.contains("ublade_requests_failed_total{op=\"discard\"} 0\n"));
                // One piece that no list interrupts.
                let from = body.find("# HELP ublade_build_info").expect("it begins");
                let to = body.find("# HELP ublade_requests_total").expect("it ends");
                assert!(to - from < out::PIECE_BYTES - 300, "{} bytes", to - from);
            }
            "/api/v1/exports" => assert_eq!(body.matches("\"address\"").count(), 255),
            "/api/v1/log" => assert_eq!(body.matches("\"severity\"").count(), journal::LINES_MAX),
            "/api/v1/clients" => assert!(body.matches("\"mac\"").count() > 100),
            _ => {}
        }
        if path.starts_with("/api") {
            let is_object = body.starts_with('{') && body.ends_with("}\n");
            assert!(
                is_object || body.starts_with('[') && body.ends_with("]\n"),
                "{path}"
            );
            assert!(!body.contains(",]") && !body.contains(",,"), "{path}");
        }
    }
    host.world.assert_all_frames_are_there();
}

#[test]
fn an_answer_in_chunks_is_the_same_text() {
    let mut host = Host::new(FIXED);
    let answer = host.ask(50_000, "GET /api/v1/exports HTTP/1.1\r\nHost: node\r\n\r\n");
    let (head, mut rest) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.contains("Transfer-Encoding: chunked"));
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n").expect("a size");
        let size = usize::from_str_radix(size, 16).expect("a number");
        body.push_str(&after[..size]);
        rest = &after[size + 2..];
        if size == 0 {
            break;
        }
    }
    assert!(rest.is_empty());
    assert!(body.starts_with("[\n{\"address\":\"e5.0\"") && body.ends_with("]\n"));
}

#[test]
fn whoever_is_too_slow_makes_room_for_the_next() {
    let mut host = Host::new(FIXED);
    assert!(host.get(49_999, "/healthz").ends_with("alive\n"));
    for local in 40_000..40_000 + 3 * http::CONNECTIONS as u16 {
        host.connect(local);
        for _ in 0..5 {
            host.turn();
        }
    }
    let answer = host.get(50_000, "/healthz");
    assert!(answer.ends_with("alive\n"), "{answer}");
    for _ in 0..20_000 {
        host.turn();
    }
    let counts = host.get(50_001, "/api/v1/status");
    assert!(!counts.contains("\"cut_off\":0"), "{counts}");
    host.world.assert_all_frames_are_there();
}

#[test]
fn a_request_byte_by_byte_is_answered_and_one_that_stops_is_cut_off() {
    let mut host = Host::new(FIXED);
    assert!(host.get(49_999, "/healthz").ends_with("alive\n"));
    let handle = host.connect(50_000);
    for _ in 0..10 {
        host.turn();
    }
    for byte in b"GET /healthz HTTP/1.0\r\n\r" {
        host.socket(handle)
            .send_slice(&[*byte])
            .expect("it can send");
        host.turn();
    }
    assert!(!host.socket(handle).can_recv());
    for _ in 0..10_500 {
        host.turn();
    }
    assert!(!host.socket(handle).is_active(), "ten seconds are enough");
}

#[test]
fn a_token_opens_orders_and_nothing_else_does() {
    let mut host = Host::new(&alloc::format!("{FIXED}\ntoken=secret"));
    let answer = host.ask(
        50_000,
        "POST /api/v1/reboot HTTP/1.0\r\nAuthorization: Bearer secreT\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert_eq!(host.world.node.closed(), None);
    let answer = host.ask(
        50_001,
        "POST /api/v1/reboot HTTP/1.0\r\nAuthorization: Bearer secret\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    for _ in 0..100 {
        host.turn();
    }
    assert_eq!(host.world.node.closed(), Some(crate::Order::Restart));
}

#[test]
fn an_export_that_another_node_has_is_told_everywhere_with_his_address() {
    let mut world = World::build("shelf=5").disks(2).start();
    world.left(0);
    world.node.ask_before_going_online(7);
    world.turn();
    let mut answer = world.left(0).pop().expect("it asks");
    answer.copy_within(6..12, 0);
    answer[6..12].copy_from_slice(&HOST_MAC);
    answer[14] |= 8;
    answer[18] = 1;
    world.nic(0).deliver(&answer);
    world.pass(300_000);
    let mut host = Host::with(world, FIXED);
    let is_at = "offline as long as 02:00:00:00:09:09 answers for it";
    for (local, (path, words)) in (50_000..).zip([
        (
            "/",
            alloc::format!("<li>e5.1 is {is_at}. It comes by itself"),
        ),
        ("/", alloc::format!(", <b>{is_at}</b>")),
        (
            "/api/v1/exports",
            alloc::format!("\"standing\":\"{is_at}\""),
        ),
        (
            "/api/v1/exports",
            "\"claimed_by\":\"02:00:00:00:09:09\"".into(),
        ),
        ("/api/v1/exports", "\"standing\":\"online\"".into()),
        (
            "/api/v1/status",
            "\"reason\":\"02:00:00:00:09:09 answers for e5.1, too\"".into(),
        ),
        (
            "/metrics",
            "ublade_export_online{device=\"e5.0\"} 1\n".into(),
        ),
        (
            "/metrics",
            "ublade_export_online{device=\"e5.1\"} 0\n".into(),
        ),
        (
            "/metrics",
            "ublade_export_claimed{device=\"e5.0\"} 0\n".into(),
        ),
        (
            "/metrics",
            "ublade_export_claimed{device=\"e5.1\"} 1\n".into(),
        ),
    ]) {
        let answer = host.get(local, path);
        assert!(answer.contains(&words), "{path}: no {words} in {answer}");
    }
    host.world.node.set_online(1, false);
    let answer = host.get(50_020, "/api/v1/exports");
    assert!(answer.contains("offline until it is told"), "{answer}");
    assert!(host.get(50_021, "/readyz").contains("serving"));
    host.world.node.set_online(0, false);
    let answer = host.get(50_022, "/api/v1/status");
    assert!(answer.contains("every export is offline"), "{answer}");
}

#[test]
fn a_node_that_can_not_serve_is_alive_and_not_ready() {
    let world = World::build("shelf=5").disks(0).start();
    let mut host = Host::with(world, FIXED);
    assert!(host.get(50_000, "/healthz").starts_with("HTTP/1.1 200"));
    let answer = host.get(50_001, "/readyz");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(host.get(50_002, "/etc/passwd").starts_with("HTTP/1.1 404"));
}

#[test]
fn a_vlan_hides_management_from_everybody_else() {
    let mut host = Host::new(&alloc::format!("{FIXED}\nvlan=7"));
    assert!(host.get(50_000, "/healthz").is_empty());
    host.tag = Some([0x81, 0, 0, 8]);
    assert!(host.get(50_001, "/healthz").is_empty());
    host.tag = Some([0x81, 0, 0, 7]);
    assert!(host.get(50_002, "/healthz").ends_with("alive\n"));
}

#[test]
fn management_that_is_off_answers_nothing() {
    let mut host = Host::new("ip=off");
    assert!(host.get(50_000, "/healthz").is_empty());
    let events = host.world.node.events();
    assert_eq!(events.count_of(Event::ManagementReceived.into()), 0);
    assert_eq!(events.count_of(Event::ManagementSent.into()), 0);
}

#[test]
fn the_port_without_a_link_is_left_for_one_that_has_one() {
    let world = World::build("shelf=5").ports(2).start();
    let mut host = Host::with(world, FIXED);
    assert!(host.get(50_000, "/healthz").ends_with("alive\n"));
    host.world.nic(0).link = false;
    host.world.nic(0).changed = true;
    host.world.pass(3_000_000);
    let port = |host: &Host| {
        let management = host.world.node.management.as_ref();
        management.and_then(|management| management.facts.port)
    };
    assert_eq!(port(&host), Some(1));
    host.world.nic(0).link = true;
    host.world.nic(0).changed = true;
    host.world.pass(3_000_000);
    assert_eq!(port(&host), Some(1), "it stays where it is well");
}

/// Servers that can not be asked, each for another reason: the node waits for them
/// asleep. Nobody is on the other end of the wire.
#[test]
fn a_server_that_can_not_be_reached_keeps_no_node_awake() {
    for settings in [
        // Nobody knows names.
        "ip=10.0.0.5/24\nsyslog=log.example\nntp=time.example",
        // Who knows them does not answer.
        "ip=10.0.0.5/24,10.0.0.1,10.0.0.1\nsyslog=log.example\nntp=time.example",
        // Nobody has that address.
        "ip=10.0.0.5/24\nsyslog=10.0.0.77\nntp=10.0.0.78",
        // There is no way to it.
        "ip=10.0.0.5/24\nsyslog=192.168.7.7\nntp=192.168.7.8",
    ] {
        let mut world = World::build("shelf=5").start();
        managed(&mut world, settings);
        for _ in 0..100 {
            world.node.hear(b"a line of the log\n");
        }
        let (end, mut turns) = (world.now + 120_000_000, 0);
        while world.now < end {
            while world.turn() {
                turns += 1;
                assert!(turns < 5_000, "{settings}: awake at {:?}", world.now);
            }
            turns += 1;
            world.now = world.now.max(world.node.next_deadline());
            assert!(turns < 5_000, "{settings}: awake at {:?}", world.now);
        }
    }
}

#[test]
fn lines_reach_the_log_server_and_the_time_comes_back() {
    let mut host = Host::new(&alloc::format!(
        "{FIXED}\nsyslog=10.0.0.1\nntp=10.0.0.1\nhostname=cellar"
    ));
    let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 8], vec![0; 4096]);
    let mut bound = |port: u16| {
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(port).expect("a port");
        host.sockets.add(socket)
    };
    let (log, time) = (bound(514), bound(123));
    host.world.node.hear(b"warning: the first line\n");
    let mut lines = Vec::new();
    for turn in 0..2_000 {
        host.turn();
        if turn == 1_000 {
            host.world.node.hear(b"the second line\n");
        }
        let socket = host.sockets.get_mut::<udp::Socket<'_>>(time);
        if let Ok((question, from)) = socket.recv() {
            let mut answer = [0; time::PACKET_BYTES];
            (answer[0], answer[1]) = (4 << 3 | 4, 2);
            answer[24..32].copy_from_slice(&question[40..48]);
            answer[40..44].copy_from_slice(&3_913_056_000_u32.to_be_bytes());
            let to = from.endpoint;
            socket.send_slice(&answer, to).expect("there is room");
        }
        let socket = host.sockets.get_mut::<udp::Socket<'_>>(log);
        while let Ok((line, _)) = socket.recv() {
            lines.push(String::from_utf8(line.to_vec()).expect("a line is text"));
        }
    }
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0], "<28>1 - cellar ublade - - - the first line");
    assert!(
        lines[1].starts_with("<30>1 2024-01-01T00:00:0"),
        "{lines:?}"
    );
    assert!(lines[1].ends_with(" cellar ublade - - - the second line"));
}

#[test]
fn a_flood_of_frames_for_management_holds_up_no_request() {
    let mut host = Host::new(FIXED);
    let mac = [2, 0, 0, 0, 1, 0];
    for round in 0..200_u32 {
        for number in 0..24_u8 {
            let mut junk = [number; 600];
            junk[..6].copy_from_slice(&mac);
            junk[12..14].copy_from_slice(&IPV4);
            host.world.nic(0).deliver(&junk);
        }
        let mut query = [0; 60];
        query[..6].fill(0xff);
        query[6..12].copy_from_slice(&HOST_MAC);
        query[12..14].copy_from_slice(&[0x88, 0xa2]);
        query[14] = 0x10;
        query[16..19].copy_from_slice(&[0xff; 3]);
        query[19] = 1;
        query[20..24].copy_from_slice(&round.to_be_bytes());
        host.world.nic(0).deliver(&query);
        host.world.turn();
        host.world.turn();
        let answers = host.world.left(0);
        let is_ours = |frame: &&Vec<u8>| frame[20..24] == round.to_be_bytes();
        assert!(answers.iter().any(|frame| is_ours(&frame)), "round {round}");
    }
    let events = host.world.node.events();
    assert!(events.count_of(Event::ManagementDropped.into()) > 0);
    host.world.assert_all_frames_are_there();
}

#[test]
fn any_frame_at_all_is_harmless() {
    let mut host = Host::new("ip=dhcp\nsyslog=log.example\nntp=10.0.0.1");
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..20_000 {
        let len = 14 + (random() % 400) as usize;
        let mut bytes: Vec<u8> = (0..len).map(|_| random() as u8).collect();
        bytes[..6].copy_from_slice(&[2, 0, 0, 0, 1, 0]);
        bytes[12..14].copy_from_slice(if random() % 8 == 0 { &ARP } else { &IPV4 });
        if random() % 2 == 0 && len > 42 {
            // An IP packet that is nearly right, for a port that listens.
            bytes[14] = 0x45;
            bytes[16..18].copy_from_slice(&((len - 14) as u16).to_be_bytes());
            bytes[20..22].fill(0);
            bytes[23] = [1, 6, 17][(random() % 3) as usize];
            bytes[30..34].copy_from_slice(&[255, 255, 255, 255]);
            let port = [68_u16, 80, 49_123][(random() % 3) as usize];
            bytes[36..38].copy_from_slice(&port.to_be_bytes());
            bytes[24..26].fill(0);
            let sum = bytes[14..34]
                .chunks(2)
                .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
                .sum::<u32>();
            let sum = (sum & 0xffff) + (sum >> 16);
            let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
            bytes[24..26].copy_from_slice(&sum.to_be_bytes());
            // No checksum is a good checksum, in UDP.
            bytes[40..42].fill(0);
        }
        host.world.nic(0).deliver(&bytes);
        host.world.turn();
        host.world.left(0);
    }
    host.world.settle();
    host.world.assert_all_frames_are_there();
}

/// The blocks of a pcapng file: kind and body.
fn blocks(mut bytes: &[u8]) -> Vec<(u32, &[u8])> {
    let word =
        |bytes: &[u8], at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().expect("a word"));
    let mut blocks = Vec::new();
    while !bytes.is_empty() {
        let len = word(bytes, 4) as usize;
        assert!(len >= 12 && len.is_multiple_of(4) && len <= bytes.len());
        assert_eq!(
            word(bytes, len - 4) as usize,
            len,
            "the length stands twice"
        );
        blocks.push((word(bytes, 0), &bytes[8..len - 4]));
        bytes = &bytes[len..];
    }
    blocks
}

#[test]
fn who_looks_on_gets_a_file_of_the_frames_that_pass() {
    let world = World::build("shelf=5").ports(2).start();
    let mut host = Host::with(world, FIXED);
    assert!(host.get(50_000, "/healthz").ends_with("alive\n"));
    assert!(!host.world.node.capture.is_on);
    let query = |world: &mut World| {
        let mut query = [0; 60];
        query[..6].fill(0xff);
        query[6..12].copy_from_slice(&HOST_MAC);
        query[12..14].copy_from_slice(&[0x88, 0xa2]);
        query[14] = 0x10;
        query[16..19].copy_from_slice(&[0xff; 3]);
        query[19] = 1;
        query[20..24].copy_from_slice(&(world.now.0 as u32).to_be_bytes());
        world.nic(1).deliver(&query);
    };
    let answer = host.ask_for_bytes(50_001, "GET /debug/pcap?seconds=2 HTTP/1.0\r\n\r\n", query);
    let head_len = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, file) = answer.split_at(head_len.expect("a head") + 4);
    assert!(head.starts_with(b"HTTP/1.1 200 OK"));
    let blocks = blocks(file);
    assert_eq!(blocks[0].0, 0x0a0d_0d0a);
    assert_eq!(blocks[0].1[..4], [0x4d, 0x3c, 0x2b, 0x1a]);
    assert_eq!((blocks[1].0, blocks[2].0), (1, 1));
    assert!(blocks[2].1[12..].starts_with(b"eth1"));
    let mut ways = [0, 0];
    let mut last = 0;
    for (kind, body) in &blocks[3..] {
        assert_eq!(*kind, 6);
        let word = |at: usize| u32::from_le_bytes(*body[at..].first_chunk().expect("a word"));
        let at = u64::from(word(4)) << 32 | u64::from(word(8));
        assert!(at >= last, "frames are in order of time");
        last = at;
        let kept = word(12) as usize;
        let flags = word(20 + kept.next_multiple_of(4) + 4);
        if body[32..34] == [0x88, 0xa2] && word(0) == 1 {
            ways[flags as usize - 1] += 1;
        }
        assert_ne!((body[32], body[33], body[43]), (8, 0, 6), "not its own TCP");
    }
    assert!(ways[0] > 1_900 && ways[1] > 1_900, "{ways:?}");
    assert!(!host.world.node.capture.is_on);
    host.world.assert_all_frames_are_there();
}

#[test]
fn a_capture_wants_the_token_if_there_is_one() {
    let mut host = Host::new(&alloc::format!("{FIXED}\ntoken=secret"));
    let answer = host.get(50_000, "/debug/pcap");
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(!host.world.node.capture.is_on);
    let mut host = Host::new(FIXED);
    for (local, query) in (50_000..).zip(["seconds=0", "seconds=61", "seconds=", "minutes=1"]) {
        let answer = host.get(local, &alloc::format!("/debug/pcap?{query}"));
        assert!(answer.starts_with("HTTP/1.1 400"), "{query}: {answer}");
    }
    let answer = host.ask(50_009, "POST /debug/pcap HTTP/1.0\r\n\r\n");
    assert!(
        answer.contains("405") && answer.contains("Allow: GET\r\n"),
        "{answer}"
    );
    assert!(!host.world.node.capture.is_on);
}

#[test]
fn what_the_api_has_can_be_found() {
    for path in PATHS.iter().filter(|path| !path.contains("exports/")) {
        assert!(Document::at(path).is_some(), "{path}");
    }
    assert_eq!(
        Document::at("/api/v1/status"),
        Some(Document::Api(Topic::Status))
    );
    assert_eq!(Document::at("/api"), None);
}

#[test]
fn a_part_of_the_page_without_words_ends_nothing() {
    let world = World::build("shelf=5").each_nic(|nic| nic.mtu = 9000);
    let mut host = Host::with(world.start(), FIXED);
    host.world.node.warnings.clear();
    let page = host.get(50_000, "/");
    assert!(!page.contains("Worth a look"), "{page}");
    assert!(page.ends_with("</html>\n"), "{page}");
}

#[test]
fn a_small_mtu_is_worth_a_word_where_hosts_would_gain() {
    let hint = |settings: &str, ports, client: Option<u8>| {
        let world = World::build(&alloc::format!("shelf=5\n{settings}"));
        let mut host = Host::with(world.ports(ports).start(), FIXED);
        if let Some(port) = client {
            let now = host.world.now;
            host.world.node.clients.note(now, &[2; 14], port, 0);
        }
        let page = host.get(50_000, "/");
        let words = |port| {
            alloc::format!("eth{port} has MTU 1500, so a request carries 1,024 bytes; with 9000")
        };
        [0, 1].map(|port| page.contains(&words(port)))
    };
    // The first port carries the page; alone it is for everybody.
    assert_eq!(hint("", 1, None), [true, false]);
    assert_eq!(hint("", 2, None), [false, true]);
    assert_eq!(hint("", 2, Some(0)), [true, true]);
    assert_eq!(hint("", 2, Some(1)), [false, true]);
    // What the operator wants is not worth a word. The fake card has 1,500.
    assert_eq!(hint("mtu=1400", 2, Some(0)), [false, false]);
}

#[test]
fn the_state_is_told_with_its_reason_and_what_happened_with_its_name() {
    let mut host = Host::new(FIXED);
    let page = host.get(50_000, "/");
    assert!(!page.contains("has reported errors"));
    let now = host.world.now;
    let node = &mut host.world.node;
    node.stations[0].failing = true;
    node.exports[0].latency.note(70);
    node.events
        .note(now, crate::events::Event::DiskError.into(), 0);
    let page = host.get(50_001, "/");
    assert!(page.contains("has reported errors"), "{page}");
    assert!(page.contains("eth0 has MTU 1500"), "{page}");
    assert!(page.contains("<rect x="), "what was counted is drawn");
    let trace = host.get(50_002, "/api/v1/trace");
    assert!(
        trace.contains("\"what\":\"disk_error\",\"about\":0"),
        "{trace}"
    );
}
