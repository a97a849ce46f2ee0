//! Where the objects come from: manifests, or the cluster of the kubeconfig.

use std::path::PathBuf;

use clap::Args;
use policy_manifest::Manifests;
use policy_probe::{input, terminal};

use crate::error::Error;

#[cfg(feature = "cluster")]
pub(crate) use crate::cluster::Options as Cluster;

/// Built without the feature `cluster`: there is no cluster to choose.
#[cfg(not(feature = "cluster"))]
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub(crate) struct Cluster {}

#[cfg(not(feature = "cluster"))]
impl Cluster {
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

/// Options `-f`, `--kubeconfig` and `--context`.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub(crate) struct Options {
    #[arg(short = 'f', long = "filename", value_name = "FILE", help = FILES)]
    files: Vec<PathBuf>,

    #[command(flatten)]
    cluster: Cluster,
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    pub(crate) manifests: Manifests,
    /// How messages name the cluster; `None` where files were read.
    pub(crate) cluster: Option<String>,
    /// The namespace of the kubeconfig's context; `None` where files were read.
    pub(crate) namespace: Option<String>,
}

impl Options {
    /// Reads the files or the cluster.
    pub(crate) fn read(&self) -> Result<Origin, Error> {
        read(&self.files, &self.cluster)
    }
}

/// Reads files, or the cluster where there are none.
fn read(files: &[PathBuf], cluster: &Cluster) -> Result<Origin, Error> {
    if files.is_empty() {
        return of_cluster(cluster);
    }
    if cluster.are_given() {
        return Err(Error::FilesAndCluster);
    }
    terminal::notes(&policy_files::notes(files));
    Ok(Origin { manifests: input::manifests(files)?, ..Origin::default() })
}

#[cfg(feature = "cluster")]
pub(crate) fn of_cluster(options: &Cluster) -> Result<Origin, Error> {
    let crate::cluster::Cluster { title, namespace, source } = crate::cluster::read(options)?;
    let manifests = policy_manifest::read(&[source]).map_err(input::InputError::Manifests)?;
    Ok(Origin { manifests, cluster: Some(title), namespace: Some(namespace) })
}

#[cfg(not(feature = "cluster"))]
pub(crate) fn of_cluster(_: &Cluster) -> Result<Origin, Error> {
    Err(Error::NoFiles)
}
