//! What somebody with the token may change, asked over HTTP.

use super::*;
use alloc::format;
use core::mem;

const OPEN: &str = "token=secret";

/// A boot disk, a data disk behind it, and `settings` in `ublade.conf`.
fn with_boot_disk(settings: &str, disks: Vec<FakeDisk>) -> Host {
    let file = format!("shelf=5\n{settings}\n{OPEN}");
    let mut world = World::build(&file).with_disks(disks).state(0).start();
    world.settle();
    Host::with(world, &format!("{FIXED}\n{OPEN}"))
}

fn disks() -> Vec<FakeDisk> {
    vec![FakeDisk::new(7, 512), FakeDisk::new(0, 4096)]
}

/// The disks as a power cut leaves them.
fn cut_power(mut host: Host) -> Vec<FakeDisk> {
    let stations = host.world.node.stations.drain(..);
    let mut disks: Vec<_> = stations.map(|station| station.disk).collect();
    disks.iter_mut().for_each(FakeDisk::cut_power);
    mem::forget(host);
    disks
}

impl Host {
    fn tell(&mut self, local: u16, what: &str, body: &str) -> String {
        self.ask(
            local,
            &format!(
                "{what} HTTP/1.0\r\nAuthorization: Bearer secret\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ),
        )
    }

    /// Whether the first export answers a question for everybody.
    fn hears(&mut self) -> bool {
        self.world.left(0);
        let mut query = [0; 60];
        query[..6].fill(0xff);
        query[6..12].copy_from_slice(&HOST_MAC);
        query[12..14].copy_from_slice(&[0x88, 0xa2]);
        query[14] = 0x10;
        query[16..19].copy_from_slice(&[0xff; 3]);
        query[19] = 1;
        query[20] = 0x77;
        self.world.nic(0).deliver(&query);
        self.world.settle();
        let answers = self.world.left(0);
        answers
            .iter()
            .any(|frame| frame[12..14] == [0x88, 0xa2] && frame[20] == 0x77)
    }
}

#[track_caller]
fn assert_told(answer: &str, status: u16, words: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(head.contains("application/json"), "{head}");
    let key = if status < 300 { "done" } else { "error" };
    assert!(body.starts_with(&format!("{{\"{key}\":\"")), "{body}");
    assert!(body.ends_with("\"}\n") && body.contains(words), "{body}");
}

#[test]
fn an_export_goes_offline_and_comes_back() {
    let world = World::build("shelf=5").start();
    let mut host = Host::with(world, &format!("{FIXED}\n{OPEN}"));
    assert!(host.hears());
    let answer = host.tell(50_000, "POST /api/v1/exports/0/offline", "");
    assert_told(&answer, 200, "e5.0 is offline");
    assert!(!host.hears());
    let exports = host.get(50_001, "/api/v1/exports");
    assert!(exports.contains("\"slot\":0,\"online\":false"), "{exports}");
    let answer = host.tell(50_002, "POST /api/v1/exports/0/online", "");
    assert_told(&answer, 200, "e5.0 is online");
    assert!(host.hears());
    let answer = host.tell(50_003, "POST /api/v1/exports/9/online", "");
    assert_told(&answer, 404, "no export has slot 9");
    let answer = host.ask(50_004, "POST /api/v1/exports/0/offline HTTP/1.0\r\n\r\n");
    assert_told(&answer, 401, "Authorization");
    let answer = host.get(50_005, "/api/v1/exports/0/offline");
    assert_told(&answer, 405, "Allow");
    assert!(answer.contains("\r\nAllow: POST\r\n"), "{answer}");
    assert!(host.hears());
}

#[test]
fn a_mask_list_decides_who_sees_an_export_and_is_read_again() {
    let mut host = with_boot_disk("", disks());
    let answer = host.tell(50_000, "PUT /api/v1/exports/0/masks", "52:54:00:00:00:01,");
    assert_told(&answer, 200, "1 hosts may see it");
    assert!(!host.hears());
    let list = format!("[\"52:54:00:00:00:01\", \"{}\"]", aoe::Mac(HOST_MAC));
    let answer = host.tell(50_001, "PUT /api/v1/exports/0/masks", &list);
    assert_told(&answer, 200, "2 hosts may see it");
    assert!(host.hears());
    let masks = host.get(50_002, "/api/v1/exports/0/masks");
    assert!(
        masks.ends_with("[\n\"52:54:00:00:00:01\",\n\"02:00:00:00:09:09\"]\n"),
        "{masks}"
    );
    for (local, (bad, words)) in (50_003..).zip([
        ("52:54:00:00:00:01 nobody", "nobody: an Ethernet address"),
        ("01:00:00:00:00:01", "group address"),
        ("\u{e9}", "an Ethernet address"),
    ]) {
        let answer = host.tell(local, "PUT /api/v1/exports/0/masks", bad);
        assert_told(&answer, 400, words);
    }
    let many = "02:00:00:00:00:01 ".repeat(186);
    let answer = host.tell(50_010, "PUT /api/v1/exports/0/masks", &many);
    assert_told(&answer, 400, "room for 185 addresses");
    let answer = host.tell(
        50_011,
        "PUT /api/v1/exports/0/reservation",
        "02:00:00:00:00:07",
    );
    assert_told(&answer, 200, "1 hosts have reserved it");
    let host = with_boot_disk("", cut_power(host));
    let target = &host.world.node.exports[0].target;
    assert_eq!(target.masks().len(), 2, "it was durable");
    assert_eq!(target.reservation(), [aoe::Mac([2, 0, 0, 0, 0, 7])]);
    let mut host = host;
    let answer = host.tell(50_012, "PUT /api/v1/exports/0/reservation", "");
    assert_told(&answer, 200, "nobody has reserved it");
    let answer = host.tell(50_013, "PUT /api/v1/exports/0/masks", " ");
    assert_told(&answer, 200, "everybody may see it");
}

#[test]
fn saved_settings_hold_from_the_next_start_on() {
    let mut host = with_boot_disk("log=warn", disks());
    let text = "rw=all\n# a remark\nhostname=cellar\n";
    let answer = host.tell(50_000, "PUT /api/v1/config", text);
    assert_told(
        &answer,
        200,
        "settings are saved on the boot disk; in force now: hostname; from the next start on: rw",
    );
    let config = host.get(50_001, "/api/v1/config");
    for row in [
        "{\"key\":\"hostname\",\"value\":\"cellar\",\"source\":\"saved\",\"in_force\":true}",
        "{\"key\":\"rw\",\"value\":\"all\",\"source\":\"saved\",\"in_force\":false}",
        "{\"key\":\"token\",\"value\":\"(hidden)\",\"source\":\"ublade.conf\",\"in_force\":true}",
        "{\"key\":\"export\",\"value\":\"auto\",\"source\":\"default\",\"in_force\":true}",
    ] {
        assert!(config.contains(row), "{row} is not in {config}");
    }
    assert!(!config.contains("secret"));
    let export = &host.world.node.exports[0];
    assert_ne!(export.planned.access, crate::plan::Access::ReadWrite);

    let mut host = with_boot_disk("log=warn", cut_power(host));
    let export = &host.world.node.exports[0];
    assert_eq!(export.planned.access, crate::plan::Access::ReadWrite);
    let answer = host.tell(50_002, "PUT /api/v1/config", "hostname=attic\n");
    assert_told(
        &answer,
        200,
        "in force now: hostname; from the next start on: rw",
    );
    let answer = host.tell(50_003, "POST /api/v1/config/previous", "");
    assert_told(&answer, 200, "in force now: hostname");
    assert_eq!(host.world.node.keeper.saved(), text.as_bytes());

    // Somebody edits the file: that is the last word.
    let host = with_boot_disk("log=error", cut_power(host));
    assert_eq!(host.world.node.keeper.saved(), b"");
    assert_eq!(host.world.node.keeper.previously_saved(), text.as_bytes());
    let warned = host
        .world
        .node
        .warnings()
        .any(|line| line.contains("was edited"));
    assert!(warned);
}

#[test]
fn settings_that_a_start_could_not_use_are_refused_and_change_nothing() {
    let mut host = with_boot_disk("", disks());
    host.tell(50_000, "PUT /api/v1/config", "mtu=1500");
    for (local, (text, words)) in (50_001..).zip([
        ("shelf=1\ncache=some\nbuffers=1", "line 2: cache=some: "),
        ("cache=some\nbuffers=1\nshelf=-1", "(and 2 more)"),
        ("colour=blue", "no such setting"),
        ("token", "the = is missing"),
    ]) {
        let answer = host.tell(local, "PUT /api/v1/config", text);
        assert_told(&answer, 400, words);
        assert_eq!(host.world.node.keeper.saved(), b"mtu=1500");
    }
    let long = "# long\n".repeat(450);
    let answer = host.tell(50_008, "PUT /api/v1/config", &long);
    assert_told(&answer, 413, "3072 bytes");
    let longer = "# longer\n".repeat(500);
    let answer = host.tell(50_009, "PUT /api/v1/config", &longer);
    assert_told(&answer, 413, "4096 bytes");
    assert_eq!(host.world.node.keeper.saved(), b"mtu=1500");

    let world = World::build("shelf=5").start();
    let mut host = Host::with(world, &format!("{FIXED}\n{OPEN}"));
    let answer = host.tell(50_010, "PUT /api/v1/config", "mtu=1500");
    assert_told(&answer, 409, "no boot disk");
}

#[test]
fn nobody_hears_that_it_is_saved_before_it_is_durable() {
    let mut host = with_boot_disk("", disks());
    assert!(host.get(50_000, "/healthz").ends_with("alive\n"));
    host.world.disk(0).pace = Pace::Manual;
    let handle = host.connect(50_001);
    let request = "PUT /api/v1/config HTTP/1.0\r\nAuthorization: Bearer secret\r\nContent-Length: 8\r\n\r\nmtu=1500";
    for _ in 0..20 {
        host.turn();
    }
    let sent = host.socket(handle).send_slice(request.as_bytes());
    assert_eq!(sent, Ok(request.len()));
    let mut steps = 0;
    while !host.socket(handle).can_recv() {
        for _ in 0..20 {
            host.turn();
        }
        assert_eq!(host.socket(handle).can_recv(), steps == 2, "write, flush");
        if host.world.disk(0).under_way() > 0 {
            host.world.disk(0).end_all();
            steps += 1;
        }
    }
    assert_eq!(steps, 2);
    host.world.disk(0).pace = Pace::AtOnce;
    host.world.settle();
    host.world.assert_all_frames_are_there();
}
