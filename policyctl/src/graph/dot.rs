//! The graph for Graphviz.

use std::io::{self, Write};

use super::picture::Picture;
use crate::output;

/// A cluster per namespace, a node per workload.
pub(super) fn write(
    picture: &Picture<'_>,
    warnings: &[String],
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(out, "digraph policies {{\n  rankdir=LR;\n  node [shape=box];")?;
    for namespace in picture.namespaces() {
        let name = &namespace.name;
        writeln!(out, "  subgraph \"cluster_{name}\" {{\n    label=\"{name}\";")?;
        for workload in &namespace.workloads {
            // A workload that is not isolated stands out: every pod may reach it.
            let style = if workload.ingress_isolated { "solid" } else { "dashed" };
            let (own, pods) = (&workload.name, workload.pods.len());
            writeln!(out, "    \"{name}/{own}\" [label=\"{own} ({pods})\", style={style}];")?;
        }
        writeln!(out, "  }}")?;
    }
    for edge in picture.edges() {
        let style = if edge.is_isolated { "solid" } else { "dashed" };
        let (from, to, label) = (&edge.from, &edge.to, edge.label());
        writeln!(out, "  \"{from}\" -> \"{to}\" [label=\"{label}\", style={style}];")?;
    }
    writeln!(out, "}}")?;
    output::write_warnings(out, "// warning: ", warnings)
}
