//! The lab: a cluster out of network namespaces, the real agent in each node, real probes.
//!
//! Blueprint and layout say what to build, `build` builds it, agents enforce, a campaign of
//! probes runs without policies and then with them, and a verdict compares wire and compiler.

pub mod agent;
pub mod attempt;
pub mod blueprint;
pub mod build;
pub mod campaign;
pub mod ledger;
pub mod netns;
pub mod nft;
pub mod proxy;
pub mod serve;
mod socket;
pub mod spoof;
pub mod topology;
pub mod verdict;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use futures::future::try_join_all;
use policy_common::drops::Reason;
use policy_core::{
    compile::{Scope, compile},
    model::Snapshot,
};
use policy_manifest::{Expectations, Manifests};
use policy_probe::{End, Probe};
use tokio::{sync::mpsc, task::JoinSet};

use crate::dataplane::Parts;
use agent::Agent;
use blueprint::Blueprint;
use build::Network;
use campaign::Campaign;
use ledger::Ledger;
use proxy::Proxy;
use topology::Topology;
pub use verdict::Report;

/// What to run.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// The cluster.
    pub manifests: Manifests,
    /// The probes.
    pub probes: Vec<Probe>,
    /// What is expected of them.
    pub expectations: Expectations,
    /// How pods are joined to their nodes.
    pub topology: Topology,
    /// Parts of the dataplane that are in place: all, or the lab should notice.
    pub parts: Parts,
}

/// Why a lab gave no truth table.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The manifests describe no network that can be.
    #[error(transparent)]
    Blueprint(#[from] blueprint::Error),
    /// The privilege is missing.
    #[error("the lab makes network namespaces and loads eBPF programs: run it as root")]
    NotPermitted,
    /// The network.
    #[error("cannot build the network")]
    Build(#[source] Box<build::Error>),
    /// The translation of Services.
    #[error(transparent)]
    Nft(#[from] nft::Error),
    /// A server.
    #[error(transparent)]
    Serve(#[from] serve::Error),
    /// An agent.
    #[error("the agent of node {node} failed")]
    Agent {
        /// Its node.
        node: String,
        /// Why.
        #[source]
        source: Box<agent::Error>,
    },
    /// The lie about a source address could not be told.
    #[error("cannot try a forged source address")]
    Spoof(#[from] spoof::Error),
    /// Without policies not everything passed: the lab is broken, and a deny would mean nothing.
    #[error(
        "{} of {tried} probes failed before any policy was in force:\n  {}",
        failed.len(),
        failed.join("\n  ")
    )]
    Baseline {
        /// How many were tried.
        tried: usize,
        /// Which ones failed, and how.
        failed: Vec<String>,
    },
}

impl Error {
    /// Whether the manifests are to blame, and not the environment.
    #[must_use]
    pub fn is_input(&self) -> bool {
        matches!(self, Self::Blueprint(_))
    }
}

/// Who wants to know how far a lab is.
pub trait Progress {
    /// A stage begins that has so many probes; 0 where it has none.
    fn begin(&self, stage: &'static str, probes: usize);
    /// A probe of the stage has ended.
    fn step(&self);
}

/// Builds the lab, probes it without and with policies, and takes it down.
///
/// # Errors
///
/// Where the lab cannot be built or does not work without policies.
pub async fn run(order: Order, progress: &dyn Progress) -> Result<Report, Error> {
    let Order { manifests, probes, expectations, topology, parts } = order;
    let Manifests { mut snapshot, hosts, .. } = manifests;
    let hosts: BTreeMap<String, Vec<IpAddr>> =
        hosts.into_iter().map(|(name, host)| (name, host.addresses)).collect();
    let blueprint = blueprint::draw(&mut snapshot, &hosts, &strangers(&probes))?;

    progress.begin("building the network", 0);
    let lab = Lab::build(blueprint, &snapshot, &probes, topology).await?;
    progress.begin("starting the agents", 0);
    let agents = lab.start_agents(parts).await?;

    let open = Snapshot { policies: BTreeMap::new(), ..snapshot.clone() };
    reconcile(&agents, &open).await?;
    progress.begin("probing without policies", lab.campaign.planned.len());
    let fates = lab.campaign.run(&lab.ledger, || progress.step()).await;
    verdict::baseline(&lab.campaign, &fates)?;
    let mut findings = lab.lie().await?;

    reconcile(&agents, &snapshot).await?;
    progress.begin("probing with policies", lab.campaign.planned.len());
    let before = counted(&agents).await?;
    let fates = lab.campaign.run(&lab.ledger, || progress.step()).await;
    let drops = counted(&agents).await? - before;
    for finding in lab.lie().await? {
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }

    let (desired, faults) = compile(&snapshot, Scope::Cluster);
    let mut report = verdict::report(&lab.campaign, &fates, &snapshot, &desired, &expectations);
    findings.extend(verdict::uncounted(&report.table, drops));
    report.findings.extend(findings);
    report.notes.extend(lab.blueprint.notes.iter().cloned());
    report.notes.extend(lab.campaign.left_out.iter().map(|what| format!("not probed: {what}")));
    report.notes.extend(faults.iter().map(verdict::fault));
    Ok(report)
}

/// A standing lab.
struct Lab {
    blueprint: Blueprint,
    network: Network,
    campaign: Campaign,
    ledger: Arc<Ledger>,
    /// Servers, held for as long as they shall serve.
    _servers: JoinSet<()>,
}

impl Lab {
    async fn build(
        blueprint: Blueprint,
        snapshot: &Snapshot,
        probes: &[Probe],
        topology: Topology,
    ) -> Result<Self, Error> {
        let layout = topology::lay_out(&blueprint, topology);
        let network = Network::build(&layout, topology).await.map_err(permitted)?;
        let proxy = Proxy::of(snapshot);
        let ruleset = proxy::ruleset(&proxy);
        for node in blueprint.nodes.keys() {
            if let Some(namespace) = network.machines.get(&blueprint::Machine::Node(node.clone())) {
                nft::load(namespace, &ruleset)?;
            }
        }
        let campaign = Campaign::plan(probes, &blueprint, &network, &proxy);
        let servers = serve::start(&network, &blueprint, &campaign.served)?;
        let ledger = Ledger::new(campaign.ports(&proxy));
        Ok(Self { blueprint, network, campaign, ledger, _servers: servers })
    }

    /// Starts an agent in each node; their drop records go to the ledger.
    async fn start_agents(&self, parts: Parts) -> Result<Vec<Agent>, Error> {
        let (records, mut inbox) = mpsc::unbounded_channel();
        let ledger = Arc::clone(&self.ledger);
        tokio::spawn(async move {
            while let Some(record) = inbox.recv().await {
                ledger.enter(&record);
            }
        });
        let starts = self.network.machines.iter().filter_map(|(machine, namespace)| {
            let blueprint::Machine::Node(node) = machine else {
                return None;
            };
            let start = Agent::start(node, namespace.clone(), parts, records.clone());
            Some(async move { start.await.map_err(|source| failed(node, source)) })
        });
        try_join_all(starts).await
    }

    /// Tells a lie in each family; what is not as it should be comes back.
    async fn lie(&self) -> Result<Vec<String>, Error> {
        let mut findings = Vec::new();
        for lie in spoof::choose(&self.blueprint) {
            let fate = spoof::tell(&lie, &self.network, &self.ledger).await?;
            findings.extend(verdict::of_lie(&lie, fate));
        }
        Ok(findings)
    }
}

/// Packets that the agents' counters say were dropped for want of a rule or of backends.
async fn counted(agents: &[Agent]) -> Result<u64, Error> {
    let all = agents.iter().map(|agent| async {
        let counts = agent.drop_counts().await;
        counts.map_err(|source| failed(&agent.node, source))
    });
    let counts = try_join_all(all).await?;
    let by_policy = counts
        .iter()
        .flatten()
        .filter(|(key, _)| Reason::from_number(key.reason).is_some_and(verdict::is_policy));
    Ok(by_policy.map(|(_, count)| count).sum())
}

async fn reconcile(agents: &[Agent], snapshot: &Snapshot) -> Result<(), Error> {
    let all = agents.iter().map(|agent| async {
        let outcome = agent.reconcile(snapshot).await;
        outcome.map_err(|source| failed(&agent.node, source))
    });
    try_join_all(all).await.map(drop)
}

fn failed(node: &str, source: agent::Error) -> Error {
    Error::Agent { node: node.to_owned(), source: Box::new(source) }
}

/// Addresses that probes name without an object that has them.
fn strangers(probes: &[Probe]) -> BTreeSet<IpAddr> {
    let ends = probes
        .iter()
        .flat_map(|probe| [(&probe.from, probe.source), (&probe.to, probe.destination)]);
    ends.filter(|(end, _)| matches!(end, End::Address(_))).map(|(_, address)| address).collect()
}

/// Tells the lack of privilege from other failures.
fn permitted(error: build::Error) -> Error {
    if let build::Error::Namespace(netns::Error::Create(nix::Error::EPERM)) = error {
        Error::NotPermitted
    } else {
        Error::Build(Box::new(error))
    }
}
