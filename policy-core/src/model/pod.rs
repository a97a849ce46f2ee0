//! Pods.

use std::{net::IpAddr, sync::Arc};

use super::{Labels, Protocol};

/// The label with the hash of the pod template, different in each `ReplicaSet` of a Deployment.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// Labels that controllers put on pods, and that change with each rollout or replica.
const TRANSIENT: [&str; 5] = [
    TEMPLATE_HASH,
    "controller-revision-hash",
    "pod-template-generation",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
];

/// A Pod (`core/v1`): the fields that policy depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// `metadata.uid`; empty in a manifest that does not come from an API server.
    pub uid: String,
    /// `metadata.labels`.
    pub labels: Labels,
    /// `spec.nodeName`; `None` before the pod is scheduled.
    pub node: Option<String>,
    /// `status.podIPs`, in the API's order.
    pub addresses: Vec<IpAddr>,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// `status.phase`.
    pub phase: Phase,
    /// Ports of containers and of sidecars (`initContainers` with `restartPolicy: Always`).
    pub ports: Vec<ContainerPort>,
    /// Those of these ports that the node forwards to the pod.
    pub host_ports: Vec<HostPort>,
    /// The owner, from `metadata.ownerReferences`; no verdict depends on it.
    pub workload: Option<Arc<Workload>>,
    /// `metadata.name` of a pod that left the API while the agent's node still runs it (S47), which has
    /// another name in the snapshot; `None` for every pod of the API.
    pub deleted: Option<String>,
}

/// The owner of a pod, as a person names it: the Deployment, not its `ReplicaSet`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// `Deployment`, `StatefulSet`, `DaemonSet`, `Job`, …
    pub kind: String,
    /// Its name, in the pod's namespace.
    pub name: String,
}

impl Workload {
    /// The workload of a pod that the object `kind` `name` controls (the entry of
    /// `metadata.ownerReferences` with `controller: true`).
    ///
    /// A `ReplicaSet` that ends in the pod's `pod-template-hash` stands for its Deployment.
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

/// A port of the node that leads to a container: `hostPort` (S40).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// `hostIP`; `None` for every address of the node.
    pub address: Option<IpAddr>,
    /// `hostPort`.
    pub port: u16,
    /// `protocol`.
    pub protocol: Protocol,
    /// `containerPort`.
    pub container_port: u16,
}

/// `status.phase`, as far as policy depends on it (S7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Pending, Running, Unknown or absent: the pod may run.
    #[default]
    Live,
    /// Succeeded or Failed: another pod may have its address by now.
    Finished,
}

impl Pod {
    /// Whether policies can select the pod: it may run, in its own network namespace (S6, S7).
    #[must_use]
    pub fn is_subject(&self) -> bool {
        !self.host_network && self.phase == Phase::Live
    }

    /// Its labels without those that change with each rollout or replica.
    #[must_use]
    pub fn lasting_labels(&self) -> Labels {
        let mut labels = self.labels.clone();
        labels.retain(|key, _| !TRANSIENT.contains(&key.as_str()));
        labels
    }

    /// Its addresses that a packet can carry; see [`is_usable`].
    pub fn usable_addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.addresses.iter().copied().filter(|address| is_usable(*address))
    }

    /// Numbers of its ports of this name and protocol (S23).
    pub fn named_ports<'a>(
        &'a self,
        name: &'a str,
        protocol: Protocol,
    ) -> impl Iterator<Item = u16> + 'a {
        named_ports(&self.ports, name, protocol)
    }
}

/// Numbers of those ports of containers that have this name and protocol (S23).
pub(crate) fn named_ports<'a>(
    ports: &'a [ContainerPort],
    name: &'a str,
    protocol: Protocol,
) -> impl Iterator<Item = u16> + 'a {
    let ports = ports.iter();
    ports
        .filter(move |port| port.protocol == protocol && port.name.as_deref() == Some(name))
        .map(|port| port.port)
}

/// Whether a packet can carry an address: the programs drop IPv6 packets with an IPv4-mapped
/// address.
#[must_use]
pub fn is_usable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => address.to_ipv4_mapped().is_none(),
    }
}
