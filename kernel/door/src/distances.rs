//! Places instead of distances in code, which packs better.
//!
//! x86 names what it calls, jumps to or looks at by the distance from the instruction,
//! so that two calls of one function share no byte. With the target's place instead
//! they are the same, and the packer finds them. What looks like such an instruction
//! and is none is changed as well and changed back: each direction undoes the other
//! for any bytes, because the distances that can be inside the kernel, and only those,
//! are swapped with the places (the CAB format treats Intel's calls in the same way).

/// Opcodes of a near call and a near jump, with 32 bits of distance behind them.
const CALL: u8 = 0xe8;
const JUMP: u8 = 0xe9;
/// The first byte of a long opcode; the second of a conditional near jump is 80 to 8f.
const LONG: u8 = 0x0f;
/// Opcodes with a ModR/M byte: taking an address, and the group of calls and counts
/// (SDM volume 2, appendix A). Loads and stores of such an operand gain nothing.
const ADDRESS: u8 = 0x8d;
const GROUP_5: u8 = 0xff;

/// Where in six bytes of code the 32 bits of a distance begin, if there is one.
fn distance_in(code: &[u8; 6]) -> Option<usize> {
    match *code {
        [CALL | JUMP, ..] => Some(1),
        [LONG, 0x80..=0x8f, ..] => Some(2),
        // Mode 0 with register 5: an operand by its distance.
        [ADDRESS | GROUP_5, mode, ..] if mode & 0xc7 == 5 => Some(2),
        _ => None,
    }
}

/// Before packing: distances become places.
pub fn to_places(code: &mut [u8]) {
    change(code, |distance, at, bytes| {
        if (-at..bytes - at).contains(&distance) {
            distance + at
        } else if (bytes - at..bytes).contains(&distance) {
            distance - bytes
        } else {
            distance
        }
    });
}

/// After unpacking: places become distances again.
pub fn to_distances(code: &mut [u8]) {
    change(code, |place, at, bytes| {
        if (0..bytes).contains(&place) {
            place - at
        } else if (-at..0).contains(&place) {
            place + bytes
        } else {
            place
        }
    });
}

/// Puts `with(number, where it is, length of code)` in the place of each distance.
/// Both directions see the same instructions, since what is changed is never looked at.
/// Code of 2 GiB or more stays as it is.
fn change(code: &mut [u8], with: impl Fn(i32, i32, i32) -> i32) {
    let Ok(bytes) = i32::try_from(code.len()) else {
        return;
    };
    let mut at = 0;
    while let Some(six) = code.get(at..at + 6).and_then(|six| six.first_chunk()) {
        let Some(ahead) = distance_in(six) else {
            at += 1;
            continue;
        };
        at += ahead;
        let number = &mut code[at..at + 4];
        let distance = i32::from_le_bytes([number[0], number[1], number[2], number[3]]);
        number.copy_from_slice(&with(distance, at as i32, bytes).to_le_bytes());
        at += 4;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn two_instructions_with_one_target_become_the_same_bytes() {
        let opcodes: [&[u8]; 6] = [
            &[CALL],
            &[JUMP],
            &[LONG, 0x84],
            &[ADDRESS, 0x3d],
            &[GROUP_5, 0x15],
            &[GROUP_5, 0x05],
        ];
        for opcode in opcodes {
            let mut code = [0x90; 64];
            let number = opcode.len();
            for at in [3, 40] {
                code[at..at + number].copy_from_slice(opcode);
                let distance = 20 - (at + number + 4) as i32;
                code[at + number..at + number + 4].copy_from_slice(&distance.to_le_bytes());
            }
            let before = code;
            to_places(&mut code);
            assert_eq!(code[3..9], code[40..46], "{opcode:x?}");
            assert_ne!(code, before);
        }
    }

    #[test]
    fn any_bytes_come_back() {
        // Opcodes are frequent, and the numbers behind them lie around every border.
        let borders = [-70, -64, -33, -1, 0, 1, 30, 63, 64, 70, i32::MIN, i32::MAX];
        for seed in 0..2000_usize {
            let mut code = Vec::new();
            while code.len() < 64 {
                let roll = (seed * 31 + code.len() * 17) % 37;
                if roll < 20 {
                    code.push([CALL, JUMP, LONG, ADDRESS, GROUP_5][roll % 5]);
                    code.extend([0x85, 0x05, 0x3d].get(roll % 4));
                    code.extend(borders[(seed + code.len()) % 12].to_le_bytes());
                } else {
                    code.push(roll as u8);
                }
            }
            code.truncate(60 + seed % 5);
            let before = code.clone();
            to_places(&mut code);
            to_distances(&mut code);
            assert_eq!(code, before, "seed {seed}");
        }
    }
}
