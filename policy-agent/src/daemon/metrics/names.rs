//! The documentation names every metric, and it, the alerts and the dashboard name no other.

use std::{collections::BTreeSet, fs, path::Path};

use super::*;

/// The names in the text of `/metrics`, with every metric that an agent can have.
fn exported() -> BTreeSet<String> {
    let mut metrics = Metrics::new();
    metrics.plugin()(InstallState::Missing);
    let (map, used, capacity) = ("blocks", 1, 4);
    metrics.maps(&[MapUse { map, used, capacity }], &[map]);
    let pods = BTreeMap::from([(7, ObjectName::new("shop", "web"))]);
    let table = FlowTableUse { table: "flows4", word: Some(7), used, capacity };
    metrics.flow_tables(pods)(vec![table]);
    let (namespace, policy) = (String::new(), String::new());
    let labels = DenialLabels { kind: "NetworkPolicy", namespace, policy, direction: "egress" };
    drop(metrics.denied.get_or_create(&labels));
    metrics.pods(0, &Reconciled::default(), false);
    metrics.scrape.drop_one();
    let text = metrics.scrape.text().unwrap_or_default();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names = types.filter_map(|line| {
        let (name, kind) = line.split_once(' ')?;
        Some(match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        })
    });
    names.collect()
}

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Names of metrics in a text; a histogram's series count as the histogram.
fn named(text: &str, exported: &BTreeSet<String>) -> BTreeSet<String> {
    let is_part =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    let is_name = |word: &&str| word.starts_with("policy_") && *word != "policy_";
    let words = text.split(|letter| !is_part(letter)).filter(is_name);
    let names = words.map(|word| {
        let series = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
        series.filter(|histogram| exported.contains(*histogram)).unwrap_or(word).to_owned()
    });
    names.collect()
}

#[test]
fn every_metric_is_documented_and_no_other_is_named() {
    let exported = exported();
    let documented = named(&read("docs/metrics.md"), &exported);
    assert_eq!(documented, exported);
    for file in
        ["manifests/helm/policy-agent/files/alerts.yaml", "manifests/grafana/policy-agent.json"]
    {
        let named = named(&read(file), &exported);
        let unknown: Vec<_> = named.difference(&exported).collect();
        assert!(unknown.is_empty() && named.len() > 8, "{file}: {unknown:?}");
    }
}

#[test]
fn the_dashboard_is_one_that_grafana_imports() {
    let text = read("manifests/grafana/policy-agent.json");
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    assert!(dashboard["title"].is_string() && dashboard["schemaVersion"].is_u64(), "{dashboard}");
    let panels = dashboard["panels"].as_array().cloned().unwrap_or_default();
    let ids: BTreeSet<_> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert!(ids.len() == panels.len() && !panels.is_empty(), "each panel has an id of its own");
    for panel in panels {
        let place = &panel["gridPos"];
        assert!(["h", "w", "x", "y"].iter().all(|side| place[side].is_u64()), "{panel}");
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            assert_eq!(target["datasource"]["uid"], "${datasource}");
            assert!(
                target["expr"].as_str().is_some_and(|expr| expr.contains("policy_")),
                "{target}"
            );
        }
    }
}
