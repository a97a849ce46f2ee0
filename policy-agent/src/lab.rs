//! The lab: a cluster out of network namespaces, the real agent in each node, real probes.
//!
//! Blueprint and layout say what to build, `build` builds it, agents enforce, a campaign of
//! probes runs without policies and then with them, and a verdict compares wire and compiler.

pub mod agent;
pub mod attempt;
pub mod blueprint;
pub mod build;
pub mod campaign;
mod error;
pub mod ledger;
pub mod netns;
pub mod nft;
pub mod proxy;
mod sctp;
pub mod serve;
mod socket;
pub mod spoof;
mod standing;
pub mod topology;
pub mod verdict;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use policy_core::{
    compile::{Scope, compile},
    model::Snapshot,
};
use policy_manifest::{Expectations, Manifests};
use policy_probe::{End, Probe};

use crate::dataplane::Parts;
pub use error::Error;
use standing::Lab;
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
    let mut lab = Lab::build(blueprint, &snapshot, &probes, topology).await?;
    progress.begin("starting the agents", 0);
    lab.start_agents(parts).await?;

    let open = Snapshot { policies: BTreeMap::new(), ..snapshot.clone() };
    lab.enforce(&open).await?;
    progress.begin("probing without policies", lab.campaign.planned.len());
    let fates = lab.campaign.run(&lab.ledger, || progress.step()).await;
    verdict::baseline(&lab.campaign, &fates)?;
    let mut findings = lab.lie().await?;

    lab.enforce(&snapshot).await?;
    progress.begin("probing with policies", lab.campaign.planned.len());
    let before = lab.counted().await?;
    let fates = lab.campaign.run(&lab.ledger, || progress.step()).await;
    let drops = lab.counted().await?.saturating_sub(before);
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

/// Addresses that probes name without an object that has them.
fn strangers(probes: &[Probe]) -> BTreeSet<IpAddr> {
    let ends = probes
        .iter()
        .flat_map(|probe| [(&probe.from, probe.source), (&probe.to, probe.destination)]);
    ends.filter(|(end, _)| matches!(end, End::Address(_))).map(|(_, address)| address).collect()
}
