//! The exact ports between two parties of a test.
//!
//! Pods and regions outside of the cluster are judged by their compiled sets, without probing. A
//! Service, a pod of the host's network and a single address are judged as `explain` judges them, at
//! the first port of each range that no policy distinguishes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use policy_core::{
    connections::Region,
    desired::{Desired, Frontend, Ports},
    explain::{Explainer, Explanation},
    model::{Direction, Family, ObjectName, Phase, Protocol, Snapshot},
};
use policy_manifest::{End, Manifests};
use policy_probe::{Probe, Row};

use crate::{segments, service_backends};

/// A source or destination of connections that has one verdict for each port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TestParty {
    /// A pod.
    Pod(ObjectName),
    /// A Service, at its cluster IPs.
    Service(ObjectName),
    /// A machine outside, or an address that is named alone.
    Address(IpAddr),
    /// Addresses outside of the cluster that no policy distinguishes, and one of them.
    Region(Region, IpAddr),
}

/// The parties of one list of ends.
#[derive(Debug, Default)]
pub(super) struct Parties {
    pub(super) all: BTreeSet<TestParty>,
    /// Those that stand for the Internet, of which one family is enough.
    pub(super) internet: BTreeSet<TestParty>,
}

/// Judges parties of one cluster.
pub(super) struct Judge<'a> {
    pub(super) manifests: &'a Manifests,
    pub(super) desired: &'a Desired,
    /// Addresses of pods and Services, which are no addresses outside.
    pub(super) taken: BTreeSet<IpAddr>,
    explainer: Explainer<'a>,
    /// Backends of the frontends of all Services.
    pub(super) backends: BTreeMap<Frontend, BTreeSet<(IpAddr, u16)>>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(manifests: &'a Manifests, desired: &'a Desired) -> Self {
        let snapshot = &manifests.snapshot;
        let pods = snapshot.pods.values().flat_map(|pod| &pod.addresses);
        let services = snapshot.services.values();
        let services = services.flat_map(|one| one.cluster_ips.iter().chain(&one.external_ips));
        let taken = pods.chain(services).copied().collect();
        let (explainer, backends) =
            (Explainer::new(snapshot, desired), service_backends::of(snapshot));
        Self { manifests, desired, taken, explainer, backends }
    }

    pub(super) fn snapshot(&self) -> &'a Snapshot {
        &self.manifests.snapshot
    }

    /// Every pod that a test may mean without its name.
    pub(super) fn pods(&self) -> impl Iterator<Item = &'a ObjectName> {
        let pods = self.snapshot().pods.iter();
        pods.filter(|(_, pod)| pod.is_subject() && !pod.addresses.is_empty()).map(|(name, _)| name)
    }

    /// Whether a pod runs and has an address.
    pub(super) fn is_live(&self, name: &ObjectName) -> bool {
        let pod = self.snapshot().pods.get(name);
        pod.is_some_and(|pod| pod.phase == Phase::Live && !pod.addresses.is_empty())
    }

    /// What `from` may open to `to` in a family; `None` where one of them has no address there.
    pub(super) fn ports(&self, from: &TestParty, to: &TestParty, family: Family) -> Option<Ports> {
        let (source, destination) = (self.address(from, family)?, self.address(to, family)?);
        if !self.has_sets(from) || !self.has_sets(to) {
            return Some(self.probed(from, to, family));
        }
        let egress = self.side(from, Direction::Egress, destination);
        let ingress = self.side(to, Direction::Ingress, source);
        Some(egress.and(&ingress))
    }

    /// Who decides about a port, in the words of `explain`.
    pub(super) fn reason(
        &self,
        from: &TestParty,
        to: &TestParty,
        family: Family,
        (protocol, port): (Protocol, u16),
    ) -> String {
        let Some(probe) = self.probe(from, to, family, (protocol, port)) else {
            return "no address of this family".to_owned();
        };
        match self.explainer.explain(&probe.question()) {
            Some(found) => Row::of(probe, found, None).decided_by(),
            None => "no policy; nothing serves the Service".to_owned(),
        }
    }

    /// Addresses of the backends of those parties that are Services.
    pub(super) fn backends(&self, parties: &BTreeSet<TestParty>) -> BTreeSet<IpAddr> {
        let services = parties.iter().filter_map(|party| match party {
            TestParty::Service(name) => self.snapshot().services.get(name),
            TestParty::Pod(_) | TestParty::Address(_) | TestParty::Region(..) => None,
        });
        let frontends: BTreeSet<&IpAddr> = services.flat_map(|one| &one.cluster_ips).collect();
        let backends = self.backends.iter();
        let backends = backends.filter(|(frontend, _)| frontends.contains(&frontend.address));
        backends.flat_map(|(_, backends)| backends.iter().map(|(address, _)| *address)).collect()
    }

    /// Whether a pod is a backend of a Service.
    pub(super) fn is_backend(&self, pod: &TestParty, service: &TestParty) -> bool {
        let (TestParty::Pod(name), TestParty::Service(_)) = (pod, service) else { return false };
        let backends = self.backends(&BTreeSet::from([service.clone()]));
        let pod = self.snapshot().pods.get(name);
        pod.is_some_and(|pod| pod.addresses.iter().any(|address| backends.contains(address)))
    }

    /// The first address of a party in a family.
    fn address(&self, party: &TestParty, family: Family) -> Option<IpAddr> {
        let first = |addresses: &[IpAddr]| {
            addresses.iter().copied().find(|address| Family::of(*address) == family)
        };
        match party {
            TestParty::Pod(name) => first(&self.snapshot().pods.get(name)?.addresses),
            TestParty::Service(name) => first(&self.snapshot().services.get(name)?.cluster_ips),
            TestParty::Address(address) | TestParty::Region(_, address) => first(&[*address]),
        }
    }

    fn has_sets(&self, party: &TestParty) -> bool {
        match party {
            TestParty::Pod(name) => self.desired.endpoints.contains_key(name),
            TestParty::Region(..) => true,
            TestParty::Service(_) | TestParty::Address(_) => false,
        }
    }

    /// What the policies of one side allow to an address.
    fn side(&self, party: &TestParty, direction: Direction, far: IpAddr) -> Ports {
        let TestParty::Pod(name) = party else { return Ports::everything() };
        let endpoint = self.desired.endpoints.get(name);
        match endpoint.and_then(|endpoint| endpoint.isolation.get(direction).as_ref()) {
            None => Ports::everything(),
            Some(isolation) => {
                let ports = isolation.allow_map.ports_of(self.desired.identity_of(far));
                ports.cloned().unwrap_or_default()
            }
        }
    }

    /// The same by a question for each range of ports.
    fn probed(&self, from: &TestParty, to: &TestParty, family: Family) -> Ports {
        let mut ranges = Vec::new();
        for protocol in Protocol::ALL {
            for (first, last) in segments::of(self.snapshot(), protocol) {
                let probe = self.probe(from, to, family, (protocol, first));
                let found = probe.and_then(|probe| self.explainer.explain(&probe.question()));
                if found.is_some_and(|found: Explanation| found.allowed()) {
                    ranges.push((protocol, first, last));
                }
            }
        }
        Ports::from_ranges(ranges)
    }

    fn probe(
        &self,
        from: &TestParty,
        to: &TestParty,
        family: Family,
        (protocol, port): (Protocol, u16),
    ) -> Option<Probe> {
        let (source, destination) = (self.address(from, family)?, self.address(to, family)?);
        let (from, to) = (from.end(), to.end());
        Some(Probe { from, to, port, protocol, family, source, destination })
    }
}

impl TestParty {
    fn end(&self) -> End {
        match self {
            Self::Pod(name) => End::Pod(name.clone()),
            Self::Service(name) => End::Service(name.clone()),
            Self::Address(address) | Self::Region(_, address) => End::Address(*address),
        }
    }
}
