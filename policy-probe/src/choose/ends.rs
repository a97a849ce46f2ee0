//! Looks up the ends of probes in manifests: addresses, ports, and similar names for one that does
//! not exist.

use std::{collections::BTreeSet, net::IpAddr};

use policy_core::model::{Family, Phase, Pod, Protocol};
use policy_manifest::{End, Manifests};

use super::CannotProbe;

/// A name is suggested if at most one in so many letters differs.
const LETTERS_PER_TYPO: usize = 3;

/// Addresses and ports of ends.
pub(super) struct Ends<'a> {
    manifests: &'a Manifests,
}

impl<'a> Ends<'a> {
    pub(super) fn new(manifests: &'a Manifests) -> Self {
        Self { manifests }
    }

    /// Every pod that can be probed.
    pub(super) fn pods(&self) -> Vec<End> {
        let pods = self.manifests.snapshot.pods.keys().map(|name| End::Pod(name.clone()));
        pods.filter(|end| self.check(end).is_ok()).collect()
    }

    /// Whether `end` exists and has an address.
    pub(super) fn check(&self, end: &End) -> Result<(), CannotProbe> {
        match self.addresses(end) {
            None => Err(CannotProbe::Unknown { end: end.clone(), nearest: self.nearest(end) }),
            Some(_) if self.pod(end).is_some_and(|pod| pod.phase == Phase::Finished) => {
                Err(CannotProbe::Finished { end: end.clone() })
            }
            Some([]) => Err(CannotProbe::NoAddress { end: end.clone() }),
            Some(_) => Ok(()),
        }
    }

    /// Family and addresses of both ends, for each family that both have.
    pub(super) fn pairs<'e>(
        &self,
        from: &'e End,
        to: &'e End,
    ) -> impl Iterator<Item = (Family, IpAddr, IpAddr)> + use<'a, 'e>
    where
        'a: 'e,
    {
        let source = self.addresses(from).unwrap_or_default();
        let destination = self.addresses(to).unwrap_or_default();
        [Family::Ipv4, Family::Ipv6].into_iter().filter_map(move |family| {
            Some((family, first(source, family)?, first(destination, family)?))
        })
    }

    /// Declared ports; for an address those of the pod, host or Service that has it.
    pub(super) fn ports(&self, end: &End) -> BTreeSet<(u16, Protocol)> {
        let snapshot = &self.manifests.snapshot;
        let pod = |pod: &Pod| pod.ports.iter().map(|port| (port.port, port.protocol)).collect();
        match end {
            End::Pod(name) => snapshot.pods.get(name).map(pod).unwrap_or_default(),
            End::Host(name) => {
                let ports = self.manifests.hosts.get(name).map(|host| host.ports.as_slice());
                ports.unwrap_or_default().iter().map(|port| (port.port, port.protocol)).collect()
            }
            End::Service(name) => {
                let ports = snapshot.services.get(name).map(|service| service.ports.as_slice());
                ports.unwrap_or_default().iter().map(|port| (port.port, port.protocol)).collect()
            }
            End::Address(_) => {
                let owners = self.named().into_iter().filter(|owner| *owner != *end);
                let owners = owners.filter(|owner| self.owns(owner, end));
                owners.flat_map(|owner| self.ports(&owner)).collect()
            }
        }
    }

    fn owns(&self, owner: &End, address: &End) -> bool {
        let End::Address(address) = address else {
            return false;
        };
        self.check(owner).is_ok()
            && self.addresses(owner).is_some_and(|addresses| addresses.contains(address))
    }

    /// Addresses of an end; `None` where nothing has its name.
    fn addresses<'e>(&self, end: &'e End) -> Option<&'e [IpAddr]>
    where
        'a: 'e,
    {
        let snapshot = &self.manifests.snapshot;
        match end {
            End::Pod(name) => snapshot.pods.get(name).map(|pod| pod.addresses.as_slice()),
            End::Host(name) => self.manifests.hosts.get(name).map(|host| host.addresses.as_slice()),
            End::Service(name) => {
                snapshot.services.get(name).map(|service| service.cluster_ips.as_slice())
            }
            End::Address(address) => Some(std::slice::from_ref(address)),
        }
    }

    fn pod(&self, end: &End) -> Option<&'a Pod> {
        let End::Pod(name) = end else { return None };
        self.manifests.snapshot.pods.get(name)
    }

    /// Everything that has a name.
    fn named(&self) -> Vec<End> {
        let snapshot = &self.manifests.snapshot;
        let pods = snapshot.pods.keys().map(|name| End::Pod(name.clone()));
        let hosts = self.manifests.hosts.keys().map(|name| End::Host(name.clone()));
        let services = snapshot.services.keys().map(|name| End::Service(name.clone()));
        pods.chain(hosts).chain(services).collect()
    }

    fn nearest(&self, end: &End) -> Option<End> {
        let wanted = end.to_string();
        let distance = |other: &End| strsim::damerau_levenshtein(&wanted, &other.to_string());
        let scored = self.named().into_iter().map(|other| (distance(&other), other));
        let near = scored.filter(|(distance, _)| *distance <= wanted.len() / LETTERS_PER_TYPO);
        near.min_by_key(|(distance, _)| *distance).map(|(_, other)| other)
    }
}

fn first(addresses: &[IpAddr], family: Family) -> Option<IpAddr> {
    addresses.iter().copied().find(|address| Family::of(*address) == family)
}
