//! Pods.

use std::{net::IpAddr, sync::Arc};

use super::{Labels, Protocol};

/// The label that tells the pods of one `ReplicaSet` of a Deployment from those of another.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// Labels that controllers put on pods, and that change with each rollout or replica.
const PASSING: [&str; 5] = [
    TEMPLATE_HASH,
    "controller-revision-hash",
    "pod-template-generation",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
];

/// What policy depends on of a Pod (`core/v1`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// `metadata.uid`; empty in manifests that were never applied.
    pub uid: String,
    /// `metadata.labels`.
    pub labels: Labels,
    /// `spec.nodeName`; `None` before the scheduler has chosen.
    pub node: Option<String>,
    /// `status.podIPs`, in the API's order.
    pub addresses: Vec<IpAddr>,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// `status.phase`.
    pub phase: Phase,
    /// Ports of containers and of sidecars (`initContainers` with `restartPolicy: Always`).
    pub ports: Vec<ContainerPort>,
    /// What runs it, as a person would name that; no policy depends on it.
    pub workload: Option<Arc<Workload>>,
}

/// The owner of a pod that a person would name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// `Deployment`, `StatefulSet`, `DaemonSet`, `Job`, …
    pub kind: String,
    /// Its name, in the pod's namespace.
    pub name: String,
}

impl Workload {
    /// What the entry of `metadata.ownerReferences` with `controller: true` says.
    ///
    /// A `ReplicaSet` called after the pod's `pod-template-hash` is told as its Deployment.
    #[must_use]
    pub fn of_controller(kind: &str, name: &str, pod_labels: &Labels) -> Self {
        let hash = pod_labels.get(TEMPLATE_HASH).filter(|_| kind == "ReplicaSet");
        let deployment = hash.and_then(|hash| name.strip_suffix(hash.as_str())?.strip_suffix('-'));
        let (kind, name) = match deployment.filter(|name| !name.is_empty()) {
            Some(name) => ("Deployment", name),
            None => (kind, name),
        };
        Self { kind: kind.to_owned(), name: name.to_owned() }
    }
}

/// A declared port of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerPort {
    /// `name`, for named ports.
    pub name: Option<String>,
    /// `containerPort`.
    pub port: u16,
    /// `protocol`.
    pub protocol: Protocol,
}

/// `status.phase`, as far as policy depends on it (S7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Pending, Running, Unknown or absent: the pod may have processes.
    #[default]
    Live,
    /// Succeeded or Failed: its address may be another's by now.
    Finished,
}

impl Pod {
    /// Whether policy knows the pod: it runs, in a network namespace of its own (S6, S7).
    #[must_use]
    pub fn is_subject(&self) -> bool {
        !self.host_network && self.phase == Phase::Live
    }

    /// Its labels without those that change with each rollout or replica.
    #[must_use]
    pub fn lasting_labels(&self) -> Labels {
        let mut labels = self.labels.clone();
        labels.retain(|key, _| !PASSING.contains(&key.as_str()));
        labels
    }

    /// Its addresses that packets can carry: never one that maps IPv4 into IPv6.
    pub fn usable_addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.addresses.iter().copied().filter(|address| is_usable(*address))
    }

    /// Numbers of its ports of this name and protocol (S23).
    pub fn named_ports<'a>(
        &'a self,
        name: &'a str,
        protocol: Protocol,
    ) -> impl Iterator<Item = u16> + 'a {
        self.ports
            .iter()
            .filter(move |port| port.protocol == protocol && port.name.as_deref() == Some(name))
            .map(|port| port.port)
    }
}

/// Whether a packet can carry an address: classifiers drop IPv6 that claims to be IPv4.
#[must_use]
pub fn is_usable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => address.to_ipv4_mapped().is_none(),
    }
}
