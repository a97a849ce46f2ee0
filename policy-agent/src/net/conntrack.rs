//! Reads the connections that the kernel tracks (`nf_conntrack`, by `ctnetlink`).
//!
//! `node` calls it when a pod is about to be isolated, so that connections that existed before keep
//! their direction (S30). What the flows are is decided in `policy_core::adopt`.

use netlink_packet_netfilter::{
    NetfilterMessage, NetfilterMessageInner,
    conntrack::{
        ConntrackAttribute, ConntrackMessage, IPTuple, ProtoInfo, ProtoInfoTCP, ProtoTuple, Status,
        Tuple as Part,
    },
};
use policy_common::protocol::{ICMP, ICMPV6};
use policy_core::adopt::{Connection, Tuple};
use rtnetlink::packet_core::{DefaultNla, Nla};
use tokio::time::{Instant, timeout_at};

use super::{error::NetError, netfilter::NetfilterList};

/// `TCP_CONNTRACK_LAST_ACK`: in this state and later ones a TCP connection is closing
/// (`nf_conntrack_tcp.h`).
const TCP_LAST_ACK: u8 = 6;

/// `IP_CT_TCP_FLAG_BE_LIBERAL` (`nf_conntrack_tcp.h`): the kernel sets it for a connection that it saw
/// only from the middle, where it took the sender of the first packet for the initiator.
const TCP_BE_LIBERAL: u8 = 0x08;

/// `CTA_PROTO_ICMP_ID` and `CTA_PROTO_ICMPV6_ID`.
const ICMP_ID: [u16; 2] = [4, 7];
/// `CTA_PROTO_ICMP_TYPE` and `CTA_PROTO_ICMPV6_TYPE`.
const ICMP_TYPE: [u16; 2] = [5, 8];

/// The connections that could be read in time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrackedConnections {
    /// Connections of both families.
    pub connections: Vec<Connection>,
    /// Whether the deadline came before the end of the list.
    pub is_truncated: bool,
}

/// Lists the connections that the calling thread's network namespace tracks, until `deadline`: the
/// table may be large, and any peer can fill it. Connections that start or end meanwhile may be in
/// the list or not.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O and time enabled.
///
/// # Errors
///
/// [`NetError::Refused`], as from a kernel without `ctnetlink`.
pub async fn tracked_connections(deadline: Instant) -> Result<TrackedConnections, NetError> {
    let request = ConntrackMessage::Get(Vec::new());
    // What could be read in time is used even if the list is cut off: each connection that is found
    // keeps its direction, and those that are not are judged as new ones, which may end them.
    let mut list = NetfilterList::request("tracked connections", request)?;
    let mut tracked = TrackedConnections::default();
    loop {
        match timeout_at(deadline, list.next()).await {
            Ok(Ok(Some(message))) => tracked.connections.extend(connection_of(&message)),
            Ok(Ok(None)) => return Ok(tracked),
            Ok(Err(error)) => return Err(error),
            Err(_elapsed) => {
                tracked.is_truncated = true;
                return Ok(tracked);
            }
        }
    }
}

/// The connection in a message; `None` where it has no tuples that a flow could have.
fn connection_of(message: &NetfilterMessage) -> Option<Connection> {
    let NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)) = &message.inner else {
        return None;
    };
    let (mut original, mut reply) = (None, None);
    let (mut replied, mut closing, mut picked_up) = (false, false, false);
    for attribute in attributes {
        match attribute {
            ConntrackAttribute::CtaTupleOrig(parts) => original = tuple(parts),
            ConntrackAttribute::CtaTupleReply(parts) => reply = tuple(parts),
            ConntrackAttribute::CtaStatus(status) => replied = status.contains(Status::SeenReply),
            ConntrackAttribute::CtaProtoInfo(infos) => {
                closing = infos.iter().any(is_closing);
                picked_up = infos.iter().any(is_picked_up);
            }
            ConntrackAttribute::CtaTimeout(_)
            | ConntrackAttribute::CtaMark(_)
            | ConntrackAttribute::Other(_)
            | _ => {}
        }
    }
    let ((original, protocol), (reply, _)) = (original?, reply?);
    Some(Connection { protocol, original, reply, replied, closing, picked_up })
}

fn is_closing(info: &ProtoInfo) -> bool {
    let ProtoInfo::TCP(infos) = info else { return false };
    infos.iter().any(|info| matches!(info, ProtoInfoTCP::State(state) if *state >= TCP_LAST_ACK))
}

fn is_picked_up(info: &ProtoInfo) -> bool {
    let ProtoInfo::TCP(infos) = info else { return false };
    infos.iter().any(|info| {
        matches!(info, ProtoInfoTCP::OriginalFlags(found) if found.flags & TCP_BE_LIBERAL != 0)
    })
}

/// A tuple and its protocol; `None` for ICMP messages other than queries.
fn tuple(parts: &[Part]) -> Option<(Tuple, u8)> {
    let ip = parts.iter().find_map(|part| if let Part::Ip(ip) = part { Some(ip) } else { None });
    let proto = parts.iter().find_map(|part| match part {
        Part::Proto(proto) => Some(proto),
        Part::Ip(_) | Part::Other(_) | _ => None,
    });
    let (mut source, mut destination) = (None, None);
    for part in ip? {
        match part {
            IPTuple::SourceAddress(address) => source = Some(*address),
            IPTuple::DestinationAddress(address) => destination = Some(*address),
            IPTuple::Other(_) | _ => {}
        }
    }
    let (protocol, source_port, destination_port) = ports(proto?)?;
    let (source, destination) = (source?, destination?);
    Some((Tuple { source, destination, source_port, destination_port }, protocol))
}

/// Protocol number, source and destination port; the identifier of an ICMP query stands for both.
fn ports(parts: &[ProtoTuple]) -> Option<(u8, u16, u16)> {
    let (mut protocol, mut source, mut destination, mut echo) = (None, 0, 0, None);
    for part in parts {
        match part {
            ProtoTuple::Protocol(number) => protocol = Some(u8::from(*number)),
            ProtoTuple::SourcePort(port) => source = *port,
            ProtoTuple::DestinationPort(port) => destination = *port,
            ProtoTuple::Other(part) => echo = echo.or(identifier(part)),
            _ => {}
        }
    }
    match protocol? {
        protocol @ (ICMP | ICMPV6) => {
            let identifier = echo.filter(|_| parts.iter().any(is_query))?;
            Some((protocol, identifier, identifier))
        }
        protocol => Some((protocol, source, destination)),
    }
}

/// The identifier in a part of an ICMP tuple.
fn identifier(part: &DefaultNla) -> Option<u16> {
    let mut value = [0; 2];
    if !ICMP_ID.contains(&part.kind()) || part.value_len() != value.len() {
        return None;
    }
    part.emit_value(&mut value);
    Some(u16::from_be_bytes(value))
}

/// Whether a part of an ICMP tuple has the type of a query or its reply: echo, timestamp,
/// information, address mask.
fn is_query(part: &ProtoTuple) -> bool {
    let ProtoTuple::Other(part) = part else { return false };
    let mut value = [0];
    if !ICMP_TYPE.contains(&part.kind()) || part.value_len() != value.len() {
        return false;
    }
    part.emit_value(&mut value);
    matches!(value, [0 | 8 | 13..=18 | 128 | 129])
}
