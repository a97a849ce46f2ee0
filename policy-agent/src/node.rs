//! A node under control: discover, compile, plan, apply.

use std::{borrow::Cow, collections::BTreeSet, net::IpAddr, path::PathBuf};

use policy_core::{
    compile::{Scope, compile},
    desired::{Desired, NodeKind},
    fault::Fault,
    model::{ObjectName, Snapshot},
    plan::{Actual, Interface, Plan, PlanOptions, Step, plan},
};
use thiserror::Error;

use crate::{
    dataplane::{Act, Capacities, Dataplane, DataplaneError, Options, Parts, UnknownEndpoints},
    net::{NetError, Network},
};

/// What a node is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// `metadata.name` of the Node: its pods are the endpoints.
    pub node: String,
    /// What of the enforcement is in place.
    pub parts: Parts,
    /// What happens at interfaces without a known pod.
    pub unknown_endpoints: UnknownEndpoints,
    /// Sizes of the maps.
    pub capacities: Capacities,
    /// Folder of a bpffs where enforcement goes on without the agent (S48); `None` where it ends
    /// with it.
    pub pins: Option<PathBuf>,
}

impl NodeConfig {
    /// Everything in place, unknown endpoints pass, maps of the usual size.
    pub fn new(node: impl Into<String>) -> Self {
        let Options { parts, unknown_endpoints, capacities, clsact: _ } = Options::default();
        Self { node: node.into(), parts, unknown_endpoints, capacities, pins: None }
    }
}

/// What a reconciliation did and could not do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// What the compiler could not express.
    pub faults: Vec<Fault>,
    /// Steps that were carried out.
    pub steps: usize,
    /// Pods of this node that no interface was found for: nothing is enforced at them.
    pub pods_without_interface: Vec<ObjectName>,
    /// Interfaces that lead out of the namespace, and to no known pod.
    pub interfaces_without_pod: Vec<Interface>,
}

/// Why a node is not as it should be. What was reached before stays in force.
#[derive(Debug, Error)]
pub enum NodeError {
    /// The node's network cannot be read.
    #[error("cannot discover the interfaces of the node")]
    Discover(#[from] NetError),
    /// The classifiers cannot be loaded.
    #[error("cannot load the dataplane")]
    Load(#[source] Box<DataplaneError>),
    /// A step failed, and none after it was tried.
    #[error("cannot {}", Act(step))]
    Step {
        /// The step.
        step: Box<Step>,
        /// Why.
        #[source]
        source: Box<DataplaneError>,
    },
    /// What an agent before this one attached has its programs still.
    #[error("cannot take over what is attached")]
    Commit(#[source] Box<DataplaneError>),
    /// An interface without a known pod is not as it was asked for.
    #[error("cannot guard the interfaces that lead to no known pod")]
    Guard(#[source] Box<DataplaneError>),
}

/// A node under control, in the network namespace of the thread that started it.
///
/// Programs, maps and links go when it is dropped, except where they are pinned.
#[derive(Debug)]
pub struct Node {
    name: String,
    network: Network,
    dataplane: Dataplane,
    actual: Actual,
    desired: Desired,
    options: PlanOptions,
    /// Whether interfaces without a known pod have the classifiers too.
    guards: bool,
}

impl Node {
    /// Loads the dataplane and opens the network of the calling thread's namespace; nothing is
    /// enforced before the first [`reconcile`](Self::reconcile).
    ///
    /// To be used on this thread only, by a current-thread runtime: attaching goes by the namespace
    /// of the thread.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled.
    ///
    /// # Errors
    ///
    /// [`NodeError::Load`], [`NodeError::Discover`].
    pub fn start(config: NodeConfig) -> Result<Self, NodeError> {
        let NodeConfig { node: name, parts, unknown_endpoints, capacities, pins } = config;
        let network = Network::open()?;
        let options = Options { parts, unknown_endpoints, capacities, clsact: false };
        let loaded = match &pins {
            Some(folder) => Dataplane::adopt(options, folder),
            None => Dataplane::load(options).map(|dataplane| (dataplane, Vec::new())),
        };
        let (dataplane, found) = loaded.map_err(|source| NodeError::Load(Box::new(source)))?;
        let mut actual = Actual::default();
        for step in &found {
            actual.apply(step);
        }
        Ok(Self {
            name,
            network,
            dataplane,
            actual,
            desired: Desired::default(),
            options: PlanOptions { may_spoof: !parts.anti_spoofing },
            guards: unknown_endpoints == UnknownEndpoints::Drop,
        })
    }

    /// Brings the kernel from what it has to what `snapshot` asks for, step by step.
    ///
    /// # Errors
    ///
    /// [`NodeError::Discover`] before anything was changed; [`NodeError::Step`] with the step that
    /// failed: those before it hold, and the next call goes on from there.
    pub async fn reconcile(&mut self, snapshot: &Snapshot) -> Result<Reconciled, NodeError> {
        let discovered = self.network.discover().await?;
        let mut interfaces = discovered.interfaces;
        let snapshot = at_every_address(snapshot, &self.name, &discovered.node_addresses);
        let (mut desired, faults) = compile(&snapshot, Scope::Node(&self.name));
        let own = discovered.node_addresses.into_iter();
        desired.node_addresses.extend(own.map(|address| (address, NodeKind::Own)));
        let Plan { steps, pods_without_interface, interfaces_without_pod } =
            plan(&mut self.actual, &desired, &interfaces, self.options);
        for step in &steps {
            self.dataplane.apply(step).map_err(|source| NodeError::Step {
                step: Box::new(step.clone()),
                source: Box::new(source),
            })?;
            self.actual.apply(step);
        }
        self.desired = desired;
        self.dataplane.commit().map_err(|source| NodeError::Commit(Box::new(source)))?;
        if self.guards {
            let unknown = interfaces_without_pod.iter().copied().collect();
            self.dataplane.guard(&unknown).map_err(|source| NodeError::Guard(Box::new(source)))?;
        }
        Ok(Reconciled {
            faults,
            steps: steps.len(),
            pods_without_interface,
            interfaces_without_pod: interfaces_without_pod
                .iter()
                .filter_map(|ifindex| interfaces.remove(ifindex))
                .collect(),
        })
    }

    /// The kernel's side, for drop records and counters.
    pub fn dataplane(&mut self) -> &mut Dataplane {
        &mut self.dataplane
    }

    /// `metadata.name` of the Node.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the last reconciliation that came to its end made of its snapshot.
    #[must_use]
    pub fn desired(&self) -> &Desired {
        &self.desired
    }

    /// What was written to the kernel so far.
    #[must_use]
    pub fn actual(&self) -> &Actual {
        &self.actual
    }
}

/// A snapshot in which a node has all its addresses: kube-proxy translates a node port at each of
/// them, whatever the Node object says.
fn at_every_address<'a>(
    snapshot: &'a Snapshot,
    node: &str,
    addresses: &BTreeSet<IpAddr>,
) -> Cow<'a, Snapshot> {
    let mut ports = snapshot.services.values().flat_map(|service| &service.ports);
    if !ports.any(|port| port.node_port.is_some()) {
        return Cow::Borrowed(snapshot);
    }
    let mut snapshot = snapshot.clone();
    let known = snapshot.nodes.entry(node.to_owned()).or_default();
    let missing: Vec<_> = addresses.iter().filter(|address| !known.contains(address)).collect();
    known.extend(missing);
    Cow::Owned(snapshot)
}
