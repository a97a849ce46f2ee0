//! Policies as the agent would write them: identities, port sets, bitmaps.
//!
//! Each pod, block and Service has an identity of its own, so that a set is found by asking the
//! policy about one address of each.
//!
//! ```text
//! policy: pod 2 at TCP 80     → identity of pod 2: { TCP 80-80 }
//! policy: 10.0.0.0/8, any port → identities of 10.0.0.0/8, 10.244.0.0/16 and the pods in them: every protocol
//! ```

use std::net::IpAddr;

use anyhow::Result;
use policy_common::allow::{INLINE_RANGES, PortChunk, PortChunkKey, PortRange, PortSet, every};
use policy_common::drops::Reason;

use crate::addresses::{BLOCKS, PODS, SERVICES, ip};
use crate::model::Direction;
use crate::protocol::{SCTP, TCP, UDP};
use crate::world::{Peer, Policy, Ports, allows, names};

/// Bitmaps that an allow map may have.
const BITMAPS: u32 = 1000;

/// Identity of a pod of the cluster, at its address of one family.
pub(super) fn of_pod(number: usize, address: IpAddr) -> Result<u32> {
    Ok(u32::try_from(100 + 2 * number + usize::from(address.is_ipv6()))?)
}

/// Identity of the addresses of a block.
pub(super) fn of_block(number: usize) -> Result<u32> {
    Ok(u32::try_from(200 + number)?)
}

/// Identity of the backends of a Service that one of its addresses leads to.
pub(super) fn of_service(number: usize, address: IpAddr) -> Result<u32> {
    Ok(u32::try_from(300 + 2 * number + usize::from(address.is_ipv6()))?)
}

/// Number of the allow map of a policy; 0 for a direction that nothing isolates.
pub(super) fn number(policy: Option<usize>, direction: Direction) -> Result<u32> {
    let Some(policy) = policy else { return Ok(0) };
    Ok(u32::try_from(2 * policy + 1 + usize::from(direction == Direction::Egress))?)
}

/// The allow map that a bitmap belongs to.
pub(super) fn of_bitmap(bitmap: u32) -> u32 {
    bitmap / BITMAPS
}

/// The allow map of a policy, and the port chunks that it refers to.
pub(super) fn compile(
    policy: &Policy,
    direction: Direction,
    allow_map: u32,
) -> Result<(Vec<PortSet>, Vec<PortChunk>)> {
    let mut chunks = Vec::new();
    let mut bitmap = allow_map * BITMAPS;
    let mut set = |identity, address: Option<IpAddr>| {
        let ports: Vec<_> = policy
            .iter()
            .filter(|rule| match address {
                Some(address) => names(rule.peer, address),
                None => rule.peer == Peer::Anybody,
            })
            .map(|rule| rule.ports.as_deref())
            .collect();
        bitmap += 1;
        port_set(identity, bitmap, &ports, &mut chunks)
    };
    let default = set(0, None);
    let mut sets = vec![default];
    for (number, pod) in PODS.iter().enumerate() {
        for address in [ip(pod.v4), ip(pod.v6)] {
            sets.push(set(of_pod(number, address)?, Some(address)));
        }
    }
    for (number, block) in BLOCKS.iter().enumerate() {
        sets.push(set(of_block(number)?, Some(ip(block.sample))));
    }
    // An identity that gets what everybody gets has no entry.
    let bare = |set: &PortSet| PortSet { identity: 0, ..*set };
    sets.retain(|set| set.identity == 0 || bare(set) != default || set.bitmap != 0);
    if default.ranges == PortSet::default().ranges && default.protocols == 0 && default.bitmap == 0
    {
        // An allow map without a default entry denies whom it does not name.
        sets.retain(|set| bare(set) != default);
    }
    if direction == Direction::Egress {
        for (number, service) in SERVICES.iter().enumerate() {
            for address in service.addresses {
                sets.push(service_set(policy, number, ip(address))?);
            }
        }
    }
    Ok((sets, chunks))
}

/// The verdict on a Service at one of its addresses (S40, S42).
fn service_set(policy: &Policy, number: usize, address: IpAddr) -> Result<PortSet> {
    let service = &SERVICES[number];
    let allowed = service.backends.iter().filter(|(v4, v6, port)| {
        let backend = ip(if address.is_ipv4() { v4 } else { v6 });
        allows(policy, backend, service.protocol, *port)
    });
    let refusal = match (service.backends.len(), allowed.count()) {
        (0, _) => Reason::ServiceNoBackend as u8,
        (_, 0) => Reason::ServiceDenied as u8,
        (all, some) if some < all => Reason::ServicePartlyDenied as u8,
        _ => 0,
    };
    Ok(PortSet { identity: of_service(number, address)?, refusal, ..PortSet::default() })
}

/// The union of lists of ports; a list that is `None` has every protocol.
fn port_set(
    identity: u32,
    bitmap: u32,
    lists: &[Option<&[Ports]>],
    chunks: &mut Vec<PortChunk>,
) -> PortSet {
    let mut set = PortSet { identity, ..PortSet::default() };
    let mut ranges = Vec::new();
    for list in lists {
        let Some(list) = list else {
            set.protocols |= every::PROTOCOL;
            continue;
        };
        for one in *list {
            match (one.ports, one.protocol) {
                (Some(range), protocol) => ranges.push((protocol, range)),
                (None, TCP) => set.protocols |= every::TCP,
                (None, UDP) => set.protocols |= every::UDP,
                (None, SCTP) => set.protocols |= every::SCTP,
                (None, _) => set.protocols |= every::OTHER,
            }
        }
    }
    if ranges.len() <= INLINE_RANGES {
        for (place, (protocol, (first, last))) in set.ranges.iter_mut().zip(ranges) {
            *place = PortRange { protocol, pad: 0, first, last };
        }
    } else {
        set.bitmap = bitmap;
        for (protocol, (first, last)) in ranges {
            for port in first..=last {
                mark(chunks, bitmap, protocol, port);
            }
        }
    }
    set
}

/// Sets the bit of a port.
fn mark(chunks: &mut Vec<PortChunk>, bitmap: u32, protocol: u8, port: u16) {
    let [chunk, low] = port.to_be_bytes();
    let key = PortChunkKey { bitmap, protocol, chunk, pad: [0; 2] };
    let place = chunks.iter().position(|chunk| chunk.key == key).unwrap_or_else(|| {
        chunks.push(PortChunk { key, bits: [0; 4] });
        chunks.len() - 1
    });
    chunks[place].bits[usize::from(low / 64)] |= 1 << (low % 64);
}
