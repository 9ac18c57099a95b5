//! Calls as places instead of distances, which packs better.
//!
//! A call or jump of x86 names its target by the distance from itself, so that two
//! calls of one function share no byte. With the target's place instead they are
//! the same, and the packer finds them. What looks like a call and is none is
//! changed as well and changed back: each direction undoes the other for any bytes,
//! because the distances that can be inside the kernel, and only those, are swapped
//! with the places (the CAB format treats Intel code in the same way).

/// Opcodes of a near call and a near jump, with 32 bits of distance behind them.
const CALL: u8 = 0xe8;
const JUMP: u8 = 0xe9;

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

/// Puts `with(number, where it is, length of code)` in the place of each number
/// behind an opcode. Both directions see the same opcodes, since what is changed is
/// never looked at. Code of 2 GiB or more stays as it is.
fn change(code: &mut [u8], with: impl Fn(i32, i32, i32) -> i32) {
    let Ok(bytes) = i32::try_from(code.len()) else {
        return;
    };
    let mut at = 0;
    while let Some(&[opcode, a, b, c, d]) = code.get(at..at + 5).and_then(|five| five.first_chunk())
    {
        if matches!(opcode, CALL | JUMP) {
            let number = with(i32::from_le_bytes([a, b, c, d]), at as i32, bytes);
            code[at + 1..at + 5].copy_from_slice(&number.to_le_bytes());
            at += 5;
        } else {
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn two_calls_of_one_function_become_the_same_bytes() {
        let mut code = [0x90; 64];
        for at in [3, 40] {
            code[at] = CALL;
            let distance = 20 - (at as i32 + 5);
            code[at + 1..at + 5].copy_from_slice(&distance.to_le_bytes());
        }
        to_places(&mut code);
        assert_eq!(code[3..8], code[40..45]);
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
                    code.push([CALL, JUMP, 0x0f][roll % 3]);
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
