//! The protocol between plugin and agent: one JSON object on one line in each direction, then the
//! socket is closed.
//!
//! Unknown fields are ignored, because plugin and agent may be of different versions. The names in
//! JSON are part of the protocol.
//!
//! ```text
//! plugin  {"ask":"enforce","namespace":"shop","name":"web-1",…,"addresses":["10.0.0.2"],"patience":15000}
//! agent   {"answer":"enforced"}
//! plugin  {"ask":"status"}
//! agent   {"answer":"refused","why":"not listed yet: NetworkPolicy"}
//! ```

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Default path of the agent's socket.
pub const DEFAULT_SOCKET: &str = "/run/policy-agent/cni.sock";

/// Longest line, in bytes.
pub const MAX_LINE: u64 = 64 << 10;

/// A request of the plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase")]
pub enum Request {
    /// Respond as soon as a pod's policies are in force.
    Enforce(PodSandbox),
    /// Respond whether the agent handles pods: it has the whole cluster and enforces its policies.
    Status,
}

/// A response of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "lowercase")]
pub enum Response {
    /// The pod's policies are in force, or no policy applies to the interface; the agent handles
    /// pods.
    Enforced,
    /// They are not; it does not.
    Refused {
        /// What is missing.
        #[serde(rename = "why")]
        reason: String,
    },
}

/// A pod's sandbox as the runtime and the plugins before this one describe it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSandbox {
    /// `K8S_POD_NAMESPACE`.
    pub namespace: String,
    /// `K8S_POD_NAME`.
    pub name: String,
    /// `K8S_POD_UID`, which some runtimes leave out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// `CNI_CONTAINERID`.
    pub container: String,
    /// `CNI_NETNS`.
    pub netns: String,
    /// `CNI_IFNAME`: the pod's end of its link.
    pub interface: String,
    /// Addresses of the pod.
    pub addresses: Vec<IpAddr>,
    /// Interfaces of the node that the plugins before this one name. If there are any, the host side
    /// of the pod's link is among them.
    #[serde(default)]
    pub host_interfaces: Vec<String>,
    /// How long the plugin waits for the response, in milliseconds; 0 requests an immediate one.
    #[serde(rename = "patience")]
    pub timeout_ms: u64,
}
