//! The origin of a packet to a pod, as far as it is proven (S37, S39).

use policy_common::{endpoint::NodeKind, flow::Initiator};

use super::{arrival::Arrival, endpoint};
use crate::{address::Ip, maps::NODE_ADDRESSES};

/// The end that opens a connection, as far as it is proven.
pub(crate) struct Origin {
    pub(crate) initiator: Initiator,
    /// Slot of the pod of this node that really sends the packets; 0 if it is none.
    pub(crate) sender: u32,
    /// The address of the far end that the rules are looked up for: a local pod's own address, even
    /// where the packet carries a masqueraded one.
    pub(crate) address: Ip,
}

/// The origin of a packet to a pod: a process of the node, a pod of this node under whatever source
/// address, or another machine.
#[inline(always)]
pub(crate) fn of(arrival: &Arrival<'_>) -> Origin {
    let (tc_index, ingress_ifindex) = (arrival.skb.tc_index(), arrival.skb.ingress_ifindex());
    let source = arrival.packet.source;
    let own = NODE_ADDRESSES.get_ptr(source.bytes());
    // SAFETY: the kernel keeps the element readable while the program runs; one aligned word.
    let own = own.is_some_and(|kind| unsafe { kind.read_volatile() } == NodeKind::Own as u32);
    if ingress_ifindex == 0 && own {
        return Origin { initiator: Initiator::Node, sender: 0, address: source };
    }
    match endpoint::sender(tc_index, ingress_ifindex) {
        None => Origin { initiator: Initiator::Remote, sender: 0, address: source },
        Some(sender) => Origin {
            initiator: Initiator::Remote,
            sender: sender.slot,
            address: endpoint::address(sender, source),
        },
    }
}
