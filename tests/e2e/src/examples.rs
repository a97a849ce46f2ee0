//! `cargo xtask e2e`: the examples as real pods and policies, first without the agent,
//! where nothing may be denied, then with it.

mod drops;
mod example;
mod mapping;
mod probes;
mod stage;

use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Result, bail};
use clap::Args;
use policy_probe::{Style, Table, check, text};
use testbed::kubectl::Kubectl;
use testbed::layout::{CLUSTERS, Layout};
use xtask::image::Build;

use super::install;
use example::Example;
use probes::Seen;
use stage::Stage;

pub(super) use stage::define_cluster_policies;

/// What clusters of short runs are called, before the number of the process that made them.
const SHORT: &str = "test-";

/// Which examples, and where.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Options {
    /// A cluster that is there, with both images on its nodes, instead of one that is made for it
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    shape: testbed::Shape,
    /// With the agent as the tests build it, which takes less time
    #[arg(long, conflicts_with = "kubeconfig")]
    debug: bool,
    /// Leave the cluster as it is at the end
    #[arg(long)]
    keep: bool,
    /// Names of files in examples/; all that have expectations by default
    examples: Vec<String>,
}

/// Where the tests run.
pub(crate) struct Target {
    pub(super) kubectl: Kubectl,
    /// Our own cluster, beside which hosts can be put.
    pub(super) local: Option<Layout>,
}

/// What came of an example, for the table at the end.
struct Played {
    name: String,
    probes: usize,
    denied_without: usize,
    denied_after: usize,
    summary: String,
    is_fine: bool,
}

/// Runs the examples on the cluster that the options name.
pub(super) fn run(options: &Options) -> Result<()> {
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
        let kubectl = Kubectl::of(Some(kubeconfig.clone()));
        return all(&Target { kubectl, local: None }, &examples);
    }
    let build = if options.debug { Build::Debug } else { Build::Release };
    on_own("e2e", &options.shape, options.keep, build, |target| all(target, &examples))
}

/// One example on a small cluster, with the agent that the tests have built.
pub(crate) fn short() -> Result<()> {
    let examples = example::read(&["three-tier".to_owned()])?;
    remove_forgotten()?;
    // Several may run on one machine.
    let name = format!("{SHORT}{}", process::id());
    on_own(&name, &testbed::Shape::default(), false, Build::Debug, |target| all(target, &examples))
}

/// Takes down clusters of short runs that were killed.
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

/// Makes a cluster with both images, and takes it down whatever comes of `act`.
pub(super) fn on_own(
    name: &str,
    shape: &testbed::Shape,
    keep: bool,
    build: Build,
    act: impl FnOnce(&Target) -> Result<()>,
) -> Result<()> {
    let layout = Layout::of(name);
    let agent = xtask::image::build(build)?;
    testbed::up(&layout, shape)?;
    let outcome = (|| {
        testbed::load(&layout, &agent)?;
        let kubectl = Kubectl::local(&layout)?;
        act(&Target { kubectl, local: Some(layout.clone()) })
    })();
    if !keep {
        testbed::down(&layout)?;
    }
    outcome
}

fn all(target: &Target, examples: &[Example]) -> Result<()> {
    if target.kubectl.succeeds(&["get", "namespace", install::NAMESPACE]) {
        bail!("the agent is installed already; the first probes are to show that it is needed");
    }
    if !target.kubectl.succeeds(&["get", "crd", "clusternetworkpolicies.policy.networking.k8s.io"])
    {
        define_cluster_policies(&target.kubectl)?;
    }
    let mut results = Vec::new();
    for example in examples {
        results.push(one(target, example)?);
    }
    println!(
        "{:24} {:>6} {:>13} {:>12}  WITH THE AGENT",
        "EXAMPLE", "PROBES", "DENIED BEFORE", "DENIED AFTER"
    );
    for result in &results {
        let Played { name, probes, denied_without, denied_after, summary, .. } = result;
        println!("{name:24} {probes:>6} {denied_without:>13} {denied_after:>12}  {summary}");
    }
    if results.iter().any(|result| !result.is_fine) {
        bail!("not every example holds");
    }
    let Some(layout) = &target.local else { return Ok(()) };
    println!("== the chained plugin comes and goes");
    install::plugin_comes_and_goes(&target.kubectl, layout)
}

fn one(target: &Target, example: &Example) -> Result<Played> {
    println!("== {}", example.name);
    let stage = Stage::set(target, example)?;
    let outcome = (|| {
        let denied = || {
            Ok::<_, anyhow::Error>(
                probes::run(&stage)?.iter().filter(|seen| **seen != Seen::Answered).count(),
            )
        };
        let denied_without = denied()?;
        let took = install::agent(&target.kubectl)?;
        println!("agent ready after {:.1} s", took.as_secs_f64());
        let table = Table { probes: probes::judged(&stage)? };
        install::remove(&target.kubectl)?;
        if let Some(layout) = &target.local {
            install::left_nothing(layout)?;
        }
        let denied_after = denied()?;
        let mismatches = check(&table.probes, &example.expectations);
        let report = text(&table, &mismatches, Style::default());
        println!("{report}");
        let disagree = table.probes.iter().any(|row| !row.agrees());
        Ok(Played {
            name: example.name.clone(),
            probes: example.probes.len(),
            denied_without,
            denied_after,
            summary: report.trim_end().lines().last().unwrap_or_default().to_owned(),
            is_fine: denied_without + denied_after == 0 && mismatches.is_empty() && !disagree,
        })
    })();
    stage.strike()?;
    outcome
}

/// The program that runs in pods, as one that runs on this machine.
fn pod_program() -> Result<PathBuf> {
    xtask::image::build_pod_program()
}
