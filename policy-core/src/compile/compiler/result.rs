//! Writes what the stages report into the result. No stage writes the result itself.

use crate::model::Snapshot;

use super::{Deltas, Stages, apply::put};

impl Stages {
    /// Writes what changed; returns how many endpoints were written.
    pub(super) fn write(&mut self, snapshot: &Snapshot, deltas: Deltas) -> usize {
        let Deltas { rules, peers: _, identities, allow, services } = deltas;
        let endpoints = self.write_endpoints(snapshot, &rules, &allow, &services);
        let desired = &mut self.desired;
        for (name, policy) in rules.policies {
            put(&mut desired.policies, name, policy);
        }
        for (address, identity) in identities.entries {
            put(&mut desired.addresses, address, identity);
        }
        if let Some(blocks) = identities.table {
            desired.blocks = blocks;
        }
        for (frontend, resolved) in services.frontends {
            let (identity, backends) = resolved.unzip();
            put(&mut desired.frontends, frontend, identity);
            put(&mut desired.backends, frontend, backends);
        }
        if let Some(addresses) = services.node_addresses {
            desired.node_addresses = addresses;
        }
        endpoints
    }
}
