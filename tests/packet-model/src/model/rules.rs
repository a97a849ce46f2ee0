//! Whether the policies of a pod allow a connection (S2, S3, S37, S39, S40).

use std::net::IpAddr;

use super::flow::{FlowEnds, Initiator, Sender};
use crate::addresses::{PODS, SERVICES, ip};
use crate::world::{World, allows};

/// Whether a connection is allowed as one of its initiator; of either end where nobody saw who
/// opened it.
pub(crate) fn allow(world: &World, pod: usize, initiator: Initiator, ends: &FlowEnds) -> bool {
    match initiator {
        Initiator::Local => egress(world, pod, None, ends),
        Initiator::Remote(sender) => ingress(world, pod, sender, ends),
        Initiator::Either(sender) => {
            egress(world, pod, sender, ends)
                && ingress(world, pod, sender.unwrap_or(Sender::Elsewhere), ends)
        }
    }
}

fn egress(world: &World, pod: usize, sender: Option<Sender>, ends: &FlowEnds) -> bool {
    let Some(policy) = world.pods[pod].egress else { return true };
    let (policy, remote) = (&world.policies[policy], own_address(sender, ends.remote));
    let service = SERVICES.iter().find(|service| {
        service.port == ends.remote_port
            && service.protocol == ends.protocol
            && service.addresses.iter().any(|address| ip(address) == remote)
    });
    let Some(service) = service else {
        return allows(policy, remote, ends.protocol, ends.remote_port);
    };
    // Where some of the backends are denied the connection is dropped (S40).
    let backends = service.backends;
    let mut allowed = backends.iter().map(|(v4, v6, port)| {
        let backend = if remote.is_ipv4() { v4 } else { v6 };
        allows(policy, ip(backend), service.protocol, *port)
    });
    !backends.is_empty() && allowed.all(|allowed| allowed)
}

fn ingress(world: &World, pod: usize, sender: Sender, ends: &FlowEnds) -> bool {
    let Some(policy) = world.pods[pod].ingress else { return true };
    if sender == Sender::Node || sender == Sender::Pod(pod) {
        return true;
    }
    let remote = own_address(Some(sender), ends.remote);
    allows(&world.policies[policy], remote, ends.protocol, ends.local_port)
}

/// The address by which a far end is judged: that of the pod that really sends, even where the
/// packet carries a masqueraded one (S37).
pub(crate) fn own_address(sender: Option<Sender>, address: IpAddr) -> IpAddr {
    match sender {
        Some(Sender::Pod(pod)) => ip(if address.is_ipv4() { PODS[pod].v4 } else { PODS[pod].v6 }),
        Some(Sender::Node | Sender::Elsewhere) | None => address,
    }
}
