//! The lab: a cluster out of network namespaces, the real agent in each node, real probes.
//!
//! Blueprint and layout say what to build, `build` builds it, agents enforce, a campaign of
//! probes runs without policies and then with them, and a verdict compares wire and compiler.

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

use policy_manifest::{Expectations, Manifests};
use policy_probe::{End, Probe};

pub use error::Error;
pub use lab::Lab;
use policy_agent::dataplane::Parts;
pub use report::Report;
use topology::Topology;

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

/// Builds a lab, and probes it without and with policies. It stands as long as the value lives.
///
/// # Errors
///
/// Where the lab cannot be built or does not work without policies.
pub async fn stand(order: Order, progress: &dyn Progress) -> Result<(Lab, Report), Error> {
    let Order { mut manifests, probes, expectations, topology, parts } = order;
    let hosts: BTreeMap<String, Vec<IpAddr>> =
        manifests.hosts.iter().map(|(name, host)| (name.clone(), host.addresses.clone())).collect();
    let blueprint = blueprint::draw(&mut manifests.snapshot, &hosts, &strangers(&probes))?;

    progress.begin("building the network", 0);
    let mut lab = Lab::build(blueprint, manifests, &probes, topology).await?;
    progress.begin("starting the agents", 0);
    lab.start_agents(parts).await?;

    let early = lab.require_open(progress).await?;
    lab.enforce_all().await?;
    let mut report = lab.probe(&expectations, progress).await?;
    for finding in early {
        if !report.findings.contains(&finding) {
            report.findings.push(finding);
        }
    }
    report.notes.splice(0..0, lab.notes().iter().cloned());
    Ok((lab, report))
}

/// Addresses that probes name without an object that has them.
fn strangers(probes: &[Probe]) -> BTreeSet<IpAddr> {
    let ends = probes
        .iter()
        .flat_map(|probe| [(&probe.from, probe.source), (&probe.to, probe.destination)]);
    ends.filter(|(end, _)| matches!(end, End::Address(_))).map(|(_, address)| address).collect()
}
