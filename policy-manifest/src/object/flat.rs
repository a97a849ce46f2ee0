//! Text without its indentation, which is lost when it is copied from a web page.
//!
//! ```text
//! kind: Pod
//! metadata:         nothing below it
//! name: web         stands at the left edge, and belongs into metadata
//! ```

use crate::{decode::Map, problem::Problem};

/// Fields at the left edge, and the field of the object that they belong into.
const MEANT: [(&str, &[&str]); 2] = [
    ("metadata", &["name", "namespace", "labels", "annotations"]),
    (
        "spec",
        &[
            "podSelector",
            "policyTypes",
            "ingress",
            "egress",
            "subject",
            "tier",
            "priority",
            "containers",
            "template",
            "replicas",
            "selector",
            "ports",
            "clusterIP",
        ],
    ),
];

/// Reports each field of an object that is empty while its content stands beside it; whether there
/// is one.
pub(super) fn reject(object: &Map<'_>) -> bool {
    let mut found = false;
    for (field, content) in MEANT {
        let Some(empty) = object.empty(field) else { continue };
        let beside: Vec<(&str, usize)> = object.lines_of(content);
        let Some((first, last)) = beside.first().zip(beside.last()) else { continue };
        let names = beside.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        empty.reject(Problem::Flat { field, names, first: first.1, last: last.1 });
        found = true;
    }
    found
}
