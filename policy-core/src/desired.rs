//! What a node, or the whole cluster, should enforce: the compiler's output.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use ipnetwork::IpNetwork;
use policy_common::drops::Reason;

pub use crate::ports::Ports;
use crate::{
    compile::{CompiledPolicy, MeaningOf},
    model::{Direction, ObjectName, PerDirection, PolicyRef, Protocol},
};

/// An identity, named by what it means; `None` is `DEFAULT_IDENTITY`.
pub type Identity = Option<Meaning>;

/// Everything that the maps of a node say, without numbers: what is equal means the same.
///
/// The planner gives the numbers of the kernel's maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Pods of the scope that can have an interface.
    pub endpoints: BTreeMap<ObjectName, DesiredEndpoint>,
    /// Pods' addresses whose identity differs from that of the smallest block around them.
    pub addresses: BTreeMap<IpAddr, Identity>,
    /// Blocks, by longest prefix.
    pub blocks: BTreeMap<IpNetwork, Identity>,
    /// Frontends of Services.
    pub frontends: BTreeMap<Frontend, Identity>,
    /// Addresses of the scope's node; none where the scope is the cluster.
    pub node_addresses: BTreeMap<IpAddr, NodeKind>,
    /// Rules of the policies in force: what attributes a verdict.
    pub policies: BTreeMap<PolicyRef, Arc<CompiledPolicy>>,
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
    /// Isolation per direction; `None` where no policy isolates the pod.
    pub isolation: PerDirection<Option<Isolation>>,
}

impl DesiredEndpoint {
    /// Isolates the pod in a direction, and lets nothing pass.
    pub fn close(&mut self, direction: Direction) {
        let isolation = self.isolation.get_mut(direction);
        let policies = isolation.take().map(|isolation| isolation.policies).unwrap_or_default();
        *isolation = Some(Isolation { content: Arc::default(), policies });
    }
}

/// Isolation of a pod in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Isolation {
    /// What passes.
    pub content: Arc<Content>,
    /// Policies that select the pod in this direction.
    pub policies: Vec<PolicyRef>,
}

/// What makes an identity: opaque to all but the compiler, comparable by all.
#[derive(Clone, Debug)]
pub struct Meaning(pub(crate) MeaningOf);

impl Meaning {
    /// Whether it is that of Service frontends, and not of addresses.
    #[must_use]
    pub fn is_frontend(&self) -> bool {
        matches!(self.0, MeaningOf::Frontends(_))
    }

    /// Where it is in memory: the same place is the same meaning, though not the other way round.
    pub(crate) fn place(&self) -> usize {
        match &self.0 {
            MeaningOf::Addresses(meaning) => Arc::as_ptr(meaning).addr(),
            MeaningOf::Frontends(meaning) => Arc::as_ptr(meaning).addr(),
        }
    }
}

impl PartialEq for Meaning {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place() || self.0 == other.0
    }
}

impl Eq for Meaning {}

impl PartialOrd for Meaning {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Meaning {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.place() == other.place() { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl Desired {
    /// Every identity of addresses and frontends, each once, without `DEFAULT_IDENTITY`.
    #[must_use]
    pub fn identities(&self) -> BTreeSet<&Meaning> {
        let all = self.blocks.values().chain(self.addresses.values());
        all.chain(self.frontends.values()).flatten().collect()
    }

    /// Every allow map, each once.
    #[must_use]
    pub fn contents(&self) -> BTreeSet<&Content> {
        let isolations = self.endpoints.values().flat_map(|one| one.isolation.values());
        isolations.flatten().map(|isolation| &*isolation.content).collect()
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
    pub ports: BTreeMap<Identity, Ports>,
    /// Frontend identities that are refused, or that pass although the default entry does not
    /// allow every protocol.
    pub frontends: BTreeMap<Identity, FrontendOutcome>,
}

/// What happens to a new connection to a frontend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FrontendOutcome {
    /// All backends are allowed.
    Pass,
    /// `ServiceNoBackend`, `ServiceDenied` or `ServicePartlyDenied`.
    Refuse(Reason),
}
