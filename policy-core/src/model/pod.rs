//! Pods.

use std::net::IpAddr;

use super::{Labels, Protocol};

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
