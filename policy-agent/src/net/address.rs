//! Addresses of the node, and of the far ends of veths.

use std::{collections::BTreeSet, net::IpAddr};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
};
use rtnetlink::Handle;

use super::{dump, error::NetError};

/// Requested one by one: `AF_UNSPEC` includes families that refuse `IFA_TARGET_NETNSID`.
const FAMILIES: [AddressFamily; 2] = [AddressFamily::Inet, AddressFamily::Inet6];

/// The addresses in `wanted` that an interface of another namespace has; none where the interface or
/// the namespace is gone.
///
/// A pod that may change its network can add any number of addresses; only the wanted ones are kept,
/// so that the agent's memory does not grow with them.
///
/// A kernel that does not know `IFA_TARGET_NETNSID` lists this namespace instead. Each message must
/// therefore repeat the namespace's number.
pub(super) async fn of_peer(
    handle: &Handle,
    ifindex: u32,
    netns: i32,
    wanted: &BTreeSet<IpAddr>,
) -> Result<Vec<IpAddr>, NetError> {
    let is_wanted = |message: &RouteNetlinkMessage| {
        let RouteNetlinkMessage::NewAddress(message) = message else { return false };
        peer_address(message, ifindex, netns).is_some_and(|address| wanted.contains(&address))
    };
    let mut addresses = BTreeSet::new();
    for family in FAMILIES {
        let request = request(family, ifindex, Some(netns));
        let what = "addresses of a veth's peer";
        let found = match dump::dump_untrusted(handle, what, &request, is_wanted).await {
            Ok(found) => found,
            // EINVAL: no namespace has this number now.
            Err(error) if error.is_gone(&[nix::libc::EINVAL]) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        addresses.extend(messages(&found).filter_map(own));
    }
    Ok(addresses.into_iter().collect())
}

/// Addresses of all interfaces of this namespace, without loopback and IPv6 link-local ones.
pub(super) async fn of_node(handle: &Handle) -> Result<BTreeSet<IpAddr>, NetError> {
    let mut addresses = BTreeSet::new();
    for family in FAMILIES {
        let request = request(family, 0, None);
        let found = dump::dump(handle, "addresses of the node", &request).await?;
        addresses.extend(messages(&found).filter_map(own).filter(|address| {
            !(address.is_loopback() || address.is_ipv6() && is_link_local(*address))
        }));
    }
    Ok(addresses)
}

fn request(family: AddressFamily, ifindex: u32, netns: Option<i32>) -> RouteNetlinkMessage {
    let mut message = AddressMessage::default();
    message.header.family = family;
    message.header.index = ifindex;
    message.attributes.extend(netns.map(AddressAttribute::TargetNetNsId));
    RouteNetlinkMessage::GetAddress(message)
}

fn messages(found: &[RouteNetlinkMessage]) -> impl Iterator<Item = &AddressMessage> {
    found.iter().filter_map(|message| {
        if let RouteNetlinkMessage::NewAddress(message) = message { Some(message) } else { None }
    })
}

/// The address in a message, if it is about that interface of that namespace.
fn peer_address(message: &AddressMessage, ifindex: u32, netns: i32) -> Option<IpAddr> {
    // Without the echo an old kernel's list of the node's own addresses would count as the pod's:
    // the node's address at index 3 would make the veth the endpoint of whoever has it.
    let echoed = message.attributes.contains(&AddressAttribute::TargetNetNsId(netns));
    if echoed && message.header.index == ifindex { own(message) } else { None }
}

/// The interface's own address. On a point-to-point link `IFA_ADDRESS` is the far end and `IFA_LOCAL`
/// the own one; on other links IPv6 has only `IFA_ADDRESS`.
fn own(message: &AddressMessage) -> Option<IpAddr> {
    let mut address = None;
    for attribute in &message.attributes {
        if let AddressAttribute::Local(local) = attribute {
            return Some(*local);
        }
        if let AddressAttribute::Address(own_or_far) = attribute {
            address = Some(*own_or_far);
        }
    }
    address
}

/// `169.254.0.0/16` (RFC 3927) or `fe80::/10` (RFC 4291, 2.5.6).
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(ifindex: u32, attributes: Vec<AddressAttribute>) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.index = ifindex;
        message.attributes = attributes;
        message
    }

    #[test]
    fn a_message_counts_only_with_the_namespace_that_was_requested() {
        use AddressAttribute::{Address, Local, TargetNetNsId};
        let far = IpAddr::from([10, 0, 0, 1]);
        let pod = IpAddr::from([10, 0, 0, 2]);
        #[rustfmt::skip]
        let cases = [
            ("the own end of a point-to-point link", 3, vec![Address(far), Local(pod), TargetNetNsId(7)], Some(pod)),
            ("IPv6 has only one of the two",         3, vec![Address(pod), TargetNetNsId(7)],             Some(pod)),
            ("no echo: an address of the node",      3, vec![Address(pod)],                               None),
            ("another namespace",                    3, vec![Address(pod), TargetNetNsId(8)],             None),
            ("another interface",                    4, vec![Address(pod), TargetNetNsId(7)],             None),
        ];
        for (claim, ifindex, attributes, want) in cases {
            assert_eq!(peer_address(&message(ifindex, attributes), 3, 7), want, "{claim}");
        }
    }
}
