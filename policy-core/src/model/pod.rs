//! Pods.

use std::net::IpAddr;

use super::{Labels, Protocol};

/// Labels that controllers put on pods, and that change with each rollout or replica.
const PASSING: [&str; 5] = [
    "pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
];

/// What policy depends on of a Pod (`core/v1`).
#[derive(Clone, Debug, PartialEq, Eq)]
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
