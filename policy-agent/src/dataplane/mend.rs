//! Reads back attachments, pins and maps, and repairs what another program changed (S50).
//!
//! At every verification `node` calls [`Dataplane::mend`], and reads the maps by a [`MapReader`] on
//! another thread: before Linux 6.8 that takes 15 ms for each allow map. If what was read differs from
//! what the agent wrote, the agent may also have written meanwhile; so [`Dataplane::found`] reads the
//! suspects once more, and `node` applies the steps that `policy_core::plan::repair` gives.
//!
//! Example: an operator ran `bpftool link detach pinned …/links/from_pod_12` and `rm …/maps/slots`.
//!
//! ```text
//! mend()    links/from_pod_12 has interface 0   → attached again and pinned  Attachment: 1
//!           maps/slots has no pin               → pinned again               Pin: 1
//!           slots[3] is 12, epochs[12] is not 0 → nothing
//! read()    the entries of every table          → equal to what was written
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    os::fd::AsFd as _,
    path::PathBuf,
};

use policy_common::endpoint::Endpoint;
use policy_core::{
    model::Direction,
    plan::{Actual, Step},
};

use super::{
    Dataplane, allow_map, error::DataplaneError, maps::Maps, object, pins::Pins,
    pod_program::NAMES, read, syscall,
};

/// What drifts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drifted {
    /// A program on an interface.
    Attachment,
    /// An entry of a map.
    Entry,
    /// A pin, or a folder of them.
    Pin,
}

impl fmt::Display for Drifted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Drifted {
    /// Its name, for metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Attachment => "attachment",
            Self::Entry => "entry",
            Self::Pin => "pin",
        }
    }
}

/// A hook on which a program of another sees packets before the agent's, and may end the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bypass {
    /// Index of the interface.
    pub ifindex: u32,
    /// The direction that is not enforced, as the pod sees it.
    pub direction: Direction,
    /// The program that is first.
    pub program: String,
}

impl fmt::Display for Bypass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ifindex: _, direction, program } = self;
        let direction = direction.name();
        write!(f, "{program} sees packets before the agent and may let them pass ({direction})")
    }
}

/// What was repaired, and how often.
pub type Drift = BTreeMap<Drifted, usize>;

/// Reads the pinned maps, on any thread, while the agent may write them.
#[derive(Clone, Debug)]
pub struct MapReader {
    folder: PathBuf,
}

impl MapReader {
    /// What the maps hold; of a map that is written meanwhile, the state before or after each write.
    /// The places in `written` are read too, even without a pin.
    ///
    /// # Errors
    ///
    /// When a map cannot be opened or read.
    pub fn read(&self, written: &BTreeSet<u32>) -> Result<Actual, DataplaneError> {
        let maps = Maps::open(&self.folder)?;
        let mut steps = read::tables(&maps)?;
        let endpoints = read::endpoints(&maps)?;
        let indexes = read::used_indexes(&maps.allow, &self.folder, &endpoints)?;
        let indexes = indexes.union(written).copied().collect();
        steps.extend(endpoints.into_iter().map(Step::PutEndpoint));
        steps.extend(read::allow_maps(&maps.allow, &self.folder, &indexes)?);
        Ok(steps.iter().collect())
    }
}

impl Dataplane {
    /// Repairs pins, attached programs, slots and epochs of these endpoints, where they are not as
    /// they were written.
    ///
    /// Without pins, attached programs cannot be read back.
    ///
    /// # Errors
    ///
    /// The first failure; what was repaired before it stays repaired.
    pub fn mend(&mut self, endpoints: &BTreeMap<u32, Endpoint>) -> Result<Drift, DataplaneError> {
        let mut drift = Drift::new();
        if let Some(count) = self.mend_pins()? {
            drift.insert(Drifted::Pin, count);
        }
        // Memory may be free again for pods that share flow tables.
        let all: Vec<Endpoint> = endpoints.values().copied().collect();
        self.own_flow_tables(&all)?;
        let attachments = self.mend_attachments(endpoints)? + self.mend_order()?;
        if attachments > 0 {
            drift.insert(Drifted::Attachment, attachments);
        }
        let mut entries = 0;
        if !self.maps.are_parted()? {
            self.maps.part_families()?;
            entries += 1;
        }
        entries += self.mend_tunnels()?;
        for endpoint in endpoints.values() {
            if self.maps.slots.get(endpoint.slot)? != endpoint.ifindex {
                self.maps.slots.set(endpoint.slot, &endpoint.ifindex)?;
                entries += 1;
            }
            if endpoint.ingress | endpoint.egress != 0 && self.epoch(endpoint.ifindex)? == 0 {
                self.bump_epoch(endpoint.ifindex)?;
                entries += 1;
            }
        }
        if entries > 0 {
            drift.insert(Drifted::Entry, entries);
        }
        Ok(drift)
    }

    /// A value that reads the pinned maps on another thread; `None` without pins.
    #[must_use]
    pub fn reader(&self) -> Option<MapReader> {
        Some(MapReader { folder: self.pins.as_ref()?.maps() })
    }

    /// What the maps hold now; of the allow maps only these are read, and the others count as
    /// `written`. Without pins no allow map can be opened, and all of them do.
    ///
    /// # Errors
    ///
    /// When a map cannot be read.
    pub fn found(
        &self,
        written: &Actual,
        allow_maps: &BTreeSet<u32>,
    ) -> Result<Actual, DataplaneError> {
        let mut steps = read::tables(&self.maps)?;
        steps.extend(read::endpoints(&self.maps)?.into_iter().map(Step::PutEndpoint));
        let folder = self.pins.as_ref().map(Pins::maps);
        let is_read = |number: &u32| folder.is_some() && allow_maps.contains(number);
        for allow_map in written.allow_maps().filter(|number| !is_read(number)) {
            let entries = written.allow_map(allow_map).unwrap_or_default().to_vec();
            steps.push(Step::PutAllowMap { allow_map, entries });
        }
        if let Some(folder) = folder {
            steps.extend(read::allow_maps(&self.maps.allow, &folder, allow_maps)?);
        }
        Ok(steps.iter().collect())
    }

    /// Creates missing folders and pins; how many, if any.
    fn mend_pins(&mut self) -> Result<Option<usize>, DataplaneError> {
        let Some(pins) = &mut self.pins else { return Ok(None) };
        let mut count = pins.mend()?;
        let folder = pins.maps();
        for (name, map) in &self.pinned {
            let path = folder.join(name);
            if !path.exists() {
                let pinned = syscall::pin(map.as_fd(), &path);
                pinned.map_err(|source| DataplaneError::Pins { act: "pin", path, source })?;
                count += 1;
            }
        }
        count += self.flows.mend(&folder)?;
        if !allow_map::pattern(&folder).exists() {
            allow_map::pin_pattern(&self.inner_types, &folder)?;
            count += 1;
        }
        if NAMES.iter().any(|pod_program| !pins.program(pod_program).exists()) {
            self.programs.pin(pins)?;
            count += 1;
        }
        Ok((count > 0).then_some(count))
    }

    /// Puts the agent's programs before those of others, and remembers where that failed; how many
    /// hooks were changed.
    fn mend_order(&mut self) -> Result<usize, DataplaneError> {
        let Some(pins) = self.pins.as_ref() else { return Ok(0) };
        let (mut count, mut copy) = (0, None);
        // An error keeps what the last verification found.
        let mut bypasses = Vec::new();
        for (&ifindex, attachment) in &mut self.attachments {
            if pins.is_traced(ifindex)? {
                continue;
            }
            for pod_program in self.programs.wanted() {
                let Some(first) = self.programs.before(ifindex, &pod_program)? else { continue };
                let load = || object::load_pinned(&self.options, &pins.maps(), self.pinned.keys());
                let copy = &mut copy;
                let moved =
                    self.programs.put_first(ifindex, &pod_program, attachment, pins, copy, load);
                match moved {
                    // The next discovery of interfaces shows it.
                    Err(DataplaneError::InterfaceMissing { .. }) => continue,
                    moved => moved?,
                }
                let direction = pod_program.direction;
                if let Some(program) = self.programs.before(ifindex, &pod_program)? {
                    bypasses.push(Bypass { ifindex, direction, program });
                } else {
                    count += 1;
                    tracing::warn!(
                        ifindex,
                        direction = direction.name(),
                        "{first} was before the agent's program; the agent's is first now. If it happens \
                         again, configure that program to attach behind others"
                    );
                }
            }
        }
        self.bypasses = bypasses;
        Ok(count)
    }

    /// Hooks on which a program of another was before the agent's at the last verification, and could
    /// not be put behind it.
    #[must_use]
    pub fn bypasses(&self) -> &[Bypass] {
        &self.bypasses
    }

    /// Attaches missing programs; how many.
    fn mend_attachments(
        &mut self,
        endpoints: &BTreeMap<u32, Endpoint>,
    ) -> Result<usize, DataplaneError> {
        let Some(pins) = self.pins.as_ref() else { return Ok(0) };
        self.programs.filters().set_foreign(pins.programs_elsewhere()?);
        let mut count = 0;
        let all: BTreeSet<u32> = self.attachments.keys().chain(endpoints.keys()).copied().collect();
        for ifindex in all {
            if pins.is_traced(ifindex)? {
                continue;
            }
            let attachment = self.attachments.entry(ifindex).or_default();
            match self.programs.mend(ifindex, attachment, pins) {
                Ok(mended) => count += mended,
                // The next discovery of interfaces shows it.
                Err(DataplaneError::InterfaceMissing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }
}
