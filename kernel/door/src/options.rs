//! The options that a UEFI firmware starts us with.

/// Load options as a command line: 16-bit letters up to a zero become bytes. A
/// shell puts the program's own name first, which is no setting and left out.
/// Whatever is not ASCII becomes `?`: no setting has such letters, and an
/// operator should see that there was something.
pub fn to_bytes(letters: impl Iterator<Item = u16>, line: &mut [u8]) -> usize {
    let mut len = 0;
    for letter in letters.take_while(|&letter| letter != 0) {
        // The last byte stays a zero, which ends the line.
        if len + 1 >= line.len() {
            break;
        }
        let byte = u8::try_from(letter).unwrap_or(b'?');
        let is_text = matches!(byte, b' '..=b'~' | b'\t' | b'\n');
        line[len] = if is_text { byte } else { b'?' };
        len += 1;
    }
    let first = line[..len]
        .iter()
        .position(u8::is_ascii_whitespace)
        .unwrap_or(len);
    let is_program = line[..first]
        .last_chunk::<4>()
        .is_some_and(|end| end.eq_ignore_ascii_case(b".efi"));
    if is_program {
        line.copy_within(first..len, 0);
        line[len - first..len].fill(0);
        len -= first;
    }
    len
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::String;
    use std::vec::Vec;

    fn line(options: &str) -> String {
        let mut line = [0; 16];
        let letters: Vec<u16> = options.encode_utf16().collect();
        let len = to_bytes(letters.into_iter(), &mut line);
        assert!(line[len..].iter().all(|&byte| byte == 0));
        String::from_utf8(line[..len].to_vec()).unwrap()
    }

    #[test]
    fn options_end_at_a_zero_and_before_the_room_does() {
        assert_eq!(line("rw=all"), "rw=all");
        assert_eq!(line("rw=all\0junk"), "rw=all");
        assert_eq!(line("0123456789abcdef"), "0123456789abcde");
        assert_eq!(line(""), "");
    }

    #[test]
    fn letters_that_no_setting_has_are_seen() {
        assert_eq!(line("a\u{e9}\u{4e00}\x01b"), "a???b");
    }

    #[test]
    fn the_programs_own_name_is_left_out() {
        assert_eq!(line("FS0:\\X.EFI rw=1"), " rw=1");
        assert_eq!(line("x.efi"), "");
        assert_eq!(line("rw=x.efi.x a"), "rw=x.efi.x a");
    }
}
