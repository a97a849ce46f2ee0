//! The cluster of a kubeconfig, read as manifests would be.
//!
//! What the API server lists is handed to the reader of manifests as the text that it is, so that a
//! cluster and its dump give the same. Nothing else in this program knows Kubernetes.

mod error;
mod list;

use std::{io, path::PathBuf, time::Duration};

use clap::Args;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use policy_manifest::Source;

pub(crate) use error::Error;

/// How long to wait for a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which cluster to read.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub(crate) struct Options {
    /// The kubeconfig, instead of those of KUBECONFIG or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig, instead of its current one
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

impl Options {
    /// Whether a cluster is asked for by name.
    pub(crate) fn are_given(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some()
    }
}

/// A cluster as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    /// What to call it: `cluster CONTEXT`.
    pub(crate) title: String,
    /// The namespace of the context.
    pub(crate) namespace: String,
    /// Its objects.
    pub(crate) source: Source,
}

/// Reads every object that policy depends on.
pub(crate) fn read(options: &Options) -> Result<Cluster, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::Runtime)?.block_on(async {
        let (title, mut config) = config(options).await?;
        config.connect_timeout = Some(PATIENCE);
        let (namespace, server) =
            (config.default_namespace.clone(), config.cluster_url.to_string());
        let client = Client::try_from(config).map_err(|error| Error::Client(Box::new(error)))?;
        let text = list::everything(&client, &server).await?;
        let source = Source { name: title.clone(), text };
        Ok(Cluster { title, namespace, source })
    })
}

/// What the kubeconfig says, and what to call the cluster; in a pod without one, its service account.
async fn config(options: &Options) -> Result<(String, Config), Error> {
    let found = match &options.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let kubeconfig = match found {
        Ok(kubeconfig) => kubeconfig,
        Err(error)
            if options.kubeconfig.is_none() && options.context.is_none() && is_absent(&error) =>
        {
            // There may be one for every pod.
            let config = Config::incluster().map_err(Error::NoKubeconfig)?;
            return Ok(("cluster of this pod".to_owned(), config));
        }
        Err(error) => return Err(Error::Kubeconfig(Box::new(error))),
    };
    let context = options.context.as_ref().or(kubeconfig.current_context.as_ref());
    let context = context.filter(|context| !context.is_empty()).ok_or(Error::NoContext)?.clone();
    let known = kubeconfig.contexts.iter().map(|context| context.name.clone());
    let known: Vec<String> = known.collect();
    if !known.contains(&context) {
        return Err(Error::UnknownContext { context, known });
    }
    let chosen = KubeConfigOptions { context: options.context.clone(), ..Default::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &chosen).await;
    let config = config.map_err(|error| Error::Kubeconfig(Box::new(error)))?;
    Ok((format!("cluster {context}"), config))
}

/// Whether there is no kubeconfig at all.
fn is_absent(error: &KubeconfigError) -> bool {
    let missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    matches!(error, KubeconfigError::FindPath)
        || matches!(error, KubeconfigError::ReadConfig(error, _) if missing(error))
}
