//! The graph for Mermaid.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use super::picture::Picture;
use crate::output;

/// A subgraph per namespace, a node per workload.
pub(super) fn write(
    picture: &Picture<'_>,
    warnings: &[String],
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(out, "flowchart LR")?;
    // A name can be a keyword of Mermaid, such as `end`, so nodes have numbers.
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    for (index, namespace) in picture.namespaces().iter().enumerate() {
        writeln!(out, "  subgraph s{index}[\"{}\"]", namespace.name)?;
        for workload in &namespace.workloads {
            let number = numbers.len();
            writeln!(out, "    w{number}[\"{} ({})\"]", workload.name, workload.pods.len())?;
            numbers.insert(format!("{}/{}", namespace.name, workload.name), number);
        }
        writeln!(out, "  end")?;
    }
    for edge in picture.edges() {
        if let Some((from, to)) = numbers.get(&edge.from).zip(numbers.get(&edge.to)) {
            let arrow = if edge.is_isolated { "-->" } else { "-.->" };
            writeln!(out, "  w{from} {arrow}|\"{}\"| w{to}", edge.label())?;
        }
    }
    output::write_warnings(out, "%% warning: ", warnings)
}
