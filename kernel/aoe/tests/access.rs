//! Commands 2 and 3: mask list and reservation.

mod common;

use aoe::limits::{MASKS_MAX, MEMBERS_MAX};
use aoe::{Change, Drop, Mac, Policy, Refusal};
use common::{Bench, Frame, Got, HOST, OTHER, medium};

const NONE: u8 = 0;
const ADD: u8 = 1;
const DELETE: u8 = 2;

const SET: u8 = 1;
const FORCE: u8 = 2;

fn mac(number: usize) -> Mac {
    Mac([2, 1, 0, 0, (number >> 8) as u8, number as u8])
}

/// Sends an edit that must be done as a whole.
fn edit(bench: &mut Bench, directives: &[(u8, Mac)]) -> Vec<u8> {
    let answer = bench.send(&Frame::mask(1, directives)).answer();
    assert_eq!((answer.refusal, answer.bytes[26]), (None, 0));
    answer.bytes
}

/// The entries of a mask answer.
fn entries(answer: &[u8]) -> Vec<Mac> {
    let count = usize::from(answer[27]);
    let entry = |index: usize| {
        let at = 28 + 8 * index;
        assert_eq!(answer[at..at + 2], [0, 0], "R-081: directives zero");
        Mac(*answer[at + 2..].first_chunk().unwrap())
    };
    (0..count).map(entry).collect()
}

#[test]
fn an_edit_is_answered_with_the_whole_list_as_a_read_is() {
    //
    let mut bench = Bench::new();
    assert_eq!(
        entries(&edit(&mut bench, &[(ADD, HOST), (ADD, OTHER)])),
        [HOST, OTHER]
    );
    assert_eq!(
        entries(&edit(&mut bench, &[(ADD, mac(1))])),
        [HOST, OTHER, mac(1)]
    );
    let read = bench.send(&Frame::mask(0, &[])).answer();
    assert_eq!(read.bytes[24..28], [0, 0, 0, 3]);
    assert_eq!(entries(&read.bytes), [HOST, OTHER, mac(1)]);
    assert_eq!(
        entries(&edit(&mut bench, &[(DELETE, OTHER)])),
        [HOST, mac(1)]
    );
    // neither the reserved byte nor a count or error that a read has no use
    // for comes back.
    let lying = Frame::mask(0, &[]).byte(24, 9).byte(26, 9).byte(27, 200);
    assert_eq!(bench.send(&lying).answer().bytes[24..27], [0, 0, 0]);
    assert_eq!(entries(&bench.send(&lying).answer().bytes), [HOST, mac(1)]);
}

#[test]
fn who_is_not_listed_does_not_exist() {
    //
    let mut bench = Bench::new();
    edit(&mut bench, &[(ADD, HOST)]);
    let frames = [
        Frame::read(0, 1),
        Frame::ata(0xec, 0, 1, 0),
        Frame::config(0, b""),
        Frame::config(0, b"").to(Mac::BROADCAST).at(0xffff, 0xff),
        Frame::mask(0, &[]),
        Frame::mask(1, &[(ADD, OTHER)]),
        Frame::reserve(2, &[OTHER]),
        Frame::command(9),
        Frame::command(0).byte(14, 0x20),
    ];
    for frame in frames {
        let got = bench.send(&frame.from(OTHER));
        assert_eq!(got, Got::Dropped(Drop::Masked));
    }
    bench.send(&Frame::read(0, 1)).answer();
}

#[test]
fn adding_twice_and_deleting_what_is_not_there_succeed() {
    // R-083 R-078
    let mut bench = Bench::new();
    edit(&mut bench, &[(ADD, HOST)]);
    assert_eq!(bench.changes(), [Change::Masks]);
    let same = edit(&mut bench, &[(ADD, HOST), (DELETE, OTHER), (NONE, OTHER)]);
    assert_eq!(entries(&same), [HOST]);
    assert_eq!(bench.changes(), [], "nothing has changed");
}

#[test]
fn the_first_bad_directive_ends_an_edit_and_what_was_done_stays() {
    //
    for bad in 3..=255 {
        let mut bench = Bench::new();
        let directives = [(ADD, HOST), (bad, OTHER), (ADD, mac(1))];
        let answer = bench.send(&Frame::mask(1, &directives)).answer();
        assert_eq!(answer.refusal, Some(Refusal::MaskDirective));
        assert_eq!(answer.bytes[14], 0x18, "E is not set");
        assert_eq!(answer.bytes[24..28], [0, 1, 2, 1]);
        assert!(answer.bytes[28..].iter().all(|&byte| byte == 0));
        assert_eq!(bench.target.masks(), [HOST]);
        assert_eq!(bench.changes(), [Change::Masks]);
    }
}

#[test]
fn the_list_is_full_at_185_and_still_fits_its_answer() {
    //
    let mut bench = Bench::new();
    let directives: Vec<_> = (1..MASKS_MAX).map(|number| (ADD, mac(number))).collect();
    edit(&mut bench, &[(ADD, HOST)]);
    let answer = edit(&mut bench, &directives);
    assert_eq!(entries(&answer).len(), 185);
    assert_eq!(answer.len(), 28 + 8 * 185);
    edit(&mut bench, &[(ADD, mac(184))]);
    let full = bench
        .send(&Frame::mask(1, &[(NONE, HOST), (ADD, OTHER)]))
        .answer();
    assert_eq!(full.refusal, Some(Refusal::MaskFull));
    assert_eq!(full.bytes[24..28], [0, 1, 3, 1]);
    let swap = [(DELETE, mac(1)), (ADD, OTHER)];
    assert_eq!(entries(&edit(&mut bench, &swap)).len(), 185);
}

#[test]
fn a_tag_takes_its_four_bytes_from_the_room_for_entries() {
    // R-085 R-111: 76 bytes leave, six entries behind the headers, or five and a tag.
    let directives: Vec<_> = (0..7).map(|number| (ADD, mac(number))).collect();
    let frame = Frame::mask(1, &directives);
    for (frame, room) in [(frame.clone(), 6), (frame.tagged([0x81, 0, 0, 5]), 5)] {
        let mut bench = Bench::new().mtu(62);
        let answer = bench.send(&frame.from(mac(0))).answer();
        assert_eq!(answer.refusal, Some(Refusal::MaskFull));
        assert_eq!(bench.target.masks().len(), room);
    }
}

#[test]
fn a_small_port_takes_no_more_entries_than_its_answers_carry() {
    //
    let mut bench = Bench::new().mtu(86);
    let directives: Vec<_> = (0..9).map(|number| (ADD, mac(number))).collect();
    edit(&mut bench, &[(ADD, HOST)]);
    let answer = bench.send(&Frame::mask(1, &directives)).answer();
    assert_eq!(
        (answer.refusal, answer.bytes[27]),
        (Some(Refusal::MaskFull), 8)
    );
    let read = bench.send(&Frame::mask(0, &[])).answer();
    assert_eq!(entries(&read.bytes).len(), 9);
}

#[test]
fn more_directives_than_the_frame_holds_are_not_done_at_all() {
    //
    let mut bench = Bench::new();
    for len in 28..44 {
        let frame = Frame::mask(1, &[(ADD, HOST), (ADD, OTHER)]).cut(len);
        let answer = bench.send(&frame).answer();
        assert_eq!(answer.refusal, Some(Refusal::MaskCount));
        assert_eq!(answer.bytes[14..16], [0x1c, 2]);
    }
    assert!(bench.target.masks().is_empty());
    let many = Frame::mask(1, &[(NONE, HOST)]).byte(27, 255);
    assert_eq!(bench.send(&many).answer().refusal, Some(Refusal::MaskCount));
    bench.send(&many.and(&[0; 254 * 8])).answer();
}

#[test]
fn undefined_mask_commands_are_refused() {
    //
    let mut bench = Bench::new();
    for command in 2..=255 {
        let answer = bench.send(&Frame::mask(command, &[])).answer();
        assert_eq!(answer.refusal, Some(Refusal::UnknownMaskCommand));
    }
}

#[test]
fn what_the_operator_has_listed_stays() {
    //
    let policy = Policy {
        masks: &[HOST, OTHER, HOST],
        ..Policy::default()
    };
    let mut bench = Bench::with(medium(), policy);
    assert_eq!(bench.target.masks(), [HOST, OTHER]);
    let stranger = bench.send(&Frame::read(0, 1).from(mac(1)));
    assert_eq!(stranger, Got::Dropped(Drop::Masked));
    edit(&mut bench, &[(ADD, mac(1))]);
    let answer = bench
        .send(&Frame::mask(1, &[(DELETE, mac(1)), (DELETE, OTHER)]))
        .answer();
    assert_eq!(answer.refusal, Some(Refusal::MaskPermanent));
    assert_eq!(answer.bytes[24..28], [0, 1, 1, 1]);
    assert_eq!(bench.target.masks(), [HOST, OTHER]);
}

#[test]
fn an_operator_list_beyond_the_limit_keeps_the_rest_out() {
    let many: Vec<_> = (0..MASKS_MAX + 5).map(mac).collect();
    let policy = Policy {
        masks: &many,
        ..Policy::default()
    };
    let bench = Bench::with(medium(), policy);
    assert_eq!(bench.target.masks(), &many[..MASKS_MAX]);
}

/// Members of a reserve answer.
fn members(answer: &[u8]) -> Vec<Mac> {
    let count = usize::from(answer[25]);
    let member = |index: usize| Mac(*answer[26 + 6 * index..].first_chunk().unwrap());
    (0..count).map(member).collect()
}

fn reserve(bench: &mut Bench, members: &[Mac]) {
    let answer = bench.send(&Frame::reserve(SET, members)).answer();
    assert_eq!(answer.refusal, None);
}

#[test]
fn a_reservation_keeps_others_from_the_disk_but_not_from_asking_who_it_is() {
    // R-090 R-093 R-094
    let mut bench = Bench::new();
    reserve(&mut bench, &[HOST]);
    let data = [1; 512];
    for opcode in 0..=255 {
        let frame = Frame::ata(opcode, 0x40, 1, 0).and(&data);
        let refusal = bench.send(&frame.from(OTHER)).answer().refusal;
        let expected = (opcode != 0xec).then_some(Refusal::Reserved);
        assert_eq!(refusal, expected, "opcode {opcode:02x}");
    }
    assert!(bench.written.is_empty());
    for frame in [
        Frame::config(0, b""),
        Frame::mask(0, &[]),
        Frame::reserve(0, &[]),
    ] {
        assert_eq!(bench.send(&frame.from(OTHER)).answer().refusal, None);
    }
    bench.send(&Frame::write(0, &data)).answer();
    assert_eq!(bench.written.len(), 1);
}

#[test]
fn the_refusal_of_a_reserved_disk_echoes_the_argument_and_nothing_behind() {
    //
    let mut bench = Bench::new();
    reserve(&mut bench, &[HOST]);
    let frame = Frame::read(0x1234, 1).and(&[0xed; 24]);
    let answer = bench.send(&frame.clone().from(OTHER)).answer();
    assert_eq!(answer.bytes[14..16], [0x1c, 6]);
    assert_eq!(answer.bytes[24..36], frame[24..36]);
    assert!(answer.bytes[36..].iter().all(|&byte| byte == 0));
}

#[test]
fn members_replace_and_release_others_do_neither() {
    // R-091 R-078
    let mut bench = Bench::new();
    reserve(&mut bench, &[]);
    assert_eq!(bench.changes(), [], "it was empty");
    reserve(&mut bench, &[HOST, OTHER]);
    assert_eq!(bench.changes(), [Change::Reservation]);
    reserve(&mut bench, &[HOST, OTHER]);
    assert_eq!(bench.changes(), []);
    reserve(&mut bench, &[OTHER]);
    let answer = bench.send(&Frame::reserve(SET, &[HOST])).answer();
    assert_eq!(answer.refusal, Some(Refusal::Reserved));
    assert_eq!(members(&answer.bytes), [OTHER]);
    let release = Frame::reserve(SET, &[]);
    let refused = bench.send(&release).answer();
    assert_eq!(refused.refusal, Some(Refusal::Reserved));
    let released = bench.send(&release.from(OTHER)).answer();
    assert_eq!((released.refusal, released.bytes[25]), (None, 0));
    assert!(bench.target.reservation().is_empty());
}

#[test]
fn force_is_force() {
    //
    let mut bench = Bench::new();
    reserve(&mut bench, &[HOST]);
    let forced = bench
        .send(&Frame::reserve(FORCE, &[OTHER]).from(OTHER))
        .answer();
    assert_eq!(members(&forced.bytes), [OTHER]);
    assert_eq!(bench.target.reservation(), [OTHER]);
    let cleared = bench.send(&Frame::reserve(FORCE, &[])).answer();
    assert_eq!(cleared.bytes[25], 0);
}

#[test]
fn a_reservation_of_248_is_kept_and_one_more_is_refused() {
    //
    let mut bench = Bench::new();
    let many: Vec<_> = (0..MEMBERS_MAX + 1).map(mac).collect();
    let refused = bench.send(&Frame::reserve(FORCE, &many)).answer();
    assert_eq!(refused.refusal, Some(Refusal::ReserveCount));
    assert_eq!(refused.bytes[14..16], [0x1c, 2]);
    let answer = bench.send(&Frame::reserve(FORCE, &many[1..])).answer();
    assert_eq!(members(&answer.bytes), many[1..]);
    assert_eq!(answer.bytes.len(), 26 + 6 * 248);
    let read = bench.send(&Frame::reserve(0, &[])).answer();
    assert_eq!(members(&read.bytes), many[1..]);
    bench.port.mtu = 9000;
    let refused = bench.send(&Frame::reserve(FORCE, &many)).answer();
    assert_eq!(refused.refusal, Some(Refusal::ReserveCount), "on all ports");
}

#[test]
fn a_reservation_that_an_answer_could_not_carry_is_refused() {
    // R-092 R-111
    let mut bench = Bench::new();
    let many: Vec<_> = (0..MEMBERS_MAX).map(mac).collect();
    let tag = [0x81, 0, 0, 5];
    let refused = bench
        .send(&Frame::reserve(FORCE, &many).tagged(tag))
        .answer();
    assert_eq!(refused.refusal, Some(Refusal::ReserveCount));
    bench
        .send(&Frame::reserve(FORCE, &many[1..]).tagged(tag))
        .answer();
}

#[test]
fn more_members_than_the_frame_holds_are_refused() {
    //
    let mut bench = Bench::new();
    for command in [SET, FORCE] {
        for len in 26..38 {
            let frame = Frame::reserve(command, &[HOST, OTHER]).cut(len);
            let refusal = bench.send(&frame).answer().refusal;
            assert_eq!(refusal, Some(Refusal::ReserveCount));
        }
    }
    assert!(bench.target.reservation().is_empty());
}

#[test]
fn undefined_reserve_commands_are_refused() {
    //
    let mut bench = Bench::new();
    for command in 3..=255 {
        let answer = bench.send(&Frame::reserve(command, &[HOST])).answer();
        assert_eq!(answer.refusal, Some(Refusal::UnknownReserveCommand));
    }
}

#[test]
fn changes_of_all_kinds_are_told_one_after_the_other() {
    //
    let mut bench = Bench::new();
    reserve(&mut bench, &[HOST]);
    edit(&mut bench, &[(ADD, HOST)]);
    bench.send(&Frame::config(4, b"new")).answer();
    assert_eq!(
        bench.changes(),
        [Change::Config, Change::Masks, Change::Reservation]
    );
    assert_eq!(bench.changes(), []);
}

#[test]
fn the_operator_replaces_what_hosts_have_set_and_nothing_else() {
    let policy = Policy {
        masks: &[HOST],
        ..Policy::default()
    };
    let mut bench = Bench::with(medium(), policy);
    for (wanted, changes) in [
        (&[OTHER, HOST, mac(1)][..], &[Change::Masks][..]),
        (&[OTHER, mac(1)], &[]),
        (&[], &[Change::Masks]),
    ] {
        bench.target.replace_masks(wanted.iter().copied());
        let added = wanted.iter().copied().filter(|mac| *mac != HOST);
        assert!(bench.target.edited_masks().iter().copied().eq(added));
        assert_eq!(bench.target.masks()[0], HOST, "the settings' own entry");
        assert_eq!(bench.changes(), changes);
    }
    bench.target.replace_masks((0..MASKS_MAX + 5).map(mac));
    assert_eq!(bench.target.masks().len(), MASKS_MAX);
    assert_eq!(bench.changes(), [Change::Masks]);
    for (wanted, changes) in [
        (&[OTHER][..], &[Change::Reservation][..]),
        (&[OTHER], &[]),
        (&[], &[Change::Reservation]),
    ] {
        bench.target.replace_reservation(wanted.iter().copied());
        assert_eq!(bench.target.reservation(), wanted);
        assert_eq!(bench.changes(), changes);
    }
    bench
        .target
        .replace_reservation((0..MEMBERS_MAX + 5).map(mac));
    assert_eq!(bench.target.reservation().len(), MEMBERS_MAX);
}
