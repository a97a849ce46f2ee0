//! The cluster of a kubeconfig, read as manifests would be.
//!
//! Input: the options that name a cluster. Output: one text with a document for each resource, as
//! `kubectl get -o json` prints it, for the reader of manifests: a cluster and its dump give the
//! same answers. Nothing else in this program reads a cluster.

use std::{fmt::Write, io, path::PathBuf};

use clap::Args;
use policy_kube::{Access, Client, ForeignList, RESOURCES, Server, list, list_foreign};
use policy_manifest::Source;
use policy_probe::exit;
use serde_json::json;

/// Which cluster to read.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub(crate) struct ClusterOptions {
    /// The kubeconfig, instead of those of KUBECONFIG or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig, instead of its current one
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

impl ClusterOptions {
    /// The server that they name.
    pub(crate) fn access(&self) -> Access {
        let Self { kubeconfig, context } = self.clone();
        Access { kubeconfig, context }
    }

    /// Whether an option names a cluster.
    pub(crate) fn are_given(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some()
    }
}

/// A cluster as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    /// How messages name it: `cluster CONTEXT`.
    pub(crate) title: String,
    /// The namespace of the context.
    pub(crate) namespace: String,
    /// Its objects.
    pub(crate) source: Source,
}

/// Why a cluster could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    #[error(
        "cannot choose a cluster; correct the options or the kubeconfig, or name manifests with -f"
    )]
    Choose(#[source] policy_kube::Error),
    #[error(transparent)]
    Read(policy_kube::Error),
    #[error("cannot start the network runtime")]
    Runtime(#[source] io::Error),
}

impl ClusterError {
    /// The exit code: a kubeconfig or option that must be corrected is bad input; everything else is
    /// a failure of the environment.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Choose(_) => exit::INPUT,
            Self::Read(_) | Self::Runtime(_) => exit::FAILED,
        }
    }
}

/// Reads every object that policy depends on.
pub(crate) fn read(options: &ClusterOptions) -> Result<Cluster, ClusterError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(ClusterError::Runtime)?.block_on(async {
        let server = Server::find(&options.access()).await?;
        let title = match server.context() {
            Some(context) => format!("cluster {context}"),
            None => "cluster of this pod".to_owned(),
        };
        let text = everything(&server.client_for_lists()?).await?;
        let source = Source { name: title.clone(), text };
        Ok(Cluster { title, namespace: server.namespace().to_owned(), source })
    })
}

/// The objects of all resources, a document for each; and those of policies that no verdict covers,
/// which the reader of manifests refuses or reports.
async fn everything(client: &Client) -> Result<String, ClusterError> {
    let mut text = String::new();
    for resource in &RESOURCES {
        let items = list(client, resource).await?;
        let kind = format!("{}List", resource.kind);
        let document = json!({"apiVersion": resource.api_version(), "kind": kind, "items": items});
        // With a line for each field, errors can show the line of theirs.
        let _ = writeln!(text, "---\n{document:#}");
    }
    for list in list_foreign(client).await? {
        let ForeignList { kind, api_version, items } = list;
        let kind = format!("{}List", kind.kind);
        let document = json!({"apiVersion": api_version, "kind": kind, "items": items});
        let _ = writeln!(text, "---\n{document:#}");
    }
    Ok(text)
}

impl From<policy_kube::Error> for ClusterError {
    fn from(error: policy_kube::Error) -> Self {
        if error.is_configuration() { Self::Choose(error) } else { Self::Read(error) }
    }
}
