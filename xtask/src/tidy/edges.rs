//! Which crate may depend on which: the table of crates in ARCHITECTURE.md, as a check of each `Cargo.toml`.
//!
//! Input is a manifest; output is a finding for each dependency that the crate's row does not have.
//! Dependencies of tests are free.

use toml::{Table, Value};

use super::{Finding, Source};

/// A crate of this workspace.
struct Row {
    folder: &'static str,
    /// The crates of this workspace that it may depend on.
    may: &'static [&'static str],
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { folder: "policy-common",    may: &[] },
    Row { folder: "policy-ebpf",      may: &["policy-common"] },
    Row { folder: "policy-core",      may: &["policy-common"] },
    Row { folder: "policy-manifest",  may: &["policy-core"] },
    Row { folder: "policy-kube",      may: &["policy-core", "policy-manifest"] },
    Row { folder: "policy-files",     may: &["policy-manifest"] },
    Row { folder: "policy-probe",     may: &["policy-core", "policy-files", "policy-manifest"] },
    Row { folder: "policy-report",    may: &[] },
    Row { folder: "policy-cni",       may: &[] },
    Row { folder: "policy-agent",     may: &["policy-cni", "policy-common", "policy-core", "policy-files", "policy-kube", "policy-manifest", "policy-report"] },
    Row { folder: "policy-lab",       may: &["policy-agent", "policy-common", "policy-core", "policy-files", "policy-manifest", "policy-probe"] },
    Row { folder: "policy-agent/bin", may: &["policy-agent", "policy-cni", "policy-files", "policy-kube", "policy-lab", "policy-manifest", "policy-probe", "policy-report"] },
    Row { folder: "policyctl",        may: &["policy-core", "policy-files", "policy-kube", "policy-manifest", "policy-probe", "policy-report"] },
    Row { folder: "xtask",            may: &[] },
    Row { folder: "tests/testbed",    may: &["xtask"] },
    Row { folder: "tests/e2e",        may: &["policy-core", "policy-manifest", "policy-probe", "testbed", "xtask"] },
    Row { folder: "tests/packet-model", may: &["policy-common"] },
    Row { folder: "tests/pod",        may: &[] },
    Row { folder: "tests/fake-api-server", may: &[] },
];

/// Crates of others that only some crates may depend on.
const CONFINED: &[(&str, &[&str])] = &[
    ("aya", &["policy-agent", "policy-common", "tests/packet-model"]),
    ("aya-obj", &["policy-agent", "tests/packet-model"]),
    ("aya-ebpf", &["policy-ebpf"]),
    ("k8s-openapi", &["policy-kube", "tests/e2e", "tests/testbed"]),
    ("kube", &["policy-kube", "tests/testbed"]),
];

/// A crate that may have only listed dependencies, and those of them that must be optional.
struct Pure {
    folder: &'static str,
    dependencies: &'static [&'static str],
    optional: &'static [&'static str],
}

const PURE: &[Pure] = &[
    Pure { folder: "policy-common", dependencies: &["aya"], optional: &["aya"] },
    Pure {
        folder: "policy-core",
        dependencies: &["ipnetwork", "policy-common", "prefix-trie"],
        optional: &[],
    },
];

/// Finds dependencies that are not allowed.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let Some(folder) = source.path.strip_suffix("/Cargo.toml") else { return Vec::new() };
    let finding = |message: String| Finding::new(source, 0, message);
    let manifest = match source.text.parse::<Table>() {
        Ok(manifest) => manifest,
        Err(error) => return vec![finding(format!("cannot be parsed: {error}"))],
    };
    let Some(row) = ROWS.iter().find(|row| row.folder == folder) else {
        return vec![finding(format!(
            "{folder} has no row in the table of crates (tidy/edges.rs)"
        ))];
    };
    let pure = PURE.iter().find(|pure| pure.folder == folder);
    let objections = tables(&manifest).flatten().filter_map(|(name, value)| {
        row.objection(name)
            .or_else(|| confined(folder, name))
            .or_else(|| pure.and_then(|pure| pure.objection(name, value)))
    });
    objections.map(finding).collect()
}

impl Row {
    fn objection(&self, name: &str) -> Option<String> {
        let is_ours = name.starts_with("policy") || matches!(name, "e2e" | "testbed" | "xtask");
        (is_ours && !self.may.contains(&name))
            .then(|| format!("{} must not depend on {name}", self.folder))
    }
}

fn confined(folder: &str, name: &str) -> Option<String> {
    let (_, homes) = CONFINED.iter().find(|(confined, _)| *confined == name)?;
    (!homes.contains(&folder)).then(|| format!("only {} may depend on {name}", homes.join(" and ")))
}

impl Pure {
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

/// The tables of ordinary and build dependencies, also those for one target.
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
            ("policy-agent/Cargo.toml",  "[dependencies]\npolicy-core.workspace = true",                  false),
            ("policy-agent/Cargo.toml",  "[dependencies]\npolicy-lab.workspace = true",                   true),
            ("policyctl/Cargo.toml",     "[dependencies]\naya.workspace = true",                          true),
            ("policyctl/Cargo.toml",     "[dependencies]\npolicy-kube.workspace = true",                  false),
            ("policyctl/Cargo.toml",     "[dependencies]\nkube.workspace = true",                         true),
            ("xtask/Cargo.toml",         "[dependencies]\npolicy-core.workspace = true",                  true),
            ("xtask/Cargo.toml",         "[dependencies]\ntestbed.workspace = true",                      true),
            ("tests/e2e/Cargo.toml",     "[dependencies]\ntestbed.workspace = true",                      false),
            ("tests/pod/Cargo.toml",     "[dependencies]\npolicy-core.workspace = true",                  true),
            ("policy-new/Cargo.toml",    "[dependencies]",                                                true),
            ("Cargo.toml",               "[workspace]",                                                   false),
        ];
        for (path, text, broken) in cases {
            assert_eq!(!check(&source(path, text)).is_empty(), broken, "{path}: {text}");
        }
    }
}
