//! Somebody at the serial console.

use super::*;
use crate::mgmt::operate::Wish;
use crate::mgmt::pages::Show;
use crate::mgmt::terminal::{Command, LINE_BYTES};

/// Types `keys` and returns what is shown until nothing more comes.
pub(super) fn typed(world: &mut World, keys: &[u8]) -> String {
    world.node.type_in(keys);
    let mut shown = Vec::new();
    for _ in 0..400 {
        world.turn();
        let mut bytes = [0; 16];
        let len = world.node.answer_typing(&mut bytes);
        shown.extend_from_slice(&bytes[..len]);
    }
    String::from_utf8(shown).expect("what is shown is text")
}

fn world(settings: &str) -> World {
    let mut world = World::build("shelf=5").start();
    managed(&mut world, settings);
    world
}

fn with_boot_disk() -> World {
    let disks = vec![FakeDisk::new(7, 512), FakeDisk::new(0, 4096)];
    let mut world = World::build("shelf=5").with_disks(disks).state(0).start();
    managed(&mut world, "ip=off");
    world.settle();
    world
}

#[test]
fn every_command_shows_something_and_ends_with_a_prompt() {
    let mut world = World::build("shelf=5").ports(8).disks(255).start();
    managed(&mut world, "hostname=cellar\ntoken=secret");
    for _ in 0..200 {
        world
            .node
            .hear(b"warning: a long line in the log, of a hundred letters and so on\n");
    }
    for export in 0..3 {
        world.node.exports[export].latency.note(1 << (7 * export));
    }
    for (command, words) in [
        ("help", "set KEY=VALUE"),
        ("status", "serving: "),
        ("exports", "e5.254  2 MiB"),
        ("disks", "under way"),
        ("ports", "eth7  "),
        ("clients", "none"),
        ("hist", "< 256 \u{b5}s"),
        ("log", "a long line"),
        ("trace", "none"),
        ("set", "token=(hidden)  (ublade.conf)"),
        ("set", "export=auto  (default)"),
    ] {
        let mut shown = String::new();
        for key in [command, "\r"] {
            shown.push_str(&typed(&mut world, key.as_bytes()));
        }
        for _ in 0..8 {
            shown.push_str(&typed(&mut world, b""));
        }
        assert!(
            shown.starts_with(&alloc::format!("{command}\r\n")),
            "{shown}"
        );
        assert!(shown.contains(words), "{command}: {shown}");
        assert!(shown.ends_with("\r\nublade> "), "{command}: {shown}");
        assert!(!shown.contains("secret"));
    }
}

#[test]
fn a_line_is_edited_and_nothing_but_letters_gets_into_it() {
    let mut world = world("ip=off");
    assert_eq!(typed(&mut world, b"\r\n"), "\r\nublade> ");
    let shown = typed(&mut world, b"xs\x7f\x08trace\x15clientss\x1b[A\x1bOB\x08\n");
    assert!(
        shown.ends_with("clientss\x08 \x08\r\nnone\r\nublade> "),
        "{shown:?}"
    );
    assert!(typed(&mut world, b"what\r").contains("no such command"));
    assert_eq!(typed(&mut world, b"help\x03"), "^C\r\nublade> ");
    let long = typed(&mut world, &[b'x'; LINE_BYTES + 9]);
    assert_eq!(long.matches('\x07').count(), 9);
    typed(&mut world, b"\r");
    let shown = typed(&mut world, &[0, 0xff, 0xc3, 0xa9, 0x80]);
    assert_eq!(shown, "\x07".repeat(5));
}

#[test]
fn what_is_set_holds_now_or_later_and_lasts_when_it_is_saved() {
    let mut world = with_boot_disk();
    let shown = typed(&mut world, b"set hostname=cellar\r");
    assert!(
        shown.contains("hostname is set; in force now: hostname; save keeps it"),
        "{shown}"
    );
    assert_eq!(world.node.hostname.as_str(), "cellar");
    let shown = typed(&mut world, b"set rw=all\rset rw=none\rset mtu=1\r");
    assert!(
        shown.contains("rw is set; from the next start on: rw"),
        "{shown}"
    );
    assert!(shown.contains("mtu=1: an MTU is"), "{shown}");
    let shown = typed(&mut world, b"set\r");
    assert!(shown.contains("hostname=cellar  (set)"), "{shown}");
    assert!(
        shown.contains("rw=none  (set, for the next start)"),
        "{shown}"
    );
    assert!(
        !shown.contains("rw=all") && !shown.contains("mtu=1 "),
        "{shown}"
    );
    assert_eq!(world.node.keeper.saved(), b"");
    let shown = typed(&mut world, b"save\r");
    assert!(shown.contains("settings are saved"), "{shown}");
    assert_eq!(world.node.keeper.saved(), b"hostname=cellar\nrw=none\n");
    assert!(typed(&mut world, b"set\r").contains("hostname=cellar  (saved)"));
    let shown = typed(&mut world, b"unset rw\runset rw\rsave\r");
    assert!(shown.contains("rw is left to others"), "{shown}");
    assert!(shown.contains("nobody has set rw here"), "{shown}");
    assert_eq!(world.node.keeper.saved(), b"hostname=cellar\n");
    assert_eq!(
        world.node.keeper.previously_saved(),
        b"hostname=cellar\nrw=none\n"
    );
}

#[test]
fn what_was_saved_before_comes_back_and_goes_again() {
    let mut world = with_boot_disk();
    typed(&mut world, b"set hostname=cellar\rset rw=all\rsave\r");
    let first = b"hostname=cellar\nrw=all\n";
    assert_eq!(world.node.keeper.saved(), first);
    typed(&mut world, b"set hostname=attic\runset rw\rsave\r");
    assert_eq!(world.node.keeper.saved(), b"hostname=attic\n");
    let shown = typed(&mut world, b"restore\r");
    assert!(
        shown.contains("saved on the boot disk; in force now: hostname"),
        "{shown}"
    );
    assert_eq!(world.node.keeper.saved(), first);
    assert_eq!(world.node.hostname.as_str(), "cellar");
    // What can be set and saved next begins with it.
    typed(&mut world, b"restore\r");
    assert_eq!(world.node.keeper.saved(), b"hostname=attic\n");
    typed(&mut world, b"set log=warn\rsave\r");
    assert_eq!(world.node.keeper.saved(), b"hostname=attic\nlog=warn\n");
}

#[test]
fn a_save_is_told_when_it_is_durable() {
    let mut world = with_boot_disk();
    typed(&mut world, b"set rw=all\r");
    world.disk(0).pace = Pace::Manual;
    assert_eq!(typed(&mut world, b"save\r"), "save\r\n");
    world.disk(0).end_all();
    assert_eq!(typed(&mut world, b""), "", "written and not flushed");
    world.disk(0).end_all();
    let shown = typed(&mut world, b"");
    assert!(
        shown.starts_with("settings are saved") && shown.ends_with("ublade> "),
        "{shown}"
    );
}

#[test]
fn the_console_obeys_without_a_token() {
    let mut world = world("ip=off");
    assert!(typed(&mut world, b"offline 0\r").contains("e5.0 is offline"));
    assert!(!world.node.exports[0].online);
    assert!(typed(&mut world, b"online 0\ronline 9\r").contains("no export has slot 9"));
    assert!(world.node.exports[0].online);
    assert!(typed(&mut world, b"save\r").contains("no boot disk"));
    typed(&mut world, b"reboot\r");
    assert_eq!(world.node.closed(), Some(crate::Order::Restart));
}

#[test]
fn a_command_is_a_word_and_sometimes_its_object() {
    for (line, command) in [
        ("", Command::Nothing),
        ("  status  ", Command::Show(Show::Status)),
        ("status now", Command::Unknown),
        ("Status", Command::Unknown),
        ("set", Command::Show(Show::Settings)),
        ("set  a=b c ", Command::Do(Wish::Set, "a=b c")),
        ("unset", Command::Unknown),
        ("online", Command::Unknown),
        ("online 256", Command::Unknown),
        (
            "offline 254",
            Command::Do(
                Wish::Online {
                    slot: 254,
                    online: false,
                },
                "",
            ),
        ),
        ("token a b", Command::Token("a b")),
        ("reboot now", Command::Unknown),
    ] {
        assert_eq!(Command::parse(line), command, "{line:?}");
    }
}

#[test]
fn no_keys_at_all_make_it_panic() {
    let mut world = with_boot_disk();
    let mut random = crate::fake::Random(3);
    let words: [&[u8]; 8] = [
        b"set ", b"=", b"mask.", b"unset ", b"\r", b"online ", b"token ", b"\x1b[",
    ];
    for _ in 0..3_000 {
        let mut keys = Vec::new();
        for _ in 0..random.below(6) {
            match random.below(2) {
                0 => keys.extend_from_slice(words[random.below(8) as usize]),
                _ => keys.push(random.next() as u8),
            }
        }
        world.node.type_in(&keys);
        for _ in 0..random.below(20) {
            world.turn();
            let mut bytes = [0; 16];
            world.node.answer_typing(&mut bytes);
        }
    }
    let shown = typed(&mut world, b"\x03\x03\r");
    assert!(shown.ends_with("ublade> "), "{shown}");
}

#[test]
fn a_key_that_was_broken_off_swallows_no_line() {
    for end in [&b"\r"[..], b"\x03", b"\n"] {
        let mut world = world("ip=off");
        typed(&mut world, b"\x1b[");
        typed(&mut world, end);
        let shown = typed(&mut world, b"help\r");
        assert!(shown.contains("set KEY=VALUE"), "{end:?}: {shown}");
    }
}
