//! What the plugin and the agent say to each other: one JSON object in a line each way, then the
//! socket is closed.
//!
//! Fields that are not known are ignored, for the two may be of different versions.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Where the agent listens if nothing else is said.
pub const SOCKET: &str = "/run/policy-agent/cni.sock";

/// Bytes of a line, at most.
pub const LINE: u64 = 64 << 10;

/// What the plugin asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase")]
pub enum Request {
    /// Whether a pod is under its policies, as soon as it is.
    Enforce(Sandbox),
    /// Whether pods are spoken for: the agent knows the cluster, and enforces.
    Status,
}

/// What the agent answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "lowercase")]
pub enum Answer {
    /// The pod is under its policies, or the interface is none that they are about; the agent
    /// speaks for pods.
    Enforced,
    /// Not so.
    Refused {
        /// What is missing.
        why: String,
    },
}

/// A pod's sandbox as the runtime and the plugins before this one describe it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// `K8S_POD_NAMESPACE`.
    pub namespace: String,
    /// `K8S_POD_NAME`.
    pub name: String,
    /// `K8S_POD_UID`, which some runtimes do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// `CNI_CONTAINERID`.
    pub container: String,
    /// `CNI_NETNS`.
    pub netns: String,
    /// `CNI_IFNAME`: the pod's end.
    pub interface: String,
    /// Addresses of the pod.
    pub addresses: Vec<IpAddr>,
    /// Interfaces of the node that the plugins before this one name: the host side of the pod's
    /// link is among them, where they name any.
    #[serde(default)]
    pub host_interfaces: Vec<String>,
    /// How long the plugin waits for the answer, in milliseconds; 0 for an answer at once.
    pub patience: u64,
}
