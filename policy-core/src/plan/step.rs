//! A plan, and its steps: each is one write that the kernel does atomically.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnetwork::IpNetwork;
use policy_common::{
    allow::{PortChunk, PortSet},
    backend::Backend,
    endpoint::Endpoint,
};

use crate::{
    desired::{Frontend, NodeKind},
    model::ObjectName,
};

/// The steps to the desired state, and what they cannot reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Writes, in order. Empty where the kernel already has what is desired.
    pub steps: Vec<Step>,
    /// Pods of the node for which no interface was found.
    pub pods_without_interface: Vec<ObjectName>,
    /// Interfaces that belong to no pod of the node.
    pub interfaces_without_pod: Vec<u32>,
    /// Pods for which no slot is free: nothing passes at their interfaces.
    pub pods_without_slot: Vec<ObjectName>,
}

/// One write. The dataplane carries them out in the order of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes a chunk of a port bitmap that nothing refers to yet.
    PutPortChunk(PortChunk),
    /// Writes a backend of a list that nothing refers to yet.
    PutBackend(Backend),
    /// Creates an inner map with these entries and puts it under a free id of `allow`.
    PutAllowMap {
        /// Id, from 1.
        allow_map: u32,
        /// Entries; the key is `PortSet::identity`.
        entries: Vec<PortSet>,
    },
    /// Writes an entry of `identities`.
    PutIdentity {
        /// Address of a pod.
        address: IpAddr,
        /// Identity.
        identity: u32,
    },
    /// Writes an entry of `blocks`.
    PutBlock {
        /// Block, host bits zero.
        block: IpNetwork,
        /// Identity.
        identity: u32,
    },
    /// Writes an entry of `frontends`.
    PutFrontend {
        /// Address, protocol, port.
        frontend: Frontend,
        /// Identity.
        identity: u32,
    },
    /// Writes an entry of `node_addresses`.
    PutNodeAddress {
        /// Address of a node.
        address: IpAddr,
        /// Whether it is the own node's.
        kind: NodeKind,
    },
    /// Writes an endpoint, and `slots` for a new one. Then attaches the programs if needed.
    PutEndpoint(Endpoint),
    /// Writes an endpoint over that of another pod, and deletes the flows and counters of that pod.
    ReplaceEndpoint {
        /// Slot of the old endpoint.
        slot: u32,
        /// The new endpoint.
        endpoint: Endpoint,
    },
    /// Copies connections of tracking endpoints from the kernel's conntrack into the flow tables
    /// (S30).
    AdoptFlows {
        /// Host-side interfaces.
        interfaces: BTreeSet<u32>,
    },
    /// Records the backends of live connections to frontends that refuse new ones, as the kernel's
    /// conntrack knows them (S42).
    RecordBackends {
        /// Host-side interfaces.
        interfaces: BTreeSet<u32>,
        /// Frontends that this plan deletes, and whether policy must allow their own address too.
        deleted: BTreeMap<Frontend, bool>,
    },
    /// Starts a new epoch of an interface: its flows are rejudged at their next packet.
    BumpEpoch {
        /// Host-side interface.
        ifindex: u32,
    },
    /// Deletes an endpoint, its slot and its links.
    DeleteEndpoint {
        /// Host-side interface.
        ifindex: u32,
        /// Its slot.
        slot: u32,
    },
    /// Deletes an entry of `frontends`.
    DeleteFrontend(Frontend),
    /// Deletes an entry of `blocks`.
    DeleteBlock(IpNetwork),
    /// Deletes an entry of `identities`.
    DeleteIdentity(IpAddr),
    /// Deletes an entry of `node_addresses`.
    DeleteNodeAddress(IpAddr),
    /// Deletes an inner map that no endpoint refers to.
    DeleteAllowMap {
        /// Its id.
        allow_map: u32,
    },
    /// Deletes every backend of a list that no allow map refers to.
    DeleteBackends {
        /// Its id.
        list: u32,
    },
    /// Deletes every chunk of a bitmap that no allow map refers to.
    DeletePortBitmap {
        /// Its id.
        bitmap: u32,
    },
}
