//! The look-up tables before and after: `identities` (addresses of pods), `blocks` (LPM) and
//! `frontends` (Services).
//!
//! Input: the kernel's tables by id, the desired ones by index. Output: [`TableChanges`], each key
//! with the id that it has and the identity that it gets. [`super::ids`] gives out ids by it,
//! [`super::writes`] makes the steps:
//!
//! ```text
//! kernel    10.0.0.2 is 1                    desired    10.0.0.2 is a, 10.0.0.3 is a
//! changes   10.0.0.2: 1 -> a, 10.0.0.3: 0 -> a
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnetwork::IpNetwork;
use policy_common::allow::DEFAULT_IDENTITY;

use crate::{compile::longest_match, desired::Frontend};

use super::{
    actual::Actual,
    indexed::{IdentityIndex, Indexed},
};

/// The id that a key has now, and the identity that it gets.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyChange<K> {
    pub(super) key: K,
    pub(super) old: u32,
    pub(super) new: IdentityIndex,
}

/// Every key of the tables of either state. A key in no table has identity 0 in both.
pub(super) struct TableChanges {
    pub(super) addresses: Vec<KeyChange<IpAddr>>,
    /// A block stands for the addresses that it is the longest prefix of.
    pub(super) blocks: Vec<KeyChange<IpNetwork>>,
    /// Old id and new identity; `None` where the table has no such frontend.
    pub(super) frontends: BTreeMap<Frontend, (Option<u32>, Option<IdentityIndex>)>,
}

impl TableChanges {
    /// Compares the tables.
    pub(super) fn between(actual: &Actual, desired: &Indexed<'_>) -> Self {
        // The keys of both states. A block that only one state has stands in the other for its
        // longest prefix there, since that is what a look-up finds:
        //
        //   kernel 10.0.0.0/8 is 1     desired 10.0.0.0/8 is a, 10.1.0.0/16 is b
        //   changes: 10.0.0.0/8: 1 -> a, 10.1.0.0/16: 1 -> b
        let blocks: BTreeSet<_> = actual.blocks.keys().chain(desired.blocks.keys()).collect();
        let of_block = |block: IpNetwork| KeyChange {
            key: block,
            old: longest_match(&actual.blocks, block).copied().unwrap_or(DEFAULT_IDENTITY),
            new: longest_match(&desired.blocks, block).copied().unwrap_or(DEFAULT_IDENTITY),
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

    /// Old ids of frontends that are removed.
    pub(super) fn removed_frontends(&self) -> BTreeSet<u32> {
        let removed = self.frontends.values().filter(|(_, new)| new.is_none());
        removed.filter_map(|(old, _)| *old).collect()
    }
}
