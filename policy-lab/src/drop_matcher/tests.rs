//! Tests of the matching of drop records.

use policy_common::{address::mapped, drops::Direction};

use super::*;

const CLIENT: [u8; 4] = [10, 0, 0, 1];
const SERVER: [u8; 4] = [10, 0, 0, 2];

fn addresses() -> BTreeSet<IpAddr> {
    BTreeSet::from([IpAddr::from(CLIENT), IpAddr::from(SERVER)])
}

/// A dropped packet from the client, at its own pod or at the server's.
fn record(direction: Direction, source_port: u16, destination_port: u16) -> DropRecord {
    let (local, remote) = match direction {
        Direction::Egress => (source_port, destination_port),
        Direction::Ingress => (destination_port, source_port),
    };
    DropRecord {
        ether_type: 0x0800,
        protocol: 6,
        direction: direction as u8,
        reason: Reason::NoRule as u8,
        local: mapped(CLIENT),
        remote: mapped(SERVER),
        local_port: local.to_be_bytes(),
        remote_port: remote.to_be_bytes(),
        ..DropRecord::default()
    }
}

fn lease(matcher: &Arc<DropMatcher>) -> PortLease {
    matcher.lease(Protocol::Tcp, Family::Ipv4, addresses()).expect("ports are free")
}

#[test]
fn a_drop_is_the_probes_at_either_end_and_the_drop_of_an_answer_is_none() {
    for direction in [Direction::Egress, Direction::Ingress] {
        let matcher = DropMatcher::new();
        let lease = lease(&matcher);
        assert!(!matcher.assign(&record(direction, 80, lease.port)), "the answer");
        assert_eq!(lease.drop_reason(), None);
        assert!(matcher.assign(&record(direction, lease.port, 80)));
        assert_eq!(lease.drop_reason(), Some(Reason::NoRule));
    }
}

#[test]
fn a_drop_of_another_port_protocol_family_or_pair_is_not() {
    let matcher = DropMatcher::new();
    let lease = lease(&matcher);
    let own = record(Direction::Egress, lease.port, 80);
    let foreign = [
        DropRecord { local_port: (lease.port + 1).to_be_bytes(), ..own },
        DropRecord { protocol: 17, ..own },
        DropRecord { ether_type: 0x86dd, ..own },
        DropRecord { local: mapped([1, 1, 1, 1]), remote: mapped([2, 2, 2, 2]), ..own },
    ];
    for record in foreign {
        assert!(!matcher.assign(&record), "{record:?}");
    }
    assert_eq!(lease.drop_reason(), None);
}

#[test]
fn a_returned_lease_takes_no_drop_and_its_port_comes_last() {
    let matcher = DropMatcher::new();
    let first = lease(&matcher).port;
    assert!(!matcher.assign(&record(Direction::Egress, first, 80)));
    assert_ne!(lease(&matcher).port, first);
}

#[test]
fn reserved_ports_are_not_given_out() {
    let matcher = DropMatcher::new();
    matcher.reserve(&BTreeSet::from([FIRST_PORT]));
    assert_eq!(lease(&matcher).port, FIRST_PORT + 1);
    matcher.reserve(&BTreeSet::from([FIRST_PORT + 2]));
    assert_eq!(lease(&matcher).port, FIRST_PORT + 3, "later ones too");
}
