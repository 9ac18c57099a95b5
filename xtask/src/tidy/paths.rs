//! Nothing in the checkout points out of it.
//!
//! A relative path that climbs above the root, or an absolute path of one
//! person's machine, works for one person. Links between our own pages are
//! followed too: a map with a road that does not exist is worse than none.

use super::Violation;
use super::source::Source;
use std::collections::BTreeSet;

/// Folders in which people keep their checkouts. Spelt in two halves, so that
/// this list is not found in itself.
const PERSONAL: [&str; 4] = [
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
];

/// Every path that leads out of the checkout, and every link that leads nowhere.
pub fn check(sources: &[Source]) -> Vec<Violation> {
    let known: BTreeSet<&str> = sources.iter().map(|source| source.path.as_str()).collect();
    let mut violations = Vec::new();
    for source in sources {
        let mut add = |at: usize, what: String| {
            violations.push(Violation::new(&source.path, source.line_of(at), what));
        };
        for (at, path) in climbing(&source.text) {
            if resolve(&source.path, path).is_none() {
                add(at, format!("{path} leads out of the checkout"));
            }
        }
        for personal in PERSONAL {
            for (at, _) in source.text.match_indices(personal) {
                if begins_a_path(&source.text, at) {
                    add(at, format!("{personal} is a folder of one machine"));
                }
            }
        }
        if source.path.ends_with(".md") {
            for (at, link) in links(&source.text) {
                match resolve(&source.path, link) {
                    Some(target) if leads_somewhere(&target, &known) => {}
                    _ => add(at, format!("the link to {link} leads nowhere")),
                }
            }
        }
    }
    violations
}

/// Every path with a `../` in it, and where it stands.
fn climbing(text: &str) -> impl Iterator<Item = (usize, &str)> {
    const UP: &str = "../";
    let of_path = |character: char| character.is_ascii_alphanumeric() || "._-/".contains(character);
    text.match_indices(UP).filter_map(move |(at, _)| {
        let before = &text[..at];
        // Only the first `../` of a path begins it; `...` is no climb.
        if before.ends_with(['/', '.']) && !before.ends_with("\"/") {
            return None;
        }
        let rest = &text[at..];
        let length = rest.find(|next| !of_path(next)).unwrap_or(rest.len());
        Some((at, &rest[..length]))
    })
}

/// Whether what stands at `at` begins an absolute path and is not the middle of
/// a longer one.
fn begins_a_path(text: &str, at: usize) -> bool {
    !text[..at]
        .ends_with(|before: char| before.is_ascii_alphanumeric() || "._-~>}".contains(before))
}

/// `path`, seen from the folder of `from`; `None` if it leaves the checkout.
fn resolve(from: &str, path: &str) -> Option<String> {
    let mut folders: Vec<&str> = from.split('/').collect();
    folders.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                folders.pop()?;
            }
            name => folders.push(name),
        }
    }
    Some(folders.join("/"))
}

/// The targets of links in Markdown that mean a file of ours.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices("](").filter_map(move |(at, _)| {
        let from = at + 2;
        let length = text[from..].find(')')?;
        let target = &text[from..from + length];
        let target = target.split('#').next().unwrap_or_default();
        let ours = !target.is_empty() && !target.contains(':') && !target.contains(' ');
        ours.then_some((from, target))
    })
}

fn leads_somewhere(target: &str, known: &BTreeSet<&str>) -> bool {
    let folder = format!("{target}/");
    target.is_empty()
        || known.contains(target)
        || known.iter().any(|path| path.starts_with(&folder))
}

#[cfg(test)]
mod tests {
    use super::super::planted;
    use super::*;

    fn complaints(path: &str, text: &str) -> Vec<String> {
        let sources = [planted(path, text), planted("kernel/aoe/RULES.md", "")];
        check(&sources).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_path_may_climb_to_the_root_and_not_above() {
        assert!(complaints("a/b/c.rs", "include_str!(\"../../x\")").is_empty());
        let out = complaints("a/b/c.rs", "\n include_str!(\"../../../x\")");
        assert_eq!(out, ["a/b/c.rs:2: ../../../x leads out of the checkout"]);
        assert_eq!(complaints("README.md", "see ../notes/x.md").len(), 1);
        assert_eq!(complaints("a/c.rs", "dir + \"/../../x\"").len(), 1);
        assert!(complaints("a.rs", "for x in 0.../* all */ y").is_empty());
    }

    #[test]
    fn a_folder_of_one_machine_is_found() {
        for personal in PERSONAL {
            let text = format!("let path = \"{personal}me/x\";");
            assert_eq!(complaints("a/b.rs", &text).len(), 1, "{personal}");
            let inside = format!("let path = \"/guest{personal}x\";");
            assert!(complaints("a/b.rs", &inside).is_empty(), "{personal}");
        }
    }

    #[test]
    fn a_link_must_lead_to_a_file_or_folder_of_ours() {
        let good = "[a](kernel/) [b](kernel/aoe/RULES.md#r) [c](https://x.y) [d](#here)";
        assert!(complaints("README.md", good).is_empty());
        let bad = complaints("README.md", "[a](kernel/none.md)");
        assert_eq!(
            bad,
            ["README.md:1: the link to kernel/none.md leads nowhere"]
        );
    }
}
