//! Allow maps: inner maps that are built aside and put into `allow` complete.
//!
//! An allow map in use is never edited (S49). A change creates a new one, fills it, pins it, and puts
//! it into a free index; the plan then switches endpoints to that index by one write each.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd as _, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use aya::{
    maps::{Map, MapData, MapError},
    sys::SyscallError,
};
use aya_obj::generated::BPF_NOEXIST;
use policy_common::{allow::PortSet, limits};

use super::{
    error::DataplaneError,
    maps::AllowMap,
    named::Hash,
    options::entries as count,
    pins, syscall,
    typed::{InnerMap, InnerTypes},
};

/// The index that no endpoint refers to, so that no program reads it.
const NOWHERE: u32 = 0;

/// The array of allow maps.
type Allow = Hash<u32, u32>;

/// Creates allow maps, fills them, and puts them at their indexes.
///
/// A batch waits once for the running programs (`maybe_wait_bpf_programs` in
/// `kernel/bpf/syscall.c`), however many maps it has; that wait takes longer than everything else.
pub(super) fn put<'a>(
    allow: &mut Allow,
    types: &InnerTypes,
    allow_maps: impl Iterator<Item = (u32, &'a [PortSet])>,
    folder: Option<&Path>,
) -> Result<(), DataplaneError> {
    let (mut indexes, mut maps) = (Vec::new(), Vec::new());
    for (allow_map, entries) in allow_maps {
        indexes.push(allow_map);
        maps.push(filled(types, allow_map, entries, folder)?);
    }
    let fds: Vec<_> = maps.iter().map(AsRawFd::as_raw_fd).collect();
    syscall::put_maps(allow.fd.as_fd(), &indexes, &fds).map_err(|(index, io_error)| {
        let allow_map = indexes.get(index).copied().unwrap_or_default();
        let call = "bpf_map_update_batch";
        allow.refused(allow_map, SyscallError { call, io_error }.into())
    })
}

/// Creates and fills one allow map, and pins it if there is a folder.
fn filled(
    types: &InnerTypes,
    allow_map: u32,
    entries: &[PortSet],
    folder: Option<&Path>,
) -> Result<OwnedFd, DataplaneError> {
    let capacity = limits::ALLOW_MAP_ENTRIES;
    if entries.len() > capacity {
        let entries = entries.len();
        return Err(DataplaneError::AllowMapTooLarge { allow_map, entries, capacity });
    }
    let refused =
        |source| DataplaneError::CreateAllowMap { allow_map, entries: entries.len(), source };
    let data = create(types, allow_map, entries.len()).map_err(refused)?;
    let fd = data.fd().as_fd().try_clone_to_owned();
    let fd = fd.map_err(|source| DataplaneError::Descriptor { map: "allow", source })?;
    if let Some(folder) = folder {
        // Before it is in use, so that at every instant the pin shows what the index holds.
        pin(&data, &pins::allow_map(folder, allow_map))?;
    }
    let mut map = AllowMap::try_from(Map::HashMap(data)).map_err(refused)?;
    for entry in entries {
        let identity = entry.identity;
        map.insert(identity, entry, BPF_NOEXIST.into())
            .map_err(|source| DataplaneError::FillAllowMap { allow_map, identity, source })?;
    }
    Ok(fd)
}

/// Removes an allow map from its index; the kernel frees it after its last reader.
pub(super) fn delete(
    allow: &mut Allow,
    allow_map: u32,
    folder: Option<&Path>,
) -> Result<(), DataplaneError> {
    allow.delete(&allow_map)?;
    folder.map_or(Ok(()), |folder| pins::remove(&pins::allow_map(folder, allow_map)))
}

/// The pin of an empty allow map, from which the next agent reads the shape of allow maps.
pub(super) fn pattern(folder: &Path) -> PathBuf {
    pins::allow_map(folder, NOWHERE)
}

/// Pins an empty allow map.
pub(super) fn pin_pattern(types: &InnerTypes, folder: &Path) -> Result<(), DataplaneError> {
    let map = create(types, NOWHERE, 0).map_err(|source| DataplaneError::CreateAllowMap {
        allow_map: NOWHERE,
        entries: 0,
        source,
    })?;
    pin(&map, &pattern(folder))
}

/// Every entry of a pinned allow map; `None` if it cannot be read as one.
pub(super) fn entries(map: MapData) -> Option<Vec<PortSet>> {
    let map = AllowMap::try_from(Map::HashMap(map)).ok()?;
    let entries: Result<BTreeMap<u32, PortSet>, MapError> = map.iter().collect();
    Some(entries.ok()?.into_values().collect())
}

fn pin(map: &MapData, path: &Path) -> Result<(), DataplaneError> {
    pins::remove(path)?;
    map.pin(path)
        .map_err(|source| DataplaneError::Pin { path: path.to_owned(), source: Box::new(source) })
}

/// Returns when every program that runs now has ended.
///
/// An update of `allow` makes the kernel wait for them; index 0 is used because no program reads it.
pub(super) fn wait_for_readers(
    allow: &mut Allow,
    types: &InnerTypes,
) -> Result<(), DataplaneError> {
    put(allow, types, [(NOWHERE, &[][..])].into_iter(), None)
}

/// An empty map that the array accepts: type, sizes and flags of its template, but any capacity.
fn create(types: &InnerTypes, allow_map: u32, entries: usize) -> Result<MapData, MapError> {
    let capacity = count(entries.max(1).next_power_of_two());
    let name = format!("allow_{allow_map}");
    let fd = match types.create(InnerMap::Allow, &name, capacity) {
        Ok(fd) => fd,
        Err(io_error) => return Err(MapError::CreateError { name, io_error }),
    };
    MapData::from_fd(fd)
}
