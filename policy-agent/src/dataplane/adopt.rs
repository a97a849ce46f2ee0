//! Takeover of what an earlier agent pinned, while it stays in force (S48).
//!
//! Example, with maps of another size: `new/` gets fresh maps, filled from `maps/`; the plan is
//! applied to `new/`; [`Dataplane::commit`] copies the flows, exchanges the program of each link,
//! copies the flows again, and renames `new/` to `maps/`. An agent that is killed at any point
//! leaves either `maps/` in use, or `new/` complete.

use std::path::Path;

use policy_common::endpoint::Endpoint;
use policy_core::plan::Step;

use super::{
    Dataplane, allow_map,
    attach::{Attached, Attachment, Mechanism},
    error::DataplaneError,
    interface, link,
    maps::Maps,
    object,
    options::Options,
    pins::{self, Pins},
    pod_program::NAMES,
    read, syscall,
};

impl Dataplane {
    /// Loads the object, reuses what is pinned in a folder of a bpffs, and pins everything there.
    ///
    /// The returned steps say what the maps hold. Attached programs stay as they are until
    /// [`commit`](Self::commit), which must be called when the maps hold the desired state. Maps of
    /// another shape are not touched: new ones are created beside them and filled from them as far
    /// as they can be read.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), and if the folder is not on a bpffs, or is used by another agent.
    pub fn adopt(options: &Options, root: &Path) -> Result<(Self, Vec<Step>), DataplaneError> {
        // The folder is locked first: two agents that write the same maps would undo each other.
        let mut pins = Pins::open(root)?;
        let took_over = pins.maps().exists();
        let expected = object::shapes(options)?;
        if !pins.is_of_this_version() || !object::fits(&expected, &pins.maps()) {
            pins.stage()?;
        }
        let ebpf = object::load_pinned(options, &pins.maps(), expected.keys())?;
        let mut dataplane = Self::assemble(ebpf, options, pins.programs_elsewhere()?)?;
        if !allow_map::pattern(&pins.maps()).exists() {
            allow_map::pin_pattern(&dataplane.inner_types, &pins.maps())?;
        }
        // The pins that verification compares with later: a file of the same name may be another map.
        for name in expected.keys() {
            let path = pins.maps().join(name);
            let open = syscall::open_pin(&path);
            let open = open.map_err(|source| DataplaneError::Pins { act: "open", path, source });
            dataplane.pinned.insert(name.clone(), open?);
        }
        // An interface that has both keeps what was added last.
        match dataplane.programs.mechanism() {
            Mechanism::Tcx => {
                dataplane.adopt_filters()?;
                dataplane.adopt_links(&pins)?;
            }
            Mechanism::Clsact => {
                dataplane.adopt_links(&pins)?;
                dataplane.adopt_filters()?;
            }
        }
        let before = pins.maps_before();
        // With staged maps, the pods' tables of the earlier agent are in the other folder: their flows are
        // copied by `commit`, when the new tables exist.
        if before.is_none() {
            dataplane.flows.adopt(&pins.maps())?;
        }
        dataplane.pins = Some(pins);
        dataplane.committed = false;
        dataplane.took_over = took_over;
        if let Some(before) = before {
            // Maps of an unknown layout are not read: the new ones start without flows.
            if let Ok(before) = Maps::open_earlier(&before, &dataplane.maps) {
                // The new maps start with what the old ones enforce, so that the plan has only the
                // difference to make, in the order that holds the verdicts (S49).
                dataplane.copy(&before)?;
            }
        }
        let steps = dataplane.read_back()?;
        Ok((dataplane, steps))
    }

    /// Opens the pinned links, and removes those of interfaces that are gone.
    fn adopt_links(&mut self, pins: &Pins) -> Result<(), DataplaneError> {
        for pod_program in NAMES {
            for ifindex in pins.linked(pod_program)? {
                let path = pins.link(pod_program, ifindex);
                match link::open(&path, ifindex)? {
                    Some(open) => {
                        let attachment =
                            self.attachments.entry(ifindex).or_insert_with(Attachment::stale);
                        let link = Attached::Link { link: open, pin: Some(path) };
                        attachment.add(pod_program, link);
                    }
                    None => pins::remove(&path)?,
                }
            }
        }
        Ok(())
    }

    /// Finds the filters that an earlier agent left on clsact qdiscs.
    fn adopt_filters(&mut self) -> Result<(), DataplaneError> {
        for (ifindex, pod_program, filter) in self.programs.filters().find_all()? {
            let attachment = self.attachments.entry(ifindex).or_insert_with(Attachment::stale);
            attachment.add(pod_program, Attached::Filter(filter));
        }
        Ok(())
    }

    /// What the maps hold, as the steps that would write it.
    ///
    /// Endpoints without both programs are left out, so that the plan writes and attaches them
    /// again; endpoints of interfaces that are gone are deleted.
    fn read_back(&mut self) -> Result<Vec<Step>, DataplaneError> {
        let folder = self.pins.as_ref().map(Pins::maps);
        let mut steps = read::tables(&self.maps)?;
        let endpoints = read::endpoints(&self.maps)?;
        // Only indexes that an endpoint names are read: before Linux 6.8 each look-up waits 15 ms.
        if let Some(folder) = &folder {
            let indexes = read::used_indexes(&self.maps.allow, folder, &endpoints)?;
            let found = read::allow_maps(&self.maps.allow, folder, &indexes)?;
            read::remove_stale_pins(folder, &found)?;
            steps.extend(found);
        }
        self.own_flow_tables(&endpoints)?;
        let maps = &self.maps;
        self.flows.delete_stale(&endpoints, maps, folder.as_deref())?;
        for endpoint in endpoints {
            let ifindex = endpoint.ifindex;
            let whole = self.attachments.get(&ifindex).is_some_and(Attachment::is_whole);
            if whole {
                steps.push(Step::PutEndpoint(endpoint));
            } else if interface::name(ifindex).is_err() {
                self.apply(&Step::DeleteEndpoint { ifindex, slot: endpoint.slot })?;
            }
        }
        Ok(steps)
    }

    /// Fills new maps from the old ones, with the endpoints that are attached.
    fn copy(&mut self, before: &Maps) -> Result<(), DataplaneError> {
        self.maps.copy_words(before)?;
        for (key, entry) in before.live_backends.entries()? {
            self.maps.live_backends.put(&key, &entry)?;
        }
        // No two words of `epochs` may hold the same number, so numbering goes on after the highest.
        self.newest_epoch = self.maps.epochs.values()?.into_iter().max().unwrap_or_default();
        let folder = self.pins.as_ref().and_then(Pins::maps_before);
        let mut steps = read::tables(before)?;
        let endpoints = read::endpoints(before)?;
        if let Some(folder) = folder {
            let indexes = read::used_indexes(&before.allow, &folder, &endpoints)?;
            steps.extend(read::allow_maps(&before.allow, &folder, &indexes)?);
        }
        let attached = |endpoint: &Endpoint| self.attachments.contains_key(&endpoint.ifindex);
        let endpoints: Vec<Endpoint> = endpoints.into_iter().filter(attached).collect();
        self.own_flow_tables(&endpoints)?;
        steps.extend(endpoints.into_iter().map(Step::PutEndpoint));
        for step in steps {
            self.apply(&step)?;
        }
        Ok(())
    }

    /// Exchanges the attached programs for this agent's, and removes the old maps.
    ///
    /// Flows are copied twice, because connections may start between the first copy and the
    /// exchange. Does nothing without pins, or when it was done already.
    ///
    /// # Errors
    ///
    /// If the kernel refuses; the caller may call it again.
    pub fn commit(&mut self) -> Result<(), DataplaneError> {
        if self.committed {
            return Ok(());
        }
        let Some(pins) = &mut self.pins else { return Ok(()) };
        let before = pins.maps_before();
        let before =
            before.and_then(|folder| Some((Maps::open_earlier(&folder, &self.maps).ok()?, folder)));
        if let Some((before, folder)) = &before {
            self.flows.copy(&mut self.maps, before, folder)?;
        }
        let mut orphans = Vec::new();
        for (&ifindex, attachment) in &mut self.attachments {
            // The plan has no endpoint there, so the program would pass everything: it goes.
            if self.maps.endpoints.get(&ifindex)?.is_none() {
                orphans.push(ifindex);
            } else {
                // Until this the earlier program ran with the earlier maps, from this on this
                // agent's with its own: the exchange of a link is one atomic step, so no packet
                // meets half of each.
                self.programs.renew(ifindex, attachment, pins)?;
            }
        }
        if let Some((before, folder)) = &before {
            self.flows.copy(&mut self.maps, before, folder)?;
            // Only now does no program count there any more.
            self.maps.drops.add(&before.drops)?;
        }
        for ifindex in orphans {
            if let Some(attachment) = self.attachments.remove(&ifindex) {
                attachment.detach(ifindex)?;
            }
        }
        // Until every link has this agent's program, the pins name the one that is attached.
        self.programs.pin(pins)?;
        let moved = before.is_some();
        pins.unstage()?;
        self.committed = true;
        self.flows.log_size();
        let interfaces = self.attachments.len();
        if self.took_over {
            tracing::info!(interfaces, moved, "took over from an earlier agent");
        } else {
            tracing::info!(interfaces, "pinned programs and maps");
        }
        Ok(())
    }
}

impl Maps {
    /// Copies slots and epochs.
    fn copy_words(&mut self, before: &Self) -> Result<(), DataplaneError> {
        self.slots.copy(&before.slots)?;
        self.epochs.copy(&before.epochs)
    }
}
