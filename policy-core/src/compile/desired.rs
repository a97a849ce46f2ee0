//! What a node, or the whole cluster, should enforce: the result of the compiler.
//!
//! The planner compares it with what the kernel's maps hold and orders the writes between the two;
//! explanations and attribution read it. For example, a pod that accepts TCP 80 from `app=web`:
//!
//! ```text
//! endpoints   shop/db: ingress isolated by [shop/allow], allow map {web: tcp 80}
//! addresses   10.0.0.7: web             a pod with app=web
//! blocks      (none)                    no rule has an ipBlock
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

pub use policy_common::endpoint::NodeKind;
use policy_common::{drops::Reason, frontend::EVERY_PORT};

use crate::{
    compile::rules::rule::CompiledPolicy,
    model::{DenyReply, Direction, ObjectName, PerDirection, PolicyRef, Protocol},
};
pub use crate::{
    compile::{
        identity_key::{Identity, IdentityKey},
        prefix::Prefixes,
    },
    ports::Ports,
};

/// The contents of a node's maps by value. Identities and allow maps have no numbers here: the
/// planner assigns those of the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Pods of the scope that can have an interface.
    pub endpoints: BTreeMap<ObjectName, DesiredEndpoint>,
    /// Addresses of pods that have another identity than the smallest block around them.
    pub addresses: BTreeMap<IpAddr, Identity>,
    /// Blocks, by longest prefix.
    pub blocks: Prefixes<Identity>,
    /// Frontends of Services and of host ports.
    pub frontends: BTreeMap<Frontend, Identity>,
    /// The backends of each of these frontends.
    pub backends: BTreeMap<Frontend, ServiceBackends>,
    /// Addresses of the scope's node; none where the scope is the cluster.
    pub node_addresses: BTreeMap<IpAddr, NodeKind>,
    /// Rules of the policies that select a pod of the scope, to attribute verdicts to.
    pub policies: BTreeMap<PolicyRef, Arc<CompiledPolicy>>,
}

/// What to enforce at one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredEndpoint {
    /// `metadata.uid` of the pod.
    pub uid: String,
    /// `status.podIPs`.
    pub addresses: Vec<IpAddr>,
    /// Whether it may send from any address (S46, opt-out of its namespace).
    pub may_spoof: bool,
    /// What it gets back if policies deny a connection that it opens (S59); `None` where its namespace
    /// has no choice of its own.
    pub deny_reply: Option<DenyReply>,
    /// Whether its connections are recorded although nothing isolates it (enforcement is off).
    pub is_tracked: bool,
    /// Isolation per direction; `None` where no policy isolates the pod.
    pub isolation: PerDirection<Option<Isolation>>,
}

impl DesiredEndpoint {
    /// Isolates the pod in a direction and allows nothing.
    pub fn close(&mut self, direction: Direction) {
        let isolation = self.isolation.get_mut(direction);
        let policies = isolation.take().map(|isolation| isolation.policies).unwrap_or_default();
        *isolation = Some(Isolation { allow_map: Arc::default(), policies });
    }
}

/// Isolation of a pod in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Isolation {
    /// What is allowed.
    pub allow_map: Arc<AllowMap>,
    /// Policies that select the pod in this direction.
    pub policies: Vec<PolicyRef>,
}

impl Desired {
    /// Every identity of addresses and frontends, each once, without `DEFAULT_IDENTITY`.
    #[must_use]
    pub fn identities(&self) -> BTreeSet<&IdentityKey> {
        let all = self.blocks.values().chain(self.addresses.values());
        all.chain(self.frontends.values()).flatten().collect()
    }

    /// Every allow map, each once.
    #[must_use]
    pub fn allow_maps(&self) -> BTreeSet<&AllowMap> {
        let isolations = self.endpoints.values().flat_map(|one| one.isolation.values());
        isolations.flatten().map(|isolation| &*isolation.allow_map).collect()
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

impl Frontend {
    /// The key for every port of an address that has no frontend of its own.
    #[must_use]
    pub const fn of_every_port(address: IpAddr) -> Self {
        Self { address, protocol: Protocol::Tcp, port: EVERY_PORT }
    }
}

/// The backends of a frontend.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceBackends {
    /// Addresses and ports.
    pub backends: Arc<BTreeSet<(IpAddr, u16)>>,
    /// Whether policy must allow the frontend's own address too, as for external addresses and
    /// node ports (S40).
    pub checks_frontend: bool,
}

/// An allow map: what is allowed in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AllowMap {
    /// Ports by identity; the entry of `DEFAULT_IDENTITY` is for all identities without one. Shared
    /// by maps that differ only in outcomes of frontends.
    pub ports: Arc<BTreeMap<Identity, Ports>>,
    /// Outcomes of frontends by identity. A frontend without an entry passes where the default
    /// entry allows every protocol, and is denied otherwise.
    pub frontends: BTreeMap<Identity, FrontendOutcome>,
}

/// What happens to a new connection to a frontend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FrontendOutcome {
    /// All backends are allowed: kube-proxy chooses one.
    Pass,
    /// Some backends are allowed: the connection goes to one of these.
    Some(ServiceBackends),
    /// No backend is allowed, or none is ready: `ServiceDenied` or `ServiceNoBackend`; or the pod itself
    /// is the only one that is allowed: `ServicePartlyDenied`.
    Refuse(Reason),
}

impl FrontendOutcome {
    /// The reason to drop the connection; `None` where it passes.
    #[must_use]
    pub const fn refusal(&self) -> Option<Reason> {
        match self {
            Self::Pass | Self::Some(_) => None,
            Self::Refuse(reason) => Some(*reason),
        }
    }
}
