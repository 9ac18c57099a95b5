//! What `/metrics` tells, read line by line: by us, and by Prometheus' own tool.

use crate::{Context, Failure, OrFail, tools};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::Stdio;

/// The sum of each name's samples, if every line of `text` is one of the format's.
pub(super) fn well_formed(text: &str) -> Result<BTreeMap<String, f64>, Failure> {
    let bad = |line: &str| Failure::new(format!("metrics: no such line: {line:?}"));
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    let mut family = "";
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (kind, name, rest) = (words.next(), words.next(), words.next());
            let is_right = match (kind, rest) {
                (Some("HELP"), Some(help)) => !help.is_empty(),
                (Some("TYPE"), Some(kind)) => ["counter", "gauge", "histogram"].contains(&kind),
                _ => false,
            };
            if !is_right {
                return Err(bad(line));
            }
            family = name.unwrap_or("");
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').ok_or_else(|| bad(line))?;
        let value: f64 = value.parse().map_err(|_| bad(line))?;
        let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let of_family = ["", "_bucket", "_sum", "_count"]
            .iter()
            .any(|end| name.strip_suffix(end) == Some(family));
        if !of_family || !name.bytes().all(is_name) || !labels.ends_with('}') {
            return Err(bad(line));
        }
        *sums.entry(name.to_owned()).or_default() += value;
    }
    if sums.is_empty() || !text.ends_with('\n') {
        return Err(Failure::new("metrics: there are none, or they are cut"));
    }
    Ok(sums)
}

/// Lets Prometheus' own tool read `metrics`, which must have nothing to say.
pub(super) fn promtool(context: &Context, metrics: &str) -> Result<(), Failure> {
    let mut child = tools::PROMTOOL
        .command(context.debs())?
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .or_fail("promtool does not start")?;
    let mut input = child.stdin.take().or_fail("promtool has no input")?;
    input
        .write_all(metrics.as_bytes())
        .or_fail("promtool does not read")?;
    drop(input);
    let output = child.wait_with_output().or_fail("promtool")?;
    // Advice is on the error output, with a status of 0 or not.
    if output.status.success() && output.stderr.trim_ascii().is_empty() {
        return Ok(());
    }
    Err(Failure::new("promtool does not accept the metrics")
        .with(String::from_utf8_lossy(&output.stderr)))
}

#[cfg(test)]
mod tests {
    use super::well_formed;

    #[test]
    fn samples_of_a_family_add_up_and_a_line_without_one_is_bad() {
        let head = "# HELP a_total What.\n# TYPE a_total counter\n";
        let sums = well_formed(&format!(
            "{head}a_total{{e=\"1\"}} 2\na_total{{e=\"2\"}} 3\n"
        ));
        assert_eq!(sums.expect("well formed")["a_total"], 5.0);
        for bad in [
            "b_total 1\n",
            "a_total\n",
            "a_total x\n",
            "a_total{e 1\n",
            "a_total 1",
        ] {
            assert!(well_formed(&format!("{head}{bad}")).is_err(), "{bad:?}");
        }
    }
}
