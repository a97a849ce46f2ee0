//! Links of the namespace.

use std::collections::BTreeMap;

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkExtentMask, LinkInfo, LinkMessage},
};
use rtnetlink::Handle;

use super::{NetError, dump};

/// A link, as far as discovery needs it.
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
    /// Whether `IFLA_INFO_KIND` is `bridge`.
    pub(super) is_bridge: bool,
    /// The far end.
    pub(super) peer: Peer,
}

/// The far end of a veth, as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// In another network namespace.
    Elsewhere {
        /// `IFLA_LINK`: its index there.
        ifindex: u32,
        /// `IFLA_LINK_NETNSID`: this namespace's number for that one.
        netns: i32,
    },
    /// No other namespace was named: it is in this one, or the pair is too fresh to tell.
    Here {
        /// `IFLA_LINK`.
        ifindex: u32,
    },
    /// No index was given.
    Unknown,
}

/// Every link, by index.
pub(super) async fn all(handle: &Handle) -> Result<BTreeMap<u32, Link>, NetError> {
    let mut request = LinkMessage::default();
    // Counters are most of the answer, and nobody reads them here.
    request.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let answers = dump::dump(handle, "links", &RouteNetlinkMessage::GetLink(request)).await?;
    Ok(parse(answers).map(|link| (link.ifindex, link)).collect())
}

/// One link; `None` where it is gone.
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

#[expect(clippy::wildcard_enum_match_arm, reason = "a link has sixty attributes, five count here")]
fn link(message: &LinkMessage) -> Link {
    let mut link = Link {
        ifindex: message.header.index,
        name: String::new(),
        controller: 0,
        is_veth: false,
        is_bridge: false,
        peer: Peer::Unknown,
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
                link.is_bridge |= infos.contains(&LinkInfo::Kind(InfoKind::Bridge));
            }
            _ => {}
        }
    }
    link.peer = match (peer, netns) {
        (Some(ifindex), Some(netns)) if netns >= 0 => Peer::Elsewhere { ifindex, netns },
        (Some(ifindex), None) => Peer::Here { ifindex },
        // -1: the kernel could not give the namespace a number.
        _ => Peer::Unknown,
    };
    link
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
    fn a_peer_is_elsewhere_only_with_a_number_for_its_namespace() {
        use LinkAttribute::{Link as Peered, LinkNetNsId};
        let elsewhere = Peer::Elsewhere { ifindex: 2, netns: 0 };
        let cases = [
            ("index and number", vec![Peered(2), LinkNetNsId(0)], elsewhere),
            ("no number", vec![Peered(2)], Peer::Here { ifindex: 2 }),
            ("a number that was not given", vec![Peered(2), LinkNetNsId(-1)], Peer::Unknown),
            ("no index", vec![LinkNetNsId(0)], Peer::Unknown),
        ];
        for (claim, attributes, want) in cases {
            assert_eq!(link(&message(attributes)).peer, want, "{claim}");
        }
    }
}
