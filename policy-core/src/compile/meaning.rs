//! What identities mean, by value: the same meaning in two compilations is the same identity.
//!
//! Values and no hashes: nobody can craft two that collide.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use ipnetwork::IpNetwork;

use crate::{
    desired::Identity,
    model::{Protocol, Selector},
};

/// What makes an identity; see [`crate::desired::Meaning`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MeaningOf {
    /// Addresses that the same peer lists match.
    Addresses(Arc<AddressMeaning>),
    /// Service frontends with the same backends, as far as policy tells backends apart.
    Frontends(Arc<FrontendMeaning>),
}

/// What policies in force see of an address. Without any of it, it is `DEFAULT_IDENTITY`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AddressMeaning {
    /// Peer lists that match it, sorted.
    pub(crate) peers: Vec<PeerList>,
    /// What the named ports that egress rules ask this address for resolve to (S23).
    pub(crate) named: Resolved,
}

/// Named ports and their numbers.
pub(crate) type Resolved = BTreeMap<NamedPort, BTreeSet<u16>>;

/// A named port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NamedPort {
    /// Name of the container port.
    pub(crate) name: String,
    /// Its protocol.
    pub(crate) protocol: Protocol,
}

/// What policies in force see of a frontend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FrontendMeaning {
    /// No backend is ready (S42).
    NoBackend,
    /// All of these must be allowed (S40).
    Backends {
        /// Protocol of the frontend and of its backends.
        protocol: Protocol,
        /// Backends and their ports.
        backends: BTreeSet<(Identity, u16)>,
        /// The frontend's own address and port, where policy must allow them too.
        literal: Option<(Identity, u16)>,
        /// Pods that it leads back to themselves, and only therefore passes (S39).
        own: BTreeSet<IpAddr>,
    },
}

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
    fn holds(&self, address: IpAddr) -> bool {
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

impl AddressMeaning {
    /// Whether a rule with these peers means the address; a rule without peers means all (S11).
    pub(crate) fn matches(&self, address: IpAddr, peers: Option<&PeerList>) -> bool {
        // Lists of blocks may have been joined, and are then not found by themselves.
        peers.is_none_or(|list| {
            if list.is_blocks() {
                list.holds(address)
            } else {
                self.peers.binary_search(list).is_ok()
            }
        })
    }
}
