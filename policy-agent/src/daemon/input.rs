//! The source of the cluster's state, and how much of the cluster has arrived.

use std::collections::{BTreeMap, BTreeSet};

use policy_manifest::Manifests;
use tokio::sync::mpsc::Receiver;

use super::{Origin, report};
use crate::{
    chain::chain,
    source::{
        files::{self, FilesError},
        kubernetes::{self, Client, Event, Kind, KubernetesError, WatchError},
    },
};

/// An open source.
pub(super) enum Source {
    Files(Receiver<Result<Manifests, FilesError>>),
    Kubernetes(Client, Receiver<Event>),
}

/// An event of a source.
pub(super) enum SourceEvent {
    /// All manifests, or what is wrong with them.
    Files(Result<Manifests, FilesError>),
    /// A change of one object or watch.
    Kubernetes(Event),
}

impl Source {
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

    /// The client of the API server, where that is the source.
    pub(super) fn client(&self) -> Option<&Client> {
        match self {
            Self::Files(_) => None,
            Self::Kubernetes(client, _) => Some(client),
        }
    }

    /// The next event; `None` where no more can come.
    pub(super) async fn next(&mut self) -> Option<SourceEvent> {
        match self {
            Self::Files(manifests) => manifests.recv().await.map(SourceEvent::Files),
            Self::Kubernetes(_, events) => events.recv().await.map(SourceEvent::Kubernetes),
        }
    }
}

/// Which kinds were listed so far, and which cannot be watched at the moment.
#[derive(Debug, Default)]
pub(super) struct SyncState {
    listed: BTreeSet<Kind>,
    failed_watches: BTreeMap<Kind, String>,
}

impl SyncState {
    /// Whether every kind was listed.
    pub(super) fn is_complete(&self) -> bool {
        self.listed.len() == Kind::ALL.len()
    }

    /// The kinds that were not listed, with the reasons.
    pub(super) fn missing(&self) -> Vec<String> {
        let missing = Kind::ALL.iter().filter(|kind| !self.listed.contains(kind));
        let with_reason = |kind: &Kind| match self.failed_watches.get(kind) {
            Some(reason) => format!("{kind} ({reason})"),
            None => kind.to_string(),
        };
        missing.map(with_reason).collect()
    }

    /// Notes that all kinds were listed at once.
    pub(super) fn list_all(&mut self) {
        self.listed.extend(Kind::ALL);
    }

    /// Notes that a kind was listed; whether it was the last one missing.
    pub(super) fn list(&mut self, kind: Kind) -> bool {
        !self.is_complete() && self.listed.insert(kind) && self.is_complete()
    }

    /// Notes that a kind cannot be watched. Its objects stay as they were, and the kind stays listed.
    pub(super) fn watch_failed(&mut self, kind: Kind, error: &WatchError) {
        let reason = chain(error);
        if self.failed_watches.get(&kind) != Some(&reason) {
            report::watch_broken(kind, &reason, self.listed.contains(&kind));
            self.failed_watches.insert(kind, reason);
        }
    }

    /// Notes that a kind can be watched again.
    pub(super) fn watch_recovered(&mut self, kind: Kind) {
        if self.failed_watches.remove(&kind).is_some() {
            report::watch_mended(kind);
        }
    }
}
