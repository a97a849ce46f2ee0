//! Parses the transport header: the fields that flows and rules depend on.

use policy_common::{
    drops::Reason,
    protocol::{ICMP, ICMPV6, SCTP, TCP, UDP},
};

use super::Bytes;

/// The flag of an end.
pub(crate) const FIN: u8 = 0x01;
/// The flag of a start.
pub(crate) const SYN: u8 = 0x02;
/// The flag of a reset.
pub(crate) const RST: u8 = 0x04;
/// The flag of an acknowledgement.
pub(crate) const ACK: u8 = 0x10;

const SCTP_INIT: u8 = 1;
const SCTP_ABORT: u8 = 6;
const SCTP_SHUTDOWN: u8 = 7;
const SCTP_SHUTDOWN_ACK: u8 = 8;
const SCTP_SHUTDOWN_COMPLETE: u8 = 14;

/// The transport header of a packet.
#[expect(clippy::struct_excessive_bools, reason = "one for each question that a flow asks")]
#[derive(Clone, Copy)]
pub(crate) struct Transport {
    pub(crate) protocol: u8,
    /// Source port, network byte order. ICMP echo has its identifier in both ports, other ICMP has
    /// its type and code there.
    pub(crate) source: [u8; 2],
    /// Destination port, as above.
    pub(crate) destination: [u8; 2],
    /// Flag byte of the TCP header.
    pub(crate) tcp_flags: u8,
    /// Sequence number of TCP.
    pub(crate) sequence: u32,
    /// Acknowledgement number of TCP, where the packet `acknowledges`.
    pub(crate) acknowledged: u32,
    /// TCP with an ACK.
    pub(crate) acknowledges: bool,
    /// A TCP FIN or an SCTP SHUTDOWN.
    pub(crate) closes: bool,
    /// A TCP RST or an SCTP ABORT.
    pub(crate) resets: bool,
    /// The packet can only be the first of a connection: a SYN or an INIT (S27).
    pub(crate) opens: bool,
    /// A request of ICMP echo or a similar pair: never a reply, but one of many in a flow.
    pub(crate) requests: bool,
    /// ICMP echo or a similar pair, request or reply.
    pub(crate) echoes: bool,
}

impl Transport {
    /// A header without ports.
    #[inline(always)]
    fn new(protocol: u8) -> Self {
        Self {
            protocol,
            source: [0; 2],
            destination: [0; 2],
            tcp_flags: 0,
            sequence: 0,
            acknowledged: 0,
            acknowledges: false,
            closes: false,
            resets: false,
            opens: false,
            requests: false,
            echoes: false,
        }
    }

    /// The header of a packet in the middle of a connection, as far as the state of a flow depends on
    /// it; without ports.
    #[inline(always)]
    pub(crate) fn under_way(protocol: u8, sequence: u32) -> Self {
        Self { sequence, ..Self::new(protocol) }
    }

    /// Whether it is an ICMP error, which quotes the packet that caused it (RFC 792; RFC 4443, 2.1).
    #[inline(always)]
    pub(crate) fn is_error(&self) -> bool {
        let kind = self.source[0];
        // ICMP that is no echo has type and code in place of ports.
        !self.echoes
            && match self.protocol {
                ICMP => matches!(kind, 3 | 11 | 12),
                ICMPV6 => matches!(kind, 1..=4),
                _ => false,
            }
    }

    /// Whether no flow can have the packet: ICMP without an identifier, of which nothing shows which
    /// messages belong together (S31).
    #[inline(always)]
    pub(crate) fn is_flowless(&self) -> bool {
        matches!(self.protocol, ICMP | ICMPV6) && !self.echoes
    }

    /// Whether the packet cannot be the first of a connection: TCP or SCTP without SYN or INIT.
    #[inline(always)]
    pub(crate) fn is_under_way(&self) -> bool {
        matches!(self.protocol, TCP | SCTP) && !self.opens
    }
}

/// Parses the header at `offset`; the IP header states that `length` bytes follow there.
#[inline(always)]
pub(crate) fn read(
    bytes: &impl Bytes,
    offset: usize,
    protocol: u8,
    length: u32,
) -> Result<Transport, Reason> {
    match protocol {
        TCP => tcp(bytes, offset, length),
        UDP => ports_only(bytes, offset, protocol, length),
        SCTP => sctp(bytes, offset, length),
        ICMP | ICMPV6 => icmp(bytes, offset, protocol, length),
        // ESP, AH, GRE and others have no ports that a rule could name.
        _ => Ok(Transport::new(protocol)),
    }
}

/// Loads the first `N` bytes of a header.
#[inline(always)]
fn load<const N: usize>(bytes: &impl Bytes, offset: usize, length: u32) -> Result<[u8; N], Reason> {
    if (length as usize) < N {
        return Err(Reason::Malformed);
    }
    bytes.load(offset).ok_or(Reason::Malformed)
}

/// RFC 9293, 3.1.
#[inline(always)]
fn tcp(bytes: &impl Bytes, offset: usize, length: u32) -> Result<Transport, Reason> {
    if length < 20 {
        return Err(Reason::Malformed);
    }
    let header: [u8; 14] = load(bytes, offset, length)?;
    let header_length = u32::from(header[12] >> 4) * 4;
    if header_length < 20 || header_length > length {
        return Err(Reason::Malformed);
    }
    let flags = header[13];
    Ok(Transport {
        source: [header[0], header[1]],
        destination: [header[2], header[3]],
        tcp_flags: flags,
        sequence: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
        acknowledged: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
        acknowledges: flags & ACK != 0,
        closes: flags & FIN != 0,
        resets: flags & RST != 0,
        opens: flags & (SYN | ACK) == SYN,
        ..Transport::new(TCP)
    })
}

/// RFC 768.
#[inline(always)]
fn ports_only(
    bytes: &impl Bytes,
    offset: usize,
    protocol: u8,
    length: u32,
) -> Result<Transport, Reason> {
    let header: [u8; 8] = load(bytes, offset, length)?;
    Ok(Transport {
        source: [header[0], header[1]],
        destination: [header[2], header[3]],
        ..Transport::new(protocol)
    })
}

/// RFC 9260, 3: an INIT chunk is always the first of its packet, and alone. So are the chunks that
/// end an association, except that they may follow others; then the peer's answer is alone.
#[inline(always)]
fn sctp(bytes: &impl Bytes, offset: usize, length: u32) -> Result<Transport, Reason> {
    let header: [u8; 16] = load(bytes, offset, length)?;
    let chunk = header[12];
    Ok(Transport {
        source: [header[0], header[1]],
        destination: [header[2], header[3]],
        closes: matches!(chunk, SCTP_SHUTDOWN | SCTP_SHUTDOWN_ACK),
        resets: matches!(chunk, SCTP_ABORT | SCTP_SHUTDOWN_COMPLETE),
        opens: chunk == SCTP_INIT,
        ..Transport::new(SCTP)
    })
}

/// RFC 792, RFC 950 and RFC 4443: a request and its reply share an identifier.
#[inline(always)]
fn icmp(bytes: &impl Bytes, offset: usize, protocol: u8, length: u32) -> Result<Transport, Reason> {
    let header: [u8; 8] = load(bytes, offset, length)?;
    let kind = header[0];
    // Echo, and in IPv4 timestamp, information and address mask.
    let requests = if protocol == ICMP { matches!(kind, 8 | 13 | 15 | 17) } else { kind == 128 };
    let replies = if protocol == ICMP { matches!(kind, 0 | 14 | 16 | 18) } else { kind == 129 };
    let echoes = requests || replies;
    let port = if echoes { [header[4], header[5]] } else { [kind, header[1]] };
    Ok(Transport { source: port, destination: port, requests, echoes, ..Transport::new(protocol) })
}
