//! The files of the checkout, and Rust with its comments and strings set apart.

use qemu::{Failure, OrFail};
use std::fs;
use std::iter;
use std::ops::Range;
use std::path::Path;

/// Folders that are not the project's text.
const SKIPPED: [&str; 2] = [".git", "target"];
/// Marks a folder that a build made.
const BUILD_MARK: &str = "CACHEDIR.TAG";
/// Endings of files that are text.
const TEXT: [&str; 12] = [
    "rs", "toml", "md", "ld", "sh", "S", "txt", "yml", "py", "lock", "ipxe", "conf",
];
/// A file longer than this (without its tests) is perhaps two files.
const LINES_MAX: usize = 800;

/// A text file of the checkout.
pub struct Source {
    /// From the root, with slashes.
    pub path: String,
    /// All of it.
    pub text: String,
    /// The text with comments, strings and characters blanked, for Rust; the
    /// same length, so that places agree.
    pub code: String,
    /// Where the tests are, in bytes.
    tests: Vec<Range<usize>>,
}

impl Source {
    /// A file with what follows from its text.
    pub fn new(path: &str, text: &str) -> Self {
        let code = if Self::is_rust_path(path) {
            blank_comments_and_strings(text)
        } else {
            text.to_owned()
        };
        let tests = if is_test_path(path) {
            iter::once(0..text.len()).collect()
        } else {
            test_modules(&code)
        };
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
            tests,
        }
    }

    /// Whether it is Rust.
    pub fn is_rust(&self) -> bool {
        Self::is_rust_path(&self.path)
    }

    fn is_rust_path(path: &str) -> bool {
        Path::new(path).extension().is_some_and(|ext| ext == "rs")
    }

    /// Whether byte `at` belongs to a test.
    pub fn is_test(&self, at: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&at))
    }

    /// The line of byte `at`, from 1.
    pub fn line_of(&self, at: usize) -> usize {
        1 + self.text[..at]
            .bytes()
            .filter(|&byte| byte == b'\n')
            .count()
    }

    fn lines_without_tests(&self) -> usize {
        let in_tests: usize = self
            .tests
            .iter()
            .map(|range| self.text[range.clone()].lines().count())
            .sum();
        self.text.lines().count() - in_tests
    }
}

/// Every text file under `root`.
pub fn collect(root: &Path) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    walk(root, "", &mut sources)?;
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

fn walk(folder: &Path, prefix: &str, sources: &mut Vec<Source>) -> Result<(), Failure> {
    let entries =
        fs::read_dir(folder).or_fail(format_args!("cannot look into {}", folder.display()))?;
    for entry in entries {
        let entry = entry.or_fail(format_args!("cannot look into {}", folder.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        let name_from_root = format!("{prefix}{name}");
        if path.is_dir() {
            let skipped = SKIPPED.contains(&name.as_str()) || path.join(BUILD_MARK).exists();
            if !skipped && !path.is_symlink() {
                walk(&path, &format!("{name_from_root}/"), sources)?;
            }
        } else if is_text(&path)
            && let Ok(text) = fs::read_to_string(&path)
        {
            sources.push(Source::new(&name_from_root, &text));
        }
    }
    Ok(())
}

fn is_text(path: &Path) -> bool {
    match path.extension() {
        Some(ending) => TEXT.iter().any(|text| ending == *text),
        // Scripts without an ending (.ci/run), licences.
        None => true,
    }
}

/// A sentence about every file that is long.
pub fn long_files(sources: &[Source]) -> Vec<String> {
    sources
        .iter()
        .filter(|source| source.is_rust())
        .map(|source| (source, source.lines_without_tests()))
        .filter(|&(_, lines)| lines > LINES_MAX)
        .map(|(source, lines)| format!("{} has {lines} lines: two files?", source.path))
        .collect()
}

/// Files that are nothing but tests, and rooms that are nothing but test worlds.
fn is_test_path(path: &str) -> bool {
    path.contains("/tests/")
        || path.ends_with("/tests.rs")
        || path.ends_with("_tests.rs")
        || path.starts_with("kernel/sim/")
        || path.starts_with("qemu/src/scenarios/")
}

/// The bodies of modules and functions under `#[cfg(test)]`.
fn test_modules(code: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, _) in code.match_indices("#[cfg(test)]") {
        if found.last().is_some_and(|range| range.contains(&at)) {
            continue;
        }
        // A `;` before any `{` is an item without a body (`mod tests;`).
        let Some(open) = code[at..].find(['{', ';']).map(|open| at + open) else {
            continue;
        };
        let mut depth = 0;
        let mut end = open;
        for (offset, byte) in code[open..].bytes().enumerate() {
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                _ => {}
            }
            end = open + offset;
            if depth == 0 {
                break;
            }
        }
        found.push(at..end + 1);
    }
    found
}

/// Blanks what is no code, byte for byte; line ends stay.
fn blank_comments_and_strings(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => line_end(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => block_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' if !continues_a_name(bytes, at) && raw_hashes(bytes, at).is_some() => {
                raw_end(bytes, at)
            }
            // `br"` and `cr"`: the letter in front is a name of its own.
            b'b' | b'c'
                if !continues_a_name(bytes, at)
                    && bytes.get(at + 1) == Some(&b'r')
                    && raw_hashes(bytes, at + 1).is_some() =>
            {
                raw_end(bytes, at + 1)
            }
            b'\'' => character_end(bytes, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            at += 1;
            continue;
        }
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(code).expect("only whole strings and comments are blanked")
}

fn continues_a_name(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..]
        .iter()
        .position(|&byte| byte == b'\n')
        .map_or(bytes.len(), |length| at + length)
}

fn block_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The number of hashes of a raw string that begins at `at` with its `r`.
fn raw_hashes(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at + 1..];
    let hashes = rest.iter().take_while(|&&byte| byte == b'#').count();
    (rest.get(hashes) == Some(&b'"')).then_some(hashes)
}

fn raw_end(bytes: &[u8], at: usize) -> usize {
    let hashes = raw_hashes(bytes, at).unwrap_or_default();
    let from = at + 1 + hashes + 1;
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    bytes[from..]
        .windows(close.len())
        .position(|window| window == close)
        .map_or(bytes.len(), |length| from + length + close.len())
}

/// The end of the character that begins at `at`; none if the quote is that of
/// a lifetime.
fn character_end(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at + 1) == Some(&b'\\') {
        // The first quote that the escape does not hide.
        let hidden = at + 3;
        let length = bytes
            .get(hidden..)?
            .iter()
            .position(|&byte| byte == b'\'')?;
        return Some(hidden + length + 1);
    }
    // A character has at most four bytes; a lifetime has no closing quote.
    let close = (at + 2..(at + 6).min(bytes.len())).find(|&close| bytes[close] == b'\'')?;
    let inside = std::str::from_utf8(&bytes[at + 1..close]).ok()?;
    (inside.chars().count() == 1).then_some(close + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_characters_are_blanked_and_code_stays() {
        let cases = [
            ("a // unsafe\nb", "a          \nb"),
            ("a /* x /* unsafe */ y */ b", "a                        b"),
            (r#"a "un\"safe" b"#, "a            b"),
            ("a r#\"un\"safe\"# b", "a              b"),
            ("a br\"x\" b", "a       b"),
            ("a '\\'' b '\"' c", "a      b     c"),
            ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
            ("for r in 0..3 {}", "for r in 0..3 {}"),
            ("a 'é' b", "a      b"),
        ];
        for (text, code) in cases {
            assert_eq!(Source::new("x.rs", text).code, code, "{text}");
        }
    }

    #[test]
    fn a_test_module_ends_at_its_brace() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { '}'; } }\nfn c() {}\n";
        let source = Source::new("x/src/lib.rs", text);
        let place = |what| text.find(what).unwrap();
        assert!(!source.is_test(place("fn a")));
        assert!(source.is_test(place("fn b")));
        assert!(!source.is_test(place("fn c")));
    }

    #[test]
    fn a_test_module_in_another_file_takes_nothing_with_it() {
        let text = "#[cfg(test)]\nmod tests;\nfn c() { }\n";
        let source = Source::new("x/src/lib.rs", text);
        assert!(!source.is_test(text.find("fn c").unwrap()));
        assert!(Source::new("x/src/tests.rs", text).is_test(0));
    }

    #[test]
    fn a_long_file_is_hinted_at_and_its_tests_do_not_count() {
        let long = "x\n".repeat(LINES_MAX + 1);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{long}}}\n");
        let sources = [
            Source::new("a/src/long.rs", &long),
            Source::new("a/src/tested.rs", &tests),
            Source::new("a/README.md", &long),
        ];
        let hints = long_files(&sources);
        assert_eq!(hints.len(), 1);
        assert!(hints[0].starts_with("a/src/long.rs has 801 lines"));
    }
}
