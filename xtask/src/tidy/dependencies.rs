//! What the crates that stay pure may depend on.

use toml::{Table, Value};

use super::{Finding, Source};

/// The dependencies a crate may have; its tests may have others.
struct Allowed {
    manifest: &'static str,
    dependencies: &'static [&'static str],
    /// Those that must be optional.
    optional: &'static [&'static str],
}

const ALLOWED: &[Allowed] = &[
    Allowed { manifest: "policy-common/Cargo.toml", dependencies: &["aya"], optional: &["aya"] },
    Allowed {
        manifest: "policy-core/Cargo.toml",
        dependencies: &[
            "fixedbitset",
            "ipnetwork",
            "policy-common",
            "prefix-trie",
            "roaring",
            "rustc-hash",
        ],
        optional: &[],
    },
];

/// Finds dependencies that are not allowed.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let Some(allowed) = ALLOWED.iter().find(|allowed| allowed.manifest == source.path) else {
        return Vec::new();
    };
    let manifest = match source.text.parse::<Table>() {
        Ok(manifest) => manifest,
        Err(error) => {
            return vec![Finding::new(source, 0, format!("cannot be parsed: {error}"))];
        }
    };
    tables(&manifest)
        .flatten()
        .filter_map(|(name, value)| Some(Finding::new(source, 0, allowed.objection(name, value)?)))
        .collect()
}

impl Allowed {
    fn objection(&self, name: &str, value: &Value) -> Option<String> {
        let is_optional = value.get("optional").and_then(Value::as_bool) == Some(true);
        if !self.dependencies.contains(&name) {
            Some(format!("may depend on {} only, not on {name}", self.dependencies.join(", ")))
        } else if self.optional.contains(&name) && !is_optional {
            Some(format!("{name} must be optional"))
        } else {
            None
        }
    }
}

/// The tables of ordinary and build dependencies, those of one target too.
fn tables(manifest: &Table) -> impl Iterator<Item = &Table> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let targets = targets.into_iter().flat_map(Table::values).filter_map(Value::as_table);
    std::iter::once(manifest).chain(targets).flat_map(|table| {
        let kinds = ["dependencies", "build-dependencies"];
        kinds.into_iter().filter_map(|kind| table.get(kind)?.as_table())
    })
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::source;

    #[test]
    fn only_allowed_dependencies_pass() {
        #[rustfmt::skip]
        let cases = [
            ("policy-core/Cargo.toml",   "[dependencies]\nipnetwork.workspace = true",                    false),
            ("policy-core/Cargo.toml",   "[dev-dependencies]\nproptest = \"1\"",                          false),
            ("policy-core/Cargo.toml",   "[dependencies]\ntokio = \"1\"",                                 true),
            ("policy-core/Cargo.toml",   "[dependencies.kube]\nversion = \"5\"",                          true),
            ("policy-core/Cargo.toml",   "[build-dependencies]\ncc = \"1\"",                              true),
            ("policy-core/Cargo.toml",   "[target.'cfg(unix)'.dependencies]\nnix = \"1\"",                true),
            ("policy-core/Cargo.toml",   "[dependencies",                                                 true),
            ("policy-common/Cargo.toml", "[dependencies]\naya = { workspace = true, optional = true }",   false),
            ("policy-common/Cargo.toml", "[dependencies]\naya.workspace = true",                          true),
            ("policy-agent/Cargo.toml",  "[dependencies]\ntokio = \"1\"",                                 false),
        ];
        for (path, text, broken) in cases {
            assert_eq!(!check(&source(path, text)).is_empty(), broken, "{path}: {text}");
        }
    }
}
