//! The desired state under numbers of its own, which stand for those that a plan gives out.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use ipnetwork::IpNetwork;
use policy_common::allow::DEFAULT_IDENTITY;

use crate::{
    compile::longest,
    desired::{Content, Desired, Frontend, Identity, Isolation, Meaning, NodeKind},
};

use super::{content, entry::Entries};

/// Number of an identity, from 1, in the order of first use; 0 is `DEFAULT_IDENTITY`.
pub(super) type IdentityIndex = u32;

/// Number of a content, in the order of first use.
pub(super) type ContentIndex = usize;

/// What is desired.
pub(super) struct Indexed<'a> {
    /// By number, less one.
    pub(super) identities: Vec<&'a Meaning>,
    pub(super) addresses: BTreeMap<IpAddr, IdentityIndex>,
    pub(super) blocks: BTreeMap<IpNetwork, IdentityIndex>,
    pub(super) frontends: BTreeMap<Frontend, IdentityIndex>,
    pub(super) contents: Vec<Entries>,
    pub(super) node_addresses: &'a BTreeMap<IpAddr, NodeKind>,
    /// By place in memory.
    content_index: HashMap<usize, ContentIndex>,
}

impl<'a> Indexed<'a> {
    /// Numbers everything.
    pub(super) fn of(desired: &'a Desired) -> Self {
        let mut numbers = Numbers::default();
        let blocks = desired.blocks.iter().map(|(key, of)| (*key, numbers.of(of))).collect();
        let addresses = desired.addresses.iter().map(|(key, of)| (*key, numbers.of(of))).collect();
        let frontends = desired.frontends.iter().map(|(key, of)| (*key, numbers.of(of))).collect();
        let node_addresses = &desired.node_addresses;
        let (mut contents, mut content_index) = (Vec::new(), HashMap::new());
        let mut known: BTreeMap<&Content, ContentIndex> = BTreeMap::new();
        let endpoints = desired.endpoints.values();
        let isolations = endpoints.flat_map(|endpoint| endpoint.isolation.values());
        for isolation in isolations.flatten() {
            content_index.entry(place(isolation)).or_insert_with(|| {
                *known.entry(&isolation.content).or_insert_with(|| {
                    contents.push(content::by_index(&isolation.content, |of| numbers.of(of)));
                    contents.len() - 1
                })
            });
        }
        let identities = numbers.all;
        Self { identities, addresses, blocks, frontends, contents, node_addresses, content_index }
    }

    /// The identity of an address.
    pub(super) fn identity_of(&self, address: IpAddr) -> IdentityIndex {
        let found = self.addresses.get(&address).or_else(|| longest(&self.blocks, address));
        found.copied().unwrap_or(DEFAULT_IDENTITY)
    }

    /// The content that an isolation has.
    pub(super) fn content(&self, isolation: &Isolation) -> ContentIndex {
        self.content_index.get(&place(isolation)).copied().unwrap_or_default()
    }
}

fn place(isolation: &Isolation) -> usize {
    Arc::as_ptr(&isolation.content).addr()
}

/// Numbers in the order of first use; most of the same meaning are in the same place.
#[derive(Default)]
struct Numbers<'a> {
    all: Vec<&'a Meaning>,
    by_place: HashMap<usize, IdentityIndex>,
    by_value: BTreeMap<&'a Meaning, IdentityIndex>,
}

impl<'a> Numbers<'a> {
    fn of(&mut self, identity: &'a Identity) -> IdentityIndex {
        let Some(meaning) = identity else { return DEFAULT_IDENTITY };
        let (all, by_value) = (&mut self.all, &mut self.by_value);
        *self.by_place.entry(meaning.place()).or_insert_with(|| {
            *by_value.entry(meaning).or_insert_with(|| {
                all.push(meaning);
                IdentityIndex::try_from(all.len()).unwrap_or(IdentityIndex::MAX)
            })
        })
    }
}
