//! Generates policies and states of pods.

use fastrand::Rng;

use super::{chance, one_of};
use crate::addresses::{BLOCKS, PODS};
use crate::protocol::{SCTP, TCP, UDP};
use crate::world::{Peer, Pod, Policy, Ports, Rule};

/// A policy of up to four rules.
pub(super) fn policy(random: &mut Rng) -> Policy {
    (0..random.usize(..5)).map(|_| rule(random)).collect()
}

fn rule(random: &mut Rng) -> Rule {
    let peer = match random.u8(..10) {
        0..3 => Peer::Anybody,
        3..6 => Peer::Pod(random.usize(..PODS.len())),
        _ => Peer::Block {
            block: random.usize(..BLOCKS.len()),
            except: chance(random, 30).then(|| random.usize(..BLOCKS.len())),
        },
    };
    Rule { peer, ports: (!chance(random, 25)).then(|| ports(random)) }
}

/// Ports that fit into a set, and more of them, which need a bitmap.
fn ports(random: &mut Rng) -> Vec<Ports> {
    if chance(random, 15) {
        let six = [53, 80, 443, 1000, 5000, 40_000];
        return six.map(|port| Ports { protocol: UDP, ports: Some((port, port)) }).to_vec();
    }
    let count = random.usize(1..3);
    (0..count)
        .map(|_| Ports {
            protocol: one_of(random, &[TCP, TCP, UDP, UDP, SCTP]),
            ports: one_of(
                random,
                &[None, Some((80, 80)), Some((53, 53)), Some((79, 90)), Some((5000, 40_000))],
            ),
        })
        .collect()
}

/// The next state of a pod. A direction is isolated only after the pod was tracking (S30).
pub(super) fn pod(random: &mut Rng, policies: usize, before: Option<&Pod>) -> Pod {
    let isolate = |random: &mut Rng| chance(random, 75).then(|| random.usize(..policies));
    let mut pod = before.copied().unwrap_or(Pod { on_bridge: random.bool(), ..Pod::OPEN });
    let is_open = !pod.is_isolated();
    if before.is_some() && is_open && !pod.tracking {
        pod.tracking = true;
        return pod;
    }
    if before.is_some() && chance(random, 15) {
        return Pod { ingress: None, egress: None, tracking: false, ..pod };
    }
    pod.tracking = false;
    pod.ingress = isolate(random);
    pod.egress = isolate(random);
    pod.may_spoof = chance(random, 4);
    pod
}
