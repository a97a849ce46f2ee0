//! Bridges with many pods.

use std::net::IpAddr;

use super::{Layout, Piece, UPLINK, gateway::Subnets};
use crate::blueprint::{Blueprint, Machine};

/// Pairs on the link that may learn of each other by themselves.
///
/// The kernel has one table of neighbours per family for all namespaces, of 1024 entries unless
/// the host says otherwise (`net.ipv4.neigh.default.gc_thresh3`). Permanent ones do not count.
const CROWD: usize = 256;

/// Tells the pods of a crowded lab of those that are on the link with them.
pub(super) fn introduce(layout: &mut Layout, plan: &Blueprint, subnets: &Subnets) {
    let pairs = pairs(plan, subnets);
    if pairs.len() <= CROWD {
        return;
    }
    for (number, pod) in plan.pods.iter().enumerate() {
        let pieces = layout.machines.entry(Machine::Pod(pod.name.clone())).or_default();
        pieces.insert(0, Piece::Hardware { index: UPLINK, hardware: hardware(number) });
    }
    for (from, to, address) in pairs {
        let pod = Machine::Pod(plan.pods[from].name.clone());
        let pieces = layout.machines.entry(pod).or_default();
        pieces.push(Piece::Neighbour { index: UPLINK, address, hardware: hardware(to) });
    }
}

/// Numbers of pods that are on one link, with the address of the second.
fn pairs(plan: &Blueprint, subnets: &Subnets) -> Vec<(usize, usize, IpAddr)> {
    let mut pairs = Vec::new();
    for (from, one) in plan.pods.iter().enumerate() {
        for (to, other) in plan.pods.iter().enumerate() {
            if from == to || one.node != other.node {
                continue;
            }
            let shared = other.addresses.iter().filter(|address| {
                let subnet = subnets.of(**address).filter(|subnet| subnet.exclusive);
                subnet.is_some() && one.addresses.iter().any(|own| subnets.of(*own) == subnet)
            });
            pairs.extend(shared.map(|address| (from, to, *address)));
        }
    }
    pairs
}

/// Hardware address of a pod: locally administered, with the prefix that CNI plugins use.
fn hardware(number: usize) -> [u8; 6] {
    let [.., a, b, c, d] = number.to_be_bytes();
    [0x0a, 0x58, a, b, c, d]
}
