//! The results of look-ups in the tables, before a plan and after it.
//!
//! Input: the changes of the tables, and the ids of identities. Output: each distinct pair of
//! results. [`super::verdict`] compares the verdicts of each pair. With 10.0.0.2 and 10.0.0.3 moving
//! from id 1 to id 2, and 10.96.0.1:80 becoming a frontend with id 3:
//!
//! ```text
//! (Address(1), Address(2))             both addresses, once
//! (Port(0, TCP, 80), Frontend(3))      before, 10.96.0.1 was an address that matches nothing
//! (Address(0), Address(0))             every address in no table
//! ```

use std::collections::BTreeSet;

use policy_common::{allow::DEFAULT_IDENTITY, frontend::EVERY_PORT};

use crate::model::Protocol;

use super::{actual::Actual, ids::IdentityIds, indexed::Indexed, tables::TableChanges};

/// The result of a look-up, as far as the allow map needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lookup {
    /// The id of an address.
    Address(u32),
    /// The id of a frontend.
    Frontend(u32),
    /// One port of an address with this id; address and port are a frontend in the other state.
    Port(u32, Protocol, u16),
}

/// The results of every look-up before and after, each distinct pair once.
///
/// Two addresses with the same pair have the same verdicts in both states, so that comparing
/// verdicts pair by pair is enough.
pub(super) fn distinct(
    tables: &TableChanges,
    actual: &Actual,
    desired: &Indexed<'_>,
    ids: &IdentityIds,
) -> BTreeSet<(Lookup, Lookup)> {
    let addresses = tables.addresses.iter().map(|change| (change.old, change.new));
    let blocks = tables.blocks.iter().map(|change| (change.old, change.new));
    let pairs = addresses.chain(blocks).chain([(DEFAULT_IDENTITY, DEFAULT_IDENTITY)]);
    let lookup = |(old, new)| (Lookup::Address(old), Lookup::Address(ids.of(new)));
    let mut lookups: BTreeSet<_> = pairs.map(lookup).collect();
    // In the state without it, a frontend is an address and a port, and the address's identity gives
    // the verdict: a Service that goes may close or open its port.
    for (frontend, (old, new)) in &tables.frontends {
        let at = |id| match frontend.port {
            EVERY_PORT => Lookup::Address(id),
            port => Lookup::Port(id, frontend.protocol, port),
        };
        let old = old.map(Lookup::Frontend);
        let old = old.unwrap_or_else(|| at(actual.identity_of(frontend.address)));
        let new = new.map(|identity| Lookup::Frontend(ids.of(identity)));
        let new = new.unwrap_or_else(|| at(ids.of(desired.identity_of(frontend.address))));
        lookups.insert((old, new));
    }
    lookups
}
