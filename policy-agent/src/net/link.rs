//! Links of the namespace, and where the far end of each veth is.
//!
//! The kernel reports the far end as an index (`IFLA_LINK`) and, if it is in another namespace, a
//! number for that namespace (`IFLA_LINK_NETNSID`). Neither is enough alone: index 2 exists in every
//! namespace.

use std::collections::BTreeMap;

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{
        InfoData, InfoGeneve, InfoKind, InfoVxlan, LinkAttribute, LinkExtentMask, LinkInfo,
        LinkMessage,
    },
};
use rtnetlink::Handle;

use super::{dump, error::NetError};

/// What discovery needs of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// `ifi_index`.
    pub(super) ifindex: u32,
    /// `IFLA_IFNAME`.
    pub(super) name: String,
    /// `IFLA_MASTER`; 0 for none.
    pub(super) controller: u32,
    /// Whether `IFLA_INFO_KIND` is `veth`.
    pub(super) is_veth: bool,
    /// Whether `IFLA_INFO_KIND` is `netkit`.
    pub(super) is_netkit: bool,
    /// Whether `IFLA_INFO_KIND` is `bridge`.
    pub(super) is_bridge: bool,
    /// UDP port at which a VXLAN or Geneve device unpacks packets.
    pub(super) tunnel_port: Option<u16>,
    /// The far end.
    pub(super) peer: VethPeer,
}

/// The far end of a veth, as the kernel reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VethPeer {
    /// In another network namespace.
    OtherNamespace {
        /// `IFLA_LINK`: its index there.
        ifindex: u32,
        /// `IFLA_LINK_NETNSID`: the number of that namespace in this one.
        netns: i32,
    },
    /// Without a namespace: it is in this one, or the pair is so new that it has no number yet.
    SameNamespace {
        /// `IFLA_LINK`.
        ifindex: u32,
    },
    /// Without an index, or in a namespace that has no number here.
    Unknown,
}

/// Reads every link, by index.
pub(super) async fn all(handle: &Handle) -> Result<BTreeMap<u32, Link>, NetError> {
    let mut request = LinkMessage::default();
    // Counters would be most of the response, and are not used here.
    request.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let answers = dump::dump(handle, "links", &RouteNetlinkMessage::GetLink(request)).await?;
    Ok(parse(answers).map(|link| (link.ifindex, link)).collect())
}

/// Reads one link; `None` where it is gone.
pub(super) async fn one(handle: &Handle, ifindex: u32) -> Result<Option<Link>, NetError> {
    let mut request = LinkMessage::default();
    request.header.index = ifindex;
    match dump::get(handle, "a link", &RouteNetlinkMessage::GetLink(request)).await {
        Ok(answers) => Ok(parse(answers).find(|link| link.ifindex == ifindex)),
        Err(error) if error.is_gone(&[]) => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse(answers: Vec<RouteNetlinkMessage>) -> impl Iterator<Item = Link> {
    answers.into_iter().filter_map(|answer| {
        if let RouteNetlinkMessage::NewLink(message) = answer { Some(link(&message)) } else { None }
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a link has sixty attributes, five are used")]
fn link(message: &LinkMessage) -> Link {
    let mut link = Link {
        ifindex: message.header.index,
        name: String::new(),
        controller: 0,
        is_veth: false,
        is_netkit: false,
        is_bridge: false,
        tunnel_port: None,
        peer: VethPeer::Unknown,
    };
    let (mut peer, mut netns) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Controller(ifindex) => link.controller = *ifindex,
            LinkAttribute::Link(ifindex) => peer = Some(*ifindex),
            LinkAttribute::LinkNetNsId(id) => netns = Some(*id),
            LinkAttribute::LinkInfo(infos) => {
                link.is_veth |= infos.contains(&LinkInfo::Kind(InfoKind::Veth));
                link.is_netkit |= infos.contains(&LinkInfo::Kind(InfoKind::Netkit));
                link.is_bridge |= infos.contains(&LinkInfo::Kind(InfoKind::Bridge));
                link.tunnel_port = infos.iter().find_map(tunnel_port);
            }
            _ => {}
        }
    }
    // 7: veth0, IFLA_LINK 2, IFLA_LINK_NETNSID 5     index 2 of the namespace with the number 5
    // 7: veth0, IFLA_LINK 8                          index 8 here, or not numbered yet
    link.peer = match (peer, netns) {
        (Some(ifindex), Some(netns)) if netns >= 0 => VethPeer::OtherNamespace { ifindex, netns },
        (Some(ifindex), None) => VethPeer::SameNamespace { ifindex },
        // -1 (NETNSA_NSID_NOT_ASSIGNED): the kernel could not give the namespace a number.
        _ => VethPeer::Unknown,
    };
    link
}

/// The UDP port of a tunnel device (`IFLA_VXLAN_PORT`, `IFLA_GENEVE_PORT`).
fn tunnel_port(info: &LinkInfo) -> Option<u16> {
    let LinkInfo::Data(data) = info else { return None };
    if let InfoData::Vxlan(attributes) = data {
        attributes
            .iter()
            .find_map(|one| if let InfoVxlan::Port(port) = one { Some(*port) } else { None })
    } else if let InfoData::Geneve(attributes) = data {
        attributes
            .iter()
            .find_map(|one| if let InfoGeneve::Port(port) = one { Some(*port) } else { None })
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(attributes: Vec<LinkAttribute>) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.attributes = attributes;
        message
    }

    #[test]
    fn s46_a_tunnel_device_has_the_port_at_which_it_unpacks() {
        let vxlan = LinkInfo::Data(InfoData::Vxlan(vec![InfoVxlan::Id(1), InfoVxlan::Port(4000)]));
        let geneve = LinkInfo::Data(InfoData::Geneve(vec![InfoGeneve::Port(5000)]));
        for (info, want) in
            [(vxlan, Some(4000)), (geneve, Some(5000)), (LinkInfo::Kind(InfoKind::Veth), None)]
        {
            let found = link(&message(vec![LinkAttribute::LinkInfo(vec![info])]));
            assert_eq!(found.tunnel_port, want);
        }
    }

    #[test]
    fn a_peer_is_in_another_namespace_only_with_a_number_for_it() {
        use LinkAttribute::{Link as Peered, LinkNetNsId};
        let other = VethPeer::OtherNamespace { ifindex: 2, netns: 0 };
        let cases = [
            ("index and number", vec![Peered(2), LinkNetNsId(0)], other),
            ("no number", vec![Peered(2)], VethPeer::SameNamespace { ifindex: 2 }),
            ("a number that was not assigned", vec![Peered(2), LinkNetNsId(-1)], VethPeer::Unknown),
            ("no index", vec![LinkNetNsId(0)], VethPeer::Unknown),
        ];
        for (claim, attributes, want) in cases {
            assert_eq!(link(&message(attributes)).peer, want, "{claim}");
        }
    }
}
