//! Reads an example from the folder `examples`: objects, expectations, and the probes of both.

use std::fs;

use anyhow::{Context, Result, anyhow, ensure};
use policy_core::compile::{Scope, compile};
use policy_core::explain::{Explanation, explain};
use policy_manifest::{
    End, Expectations, Manifests, Source, read as read_manifests, read_expectations,
};
use policy_probe::{Probe, Selection, choose};
use serde_json::Value;
use xtask::command::workspace;

/// An example.
pub(super) struct Example {
    pub(super) name: String,
    /// Its objects; addresses and images are replaced before they are applied.
    pub(super) objects: Vec<Value>,
    pub(super) manifests: Manifests,
    pub(super) expectations: Expectations,
    /// Each with the compiler's explanation.
    pub(super) probes: Vec<(Probe, Explanation)>,
}

impl Example {
    /// Removes probes from or to hosts outside of the cluster; returns how many.
    pub(super) fn leave_hosts_out(&mut self) -> usize {
        let is_inside =
            |from: &End, to: &End| !matches!(from, End::Host(_)) && !matches!(to, End::Host(_));
        let all = self.probes.len();
        self.probes.retain(|(probe, _)| is_inside(&probe.from, &probe.to));
        self.expectations.listed.retain(|listed| is_inside(&listed.from, &listed.to));
        self.manifests.hosts.clear();
        all - self.probes.len()
    }
}

/// Reads the named examples; without names, all that have expectations.
pub(super) fn read(names: &[String]) -> Result<Vec<Example>> {
    let mut names = names.to_vec();
    if names.is_empty() {
        for entry in fs::read_dir(workspace().join("examples"))? {
            let file = entry?.file_name().to_string_lossy().into_owned();
            names.extend(file.strip_suffix(".expect.yaml").map(ToOwned::to_owned));
        }
        names.sort();
    }
    ensure!(!names.is_empty(), "no examples");
    names.iter().map(|name| one(name).with_context(|| format!("example {name}"))).collect()
}

fn one(name: &str) -> Result<Example> {
    let source = source(&format!("{name}.yaml"))?;
    let objects = serde_saphyr::from_multiple::<Value>(&source.text)?;
    let manifests = read_manifests(&[source]).map_err(|errors| anyhow!("{errors:?}"))?;
    let expectations = read_expectations(&self::source(&format!("{name}.expect.yaml"))?)
        .map_err(|errors| anyhow!("{errors:?}"))?;
    let chosen = choose(&manifests, &Selection::default(), Some(&expectations))
        .map_err(|errors| anyhow!("{errors:?}"))?;
    let (desired, _) = compile(&manifests.snapshot, Scope::Cluster);
    let explained = chosen.into_iter().filter_map(|probe| {
        let explanation = explain(&manifests.snapshot, &desired, &probe.question())?;
        Some((probe, explanation))
    });
    let probes = explained.collect();
    Ok(Example { name: name.to_owned(), objects, manifests, expectations, probes })
}

fn source(file: &str) -> Result<Source> {
    let path = workspace().join("examples").join(file);
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Source { name: path.display().to_string(), text })
}
