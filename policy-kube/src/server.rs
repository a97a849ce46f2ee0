//! The cluster, as its API server tells it: one watch for each kind that policy depends on.
//!
//! Nothing is complete before each watch has given its first list; what has changed while a watch
//! was broken comes with the list that it begins again with.

mod answers;
mod discovery;
mod error;
mod events;
mod kind;
mod watch;

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

pub use kube::Client;
use kube::{
    Config,
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig},
};
use policy_core::{compile::Change, model::ObjectName};
use policy_manifest::ManifestError;
use thiserror::Error;
use tokio::sync::mpsc;
use tower::timeout::TimeoutLayer;

pub use discovery::DiscoveryError;
pub use error::WatchError;
pub use events::{Announcement, Announcements, announce};
pub use kind::Kind;

/// What waits for the daemon: a list is fetched no faster than it is taken.
const QUEUE: usize = 1024;
/// Longest wait for the head of an answer: a request may be swallowed on the way.
const HEAD: Duration = Duration::from_secs(30);
/// Longest silence in the body of one. A watch is ended by the server before that, after 290 s.
const SILENCE: Duration = Duration::from_secs(295);

/// Where the API server is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// A kubeconfig; without one, the service account of the pod, or what `KUBECONFIG` names.
    pub kubeconfig: Option<PathBuf>,
}

/// Why there is no API server to ask.
#[derive(Debug, Error)]
pub enum KubernetesError {
    /// The kubeconfig, or the service account.
    #[error("cannot tell where the API server is: give --kubeconfig, or --manifests for a folder")]
    Config(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A certificate or key.
    #[error("cannot make a client of the API server")]
    Client(#[source] Box<kube::Error>),
}

/// What an API server tells.
#[derive(Debug)]
pub enum Event {
    /// An object came, changed or went.
    Changed(Change),
    /// A list of a kind is complete; objects that are not in it are gone.
    Listed(Kind, BTreeSet<ObjectName>),
    /// Parts of an object cannot be read; it has been changed to its closed reading.
    Illegible(Vec<ManifestError>),
    /// A watch is broken, and will be tried again.
    Broken(Kind, WatchError),
    /// A watch that was broken is not any more.
    Mended(Kind),
}

/// A client of the API server; nothing is asked yet.
///
/// # Errors
///
/// Where it cannot be told which API server. One that is away is waited for.
pub async fn client(access: &Access) -> Result<Client, KubernetesError> {
    let mut config = config(access).await.map_err(KubernetesError::Config)?;
    config.read_timeout = Some(SILENCE);
    config.reset_reader_on_write = true;
    // Whoever asks has waits of its own, and tells what was answered.
    config.default_retry = false;
    let builder = ClientBuilder::try_from(config);
    let builder = builder.map_err(|error| KubernetesError::Client(Box::new(error)))?;
    Ok(builder.with_layer(&TimeoutLayer::new(HEAD)).build())
}

/// Follows the kinds that policy depends on, until the receiver is dropped.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O and time enabled.
#[must_use]
pub fn follow(client: &Client) -> mpsc::Receiver<Event> {
    let (events, inbox) = mpsc::channel(QUEUE);
    for kind in Kind::ALL {
        tokio::spawn(watch::follow(client.clone(), kind, events.clone()));
    }
    inbox
}

async fn config(access: &Access) -> Result<Config, Box<dyn std::error::Error + Send + Sync>> {
    let Some(path) = &access.kubeconfig else { return Ok(Config::infer().await?) };
    let kubeconfig = Kubeconfig::read_from(path)?;
    Ok(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
}
