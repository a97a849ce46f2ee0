//! The look-up tables before and after, and the writes that lead from the one to the other.
//!
//! Tables are `identities` (addresses of pods), `blocks` (LPM) and `frontends` (Services). The writes
//! come in two groups, for two versions of the allow maps: see the order in [`super`].

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnetwork::IpNetwork;
use policy_common::allow::DEFAULT_IDENTITY;

use crate::{compile::longest_containing, desired::Frontend, model::Protocol};

use super::{
    Actual, Step,
    ids::IdentityIds,
    indexed::{IdentityIndex, Indexed},
};

/// The result of a look-up, as far as the allow map needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lookup {
    /// The id of an address.
    Address(u32),
    /// The id of a frontend.
    Frontend(u32),
    /// One port of an address with this id; address and port are a frontend in the other state.
    Port(u32, Protocol, u16),
}

/// The id that a key has now, and the identity that it shall have.
#[derive(Clone, Copy, Debug)]
struct KeyChange<K> {
    key: K,
    old: u32,
    new: IdentityIndex,
}

/// Every key of the tables of either state. A key in no table has identity 0 in both.
pub(super) struct TableChanges {
    addresses: Vec<KeyChange<IpAddr>>,
    /// A block stands for the addresses that it is the longest prefix of.
    blocks: Vec<KeyChange<IpNetwork>>,
    /// Old id and new identity; `None` where the table has no such frontend.
    frontends: BTreeMap<Frontend, (Option<u32>, Option<IdentityIndex>)>,
}

impl TableChanges {
    /// Compares the tables.
    pub(super) fn between(actual: &Actual, desired: &Indexed<'_>) -> Self {
        let blocks: BTreeSet<_> = actual.blocks.keys().chain(desired.blocks.keys()).collect();
        let of_block = |&block: &IpNetwork| KeyChange {
            key: block,
            old: longest_containing(&actual.blocks, block).copied().unwrap_or(DEFAULT_IDENTITY),
            new: longest_containing(&desired.blocks, block).copied().unwrap_or(DEFAULT_IDENTITY),
        };
        let addresses: BTreeSet<_> =
            actual.addresses.keys().chain(desired.addresses.keys()).collect();
        let of_address = |&address: &IpAddr| KeyChange {
            key: address,
            old: actual.identity_of(address),
            new: desired.identity_of(address),
        };
        let mut frontends: BTreeMap<_, (Option<u32>, Option<IdentityIndex>)> = BTreeMap::new();
        for (frontend, id) in &actual.frontends {
            frontends.entry(*frontend).or_default().0 = Some(*id);
        }
        for (frontend, identity) in &desired.frontends {
            frontends.entry(*frontend).or_default().1 = Some(*identity);
        }
        Self {
            addresses: addresses.into_iter().map(of_address).collect(),
            blocks: blocks.into_iter().map(of_block).collect(),
            frontends,
        }
    }

    /// Old id and new identity of each key; `None` where a frontend is absent.
    pub(super) fn identities(
        &self,
    ) -> impl Iterator<Item = (Option<u32>, Option<IdentityIndex>)> + '_ {
        let addresses = self.addresses.iter().map(|change| (Some(change.old), Some(change.new)));
        let blocks = self.blocks.iter().map(|change| (Some(change.old), Some(change.new)));
        addresses.chain(blocks).chain(self.frontends.values().copied())
    }

    /// The results of every look-up before and after, each distinct pair once.
    ///
    /// Two addresses with the same pair have the same verdicts in both states, so that comparing
    /// verdicts pair by pair is enough.
    pub(super) fn lookups(
        &self,
        actual: &Actual,
        desired: &Indexed<'_>,
        ids: &IdentityIds,
    ) -> BTreeSet<(Lookup, Lookup)> {
        let addresses = self.addresses.iter().map(|change| (change.old, change.new));
        let blocks = self.blocks.iter().map(|change| (change.old, change.new));
        let pairs = addresses.chain(blocks).chain([(DEFAULT_IDENTITY, DEFAULT_IDENTITY)]);
        let lookup = |(old, new)| (Lookup::Address(old), Lookup::Address(ids.of(new)));
        let mut lookups: BTreeSet<_> = pairs.map(lookup).collect();
        for (frontend, (old, new)) in &self.frontends {
            let at = |id| Lookup::Port(id, frontend.protocol, frontend.port);
            let old = old.map(Lookup::Frontend);
            let old = old.unwrap_or_else(|| at(actual.identity_of(frontend.address)));
            let new = new.map(|identity| Lookup::Frontend(ids.of(identity)));
            let new = new.unwrap_or_else(|| at(ids.of(desired.identity_of(frontend.address))));
            lookups.insert((old, new));
        }
        lookups
    }

    /// Old ids of frontends that are removed.
    pub(super) fn removed_frontends(&self) -> BTreeSet<u32> {
        let removed = self.frontends.values().filter(|(_, new)| new.is_none());
        removed.filter_map(|(old, _)| *old).collect()
    }

    /// Writes while endpoints use transition allow maps, which have the old verdicts of old ids and
    /// the new verdicts of fresh ids.
    ///
    /// A key that moves to identity 0 keeps its old id here if 0 must wait
    /// ([`IdentityIds::default_moves_last`]).
    pub(super) fn writes_in_transition(
        &self,
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
        let mut steps = self.frontend_puts(ids);
        // An address without an entry in either state follows its block, in one write.
        for change in &self.addresses {
            let (identity, waits) = goal((change.old, change.new));
            if desired.addresses.contains_key(&change.key) || waits {
                put_address(&mut steps, actual, change.key, identity);
            }
        }
        let wanted = self.blocks.iter().filter_map(|change| {
            let (identity, waits) = goal((change.old, change.new));
            let wanted = desired.blocks.contains_key(&change.key) || waits;
            wanted.then_some((change.key, identity))
        });
        put_blocks(&mut steps, actual, wanted.collect());
        let dropped = self.blocks.iter().filter(|change| {
            !desired.blocks.contains_key(&change.key) && !goal((change.old, change.new)).1
        });
        delete_blocks(&mut steps, dropped.map(|change| change.key).collect());
        let dropped = self.addresses.iter().filter(|change| {
            !desired.addresses.contains_key(&change.key) && !goal((change.old, change.new)).1
        });
        steps.extend(dropped.map(|change| Step::DeleteIdentity(change.key)));
        steps
    }

    /// Writes once endpoints use the new allow maps: keys that move to identity 0, and deletions of
    /// frontends.
    pub(super) fn writes_after_switch(
        &self,
        desired: &Indexed<'_>,
        ids: &IdentityIds,
    ) -> Vec<Step> {
        let mut steps = Vec::new();
        if ids.default_moves_last {
            let waits = |new| ids.of(new) == DEFAULT_IDENTITY;
            let (puts, deletes): (Vec<_>, Vec<_>) = self
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
            for change in self.addresses.iter().filter(|change| waits(change.new)) {
                if !desired.addresses.contains_key(&change.key) {
                    steps.push(Step::DeleteIdentity(change.key));
                } else if change.old != DEFAULT_IDENTITY {
                    let (address, identity) = (change.key, DEFAULT_IDENTITY);
                    steps.push(Step::PutIdentity { address, identity });
                }
            }
        }
        let removed = self.frontends.iter().filter(|(_, (_, new))| new.is_none());
        steps.extend(removed.map(|(frontend, _)| Step::DeleteFrontend(*frontend)));
        steps
    }

    fn frontend_puts(&self, ids: &IdentityIds) -> Vec<Step> {
        let puts = self.frontends.iter().filter_map(|(&frontend, &(old, new))| {
            let identity = ids.of(new?);
            (old != Some(identity)).then_some(Step::PutFrontend { frontend, identity })
        });
        puts.collect()
    }
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
