//! What the daemon tells on its log: each thing when it changes, not each time it is seen.

use std::{error::Error, time::Duration};

use policy_core::model::Snapshot;
use policy_manifest::{ManifestError, Manifests};
use tracing::{debug, error, info, warn};

use crate::{
    chain::chain,
    dataplane::{Drift, DropsError},
    net::{Enforcer, NetError},
    node::{HeldBack, Node, NodeError, NotAttached, Reconciled},
    source::{files::FilesError, kubernetes::Kind},
    status::Status,
};

/// Remembers what was told.
#[derive(Debug, Default)]
pub(super) struct Reporter {
    enforcers: Vec<Enforcer>,
    last: Reconciled,
    /// Why the one after it failed.
    failure: Option<String>,
}

impl Reporter {
    /// A reconciliation that came to its end.
    pub(super) fn reconciled(&mut self, reconciled: Reconciled) {
        let Reconciled {
            faults,
            steps,
            pods_without_interface,
            pods_without_address: _,
            not_attached,
            interfaces_without_pod,
            held_back,
        } = &reconciled;
        let last = &self.last;
        if *steps > 0 {
            info!(steps, "enforced");
        }
        if last.faults != *faults {
            for fault in faults {
                warn!("{fault}");
            }
        }
        for held in held_back.iter().filter(|held| !last.held_back.contains(held)) {
            let HeldBack { namespace, reason } = held;
            error!(%namespace, "policies find no room, those of before stay in force: {reason}");
        }
        let waiting = &last.pods_without_interface;
        for pod in pods_without_interface.iter().filter(|pod| !waiting.contains(pod)) {
            warn!(%pod, "no interface leads to the pod: nothing is enforced at it yet");
        }
        for refused in not_attached.iter().filter(|refused| !last.not_attached.contains(refused)) {
            let NotAttached { pod, reason } = refused;
            error!(%pod, "nothing is enforced at the pod, tried again: {reason}");
        }
        for new in interfaces_without_pod {
            let mut told = last.interfaces_without_pod.iter();
            if !told.any(|told| told.name == new.name) {
                info!(interface = new.name, "the interface leads to no known pod");
            }
        }
        self.last = reconciled;
        self.failure = None;
    }

    /// One that did not.
    pub(super) fn failed(&mut self, error: &NodeError, wait: Duration) {
        let why = chain(error);
        if self.failure.as_ref() == Some(&why) {
            debug!("{why}; tried again in {wait:.1?}");
        } else {
            error!("{why}; tried again until it is done");
            self.failure = Some(why);
        }
    }

    /// How it stands, as far as it was told.
    pub(super) fn status(&self, node: &Node, not_ready: Option<String>) -> Status {
        let other_enforcers = self.enforcers.iter().map(ToString::to_string).collect();
        let failure = self.failure.as_deref();
        Status { other_enforcers, ..Status::new(node, &self.last, failure, not_ready) }
    }

    /// Who else enforces policies here; each is told once, and again when it was gone.
    pub(super) fn enforcers(&mut self, found: Result<Vec<Enforcer>, NetError>) {
        match found {
            Ok(found) => {
                for new in found.iter().filter(|new| !self.enforcers.contains(new)) {
                    warn!("another enforcer is at work, and what it drops is not counted: {new}");
                }
                self.enforcers = found;
            }
            // A kernel without nftables has no chains.
            Err(error) => debug!("cannot look for other enforcers: {}", chain(&error)),
        }
    }
}

/// Manifests that are good.
pub(super) fn input(manifests: &Manifests) {
    let snapshot = &manifests.snapshot;
    let (pods, policies) = (snapshot.pods.len(), snapshot.policies.len());
    info!(pods, policies, "manifests read");
    for ignored in &manifests.ignored {
        info!("{ignored}");
    }
}

/// The first list of every kind.
pub(super) fn complete(snapshot: &Snapshot) {
    let (pods, policies) = (snapshot.pods.len(), snapshot.policies.len());
    info!(pods, policies, "the cluster is known");
}

/// An object of which not everything is understood.
pub(super) fn illegible(errors: &[ManifestError]) {
    for error in errors {
        error!("an object is taken in its closed reading: {error}");
    }
}

/// A watch that is broken.
pub(super) fn watch_broken(kind: Kind, why: &str, is_listed: bool) {
    let stays = if is_listed {
        "what was last known of them stays"
    } else {
        "nothing is known of them yet, and what an agent before this one enforced stays"
    };
    error!(%kind, "cannot watch, {stays}: {why}");
}

/// A watch that was.
pub(super) fn watch_mended(kind: Kind) {
    info!(%kind, "watched again");
}

/// Manifests that are not.
pub(super) fn broken(error: &FilesError, has_state: bool) {
    let stays = if has_state { "the last good state stays" } else { "nothing is changed yet" };
    error!("manifests are not taken, {stays}: {}", chain(error));
}

/// A look at what is enforced that failed.
pub(super) fn failed(error: &NodeError, wait: Duration) {
    error!("{}; tried again in {wait:.1?}", chain(error));
}

/// What was not as it should be, and is again.
pub(super) fn drift(drift: &Drift) {
    for (drifted, count) in drift {
        warn!(%drifted, count, "somebody else changed what is enforced: it is put right");
    }
}

/// Metrics that cannot be told.
pub(super) fn no_metrics(error: &dyn Error) {
    warn!("no metrics: {}", chain(error));
}

/// A record of a dropped packet that makes no sense.
pub(super) fn unreadable(error: &DropsError) {
    warn!("{}", chain(error));
}
