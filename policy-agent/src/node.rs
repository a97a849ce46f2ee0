//! One node under control: discover, decide, plan, apply.
//!
//! Input: changes of the cluster and hints of the container runtime. Output: writes to the kernel and,
//! for each reconciliation, a [`Reconciled`]. The daemon and the lab's agents drive it. All decisions
//! are in [`Intent`]; here is only what needs netlink or the kernel:
//!
//! ```text
//! net::discover ──> Interfaces, node addresses ──┐
//! Intent ─────────> Desired ─────────────────────┼─> plan ──> steps ──> dataplane
//! Actual (what earlier steps wrote) ─────────────┘              │
//!    └──────────────<── each step that the kernel carried out <─┘
//! ```

mod config;
mod enforce;
mod error;
mod reconciled;
mod steps;
mod verify;

use std::{
    collections::BTreeSet,
    mem,
    net::IpAddr,
    time::{Duration, Instant},
};

use nix::{
    net::if_,
    time::{ClockId, clock_gettime},
};
use policy_core::{
    attribute::{Attributor, Denial, PolicyDrop},
    desired::Desired,
    intent::{Intent, OffCause, Readiness, Sandbox},
    model::Snapshot,
    owner::Owners,
    plan::{Actual, Interfaces, PlanOptions},
};

pub use config::NodeConfig;
pub use error::NodeError;
pub use policy_core::intent::{ClosedPod, HeldBack, LeftOutServices};
pub use reconciled::{InterfaceConflict, NotAttached, Reconciled};

use crate::{
    dataplane::{Dataplane, DataplaneError, MapUse, UnknownEndpoints},
    net::{Discovered, Network},
};

/// A node under control, in the network namespace of the thread that started it.
///
/// Its programs, maps and links are removed when it is dropped, except where they are pinned.
#[derive(Debug)]
pub struct Node {
    name: String,
    network: Network,
    dataplane: Dataplane,
    intent: Intent,
    /// What the kernel holds, by the steps that were carried out.
    actual: Actual,
    /// The [version](Owners::version) of the pods' addresses that are written; `None` before that.
    pods_version: Option<u64>,
    /// What the last plans put in force, to attribute drops by.
    attributor: Attributor,
    options: PlanOptions,
    /// How many entries the map `frontends` has.
    frontend_limit: usize,
    /// Whether interfaces without a known pod have the programs too.
    guards_unknown: bool,
    /// The moment that the times given to `intent` count from.
    started: Instant,
    /// Maps that refused a write because they are full, since [`take_full_maps`](Self::take_full_maps).
    full_maps: Vec<&'static str>,
}

impl Node {
    /// Loads the dataplane and opens the network of the calling thread's namespace. Nothing is
    /// enforced before the first [`reconcile`](Self::reconcile).
    ///
    /// Use it on this thread only, in a current-thread runtime: attaching happens in the network
    /// namespace of the thread.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled.
    ///
    /// # Errors
    ///
    /// [`NodeError::Load`], [`NodeError::Discover`].
    pub fn start(config: NodeConfig) -> Result<Self, NodeError> {
        let network = Network::open()?;
        let NodeConfig { node: name, intent, pins, options } = config;
        let loaded = match &pins {
            Some(folder) => Dataplane::adopt(&options, folder),
            None => Dataplane::load(&options).map(|dataplane| (dataplane, Vec::new())),
        };
        let (dataplane, found) = loaded.map_err(|source| NodeError::Load(Box::new(source)))?;
        let may_spoof = !options.parts.anti_spoofing;
        let plan_options = PlanOptions {
            may_spoof,
            deny_reply: intent.deny_reply,
            slots: options.capacities.slots as usize,
        };
        let mut actual: Actual = found.iter().collect();
        actual.require_bumps();
        let frontend_limit = options.capacities.frontends as usize;
        let mut intent = Intent::new(&name, intent);
        intent.set_frontend_limit(frontend_limit);
        Ok(Self {
            intent,
            frontend_limit,
            name,
            network,
            dataplane,
            actual,
            pods_version: None,
            attributor: Attributor::default(),
            options: plan_options,
            guards_unknown: options.unknown_endpoints == UnknownEndpoints::Drop,
            started: Instant::now(),
            full_maps: Vec::new(),
        })
    }

    /// Replaces the cluster and enforces it.
    ///
    /// # Errors
    ///
    /// As [`enforce`](Self::enforce).
    pub async fn reconcile(&mut self, snapshot: &Snapshot) -> Result<Reconciled, NodeError> {
        self.intent.replace(snapshot.clone());
        self.enforce().await
    }

    /// Reads the node's interfaces and addresses; the addresses go to the intent.
    async fn discover(&mut self) -> Result<Interfaces, NodeError> {
        let pods = self.intent.addresses();
        let known = self.intent.known_interfaces();
        let has_known_pod = |ifindex| known.contains(&ifindex);
        let discovered = self.network.discover(&pods, has_known_pod).await?;
        let Discovered { mut interfaces, node_addresses, tunnel_ports } = discovered;
        self.put_tunnels(&tunnel_ports).map_err(|source| NodeError::Tunnels(Box::new(source)))?;
        if self.guards_unknown {
            for ifindex in self.dataplane.attached() {
                if let Some(interface) = interfaces.get_mut(&ifindex) {
                    interface.guarded = true;
                }
            }
        }
        self.intent.set_node_addresses(node_addresses);
        self.intent.match_departed(&interfaces, self.actual.endpoints());
        self.intent.assign(&mut interfaces, self.actual.endpoints());
        Ok(interfaces)
    }

    /// Writes which UDP ports are tunnels', and which addresses tunnels may lead to (S46).
    fn put_tunnels(&mut self, ports: &BTreeSet<u16>) -> Result<(), DataplaneError> {
        self.dataplane.put_tunnel_ports(ports)?;
        // Most changes are of something else, and a cluster may have 100,000 addresses.
        let owners = self.intent.owners();
        let version = Some(owners.version());
        if self.pods_version != version {
            self.dataplane.put_pods(&owners.addresses().collect())?;
            self.full_maps.extend(self.dataplane.omits_pods().then_some("pods"));
            self.pods_version = version;
        }
        Ok(())
    }

    /// Deletes the flows of addresses that belong to another pod now (S8).
    fn delete_flows_of_reassigned(&mut self) -> Result<(), NodeError> {
        if !self.intent.reassigned().is_empty() {
            let forgotten = self.dataplane.forget_flows(self.intent.reassigned());
            forgotten.map_err(|source| NodeError::Forget(Box::new(source)))?;
            self.intent.clear_reassigned();
        }
        Ok(())
    }

    /// The decisions, to apply changes and hints to; nothing is enforced before
    /// [`enforce`](Self::enforce).
    pub fn intent(&mut self) -> &mut Intent {
        &mut self.intent
    }

    /// Why nothing is enforced; `None` where enforcement is on.
    #[must_use]
    pub fn off_cause(&self) -> Option<OffCause> {
        self.intent.off_cause()
    }

    /// The kernel's side, for drop records and counters.
    pub fn dataplane(&mut self) -> &mut Dataplane {
        &mut self.dataplane
    }

    /// The policies that denied a packet; `None` where no policy did.
    pub fn attribute(&mut self, drop: &PolicyDrop) -> Option<Denial> {
        self.attributor.attribute(&self.actual, drop)
    }

    /// What the last plans put in force.
    #[must_use]
    pub fn attributor(&self) -> &Attributor {
        &self.attributor
    }

    /// `metadata.name` of the Node.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name of the interface where something is enforced at a pod with one of these addresses.
    #[must_use]
    pub fn interface_of(&self, addresses: &[IpAddr]) -> Option<String> {
        let endpoint = self.intent.endpoint_of(addresses, self.actual.endpoints())?;
        if_::if_indextoname(endpoint.ifindex).ok()?.into_string().ok()
    }

    /// Whether the policies of a pod are in force.
    #[must_use]
    pub fn readiness(&self, sandbox: &Sandbox) -> Readiness {
        let names = sandbox.host_interfaces.iter();
        let indices: BTreeSet<u32> =
            names.filter_map(|name| if_::if_nametoindex(name.as_str()).ok()).collect();
        self.intent.readiness(sandbox, &indices, self.actual.endpoints())
    }

    /// The cluster; held-back policies are in their last good version.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        self.intent.snapshot()
    }

    /// The pods that the cluster's addresses belong to.
    #[must_use]
    pub fn owners(&self) -> &Owners {
        self.intent.owners()
    }

    /// What the policies in force ask of this node.
    #[must_use]
    pub fn desired(&self) -> &Desired {
        self.intent.desired_by_policies()
    }

    /// The maps that refused a write because they are full, since the last call, each as often as it
    /// did.
    pub fn take_full_maps(&mut self) -> Vec<&'static str> {
        mem::take(&mut self.full_maps)
    }

    /// How full the maps are that the agent writes.
    #[must_use]
    pub fn map_use(&self) -> Vec<MapUse> {
        self.dataplane.map_use(&self.actual)
    }

    /// What was written to the kernel so far.
    #[must_use]
    pub fn actual(&self) -> &Actual {
        &self.actual
    }
}

/// The clock that drop records have the time of; it cannot fail on Linux.
fn monotonic_clock() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}
