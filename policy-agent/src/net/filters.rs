//! Filters of traffic control on a hook of an interface, in the order in which they see a packet.
//!
//! Input: an interface and a hook of its clsact qdisc. Output: the filters there, with the BPF program
//! of each. `dataplane` finds its own filters among them, those of other programs, and the order.
//!
//! Example: a hook with a filter of the agent, and one that another program added.
//!
//! ```text
//! RTM_GETTFILTER  priority 1, protocol all, handle 1, kind bpf, name from_pod, program 57
//!                 priority 2, protocol ip, handle 800, kind u32
//! ```
//!
//! A message without a handle describes a priority and not a filter. Attributes that are not used are
//! not parsed, because filters of others may have any.

use std::io;

use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcHandle, TcHeader, TcMessage},
};
use rtnetlink::{
    packet_core::{
        DecodeError, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
        NetlinkHeader, NetlinkMessage, NetlinkPayload, NlaBuffer, NlasIterator, parse_string,
        parse_u32,
    },
    sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE},
};

use super::error::NetError;

/// What is listed, for errors.
const WHAT: &str = "filters of an interface";
/// `ETH_P_ALL` in the byte order of `tcm_info`.
const EVERY_PROTOCOL: u16 = 3_u16.to_be();
/// Bytes of a `tcmsg`, which attributes follow.
const HEADER_LENGTH: usize = 20;

/// Attributes of `include/uapi/linux/rtnetlink.h` and `pkt_cls.h`.
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_CHAIN: u16 = 11;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_ID: u16 = 11;

/// A hook of a clsact qdisc, as the interface sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterHook {
    /// For packets that the interface receives.
    Ingress,
    /// For packets that it sends.
    Egress,
}

/// A filter on a hook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Its kind, such as `bpf`.
    pub kind: String,
    /// The name that a BPF filter was given; empty for other kinds.
    pub name: String,
    /// The kernel id of its BPF program.
    pub program: Option<u32>,
    /// Its priority; the lowest number sees a packet first.
    pub priority: u16,
    /// Its handle, unique within its priority.
    pub handle: u32,
    /// Whether it sees packets of every protocol.
    pub is_for_every_protocol: bool,
}

/// A socket that lists filters in one network namespace, without waiting for other tasks.
pub struct FilterReader(Socket);

impl FilterReader {
    /// Opens a socket, which stays in the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// [`NetError::Open`].
    pub fn open() -> Result<Self, NetError> {
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(NetError::Open)?;
        socket.bind_auto().map_err(NetError::Open)?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(NetError::Open)?;
        Ok(Self(socket))
    }

    /// The filters on a hook, first the one that sees a packet first. None where the interface or its
    /// qdisc does not exist.
    ///
    /// # Errors
    ///
    /// [`NetError::Refused`].
    pub fn list(&self, ifindex: u32, hook: FilterHook) -> Result<Vec<Filter>, NetError> {
        self.request(ifindex, hook).map_err(|source| NetError::Refused { what: WHAT, source })
    }

    fn request(&self, ifindex: u32, hook: FilterHook) -> io::Result<Vec<Filter>> {
        let mut request = TcMessage::default();
        request.header.index = ifindex.cast_signed();
        let minor = match hook {
            FilterHook::Ingress => TcHandle::MIN_INGRESS,
            FilterHook::Egress => TcHandle::MIN_EGRESS,
        };
        request.header.parent = TcHandle { major: u16::MAX, minor };
        let payload = NetlinkPayload::from(RouteNetlinkMessage::GetTrafficFilter(request));
        let mut message = NetlinkMessage::new(NetlinkHeader::default(), payload);
        message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.0.send(&bytes, 0)?;
        let mut filters = Vec::new();
        loop {
            let (datagram, _) = self.0.recv_from_full()?;
            let mut rest = &datagram[..];
            while !rest.is_empty() {
                let message = NetlinkBuffer::new_checked(rest).map_err(io::Error::other)?;
                match message.message_type() {
                    NLMSG_DONE => return Ok(filters),
                    NLMSG_ERROR => return Err(refusal(message.payload())),
                    _ => filters.extend(parse(message.payload()).map_err(io::Error::other)?),
                }
                // A datagram has several messages, each padded to 4 bytes (`NLMSG_ALIGN`).
                let length = (message.length() as usize).next_multiple_of(4);
                rest = rest.get(length..).unwrap_or_default();
            }
        }
    }
}

impl std::fmt::Debug for FilterReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FilterReader")
    }
}

/// The error number of an `NLMSG_ERROR`, which is negative.
fn refusal(payload: &[u8]) -> io::Error {
    match payload.first_chunk() {
        Some(code) => io::Error::from_raw_os_error(i32::from_ne_bytes(*code).wrapping_neg()),
        None => io::ErrorKind::InvalidData.into(),
    }
}

/// The filter in a message; `None` for a priority, and for a filter that only a jump reaches.
fn parse(payload: &[u8]) -> Result<Option<Filter>, DecodeError> {
    let header = TcHeader::parse(payload)?;
    let handle = u32::from(header.handle);
    // `tcm_info` is the priority in the upper half and the protocol in the lower (`TC_H_MAKE`).
    let [high, middle, low, last] = header.info.to_be_bytes();
    let mut filter = Filter {
        handle,
        priority: u16::from_be_bytes([high, middle]),
        is_for_every_protocol: u16::from_be_bytes([low, last]) == EVERY_PROTOCOL,
        ..Filter::default()
    };
    let mut chain = 0;
    let attributes: Vec<_> =
        NlasIterator::new(payload.get(HEADER_LENGTH..).unwrap_or_default()).collect();
    let mut options: &[u8] = &[];
    for attribute in &attributes {
        let Ok(attribute) = attribute else { continue };
        match attribute.kind() {
            TCA_KIND => filter.kind = parse_string(attribute.value())?,
            TCA_CHAIN => chain = parse_u32(attribute.value())?,
            TCA_OPTIONS => options = attribute.value(),
            _ => {}
        }
    }
    if filter.kind == "bpf" {
        for option in NlasIterator::new(options).flatten() {
            read_option(&mut filter, &option)?;
        }
    }
    Ok((handle != 0 && chain == 0).then_some(filter))
}

fn read_option(filter: &mut Filter, option: &NlaBuffer<&[u8]>) -> Result<(), DecodeError> {
    match option.kind() {
        TCA_BPF_NAME => filter.name = parse_string(option.value())?,
        TCA_BPF_ID => filter.program = Some(parse_u32(option.value())?),
        _ => {}
    }
    Ok(())
}
