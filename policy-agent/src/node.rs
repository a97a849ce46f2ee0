//! A node under control: discover, compile, plan, apply.

use std::{borrow::Cow, collections::BTreeSet, net::IpAddr, path::PathBuf, time::Duration};

use policy_core::{
    adopt,
    compile::{Scope, compile},
    desired::{Desired, NodeKind},
    fault::Fault,
    model::{ObjectName, Snapshot},
    owner::Owners,
    plan::{Actual, Interface, Plan, PlanOptions, Step, close_newcomers, plan},
};
use thiserror::Error;

use crate::{
    dataplane::{Act, Capacities, Dataplane, DataplaneError, Options, Parts, UnknownEndpoints},
    net::{Connections, NetError, Network},
};

/// What a node is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// `metadata.name` of the Node: its pods are the endpoints.
    pub node: String,
    /// The eBPF object, in place of the one that is built into this binary.
    pub object: Option<PathBuf>,
    /// What of the enforcement is in place.
    pub parts: Parts,
    /// What happens at interfaces without a known pod.
    pub unknown_endpoints: UnknownEndpoints,
    /// Sizes of the maps.
    pub capacities: Capacities,
    /// Time in which an interface that dropped a burst may have one more drop record; zero where
    /// every drop has one.
    pub record_interval: Duration,
    /// Folder of a bpffs where enforcement goes on without the agent (S48); `None` where it ends
    /// with it.
    pub pins: Option<PathBuf>,
}

impl NodeConfig {
    /// Everything in place, unknown endpoints pass, maps of the usual size, a record of every drop.
    pub fn new(node: impl Into<String>) -> Self {
        let Options { object, parts, unknown_endpoints, capacities, record_interval, clsact: _ } =
            Options::default();
        let (node, pins) = (node.into(), None);
        Self { node, object, parts, unknown_endpoints, capacities, record_interval, pins }
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
    /// As [`Step`](Self::Step), of steps that are carried out together.
    #[error("cannot create {count} allow maps")]
    Contents {
        /// How many.
        count: usize,
        /// Why, and which is refused.
        #[source]
        source: Box<DataplaneError>,
    },
    /// Flows of addresses that are another pod's by now are still there.
    #[error("cannot forget the flows of addresses that changed hands")]
    Forget(#[source] Box<DataplaneError>),
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
    connections: Connections,
    /// Whose the cluster's addresses are.
    owners: Owners,
    /// Addresses that changed hands, and whose flows are yet to be forgotten.
    forget: BTreeSet<IpAddr>,
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
        let NodeConfig {
            node: name,
            object,
            parts,
            unknown_endpoints,
            capacities,
            record_interval,
            pins,
        } = config;
        let network = Network::open()?;
        let clsact = false;
        let options =
            Options { object, parts, unknown_endpoints, capacities, record_interval, clsact };
        let loaded = match &pins {
            Some(folder) => Dataplane::adopt(&options, folder),
            None => Dataplane::load(&options).map(|dataplane| (dataplane, Vec::new())),
        };
        let (dataplane, found) = loaded.map_err(|source| NodeError::Load(Box::new(source)))?;
        let mut actual = Actual::default();
        for step in &found {
            actual.apply(step);
        }
        Ok(Self {
            name,
            network,
            connections: Connections::open()?,
            owners: Owners::default(),
            forget: BTreeSet::new(),
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
        self.forget.extend(self.owners.update(&snapshot));
        if !self.forget.is_empty() {
            let forgotten = self.dataplane.forget_flows(&self.forget);
            forgotten.map_err(|source| NodeError::Forget(Box::new(source)))?;
            self.forget.clear();
        }
        let (mut desired, faults) = compile(&snapshot, Scope::Node(&self.name));
        let own = discovered.node_addresses.into_iter();
        desired.node_addresses.extend(own.map(|address| (address, NodeKind::Own)));
        let Plan { steps, pods_without_interface, interfaces_without_pod } =
            plan(&mut self.actual, &desired, &interfaces, self.options);
        let held_back = self.carry_out(&steps).await;
        if let Err(error) = held_back {
            let newcomers = close_newcomers(&self.actual, &desired, &interfaces, self.options);
            // The first failure is the one to tell.
            let _ = self.carry_out(&newcomers).await;
            return Err(error);
        }
        self.desired = desired;
        self.dataplane.commit().map_err(|source| NodeError::Commit(Box::new(source)))?;
        if self.guards {
            let unknown = interfaces_without_pod.iter().copied().collect();
            self.dataplane.guard(&unknown).map_err(|source| NodeError::Guard(Box::new(source)))?;
        }
        if let Ok(Some(error)) = held_back {
            return Err(error);
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

    /// Carries out steps. An interface of a new pod that cannot be attached to holds up no other:
    /// the first such failure is returned when all else is done.
    async fn carry_out(&mut self, steps: &[Step]) -> Result<Option<NodeError>, NodeError> {
        let mut held_back = None;
        let put = |step: &Step| matches!(step, Step::PutContent { .. });
        for steps in steps.chunk_by(|one, next| put(one) && put(next)) {
            if let [Step::PutContent { .. }, _, ..] = steps {
                self.put_contents(steps)?;
                continue;
            }
            let [step] = steps else { continue };
            if let Err(source) = self.dataplane.apply(step) {
                let (step, source) = (Box::new(step.clone()), Box::new(source));
                let error = NodeError::Step { step, source };
                if !self.is_newcomer(&error) {
                    return Err(error);
                }
                held_back.get_or_insert(error);
                continue;
            }
            self.actual.apply(step);
            if let Step::AdoptFlows { interfaces } = step {
                self.adopt_flows(interfaces).await;
            }
        }
        Ok(held_back)
    }

    /// Carries out steps that put contents.
    fn put_contents(&mut self, steps: &[Step]) -> Result<(), NodeError> {
        let contents = steps.iter().filter_map(|step| {
            let Step::PutContent { content, entries } = step else { return None };
            Some((*content, entries.as_slice()))
        });
        let put = self.dataplane.put_contents(contents);
        let count = steps.len();
        put.map_err(|source| NodeError::Contents { count, source: Box::new(source) })?;
        for step in steps {
            self.actual.apply(step);
        }
        Ok(())
    }

    fn is_newcomer(&self, error: &NodeError) -> bool {
        let NodeError::Step { step, .. } = error else { return false };
        matches!(&**step, Step::PutEndpoint(new) if !self.actual.endpoints().contains_key(&new.ifindex))
    }

    /// Writes what connection tracking knows of pods that are about to be isolated. Where it cannot
    /// be asked, they are isolated all the same.
    async fn adopt_flows(&mut self, interfaces: &BTreeSet<u32>) {
        let connections = match self.connections.list().await {
            Ok(connections) => connections,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "connections from before are not known");
                return;
            }
        };
        let own = self.actual.node_addresses();
        let own = own.filter_map(|(address, kind)| (kind == NodeKind::Own).then_some(address));
        let endpoints = self.actual.endpoints();
        let flows = adopt::flows(&connections, interfaces, endpoints, &own.collect());
        if let Err(error) = self.dataplane.adopt_flows(&flows) {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "not all connections from before are recorded");
        }
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
    let known = &mut snapshot.nodes.entry(node.to_owned()).or_default().addresses;
    let missing: Vec<_> = addresses.iter().filter(|address| !known.contains(address)).collect();
    known.extend(missing);
    Cow::Owned(snapshot)
}
