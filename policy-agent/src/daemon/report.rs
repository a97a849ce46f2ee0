//! What the daemon logs, and `/status`.
//!
//! Input: the outcomes of reconciliations, watches and read-backs. Output: log lines, each when its
//! condition appears or changes and not each time it is found. Each line names the object, and says
//! whether the agent retries.

use std::{collections::BTreeSet, error::Error, time::Duration};

use policy_core::{intent::OffCause, lint::Finding, model::Snapshot};
use policy_kube::Resource;
use policy_manifest::{ManifestError, Manifests};
use policy_report::status::Status;
use tracing::{debug, error, info, warn};

use crate::{
    chain::chain,
    dataplane::{Drift, DropsError},
    net::{Enforcer, NetError},
    node::{
        ClosedPod, HeldBack, InterfaceConflict, LeftOutServices, Node, NodeError, NotAttached,
        Reconciled,
    },
    source::files::FilesError,
    status,
};

/// Most names of nodes in one line.
const NODES: usize = 10;

/// Remembers what was logged.
#[derive(Debug, Default)]
pub(super) struct Reporter {
    enforcers: Vec<Enforcer>,
    last: Reconciled,
    /// Programs of others that were before the agent's.
    bypasses: Vec<String>,
    /// Why the reconciliation after `last` failed.
    failure: Option<String>,
    /// Named ports that allow nothing.
    unresolved: Vec<Finding>,
    /// Why enforcement is off.
    off: Option<OffCause>,
}

impl Reporter {
    /// Logs what a reconciliation changed.
    pub(super) fn reconciled(&mut self, reconciled: Reconciled) {
        // A line for each change would be one for each pod that starts.
        debug!(steps = reconciled.steps, "enforced");
        self.log_policies(&reconciled);
        self.log_closed(&reconciled);
        self.log_unprotected(&reconciled);
        self.last = reconciled;
        self.failure = None;
    }

    /// Logs that enforcement is off or on, when that changes.
    pub(super) fn switched(&mut self, off: Option<OffCause>) {
        match (self.off, off) {
            (before, Some(cause)) if before != off => {
                error!("enforcement is off, and every packet passes: {cause}");
            }
            (Some(_), None) => info!("enforcement is on again"),
            (None | Some(_), _) => {}
        }
        self.off = off;
    }

    /// Logs named ports that allow nothing, each when it appears.
    pub(super) fn unresolved(&mut self, found: &[Finding]) {
        for new in found.iter().filter(|new| !self.unresolved.contains(new)) {
            let Finding { object, field, message, suggestion, .. } = new;
            warn!(
                "{} {object}: {field}: {message}, so it allows nothing; {suggestion}",
                object.kind()
            );
        }
        self.unresolved = found.to_vec();
    }

    /// Logs where a program of another is before the agent's, each when it appears.
    pub(super) fn bypassed(&mut self, bypasses: Vec<String>) {
        for new in bypasses.iter().filter(|new| !self.bypasses.contains(new)) {
            error!("enforcement is bypassed: {new}");
        }
        if bypasses.is_empty() && !self.bypasses.is_empty() {
            info!("no other program sees packets before the agent's any more");
        }
        self.bypasses = bypasses;
    }

    /// Logs why a reconciliation failed.
    pub(super) fn failed(&mut self, error: &NodeError, wait: Duration) {
        let why = chain(error);
        if self.failure.as_ref() == Some(&why) {
            debug!("{why}; retrying in {wait:.1?}");
        } else {
            error!("{why}; retrying until it succeeds");
            self.failure = Some(why);
        }
    }

    /// The answer to `/status`.
    pub(super) fn status(&self, node: &Node, not_ready: Option<String>) -> Status {
        let other_enforcers = self.enforcers.iter().map(ToString::to_string).collect();
        let failure = self.failure.as_deref();
        let status = status::status(node, &self.last, failure, not_ready);
        status::with_notes(Status { other_enforcers, ..status }, &self.unresolved)
    }

    /// Logs other enforcers of this node, each when it appears.
    pub(super) fn enforcers(&mut self, found: Result<Vec<Enforcer>, NetError>) {
        match found {
            Ok(found) => {
                for new in found.iter().filter(|new| !self.enforcers.contains(new)) {
                    warn!(
                        "another policy enforcer runs on this node; its drops are not counted: {new}; \
                         disable one of the two"
                    );
                }
                self.enforcers = found;
            }
            // A kernel without nftables refuses the question.
            Err(error) => debug!("cannot search for other enforcers: {}", chain(&error)),
        }
    }

    /// Logs policies and Services that are not enforced as they are written.
    fn log_policies(&self, reconciled: &Reconciled) {
        let Reconciled { faults, held_back, left_out_services, .. } = reconciled;
        let last = &self.last;
        for fault in faults.iter().filter(|fault| !last.faults.contains(fault)) {
            warn!("{fault}; to have it enforced as you mean it, correct that field");
        }
        for held in held_back.iter().filter(|held| !last.held_back.contains(held)) {
            let HeldBack { namespace, reason } = held;
            error!(
                %namespace,
                "policies do not fit into the maps, the previous ones stay in force: {reason}; use \
                 fewer blocks, ports or policies in that namespace"
            );
        }
        let known = &last.left_out_services;
        for left_out in left_out_services.iter().filter(|one| !known.contains(one)) {
            let LeftOutServices { namespace, services, open } = left_out;
            error!(
                %namespace, services, addresses_not_closed = open,
                "Services do not fit into the map `frontends`: egress of isolated pods to their \
                 addresses is denied; use fewer ports and addresses, or raise --max-frontends"
            );
        }
    }

    /// Logs pods and interfaces at which nothing passes.
    fn log_closed(&self, reconciled: &Reconciled) {
        let Reconciled { closed_pods, conflicts, .. } = reconciled;
        let last = &self.last;
        for closed in closed_pods.iter().filter(|closed| !last.closed_pods.contains(closed)) {
            let ClosedPod { pod, reason } = closed;
            error!(
                %pod,
                "the pod is new and what it needs does not fit, so nothing passes to or from it; \
                 retrying: {reason}; move pods to other nodes, or raise the option of that map"
            );
        }
        for conflict in conflicts.iter().filter(|conflict| !last.conflicts.contains(conflict)) {
            let InterfaceConflict { interface, pod } = conflict;
            error!(
                %pod, %interface,
                "the interface has an address of the pod, but is not known to be the pod's: nothing \
                 passes there; find out which pod it leads to"
            );
        }
    }

    /// Logs pods at which no policy is enforced, and interfaces that lead to no known pod.
    fn log_unprotected(&self, reconciled: &Reconciled) {
        let Reconciled { pods_without_interface, not_attached, interfaces_without_pod, .. } =
            reconciled;
        let last = &self.last;
        let waiting = &last.pods_without_interface;
        for pod in pods_without_interface.iter().filter(|pod| !waiting.contains(pod)) {
            warn!(
                %pod,
                "no interface leads to the pod: no policy is enforced at it yet; if that stays, check \
                 that the node's CNI gives pods a veth"
            );
        }
        for refused in not_attached.iter().filter(|refused| !last.not_attached.contains(refused)) {
            let NotAttached { pod, reason } = refused;
            error!(
                %pod,
                "no policy is enforced at the pod, retrying: {reason}; if that stays, remove that \
                 cause, or move the pod to another node"
            );
        }
        for new in interfaces_without_pod {
            if !last.interfaces_without_pod.iter().any(|logged| logged.name == new.name) {
                // Every new pod's interface for a moment, and for ever the uplink of a node that is
                // a container: `/status` lists them.
                debug!(interface = new.name, "the interface leads to no known pod");
            }
        }
    }
}

/// Logs that manifests were read.
pub(super) fn manifests_read(manifests: &Manifests) {
    let snapshot = &manifests.snapshot;
    let (pods, policies) = (snapshot.pods.len(), snapshot.policies.len());
    info!(pods, policies, "manifests read");
    for ignored in &manifests.ignored {
        info!("{ignored}");
    }
}

/// Logs what is enforced at the node, after the first reconciliation that succeeds.
pub(super) fn started(node: &Node) {
    let (pods, policies) = (node.desired().endpoints.len(), node.desired().policies.len());
    info!(pods, policies, "the policies of this node's pods are enforced");
}

/// Logs that every resource was listed.
pub(super) fn cluster_read(snapshot: &Snapshot) {
    let (pods, policies) = (snapshot.pods.len(), snapshot.policies.len());
    info!(pods, policies, "the cluster is read");
}

/// Warns where the cluster has neither a Node of this name nor a pod on it, which may be a misspelt
/// `--node`: an agent for a node without pods enforces nothing.
pub(super) fn unknown_node(node: &str, snapshot: &Snapshot) {
    let of_pods = snapshot.pods.values().filter_map(|pod| pod.node.as_deref());
    let known: BTreeSet<&str> = snapshot.nodes.keys().map(String::as_str).chain(of_pods).collect();
    if known.contains(node) {
        return;
    }
    let some: Vec<&str> = known.iter().copied().take(NODES).collect();
    let more = if known.len() > NODES { ", …" } else { "" };
    warn!(
        node,
        "no Node and no pod has this node name, so nothing is enforced; the option --node sets the \
         name; nodes: {}{more}",
        some.join(", ")
    );
}

/// Logs parts of an object that cannot be read.
pub(super) fn unreadable_object(errors: &[ManifestError]) {
    for error in errors {
        error!("a part of an object cannot be read and allows nothing: {error}");
    }
}

/// Logs that a watch is broken.
pub(super) fn watch_broken(resource: Resource, why: &str, is_listed: bool) {
    let stays = if is_listed {
        "those that were read stay in force"
    } else {
        "none were read yet, and what an earlier agent enforced stays"
    };
    // The field is named as the label of `policy_watch_broken`.
    error!(kind = %resource, "cannot watch, {stays}; retrying: {why}");
}

/// Warns that the definition of a resource was deleted, and its objects with it.
pub(super) fn resource_disappeared(resource: Resource) {
    warn!(kind = %resource, "{}", disappeared(resource));
}

/// What it means that the definition of a resource was deleted, and what to do.
pub(super) fn disappeared(Resource { plural, group, .. }: Resource) -> String {
    format!(
        "the API server no longer has the resource {plural}.{group}, so none of these policies is \
         enforced any more; if that is not what you want, install its CustomResourceDefinition and the \
         policies again"
    )
}

/// Logs that a watch works again.
pub(super) fn watch_recovered(resource: Resource) {
    info!(kind = %resource, "the watch works again");
}

/// Logs that manifests cannot be read.
pub(super) fn manifests_broken(error: &FilesError, has_state: bool) {
    let stays = if has_state { "the last good state stays" } else { "nothing was changed" };
    error!("cannot read the manifests, {stays}: {}", chain(error));
}

/// Logs why a read-back failed.
pub(super) fn verify_failed(error: &NodeError, wait: Duration) {
    error!("{}; retrying in {wait:.1?}", chain(error));
}

/// Logs what somebody else changed, and the agent repaired.
pub(super) fn drift(drift: &Drift) {
    for (drifted, count) in drift {
        warn!(
            %drifted,
            count,
            "another program changed what is enforced; it is repaired. If it happens again, find that \
             program: `bpftool net` and `bpftool map` list who uses the hooks and the maps"
        );
    }
}

/// Logs why `/metrics` has no answer.
pub(super) fn metrics_failed(error: &dyn Error) {
    warn!("cannot collect the metrics, the next scrape tries again: {}", chain(error));
}

/// Logs a drop record that cannot be parsed.
pub(super) fn unreadable_record(error: &DropsError) {
    warn!("a dropped packet is counted and not logged: {}", chain(error));
}
