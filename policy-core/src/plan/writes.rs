//! Writes of the look-up tables, in an order in which no address loses its identity for a step.
//!
//! Input: the changes of the tables, and the ids of identities. Output: steps in two groups, for two
//! versions of the allow maps; [`super`] has the order of the groups. Within a group longer prefixes
//! are written first and deleted last:
//!
//! ```text
//! old: 10.0.0.0/8 is 1                       new: 10.0.0.0/8 is 2, 10.1.0.0/16 is 1
//! put 10.1.0.0/16: 1, then 10.0.0.0/8: 2     10.1.0.1 is 1 at every moment
//! ```

use std::{cmp::Reverse, net::IpAddr};

use ipnetwork::IpNetwork;
use policy_common::allow::DEFAULT_IDENTITY;

use super::{
    actual::Actual,
    ids::IdentityIds,
    indexed::{IdentityIndex, Indexed},
    step::Step,
    tables::{KeyChange, TableChanges},
};

/// Writes while endpoints use transition allow maps, which have the old verdicts of old ids and
/// the new verdicts of fresh ids.
///
/// A key that moves to identity 0 keeps its old id here if 0 must wait
/// ([`IdentityIds::default_moves_last`]).
pub(super) fn in_transition(
    tables: &TableChanges,
    actual: &Actual,
    desired: &Indexed<'_>,
    ids: &IdentityIds,
) -> Vec<Step> {
    // The id to write, and whether that is the old one because 0 must wait.
    let goal = |(old, new): (u32, IdentityIndex)| {
        let id = ids.of(new);
        let waits = ids.default_moves_last && id == DEFAULT_IDENTITY;
        if waits { (old, true) } else { (id, false) }
    };
    // An address with an entry of its own does not see its block. So entries of addresses are
    // written before blocks change, and removed after: 10.0.0.5 with an entry that goes, in a block
    // that comes, moves from the one to the other in one step, and never to a block that is about
    // to change.
    let mut steps = frontend_puts(tables, ids);
    // An address without an entry in either state follows its block, in one write.
    for change in &tables.addresses {
        let (identity, waits) = goal((change.old, change.new));
        if desired.addresses.contains_key(&change.key) || waits {
            put_address(&mut steps, actual, change.key, identity);
        }
    }
    let wanted = tables.blocks.iter().filter_map(|change| {
        let (identity, waits) = goal((change.old, change.new));
        let wanted = desired.blocks.contains_key(&change.key) || waits;
        wanted.then_some((change.key, identity))
    });
    put_blocks(&mut steps, actual, wanted.collect());
    let dropped = tables.blocks.iter().filter(|change| {
        !desired.blocks.contains_key(&change.key) && !goal((change.old, change.new)).1
    });
    delete_blocks(&mut steps, dropped.map(|change| change.key).collect());
    let dropped = tables.addresses.iter().filter(|change| {
        !desired.addresses.contains_key(&change.key) && !goal((change.old, change.new)).1
    });
    steps.extend(dropped.map(|change| Step::DeleteIdentity(change.key)));
    steps
}

/// Writes once endpoints use the new allow maps: keys that move to identity 0, and deletions of
/// frontends.
pub(super) fn after_switch(
    tables: &TableChanges,
    desired: &Indexed<'_>,
    ids: &IdentityIds,
) -> Vec<Step> {
    let mut steps = Vec::new();
    if ids.default_moves_last {
        let waits = |new| ids.of(new) == DEFAULT_IDENTITY;
        let (puts, deletes): (Vec<_>, Vec<_>) = tables
            .blocks
            .iter()
            .filter(|change| waits(change.new))
            .partition(|change| desired.blocks.contains_key(&change.key));
        let puts = puts
            .into_iter()
            .filter(|change: &&KeyChange<IpNetwork>| change.old != DEFAULT_IDENTITY);
        let puts = puts.map(|change| (change.key, DEFAULT_IDENTITY)).collect();
        put_blocks(&mut steps, &Actual::default(), puts);
        delete_blocks(&mut steps, deletes.into_iter().map(|change| change.key).collect());
        for change in tables.addresses.iter().filter(|change| waits(change.new)) {
            if !desired.addresses.contains_key(&change.key) {
                steps.push(Step::DeleteIdentity(change.key));
            } else if change.old != DEFAULT_IDENTITY {
                let (address, identity) = (change.key, DEFAULT_IDENTITY);
                steps.push(Step::PutIdentity { address, identity });
            }
        }
    }
    let removed = tables.frontends.iter().filter(|(_, (_, new))| new.is_none());
    steps.extend(removed.map(|(frontend, _)| Step::DeleteFrontend(*frontend)));
    steps
}

fn frontend_puts(tables: &TableChanges, ids: &IdentityIds) -> Vec<Step> {
    let puts = tables.frontends.iter().filter_map(|(&frontend, &(old, new))| {
        let identity = ids.of(new?);
        (old != Some(identity)).then_some(Step::PutFrontend { frontend, identity })
    });
    puts.collect()
}

fn put_address(steps: &mut Vec<Step>, actual: &Actual, address: IpAddr, identity: u32) {
    if actual.addresses.get(&address) != Some(&identity) {
        steps.push(Step::PutIdentity { address, identity });
    }
}

/// Longest prefix first. With 10.0.0.0/8 before 10.1.0.0/16, addresses of the /16 would have the
/// identity of the new /8 for one step.
fn put_blocks(steps: &mut Vec<Step>, actual: &Actual, mut wanted: Vec<(IpNetwork, u32)>) {
    wanted.retain(|(block, identity)| actual.blocks.get(block) != Some(identity));
    wanted.sort_by_key(|(block, _)| Reverse(block.prefix()));
    let puts = wanted.into_iter().map(|(block, identity)| Step::PutBlock { block, identity });
    steps.extend(puts);
}

/// Shortest prefix first, so that no address falls back to a block that is about to be deleted.
fn delete_blocks(steps: &mut Vec<Step>, mut blocks: Vec<IpNetwork>) {
    blocks.sort_by_key(IpNetwork::prefix);
    steps.extend(blocks.into_iter().map(Step::DeleteBlock));
}
