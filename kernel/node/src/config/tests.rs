//! One test a promise: precedence, places, and that nothing written stops us.

use super::*;
use crate::mgmt::address::Wanted;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

fn config(texts: &[(Source, &str)]) -> Box<Config> {
    let mut config = Box::new(Config::new());
    for (source, text) in texts {
        config.parse(*source, text.as_bytes());
    }
    config
}

fn command_line(text: &str) -> Box<Config> {
    config(&[(Source::CommandLine, text)])
}

fn problems(config: &Config) -> Vec<String> {
    config.problems().iter().map(ToString::to_string).collect()
}

#[test]
fn every_key_is_read_and_only_unbuilt_features_are_reported() {
    let config = command_line(
        "ublade.shelf=7 ublade.export=auto ublade.rw=0,WD-1 ublade.slot.3=serial:WD-1,ro \
         ublade.ram.9=64M ublade.mask.3=52:54:00:00:00:01 ublade.mask.all=52:54:00:00:00:02 \
         ublade.cache=writeback ublade.cache.3=writethrough ublade.errors.3=silent \
         ublade.net.data=all ublade.mtu=1500 ublade.buffers=64 hostname=cellar ublade.http=off \
         ublade.log=debug console=ttyS0,115200 panic=0 ublade.cpus=1 ublade.poll=50",
    );
    assert_eq!(problems(&config), [""; 0]);
    assert_eq!(config.shelf.value, Some(7));
    assert_eq!(config.shelf.source, Source::CommandLine);
    assert_eq!(config.pins[0].value.slot, 3);
    assert_eq!(config.rams().collect::<Vec<_>>(), [(9, 64 << 20)]);
    assert_eq!(config.cache_of(0), Cache::WriteBack);
    assert_eq!(config.cache_of(3), Cache::WriteThrough);
    assert_eq!(config.errors_of(3), Errors::Silent);
    assert_eq!(
        config.masks_of(3).collect::<Vec<_>>(),
        [Mac([0x52, 0x54, 0, 0, 0, 1])]
    );
    assert_eq!(
        config.masks_of(4).collect::<Vec<_>>(),
        [Mac([0x52, 0x54, 0, 0, 0, 2])]
    );
    assert_eq!(config.mtu.value, Some(1500));
    assert_eq!(config.hostname.value.as_str(), "cellar");
    assert_eq!(config.panic.value, None);
    assert_eq!(config.poll.value, Some(50));

    let config = command_line(
        "ip=dhcp ublade.net.mgmt=1 ublade.vlan=5 ublade.syslog=a ublade.ntp=b ublade.http=8080 \
         ublade.token=c",
    );
    assert_eq!(config.problems(), []);
    assert_eq!(config.vlan.value, Some(5));
    assert_eq!(config.http.value, Some(8080));
    assert_eq!(command_line("").http.value, Some(80));
    assert_eq!(command_line("ublade.http=off").http.value, None);
}

#[test]
fn a_world_wide_name_is_read_as_linux_writes_it() {
    for (text, digits) in [
        ("0x5000C500a1b2c3d4", "5000c500a1b2c3d4"),
        ("eui.0025385b00000001", "0025385b00000001"),
        ("naa.5000c500a1b2c3d4", "5000c500a1b2c3d4"),
        (
            "600508b1001c0123456789abcdef0123",
            "600508b1001c0123456789abcdef0123",
        ),
    ] {
        let config = command_line(&["ublade.slot.0=wwn:", text].concat());
        assert_eq!(config.problems(), []);
        let pin = config.pins.iter().next().expect("it is pinned").value;
        assert_eq!(pin.disk, Selector::Wwn(io::Text::new(digits)));
    }
    for text in ["", "1", "0x5000c500a1b2c3dg", "5000c500a1b2c3d400"] {
        let config = command_line(&["ublade.slot.0=wwn:", text].concat());
        let problem = &problems(&config)[0];
        assert!(problem.ends_with("has 16 or 32 hexadecimal digits; not used"));
    }
}

#[test]
fn the_last_word_wins_and_is_remembered_with_its_source() {
    let config = config(&[
        (Source::File, "shelf=1\nrw=all\nmtu=1500"),
        (Source::CommandLine, "ublade.shelf=2 ublade.shelf=3"),
    ]);
    assert_eq!(config.shelf.value, Some(3));
    assert_eq!(config.shelf.source, Source::CommandLine);
    assert_eq!(config.mtu.source, Source::File);
    assert_eq!(config.cache.source, Source::Default);
}

#[test]
fn consoles_of_one_place_add_up_and_those_of_a_later_one_replace_them() {
    let both = command_line("console=tty0 quiet console=ttyS1,9600");
    assert_eq!(both.console.value.as_str(), "tty0 ttyS1,9600");
    let later = config(&[
        (Source::File, "console=tty0\nconsole=ttyS1"),
        (Source::CommandLine, "console=ttyS0"),
    ]);
    assert_eq!(later.console.value.as_str(), "ttyS0");
    let long = "x".repeat(99);
    let refused = command_line(&alloc::format!("console=tty0 console={long}"));
    assert_eq!(refused.console.value.as_str(), "tty0");
}

#[test]
fn a_bad_value_is_named_with_key_text_and_place_and_the_one_before_it_stays() {
    let config = config(&[
        (Source::File, "\nshelf=1\n"),
        (Source::CommandLine, "quiet ublade.shelf=4095"),
    ]);
    assert_eq!(config.shelf.value, Some(1));
    assert_eq!(
        problems(&config),
        [
            "command line, byte 7: shelf=4095: a shelf is a number from 0 to 65534, but not 4095, which Linux refuses; not used"
        ]
    );
    let config = self::config(&[(Source::File, "# x\n\nbuffers=1")]);
    assert_eq!(
        problems(&config),
        [
            "ublade.conf, line 3: buffers=1: buffers are a number from 2 to 1024; Linux stands still with fewer; not used"
        ]
    );
}

#[test]
fn a_number_or_a_list_just_outside_of_its_limits_is_named_and_has_no_effect() {
    let many = |count: usize| {
        let list: Vec<String> = (0..count).map(|slot| slot.to_string()).collect();
        list.join(",")
    };
    for (key, good, bad) in [
        ("vlan", "1", "0"),
        ("vlan", "4094", "4095"),
        ("http", "1", "0"),
        ("http", "65535", "65536"),
        ("buffers", "2", "1"),
        ("buffers", "1024", "1025"),
        ("ram.1", "4K", "0"),
        ("ram.1", "8K", "4097"),
        ("cpus", "1", "0"),
        ("panic", "86400", "86401"),
        ("panic", "-1", "-"),
        ("rw", &many(32), &many(33)),
    ] {
        let set = |value| alloc::format!("{key}={value}");
        assert_eq!(problems(&config(&[(Source::File, &set(good))])), [""; 0]);
        let config = config(&[(Source::File, &set(bad))]);
        let problems = problems(&config);
        assert_eq!(problems.len(), 1, "{key}={bad}");
        assert!(problems[0].ends_with("; not used"), "{problems:?}");
        let start = &bad[..bad.len().min(20)];
        assert!(problems[0].contains(&set(start)), "{problems:?}");
    }
}

#[test]
fn an_unknown_key_is_named() {
    for line in [
        "ublade.shelv=1",
        "ublade.slut.3=x",
        "ublade.=x",
        "ublade.rw.1=all",
        "ublade.slot=1",
    ] {
        let config = command_line(line);
        assert_eq!(
            config.problems()[0].complaint,
            Complaint::UnknownKey,
            "{line}"
        );
    }
    assert!(command_line("ublade.slot.255=serial:A").problems().len() == 1);
}

#[test]
fn a_secret_is_not_shown() {
    let long = "x".repeat(65);
    let config = command_line(&alloc::format!("ublade.token=hunter2{long}"));
    assert_eq!(config.problems().len(), 1);
    assert!(!problems(&config)[0].contains("hunter2"));
}

#[test]
fn a_dhcp_server_sets_no_safety_key() {
    let config = config(&[(Source::Dhcp, "rw=all\nmask.all=\nhostname=cellar\nshelf=3")]);
    assert_eq!(config.hostname.value.as_str(), "cellar");
    assert!(matches!(config.rw.value, Selection::None));
    assert_eq!(config.shelf.value, None);
    assert_eq!(config.problems().len(), 3);
}

#[test]
fn a_list_of_who_may_talk_never_opens_by_a_mistake() {
    let config = command_line("ublade.mask.1=nonsense ublade.mask.2=nonsense,52:54:00:00:00:01");
    assert_eq!(config.masks_of(1).collect::<Vec<_>>(), [NOBODY]);
    assert!(
        config
            .masks_of(2)
            .any(|mac| mac == Mac([0x52, 0x54, 0, 0, 0, 1]))
    );
    assert_eq!(config.problems().len(), 2);
    assert_eq!(config.masks_of(3).count(), 0);

    let many = "52:54:00:00:00:01,".repeat(MASKS_MAX) + "52:54:00:00:00:02";
    let config = self::config(&[(
        Source::File,
        &alloc::format!("mask.1={many}\nmask.2=52:54:00:00:00:02"),
    )]);
    assert_eq!(config.masks_of(2).collect::<Vec<_>>(), [NOBODY]);
}

#[test]
fn an_empty_list_takes_an_earlier_one_back() {
    let config = config(&[
        (Source::File, "mask.1=52:54:00:00:00:01"),
        (Source::CommandLine, "ublade.mask.1="),
    ]);
    assert_eq!(config.masks_of(1).count(), 0);
    assert_eq!(config.problems().len(), 0);
}

#[test]
fn a_pin_that_cannot_be_read_keeps_its_slot() {
    let config = command_line("ublade.slot.3=serial:A,r0");
    assert_eq!(config.pins[0].value.disk, Selector::Unreadable);
    assert_eq!(config.problems().len(), 1);
}

#[test]
fn a_later_pin_or_ram_disk_replaces_the_one_of_the_same_slot() {
    let config = command_line(
        "ublade.slot.3=serial:A ublade.slot.3=serial:B ublade.ram.1=4K ublade.ram.1=8K",
    );
    assert_eq!(config.pins.len(), 1);
    assert_eq!(config.pins[0].value.disk, Selector::Serial(Text::new("B")));
    assert_eq!(config.rams().collect::<Vec<_>>(), [(1, 8192)]);
}

#[test]
fn problems_beyond_the_list_are_counted() {
    let text = "ublade.x=1 ".repeat(PROBLEMS_MAX + 5);
    let config = command_line(&text);
    assert_eq!(config.problems().len(), PROBLEMS_MAX);
    assert_eq!(config.problems_more(), 5);
}

#[test]
fn no_bytes_at_all_stop_the_parser() {
    let alphabet = b"ublade.slot.3=serial:,ro offset\"#\n\0\xff=64M:rw mask";
    let mut state = 0x9e37_79b9_u32;
    let mut config = Box::new(Config::new());
    for _ in 0..20_000 {
        let text: Vec<u8> = (0..32)
            .map(|_| {
                // xorshift32: any sequence will do, as long as it is always the same.
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                alphabet[state as usize % alphabet.len()]
            })
            .collect();
        config.parse(Source::CommandLine, &text);
        config.parse(Source::File, &text);
        let line = [b"ublade.slot.", &text[..]].concat();
        config.parse(Source::CommandLine, &line);
    }
}

#[test]
fn every_value_is_shown_with_the_channel_that_had_the_last_word() {
    let mut config = Box::new(Config::new());
    config.parse(Source::File, b"shelf=7\nrw=all\nshelf=x\ntoken=secret");
    config.parse(Source::FwCfg, b"rw=none");
    config.parse(
        Source::CommandLine,
        b"quiet ublade.buffers=1 ublade.mtu=1500",
    );
    let said: Vec<_> = config.said().iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "shelf=7 (ublade.conf)",
            "token=(hidden) (ublade.conf)",
            "rw=none (fw_cfg)",
            "mtu=1500 (command line)"
        ]
    );
}

#[test]
fn a_watchdog_is_off_or_has_a_time_in_which_a_node_can_come_round() {
    for (value, holds) in [
        ("off", None),
        ("5", Some(5)),
        ("600", Some(600)),
        ("4", Some(30)),
        ("601", Some(30)),
        ("on", Some(30)),
        ("0", Some(30)),
    ] {
        let config = command_line(&alloc::format!("ublade.watchdog={value}"));
        assert_eq!(config.watchdog.value, holds, "{value}");
        let is_taken = config.watchdog.source == Source::CommandLine;
        assert_eq!(config.problems().is_empty(), is_taken, "{value}");
    }
}

#[test]
fn every_default_is_what_holds_anyway() {
    for (key, value) in DEFAULTS {
        let line = alloc::format!("{key}={value}");
        let config = config(&[(Source::File, line.as_str())]);
        assert_eq!(config.problems(), [], "{line}");
        assert!(matches!(config.export.value, Selection::All), "{line}");
        assert!(matches!(config.rw.value, Selection::None), "{line}");
        assert_eq!(config.errors.value, Errors::Ata, "{line}");
        assert_eq!(config.cache.value, Cache::WriteThrough, "{line}");
        assert!(config.net_data.value.is_empty() && config.net_mgmt.value.is_empty());
        assert_eq!((config.mtu.value, config.cpus.value), (None, Some(1)));
        assert_eq!(config.poll.value, None, "{line}");
        let ip = config.ip.value;
        assert!(ip.is_empty() || Wanted::parse(ip.as_str()) == Some(Wanted::Dhcp));
        assert_eq!((config.http.value, config.cec.value), (Some(80), false));
        assert_eq!(config.log.value, LogLevel::Info, "{line}");
        assert_eq!(config.watchdog.value, Some(30), "{line}");
        assert_eq!(config.panic.value, Some(10), "{line}");
        assert_eq!(config.masks_of(0).count(), 0, "{line}");
    }
}

#[test]
fn saved_settings_are_stronger_than_the_file_and_weaker_than_the_machine() {
    let config = config(&[
        (Source::File, "shelf=1\nlog=debug\nmtu=1500"),
        (Source::Saved, "shelf=2\nlog=warn"),
        (Source::Smbios, "shelf=3"),
    ]);
    assert_eq!(
        (config.shelf.value, config.shelf.source),
        (Some(3), Source::Smbios)
    );
    assert_eq!(
        (config.log.value, config.log.source),
        (LogLevel::Warn, Source::Saved)
    );
    assert_eq!(
        (config.mtu.value, config.mtu.source),
        (Some(1500), Source::File)
    );
}

#[test]
fn what_is_measured_is_a_word_and_two_small_numbers() {
    let disk = |depth, sectors| Some(Measure::Disk { depth, sectors });
    for (text, expected) in [
        ("off", None),
        ("echo", Some(Measure::Echo)),
        ("disk", disk(32, 2)),
        ("disk,1", disk(1, 2)),
        ("disk,64,17", disk(64, 17)),
    ] {
        let config = config(&[(Source::File, &alloc::format!("measure={text}"))]);
        assert_eq!(config.measure.value, expected, "{text}");
        assert_eq!(config.problems(), [], "{text}");
    }
    for text in [
        "",
        "on",
        "echo,1",
        "disk,0",
        "disk,65",
        "disk,1,18",
        "disk,1,2,3",
        "disk,",
    ] {
        let config = config(&[(Source::File, &alloc::format!("measure={text}"))]);
        assert_eq!(config.measure.value, None, "{text}");
        assert_eq!(config.problems().len(), 1, "{text}");
    }
}
