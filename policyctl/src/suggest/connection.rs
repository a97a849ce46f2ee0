//! Observed connections between ends of the manifests.

use std::{fmt, net::IpAddr};

use policy_core::model::{ObjectName, Protocol};
use policy_manifest::Place;

/// A connection between ends of the manifests, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ObservedConnection {
    pub(super) from: PodOrAddress,
    /// What the initiator connects to: a Service too.
    pub(super) to: PodOrAddress,
    pub(super) protocol: Protocol,
    pub(super) port: u16,
    /// Where it ends: the destination itself, or each backend of the Service.
    pub(super) backends: Vec<(PodOrAddress, u16)>,
    /// Its first line.
    pub(super) place: Place,
}

/// An end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PodOrAddress {
    /// A pod with a network of its own.
    Pod(ObjectName),
    /// An address outside of the cluster, of a node, or of a Service.
    Address(IpAddr),
}

impl PodOrAddress {
    /// Whether it is an address.
    pub(super) fn is_at(&self, address: IpAddr) -> bool {
        *self == Self::Address(address)
    }
}

impl fmt::Display for PodOrAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}
