//! An independent reader of maps.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use policy_agent::dataplane::Dataplane;
use serde_json::Value;

/// Entries of a map as `(key, value)`, with the field names of its types.
pub(crate) fn dump(dataplane: &Dataplane, map: &str) -> Result<Vec<(Value, Value)>> {
    let id = dataplane.map_ids().get(map).copied().context("no such map")?;
    let entries = run(&["map", "dump", "id", &id.to_string()])?;
    let entries = entries.as_array().context("a dump is a list")?;
    Ok(entries
        .iter()
        .map(|entry| {
            let entry = entry.get("formatted").unwrap_or(entry);
            (entry["key"].clone(), entry["value"].clone())
        })
        .collect())
}

/// Values of the elements of a map that are not zero, by index.
pub(crate) fn set_elements(dataplane: &Dataplane, map: &str) -> Result<Vec<(u64, u64)>> {
    let elements = dump(dataplane, map)?;
    let number = |value: &Value| value.as_u64().context("no number");
    let elements: Vec<(u64, u64)> = elements
        .iter()
        .map(|(index, value)| Ok((number(index)?, number(value)?)))
        .collect::<Result<_>>()?;
    Ok(elements.into_iter().filter(|(_, value)| *value != 0).collect())
}

/// Filters on the interfaces of the thread's namespace, ingress first: hook, name, and the id of the
/// program, which is 0 for classic BPF.
pub(crate) fn filters() -> Result<Vec<(String, String, u64)>> {
    let shown = run(&["net", "show"])?;
    let filters = shown[0]["tc"].as_array().context("no list of filters")?;
    let word = |filter: &Value, field: &str| filter[field].as_str().unwrap_or_default().to_owned();
    let filters = filters.iter().map(|filter| {
        let id = filter["id"].as_u64().unwrap_or_default();
        (word(filter, "kind"), word(filter, "name"), id)
    });
    Ok(filters.collect())
}

/// The answer of bpftool.
pub(crate) fn run(arguments: &[&str]) -> Result<Value> {
    let output = Command::new("bpftool")
        .arg("--json")
        .args(arguments)
        .output()
        .context("bpftool cannot be run: this test reads maps with it")?;
    ensure!(output.status.success(), "bpftool: {}", String::from_utf8_lossy(&output.stdout));
    Ok(serde_json::from_slice(&output.stdout)?)
}
