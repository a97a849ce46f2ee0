//! How full the maps are, for metrics.
//!
//! What the agent writes itself it counts from [`Actual`], without the kernel. Flow tables are written
//! by the programs, and the kernel does not count their entries: [`FlowTableReader`] walks the keys, on
//! a thread that may take its time.

use std::{
    fs,
    path::{Path, PathBuf},
};

use aya::maps::{HashMap, Map, MapData};
use policy_core::plan::{Actual, EntryCounts};

use super::{
    Dataplane,
    error::DataplaneError,
    flow_table::{FlowFamily, V4, V6},
};

/// The use of one map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapUse {
    /// Its name.
    pub map: &'static str,
    /// Its entries.
    pub used: usize,
    /// The most entries that it can have.
    pub capacity: u32,
}

/// The use of one flow table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowTableUse {
    /// Its name in the object, without the interface.
    pub table: &'static str,
    /// The pod's word in `epochs`, to which it belongs; `None` for a table that pods share.
    pub word: Option<u32>,
    /// Its entries; the kernel evicts the oldest before it is quite full.
    pub used: usize,
    /// The most entries that it can have.
    pub capacity: u32,
}

/// Counts the entries of pinned flow tables, on any thread.
#[derive(Clone, Debug)]
pub struct FlowTableReader {
    folder: PathBuf,
}

impl Dataplane {
    /// The use of the maps that the agent writes, which hold what `actual` says.
    #[must_use]
    pub fn map_use(&self, actual: &Actual) -> Vec<MapUse> {
        let maps = &self.maps;
        let EntryCounts {
            endpoints,
            identities,
            blocks,
            frontends,
            node_addresses,
            allow_maps,
            port_chunks,
        } = actual.entry_counts();
        let (pods, tunnel_ports) = self.tunnels.counts();
        macro_rules! uses {
            ($($map:ident: $used:expr),+) => {
                vec![$(MapUse { map: maps.$map.name, used: $used, capacity: maps.$map.capacity }),+]
            };
        }
        uses!(endpoints: endpoints, slots: endpoints, identities: identities, blocks: blocks,
            frontends: frontends, node_addresses: node_addresses, allow: allow_maps,
            port_chunks: port_chunks, pods: pods, tunnel_ports: tunnel_ports)
    }

    /// A reader of the flow tables; `None` without pins.
    #[must_use]
    pub fn flow_table_reader(&self) -> Option<FlowTableReader> {
        Some(FlowTableReader { folder: self.pins.as_ref()?.maps() })
    }
}

impl DataplaneError {
    /// The name of the map that is full; `None` where none is.
    #[must_use]
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are not about capacity")]
    pub fn full_map(&self) -> Option<&'static str> {
        match self {
            _ if !self.is_out_of_capacity() => None,
            Self::Full { map, .. } | Self::Write { map, .. } => Some(map),
            _ => Some("allow"),
        }
    }
}

impl FlowTableReader {
    /// The use of every flow table; one that goes meanwhile is left out.
    #[must_use]
    pub fn read(&self) -> Vec<FlowTableUse> {
        let Ok(pins) = fs::read_dir(&self.folder) else { return Vec::new() };
        let names = pins.filter_map(|pin| pin.ok()?.file_name().into_string().ok());
        names.filter_map(|name| self.table(&name)).collect()
    }

    fn table(&self, name: &str) -> Option<FlowTableUse> {
        for table in [V4::REPLIED, V4::NEW, V6::REPLIED, V6::NEW] {
            let word = match name.strip_prefix(table) {
                Some("") => None,
                Some(number) => Some(number.strip_prefix('_')?.parse().ok()?),
                None => continue,
            };
            let is_ipv4 = [V4::REPLIED, V4::NEW].contains(&table);
            let count = if is_ipv4 { count::<V4> } else { count::<V6> };
            let (used, capacity) = count(&self.folder.join(name)).ok()?;
            return Some(FlowTableUse { table, word, used, capacity });
        }
        None
    }
}

/// Entries and capacity of a pinned hash map.
fn count<F: FlowFamily>(pin: &Path) -> Result<(usize, u32), DataplaneError> {
    let shape = |source| DataplaneError::MapShape { map: "flow table", source };
    let map = MapData::from_pin(pin).map_err(shape)?;
    let capacity = map.info().map_err(shape)?.max_entries();
    let map = Map::from_map_data(map).map_err(shape)?;
    let map = HashMap::<_, F::Key, F::Value>::try_from(map).map_err(shape)?;
    // If the programs write meanwhile, the iteration may start over.
    let used = map.keys().take(capacity as usize).flatten().count();
    Ok((used, capacity))
}
