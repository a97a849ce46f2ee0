//! What the stage reads of the earlier stages, and what it reports to the compiler.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::compile::{
    allow::{Allow, AllowDelta, AllowMapId},
    desired::{Frontend, NodeKind, ServiceBackends},
    identities::{Identities, IdentitiesDelta},
    identity_key::Identity,
    peers::Peers,
    rules::{Rules, RulesDelta},
};

/// The earlier stages, from which frontends are resolved.
#[derive(Clone, Copy)]
pub(crate) struct EarlierStages<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) peers: &'a Peers,
    pub(crate) identities: &'a Identities,
    pub(crate) allow: &'a Allow,
}

/// What the earlier stages report of a change.
#[derive(Clone, Copy)]
pub(crate) struct EarlierDeltas<'a> {
    pub(crate) rules: &'a RulesDelta,
    pub(crate) identities: &'a IdentitiesDelta,
    pub(crate) allow: &'a AllowDelta,
}

/// What a change did to the frontends.
#[derive(Debug, Default)]
pub(crate) struct ServicesDelta {
    /// Frontends that may have another identity or other backends; `None` where one is gone.
    pub(crate) frontends: Vec<(Frontend, Option<(Identity, ServiceBackends)>)>,
    /// Addresses of nodes, where they may be others.
    pub(crate) node_addresses: Option<BTreeMap<IpAddr, NodeKind>>,
    /// Addresses of pods that a frontend leads back to, or no longer.
    pub(crate) hairpins: BTreeSet<IpAddr>,
    /// Allow maps with other outcomes.
    pub(crate) maps: BTreeSet<AllowMapId>,
    /// How many frontends were resolved.
    pub(crate) resolved: usize,
}
