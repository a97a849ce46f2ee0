//! The graph for Mermaid.

use std::{collections::BTreeMap, fmt::Write};

use super::picture::Picture;

/// A subgraph per namespace, a node per workload.
pub(super) fn render(picture: &Picture) -> String {
    let mut out = String::from("flowchart LR\n");
    // A name can be a keyword of Mermaid, such as `end`, so nodes have numbers.
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    for (index, namespace) in picture.namespaces.iter().enumerate() {
        let _ = writeln!(out, "  subgraph s{index}[\"{}\"]", namespace.name);
        for workload in &namespace.workloads {
            let number = numbers.len();
            let _ = writeln!(out, "    w{number}[\"{} ({})\"]", workload.name, workload.pods.len());
            numbers.insert(format!("{}/{}", namespace.name, workload.name), number);
        }
        out.push_str("  end\n");
    }
    for edge in &picture.edges {
        if let Some((from, to)) = numbers.get(&edge.from).zip(numbers.get(&edge.to)) {
            let arrow = if edge.by.is_empty() { "-.->" } else { "-->" };
            let _ = writeln!(out, "  w{from} {arrow}|\"{}\"| w{to}", edge.label());
        }
    }
    out
}
