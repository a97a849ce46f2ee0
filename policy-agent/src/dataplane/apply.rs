//! Carries out the steps of a plan, one kernel operation each.
//!
//! `node` calls [`Dataplane::apply`] for each step, in the planner's order. Example: a first policy
//! isolates the endpoint at interface 12.
//!
//! ```text
//! PutAllowMap 5      a new inner map, filled, pinned as allow_5, put at index 5 of `allow`
//! PutIdentity        wait for programs that may have read an older endpoint, then write `identities`
//! PutEndpoint 12     epochs[12] = 41 (it was 0), endpoints[12] = …, slots[3] = 12; attach if new
//! BumpEpoch 12       epochs[12] = 42: flows of epoch 41 are judged again
//! ```

use std::collections::BTreeSet;

use policy_common::{
    address::in_one_form,
    allow::PortSet,
    endpoint::{Endpoint, flags},
    flow::place,
    frontend::Frontend,
    identity::Identity,
};
use policy_core::{desired, plan::Step};

use super::{
    Dataplane, allow_map, attach::Attachment, error::DataplaneError, flows, key, pins::Pins,
};

impl Dataplane {
    /// Carries out one step.
    ///
    /// A program reads the endpoint first, then the tables and the allow map. So a step that writes
    /// a table waits until every program has ended that may have read an endpoint before its last
    /// write; otherwise such a program could combine the old endpoint with the new table, a third
    /// state (S49).
    ///
    /// # Errors
    ///
    /// If the kernel refuses. The object of the step is then as before: a new endpoint has no entry
    /// and no program.
    pub fn apply(&mut self, step: &Step) -> Result<(), DataplaneError> {
        match step {
            Step::PutEndpoint(_) | Step::ReplaceEndpoint { .. } | Step::DeleteEndpoint { .. } => {
                self.settled = false;
            }
            // Nothing refers to a new chunk or allow map yet.
            Step::BumpEpoch { .. }
            | Step::PutPortChunk(_)
            | Step::PutBackend(_)
            | Step::PutAllowMap { .. } => {}
            Step::PutIdentity { .. }
            | Step::PutBlock { .. }
            | Step::PutFrontend { .. }
            | Step::PutNodeAddress { .. }
            | Step::AdoptFlows { .. }
            | Step::RecordBackends { .. }
            | Step::DeleteFrontend(_)
            | Step::DeleteBlock(_)
            | Step::DeleteIdentity(_)
            | Step::DeleteNodeAddress(_)
            | Step::DeleteAllowMap { .. }
            | Step::DeleteBackends { .. }
            | Step::DeletePortBitmap { .. } => self.settle()?,
        }
        let folder = self.pins.as_ref().map(Pins::maps);
        let maps = &mut self.maps;
        match step {
            Step::PutPortChunk(chunk) => maps.port_chunks.put(&chunk.key, chunk),
            Step::PutBackend(backend) => maps.backends.put(&backend.key, backend),
            Step::PutAllowMap { allow_map, entries } => {
                self.put_allow_maps([(*allow_map, entries.as_slice())].into_iter())
            }
            Step::PutIdentity { address, identity } => {
                let address = in_one_form(*address);
                maps.identities.put(&address, &Identity { address, identity: *identity })
            }
            Step::PutBlock { block, identity } => maps.put_block(*block, *identity),
            Step::PutFrontend { frontend, identity } => self.put_frontend(frontend, *identity),
            Step::PutNodeAddress { address, kind } => {
                maps.node_addresses.put(&in_one_form(*address), &(*kind as u32))
            }
            Step::PutEndpoint(endpoint) => self.put_endpoint(*endpoint),
            Step::ReplaceEndpoint { slot, endpoint } => self.replace_endpoint(*slot, *endpoint),
            // `node` reads nf_conntrack; there is nothing to write here.
            Step::AdoptFlows { .. } | Step::RecordBackends { .. } => Ok(()),
            Step::BumpEpoch { ifindex } => self.bump_epoch(*ifindex),
            Step::DeleteEndpoint { ifindex, slot } => self.delete_endpoint(*ifindex, *slot),
            Step::DeleteFrontend(frontend) => maps.frontends.delete(&key::frontend(frontend)),
            Step::DeleteBlock(block) => maps.delete_block(*block),
            Step::DeleteIdentity(address) => maps.identities.delete(&in_one_form(*address)),
            Step::DeleteNodeAddress(address) => maps.node_addresses.delete(&in_one_form(*address)),
            Step::DeleteAllowMap { allow_map } => {
                allow_map::delete(&mut maps.allow, *allow_map, folder.as_deref())
            }
            Step::DeleteBackends { list } => maps.backends.delete_where(|key| key.list == *list),
            Step::DeletePortBitmap { bitmap } => {
                maps.port_chunks.delete_where(|key| key.bitmap == *bitmap)
            }
        }
    }

    /// Creates several allow maps with a single wait of the kernel.
    ///
    /// # Errors
    ///
    /// As [`apply`](Self::apply), for the first that fails; some of the others may be in use then.
    pub fn put_allow_maps<'a>(
        &mut self,
        allow_maps: impl Iterator<Item = (u32, &'a [PortSet])>,
    ) -> Result<(), DataplaneError> {
        let folder = self.pins.as_ref().map(Pins::maps);
        let (allow, types) = (&mut self.maps.allow, &self.inner_types);
        allow_map::put(allow, types, allow_maps, folder.as_deref())?;
        // The kernel has waited for every running program.
        self.settled = true;
        Ok(())
    }

    /// Attaches the programs to the `unknown` interfaces, which have no endpoint, so that they drop
    /// or pass every packet as [`Options`](super::Options) says; detaches them from interfaces that
    /// are no longer unknown.
    ///
    /// # Errors
    ///
    /// The first failure; an interface that is gone meanwhile does not count.
    pub fn guard(&mut self, unknown: &BTreeSet<u32>) -> Result<(), DataplaneError> {
        let attached: Vec<u32> = self.attachments.keys().copied().collect();
        for ifindex in attached.into_iter().filter(|ifindex| !unknown.contains(ifindex)) {
            if self.maps.endpoints.get(&ifindex)?.is_none()
                && let Some(attachment) = self.attachments.remove(&ifindex)
            {
                attachment.detach(ifindex)?;
            }
        }
        for &ifindex in unknown {
            if self.attachments.contains_key(&ifindex) {
                continue;
            }
            match self.programs.attach(ifindex, self.pins.as_ref()) {
                Ok(attachment) => drop(self.attachments.insert(ifindex, attachment)),
                Err(DataplaneError::InterfaceMissing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits for the running programs, if an endpoint was written since the last wait.
    fn settle(&mut self) -> Result<(), DataplaneError> {
        if !self.settled {
            allow_map::wait_for_readers(&mut self.maps.allow, &self.inner_types)?;
            self.settled = true;
        }
        Ok(())
    }

    fn put_frontend(
        &mut self,
        frontend: &desired::Frontend,
        identity: u32,
    ) -> Result<(), DataplaneError> {
        let key = key::frontend(frontend);
        self.maps.frontends.put(&key, &Frontend { key, identity })
    }

    /// Writes an endpoint, and attaches the programs to a new one.
    fn put_endpoint(&mut self, endpoint: Endpoint) -> Result<(), DataplaneError> {
        let ifindex = endpoint.ifindex;
        let tracks = endpoint.flags & flags::TRACKING != 0;
        let existing = self.maps.endpoints.get(&ifindex)?;
        if tracks && existing.is_some_and(|existing| !flows::reads_flows(&existing)) {
            // Flows recorded when it was last isolated may belong to connections that ended since. An
            // endpoint that is isolated, as when enforcement is switched off, has those of now.
            self.flows.delete_of_interface(&mut self.maps, ifindex)?;
        }
        if flows::reads_flows(&endpoint) {
            self.own_flow_tables(&[endpoint])?;
            if self.epoch(ifindex)? == 0 {
                // From now on the programs look up flows of this interface.
                self.bump_epoch(ifindex)?;
            }
        }
        self.maps.endpoints.put(&ifindex, &endpoint)?;
        if self.attachments.get(&ifindex).is_some_and(Attachment::is_whole) {
            // The endpoint before its slot: a receiver that finds the slot then finds the sender's
            // endpoint.
            return self.maps.slots.set(endpoint.slot, &ifindex);
        }
        let attached = self
            .maps
            .slots
            .set(endpoint.slot, &ifindex)
            .and_then(|()| self.programs.attach(ifindex, self.pins.as_ref()));
        match attached {
            Ok(attachment) => {
                self.attachments.insert(ifindex, attachment);
                Ok(())
            }
            Err(error) => {
                // The first failure is the one to report.
                let _ = self.forget_endpoint(ifindex, endpoint.slot);
                Err(error)
            }
        }
    }

    /// Writes the endpoint of another pod at the same interface; the programs stay attached.
    fn replace_endpoint(&mut self, slot: u32, endpoint: Endpoint) -> Result<(), DataplaneError> {
        let ifindex = endpoint.ifindex;
        self.put_endpoint(endpoint)?;
        if slot != endpoint.slot && self.maps.slots.get(slot)? == ifindex {
            self.maps.slots.set(slot, &0)?;
        }
        // Until this wait a program could still write a flow of the earlier pod.
        self.settled = false;
        self.settle()?;
        self.forget_counts(ifindex)
    }

    /// Detaches the programs from an interface, and deletes its endpoint, flows and counters (S8).
    fn delete_endpoint(&mut self, ifindex: u32, slot: u32) -> Result<(), DataplaneError> {
        if let Some(attachment) = self.attachments.remove(&ifindex) {
            attachment.detach(ifindex)?;
        }
        self.forget_endpoint(ifindex, slot)?;
        self.forget_counts(ifindex)?;
        let word = place::word(ifindex);
        let endpoints = self.maps.endpoints.entries()?;
        if endpoints.iter().any(|(other, _)| place::word(*other) == word) {
            return Ok(());
        }
        let folder = self.pins.as_ref().map(Pins::maps);
        // Interfaces with the same word share tables: they go with the last of them.
        self.flows.delete(word, &self.maps, folder.as_deref())
    }

    /// Deletes flows and counters of an interface.
    fn forget_counts(&mut self, ifindex: u32) -> Result<(), DataplaneError> {
        self.flows.delete_of_interface(&mut self.maps, ifindex)?;
        self.maps.live_backends.delete_where(|key| key.ifindex == ifindex)?;
        self.maps.drops.delete_where(|key| key.ifindex == ifindex)
    }

    fn forget_endpoint(&mut self, ifindex: u32, slot: u32) -> Result<(), DataplaneError> {
        self.maps.endpoints.delete(&ifindex)?;
        // The slot may have passed to another endpoint.
        if self.maps.slots.get(slot)? == ifindex {
            self.maps.slots.set(slot, &0)?;
        }
        Ok(())
    }

    pub(super) fn epoch(&self, ifindex: u32) -> Result<u32, DataplaneError> {
        self.maps.epochs.get(place::word(ifindex))
    }

    /// Gives the word a number that no word ever had. Only this agent writes the words.
    pub(super) fn bump_epoch(&mut self, ifindex: u32) -> Result<(), DataplaneError> {
        self.newest_epoch = epoch_after(self.newest_epoch);
        self.maps.epochs.set(place::word(ifindex), &self.newest_epoch)
    }
}

/// The next epoch; never 0, which means that the endpoint was never isolated.
const fn epoch_after(epoch: u32) -> u32 {
    match epoch.wrapping_add(1) {
        0 => 1,
        next => next,
    }
}

#[cfg(test)]
mod tests {
    use super::epoch_after;

    #[test]
    fn an_epoch_passes_over_zero() {
        assert_eq!([0, 1, u32::MAX].map(epoch_after), [1, 2, 1]);
    }
}
