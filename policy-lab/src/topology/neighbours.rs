//! Static neighbour entries for bridges with many pods.
//!
//! The kernel has one neighbour table per family for all network namespaces, of 1024 entries unless
//! the host sets `net.ipv4.neigh.default.gc_thresh3` higher. A lab in which every pod of a bridge
//! probes every other one would overflow it; permanent entries are not limited.

use std::net::IpAddr;

use super::{
    gateway::Subnets,
    layout::{Layout, Piece, UPLINK},
};
use crate::blueprint::{Blueprint, Machine};

/// The most pairs of pods on a link that resolve each other's hardware address themselves.
const MAX_DYNAMIC_PAIRS: usize = 256;

/// Adds a neighbour entry for every pair of pods on one link, where there are many pairs.
pub(super) fn add_static_neighbours(layout: &mut Layout, plan: &Blueprint, subnets: &Subnets) {
    let pairs = pairs(plan, subnets);
    if pairs.len() <= MAX_DYNAMIC_PAIRS {
        return;
    }
    for (number, pod) in plan.pods.iter().enumerate() {
        let pieces = layout.machines.entry(Machine::Pod(pod.name.clone())).or_default();
        pieces.insert(0, Piece::HardwareAddress { index: UPLINK, hardware: hardware(number) });
    }
    for (from, to, address) in pairs {
        let pod = Machine::Pod(plan.pods[from].name.clone());
        let pieces = layout.machines.entry(pod).or_default();
        pieces.push(Piece::Neighbour { index: UPLINK, address, hardware: hardware(to) });
    }
}

/// Pairs of pods on one link: their positions in the blueprint, and an address of the second.
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

/// The hardware address of a pod: locally administered, with the prefix that CNI plugins use.
fn hardware(number: usize) -> [u8; 6] {
    let [.., a, b, c, d] = number.to_be_bytes();
    [0x0a, 0x58, a, b, c, d]
}
