//! Where the objects come from: files and folders, rendered charts and kustomizations, or the
//! cluster of the kubeconfig.
//!
//! Input: the options `-f`, `-R`, `-k`, `--helm` and those that name a cluster. Output: an
//! [`Origin`]. Every command reads through this module, so that each prints the same notes about
//! what is left out, and each refuses policies that no verdict covers.

use std::{
    io,
    path::{Path, PathBuf},
};

use clap::Args;
use policy_files::Tree;
use policy_manifest::{Manifests, ReadOptions, Source};
use policy_probe::{input::InputError, terminal};

use crate::{error::Error, git, output, render};

#[cfg(feature = "cluster")]
pub(crate) use crate::cluster::ClusterOptions;

/// Built without the feature `cluster`: there is no cluster to choose.
#[cfg(not(feature = "cluster"))]
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub(crate) struct ClusterOptions {}

#[cfg(not(feature = "cluster"))]
impl ClusterOptions {
    /// Whether an option names a cluster.
    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(crate) fn are_given(&self) -> bool {
        false
    }
}

/// The help of `-f`.
const FILES: &str = if cfg!(feature = "cluster") {
    "Manifests: a file, a folder (its .yaml, .yml and .json files, but no *.expect.yaml), or -; \
     without any, the cluster of the kubeconfig is read"
} else {
    "Manifests: a file, a folder (its .yaml, .yml and .json files, but no *.expect.yaml), or -"
};

/// Options of each command that reads one set of manifests or a cluster.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub(crate) struct OriginOptions {
    #[arg(short = 'f', long = "filename", value_name = "FILE", help = FILES)]
    files: Vec<PathBuf>,

    /// Render the kustomization in this folder, with kubectl or kustomize
    #[arg(short = 'k', long = "kustomize", value_name = "FOLDER")]
    kustomizations: Vec<PathBuf>,

    /// Render this Helm chart, with helm
    #[arg(long = "helm", value_name = "CHART")]
    charts: Vec<PathBuf>,

    /// Values for the chart of --helm
    #[arg(long, value_name = "FILE", requires = "charts")]
    values: Vec<PathBuf>,

    #[command(flatten)]
    reading: Reading,

    #[command(flatten)]
    cluster: ClusterOptions,
}

/// How folders and policies of other projects are read.
#[derive(Clone, Copy, Debug, Default, Args)]
#[group(skip)]
pub(crate) struct Reading {
    /// Read the folders in a folder of -f too
    #[arg(short = 'R', long)]
    recursive: bool,

    /// Answer without policies of kinds that are not evaluated, as those of Cilium or Calico, and
    /// warn that the answer does not cover them
    #[arg(long)]
    ignore_foreign: bool,
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    pub(crate) manifests: Manifests,
    /// How messages name the cluster; `None` where files were read.
    pub(crate) cluster: Option<String>,
    /// The namespace of the kubeconfig's context; `None` where files were read.
    pub(crate) namespace: Option<String>,
    /// The texts that were read, and how they were read.
    pub(crate) sources: Vec<Source>,
    pub(crate) options: ReadOptions,
    /// Folders with a kustomization of which the files were read as they are.
    pub(crate) kustomizations: Vec<PathBuf>,
}

impl OriginOptions {
    /// Removes the files with one of some endings, and returns them.
    pub(crate) fn take_files_with(&mut self, endings: &[&str]) -> Vec<PathBuf> {
        let has_one = |path: &PathBuf| {
            path.extension().is_some_and(|found| endings.iter().any(|ending| found == *ending))
        };
        let (taken, left) = std::mem::take(&mut self.files).into_iter().partition(has_one);
        self.files = left;
        taken
    }

    /// Reads the files or the cluster, and prints notes about what is left out.
    pub(crate) fn read(&self) -> Result<Origin, Error> {
        let Self { files, kustomizations, charts, values, reading, cluster } = self;
        if files.is_empty() && kustomizations.is_empty() && charts.is_empty() {
            return of_cluster(cluster, *reading);
        }
        if cluster.are_given() {
            return Err(Error::FilesAndCluster);
        }
        let mut rendered = Vec::new();
        for folder in kustomizations {
            rendered.push(render::kustomization(folder)?);
        }
        for chart in charts {
            rendered.push(render::chart(chart, values)?);
        }
        read(files, rendered, *reading)
    }

    /// The paths of files and folders that are read; empty for a cluster.
    pub(crate) fn paths(&self) -> Vec<&Path> {
        let paths = [&self.files, &self.kustomizations, &self.charts];
        paths.into_iter().flatten().map(PathBuf::as_path).collect()
    }
}

/// Reads one set of files, and prints notes about what is left out.
pub(crate) fn of_files(files: &[PathBuf], reading: Reading) -> Result<Manifests, Error> {
    Ok(read(files, Vec::new(), reading)?.manifests)
}

/// Reads the files of a Git revision, and prints notes about what is left out.
pub(crate) fn of_revision(
    revision: &str,
    files: &[PathBuf],
    reading: Reading,
) -> Result<Manifests, Error> {
    Ok(from_tree(git::read(revision, files, reading.recursive)?, Vec::new(), reading)?.manifests)
}

fn read(files: &[PathBuf], rendered: Vec<Source>, reading: Reading) -> Result<Origin, Error> {
    let tree = policy_files::read_tree(files, reading.recursive).map_err(InputError::Files)?;
    from_tree(tree, rendered, reading)
}

fn from_tree(tree: Tree, rendered: Vec<Source>, reading: Reading) -> Result<Origin, Error> {
    terminal::notes(&tree.notes());
    let Tree { mut sources, found, kustomizations, charts, .. } = tree;
    for folder in &kustomizations {
        let folder = folder.display();
        terminal::notes(&[format!(
            "{folder}: the kustomization is not rendered; -k {folder} renders it"
        )]);
    }
    for chart in charts {
        let chart = chart.display();
        terminal::notes(&[format!(
            "{chart}: the Helm chart is not read; --helm {chart} renders it"
        )]);
    }
    sources.extend(rendered);
    let options =
        ReadOptions { fill_in: true, ignore_foreign: reading.ignore_foreign, optional: found };
    let manifests = parse(&sources, &options)?;
    Ok(Origin { manifests, sources, options, kustomizations, ..Origin::default() })
}

/// Reads texts, and prints notes about what of them is left out.
fn parse(sources: &[Source], options: &ReadOptions) -> Result<Manifests, Error> {
    let manifests = policy_manifest::read_with(sources, options).map_err(InputError::Manifests)?;
    terminal::notes(&manifests.notes());
    // A failure to write is ignored, as for every message on standard error.
    let _ = output::write_warnings(&mut io::stderr(), output::WARNING, &manifests.warnings());
    Ok(manifests)
}

#[cfg(feature = "cluster")]
pub(crate) fn of_cluster(options: &ClusterOptions, reading: Reading) -> Result<Origin, Error> {
    let crate::cluster::Cluster { title, namespace, source } = crate::cluster::read(options)?;
    let ignore_foreign = reading.ignore_foreign;
    let options = ReadOptions { fill_in: true, ignore_foreign, ..ReadOptions::default() };
    let manifests = parse(&[source], &options)?;
    Ok(Origin { manifests, cluster: Some(title), namespace: Some(namespace), ..Origin::default() })
}

#[cfg(not(feature = "cluster"))]
pub(crate) fn of_cluster(_: &ClusterOptions, _: Reading) -> Result<Origin, Error> {
    Err(Error::NoFiles)
}
