//! The look-up tables before and after, and the writes that lead from the one to the other.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnetwork::IpNetwork;
use policy_common::allow::DEFAULT_IDENTITY;

use crate::{compile::longest_around, desired::Frontend, model::Protocol};

use super::{
    Actual, Step,
    indexed::{IdentityIndex, Indexed},
    numbers::Numbers,
};

/// Where a look-up ends: in a number, or at a port of an address that is no frontend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// Number of an address.
    Address(u32),
    /// Number of a frontend.
    Frontend(u32),
    /// One port of an address with this number, which is a frontend in the other state.
    Port(u32, Protocol, u16),
}

/// The number that a look-up of something gives now, and the identity that it shall give.
#[derive(Clone, Copy, Debug)]
struct Move<K> {
    key: K,
    old: u32,
    new: IdentityIndex,
}

/// Every key of either state's tables; what is in none is under 0 in both.
pub(super) struct Moves {
    addresses: Vec<Move<IpAddr>>,
    /// A block stands for the addresses that it is the longest prefix of.
    blocks: Vec<Move<IpNetwork>>,
    frontends: BTreeMap<Frontend, (Option<u32>, Option<IdentityIndex>)>,
}

impl Moves {
    /// Compares the tables.
    pub(super) fn between(actual: &Actual, desired: &Indexed<'_>) -> Self {
        let blocks: BTreeSet<_> = actual.blocks.keys().chain(desired.blocks.keys()).collect();
        let of_block = |&block: &IpNetwork| Move {
            key: block,
            old: longest_around(&actual.blocks, block).copied().unwrap_or(DEFAULT_IDENTITY),
            new: longest_around(&desired.blocks, block).copied().unwrap_or(DEFAULT_IDENTITY),
        };
        let addresses: BTreeSet<_> =
            actual.addresses.keys().chain(desired.addresses.keys()).collect();
        let of_address = |&address: &IpAddr| Move {
            key: address,
            old: actual.identity_of(address),
            new: desired.identity_of(address),
        };
        let mut frontends: BTreeMap<_, (Option<u32>, Option<IdentityIndex>)> = BTreeMap::new();
        for (frontend, number) in &actual.frontends {
            frontends.entry(*frontend).or_default().0 = Some(*number);
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

    /// Old number and new identity of each; `None` where a frontend is absent.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (Option<u32>, Option<IdentityIndex>)> + '_ {
        let addresses = self.addresses.iter().map(|found| (Some(found.old), Some(found.new)));
        let blocks = self.blocks.iter().map(|found| (Some(found.old), Some(found.new)));
        addresses.chain(blocks).chain(self.frontends.values().copied())
    }

    /// Each distinct pair of places that some look-up ends in, before and after.
    pub(super) fn targets(
        &self,
        actual: &Actual,
        desired: &Indexed<'_>,
        numbers: &Numbers,
    ) -> BTreeSet<(Target, Target)> {
        let addresses = self.addresses.iter().map(|found| (found.old, found.new));
        let blocks = self.blocks.iter().map(|found| (found.old, found.new));
        let pairs = addresses.chain(blocks).chain([(DEFAULT_IDENTITY, DEFAULT_IDENTITY)]);
        let target = |(old, new)| (Target::Address(old), Target::Address(numbers.of(new)));
        let mut targets: BTreeSet<_> = pairs.map(target).collect();
        for (frontend, (old, new)) in &self.frontends {
            let at = |number| Target::Port(number, frontend.protocol, frontend.port);
            let old = old.map(Target::Frontend);
            let old = old.unwrap_or_else(|| at(actual.identity_of(frontend.address)));
            let new = new.map(|identity| Target::Frontend(numbers.of(identity)));
            let new = new.unwrap_or_else(|| at(numbers.of(desired.identity_of(frontend.address))));
            targets.insert((old, new));
        }
        targets
    }

    /// Numbers of frontends that cease to be any.
    pub(super) fn removed_frontends(&self) -> BTreeSet<u32> {
        let removed = self.frontends.values().filter(|(_, new)| new.is_none());
        removed.filter_map(|(old, _)| *old).collect()
    }

    /// Writes for contents that know the old numbers by their old outcome and fresh ones by
    /// their new one. What is on its way to 0, where that must wait, is held at its old number.
    pub(super) fn first(
        &self,
        actual: &Actual,
        desired: &Indexed<'_>,
        numbers: &Numbers,
    ) -> Vec<Step> {
        let goal = |found: (u32, IdentityIndex)| {
            let number = numbers.of(found.1);
            let waits = numbers.default_last && number == DEFAULT_IDENTITY;
            if waits { (found.0, true) } else { (number, false) }
        };
        let mut steps = self.frontend_puts(numbers);
        // An address that neither state's tables have follows its block in one write.
        for found in &self.addresses {
            let (identity, waits) = goal((found.old, found.new));
            if desired.addresses.contains_key(&found.key) || waits {
                put_address(&mut steps, actual, found.key, identity);
            }
        }
        let wanted = self.blocks.iter().filter_map(|found| {
            let (identity, waits) = goal((found.old, found.new));
            let wanted = desired.blocks.contains_key(&found.key) || waits;
            wanted.then_some((found.key, identity))
        });
        put_blocks(&mut steps, actual, wanted.collect());
        let dropped = self.blocks.iter().filter(|found| {
            !desired.blocks.contains_key(&found.key) && !goal((found.old, found.new)).1
        });
        delete_blocks(&mut steps, dropped.map(|found| found.key).collect());
        let dropped = self.addresses.iter().filter(|found| {
            !desired.addresses.contains_key(&found.key) && !goal((found.old, found.new)).1
        });
        steps.extend(dropped.map(|found| Step::DeleteIdentity(found.key)));
        steps
    }

    /// Writes for contents that know every new number: the way to 0, and frontends that go.
    pub(super) fn last(&self, desired: &Indexed<'_>, numbers: &Numbers) -> Vec<Step> {
        let mut steps = Vec::new();
        if numbers.default_last {
            let waits = |new| numbers.of(new) == DEFAULT_IDENTITY;
            let (puts, deletes): (Vec<_>, Vec<_>) = self
                .blocks
                .iter()
                .filter(|found| waits(found.new))
                .partition(|found| desired.blocks.contains_key(&found.key));
            let puts =
                puts.into_iter().filter(|found: &&Move<IpNetwork>| found.old != DEFAULT_IDENTITY);
            let puts = puts.map(|found| (found.key, DEFAULT_IDENTITY)).collect();
            put_blocks(&mut steps, &Actual::default(), puts);
            delete_blocks(&mut steps, deletes.into_iter().map(|found| found.key).collect());
            for found in self.addresses.iter().filter(|found| waits(found.new)) {
                if !desired.addresses.contains_key(&found.key) {
                    steps.push(Step::DeleteIdentity(found.key));
                } else if found.old != DEFAULT_IDENTITY {
                    let (address, identity) = (found.key, DEFAULT_IDENTITY);
                    steps.push(Step::PutIdentity { address, identity });
                }
            }
        }
        let removed = self.frontends.iter().filter(|(_, (_, new))| new.is_none());
        steps.extend(removed.map(|(frontend, _)| Step::DeleteFrontend(*frontend)));
        steps
    }

    fn frontend_puts(&self, numbers: &Numbers) -> Vec<Step> {
        let puts = self.frontends.iter().filter_map(|(&frontend, &(old, new))| {
            let identity = numbers.of(new?);
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

/// Most specific first, so that no address gets the number of a block around its new one.
fn put_blocks(steps: &mut Vec<Step>, actual: &Actual, mut wanted: Vec<(IpNetwork, u32)>) {
    wanted.retain(|(block, identity)| actual.blocks.get(block) != Some(identity));
    wanted.sort_by_key(|(block, _)| Reverse(block.prefix()));
    let puts = wanted.into_iter().map(|(block, identity)| Step::PutBlock { block, identity });
    steps.extend(puts);
}

/// Least specific first, so that no address falls back to a block that goes too.
fn delete_blocks(steps: &mut Vec<Step>, mut blocks: Vec<IpNetwork>) {
    blocks.sort_by_key(IpNetwork::prefix);
    steps.extend(blocks.into_iter().map(Step::DeleteBlock));
}
