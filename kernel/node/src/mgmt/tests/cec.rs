//! Somebody at the Ethernet console, with a client played by hand.

use super::*;

struct Client {
    world: World,
    heard: u8,
    said: u8,
}

/// What a frame of the console is: kind, connection, number, data.
fn read(frame: &[u8]) -> Option<(u8, u8, u8, Vec<u8>)> {
    let is_it = frame[12..14] == [0xbc, 0xbc] && frame[..6] == HOST_MAC;
    assert!(!is_it || frame.len() >= 60);
    let len = usize::from(frame[17]);
    is_it.then(|| {
        (
            frame[14],
            frame[15],
            frame[16],
            frame[18..18 + len].to_vec(),
        )
    })
}

impl Client {
    fn new(settings: &str) -> Self {
        let mut world = World::build("shelf=5").start();
        managed(&mut world, settings);
        world.settle();
        world.left(0);
        Self {
            world,
            heard: 0,
            said: 0,
        }
    }

    fn send(&mut self, to: [u8; 6], head: [u8; 3], data: &[u8]) -> Vec<(u8, u8, u8, Vec<u8>)> {
        let mut frame = vec![];
        frame.extend(to);
        frame.extend(HOST_MAC);
        frame.extend([0xbc, 0xbc]);
        frame.extend(head);
        frame.push(data.len() as u8);
        frame.extend(data);
        frame.resize(frame.len().max(60), 0);
        self.world.nic(0).deliver(&frame);
        self.hear()
    }

    fn hear(&mut self) -> Vec<(u8, u8, u8, Vec<u8>)> {
        self.world.pass(20_000);
        let frames = self.world.left(0);
        frames.iter().filter_map(|frame| read(frame)).collect()
    }

    const NODE: [u8; 6] = [2, 0, 0, 0, 1, 0];

    fn open(&mut self) {
        assert_eq!(
            self.send(Self::NODE, [0, 0x2a, 0], b""),
            [(1, 0x2a, 0, vec![])]
        );
        assert_eq!(self.send(Self::NODE, [2, 0x2a, 0], b""), []);
        (self.heard, self.said) = (0, 0);
    }

    /// Types a line and returns what is shown, every piece acknowledged.
    fn typed(&mut self, line: &str) -> String {
        self.said = self.said.wrapping_add(1);
        let mut frames = self.send(Self::NODE, [3, 0x2a, self.said], line.as_bytes());
        assert!(frames.contains(&(4, 0x2a, self.said, vec![])), "{frames:?}");
        let mut shown = Vec::new();
        while let Some((_, _, number, data)) = frames.iter().find(|frame| frame.0 == 3) {
            assert_eq!(*number, self.heard.wrapping_add(1), "one after the other");
            self.heard = *number;
            shown.extend(data);
            frames = self.send(Self::NODE, [4, 0x2a, self.heard], b"");
        }
        String::from_utf8(shown).expect("it is text")
    }
}

#[test]
fn who_looks_around_finds_the_shelf_and_its_name() {
    for (to, name) in [([0xff; 6], "5 cellar"), (Client::NODE, "5 cellar")] {
        let mut client = Client::new("ip=off\ncec=on\nhostname=cellar");
        let offers = client.send(to, [5, 0, 0], b"");
        assert_eq!(offers, [(6, 0, 0, name.as_bytes().to_vec())]);
    }
    let mut client = Client::new("cec=on");
    assert_eq!(client.send([0xff; 6], [5, 0, 0], b"")[0].3, b"5 ublade");
    assert_eq!(client.send([2, 0, 0, 0, 7, 7], [5, 0, 0], b""), []);
    let mut client = Client::new("ip=off");
    assert_eq!(client.send([0xff; 6], [5, 0, 0], b""), [], "it is off");
}

#[test]
fn a_client_reads_and_changes_only_with_the_token() {
    let mut client = Client::new("ip=off\ncec=on\ntoken=secret");
    client.open();
    let shown = client.typed("exports\r");
    assert!(
        shown.contains("e5.0  2 MiB") && shown.ends_with("ublade> "),
        "{shown}"
    );
    assert!(client.typed("help\r").contains("set KEY=VALUE"));
    assert!(client.typed("offline 0\r").contains("say token"));
    assert!(client.typed("token secreT\r").contains("that is not it"));
    assert!(client.world.node.exports[0].online);
    assert!(client.typed("token secret\r").contains("open to you"));
    assert!(client.typed("offline 0\r").contains("e5.0 is offline"));
    assert!(!client.world.node.exports[0].online);
    client.send(Client::NODE, [7, 0x2a, 0], b"");
    client.open();
    assert!(
        client.typed("online 0\r").contains("say token"),
        "a new guest"
    );
    let mut client = Client::new("ip=off\ncec=on");
    client.open();
    assert!(client.typed("reboot\r").contains("read-only"));
    assert!(client.typed("token \rreboot\r").contains("read-only"));
    client.world.assert_all_frames_are_there();
}

#[test]
fn what_is_lost_is_said_again_and_what_comes_twice_counts_once() {
    let mut client = Client::new("ip=off\ncec=on");
    client.open();
    client.send(Client::NODE, [3, 0x2a, 1], b"x");
    let again = client.send(Client::NODE, [3, 0x2a, 1], b"x");
    assert_eq!(
        again,
        [(4, 0x2a, 1, vec![])],
        "acknowledged, not typed again"
    );
    // The echo was never acknowledged: twice more, then the client is given up.
    let mut echoes = 0;
    for _ in 0..50 {
        client.world.pass(100_000);
        echoes += client.hear().iter().filter(|frame| frame.0 == 3).count();
    }
    assert_eq!(echoes, 2);
    let answer = client.send(Client::NODE, [3, 0x2a, 2], b"y");
    assert_eq!(
        answer,
        [(7, 0x2a, 2, vec![])],
        "it is told that it is forgotten"
    );
    client.world.assert_all_frames_are_there();
}

#[test]
fn who_comes_later_has_the_terminal() {
    let mut client = Client::new("ip=off\ncec=on");
    client.open();
    client.send(Client::NODE, [0, 0x2b, 0], b"");
    let told = client.send(Client::NODE, [2, 0x2b, 0], b"");
    assert_eq!(told, [(7, 0x2a, 0, vec![])]);
    let answer = client.send(Client::NODE, [3, 0x2b, 1], b"h");
    assert_eq!(answer[0], (4, 0x2b, 1, vec![]));
}

#[test]
fn any_frame_of_the_console_is_harmless() {
    let mut client = Client::new("ip=off\ncec=on\ntoken=x");
    let mut random = crate::fake::Random(5);
    for _ in 0..20_000 {
        let mut frame = vec![0; 14 + random.below(300) as usize];
        frame.fill_with(|| random.next() as u8);
        frame[..6].copy_from_slice(&Client::NODE);
        frame[12..14].copy_from_slice(&[0xbc, 0xbc]);
        if frame.len() > 16 {
            frame[14] %= 9;
            frame[15] %= 3;
        }
        client.world.nic(0).deliver(&frame);
        if random.below(4) == 0 {
            client.world.turn();
            client.world.left(0);
        }
    }
    client.world.pass(20_000_000);
    client.world.settle();
    client.world.assert_all_frames_are_there();
}
