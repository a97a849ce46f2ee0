//! Leaves out Services that do not fit into the map `frontends`, so that no tenant's Services hold up
//! the policies of others (S26).
//!
//! Input: the compiler's result, who has which frontends, and how many the map holds. Output: the
//! result with as many frontends as fit. An address of a Service that is left out is closed: it has one
//! frontend, at port 0, without a backend, which the programs look up for every port without a frontend
//! of its own. So egress of an isolated pod to it is denied, and a pod that nothing isolates
//! reaches it. Addresses of nodes and pods stay as they are.
//!
//! Where all fit, nothing changes. Otherwise a quarter of the map is for closed addresses, and
//! namespaces share the rest: those with few frontends keep all, the others get equal shares, which
//! they fill with their smallest Services:
//!
//! ```text
//! the map holds 16, and 12 are shared; shop has 3, web 8, tenant 5000
//! shop     3 of a share of 12 / 3 = 4
//! web      4 of a share of 9 / 2 = 4      its smallest Services
//! tenant   0 of a share of 5              its one Service has 5000
//! closed   4 addresses of what is left out
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use policy_common::drops::Reason;

use super::Intent;
use crate::{
    compile::Compiler,
    desired::{Desired, Frontend, FrontendOutcome, IdentityKey},
    model::{Direction, Node},
    owner::Owners,
};

/// The frontends of each Service of a namespace.
type ServiceFrontends<'a> = Vec<&'a [Frontend]>;

/// Services of a namespace that do not fit into the map `frontends`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOutServices {
    /// Their namespace.
    pub namespace: String,
    /// How many Services, and pods with host ports, are left out.
    pub services: usize,
    /// How many of their addresses are not closed: those of pods and nodes, and those for which there is
    /// no place either. Policies judge them as if they were no Service's.
    pub open: usize,
}

/// The frontends that fit.
#[derive(Debug, Default)]
pub(super) struct FittingFrontends {
    kept: BTreeSet<Frontend>,
    closed: BTreeSet<IpAddr>,
    pub(super) left_out: Vec<LeftOutServices>,
}

impl Intent {
    /// Sets how many frontends the kernel's map holds.
    pub fn set_frontend_limit(&mut self, limit: usize) {
        self.frontend_limit = limit;
    }

    /// The Services that do not fit into the kernel's map.
    #[must_use]
    pub fn left_out_services(&self) -> Vec<LeftOutServices> {
        self.fitting_frontends().unwrap_or_default().left_out
    }

    /// The frontends that fit, where not all do.
    pub(super) fn fitting_frontends(&self) -> Option<FittingFrontends> {
        FittingFrontends::select(&self.compiler, &self.owners, self.frontend_limit)
    }
}

impl FittingFrontends {
    /// Selects the frontends that fit; `None` where all do.
    pub(super) fn select(compiler: &Compiler, owners: &Owners, limit: usize) -> Option<Self> {
        if compiler.compiled().0.frontends.len() <= limit {
            return None;
        }
        let mut namespaces: BTreeMap<&str, ServiceFrontends<'_>> = BTreeMap::new();
        for (name, frontends) in compiler.frontend_owners() {
            namespaces.entry(&name.namespace).or_default().push(frontends);
        }
        let snapshot = compiler.snapshot();
        let mut nodes: BTreeSet<IpAddr> = snapshot.gateways();
        nodes.extend(snapshot.nodes.values().flat_map(Node::own_addresses));
        // Whoever names it as an external IP must not close it.
        let is_others = |address| nodes.contains(&address) || owners.of(address).is_some();
        Some(Self::share(namespaces, limit, is_others))
    }

    /// `is_others` is whether an address is that of a pod or a node, which stays as it is.
    fn share(
        namespaces: BTreeMap<&str, ServiceFrontends<'_>>,
        limit: usize,
        is_others: impl Fn(IpAddr) -> bool,
    ) -> Self {
        let size =
            |owners: &ServiceFrontends<'_>| owners.iter().map(|one| one.len()).sum::<usize>();
        let mut by_size: Vec<_> = namespaces.into_iter().collect();
        by_size.sort_by_key(|(name, owners)| (size(owners), *name));
        let mut fitting = Self::default();
        let mut left = limit - limit / 4;
        let mut left_out = Vec::new();
        for (namespaces_left, (name, mut owners)) in (1..=by_size.len()).rev().zip(by_size) {
            let mut share = left / namespaces_left;
            owners.sort_by_key(|one| (one.len(), one.first().copied()));
            let mut more = Vec::new();
            for frontends in owners {
                if frontends.len() <= share {
                    share -= frontends.len();
                    left -= frontends.len();
                    fitting.kept.extend(frontends);
                } else {
                    more.push(frontends);
                }
            }
            if !more.is_empty() {
                left_out.push((name, more));
            }
        }
        for (name, owners) in left_out {
            fitting.close(name, &owners, limit / 4, &is_others);
        }
        fitting
    }

    /// Closes the addresses of Services that are left out, as long as there are fewer than `limit`.
    fn close(
        &mut self,
        namespace: &str,
        owners: &[&[Frontend]],
        limit: usize,
        is_others: impl Fn(IpAddr) -> bool,
    ) {
        let frontends = owners.iter().flat_map(|one| one.iter());
        let addresses: BTreeSet<IpAddr> = frontends.map(|frontend| frontend.address).collect();
        let mut open = 0;
        for address in addresses {
            let has_place = self.closed.contains(&address) || self.closed.len() < limit;
            if has_place && !is_others(address) {
                self.closed.insert(address);
            } else {
                open += 1;
            }
        }
        let namespace = namespace.to_owned();
        self.left_out.push(LeftOutServices { namespace, services: owners.len(), open });
    }

    /// The result with the frontends that fit alone.
    pub(super) fn apply(&self, desired: &Desired) -> Desired {
        let mut desired = desired.clone();
        desired.frontends.retain(|frontend, _| self.kept.contains(frontend));
        desired.backends.retain(|frontend, _| self.kept.contains(frontend));
        let key = IdentityKey::without_backend();
        for address in &self.closed {
            desired.frontends.insert(Frontend::of_every_port(*address), Some(key.clone()));
        }
        for endpoint in desired.endpoints.values_mut() {
            if let Some(isolation) = endpoint.isolation.get_mut(Direction::Egress) {
                let allow_map = Arc::make_mut(&mut isolation.allow_map);
                let refused = FrontendOutcome::Refuse(Reason::ServiceNoBackend);
                allow_map.frontends.insert(Some(key.clone()), refused);
            }
        }
        desired
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::model::Protocol;

    /// Frontends of a Service with an address of its own.
    fn service(address: u8, ports: u16) -> Vec<Frontend> {
        let address = IpAddr::V4(Ipv4Addr::new(10, 96, 0, address));
        (1..=ports).map(|port| Frontend { address, protocol: Protocol::Tcp, port }).collect()
    }

    #[test]
    fn s26_namespaces_with_few_frontends_keep_all_and_the_others_share_what_is_left() {
        let (shop, small, large) = (service(1, 3), service(2, 4), service(3, 4));
        let tenant: Vec<_> = (10..20).map(|address| service(address, 500)).collect();
        let tenant: Vec<&[Frontend]> = tenant.iter().map(Vec::as_slice).collect();
        let namespaces =
            [("shop", vec![&*shop]), ("tenant", tenant), ("web", vec![&*large, &*small])];
        let fitting = FittingFrontends::share(namespaces.into(), 16, |_| false);
        let kept: Vec<_> = shop.iter().chain(&small).copied().collect();
        assert_eq!(fitting.kept, kept.into_iter().collect());
        assert_eq!(fitting.closed.len(), 4, "a quarter of the map");
        let left_out = |namespace: &str, services, open| LeftOutServices {
            namespace: namespace.to_owned(),
            services,
            open,
        };
        assert_eq!(fitting.left_out, [left_out("web", 1, 0), left_out("tenant", 10, 7)]);
    }
}
