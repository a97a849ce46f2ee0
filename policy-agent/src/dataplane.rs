//! The classifiers and their maps: all that the agent knows of the kernel's BPF side.
//!
//! Programs, maps and links live as long as the [`Dataplane`] does, except where they are pinned.

mod act;
mod adopt;
mod apply;
mod attach;
mod content;
mod drops;
mod error;
mod flows;
mod hooks;
mod key;
mod link;
mod maps;
mod mend;
mod named;
mod object;
mod options;
mod pins;
mod read;
mod typed;

use std::{collections::BTreeMap, os::fd::OwnedFd};

use aya::Ebpf;
use policy_common::drops::DropKey;

pub use act::Act;
pub use drops::{Drops, DropsError};
pub use error::DataplaneError;
pub use hooks::{HookedProgram, Hooks, hooks};
pub use mend::{Drift, Drifted};
pub use options::{Capacities, Options, Parts, UnknownEndpoints};
pub use pins::{detach, pinned_elsewhere};

use attach::{Attachment, Classifiers};
use drops::Events;
use maps::Maps;
use pins::Pins;
use typed::ContentTypes;

/// The loaded classifiers, their maps, and the interfaces they hang on.
///
/// Belongs to the network namespace of the thread that attaches.
#[derive(Debug)]
pub struct Dataplane {
    /// Before the classifiers, so that links go first.
    attachments: BTreeMap<u32, Attachment>,
    classifiers: Classifiers,
    maps: Maps,
    content_types: ContentTypes,
    events: Option<Events>,
    /// The highest number in `epochs`: no two words ever hold the same.
    newest_epoch: u32,
    /// Whether no classifier runs that may know an endpoint as it was before.
    settled: bool,
    /// The maps that are pinned, those that only the classifiers use among them.
    pinned: BTreeMap<String, OwnedFd>,
    /// Where all this is pinned, if it is.
    pins: Option<Pins>,
    /// Whether what is attached are this agent's programs.
    committed: bool,
    /// Whether an agent before this one left its maps.
    took_over: bool,
}

impl Dataplane {
    /// Loads the object that is built into this binary; nothing is attached yet.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the object, a map or a classifier, or when the object is of another
    /// layout than this binary.
    pub fn load(options: &Options) -> Result<Self, DataplaneError> {
        Self::assemble(object::load(options)?, options)
    }

    fn assemble(mut ebpf: Ebpf, options: &Options) -> Result<Self, DataplaneError> {
        let mut maps = Maps::take(&mut ebpf)?;
        if !maps.are_parted()? {
            maps.part_families()?;
        }
        let events = maps::take_events(&mut ebpf)?;
        let classifiers = Classifiers::load(ebpf, options)?;
        let newest_epoch = maps.epochs.values()?.into_iter().max().unwrap_or_default();
        Ok(Self {
            attachments: BTreeMap::new(),
            classifiers,
            maps,
            content_types: ContentTypes::load().map_err(DataplaneError::ContentTypes)?,
            events: Some(events),
            newest_epoch,
            settled: true,
            pinned: BTreeMap::new(),
            pins: None,
            committed: true,
            took_over: false,
        })
    }

    /// Interfaces that the classifiers hang on, in the order of their index.
    pub fn attached(&self) -> impl Iterator<Item = u32> + '_ {
        self.attachments.keys().copied()
    }

    /// The kernel's numbers of the maps, by their names.
    #[must_use]
    pub fn map_ids(&self) -> BTreeMap<&'static str, u32> {
        self.maps.ids()
    }

    /// The records of dropped packets, from now on. There is one reader: the first call gets it.
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

    /// Dropped packets by endpoint, direction and reason, added up over the CPUs; those without a
    /// record in the ring buffer are among them.
    ///
    /// # Errors
    ///
    /// When the counters cannot be read.
    pub fn drop_counts(&self) -> Result<BTreeMap<DropKey, u64>, DataplaneError> {
        drops::counts(&self.maps.drops)
    }
}
