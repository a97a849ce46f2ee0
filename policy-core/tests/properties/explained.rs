//! What is said of single rules adds up to what the compiler says, and a change that is proposed
//! does what it is for.

use std::{collections::BTreeSet, net::IpAddr};

use policy_core::{
    compile::{Scope, compile},
    explain::{ConnectionEnd, PolicyChange, Question, Side, explain, sides},
    model::{Direction, Family, Protocol, Snapshot},
};
use proptest::{prelude::*, test_runner::TestCaseError};

use crate::generate::{self, OUTSIDE, PORTS, ip};

/// Takes away what only one of two pods can have: explanations name one pod at an address.
pub(crate) fn without_shared_addresses(mut snapshot: Snapshot) -> Snapshot {
    let nodes = snapshot.nodes.values().flat_map(|node| &node.addresses);
    let mut taken: BTreeSet<IpAddr> = nodes.copied().collect();
    for pod in snapshot.pods.values_mut().filter(|pod| !pod.host_network) {
        pod.addresses.retain(|address| taken.insert(*address));
    }
    snapshot
}

/// Every pod, and strangers.
fn parties(snapshot: &Snapshot) -> Vec<ConnectionEnd> {
    let pods = snapshot.pods.keys().map(|name| ConnectionEnd::Pod(name.clone()));
    pods.chain(OUTSIDE.map(|address| ConnectionEnd::Address(ip(address)))).collect()
}

fn check(snapshot: &Snapshot) -> Result<(), TestCaseError> {
    let desired = compile(snapshot, Scope::Cluster).0;
    let (from, mut to) = (parties(snapshot), parties(snapshot));
    to.extend(snapshot.services.keys().map(|name| ConnectionEnd::Service(name.clone())));
    for from in &from {
        for to in &to {
            for (family, port) in Family::BOTH.into_iter().flat_map(|f| PORTS.map(|port| (f, port)))
            {
                let (from, to, protocol) = (from.clone(), to.clone(), Protocol::Tcp);
                let question = Question { from, to, family, protocol, port };
                let Some(said) = explain(snapshot, &desired, &question) else { continue };
                let sides = sides(snapshot, &question);
                for direction in Direction::BOTH {
                    let half = match direction {
                        policy_core::model::Direction::Ingress => &said.ingress,
                        policy_core::model::Direction::Egress => &said.egress,
                    };
                    let mut here = sides.iter().filter(|side| side.direction == direction);
                    // A Service without backends is refused for no rule's sake.
                    let none = here.clone().next().is_none() && !half.allowed;
                    prop_assert!(
                        none || here.all(Side::allowed) == half.allowed,
                        "{question:?} {direction:?}: {said:?} {sides:#?}"
                    );
                }
                for side in sides.iter().filter(|side| !side.allowed()) {
                    check_change(snapshot, &question, side)?;
                }
            }
        }
    }
    Ok(())
}

/// The side passes once its change is made.
fn check_change(
    snapshot: &Snapshot,
    question: &Question,
    side: &Side,
) -> Result<(), TestCaseError> {
    let Some(change) = PolicyChange::smallest(snapshot, side) else { return Ok(()) };
    let mut changed = snapshot.clone();
    change.apply(&mut changed);
    let same = |other: &&Side| {
        (other.direction, &other.pod, other.remote, other.port)
            == (side.direction, &side.pod, side.remote, side.port)
    };
    let after = sides(&changed, question);
    prop_assert!(after.iter().find(same).is_some_and(Side::allowed), "{question:?}: {change}");
    Ok(())
}

proptest! {
    #![proptest_config(crate::config(200))]

    #[test]
    fn rules_add_up_and_changes_open(snapshot in generate::snapshot()) {
        check(&without_shared_addresses(snapshot))?;
    }
}
