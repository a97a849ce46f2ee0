//! `cargo xtask e2e`: runs the examples as real pods and policies: first without the agent, where
//! nothing may be denied, then with it, then without it.
//!
//! For each example the probes of `policy_probe` are run from inside of the pods. The result is the
//! table of the lab, with the wire's verdict beside the compiler's.

mod deployed;
mod drops;
mod example;
mod mapping;
mod probes;

use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Result, bail};
use clap::Args;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use policy_probe::{Style, Table, check, text};
use testbed::layout::{CLUSTERS, Layout};
use xtask::build::Profile;

use super::cluster::{TestCluster, on_own};
use super::install;
use deployed::DeployedExample;
use example::Example;
use probes::Observation;

pub(super) use deployed::define_cluster_policies;

/// Start of the names of short runs' clusters; the number of the process follows.
const SHORT: &str = "test-";

/// Which examples to run, and on which cluster.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ExamplesOptions {
    /// Use an existing cluster, with both images on its nodes, instead of starting one
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    shape: testbed::Shape,
    /// Use the debug build of the agent, as the tests do; it compiles faster
    #[arg(long, conflicts_with = "kubeconfig")]
    debug: bool,
    /// Leave the cluster running at the end
    #[arg(long)]
    keep: bool,
    /// Names of files in examples/; all that have expectations by default
    examples: Vec<String>,
}

/// The result of an example, for the table at the end.
struct ExampleResult {
    name: String,
    probes: usize,
    denied_without: usize,
    denied_after: usize,
    summary: String,
    is_fine: bool,
}

/// Runs the examples on the cluster that the options name.
pub(super) fn run(options: &ExamplesOptions) -> Result<()> {
    let mut examples = example::read(&options.examples)?;
    if let Some(kubeconfig) = &options.kubeconfig {
        for example in &mut examples {
            let left_out = example.leave_hosts_out();
            if left_out > 0 {
                println!(
                    "{}: {left_out} probes from or to hosts outside are left out",
                    example.name
                );
            }
        }
        return all(&TestCluster::of(kubeconfig)?, &examples);
    }
    let profile = if options.debug { Profile::Debug } else { Profile::Release };
    on_own("e2e", &options.shape, options.keep, profile, |cluster| all(cluster, &examples))
}

/// One example on a small cluster, with the agent that the tests have built.
pub(crate) fn short() -> Result<()> {
    let examples = example::read(&["three-tier".to_owned()])?;
    remove_forgotten()?;
    // Several runs on one machine must not share a cluster.
    let name = format!("{SHORT}{}", process::id());
    on_own(&name, &testbed::Shape::default(), false, Profile::Debug, |cluster| {
        all(cluster, &examples)
    })
}

/// Removes the clusters of short runs that were killed.
fn remove_forgotten() -> Result<()> {
    let Ok(entries) = fs::read_dir(CLUSTERS) else { return Ok(()) };
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let Some(pid) = name.strip_prefix(SHORT) else { continue };
        if !Path::new("/proc").join(pid).exists() {
            testbed::down(&Layout::of(&name))?;
        }
    }
    Ok(())
}

fn all(cluster: &TestCluster, examples: &[Example]) -> Result<()> {
    if install::exists(cluster)? {
        bail!("the agent is installed already; the first probes must run without it");
    }
    let definitions = cluster.client.cluster_wide::<CustomResourceDefinition>();
    if !definitions.exists("clusternetworkpolicies.policy.networking.k8s.io")? {
        define_cluster_policies(&cluster.client)?;
    }
    let mut results = Vec::new();
    for example in examples {
        results.push(one(cluster, example)?);
    }
    println!(
        "{:24} {:>6} {:>13} {:>12}  WITH THE AGENT",
        "EXAMPLE", "PROBES", "DENIED BEFORE", "DENIED AFTER"
    );
    for result in &results {
        let ExampleResult { name, probes, denied_without, denied_after, summary, .. } = result;
        println!("{name:24} {probes:>6} {denied_without:>13} {denied_after:>12}  {summary}");
    }
    if results.iter().any(|result| !result.is_fine) {
        bail!("not every example holds");
    }
    let Some(layout) = &cluster.local else { return Ok(()) };
    println!("== the chained plugin comes and goes");
    install::plugin_comes_and_goes(cluster, layout)
}

fn one(cluster: &TestCluster, example: &Example) -> Result<ExampleResult> {
    println!("== {}", example.name);
    let deployed = DeployedExample::deploy(cluster, example)?;
    let outcome = (|| {
        let denied = || {
            Ok::<_, anyhow::Error>(
                probes::run(&deployed)?
                    .iter()
                    .filter(|seen| **seen != Observation::Answered)
                    .count(),
            )
        };
        let denied_without = denied()?;
        let took = install::agent(cluster)?;
        println!("agent ready after {:.1} s", took.as_secs_f64());
        let table = Table { probes: probes::judged(&deployed)? };
        install::remove(cluster)?;
        if let Some(layout) = &cluster.local {
            install::left_nothing(layout)?;
        }
        let denied_after = denied()?;
        let mismatches = check(&table.probes, &example.expectations);
        let report = text(&table, &mismatches, Style::default());
        println!("{report}");
        let disagree = table.probes.iter().any(|row| !row.agrees());
        Ok(ExampleResult {
            name: example.name.clone(),
            probes: example.probes.len(),
            denied_without,
            denied_after,
            summary: report.trim_end().lines().last().unwrap_or_default().to_owned(),
            is_fine: denied_without + denied_after == 0 && mismatches.is_empty() && !disagree,
        })
    })();
    deployed.remove()?;
    outcome
}

/// The program of the test pods, to run on this machine.
fn pod_program() -> Result<PathBuf> {
    xtask::image::build_pod_program()
}
