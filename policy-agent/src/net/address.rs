//! Addresses: those of the node, and those at the far end of a veth.

use std::{collections::BTreeSet, net::IpAddr};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
};
use rtnetlink::Handle;

use super::{NetError, dump};

/// Asked one by one: `AF_UNSPEC` would also ask families that do not know the attribute below.
const FAMILIES: [AddressFamily; 2] = [AddressFamily::Inet, AddressFamily::Inet6];

/// Those of `wanted` that an interface of another namespace has; none where the interface or the
/// namespace is gone. Who may change a pod's network gives it as many as memory holds, and the
/// node's agent shall not hold them too.
///
/// Without strict checking, and on a kernel that does not know `IFA_TARGET_NETNSID`, the answer
/// lists this namespace instead: each message must repeat the number it was asked with.
pub(super) async fn of_peer(
    handle: &Handle,
    ifindex: u32,
    netns: i32,
    wanted: &BTreeSet<IpAddr>,
) -> Result<Vec<IpAddr>, NetError> {
    let is_wanted = |answer: &RouteNetlinkMessage| {
        let RouteNetlinkMessage::NewAddress(message) = answer else { return false };
        peer_address(message, ifindex, netns).is_some_and(|address| wanted.contains(&address))
    };
    let mut addresses = BTreeSet::new();
    for family in FAMILIES {
        let request = request(family, ifindex, Some(netns));
        let what = "addresses of a veth's peer";
        let answers = match dump::dump_hostile(handle, what, &request, is_wanted).await {
            Ok(answers) => answers,
            // EINVAL: no namespace has this number any more.
            Err(error) if error.is_gone(&[nix::libc::EINVAL]) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        addresses.extend(messages(&answers).filter_map(own));
    }
    Ok(addresses.into_iter().collect())
}

/// Addresses of every interface of this namespace but loopback and IPv6 link-local ones.
pub(super) async fn of_node(handle: &Handle) -> Result<BTreeSet<IpAddr>, NetError> {
    let mut addresses = BTreeSet::new();
    for family in FAMILIES {
        let request = request(family, 0, None);
        let answers = dump::dump(handle, "addresses of the node", &request).await?;
        addresses.extend(messages(&answers).filter_map(own).filter(|address| {
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

fn messages(answers: &[RouteNetlinkMessage]) -> impl Iterator<Item = &AddressMessage> {
    answers.iter().filter_map(|answer| {
        if let RouteNetlinkMessage::NewAddress(message) = answer { Some(message) } else { None }
    })
}

/// The address in a message that really speaks of that interface of that namespace.
fn peer_address(message: &AddressMessage, ifindex: u32, netns: i32) -> Option<IpAddr> {
    let echoed = message.attributes.contains(&AddressAttribute::TargetNetNsId(netns));
    if echoed && message.header.index == ifindex { own(message) } else { None }
}

/// The interface's own end: `IFA_LOCAL`, for `IFA_ADDRESS` is the far end of a point-to-point
/// link; IPv6 has `IFA_LOCAL` only there.
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
    fn a_message_counts_only_with_the_namespace_it_was_asked_for() {
        use AddressAttribute::{Address, Local, TargetNetNsId};
        let far = IpAddr::from([10, 0, 0, 1]);
        let pod = IpAddr::from([10, 0, 0, 2]);
        #[rustfmt::skip]
        let cases = [
            ("the own end of a point-to-point link", 3, vec![Address(far), Local(pod), TargetNetNsId(7)], Some(pod)),
            ("IPv6 has only one of the two",         3, vec![Address(pod), TargetNetNsId(7)],             Some(pod)),
            ("no echo: the host's own",              3, vec![Address(pod)],                               None),
            ("another namespace",                    3, vec![Address(pod), TargetNetNsId(8)],             None),
            ("another interface",                    4, vec![Address(pod), TargetNetNsId(7)],             None),
        ];
        for (claim, ifindex, attributes, want) in cases {
            assert_eq!(peer_address(&message(ifindex, attributes), 3, 7), want, "{claim}");
        }
    }
}
