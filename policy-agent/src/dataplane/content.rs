//! Allow maps: inner maps that are built aside and put in place whole.

use aya::maps::{HashMap, HashOfMaps, Map, MapData, MapError};
use aya_obj::generated::BPF_NOEXIST;
use policy_common::{allow::PortSet, limits};

use super::{
    error::DataplaneError, maps::Content, named::Named, options::entries as count,
    typed::ContentTypes,
};

/// The array of allow maps.
type Allow = Named<HashOfMaps<MapData, u32, Content>>;

/// Creates an allow map, fills it, and puts it in its place.
pub(super) fn put(
    allow: &mut Allow,
    types: &ContentTypes,
    content: u32,
    entries: &[PortSet],
) -> Result<(), DataplaneError> {
    let capacity = limits::CONTENT_ENTRIES;
    if entries.len() > capacity {
        let entries = entries.len();
        return Err(DataplaneError::ContentTooLarge { content, entries, capacity });
    }
    let mut map = create(types, content, entries.len()).map_err(|source| {
        DataplaneError::CreateContent { content, entries: entries.len(), source }
    })?;
    for entry in entries {
        let identity = entry.identity;
        map.insert(identity, entry, BPF_NOEXIST.into())
            .map_err(|source| DataplaneError::FillContent { content, identity, source })?;
    }
    let result = allow.map.insert(content, &map, 0);
    result.map_err(|source| allow.refused(content, source))
}

/// Empties the place of an allow map; the map goes with its last reader.
pub(super) fn delete(allow: &mut Allow, content: u32) -> Result<(), DataplaneError> {
    let result = allow.map.remove(&content);
    allow.deleted(content, result)
}

/// Returns when every classifier that runs now has ended.
///
/// The kernel waits for them whenever a map of maps is written (`maybe_wait_bpf_programs` in
/// `kernel/bpf/syscall.c`), for just this purpose. Place 0 means no content and is never read.
pub(super) fn wait_for_readers(
    allow: &mut Allow,
    types: &ContentTypes,
) -> Result<(), DataplaneError> {
    const NOWHERE: u32 = 0;
    put(allow, types, NOWHERE, &[])
}

/// An empty map that the array takes: type, sizes and flags of its template, another capacity.
fn create(types: &ContentTypes, content: u32, entries: usize) -> Result<Content, MapError> {
    let capacity = count(entries.max(1).next_power_of_two());
    let name = format!("allow_{content}");
    let fd = match types.create(&name, capacity) {
        Ok(fd) => fd,
        Err(io_error) => return Err(MapError::CreateError { name, io_error }),
    };
    HashMap::try_from(Map::HashMap(MapData::from_fd(fd)?))
}
