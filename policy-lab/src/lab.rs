//! A running lab: its network, its servers and its agents.
//!
//! [`crate::build_and_probe`] creates it; with `--hold` and `--run` it stays and applies changes of
//! the manifests.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::try_join_all;
use policy_agent::{
    dataplane::{ActiveParts, Options},
    node::NodeConfig,
};
use policy_common::drops::Reason;
use policy_core::{
    compile::{Scope, compile},
    intent::IntentOptions,
    model::{DenyReply, Snapshot},
};
use policy_manifest::{Expectations, Manifests};
use policy_probe::Probe;
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    Error, Progress,
    agent::{self, Agent, DropReport},
    anti_spoofing,
    blueprint::{Blueprint, Machine},
    bpffs::Bpffs,
    connection::ConnectionResult,
    description::{self, Description},
    drop_matcher::DropMatcher,
    follow,
    network::Network,
    nft,
    probe_plan::ProbePlan,
    proxy::{self, Proxy},
    report::{self, ExpectedCluster, Report},
    servers::{self, ServedPorts},
    topology::{self, Layout, Topology},
};

/// A running lab; dropping it ends the agents and removes the network.
#[derive(Debug)]
pub struct Lab {
    /// First, so that agents end before the network that they are attached to.
    agents: Vec<Agent>,
    /// What the operator of the agents has decided.
    intent: IntentOptions,
    /// The bpffs of each node's agent.
    pins: BTreeMap<String, Bpffs>,
    blueprint: Blueprint,
    probe_plan: ProbePlan,
    /// The machines as they were built, and the policies in force.
    cluster: Manifests,
    drops: Arc<DropMatcher>,
    layout: Layout,
    network: Network,
    served: ServedPorts,
    /// The tasks of the servers, which end with the sets.
    servers: Vec<JoinSet<()>>,
}

impl Lab {
    /// Builds the network and starts the servers; no agent runs yet.
    ///
    /// The blueprint must be that of the snapshot in `cluster`.
    pub(crate) async fn build(
        blueprint: Blueprint,
        cluster: Manifests,
        probes: &[Probe],
        topology: Topology,
        intent: IntentOptions,
    ) -> Result<Self, Error> {
        let layout = topology::lay_out(&blueprint, topology);
        let network = Network::build(&layout, topology).await?;
        let mut lab = Self {
            agents: Vec::new(),
            intent,
            pins: BTreeMap::new(),
            blueprint,
            probe_plan: ProbePlan::default(),
            cluster,
            drops: DropMatcher::new(),
            layout,
            network,
            served: ServedPorts::new(),
            servers: Vec::new(),
        };
        lab.prepare(probes)?;
        Ok(lab)
    }

    /// Loads the rules for the cluster's Services, plans `probes` and starts the missing servers.
    fn prepare(&mut self, probes: &[Probe]) -> Result<(), Error> {
        let proxy = Proxy::new(&self.cluster.snapshot);
        let ruleset = proxy::ruleset(&proxy);
        for node in self.blueprint.nodes.keys() {
            if let Some(namespace) = self.network.machines.get(&Machine::Node(node.clone())) {
                nft::load(namespace, &ruleset)?;
            }
        }
        self.probe_plan = ProbePlan::new(probes, &self.blueprint, &self.network, &proxy);
        // Servers that run stay, so that connections of an earlier round keep their server.
        let new: ServedPorts = self.probe_plan.served.difference(&self.served).copied().collect();
        self.servers.push(servers::start(&self.network, &self.blueprint, &new)?);
        self.served.extend(new);
        self.drops.reserve(&self.probe_plan.ports(&proxy));
        Ok(())
    }

    /// Starts an agent in each node; their drops go to the drop matcher and to `observer`.
    pub(crate) async fn start_agents(
        &mut self,
        parts: ActiveParts,
        observer: Option<mpsc::UnboundedSender<DropReport>>,
    ) -> Result<(), Error> {
        let (reports, mut inbox) = mpsc::unbounded_channel::<DropReport>();
        let drops = Arc::clone(&self.drops);
        tokio::spawn(async move {
            while let Some(report) = inbox.recv().await {
                drops.assign(&report.record);
                if let Some(observer) = &observer {
                    // The observer may have gone; the lab continues.
                    let _ = observer.send(report);
                }
            }
        });
        for node in self.blueprint.nodes.keys() {
            self.pins.insert(node.clone(), Bpffs::create()?);
        }
        let starts = self.network.machines.iter().filter_map(|(machine, namespace)| {
            let Machine::Node(node) = machine else {
                return None;
            };
            let config = NodeConfig {
                node: node.clone(),
                intent: self.intent.clone(),
                pins: self.pins.get(node).map(Bpffs::path),
                options: Options { parts, ..Options::default() },
            };
            let start = Agent::start(namespace.clone(), config, reports.clone());
            Some(async move { start.await.map_err(|source| failed(node, source)) })
        });
        self.agents = try_join_all(starts).await?;
        Ok(())
    }

    /// Requires that every probe succeeds without policies, and returns the findings of
    /// anti-spoofing, which is in force without policies too.
    pub(crate) async fn check_without_policies(
        &self,
        progress: &dyn Progress,
    ) -> Result<Vec<String>, Error> {
        let mut open = self.cluster.snapshot.clone();
        open.policies.clear();
        open.cluster_policies.clear();
        self.enforce(&open).await?;
        progress.start_stage("probing without policies", self.probe_plan.planned.len());
        let results = self.run_probes(progress).await;
        report::require_all_allowed(&self.probe_plan, &results)?;
        self.test_anti_spoofing().await
    }

    /// Enforces the cluster's current policies.
    pub(crate) async fn enforce_policies(&self) -> Result<(), Error> {
        self.enforce(&self.cluster.snapshot).await
    }

    /// Returns the changes of `manifests` that a running lab can apply, and a note for each other.
    #[must_use]
    pub fn applicable(&self, manifests: Manifests) -> (Manifests, Vec<String>) {
        follow::with_machines_of(&self.cluster, manifests)
    }

    /// Applies manifests that [`Self::applicable`] returned, and plans other probes.
    ///
    /// # Errors
    ///
    /// Where an agent or the translation of Services fails; some nodes may then still enforce the
    /// earlier policies.
    pub async fn apply(&mut self, manifests: Manifests, probes: &[Probe]) -> Result<(), Error> {
        self.cluster = manifests;
        self.prepare(probes)?;
        self.enforce_policies().await
    }

    /// Runs the probes and compares their results with the compiler and the expectations.
    ///
    /// # Errors
    ///
    /// Where an agent fails.
    pub async fn probe(
        &self,
        expectations: &Expectations,
        progress: &dyn Progress,
    ) -> Result<Report, Error> {
        progress.start_stage("probing with policies", self.probe_plan.planned.len());
        let before = self.count_policy_drops().await?;
        let results = self.run_probes(progress).await;
        let drops = self.count_policy_drops().await?.saturating_sub(before);
        let snapshot = &self.cluster.snapshot;
        let (desired, faults) = compile(snapshot, Scope::Cluster);
        let cluster = ExpectedCluster {
            snapshot,
            desired: &desired,
            is_own_node_open: self.intent.own_node_egress,
            rejects: self.intent.deny_reply == DenyReply::Reject
                || self.intent.deny_reply_annotation,
        };
        let mut report = report::compare(&self.probe_plan, &results, &cluster, expectations);
        report.findings.extend(report::too_few_drops(&report.table, drops));
        report.findings.extend(self.test_anti_spoofing().await?);
        let left_out = self.probe_plan.left_out.iter();
        report.findings.extend(left_out.map(|probe| format!("cannot be probed: {probe}")));
        report.notes.extend(faults.iter().map(ToString::to_string));
        Ok(report)
    }

    /// The cluster as it is enforced.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.cluster.snapshot
    }

    /// Notes about objects that the lab added or left out.
    pub(crate) fn notes(&self) -> &[String] {
        &self.blueprint.notes
    }

    /// Describes where each machine is found.
    #[must_use]
    pub fn describe(&self) -> Description {
        description::describe(&self.blueprint, &self.layout, &self.network, &self.pins)
    }

    async fn run_probes(&self, progress: &dyn Progress) -> Vec<ConnectionResult> {
        self.probe_plan.run(&self.drops, || progress.probe_done()).await
    }

    /// Enforces a snapshot on every node.
    async fn enforce(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let all = self.agents.iter().map(|agent| async {
            let outcome = agent.reconcile(snapshot).await;
            outcome.map_err(|source| failed(&agent.node, source))
        });
        try_join_all(all).await.map(drop)
    }

    /// Sums the drop counters of all agents, for reasons of policy only.
    async fn count_policy_drops(&self) -> Result<u64, Error> {
        let all = self.agents.iter().map(|agent| async {
            let counts = agent.drop_counts().await;
            counts.map_err(|source| failed(&agent.node, source))
        });
        let counts = try_join_all(all).await?;
        let by_policy = counts
            .iter()
            .flatten()
            .filter(|(key, _)| Reason::from_number(key.reason).is_some_and(Reason::is_policy));
        Ok(by_policy.map(|(_, count)| count).sum())
    }

    /// Sends a forged packet in each family and returns a finding for each that was not dropped.
    async fn test_anti_spoofing(&self) -> Result<Vec<String>, Error> {
        let mut findings = Vec::new();
        for packet in anti_spoofing::choose(&self.blueprint) {
            let result = anti_spoofing::send(&packet, &self.network, &self.drops).await?;
            let may_spoof = self.may_spoof(&packet.sender);
            findings.extend(report::forged_packet_finding(&packet, result, may_spoof));
        }
        Ok(findings)
    }

    /// Whether the namespace of a pod disables anti-spoofing, and the agents honour that.
    fn may_spoof(&self, sender: &Machine) -> bool {
        let Machine::Pod(name) = sender else { return false };
        let namespace = self.cluster.snapshot.namespaces.get(&name.namespace);
        self.intent.spoofing_annotation && namespace.is_some_and(|namespace| namespace.may_spoof)
    }
}

fn failed(node: &str, source: agent::AgentError) -> Error {
    Error::Agent { node: node.to_owned(), source: Box::new(source) }
}
