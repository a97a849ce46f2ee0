//! The flow tables that single pods have for themselves (S60), of one address family.
//!
//! [`super::FlowTables`] calls this when a pod is first isolated, when an endpoint goes, and at a
//! takeover. The flows of a pod without tables of its own are in the shared ones.
//!
//! A table is pinned before it is at its place and gets its final name afterwards, so that a pin
//! with that name always shows what the place holds, without a look-up, which before Linux 6.8 takes
//! 15 ms. Example, with an agent that is killed after the second step for interface 12:
//!
//! ```text
//! create  next_flows4_12                         pinned, in use nowhere
//! put     pod_flows4[12] = next_flows4_12        the programs use it
//! rename  next_flows4_12 → flows4_12             the next agent does this, if the place holds it
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::fd::{AsFd as _, AsRawFd as _, RawFd},
    path::{Path, PathBuf},
};

use aya::{
    maps::{Map, MapData},
    sys::SyscallError,
};
use policy_common::flow::place;

use super::share::{FlowShare, bytes};
use crate::dataplane::{
    error::DataplaneError,
    flow_table::{FlowFamily, Pair, Table},
    maps::of_map,
    named::{Hash, Named},
    pins::{self, failed, names},
    syscall,
    typed::InnerTypes,
};

/// Before the name of a pinned table that may not be at its place yet.
const NEXT: &str = "next_";

/// The own flow tables of pods, by their interface's word.
#[derive(Debug)]
pub(super) struct Own<F: FlowFamily> {
    /// The table at each place.
    index: Hash<u32, u32>,
    tables: BTreeMap<u32, Pair<F>>,
}

impl<F: FlowFamily> Own<F> {
    /// Starts without any; the shared tables get their places.
    pub(super) fn new(index: Hash<u32, u32>, shared: &Pair<F>) -> Result<Self, DataplaneError> {
        let own = Self { index, tables: BTreeMap::new() };
        own.put(&[place::SHARED, place::SHARED_NEW], &fds(shared))?;
        Ok(own)
    }

    /// The tables of a word, if it has its own.
    pub(super) fn get_mut(&mut self, word: u32) -> Option<&mut Pair<F>> {
        self.tables.get_mut(&word)
    }

    /// All of them.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Pair<F>> {
        self.tables.values_mut()
    }

    /// Whether a word has tables of its own, and of the size of `share`.
    pub(super) fn is_of_size(&self, word: u32, share: FlowShare) -> bool {
        self.tables.get(&word).is_some_and(|Pair { replied, new }| {
            [replied.capacity, new.capacity] == share.capacities()
        })
    }

    /// Creates tables for words, fills them with the flows that these words have, and puts them at
    /// their places: all with one wait of the kernel, from Linux 5.19 on.
    ///
    /// Flows are copied twice, because connections may start between the first copy and the exchange.
    /// Returns the words for which the kernel creates no table; they keep what they have.
    pub(super) fn create(
        &mut self,
        words: &BTreeSet<u32>,
        share: FlowShare,
        shared: &mut Pair<F>,
        types: &InnerTypes,
        folder: Option<&Path>,
    ) -> Result<BTreeMap<u32, DataplaneError>, DataplaneError> {
        let (mut places, mut maps, mut created) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut refused = BTreeMap::new();
        for &word in words {
            let mut pair = match create_pair::<F>(word, share, types, folder) {
                Ok(pair) => pair,
                Err(error) => {
                    refused.insert(word, error);
                    continue;
                }
            };
            // Not at its place yet: the programs go on recording in the table before.
            pair.copy(self.tables.get(&word).unwrap_or(shared), is_at::<F>(word))?;
            places.extend([place::replied(word), place::new(word)]);
            maps.extend(fds(&pair));
            created.insert(word, pair);
        }
        if !places.is_empty() {
            self.put(&places, &maps)?;
        }
        for (word, mut pair) in created {
            pair.copy(self.tables.get(&word).unwrap_or(shared), is_at::<F>(word))?;
            for name in table_names::<F>(word) {
                if let Some(folder) = folder {
                    rename(folder, &name)?;
                }
            }
            // Tables of another size are dropped whole; in the shared ones the flows would go on
            // taking the room of other pods.
            if self.tables.insert(word, pair).is_none() {
                shared.delete_where(is_at::<F>(word))?;
            }
        }
        Ok(refused)
    }

    /// Gives a word the shared tables again; its own and the flows in them are gone.
    pub(super) fn delete(
        &mut self,
        word: u32,
        shared: &Pair<F>,
        folder: Option<&Path>,
    ) -> Result<(), DataplaneError> {
        if !self.tables.contains_key(&word) {
            return Ok(());
        }
        // Not a deletion, because an array of maps takes no batch of these.
        self.put(&[place::replied(word), place::new(word)], &fds(shared))?;
        self.tables.remove(&word);
        folder.map_or(Ok(()), |folder| {
            table_names::<F>(word).iter().try_for_each(|name| pins::remove(&folder.join(name)))
        })
    }

    /// Opens the tables that an earlier agent pinned.
    pub(super) fn adopt(&mut self, folder: &Path) -> Result<(), DataplaneError> {
        self.settle_names(folder)?;
        self.tables = pinned(folder)?;
        Ok(())
    }

    /// Renames or removes the pins of tables that were not completely created.
    fn settle_names(&self, folder: &Path) -> Result<(), DataplaneError> {
        for next in names(folder)? {
            let Some(name) = next.strip_prefix(NEXT) else { continue };
            let place = match (number(name, F::REPLIED), number(name, F::NEW)) {
                (Some(word), _) => place::replied(word),
                (None, Some(word)) => place::new(word),
                (None, None) => continue,
            };
            let path = folder.join(&next);
            let info = MapData::from_pin(&path).and_then(|map| map.info());
            match info {
                // Killed between `put` and `rename`: the programs use the table, only its name is
                // left.
                Ok(info) if self.index.get(&place)? == Some(info.id()) => rename(folder, name)?,
                _ => pins::remove(&path)?,
            }
        }
        Ok(())
    }

    /// Pins again what has no pin; how many there were.
    pub(super) fn mend(&self, folder: &Path) -> Result<usize, DataplaneError> {
        let mut count = 0;
        for (word, pair) in &self.tables {
            for (table, name) in pair.tables().into_iter().zip(table_names::<F>(*word)) {
                let path = folder.join(name);
                if !path.exists() {
                    pin(table, path)?;
                    count += 1;
                }
            }
        }
        Ok(count)
    }

    /// The words that have tables.
    pub(super) fn words(&self) -> impl Iterator<Item = u32> {
        self.tables.keys().copied()
    }

    /// Bytes of all tables.
    pub(super) fn bytes(&self) -> u64 {
        let tables = self.tables.values().flat_map(Pair::tables);
        tables.map(|table| bytes(F::KIND, table.capacity)).sum()
    }

    /// The kernel ids of the tables, by their name.
    pub(super) fn ids(&self) -> impl Iterator<Item = (String, u32)> {
        self.tables.iter().flat_map(|(word, pair)| {
            table_names::<F>(*word).into_iter().zip(pair.tables().map(|table| table.id))
        })
    }

    /// The kernel id of the map that holds the places.
    pub(super) fn index_id(&self) -> u32 {
        self.index.id
    }

    fn put(&self, places: &[u32], maps: &[RawFd]) -> Result<(), DataplaneError> {
        syscall::put_maps(self.index.fd.as_fd(), places, maps).map_err(|(index, io_error)| {
            let place = places.get(index).copied().unwrap_or_default();
            let call = "bpf_map_update_batch";
            self.index.refused(place, SyscallError { call, io_error }.into())
        })
    }
}

/// The pinned tables of pods in a folder, by their word.
pub(super) fn pinned<F: FlowFamily>(
    folder: &Path,
) -> Result<BTreeMap<u32, Pair<F>>, DataplaneError> {
    let words = names(folder)?;
    let words = words.iter().filter_map(|name| number(name, F::REPLIED));
    let mut tables = BTreeMap::new();
    for word in words {
        let [replied, new] = table_names::<F>(word).map(|name| folder.join(name));
        // An agent that was killed between two deletions leaves one of them.
        if let (Ok(replied), Ok(new)) = (MapData::from_pin(&replied), MapData::from_pin(&new)) {
            let pair =
                Pair { replied: opened::<F>(F::REPLIED, replied)?, new: opened::<F>(F::NEW, new)? };
            tables.insert(word, pair);
        }
    }
    Ok(tables)
}

/// Creates and pins the tables of a word.
fn create_pair<F: FlowFamily>(
    word: u32,
    share: FlowShare,
    types: &InnerTypes,
    folder: Option<&Path>,
) -> Result<Pair<F>, DataplaneError> {
    let [replied, new] = table_names::<F>(word);
    let [many, few] = share.capacities();
    let create = |of: &'static str, name: String, entries| {
        let created = types.create(F::KIND, &name, entries);
        let created = created.map_err(|source| DataplaneError::CreateFlowTable {
            table: name.clone(),
            entries,
            source,
        })?;
        let map = MapData::from_fd(created);
        let map = map.map_err(|source| DataplaneError::MapShape { map: of, source })?;
        let table = opened::<F>(of, map)?;
        if let Some(folder) = folder {
            let path = folder.join(format!("{NEXT}{name}"));
            pins::remove(&path)?;
            pin(&table, path)?;
        }
        Ok(table)
    };
    Ok(Pair { replied: create(F::REPLIED, replied, many)?, new: create(F::NEW, new, few)? })
}

/// Whether a flow's interface has a word.
fn is_at<F: FlowFamily>(word: u32) -> impl Fn(&F::Key) -> bool {
    move |key| place::word(F::ifindex(key)) == word
}

/// Names of a pod's tables: of flows with a reply, and without.
fn table_names<F: FlowFamily>(word: u32) -> [String; 2] {
    [F::REPLIED, F::NEW].map(|name| format!("{name}_{word}"))
}

/// The number in the name of a table.
fn number(name: &str, kind: &str) -> Option<u32> {
    name.strip_prefix(kind)?.strip_prefix('_')?.parse().ok()
}

fn fds<F: FlowFamily>(pair: &Pair<F>) -> [RawFd; 2] {
    pair.tables().map(|table| table.fd.as_raw_fd())
}

fn opened<F: FlowFamily>(name: &'static str, map: MapData) -> Result<Table<F>, DataplaneError> {
    let map = Map::from_map_data(map);
    of_map(name, map.map_err(|source| DataplaneError::MapShape { map: name, source })?)
}

fn pin<M>(table: &Named<M>, path: PathBuf) -> Result<(), DataplaneError> {
    let pinned = syscall::pin(table.fd.as_fd(), &path);
    pinned.map_err(|source| DataplaneError::Pins { act: "pin", path, source })
}

/// Gives the pin of a table its final name.
fn rename(folder: &Path, name: &str) -> Result<(), DataplaneError> {
    let (from, to) = (folder.join(format!("{NEXT}{name}")), folder.join(name));
    fs::rename(&from, &to).map_err(failed("rename", &from))
}
