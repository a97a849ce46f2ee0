//! Repairs: the steps that undo what another program did to the maps (S50).
//!
//! At an interval the agent reads the maps back and compares them with what its own steps wrote.

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;
use policy_common::allow::{PortChunk, PortChunkKey, PortSet};

use crate::compile::is_mapped;

use super::{actual::Actual, entry::Bitmap, step::Step};

/// The steps from `found`, which was read from the maps, back to `written`, which the agent wrote.
/// Empty where they are equal.
///
/// The steps are in no order that keeps S49: the maps were wrong before. The bumps come last, so that
/// flows judged in between are rejudged.
#[must_use]
pub fn repair(written: &Actual, found: &Actual) -> Vec<Step> {
    let mut steps = bitmaps(written, found);
    steps.extend(lists(written, found));
    let sorted = |sets: &[PortSet]| {
        sets.iter().map(|set| (set.identity, *set)).collect::<BTreeMap<u32, PortSet>>()
    };
    for (allow_map, entries) in &written.allow_maps {
        if found.allow_maps.get(allow_map).map(|found| sorted(found)) != Some(sorted(entries)) {
            let (allow_map, entries) = (*allow_map, entries.clone());
            steps.push(Step::PutAllowMap { allow_map, entries });
        }
    }
    let (puts, deletes) = differences(&written.addresses, &found.addresses);
    steps.extend(puts.map(|(address, identity)| Step::PutIdentity { address, identity }));
    steps.extend(deletes.map(Step::DeleteIdentity));
    let blocks = |side: &Actual| -> BTreeMap<IpNetwork, u32> {
        side.blocks.iter().map(|(block, identity)| (block, *identity)).collect()
    };
    let mut written_blocks = blocks(written);
    written_blocks.retain(|block, _| !is_mapped(*block));
    let found_blocks = blocks(found);
    let (puts, deletes) = differences(&written_blocks, &found_blocks);
    steps.extend(deletes.map(Step::DeleteBlock));
    steps.extend(puts.map(|(block, identity)| Step::PutBlock { block, identity }));
    let (puts, deletes) = differences(&written.frontends, &found.frontends);
    steps.extend(puts.map(|(frontend, identity)| Step::PutFrontend { frontend, identity }));
    steps.extend(deletes.map(Step::DeleteFrontend));
    let (puts, deletes) = differences(&written.node_addresses, &found.node_addresses);
    steps.extend(puts.map(|(address, kind)| Step::PutNodeAddress { address, kind }));
    steps.extend(deletes.map(Step::DeleteNodeAddress));
    let unexpected = found.endpoints.values();
    let unexpected = unexpected.filter(|found| !written.endpoints.contains_key(&found.ifindex));
    steps.extend(
        unexpected.map(|found| Step::DeleteEndpoint { ifindex: found.ifindex, slot: found.slot }),
    );
    let (puts, _) = differences(&written.endpoints, &found.endpoints);
    steps.extend(puts.map(|(_, endpoint)| Step::PutEndpoint(endpoint)));
    let unexpected = found.allow_maps.keys().filter(|id| !written.allow_maps.contains_key(id));
    steps.extend(unexpected.map(|allow_map| Step::DeleteAllowMap { allow_map: *allow_map }));
    if !steps.is_empty() {
        steps.extend(written.endpoints.keys().map(|ifindex| Step::BumpEpoch { ifindex: *ifindex }));
    }
    steps
}

/// Repairs of bitmaps. A chunk without any bit is equal to no chunk.
fn bitmaps(written: &Actual, found: &Actual) -> Vec<Step> {
    let mut steps = Vec::new();
    // Bitmaps are shared by allow maps and are repaired before them: an allow map that is written
    // again must not name a bitmap without its chunks.
    let (none, empty) = (Bitmap::default(), Default::default());
    for (id, chunks) in &written.bitmaps {
        let there = found.bitmaps.get(id).unwrap_or(&none);
        let places = chunks.keys().chain(there.keys().filter(|place| !chunks.contains_key(place)));
        for &place in places {
            let wanted = *chunks.get(&place).unwrap_or(&empty);
            if wanted != *there.get(&place).unwrap_or(&empty) {
                let (protocol, chunk) = place;
                let key = PortChunkKey { bitmap: *id, protocol, chunk, pad: [0; 2] };
                steps.push(Step::PutPortChunk(PortChunk { key, bits: wanted }));
            }
        }
    }
    let unexpected = found.bitmaps.keys().filter(|id| !written.bitmaps.contains_key(id));
    steps.extend(unexpected.map(|bitmap| Step::DeletePortBitmap { bitmap: *bitmap }));
    steps
}

/// Repairs of lists of backends. Only places that an allow map counts matter.
fn lists(written: &Actual, found: &Actual) -> Vec<Step> {
    let there = |list: &u32, place| found.lists.get(list).and_then(|list| list.get(place));
    let missing = written.lists.iter().flat_map(|(list, backends)| {
        backends.iter().filter(move |(place, backend)| there(list, place) != Some(*backend))
    });
    let unexpected = found.lists.keys().filter(|list| !written.lists.contains_key(list));
    let puts = missing.map(|(_, backend)| Step::PutBackend(*backend));
    puts.chain(unexpected.map(|list| Step::DeleteBackends { list: *list })).collect()
}

/// The entries to write, and the keys to delete.
fn differences<'a, K: Copy + Ord, V: Copy + PartialEq>(
    written: &'a BTreeMap<K, V>,
    found: &'a BTreeMap<K, V>,
) -> (impl Iterator<Item = (K, V)> + 'a, impl Iterator<Item = K> + 'a) {
    let puts = written.iter().filter(|(key, value)| found.get(key) != Some(value));
    let deletes = found.keys().filter(|key| !written.contains_key(key));
    (puts.map(|(key, value)| (*key, *value)), deletes.copied())
}
