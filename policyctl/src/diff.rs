//! `policyctl diff`: which connections open or close between two sets of manifests.

mod change;
mod ends;
mod laid_over;
mod regions;

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use policy_core::compile::{Scope, compile};
use policy_manifest::Manifests;
use policy_probe::{exit, input, terminal};

use crate::{error::Error, origin, output, output::Format};
use change::Diff;

const EXAMPLES: &str = "\
Examples:
  policyctl diff -f old.yaml -f new.yaml
      what opens and what closes, and by which policies
  git worktree add /tmp/base origin/main
  policyctl diff --old /tmp/base/manifests --new manifests
      gate a pull request: fails where something opens
  policyctl diff --old cluster.yaml --old policies/ --new cluster.yaml --new changed-policies/ -o json
      several files on each side, for another program
  policyctl diff -f policy.yaml
      what would open and close in the cluster if these policies and namespaces were applied

Compared are the pods that both sides have, Services at their ports, hosts, and addresses in and beside the blocks that
policies name, at every port that a pod declares or a policy names, and at one that nothing names, over TCP, UDP and
SCTP. Pods count that run and have an address on both sides, so that each side needs them, as of the cluster's dump.

Exit codes:
  0  nothing opened
  1  something opened
  2  bad input or usage
  3  the cluster cannot be read, or the tool itself failed";

#[derive(Debug, Args)]
#[command(
    after_long_help = EXAMPLES,
    group = ArgGroup::new("sides").required(true).multiple(true).args(["files", "old"])
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    cluster: origin::Cluster,

    /// Manifests, twice: the old ones and the new ones; once: as if applied to the cluster
    #[arg(short = 'f', long = "filename", value_name = "FILE", conflicts_with_all = ["old", "new"])]
    files: Vec<PathBuf>,

    /// Manifests before the change
    #[arg(long, value_name = "FILE", requires = "new")]
    old: Vec<PathBuf>,

    /// Manifests after it
    #[arg(long, value_name = "FILE", requires = "old")]
    new: Vec<PathBuf>,

    /// What to print on standard output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Reads what to compare.
fn sides(arguments: &Arguments) -> Result<(Manifests, Manifests), Error> {
    let Arguments { cluster, files, old, new, .. } = arguments;
    terminal::notes(&policy_files::notes(&[files.as_slice(), old, new].concat()));
    let one = cfg!(feature = "cluster") && files.len() == 1;
    if !one && cluster.are_given() {
        return Err(Error::FilesAndCluster);
    }
    let (old, new) = match files.as_slice() {
        [new] if one => {
            let new = input::manifests(std::slice::from_ref(new))?;
            let cluster = origin::of_cluster(cluster)?.manifests;
            let (new, left_out) = laid_over::apply(&cluster, new);
            terminal::notes(&left_out);
            return Ok((cluster, new));
        }
        [old, new] => (vec![old.clone()], vec![new.clone()]),
        [] => (old.clone(), new.clone()),
        _ => return Err(Error::NotTwo),
    };
    Ok((input::manifests(&old)?, input::manifests(&new)?))
}

/// Prints what changes; the exit code.
pub(crate) fn main(arguments: &Arguments) -> Result<u8, Error> {
    let (old, new) = sides(arguments)?;
    terminal::notes(&ends::only_in_one(&old.snapshot, &new.snapshot));
    let diff = Diff::between(&old, &new)?;
    match arguments.output {
        Format::Text => output::print(&diff.text(terminal::style().colour))?,
        Format::Json => output::print(&output::json(&diff)?)?,
    }
    let faults = compile(&new.snapshot, Scope::Cluster).1;
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    terminal::notes(&faults);
    Ok(if diff.opened() { exit::FINDINGS } else { exit::FINE })
}
