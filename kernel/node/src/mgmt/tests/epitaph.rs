//! How a node ended before this start, and what it leaves to the next one.

use super::*;

#[test]
fn how_the_node_ended_is_shown_by_page_api_and_console() {
    let mut host = Host::new(FIXED);
    let status = host.get(50_000, "/api/v1/status");
    assert!(status.contains(",\"epitaph\":\"\"}\n"), "{status}");
    let page = host.get(50_001, "/");
    assert!(!page.contains("Before this start"), "{page}");

    let epitaph = "ublade stopped: a <reason> (a.rs:1)\nit had run for 7 s";
    host.world.node.remember(Text::new(epitaph));
    let status = host.get(50_002, "/api/v1/status");
    let told = "\"epitaph\":\"ublade stopped: a <reason> (a.rs:1)\\nit had run for 7 s\"}\n";
    assert!(status.ends_with(told), "{status}");
    let page = host.get(50_003, "/");
    assert!(page.contains("a &lt;reason&gt; (a.rs:1)"), "{page}");
    let shown = console::typed(&mut host.world, b"status\r");
    assert!(
        shown.contains("before this start:\r\nublade stopped: a <reason> (a.rs:1)\r\nit had run"),
        "{shown}"
    );
}

#[test]
fn the_figures_are_of_all_exports_and_end_with_the_last_things_of_note() {
    let mut world = World::build("shelf=5").disks(2).start();
    let before = world.node.happened();
    world.node.exports[0].work.note(aoe::IoOp::Read, 8);
    world.node.exports[1].work.note(aoe::IoOp::Read, 8);
    world.node.exports[1].work.failed = [2, 0, 0, 1, 0];
    for about in 0..20 {
        let event = crate::events::Event::DiskError;
        world.node.events.note(Instant(5000), event.into(), about);
    }
    assert_ne!(world.node.happened(), before);
    let mut text = Text::EMPTY;
    world
        .node
        .write_figures(&mut text)
        .expect("a text takes all");
    let lines: Vec<&str> = text.as_str().lines().collect();
    assert_eq!(
        lines[0],
        "requests: 2 read, 0 write, 0 verify, 0 flush, 0 discard, 3 failed"
    );
    assert_eq!(lines.len(), 9, "{text}");
    assert_eq!(lines[1], "at 5 ms: disk_error 12");
    assert_eq!(lines[8], "at 5 ms: disk_error 19");
}
