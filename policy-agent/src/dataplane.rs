//! The kernel's BPF side: loads the programs, attaches them, and writes their maps.
//!
//! Input are the planner's steps, one kernel operation each; output are drop records, counters,
//! and what the maps hold when they are read back. No other module uses aya.
//!
//! ```text
//! Dataplane::adopt(folder)   open what an earlier agent pinned, or load and pin  → steps (Actual)
//! apply(step) × n            write maps, attach programs
//! commit()                   exchange the programs of the earlier agent, link by link
//! mend(), reader(), found()  read back and repair (S50)
//! ```
//!
//! Programs, maps and links live as long as the [`Dataplane`], or, if they are pinned, until
//! `policy-agent detach`.

mod adopt;
mod allow_map;
mod apply;
mod attach;
mod detach;
mod drops;
mod error;
mod filters;
mod flow_table;
mod flows;
mod hooks;
mod interface;
mod key;
mod lifetimes;
mod link;
mod live;
mod maps;
mod mend;
mod named;
mod object;
mod options;
mod pins;
mod pod_program;
mod read;
mod step_text;
mod syscall;
mod trace;
mod tunnels;
mod typed;
mod usage;

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::OwnedFd,
};

use aya::Ebpf;
use policy_common::drops::DropKey;

pub use detach::{Detached, detach};
pub use drops::{DropCounters, Drops, DropsError};
pub use error::DataplaneError;
pub use flows::POD_FLOWS;
pub use hooks::{HookedProgram, Hooks, hooks};
pub use live::BackendsByConnection;
pub use mend::{Bypass, Drift, Drifted, MapReader};
pub use options::{ActiveParts, Capacities, Options, UnknownEndpoints};
pub use pins::{is_on_bpffs, pinned_elsewhere};
pub use step_text::StepText;
pub use trace::{Trace, TraceError};
pub use usage::{FlowTableReader, FlowTableUse, MapUse};

use attach::{Attachment, Programs};
use drops::Events;
use filters::Filters;
use flows::{FlowShare, FlowTables};
use maps::Maps;
use pins::Pins;
use pod_program::NAMES;
use tunnels::Tunnels;
use typed::InnerTypes;

/// The loaded programs, their maps, and the interfaces they are attached to.
///
/// Bound to the network namespace of the thread that attaches.
#[derive(Debug)]
pub struct Dataplane {
    /// Declared before the programs, so that links are dropped first.
    attachments: BTreeMap<u32, Attachment>,
    programs: Programs,
    maps: Maps,
    flows: FlowTables,
    inner_types: InnerTypes,
    events: Option<Events>,
    /// The highest number in `epochs`; no two words ever hold the same number.
    newest_epoch: u32,
    /// Whether every program that could have read an endpoint before its last write has ended.
    settled: bool,
    /// The pinned maps, including those that only the programs use.
    pinned: BTreeMap<String, OwnedFd>,
    /// The folder of the pins, if there is one.
    pins: Option<Pins>,
    /// Whether the attached programs are this agent's.
    committed: bool,
    /// Whether an earlier agent's maps were found.
    took_over: bool,
    /// To load the programs once more.
    options: Options,
    /// What `pods` and `tunnel_ports` hold.
    tunnels: Tunnels,
    /// Hooks on which a program of another sees packets before the agent's.
    bypasses: Vec<Bypass>,
}

impl Dataplane {
    /// Loads the object that is built into this binary; nothing is attached yet.
    ///
    /// # Errors
    ///
    /// If the kernel refuses the object, a map or a program, or if the object has another layout
    /// than this binary.
    pub fn load(options: &Options) -> Result<Self, DataplaneError> {
        Self::assemble(object::load(options)?, options, BTreeSet::new())
    }

    /// Takes the maps and programs out of an object; `foreign` are programs of other agents.
    fn assemble(
        mut ebpf: Ebpf,
        options: &Options,
        foreign: BTreeSet<u32>,
    ) -> Result<Self, DataplaneError> {
        let mut maps = Maps::take(&mut ebpf)?;
        if !maps.are_parted()? {
            maps.part_families()?;
        }
        let Capacities { pod_flows, pods, .. } = options.capacities;
        let share = FlowShare::of_node(pod_flows, pods);
        let flows = FlowTables::take(&mut ebpf, &maps, share)?;
        let events = maps::take_events(&mut ebpf)?;
        let programs = Programs::load(ebpf, options, Filters::open(foreign)?)?;
        let tunnels = Tunnels::read(&maps)?;
        let newest_epoch = maps.epochs.values()?.into_iter().max().unwrap_or_default();
        let mut dataplane = Self {
            attachments: BTreeMap::new(),
            programs,
            maps,
            flows,
            inner_types: InnerTypes::load().map_err(DataplaneError::InnerTypes)?,
            events: Some(events),
            newest_epoch,
            settled: true,
            pinned: BTreeMap::new(),
            pins: None,
            committed: true,
            took_over: false,
            options: options.clone(),
            tunnels,
            bypasses: Vec::new(),
        };
        if dataplane.tunnels.is_new() {
            dataplane.put_tunnel_ports(&BTreeSet::new())?;
        }
        Ok(dataplane)
    }

    /// How many instructions the verifier walked through for each program; `None` before Linux 5.16,
    /// which does not report it.
    ///
    /// # Errors
    ///
    /// When the kernel does not describe its program.
    pub fn verified_instructions(
        &self,
    ) -> Result<BTreeMap<&'static str, Option<u32>>, DataplaneError> {
        let counts = NAMES.map(|name| Ok((name, self.programs.verified_instructions(name)?)));
        counts.into_iter().collect()
    }

    /// Interfaces with attached programs, in the order of their index.
    pub fn attached(&self) -> impl Iterator<Item = u32> + '_ {
        self.attachments.keys().copied()
    }

    /// The kernel ids of the maps, by name.
    #[must_use]
    pub fn map_ids(&self) -> BTreeMap<String, u32> {
        let maps = self.maps.ids().into_iter().map(|(name, id)| (name.to_owned(), id));
        maps.chain(self.flows.ids()).collect()
    }

    /// The records of packets that are dropped from now on. There is one reader: only the first call
    /// succeeds.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::EventsTaken`] the second time, [`DataplaneError::Events`] where the
    /// runtime cannot watch the ring buffer.
    pub fn drops(&mut self) -> Result<Drops, DataplaneError> {
        let events = self.events.take().ok_or(DataplaneError::EventsTaken)?;
        Drops::new(events).map_err(DataplaneError::Events)
    }

    /// Dropped packets by endpoint, direction and reason, summed over the CPUs, including those
    /// without a record in the ring buffer.
    ///
    /// # Errors
    ///
    /// When the counters cannot be read.
    pub fn drop_counts(&self) -> Result<BTreeMap<DropKey, u64>, DataplaneError> {
        drops::counts(&self.maps.drops)
    }

    /// The same counters, for another thread.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Descriptor`], [`DataplaneError::MapShape`].
    pub fn drop_counters(&self) -> Result<DropCounters, DataplaneError> {
        self.maps.drops.duplicate().map(DropCounters)
    }
}
