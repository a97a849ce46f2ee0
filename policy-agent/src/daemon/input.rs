//! What the daemon is told of the cluster, from whichever source, and whether that is all.

use std::collections::BTreeSet;

use policy_manifest::Manifests;
use tokio::sync::mpsc::Receiver;

use super::Origin;
use crate::source::{
    files::{self, FilesError},
    kubernetes::{self, Client, Event, Kind, KubernetesError},
};

/// An open source.
pub(super) enum Input {
    Files(Receiver<Result<Manifests, FilesError>>),
    Kubernetes(Client, Receiver<Event>),
}

/// What a source tells.
pub(super) enum Told {
    /// Everything, or what is wrong with it.
    Files(Result<Manifests, FilesError>),
    /// A part.
    Kubernetes(Event),
}

impl Input {
    pub(super) async fn open(origin: &Origin) -> Result<Self, KubernetesError> {
        Ok(match origin {
            Origin::Manifests(folder) => Self::Files(files::follow(folder)),
            Origin::Kubernetes(access) => {
                let client = kubernetes::client(access).await?;
                let events = kubernetes::follow(&client);
                Self::Kubernetes(client, events)
            }
        })
    }

    /// A client of the API server, where there is one.
    pub(super) fn client(&self) -> Option<&Client> {
        match self {
            Self::Files(_) => None,
            Self::Kubernetes(client, _) => Some(client),
        }
    }

    /// What is told next; `None` where nothing ever will be.
    pub(super) async fn next(&mut self) -> Option<Told> {
        match self {
            Self::Files(manifests) => manifests.recv().await.map(Told::Files),
            Self::Kubernetes(_, events) => events.recv().await.map(Told::Kubernetes),
        }
    }
}

/// Which kinds were listed so far.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeSet<Kind>);

impl Known {
    /// Whether every kind was.
    pub(super) fn is_complete(&self) -> bool {
        self.0.len() == Kind::ALL.len()
    }

    /// Those that were not.
    pub(super) fn missing(&self) -> Vec<String> {
        let missing = Kind::ALL.iter().filter(|kind| !self.0.contains(kind));
        missing.map(ToString::to_string).collect()
    }

    /// All of them are known at once.
    pub(super) fn everything(&mut self) {
        self.0.extend(Kind::ALL);
    }

    /// A kind is listed; whether it was the last that was missing.
    pub(super) fn listed(&mut self, kind: Kind) -> bool {
        !self.is_complete() && self.0.insert(kind) && self.is_complete()
    }
}
