//! The graph for Graphviz.

use std::fmt::Write;

use super::picture::Picture;

/// A cluster per namespace, a node per workload.
pub(super) fn render(picture: &Picture) -> String {
    let mut out = String::from("digraph policies {\n  rankdir=LR;\n  node [shape=box];\n");
    for namespace in &picture.namespaces {
        let name = &namespace.name;
        let _ = writeln!(out, "  subgraph \"cluster_{name}\" {{\n    label=\"{name}\";");
        for workload in &namespace.workloads {
            // A workload that is not isolated stands out: every pod may reach it.
            let style = if workload.ingress_isolated { "solid" } else { "dashed" };
            let _ = writeln!(
                out,
                "    \"{name}/{}\" [label=\"{} ({})\", style={style}];",
                workload.name,
                workload.name,
                workload.pods.len()
            );
        }
        out.push_str("  }\n");
    }
    for edge in &picture.edges {
        let style = if edge.by.is_empty() { "dashed" } else { "solid" };
        let _ = writeln!(
            out,
            "  \"{}\" -> \"{}\" [label=\"{}\", style={style}];",
            edge.from,
            edge.to,
            edge.label()
        );
    }
    out.push_str("}\n");
    out
}
