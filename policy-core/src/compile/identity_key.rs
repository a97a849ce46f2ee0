//! What identities mean, by value: the same meaning in two compilations is the same identity.
//!
//! Values and no hashes: nobody can craft two that collide.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use crate::{
    compile::rules::{peer_list::PeerList, rule::ResolvedPorts},
    desired::Identity,
    model::Protocol,
};

/// What makes an identity; see [`crate::desired::IdentityKey`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum IdentityKind {
    /// Addresses that the same peer lists match.
    Addresses(Arc<AddressKey>),
    /// Service frontends with the same backends, as far as policy tells backends apart.
    Frontends(Arc<FrontendKey>),
}

/// What policies in force see of an address. Without any of it, it is `DEFAULT_IDENTITY`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AddressKey {
    /// Peer lists that match it, sorted.
    pub(crate) peers: Vec<PeerList>,
    /// What the named ports that egress rules ask this address for resolve to (S23).
    pub(crate) named: ResolvedPorts,
}

/// What policies in force see of a frontend.
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
        checks_frontend: Option<(Identity, u16)>,
        /// Pods that it leads back to themselves, and only therefore passes (S39).
        own: BTreeSet<IpAddr>,
    },
}

impl AddressKey {
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
