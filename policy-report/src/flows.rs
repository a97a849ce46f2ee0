//! The answer to `GET /flows`: connections that were denied at the pods of a node, added up.
//!
//! ```text
//! 10.0.1.7:40112 -> shop/db-0 5432/TCP  ┐  Deployment shop/web -> StatefulSet shop/db 5432/TCP
//! 10.0.1.9:51004 -> shop/db-0 5432/TCP  ┘  2 packets
//! ```

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The version of [`FlowReport`]; it changes where a reader of the last one would misread the next.
pub const FLOWS_VERSION: u32 = 1;

/// The most pods that [`ReportedEnd::pods`] names.
pub const PODS: usize = 8;

/// The flows of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowReport {
    /// [`FLOWS_VERSION`] of the agent.
    pub version: u32,
    /// `metadata.name` of the Node.
    pub node: String,
    /// The node's clock; as `since` of the next request, it asks for what changed after this one.
    pub time: Timestamp,
    /// When the agent started: flows that ended before are not counted.
    pub started: Timestamp,
    /// What the flows lack.
    pub lost: LostFlows,
    /// Flows, in no particular order.
    pub flows: Vec<ReportedFlow>,
}

/// What was denied and is in no flow, since the agent started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostFlows {
    /// Flows that were forgotten because the memory for them was used up.
    pub flows: u64,
    /// Dropped packets without a record, because their pod dropped too many.
    pub packets: u64,
}

/// Packets with the same ends, port, verdict and deciding policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedFlow {
    /// What happened to the packets.
    pub verdict: FlowVerdict,
    /// Why, as in the flow log.
    pub reason: String,
    /// How policies decided, as in the flow log; absent where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// `ingress` or `egress`, as the pod sees it at which the packets were dropped.
    pub direction: String,
    /// The end that opens the connection.
    pub source: ReportedEnd,
    /// The other end.
    pub destination: ReportedEnd,
    /// `TCP`, `UDP`, `SCTP`, `ICMP`, `ICMPv6`, or a number; absent where it is not IP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Port of the destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The policies that decided; where none did, those that isolate the pod.
    pub policies: Vec<ReportedPolicy>,
    /// Packets with a record, since `first`.
    pub packets: u64,
    /// Bytes of their frames.
    pub bytes: u64,
    /// Time of the first packet.
    pub first: Timestamp,
    /// Time of the last packet.
    pub last: Timestamp,
}

/// What happened to packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlowVerdict {
    /// They were dropped.
    Deny,
}

/// An end of a flow.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReportedEnd {
    /// Kind of the workload that runs the pod, or `Pod`, `Node`, `Block` or `Unknown`.
    pub kind: String,
    /// `metadata.namespace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// `metadata.name`, or the block in CIDR notation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Names of its pods that were seen, at most [`PODS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<String>,
    /// Whether there were more pods.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more_pods: bool,
    /// The address in the last packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
}

/// A policy that decided.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReportedPolicy {
    /// `NetworkPolicy` or `ClusterNetworkPolicy`.
    pub kind: String,
    /// `metadata.namespace`; absent where it is cluster-wide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// `metadata.name`.
    pub name: String,
    /// Index of the rule that denies; `null` where the policy isolates the pod and no rule allows.
    pub rule: Option<usize>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !value
}
