//! What the daemon is told of the cluster, from whichever source, and whether that is all.

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

/// Which kinds were listed so far, and which cannot be followed at the moment.
#[derive(Debug, Default)]
pub(super) struct Known {
    listed: BTreeSet<Kind>,
    broken: BTreeMap<Kind, String>,
}

impl Known {
    /// Whether every kind was listed.
    pub(super) fn is_complete(&self) -> bool {
        self.listed.len() == Kind::ALL.len()
    }

    /// Those that were not, and why.
    pub(super) fn missing(&self) -> Vec<String> {
        let missing = Kind::ALL.iter().filter(|kind| !self.listed.contains(kind));
        let with_reason = |kind: &Kind| match self.broken.get(kind) {
            Some(why) => format!("{kind} ({why})"),
            None => kind.to_string(),
        };
        missing.map(with_reason).collect()
    }

    /// All of them are known at once.
    pub(super) fn everything(&mut self) {
        self.listed.extend(Kind::ALL);
    }

    /// A kind is listed; whether it was the last that was missing.
    pub(super) fn listed(&mut self, kind: Kind) -> bool {
        !self.is_complete() && self.listed.insert(kind) && self.is_complete()
    }

    /// A kind cannot be followed; what was known of it stays, and is no less complete for that.
    pub(super) fn broken(&mut self, kind: Kind, error: &WatchError) {
        let why = chain(error);
        if self.broken.get(&kind) != Some(&why) {
            report::watch_broken(kind, &why, self.listed.contains(&kind));
            self.broken.insert(kind, why);
        }
    }

    /// It can again.
    pub(super) fn mended(&mut self, kind: Kind) {
        if self.broken.remove(&kind).is_some() {
            report::watch_mended(kind);
        }
    }
}
