//! What a node, or the whole cluster, should enforce: the compiler's output.

use std::{collections::BTreeMap, net::IpAddr};

use ipnetwork::IpNetwork;
use policy_common::drops::Reason;

pub use crate::ports::Ports;
use crate::{
    compile::{CompiledPolicy, MeaningOf},
    model::{ObjectName, Protocol},
};

/// Index into `Desired::identities`, plus one; 0 is `DEFAULT_IDENTITY`.
pub type IdentityIndex = u32;

/// Index into `Desired::contents`.
pub type ContentIndex = usize;

/// Everything that the maps of a node say, in the compiler's own numbers.
///
/// The planner translates them into those of the kernel's maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Pods of the scope that can have an interface.
    pub endpoints: BTreeMap<ObjectName, DesiredEndpoint>,
    /// What each identity means; equal meanings of two compilations are the same identity.
    pub identities: Vec<Meaning>,
    /// Pods' addresses whose identity differs from that of the smallest block around them.
    pub addresses: BTreeMap<IpAddr, IdentityIndex>,
    /// Blocks, by longest prefix.
    pub blocks: BTreeMap<IpNetwork, IdentityIndex>,
    /// Frontends of Services.
    pub frontends: BTreeMap<Frontend, IdentityIndex>,
    /// Distinct allow maps.
    pub contents: Vec<Content>,
    /// Addresses of the scope's node; none where the scope is the cluster.
    pub node_addresses: BTreeMap<IpAddr, NodeKind>,
    /// Rules of the policies in force: what attributes a verdict.
    pub policies: BTreeMap<ObjectName, CompiledPolicy>,
}

/// Whose address a node's address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeKind {
    /// The scope's own node: its processes always reach its pods (S37).
    Own,
    /// Another node: where tunnels of the network end (S46).
    Other,
}

/// What is to be enforced at one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredEndpoint {
    /// `metadata.uid` of the pod.
    pub uid: String,
    /// `status.podIPs`.
    pub addresses: Vec<IpAddr>,
    /// Isolation for ingress; `None` where no policy selects the pod.
    pub ingress: Option<Isolation>,
    /// Isolation for egress.
    pub egress: Option<Isolation>,
}

/// Isolation of a pod in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Isolation {
    /// What passes.
    pub content: ContentIndex,
    /// Policies that select the pod in this direction.
    pub policies: Vec<ObjectName>,
}

/// What makes an identity: opaque to all but the compiler, comparable by all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Meaning(pub(crate) MeaningOf);

impl Meaning {
    /// Whether it is that of Service frontends, and not of addresses.
    #[must_use]
    pub fn is_frontend(&self) -> bool {
        matches!(self.0, MeaningOf::Frontends(_))
    }
}

/// A Service frontend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frontend {
    /// Address.
    pub address: IpAddr,
    /// Protocol.
    pub protocol: Protocol,
    /// Port.
    pub port: u16,
}

/// An allow map.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content {
    /// Ports by identity; `DEFAULT_IDENTITY` for all identities without an entry.
    pub ports: BTreeMap<IdentityIndex, Ports>,
    /// Frontend identities that are refused, or that pass although the default entry does not
    /// allow every protocol.
    pub frontends: BTreeMap<IdentityIndex, FrontendOutcome>,
}

/// What happens to a new connection to a frontend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FrontendOutcome {
    /// All backends are allowed.
    Pass,
    /// `ServiceNoBackend`, `ServiceDenied` or `ServicePartlyDenied`.
    Refuse(Reason),
}
