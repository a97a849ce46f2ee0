//! What others did to the maps, undone (S50).

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;
use policy_common::allow::{PortChunk, PortChunkKey, PortSet};

use super::{Actual, Step, entry::Bitmap};

/// The steps that give maps in which `found` was read what was `written` to them; none where they
/// have it.
///
/// Between them a packet may meet anything, as it did before; the epochs come last, so that whatever
/// was judged meanwhile is judged again.
#[must_use]
pub fn repair(written: &Actual, found: &Actual) -> Vec<Step> {
    let mut steps = bitmaps(written, found);
    let sorted = |sets: &[PortSet]| {
        sets.iter().map(|set| (set.identity, *set)).collect::<BTreeMap<u32, PortSet>>()
    };
    for (content, entries) in &written.contents {
        if found.contents.get(content).map(|found| sorted(found)) != Some(sorted(entries)) {
            let (content, entries) = (*content, entries.clone());
            steps.push(Step::PutContent { content, entries });
        }
    }
    let (puts, deletes) = differences(&written.addresses, &found.addresses);
    steps.extend(puts.map(|(address, identity)| Step::PutIdentity { address, identity }));
    steps.extend(deletes.map(Step::DeleteIdentity));
    let is_kept = |block: &&IpNetwork| !is_mapped(**block);
    let written_blocks = written.blocks.keys().filter(is_kept);
    let written_blocks = written_blocks.map(|block| (*block, written.blocks[block])).collect();
    let (puts, deletes) = differences(&written_blocks, &found.blocks);
    steps.extend(deletes.map(Step::DeleteBlock));
    steps.extend(puts.map(|(block, identity)| Step::PutBlock { block, identity }));
    let (puts, deletes) = differences(&written.frontends, &found.frontends);
    steps.extend(puts.map(|(frontend, identity)| Step::PutFrontend { frontend, identity }));
    steps.extend(deletes.map(Step::DeleteFrontend));
    let (puts, deletes) = differences(&written.node_addresses, &found.node_addresses);
    steps.extend(puts.map(|(address, kind)| Step::PutNodeAddress { address, kind }));
    steps.extend(deletes.map(Step::DeleteNodeAddress));
    let foreign = found.endpoints.values();
    let foreign = foreign.filter(|found| !written.endpoints.contains_key(&found.ifindex));
    steps.extend(
        foreign.map(|found| Step::DeleteEndpoint { ifindex: found.ifindex, slot: found.slot }),
    );
    let (puts, _) = differences(&written.endpoints, &found.endpoints);
    steps.extend(puts.map(|(_, endpoint)| Step::PutEndpoint(endpoint)));
    let foreign = found.contents.keys().filter(|number| !written.contents.contains_key(number));
    steps.extend(foreign.map(|content| Step::DeleteContent { content: *content }));
    if !steps.is_empty() {
        steps.extend(written.endpoints.keys().map(|ifindex| Step::BumpEpoch { ifindex: *ifindex }));
    }
    steps
}

/// Bitmaps; a chunk without a bit is as good as none.
fn bitmaps(written: &Actual, found: &Actual) -> Vec<Step> {
    let mut steps = Vec::new();
    let (none, empty) = (Bitmap::default(), Default::default());
    for (number, chunks) in &written.bitmaps {
        let there = found.bitmaps.get(number).unwrap_or(&none);
        let places = chunks.keys().chain(there.keys().filter(|place| !chunks.contains_key(place)));
        for &place in places {
            let wanted = *chunks.get(&place).unwrap_or(&empty);
            if wanted != *there.get(&place).unwrap_or(&empty) {
                let (protocol, chunk) = place;
                let key = PortChunkKey { bitmap: *number, protocol, chunk, pad: [0; 2] };
                steps.push(Step::PutPortChunk(PortChunk { key, bits: wanted }));
            }
        }
    }
    let foreign = found.bitmaps.keys().filter(|number| !written.bitmaps.contains_key(number));
    steps.extend(foreign.map(|bitmap| Step::DeletePortBitmap { bitmap: *bitmap }));
    steps
}

/// What is to be written, and what is to be deleted.
fn differences<'a, K: Copy + Ord, V: Copy + PartialEq>(
    written: &'a BTreeMap<K, V>,
    found: &'a BTreeMap<K, V>,
) -> (impl Iterator<Item = (K, V)> + 'a, impl Iterator<Item = K> + 'a) {
    let puts = written.iter().filter(|(key, value)| found.get(key) != Some(value));
    let deletes = found.keys().filter(|key| !written.contains_key(key));
    (puts.map(|(key, value)| (*key, *value)), deletes.copied())
}

/// An IPv6 block of addresses that mean IPv4: it stands in no map, for no packet carries them.
fn is_mapped(block: IpNetwork) -> bool {
    match block {
        IpNetwork::V4(_) => false,
        IpNetwork::V6(block) => block.network().to_ipv4_mapped().is_some() && block.prefix() >= 96,
    }
}
