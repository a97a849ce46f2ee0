//! The source of the cluster's state, and how much of the cluster has arrived.
//!
//! Input: the source that the command line named. Output: events for the daemon: whole states of a
//! folder of manifests, or single changes from an API server. Nothing is enforced before every
//! resource was listed once ([`SyncState::is_complete`]).

use std::collections::{BTreeMap, BTreeSet};

use policy_kube::{Client, Error, RESOURCES, Resource, Server, WatchEvent, watch};
use policy_manifest::Manifests;
use tokio::sync::mpsc::Receiver;

use super::{config::Origin, report};
use crate::{
    chain::chain,
    source::files::{self, FilesError},
};

/// An open source.
pub(super) enum Source {
    Files(Receiver<Result<Manifests, FilesError>>),
    Kubernetes(Client, Receiver<WatchEvent>),
}

/// An event of a source.
pub(super) enum SourceEvent {
    /// All manifests, or what is wrong with them.
    Files(Result<Box<Manifests>, FilesError>),
    /// A change of one object or watch.
    Kubernetes(WatchEvent),
}

impl Source {
    pub(super) async fn open(origin: &Origin) -> Result<Self, Error> {
        Ok(match origin {
            Origin::Manifests(folder) => Self::Files(files::follow(folder)),
            Origin::Kubernetes(access) => {
                let client = Server::find(access).await?.client_for_watches()?;
                let events = watch(&client);
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
            Self::Files(manifests) => {
                manifests.recv().await.map(|read| SourceEvent::Files(read.map(Box::new)))
            }
            Self::Kubernetes(_, events) => events.recv().await.map(SourceEvent::Kubernetes),
        }
    }
}

/// Which resources were listed so far, and which cannot be watched at the moment.
#[derive(Debug, Default)]
pub(super) struct SyncState {
    listed: BTreeSet<Resource>,
    failed_watches: BTreeMap<Resource, String>,
}

impl SyncState {
    /// Whether every resource was listed.
    pub(super) fn is_complete(&self) -> bool {
        self.listed.len() == RESOURCES.len()
    }

    /// The resources that were not listed, with the reasons.
    pub(super) fn missing(&self) -> Vec<String> {
        let missing = RESOURCES.iter().filter(|resource| !self.listed.contains(resource));
        let with_reason = |resource: &Resource| match self.failed_watches.get(resource) {
            Some(reason) => format!("{resource} ({reason})"),
            None => resource.to_string(),
        };
        missing.map(with_reason).collect()
    }

    /// Notes that all resources were listed at once.
    pub(super) fn list_all(&mut self) {
        self.listed.extend(RESOURCES);
    }

    /// Notes that a resource was listed; whether it was the last one missing.
    pub(super) fn list(&mut self, resource: Resource) -> bool {
        !self.is_complete() && self.listed.insert(resource) && self.is_complete()
    }

    /// Notes that a resource cannot be watched. Its objects stay as they were, and it stays listed.
    pub(super) fn watch_failed(&mut self, resource: Resource, error: &Error) {
        let reason = chain(error);
        if self.failed_watches.get(&resource) != Some(&reason) {
            report::watch_broken(resource, &reason, self.listed.contains(&resource));
            self.failed_watches.insert(resource, reason);
        }
    }

    /// Whether a resource cannot be watched at the moment.
    pub(super) fn is_watch_broken(&self, resource: Resource) -> bool {
        self.failed_watches.contains_key(&resource)
    }

    /// Notes that a resource can be watched again.
    pub(super) fn watch_recovered(&mut self, resource: Resource) {
        if self.failed_watches.remove(&resource).is_some() {
            report::watch_recovered(resource);
        }
    }
}
