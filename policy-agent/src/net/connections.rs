//! Connections that the kernel tracks: `nf_conntrack`, by `ctnetlink`.

use futures::StreamExt;
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
    conntrack::{
        ConntrackAttribute, ConntrackMessage, IPTuple, ProtoInfo, ProtoInfoTCP, ProtoTuple, Status,
        Tuple as Part,
    },
};
use netlink_proto::sys::{SocketAddr, protocols::NETLINK_NETFILTER};
use policy_core::adopt::{Connection, Tuple};
use rtnetlink::packet_core::{
    DefaultNla, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload, Nla,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use super::{NetError, dump};

const WHAT: &str = "tracked connections";

/// `TCP_CONNTRACK_LAST_ACK`: from here on a connection of TCP ends (`nf_conntrack_tcp.h`).
const TCP_LAST_ACK: u8 = 6;

/// `IP_CT_TCP_FLAG_BE_LIBERAL` (`nf_conntrack_tcp.h`): the kernel sets it where it picked a
/// connection up in its middle, and took the sender of the first packet for who opened it.
const TCP_BE_LIBERAL: u8 = 0x08;

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// `CTA_PROTO_ICMP_ID` and `CTA_PROTO_ICMP_TYPE`, and those of `ICMPv6`.
const ICMP_ID: [u16; 2] = [4, 7];
const ICMP_TYPE: [u16; 2] = [5, 8];

/// What was told in time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracked {
    /// Connections.
    pub connections: Vec<Connection>,
    /// Whether there may be more: time ran out.
    pub is_cut_short: bool,
}

/// Lists what the calling thread's network namespace tracks, in both families, as far as that comes
/// until `deadline`: anybody may fill the kernel's table. What begins or ends meanwhile may be among
/// it or not.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O and time enabled.
///
/// # Errors
///
/// When the kernel refuses, as it does where it has no `ctnetlink`.
pub async fn tracked(deadline: Instant) -> Result<Tracked, NetError> {
    let socket = netlink_proto::new_connection::<NetfilterMessage>(NETLINK_NETFILTER);
    let (connection, handle, _) = socket.map_err(NetError::Open)?;
    // A list that is left half read goes with its socket.
    let _task = AbortOnDrop(tokio::spawn(connection));
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, 0);
    let request = NetfilterMessage::new(header, ConntrackMessage::Get(Vec::new()));
    let mut message = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(request));
    message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let answers = handle.request(message, SocketAddr::new(0, 0));
    let mut answers = answers.map_err(|_gone| NetError::Closed { what: WHAT })?;
    let mut tracked = Tracked::default();
    loop {
        let Ok(answer) = timeout_at(deadline, answers.next()).await else {
            tracked.is_cut_short = true;
            return Ok(tracked);
        };
        let Some(answer) = answer else { return Ok(tracked) };
        if let Some(message) = dump::payload(WHAT, answer)? {
            tracked.connections.extend(connection_of(&message));
        }
    }
}

/// A task that ends with this value.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// `None` for what is no connection that a flow could stand for.
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

/// A tuple, and its protocol; `None` for ICMP that nobody answers.
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
    let (protocol, source_port, destination_port) = ends(proto?)?;
    let (source, destination) = (source?, destination?);
    Some((Tuple { source, destination, source_port, destination_port }, protocol))
}

/// Protocol and ports.
fn ends(parts: &[ProtoTuple]) -> Option<(u8, u16, u16)> {
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
            let identifier = echo.filter(|_| parts.iter().any(is_echo))?;
            Some((protocol, identifier, identifier))
        }
        protocol => Some((protocol, source, destination)),
    }
}

/// The identifier of an ICMP echo.
fn identifier(part: &DefaultNla) -> Option<u16> {
    let mut value = [0; 2];
    if !ICMP_ID.contains(&part.kind()) || part.value_len() != value.len() {
        return None;
    }
    part.emit_value(&mut value);
    Some(u16::from_be_bytes(value))
}

/// Whether a part of a tuple says that it is an echo, or a question of that kind, or its answer.
fn is_echo(part: &ProtoTuple) -> bool {
    let ProtoTuple::Other(part) = part else { return false };
    let mut value = [0];
    if !ICMP_TYPE.contains(&part.kind()) || part.value_len() != value.len() {
        return false;
    }
    part.emit_value(&mut value);
    matches!(value, [0 | 8 | 13..=18 | 128 | 129])
}
