//! `policyctl diff`: which connections open or close between two sets of manifests.

mod change;
mod ends;
mod group;
mod overlay;
mod regions;
mod sarif;
mod text;

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};
use policy_core::{
    compile::{Scope, compile},
    desired::Desired,
    explain::Explainer,
};
use policy_manifest::{Ignored, Manifests};
use policy_probe::{exit, terminal};

use serde::Serialize;

use crate::{
    error::Error,
    git::{self, RevisionRange},
    origin,
    output::{self, Paint},
};
use change::Diff;
use group::ChangedPorts;

const EXAMPLES: &str = "\
Examples:
  policyctl diff -f old.yaml -f new.yaml
      which connections open and close, and by which policies
  policyctl diff --git origin/main..HEAD -R deploy/
      check of a pull request: exits with 1 if a connection opens
  policyctl diff --git main -R deploy/ -o markdown
      the files as they are now beside a branch, for a comment
  policyctl diff --old pods.yaml --old policies/ --new pods.yaml --new changed/ -o json
      several files on each side, for another program
  policyctl diff -f policy.yaml
      what would open and close in the cluster if these policies and namespaces were applied

Compares what the pods of each workload may reach at those of each other and outside of the
cluster, as whole sets of ports and blocks, ICMP included; and Services at their own ports.
Workloads with equal changes share a line. With -o json, \"changes\" has these sets, and \"opened\"
and \"closed\" have a connection of each pair of pods at each port that a pod declares or a policy
names. Only pods that run and have an address on both sides are compared, so each side needs the
pods too: as workloads, or from a dump of the cluster.

Exit codes:
  0  no connection opened
  1  a connection opened
  2  bad input or usage
  3  the cluster cannot be read, or the tool itself failed";

#[derive(Debug, Args)]
#[command(
    after_long_help = EXAMPLES,
    group = ArgGroup::new("sides").required(true).multiple(true).args(["files", "old", "git"])
)]
pub(crate) struct DiffArguments {
    #[command(flatten)]
    reading: origin::Reading,

    #[command(flatten)]
    cluster: origin::ClusterOptions,

    /// Manifests: given twice, old and new; given once, applied to the cluster of the kubeconfig
    #[arg(short = 'f', long = "filename", value_name = "FILE", conflicts_with_all = ["old", "new"])]
    files: Vec<PathBuf>,

    /// Manifests before the change
    #[arg(long, value_name = "FILE", requires = "new")]
    old: Vec<PathBuf>,

    /// Manifests after the change
    #[arg(long, value_name = "FILE", requires = "old")]
    new: Vec<PathBuf>,

    /// Compare two Git revisions, or one with the files as they are
    #[arg(long, value_name = "OLD[..NEW]", value_parser = git::range, conflicts_with_all = ["old", "new"])]
    git: Option<RevisionRange>,

    /// Files and folders to compare with --git
    #[arg(value_name = "PATH", requires = "git")]
    paths: Vec<PathBuf>,

    /// What to print on standard output
    #[arg(short, long, value_enum, default_value_t)]
    output: DiffFormat,
}

/// Form of the difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum DiffFormat {
    /// For people
    #[default]
    #[value(alias = "table")]
    Text,
    /// For programs
    Json,
    /// For a comment on a pull request
    Markdown,
    /// For code scanning (SARIF 2.1.0)
    Sarif,
}

/// A compiled side.
struct Side<'a> {
    manifests: &'a Manifests,
    desired: &'a Desired,
    explainer: Explainer<'a>,
}

impl<'a> Side<'a> {
    fn new(manifests: &'a Manifests, desired: &'a Desired) -> Self {
        Self { manifests, desired, explainer: Explainer::new(&manifests.snapshot, desired) }
    }
}

/// The difference for programs.
#[derive(Serialize)]
struct Difference<'a> {
    #[serde(flatten)]
    rows: Diff,
    /// The same by workload, set of ports and block.
    changes: &'a [ChangedPorts],
}

/// Reads the two sides to compare: old and new.
fn sides(arguments: &DiffArguments) -> Result<(Manifests, Manifests), Error> {
    let DiffArguments { reading, cluster, files, old, new, git, paths, .. } = arguments;
    if let Some(range) = git {
        if cluster.are_given() {
            return Err(Error::FilesAndCluster);
        }
        return of_range(range, &[&files[..], &paths[..]].concat(), *reading);
    }
    let one = cfg!(feature = "cluster") && files.len() == 1;
    if !one && cluster.are_given() {
        return Err(Error::FilesAndCluster);
    }
    let (old, new) = match files.as_slice() {
        [new] if one => {
            let new = origin::of_files(std::slice::from_ref(new), *reading)?;
            let cluster = origin::of_cluster(cluster, *reading)?.manifests;
            let (new, left_out) = overlay::apply(&cluster, new);
            terminal::notes(&left_out);
            return Ok((cluster, new));
        }
        [old, new] => (vec![old.clone()], vec![new.clone()]),
        [] => (old.clone(), new.clone()),
        _ => return Err(Error::NotTwo),
    };
    Ok((origin::of_files(&old, *reading)?, origin::of_files(&new, *reading)?))
}

/// Reads the two sides of `--git`; without paths, this folder.
fn of_range(
    range: &RevisionRange,
    paths: &[PathBuf],
    reading: origin::Reading,
) -> Result<(Manifests, Manifests), Error> {
    let here = [PathBuf::from(".")];
    let paths = if paths.is_empty() { &here } else { paths };
    let old = origin::of_revision(&range.old, paths, reading)?;
    let new = match &range.new {
        Some(revision) => origin::of_revision(revision, paths, reading)?,
        None => origin::of_files(paths, reading)?,
    };
    Ok((old, new))
}

/// Adds to the new side the policies of the old one that no verdict covers: a difference is about
/// both.
fn add_foreign_policies(old: &Manifests, new: &mut Manifests) {
    let of_new = &mut new.left_out.foreign_policies;
    let of_old = old.left_out.foreign_policies.iter().filter(|one| !of_new.contains(one));
    let of_old: Vec<Ignored> = of_old.cloned().collect();
    of_new.splice(..0, of_old);
}

/// Prints what changes; the exit code.
pub(crate) fn main(arguments: &DiffArguments) -> Result<u8, Error> {
    let (old, mut new) = sides(arguments)?;
    add_foreign_policies(&old, &mut new);
    terminal::notes(&ends::only_in_one(&old.snapshot, &new.snapshot));
    let before = compile(&old.snapshot, Scope::Cluster).0;
    let (after, faults) = compile(&new.snapshot, Scope::Cluster);
    let keeps_rows = arguments.output == DiffFormat::Sarif;
    let groups = group::groups(&Side::new(&old, &before), &Side::new(&new, &after), keeps_rows)?;
    match arguments.output {
        DiffFormat::Text => {
            let text = text::text(&groups, Paint::of_stdout());
            output::print_warned(&text, output::WARNING, &new.warnings())?;
        }
        DiffFormat::Json => {
            let difference = Difference { rows: Diff::between(&old, &new)?, changes: &groups };
            output::print(&output::Document::new(&difference, &new).json()?)?;
        }
        DiffFormat::Markdown => {
            let text = text::markdown(&groups);
            output::print_warned(&text, output::MARKDOWN_WARNING, &new.warnings())?;
        }
        DiffFormat::Sarif => output::print(&output::json(&sarif::log(&groups, &new))?)?,
    }
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    terminal::notes(&faults);
    Ok(if groups.iter().any(ChangedPorts::opens) { exit::FINDINGS } else { exit::FINE })
}
