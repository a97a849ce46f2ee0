//! Peer lists: the `from` or `to` of a rule, in one form for all rules with the same peers.

use std::{cmp::Ordering, collections::BTreeSet, net::IpAddr, sync::Arc};

use ipnetwork::IpNetwork;

use crate::model::Selector;

/// The peers of a rule: what no single rule tells apart is one entry, however many blocks it has.
#[derive(Clone, Debug)]
pub(crate) struct PeerList {
    peers: Arc<BTreeSet<PeerKey>>,
    /// Whether it has nothing but blocks.
    blocks: bool,
    /// Of an address that several pods have: whether one of them is enough to match it.
    any_owner: bool,
}

/// A peer in the one form that all peers of its meaning have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PeerKey {
    /// Pods, by their namespace and labels.
    Pods {
        /// Where they are.
        namespaces: Namespaces,
        /// Which of them.
        pods: Selector,
    },
    /// Addresses in a block and in none of its excepts; host bits are zero.
    Block {
        /// The block.
        cidr: IpNetwork,
        /// Those inside it, or around it.
        except: BTreeSet<IpNetwork>,
    },
}

/// Which namespaces a peer means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Namespaces {
    /// The policy's own (S12).
    Own(String),
    /// Those that match (S13).
    Matching(Selector),
}

impl PeerList {
    /// A list of peers; an empty one matches nothing.
    pub(crate) fn new(peers: BTreeSet<PeerKey>, any_owner: bool) -> Self {
        let blocks = peers.iter().all(|peer| matches!(peer, PeerKey::Block { .. }));
        Self { peers: Arc::new(peers), blocks, any_owner }
    }

    /// The peers.
    pub(crate) fn peers(&self) -> &BTreeSet<PeerKey> {
        &self.peers
    }

    /// Whether it has nothing but blocks, so that an address alone decides.
    pub(crate) fn is_blocks(&self) -> bool {
        self.blocks
    }

    /// Whether one of its blocks holds an address.
    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        self.peers.iter().any(|peer| match peer {
            PeerKey::Block { cidr, except } => {
                cidr.contains(address) && !except.iter().any(|inner| inner.contains(address))
            }
            PeerKey::Pods { .. } => false,
        })
    }

    /// Whether it matches an address of several pods as soon as it matches one of them.
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
