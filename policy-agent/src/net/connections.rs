//! Connections that the kernel tracks: `nf_conntrack`, by `ctnetlink`.

use futures::StreamExt;
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
    conntrack::{
        ConntrackAttribute, ConntrackMessage, IPTuple, ProtoInfo, ProtoInfoTCP, ProtoTuple, Status,
        Tuple as Part,
    },
};
use netlink_proto::{
    ConnectionHandle,
    sys::{SocketAddr, protocols::NETLINK_NETFILTER},
};
use policy_core::adopt::{Connection, Tuple};
use rtnetlink::packet_core::{
    DefaultNla, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload, Nla,
};
use tokio::task::JoinHandle;

use super::{NetError, dump};

const WHAT: &str = "tracked connections";

/// `TCP_CONNTRACK_LAST_ACK`: from here on a connection of TCP ends (`nf_conntrack_tcp.h`).
const TCP_LAST_ACK: u8 = 6;

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// `CTA_PROTO_ICMP_ID` and `CTA_PROTO_ICMP_TYPE`, and those of `ICMPv6`.
const ICMP_ID: [u16; 2] = [4, 7];
const ICMP_TYPE: [u16; 2] = [5, 8];

/// A socket of `ctnetlink` in one network namespace.
#[derive(Debug)]
pub struct Connections {
    handle: ConnectionHandle<NetfilterMessage>,
    connection: JoinHandle<()>,
}

impl Connections {
    /// Opens a socket in the calling thread's network namespace, where it stays.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled, which the socket's task is spawned on.
    ///
    /// # Errors
    ///
    /// [`NetError::Open`].
    pub fn open() -> Result<Self, NetError> {
        let (connection, handle, _) =
            netlink_proto::new_connection(NETLINK_NETFILTER).map_err(NetError::Open)?;
        Ok(Self { handle, connection: tokio::spawn(connection) })
    }

    /// Lists what is tracked, in both families; nothing where the namespace tracks nothing. What
    /// begins or ends meanwhile may be among it or not.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, as it does where it has no `ctnetlink`.
    pub async fn list(&self) -> Result<Vec<Connection>, NetError> {
        let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, 0);
        let request = NetfilterMessage::new(header, ConntrackMessage::Get(Vec::new()));
        let mut message =
            NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(request));
        message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let answers = self.handle.request(message, SocketAddr::new(0, 0));
        let answers = answers.map_err(|_gone| NetError::Closed { what: WHAT })?;
        let (messages, _) = dump::gather(WHAT, answers.boxed()).await?;
        Ok(messages.iter().filter_map(connection).collect())
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// `None` for what is no connection that a flow could stand for.
fn connection(message: &NetfilterMessage) -> Option<Connection> {
    let NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)) = &message.inner else {
        return None;
    };
    let (mut original, mut reply, mut replied, mut closing) = (None, None, false, false);
    for attribute in attributes {
        match attribute {
            ConntrackAttribute::CtaTupleOrig(parts) => original = tuple(parts),
            ConntrackAttribute::CtaTupleReply(parts) => reply = tuple(parts),
            ConntrackAttribute::CtaStatus(status) => replied = status.contains(Status::SeenReply),
            ConntrackAttribute::CtaProtoInfo(infos) => closing = infos.iter().any(is_closing),
            ConntrackAttribute::CtaTimeout(_)
            | ConntrackAttribute::CtaMark(_)
            | ConntrackAttribute::Other(_)
            | _ => {}
        }
    }
    let ((original, protocol), (reply, _)) = (original?, reply?);
    Some(Connection { protocol, original, reply, replied, closing })
}

fn is_closing(info: &ProtoInfo) -> bool {
    let ProtoInfo::TCP(infos) = info else { return false };
    infos.iter().any(|info| matches!(info, ProtoInfoTCP::State(state) if *state >= TCP_LAST_ACK))
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
