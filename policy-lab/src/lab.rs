//! A lab that stands.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::try_join_all;
use policy_common::drops::Reason;
use policy_core::{
    compile::{Scope, compile},
    model::Snapshot,
};
use policy_manifest::{Expectations, Manifests};
use policy_probe::Probe;
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    Error, Progress,
    agent::{self, Agent},
    anti_spoofing,
    blueprint::{Blueprint, Machine},
    bpffs::Bpffs,
    connection::Fate,
    description::{self, Description},
    drop_matcher::Ledger,
    follow,
    network::Network,
    nft,
    probe_plan::Campaign,
    proxy::{self, Proxy},
    report::{self, Report},
    servers::{self, Served},
    topology::{self, Layout, Topology},
};
use policy_agent::dataplane::Parts;

/// Network, servers and agents; all of it goes when this value does.
#[derive(Debug)]
pub struct Lab {
    /// Before the network that they work in.
    agents: Vec<Agent>,
    /// Where the agents pin, by node.
    pins: BTreeMap<String, Bpffs>,
    blueprint: Blueprint,
    campaign: Campaign,
    /// The machines as they were built, and what is in force.
    cluster: Manifests,
    ledger: Arc<Ledger>,
    layout: Layout,
    network: Network,
    served: Served,
    /// Held for as long as they shall serve.
    servers: Vec<JoinSet<()>>,
}

impl Lab {
    /// Builds the network and starts the servers; nothing is enforced yet. The snapshot of
    /// `cluster` is that of the blueprint.
    pub(super) async fn build(
        blueprint: Blueprint,
        cluster: Manifests,
        probes: &[Probe],
        topology: Topology,
    ) -> Result<Self, Error> {
        let layout = topology::lay_out(&blueprint, topology);
        let network = Network::build(&layout, topology).await?;
        let mut lab = Self {
            agents: Vec::new(),
            pins: BTreeMap::new(),
            blueprint,
            campaign: Campaign::default(),
            cluster,
            ledger: Ledger::new(),
            layout,
            network,
            served: Served::new(),
            servers: Vec::new(),
        };
        lab.prepare(probes)?;
        Ok(lab)
    }

    /// Translates the cluster's Services and serves what `probes` ask for.
    fn prepare(&mut self, probes: &[Probe]) -> Result<(), Error> {
        let proxy = Proxy::of(&self.cluster.snapshot);
        let ruleset = proxy::ruleset(&proxy);
        for node in self.blueprint.nodes.keys() {
            if let Some(namespace) = self.network.machines.get(&Machine::Node(node.clone())) {
                nft::load(namespace, &ruleset)?;
            }
        }
        self.campaign = Campaign::plan(probes, &self.blueprint, &self.network, &proxy);
        let new: Served = self.campaign.served.difference(&self.served).copied().collect();
        self.servers.push(servers::start(&self.network, &self.blueprint, &new)?);
        self.served.extend(new);
        self.ledger.reserve(&self.campaign.ports(&proxy));
        Ok(())
    }

    /// Starts an agent in each node; their drop records go to the ledger.
    pub(super) async fn start_agents(&mut self, parts: Parts) -> Result<(), Error> {
        let (records, mut inbox) = mpsc::unbounded_channel();
        let ledger = Arc::clone(&self.ledger);
        tokio::spawn(async move {
            while let Some(record) = inbox.recv().await {
                ledger.enter(&record);
            }
        });
        for node in self.blueprint.nodes.keys() {
            self.pins.insert(node.clone(), Bpffs::create()?);
        }
        let starts = self.network.machines.iter().filter_map(|(machine, namespace)| {
            let Machine::Node(node) = machine else {
                return None;
            };
            let pins = self.pins.get(node).map(Bpffs::path);
            let start = Agent::start(node, namespace.clone(), parts, pins, records.clone());
            Some(async move { start.await.map_err(|source| failed(node, source)) })
        });
        self.agents = try_join_all(starts).await?;
        Ok(())
    }

    /// Requires that every probe gets through without policies; findings of lies come back.
    pub(super) async fn require_open(&self, progress: &dyn Progress) -> Result<Vec<String>, Error> {
        let mut open = self.cluster.snapshot.clone();
        open.policies.clear();
        open.cluster_policies.clear();
        self.enforce(&open).await?;
        progress.begin("probing without policies", self.campaign.planned.len());
        let fates = self.tried(progress).await;
        report::baseline(&self.campaign, &fates)?;
        self.lie().await
    }

    /// Enforces the cluster's policies, as they are now.
    pub(super) async fn enforce_all(&self) -> Result<(), Error> {
        self.enforce(&self.cluster.snapshot).await
    }

    /// What of `manifests` a standing lab can follow, in place of what is in force, and a line
    /// for everything that it cannot.
    #[must_use]
    pub fn followed(&self, manifests: Manifests) -> (Manifests, Vec<String>) {
        follow::followed(&self.cluster, manifests)
    }

    /// Puts other policies, labels, Services and endpoints in force, and takes other probes.
    ///
    /// # Errors
    ///
    /// Where an agent or the translation of Services fails; what was in force may still be.
    pub async fn follow(&mut self, followed: Manifests, probes: &[Probe]) -> Result<(), Error> {
        self.cluster = followed;
        self.prepare(probes)?;
        self.enforce_all().await
    }

    /// Probes what is in force, and compares.
    ///
    /// # Errors
    ///
    /// Where an agent fails.
    pub async fn probe(
        &self,
        expectations: &Expectations,
        progress: &dyn Progress,
    ) -> Result<Report, Error> {
        progress.begin("probing with policies", self.campaign.planned.len());
        let before = self.counted().await?;
        let fates = self.tried(progress).await;
        let drops = self.counted().await?.saturating_sub(before);
        let snapshot = &self.cluster.snapshot;
        let (desired, faults) = compile(snapshot, Scope::Cluster);
        let mut report = report::report(&self.campaign, &fates, snapshot, &desired, expectations);
        report.findings.extend(report::uncounted(&report.table, drops));
        report.findings.extend(self.lie().await?);
        let left_out = self.campaign.left_out.iter();
        report.findings.extend(left_out.map(|what| format!("cannot be probed: {what}")));
        report.notes.extend(faults.iter().map(ToString::to_string));
        Ok(report)
    }

    /// What was made up or left out, a line each.
    pub(super) fn notes(&self) -> &[String] {
        &self.blueprint.notes
    }

    /// Where everything is.
    #[must_use]
    pub fn describe(&self) -> Description {
        description::describe(&self.blueprint, &self.layout, &self.network, &self.pins)
    }

    async fn tried(&self, progress: &dyn Progress) -> Vec<Fate> {
        self.campaign.run(&self.ledger, || progress.step()).await
    }

    /// Makes every agent enforce a snapshot.
    async fn enforce(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let all = self.agents.iter().map(|agent| async {
            let outcome = agent.reconcile(snapshot).await;
            outcome.map_err(|source| failed(&agent.node, source))
        });
        try_join_all(all).await.map(drop)
    }

    /// Packets that the agents' counters say were dropped for a reason of policy.
    async fn counted(&self) -> Result<u64, Error> {
        let all = self.agents.iter().map(|agent| async {
            let counts = agent.drop_counts().await;
            counts.map_err(|source| failed(&agent.node, source))
        });
        let counts = try_join_all(all).await?;
        let by_policy = counts
            .iter()
            .flatten()
            .filter(|(key, _)| Reason::from_number(key.reason).is_some_and(report::is_policy));
        Ok(by_policy.map(|(_, count)| count).sum())
    }

    /// Tells a lie in each family; what is not as it should be comes back.
    async fn lie(&self) -> Result<Vec<String>, Error> {
        let mut findings = Vec::new();
        for lie in anti_spoofing::choose(&self.blueprint) {
            let fate = anti_spoofing::tell(&lie, &self.network, &self.ledger).await?;
            findings.extend(report::of_lie(&lie, fate));
        }
        Ok(findings)
    }
}

fn failed(node: &str, source: agent::Error) -> Error {
    Error::Agent { node: node.to_owned(), source: Box::new(source) }
}
