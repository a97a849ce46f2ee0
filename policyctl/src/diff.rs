//! `policyctl diff`: which connections open or close between two sets of manifests.

mod change;
mod ends;
mod overlay;
mod regions;

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use policy_core::compile::{Scope, compile};
use policy_manifest::{Ignored, Manifests};
use policy_probe::{exit, terminal};

use crate::{
    error::Error,
    origin, output,
    output::{Format, Paint},
};
use change::Diff;

const EXAMPLES: &str = "\
Examples:
  policyctl diff -f old.yaml -f new.yaml
      which connections open and close, and by which policies
  git worktree add /tmp/base origin/main
  policyctl diff --old /tmp/base/manifests --new manifests
      check of a pull request: exits with 1 if a connection opens
  policyctl diff --old pods.yaml --old policies/ --new pods.yaml --new changed/ -o json
      several files on each side, for another program
  policyctl diff -f policy.yaml
      what would open and close in the cluster if these policies and namespaces were applied

Compares pods, hosts, and one address inside and one outside of each block that policies name, at
every port that a pod declares or a policy names, and at one that neither names, over TCP, UDP and
SCTP; and Services at their own ports. Only pods that run and have an address on both sides are
compared, so each side needs the pods too, for example from a dump of the cluster.

Exit codes:
  0  no connection opened
  1  a connection opened
  2  bad input or usage
  3  the cluster cannot be read, or the tool itself failed";

#[derive(Debug, Args)]
#[command(
    after_long_help = EXAMPLES,
    group = ArgGroup::new("sides").required(true).multiple(true).args(["files", "old"])
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    reading: origin::Reading,

    #[command(flatten)]
    cluster: origin::Cluster,

    /// Manifests: given twice, old and new; given once, applied to the cluster of the kubeconfig
    #[arg(short = 'f', long = "filename", value_name = "FILE", conflicts_with_all = ["old", "new"])]
    files: Vec<PathBuf>,

    /// Manifests before the change
    #[arg(long, value_name = "FILE", requires = "new")]
    old: Vec<PathBuf>,

    /// Manifests after the change
    #[arg(long, value_name = "FILE", requires = "old")]
    new: Vec<PathBuf>,

    /// What to print on standard output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Reads the two sides to compare: old and new.
fn sides(arguments: &Arguments) -> Result<(Manifests, Manifests), Error> {
    let Arguments { reading, cluster, files, old, new, .. } = arguments;
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

/// Adds to the new side the policies of the old one that no verdict covers: a difference is about
/// both.
fn add_foreign_policies(old: &Manifests, new: &mut Manifests) {
    let of_new = &mut new.left_out.foreign_policies;
    let of_old = old.left_out.foreign_policies.iter().filter(|one| !of_new.contains(one));
    let of_old: Vec<Ignored> = of_old.cloned().collect();
    of_new.splice(..0, of_old);
}

/// Prints what changes; the exit code.
pub(crate) fn main(arguments: &Arguments) -> Result<u8, Error> {
    let (old, mut new) = sides(arguments)?;
    add_foreign_policies(&old, &mut new);
    terminal::notes(&ends::only_in_one(&old.snapshot, &new.snapshot));
    let diff = Diff::between(&old, &new)?;
    match arguments.output {
        Format::Text => {
            let text = diff.text(Paint::of_stdout());
            output::print_warned(&text, output::WARNING, &new.warnings())?;
        }
        Format::Json => output::print(&output::Document::new(&diff, &new).json()?)?,
    }
    let faults = compile(&new.snapshot, Scope::Cluster).1;
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    terminal::notes(&faults);
    Ok(if diff.opened() { exit::FINDINGS } else { exit::FINE })
}
