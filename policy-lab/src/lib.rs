//! The lab: a cluster of network namespaces in which the real dataplane judges real connections.
//!
//! Input: manifests, probes and expectations. Output: a truth table with the verdict of the wire beside
//! the compiler's, and findings where the two disagree. `policy-agent lab` calls it.
//!
//! One probe, followed from its manifests to its row of the table:
//!
//! ```text
//! manifests      pod frontend/web 10.244.0.10 on node-a, pod database/mysql 10.244.1.10 on node-b
//!                with port 3306, and a policy that isolates database/mysql and allows backend/api
//! blueprint      machines node/node-a, node/node-b, frontend/web, database/mysql, their addresses
//! topology       frontend/web: eth0 10.244.0.10/32, default route via 10.244.0.1; and so on
//! network        one namespace per machine, joined by veth pairs and a switch
//! agent          node-a and node-b each run an agent, which attaches programs to the veths
//! probe_plan     frontend/web connects to 10.244.1.10:3306, and the server there must respond
//!                with its name, "database/mysql 10.244.1.10:3306"
//! connection     without policies: Answered, so the network works
//!                with policies: no response, and drop_matcher finds the drop record of node-b's
//!                agent with TCP, source port 1024 and reason no-rule: Dropped(NoRule)
//! report         frontend/web -> database/mysql IPv4 TCP 3306 deny, as the compiler expects
//! ```
//!
//! [`servers`] respond with their names, [`proxy`] and [`nft`] translate Services, and
//! [`anti_spoofing`] tests forged source addresses. All kernel objects are held by file
//! descriptors of this process ([`netns`], [`bpffs`]): none outlives it.

pub mod agent;
pub mod anti_spoofing;
pub mod blueprint;
pub mod bpffs;
pub mod cli;
pub mod connection;
pub mod description;
pub mod drop_matcher;
mod error;
mod follow;
mod lab;
pub mod netns;
pub mod network;
pub mod nft;
pub mod probe_plan;
pub mod proxy;
pub mod report;
mod sctp;
pub mod servers;
mod socket;
pub mod topology;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use policy_agent::dataplane::ActiveParts;
use policy_core::intent::IntentOptions;
use policy_manifest::{Expectations, Manifests};
use policy_probe::{End, Probe};

use agent::DropReport;
pub use error::Error;
pub use lab::Lab;
pub use report::Report;
use tokio::sync::mpsc::UnboundedSender;
use topology::Topology;

/// What a lab consists of.
#[derive(Clone, Debug, Default)]
pub struct LabConfig {
    /// The cluster.
    pub manifests: Manifests,
    /// The probes.
    pub probes: Vec<Probe>,
    /// The expected verdicts of the probes.
    pub expectations: Expectations,
    /// How pods are joined to their nodes.
    pub topology: Topology,
    /// Parts of the dataplane that are in place; the lab must notice where one is missing.
    pub parts: ActiveParts,
    /// What the operator of the agents has decided.
    pub intent: IntentOptions,
    /// Receives a report of every drop.
    pub drops: Option<UnboundedSender<DropReport>>,
}

/// Receives the progress of a lab.
pub trait Progress {
    /// A stage with `probes` probes starts; 0 where it has none.
    fn start_stage(&self, stage: &'static str, probes: usize);
    /// A probe of the stage has ended.
    fn probe_done(&self);
}

/// Builds a lab, and probes it without policies and then with them.
///
/// The lab runs as long as the returned value lives.
///
/// # Errors
///
/// Where the lab cannot be built, or a probe fails without policies.
pub async fn build_and_probe(
    config: LabConfig,
    progress: &dyn Progress,
) -> Result<(Lab, Report), Error> {
    let LabConfig { mut manifests, probes, expectations, topology, parts, intent, drops } = config;
    let hosts: BTreeMap<String, Vec<IpAddr>> =
        manifests.hosts.iter().map(|(name, host)| (name.clone(), host.addresses.clone())).collect();
    let blueprint = blueprint::plan(&mut manifests.snapshot, &hosts, &probed_addresses(&probes))?;

    progress.start_stage("building the network", 0);
    let mut lab = Lab::build(blueprint, manifests, &probes, topology, intent).await?;
    progress.start_stage("starting the agents", 0);
    lab.start_agents(parts, drops).await?;

    let early_findings = lab.check_without_policies(progress).await?;
    lab.enforce_policies().await?;
    let mut report = lab.probe(&expectations, progress).await?;
    for finding in early_findings {
        if !report.findings.contains(&finding) {
            report.findings.push(finding);
        }
    }
    report.notes.splice(0..0, lab.notes().iter().cloned());
    Ok((lab, report))
}

/// Addresses that probes name without an object.
fn probed_addresses(probes: &[Probe]) -> BTreeSet<IpAddr> {
    let ends = probes
        .iter()
        .flat_map(|probe| [(&probe.from, probe.source), (&probe.to, probe.destination)]);
    ends.filter(|(end, _)| matches!(end, End::Address(_))).map(|(_, address)| address).collect()
}
