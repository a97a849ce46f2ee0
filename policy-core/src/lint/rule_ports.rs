//! Which ports the entries of a rule hold.

use crate::model::{Port, PortSpec, Protocol};

/// Whether ports of a rule hold a port by its number; without entries they hold every port (S21).
/// A name resolves to a number only on a pod, so it holds none here.
pub(super) fn hold(ports: &[Port], protocol: Protocol, number: u16) -> bool {
    ports.is_empty()
        || ports.iter().any(|port| {
            port.protocol == protocol
                && match &port.port {
                    PortSpec::Every => true,
                    PortSpec::Range { first, last } => (*first..=*last).contains(&number),
                    PortSpec::Named(_) => false,
                }
        })
}

/// Whether two lists of ports have a port in common.
pub(super) fn overlap(one: &[Port], other: &[Port]) -> bool {
    let meet = |one: &Port, other: &Port| {
        one.protocol == other.protocol
            && match (&one.port, &other.port) {
                (PortSpec::Every, _) | (_, PortSpec::Every) => true,
                (
                    PortSpec::Range { first, last },
                    PortSpec::Range { first: other_first, last: other_last },
                ) => first <= other_last && other_first <= last,
                (one, other) => one == other,
            }
    };
    one.is_empty()
        || other.is_empty()
        || one.iter().any(|one| other.iter().any(|two| meet(one, two)))
}
