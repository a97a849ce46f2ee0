//! Keys of identities by value: equal keys in two compilations are the same identity.
//!
//! They are values and not hashes: nobody can craft two that collide.

use std::{cmp::Ordering, collections::BTreeSet, net::IpAddr, sync::Arc};

use crate::{
    compile::rules::{peer_list::PeerList, rule::ResolvedPorts},
    model::Protocol,
};

/// An identity, named by what it matches; `None` is `DEFAULT_IDENTITY`.
pub type Identity = Option<IdentityKey>;

/// The name of an identity: what its addresses match. Other modules can only compare it.
#[derive(Clone, Debug)]
pub struct IdentityKey(pub(crate) IdentityKind);

/// What an [`IdentityKey`] names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum IdentityKind {
    /// Addresses that the same peer lists match.
    Addresses(Arc<AddressKey>),
    /// Service frontends with the same backends, as far as policies can distinguish backends.
    Frontends(Arc<FrontendKey>),
}

/// What policies in use see of an address. An address of which they see nothing has
/// `DEFAULT_IDENTITY`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AddressKey {
    /// Peer lists that match it, sorted.
    pub(crate) peers: Vec<PeerList>,
    /// What the named ports that egress rules ask for resolve to at it (S23).
    pub(crate) named: ResolvedPorts,
}

/// What policies in use see of a frontend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FrontendKey {
    /// No backend is ready (S42).
    NoBackend,
    /// All of these must be allowed (S40).
    Backends {
        /// Protocol of the frontend and of its backends.
        protocol: Protocol,
        /// Backends and their ports.
        backends: BTreeSet<(Identity, u16)>,
        /// The frontend's own address and port, where policy must allow them too.
        frontend: Option<(Identity, u16)>,
        /// Pods that pass only because the frontend leads back to them (S39).
        hairpins: BTreeSet<IpAddr>,
        /// Addresses and ports of the backends, if policies can distinguish them: a pod may then be
        /// allowed some of them, and connections go to these.
        addresses: BTreeSet<(IpAddr, u16)>,
    },
}

impl IdentityKey {
    /// Whether it names Service frontends, and not addresses.
    #[must_use]
    pub fn is_frontend(&self) -> bool {
        matches!(self.0, IdentityKind::Frontends(_))
    }

    /// The identity of frontends without a ready backend (S42).
    pub(crate) fn without_backend() -> Self {
        Self(IdentityKind::Frontends(Arc::new(FrontendKey::NoBackend)))
    }

    /// Whether it names frontends that policy must allow by their own address too. Of frontends
    /// without backends that is unknown, and the stricter reading is taken.
    pub(crate) fn checks_frontend(&self) -> bool {
        match &self.0 {
            IdentityKind::Addresses(_) => false,
            IdentityKind::Frontends(key) => match &**key {
                FrontendKey::NoBackend => true,
                FrontendKey::Backends { frontend, .. } => frontend.is_some(),
            },
        }
    }

    /// Where it is in memory. Equal pointers mean equal keys; equal keys may have two places.
    pub(crate) fn pointer(&self) -> usize {
        match &self.0 {
            IdentityKind::Addresses(key) => Arc::as_ptr(key).addr(),
            IdentityKind::Frontends(key) => Arc::as_ptr(key).addr(),
        }
    }
}

impl PartialEq for IdentityKey {
    fn eq(&self, other: &Self) -> bool {
        self.pointer() == other.pointer() || self.0 == other.0
    }
}

impl Eq for IdentityKey {}

impl PartialOrd for IdentityKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for IdentityKey {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.pointer() == other.pointer() { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl AddressKey {
    /// Whether a rule with these peers matches the address; a rule without peers matches all
    /// (S11).
    pub(crate) fn matches(&self, address: IpAddr, peers: Option<&PeerList>) -> bool {
        // A list of blocks that was merged with others is not in `peers`.
        peers.is_none_or(|list| {
            if list.is_blocks() {
                list.holds(address)
            } else {
                self.peers.binary_search(list).is_ok()
            }
        })
    }
}
