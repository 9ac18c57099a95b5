//! Every rule of the protocol is cited where it is kept and where it is tested.
//!
//! `kernel/aoe/RULES.md` numbers the rules. A rule that no code cites is
//! perhaps not kept; one that no test cites is perhaps not true; a citation of a
//! rule that does not exist explains nothing.

use super::Violation;
use super::source::Source;
use std::collections::{BTreeMap, BTreeSet};

/// The list of rules.
const LIST: &str = "kernel/aoe/RULES.md";
/// Rooms whose code and tests may cite rules.
const CITING: [&str; 3] = ["kernel/", "drivers/", "qemu/"];

/// Rules without a citation, citations without a rule, and how many rules are
/// cited on both sides.
pub fn check(sources: &[Source]) -> (Vec<Violation>, usize) {
    let Some(list) = sources.iter().find(|source| source.path == LIST) else {
        return (
            vec![Violation::new(LIST, 0, "the list of rules is missing")],
            0,
        );
    };
    let mut violations = Vec::new();
    let mut rules: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, rule) in citations(&list.text) {
        rules.entry(rule).or_insert_with(|| list.line_of(at));
    }
    if rules.is_empty() {
        violations.push(Violation::new(LIST, 0, "there is no rule in the list"));
    }
    let mut in_code: BTreeSet<&str> = BTreeSet::new();
    let mut in_tests: BTreeSet<&str> = BTreeSet::new();
    let citing = sources.iter().filter(|source| {
        source.is_rust() && CITING.iter().any(|room| source.path.starts_with(room))
    });
    for source in citing {
        for (at, rule) in citations(&source.text) {
            if !rules.contains_key(rule) {
                violations.push(Violation::new(
                    &source.path,
                    source.line_of(at),
                    format!("{rule} is not in {LIST}"),
                ));
            } else if source.is_test(at) {
                in_tests.insert(rule);
            } else {
                in_code.insert(rule);
            }
        }
    }
    for (&rule, &line) in &rules {
        for (cited, kind) in [(&in_code, "code"), (&in_tests, "test")] {
            if !cited.contains(rule) {
                violations.push(Violation::new(
                    LIST,
                    line,
                    format!("{rule} is cited in no {kind}"),
                ));
            }
        }
    }
    (violations, in_code.intersection(&in_tests).count())
}

/// Every `R-` followed by exactly three digits, and where it stands.
fn citations(text: &str) -> impl Iterator<Item = (usize, &str)> {
    const LENGTH: usize = "R-001".len();
    let bytes = text.as_bytes();
    text.match_indices("R-").filter_map(move |(at, _)| {
        let digits = bytes.get(at + 2..at + LENGTH)?;
        let begins = at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
        let ends = !bytes
            .get(at + LENGTH)
            .is_some_and(u8::is_ascii_alphanumeric);
        let whole = begins && ends && digits.iter().all(u8::is_ascii_digit);
        whole.then(|| (at, &text[at..at + LENGTH]))
    })
}

#[cfg(test)]
mod tests {
    use super::super::planted;
    use super::*;

    const TWO_RULES: &str = "# Rules\n\n- R-001 one\n- R-002 two\n";
    const CODE: &str = "kernel/aoe/src/wire.rs";

    fn complaints(code: &str) -> Vec<String> {
        let sources = [planted(LIST, TWO_RULES), planted(CODE, code)];
        let (violations, _) = check(&sources);
        violations.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rules_cited_on_both_sides_are_fine() {
        let code = "// R-001 R-002\n#[cfg(test)]\nmod tests {\n// R-001, R-002\n}\n";
        let sources = [planted(LIST, TWO_RULES), planted(CODE, code)];
        assert_eq!(check(&sources), (vec![], 2));
    }

    #[test]
    fn a_rule_that_only_code_or_only_a_test_cites_is_found() {
        let code = "// R-001\n#[cfg(test)]\nmod tests {\n// R-002\n}\n";
        let expected = [
            "kernel/aoe/RULES.md:3: R-001 is cited in no test",
            "kernel/aoe/RULES.md:4: R-002 is cited in no code",
        ];
        assert_eq!(complaints(code), expected);
    }

    #[test]
    fn a_citation_of_no_rule_is_found() {
        let code = "// R-001 R-002 R-003\n#[cfg(test)]\nmod tests {\n// R-001 R-002\n}\n";
        let expected = ["kernel/aoe/src/wire.rs:1: R-003 is not in kernel/aoe/RULES.md"];
        assert_eq!(complaints(code), expected);
    }

    #[test]
    fn a_longer_number_is_another_word() {
        let code = "// R-0010 R-01 MR-001 R-00x\n";
        assert_eq!(complaints(code).len(), 4);
    }

    #[test]
    fn no_list_and_an_empty_list_are_found() {
        assert_eq!(check(&[]).0.len(), 1);
        assert_eq!(check(&[planted(LIST, "# Rules\n")]).0.len(), 1);
    }
}
