//! A node under control: discover, compile, plan, apply.

mod carry_out;
mod learned;
mod reconciled;
mod room;
mod verify;

use std::{collections::BTreeSet, net::IpAddr, path::PathBuf, time::Duration};

use learned::Learned;
use nix::net::if_;
use policy_core::{
    compile::{Change, Compiler, Scope},
    desired::Desired,
    model::{Node as Machine, Snapshot},
    owner::Owners,
    plan::{Actual, Plan, PlanOptions, Step, close_newcomers, plan},
};
pub use reconciled::{NotAttached, Reconciled};
pub use room::HeldBack;
use room::Room;
use thiserror::Error;

use crate::{
    dataplane::{Act, Capacities, Dataplane, DataplaneError, Options, Parts, UnknownEndpoints},
    net::{Discovered, NetError, Network},
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
    /// What is enforced cannot be read back, or not put right.
    #[error("cannot verify what is enforced")]
    Verify(#[source] Box<DataplaneError>),
    /// An interface without a known pod is not as it was asked for.
    #[error("cannot guard the interfaces that lead to no known pod")]
    Guard(#[source] Box<DataplaneError>),
}

impl NodeError {
    /// The map that is full, if that is why.
    fn no_room(&self) -> Option<&DataplaneError> {
        let (Self::Step { source, .. } | Self::Contents { source, .. }) = self else { return None };
        source.is_no_room().then_some(&**source)
    }
}

/// A node under control, in the network namespace of the thread that started it.
///
/// Programs, maps and links go when it is dropped, except where they are pinned.
#[derive(Debug)]
pub struct Node {
    name: String,
    network: Network,
    /// Whose the cluster's addresses are.
    owners: Owners,
    /// Addresses that changed hands, and whose flows are yet to be forgotten.
    forget: BTreeSet<IpAddr>,
    dataplane: Dataplane,
    /// The cluster, and what follows from it.
    compiler: Compiler,
    room: Room,
    /// Addresses that the container runtime told.
    learned: Learned,
    /// The Node object of this node, as it was told.
    told: Option<Machine>,
    actual: Actual,
    /// Interfaces that are closed, for their pods are gone.
    orphans: BTreeSet<u32>,
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
        actual.owe_epochs();
        Ok(Self {
            network,
            owners: Owners::default(),
            forget: BTreeSet::new(),
            dataplane,
            compiler: Compiler::new(Snapshot::default(), Scope::Node(&name)),
            room: Room::default(),
            learned: Learned::default(),
            told: None,
            name,
            actual,
            orphans: BTreeSet::new(),
            options: PlanOptions { may_spoof: !parts.anti_spoofing },
            guards: unknown_endpoints == UnknownEndpoints::Drop,
        })
    }

    /// Takes a cluster over, in place of all that was known; nothing is enforced yet.
    pub fn take(&mut self, mut snapshot: Snapshot) {
        self.learned.complete_all(&mut snapshot);
        self.forget.extend(self.owners.update(&snapshot));
        self.room.replace(self.compiler.snapshot(), &snapshot);
        self.told = snapshot.nodes.get(&self.name).cloned();
        self.compiler = Compiler::new(snapshot, Scope::Node(&self.name));
    }

    /// Takes a change of the cluster over; nothing is enforced yet.
    pub fn change(&mut self, mut change: Change) {
        self.learned.complete_change(&mut change);
        self.update(change);
    }

    /// A change of which everything is known.
    fn update(&mut self, change: Change) {
        match &change {
            Change::Pod(name, new) => {
                let old = self.compiler.snapshot().pods.get(name);
                self.forget.extend(self.owners.change(name, old, new.as_ref()));
            }
            Change::Node(name, node) if *name == self.name => {
                // The next look at the interfaces completes it.
                self.told.clone_from(node);
                return;
            }
            Change::Policy(name, _) => {
                self.room.release(&name.namespace, &mut self.compiler);
                self.room.note(name, self.compiler.snapshot());
            }
            Change::Namespace(..)
            | Change::ClusterPolicy(..)
            | Change::Service(..)
            | Change::EndpointSlice(..)
            | Change::Node(..) => {}
        }
        self.compiler.update(change);
    }

    /// As [`take`](Self::take) and [`enforce`](Self::enforce).
    ///
    /// # Errors
    ///
    /// As [`enforce`](Self::enforce).
    pub async fn reconcile(&mut self, snapshot: &Snapshot) -> Result<Reconciled, NodeError> {
        self.take(snapshot.clone());
        self.enforce().await
    }

    /// Forgets which policies found no room, so that they are tried again and seen in
    /// [`snapshot`](Self::snapshot).
    pub fn release(&mut self) {
        self.room.release_all(&mut self.compiler, false);
    }

    /// Brings the kernel from what it has to what the cluster asks for, step by step. A namespace
    /// whose new policies find no room is held back.
    ///
    /// # Errors
    ///
    /// [`NodeError::Discover`] before anything was changed; [`NodeError::Step`] with the step that
    /// failed: those before it hold, and the next call goes on from there.
    pub async fn enforce(&mut self) -> Result<Reconciled, NodeError> {
        self.room.release_all(&mut self.compiler, true);
        loop {
            let error = match self.bring_in_line().await {
                Ok(mut reconciled) => {
                    let desired = self.compiler.compiled().0;
                    let refused = reconciled.not_attached.iter().map(|refused| &refused.pod);
                    let missing = reconciled.pods_without_interface.iter().chain(refused);
                    self.room.settle(desired, &missing.collect());
                    reconciled.held_back = self.room.held_back();
                    let lonely = reconciled.pods_without_interface.len();
                    reconciled.pods_without_interface.retain(|pod| {
                        let pod = desired.endpoints.get(pod);
                        pod.is_some_and(|pod| !pod.addresses.is_empty())
                    });
                    reconciled.pods_without_address =
                        lonely - reconciled.pods_without_interface.len();
                    return Ok(reconciled);
                }
                Err(error) => error,
            };
            let Some(full) = error.no_room() else { return Err(error) };
            let reason = full.to_string();
            let Some(undone) = self.room.undo(&mut self.compiler) else { return Err(error) };
            // What was written of it goes before anything else comes.
            let cleared = self.bring_in_line().await;
            self.room.hold(undone, reason, &mut self.compiler);
            cleared?;
        }
    }

    async fn bring_in_line(&mut self) -> Result<Reconciled, NodeError> {
        let Discovered { mut interfaces, node_addresses } = {
            let pods = self.compiler.compiled().0.endpoints.values();
            let pods = pods.flat_map(|pod| pod.addresses.iter().copied()).collect();
            self.network.discover(&pods).await?
        };
        if self.guards {
            for ifindex in self.dataplane.attached() {
                if let Some(interface) = interfaces.get_mut(&ifindex) {
                    interface.guarded = true;
                }
            }
        }
        // kube-proxy translates a node port at each of them, whatever the Node object says.
        let own = Machine {
            interfaces: node_addresses.into_iter().collect(),
            ..self.told.clone().unwrap_or_default()
        };
        self.compiler.update(Change::Node(self.name.clone(), Some(own)));
        if !self.forget.is_empty() {
            let forgotten = self.dataplane.forget_flows(&self.forget);
            forgotten.map_err(|source| NodeError::Forget(Box::new(source)))?;
            self.forget.clear();
        }
        let (desired, faults) = self.compiler.compiled();
        let faults = faults.to_vec();
        let closed = self.room.close(desired, self.compiler.snapshot());
        let desired = closed.as_ref().unwrap_or(desired);
        let Plan { steps, pods_without_interface, interfaces_without_pod } =
            plan(&mut self.actual, desired, &interfaces, self.options);
        let known = self.actual.endpoints();
        let orphans = interfaces_without_pod.iter().copied();
        self.orphans = orphans.filter(|ifindex| known.contains_key(ifindex)).collect();
        let refused = match self.carry_out(&steps).await {
            Ok(refused) => refused,
            Err(error) => {
                let desired = closed.as_ref().unwrap_or(self.compiler.compiled().0);
                let newcomers = close_newcomers(&self.actual, desired, &interfaces, self.options);
                // The first failure is the one to tell.
                let _ = self.carry_out(&newcomers).await;
                return Err(error);
            }
        };
        self.dataplane.commit().map_err(|source| NodeError::Commit(Box::new(source)))?;
        if self.guards {
            let unknown: BTreeSet<u32> = interfaces_without_pod.iter().copied().collect();
            // One that is closed has its classifiers.
            let unknown = &unknown - &self.orphans;
            self.dataplane.guard(&unknown).map_err(|source| NodeError::Guard(Box::new(source)))?;
        }
        let (desired, _) = self.compiler.compiled();
        Ok(Reconciled {
            faults,
            steps: steps.len(),
            pods_without_interface,
            pods_without_address: 0,
            not_attached: reconciled::not_attached(&refused, desired),
            interfaces_without_pod: interfaces_without_pod
                .iter()
                .filter_map(|ifindex| interfaces.remove(ifindex))
                .collect(),
            held_back: Vec::new(),
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

    /// Name of the interface where something is enforced at a pod with these addresses.
    #[must_use]
    pub fn interface_of(&self, addresses: &[IpAddr]) -> Option<String> {
        let endpoints = self.actual.endpoints().values();
        let mut endpoints = endpoints.filter(|it| !self.orphans.contains(&it.ifindex));
        let endpoint = endpoints.find(|it| addresses.iter().any(|address| it.has(*address)))?;
        if_::if_indextoname(endpoint.ifindex).ok()?.into_string().ok()
    }

    /// The cluster, as far as it is known.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        self.compiler.snapshot()
    }

    /// Whose the cluster's addresses are.
    #[must_use]
    pub fn owners(&self) -> &Owners {
        &self.owners
    }

    /// What the cluster asks of this node.
    #[must_use]
    pub fn desired(&self) -> &Desired {
        self.compiler.compiled().0
    }

    /// What was written to the kernel so far.
    #[must_use]
    pub fn actual(&self) -> &Actual {
        &self.actual
    }
}
