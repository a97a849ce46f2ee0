//! A lab that stands.

use std::sync::Arc;

use futures::future::try_join_all;
use policy_common::drops::Reason;
use policy_core::model::Snapshot;
use policy_probe::Probe;
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    Error,
    agent::{self, Agent},
    blueprint::{Blueprint, Machine},
    build::Network,
    campaign::Campaign,
    ledger::Ledger,
    nft,
    proxy::{self, Proxy},
    serve, spoof,
    topology::{self, Topology},
    verdict,
};
use crate::dataplane::Parts;

/// Network, servers and agents; all of it goes when this value does.
pub(super) struct Lab {
    /// Before the network that they work in.
    agents: Vec<Agent>,
    pub(super) blueprint: Blueprint,
    pub(super) campaign: Campaign,
    pub(super) ledger: Arc<Ledger>,
    network: Network,
    /// Held for as long as they shall serve.
    _servers: JoinSet<()>,
}

impl Lab {
    /// Builds the network and starts the servers; nothing is enforced yet.
    pub(super) async fn build(
        blueprint: Blueprint,
        snapshot: &Snapshot,
        probes: &[Probe],
        topology: Topology,
    ) -> Result<Self, Error> {
        let layout = topology::lay_out(&blueprint, topology);
        let network = Network::build(&layout, topology).await?;
        let proxy = Proxy::of(snapshot);
        let ruleset = proxy::ruleset(&proxy);
        for node in blueprint.nodes.keys() {
            if let Some(namespace) = network.machines.get(&Machine::Node(node.clone())) {
                nft::load(namespace, &ruleset)?;
            }
        }
        let campaign = Campaign::plan(probes, &blueprint, &network, &proxy);
        let servers = serve::start(&network, &blueprint, &campaign.served)?;
        let ledger = Ledger::new(campaign.ports(&proxy));
        Ok(Self { agents: Vec::new(), blueprint, campaign, ledger, network, _servers: servers })
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
        let starts = self.network.machines.iter().filter_map(|(machine, namespace)| {
            let Machine::Node(node) = machine else {
                return None;
            };
            let start = Agent::start(node, namespace.clone(), parts, records.clone());
            Some(async move { start.await.map_err(|source| failed(node, source)) })
        });
        self.agents = try_join_all(starts).await?;
        Ok(())
    }

    /// Makes every agent enforce a snapshot.
    pub(super) async fn enforce(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let all = self.agents.iter().map(|agent| async {
            let outcome = agent.reconcile(snapshot).await;
            outcome.map_err(|source| failed(&agent.node, source))
        });
        try_join_all(all).await.map(drop)
    }

    /// Packets that the agents' counters say were dropped for a reason of policy.
    pub(super) async fn counted(&self) -> Result<u64, Error> {
        let all = self.agents.iter().map(|agent| async {
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

    /// Tells a lie in each family; what is not as it should be comes back.
    pub(super) async fn lie(&self) -> Result<Vec<String>, Error> {
        let mut findings = Vec::new();
        for lie in spoof::choose(&self.blueprint) {
            let fate = spoof::tell(&lie, &self.network, &self.ledger).await?;
            findings.extend(verdict::of_lie(&lie, fate));
        }
        Ok(findings)
    }
}

fn failed(node: &str, source: agent::Error) -> Error {
    Error::Agent { node: node.to_owned(), source: Box::new(source) }
}
