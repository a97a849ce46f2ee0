//! Peer lists: the `from` or `to` of a rule, in one form for all rules with the same peers.
//!
//! A list matches as a whole: no rule distinguishes the entries of its own list. Therefore lists,
//! and not their entries, make identities, however many blocks a list has.

use std::{cmp::Ordering, collections::BTreeSet, net::IpAddr, sync::Arc};

use ipnetwork::IpNetwork;

use crate::model::Selector;

/// The peers of a rule.
#[derive(Clone, Debug)]
pub(crate) struct PeerList {
    peers: Arc<BTreeSet<PeerKey>>,
    /// Whether it has only blocks.
    only_blocks: bool,
    /// Whether an address that several pods have matches as soon as one of the pods does.
    any_owner: bool,
}

/// A peer, in a form in which equal peers are equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PeerKey {
    /// Pods, by their namespace and labels.
    Pods {
        /// Where they are.
        namespaces: Namespaces,
        /// Which of them.
        pods: Selector,
    },
    /// Addresses in a block and in none of its excepts; all host bits are zero.
    Block {
        /// The block.
        cidr: IpNetwork,
        /// Blocks inside of it, or around it.
        except: BTreeSet<IpNetwork>,
    },
}

/// The namespaces of a peer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Namespaces {
    /// That of the policy (S12).
    Own(String),
    /// Namespaces that a selector matches (S13).
    Matching(Selector),
}

impl PeerList {
    /// A list of peers; an empty one matches nothing.
    pub(crate) fn new(peers: BTreeSet<PeerKey>, any_owner: bool) -> Self {
        let only_blocks = peers.iter().all(|peer| matches!(peer, PeerKey::Block { .. }));
        Self { peers: Arc::new(peers), only_blocks, any_owner }
    }

    /// The empty list, which matches nothing.
    pub(super) fn nobody() -> Self {
        Self::new(BTreeSet::new(), false)
    }

    /// The peers.
    pub(crate) fn peers(&self) -> &BTreeSet<PeerKey> {
        &self.peers
    }

    /// The peers that are blocks.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &PeerKey> {
        self.peers.iter().filter(|peer| matches!(peer, PeerKey::Block { .. }))
    }

    /// Whether it has only blocks, so that an address alone decides.
    pub(crate) fn is_blocks(&self) -> bool {
        self.only_blocks
    }

    /// Whether one of its blocks contains an address.
    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        self.peers.iter().any(|peer| match peer {
            PeerKey::Block { cidr, except } => {
                cidr.contains(address) && !except.iter().any(|inner| inner.contains(address))
            }
            PeerKey::Pods { .. } => false,
        })
    }

    /// Whether an address that several pods have matches as soon as one of the pods does.
    pub(crate) fn any_owner(&self) -> bool {
        self.any_owner
    }
}

impl PartialEq for PeerList {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for PeerList {}

impl PartialOrd for PeerList {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PeerList {
    fn cmp(&self, other: &Self) -> Ordering {
        let same = Arc::ptr_eq(&self.peers, &other.peers);
        let peers = || if same { Ordering::Equal } else { self.peers.cmp(&other.peers) };
        self.any_owner.cmp(&other.any_owner).then_with(peers)
    }
}
