//! `-o json` prints the schema that other programs read, and nothing else.

use std::io;

use serde_json::Value;

use crate::program::{all_output, assert_code, lab};

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().map(|object| object.keys().map(String::as_str).collect()).unwrap_or_default()
}

/// Requires that a field is one of `words`.
#[track_caller]
fn assert_word(row: &Value, key: &str, words: &[&str]) {
    let word = row[key].as_str().unwrap_or_default();
    assert!(words.contains(&word), "{key}: {word:?} in {row}");
}

#[track_caller]
fn assert_row(row: &Value) {
    let mut found = keys(row);
    found.sort_unstable();
    let wanted = ["by", "egress", "family", "from", "ingress", "port", "protocol", "to", "verdict"];
    assert_eq!(found, wanted, "{row}");
    assert_word(row, "family", &["IPv4", "IPv6"]);
    assert_word(row, "protocol", &["TCP", "UDP", "SCTP"]);
    assert_word(row, "ingress", &["allow", "deny"]);
    assert_word(row, "egress", &["allow", "deny"]);
    assert_word(row, "verdict", &["allow", "deny", "lost"]);
    assert!(row["port"].as_u64().is_some_and(|port| u16::try_from(port).is_ok()), "{row}");
    assert!(row["from"].is_string() && row["to"].is_string(), "{row}");
    for direction in ["ingress", "egress"] {
        for decider in row["by"][direction].as_array().into_iter().flatten() {
            let mut found = keys(decider);
            found.sort_unstable();
            assert_eq!(found, ["kind", "name", "namespace", "rule"], "{decider}");
            assert!(decider["rule"].is_null() || decider["rule"].is_u64(), "{decider}");
        }
    }
}

#[test]
fn json_is_the_schema_and_nothing_else() -> io::Result<()> {
    let output = lab(&["-f", "examples/three-tier.yaml", "-o", "json"]).output()?;
    assert_code(&output, 0);
    let table: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(keys(&table), ["probes"]);
    let rows = table["probes"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert!(rows.len() > 10, "{}", all_output(&output));
    rows.iter().for_each(assert_row);
    let verdicts = |word| rows.iter().filter(|row| row["verdict"] == word).count();
    assert!(verdicts("allow") > 0 && verdicts("deny") > 0);
    Ok(())
}

#[test]
fn options_narrow_and_extend_the_probes() -> io::Result<()> {
    let output = lab(&["-f", "examples/three-tier.yaml", "-o", "json"])
        .args(["--from", "frontend/web", "--to", "backend/api", "--to", "198.51.100.7"])
        .args(["--port", "80/TCP", "--port", "53/UDP"])
        .output()?;
    assert_code(&output, 0);
    let table: Value = serde_json::from_slice(&output.stdout)?;
    // Two ports, to one pod in two families and to one address.
    assert_eq!(table["probes"].as_array().map(Vec::len), Some(6), "{}", all_output(&output));
    Ok(())
}
