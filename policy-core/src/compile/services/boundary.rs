//! What the stage reads of the earlier stages, and what it reports to the compiler.

use std::{collections::BTreeSet, net::IpAddr};

use crate::compile::{allow::AllowMapId, identities::Identities, peers::Peers, rules::Rules};

/// The earlier stages, from which frontends are resolved.
#[derive(Clone, Copy)]
pub(crate) struct EarlierStages<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) peers: &'a Peers,
    pub(crate) identities: &'a Identities,
}

/// What a change did to the frontends.
#[derive(Debug, Default)]
pub(crate) struct ServicesDelta {
    /// Addresses of pods that a frontend leads back to, or no longer.
    pub(crate) hairpins: BTreeSet<IpAddr>,
    /// Allow maps with other outcomes.
    pub(crate) maps: BTreeSet<AllowMapId>,
    /// How many frontends were resolved.
    pub(crate) resolved: usize,
}
