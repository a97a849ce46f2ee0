//! What an agent before this one left pinned, taken over while it enforces (S48).

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use aya::maps::MapData;
use aya_obj::generated::BPF_NOEXIST;
use nix::net::if_;
use policy_common::allow::{PortSet, every};
use policy_core::plan::Step;

use super::{
    Dataplane,
    attach::{self, Attachment, CLASSIFIERS},
    content,
    error::DataplaneError,
    link,
    maps::Maps,
    named::Hash,
    object,
    options::Options,
    pins::{self, Pins},
    read, typed,
};

impl Dataplane {
    /// Loads the object over what is pinned in a folder of a bpffs, and pins everything there.
    ///
    /// The steps tell what the maps hold. What is attached goes on as it is, with its programs,
    /// until [`commit`](Self::commit): to be called when the maps hold what they should. Maps of
    /// another shape are not touched: new ones are made beside them and filled from them as far as
    /// they can be read.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), and where the folder is on no bpffs, or another agent's.
    pub fn adopt(options: &Options, root: &Path) -> Result<(Self, Vec<Step>), DataplaneError> {
        if !attach::has_links(options) {
            tracing::warn!("this kernel has no links to pin: enforcement ends with the agent");
            return Ok((Self::load(options)?, Vec::new()));
        }
        let mut pins = Pins::open(root)?;
        let took_over = pins.maps().exists();
        let expected = object::shapes(options)?;
        if !pins.is_of_this_version() || !object::fits(&expected, &pins.maps()) {
            pins.stage()?;
        }
        let ebpf = object::load_pinned(options, &pins.maps(), expected.keys())?;
        let mut dataplane = Self::assemble(ebpf, options)?;
        if !content::pattern(&pins.maps()).exists() {
            content::pin_pattern(&dataplane.content_types, &pins.maps())?;
        }
        for name in expected.keys() {
            let path = pins.maps().join(name);
            let open = typed::open_pin(&path);
            let open = open.map_err(|source| DataplaneError::Pins { act: "open", path, source });
            dataplane.pinned.insert(name.clone(), open?);
        }
        dataplane.adopt_links(&pins)?;
        let before = pins.maps_before();
        dataplane.pins = Some(pins);
        dataplane.committed = false;
        dataplane.took_over = took_over;
        if let Some(before) = before {
            // Of another layout altogether, they say nothing to this agent.
            if let Ok(before) = Maps::open(&before) {
                dataplane.copy(&before)?;
            }
        }
        let steps = dataplane.read_back()?;
        Ok((dataplane, steps))
    }

    /// Opens the links that are pinned; those of interfaces that are gone go too.
    fn adopt_links(&mut self, pins: &Pins) -> Result<(), DataplaneError> {
        for classifier in CLASSIFIERS {
            for ifindex in pins.linked(classifier)? {
                let path = pins.link(classifier, ifindex);
                match link::open(&path, ifindex)? {
                    Some(open) => {
                        let none = || Attachment::stale();
                        let attachment = self.attachments.entry(ifindex).or_insert_with(none);
                        attachment.add(classifier, open, path);
                    }
                    None => pins::remove(&path)?,
                }
            }
        }
        Ok(())
    }

    /// What the maps hold, as steps that would write it. Endpoints that are not attached as they
    /// should be are left out, so that they are written anew; those of interfaces that are gone
    /// are deleted.
    fn read_back(&mut self) -> Result<Vec<Step>, DataplaneError> {
        let folder = self.pins.as_ref().map(Pins::maps);
        let mut steps = read::tables(&self.maps)?;
        if let Some(folder) = folder {
            steps.extend(contents(&self.maps.allow, &folder)?);
        }
        for step in read::endpoints(&self.maps)? {
            let Step::PutEndpoint(endpoint) = step else { continue };
            let ifindex = endpoint.ifindex;
            let whole = self.attachments.get(&ifindex).is_some_and(Attachment::is_whole);
            if whole {
                steps.push(Step::PutEndpoint(endpoint));
            } else if if_::if_indextoname(ifindex).map_or(true, |name| name.is_empty()) {
                self.apply(&Step::DeleteEndpoint { ifindex, slot: endpoint.slot })?;
            }
        }
        Ok(steps)
    }

    /// Fills new maps from those of before, so far as they are about endpoints that are attached.
    fn copy(&mut self, before: &Maps) -> Result<(), DataplaneError> {
        self.maps.copy_words(before)?;
        self.newest_epoch = self.maps.epochs.values()?.into_iter().max().unwrap_or_default();
        let folder = self.pins.as_ref().and_then(Pins::maps_before);
        let mut steps = read::tables(before)?;
        if let Some(folder) = folder {
            steps.extend(contents(&before.allow, &folder)?);
        }
        for step in steps {
            self.apply(&step)?;
        }
        for step in read::endpoints(before)? {
            let Step::PutEndpoint(endpoint) = &step else { continue };
            if self.attachments.contains_key(&endpoint.ifindex) {
                self.apply(&step)?;
            }
        }
        Ok(())
    }

    /// Leads what is attached to this agent's programs, and forgets the maps of before.
    ///
    /// The flows of before are copied twice: those that begin between come with the second.
    /// Without pins, or done once, it does nothing.
    ///
    /// # Errors
    ///
    /// When the kernel refuses; to be called again then.
    pub fn commit(&mut self) -> Result<(), DataplaneError> {
        if self.committed {
            return Ok(());
        }
        let Some(pins) = &mut self.pins else { return Ok(()) };
        let before = pins.maps_before().and_then(|folder| Maps::open(&folder).ok());
        if let Some(before) = &before {
            self.maps.copy_flows(before)?;
        }
        let mut orphans = Vec::new();
        for (&ifindex, attachment) in &mut self.attachments {
            if self.maps.endpoints.get(&ifindex)?.is_none() {
                orphans.push(ifindex);
            } else {
                self.classifiers.renew(ifindex, attachment, pins)?;
            }
        }
        if let Some(before) = &before {
            self.maps.copy_flows(before)?;
            // Only now nothing is counted there any more.
            self.maps.drops.add(&before.drops)?;
        }
        for ifindex in orphans {
            if let Some(attachment) = self.attachments.remove(&ifindex) {
                attachment.detach(ifindex)?;
            }
        }
        self.classifiers.pin(pins)?;
        let moved = before.is_some();
        pins.unstage()?;
        self.committed = true;
        let interfaces = self.attachments.len();
        if self.took_over {
            tracing::info!(interfaces, moved, "took over what is pinned");
        } else {
            tracing::info!(interfaces, "pinned what is in force");
        }
        Ok(())
    }
}

/// Allow maps in their places, by the pins that tell what they hold.
///
/// One whose pin is not that of its place keeps its number, and counts as something that no
/// compiler makes, so that nobody is switched to it.
pub(super) fn contents(allow: &Hash<u32, u32>, folder: &Path) -> Result<Vec<Step>, DataplaneError> {
    let mut places = BTreeMap::new();
    for number in 1..allow.capacity {
        if let Some(id) = allow.get(&number)? {
            places.insert(number, id);
        }
    }
    let pinned: BTreeSet<u32> = Pins::contents(folder)?.into_iter().collect();
    let mut steps = Vec::new();
    for (&number, &id) in &places {
        let entries = match MapData::from_pin(pins::content(folder, number)) {
            Ok(map) if map.info().is_ok_and(|info| info.id() == id) => content::entries(map),
            _ => None,
        };
        let unknown = || {
            vec![PortSet { identity: u32::MAX, protocols: every::PROTOCOL, ..PortSet::default() }]
        };
        let entries = entries.unwrap_or_else(unknown);
        steps.push(Step::PutContent { content: number, entries });
    }
    for &stale in pinned.iter().filter(|&number| *number != 0 && !places.contains_key(number)) {
        pins::remove(&pins::content(folder, stale))?;
    }
    Ok(steps)
}

impl Maps {
    /// Copies flows that these maps do not know yet.
    fn copy_flows(&mut self, before: &Self) -> Result<(), DataplaneError> {
        let only_new = BPF_NOEXIST.into();
        self.flows4.copy(&before.flows4, only_new)?;
        self.flows6.copy(&before.flows6, only_new)?;
        self.new_flows4.copy(&before.new_flows4, only_new)?;
        self.new_flows6.copy(&before.new_flows6, only_new)
    }

    /// Copies slots and epochs.
    fn copy_words(&mut self, before: &Self) -> Result<(), DataplaneError> {
        self.slots.copy(&before.slots)?;
        self.epochs.copy(&before.epochs)
    }
}
