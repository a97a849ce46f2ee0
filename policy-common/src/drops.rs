//! Drops: reasons, counters, and a record of each dropped packet.

use crate::{address::Address, plain};

/// The direction of a packet, as the pod sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Direction {
    /// To the pod.
    Ingress = 1,
    /// From the pod.
    Egress = 2,
}

impl Direction {
    /// Both directions, in the order of their numbers.
    pub const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];

    /// Its name in policies, logs, metrics and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    /// The other direction.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Ingress => Self::Egress,
            Self::Egress => Self::Ingress,
        }
    }

    /// The direction with a number; `None` for a number that no direction has.
    #[must_use]
    #[inline]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Ingress),
            2 => Some(Self::Egress),
            _ => None,
        }
    }
}

/// Defines `Reason` from one table, so that number, name and text cannot drift apart.
macro_rules! reasons {
    ($($(#[$doc:meta])+ $name:ident = $number:literal, $text:literal;)+) => {
        /// Why a packet was dropped. Numbers are part of the ABI and never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[$doc])+ $name = $number,)+
        }

        impl Reason {
            /// Every reason, in the order of its number.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its name in logs, metrics and JSON.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// The reason with a number; `None` for a number that no reason has.
            #[must_use]
            #[inline]
            pub const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)+
                    _ => None,
                }
            }
        }
    };
}

reasons! {
    /// The pod is isolated and no rule allows the packet (S2).
    NoRule = 1, "no-rule";
    /// The connection was allowed earlier and no longer is (S29).
    Revoked = 2, "revoked";
    /// The source is not the pod's own address (S46).
    SpoofedSource = 3, "spoofed-source";
    /// The sender of an ARP packet, or the target of a neighbour advertisement, is not the pod's own (S32).
    SpoofedNeighbour = 4, "spoofed-neighbour";
    /// A router advertisement or redirect from a pod (S32).
    RouterMessage = 5, "router-message";
    /// Neighbour discovery or MLD outside its standard: hop limit or destination (S32).
    InvalidNeighbour = 6, "invalid-neighbour";
    /// VXLAN, Geneve, GRE or IP in IP from a pod to an address that is no pod's (S46).
    Tunnel = 7, "tunnel";
    /// A unicast frame for an address that is not the pod's own (S32).
    NotForPod = 8, "not-for-pod";
    /// A fragment without its first one, where ports matter, or of a datagram that would have to be
    /// translated (S33).
    Fragment = 9, "fragment";
    /// Malformed IPv4 options, or a source route (S34).
    IpOptions = 10, "ip-options";
    /// IPv6 extension headers that cannot be walked, or segments left (S34).
    ExtensionHeader = 11, "extension-header";
    /// A packet that ends too early or contradicts itself (S34).
    Malformed = 12, "malformed";
    /// An EtherType that is neither IP nor ARP (S32).
    EtherType = 13, "ether-type";
    /// The Service has no ready backend (S42).
    ServiceNoBackend = 14, "service-no-backend";
    /// No backend of the Service is allowed (S40).
    ServiceDenied = 15, "service-denied";
    /// Some backends of the Service are allowed, but the connection can go to none of them (S40).
    ServicePartlyDenied = 16, "service-partly-denied";
    /// The flow table took no new entry (S26).
    FlowTableFull = 17, "flow-table-full";
    /// The interface belongs to no known pod, and `--unknown-endpoints drop` is set.
    UnknownEndpoint = 18, "unknown-endpoint";
    /// The pod is isolated, but its allow map is missing.
    MissingAllowMap = 19, "missing-content";
}

impl Reason {
    /// Whether policies cause the drop, and not the packet itself or the state of the node.
    #[must_use]
    pub const fn is_policy(self) -> bool {
        match self {
            Self::NoRule
            | Self::Revoked
            | Self::ServiceNoBackend
            | Self::ServiceDenied
            | Self::ServicePartlyDenied => true,
            Self::SpoofedSource
            | Self::SpoofedNeighbour
            | Self::RouterMessage
            | Self::InvalidNeighbour
            | Self::Tunnel
            | Self::NotForPod
            | Self::Fragment
            | Self::IpOptions
            | Self::ExtensionHeader
            | Self::Malformed
            | Self::EtherType
            | Self::FlowTableFull
            | Self::UnknownEndpoint
            | Self::MissingAllowMap => false,
        }
    }
}

/// Key of `drops`, the packet counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct DropKey {
    /// Host-side interface of the pod.
    pub ifindex: u32,
    /// Number of a `Direction`.
    pub direction: u8,
    /// Number of a `Reason`.
    pub reason: u8,
    /// Zero.
    pub pad: [u8; 2],
}

/// A record of `events`: one dropped packet.
///
/// `local` is the pod's side, `remote` the far end, with the addresses that the packet carries.
/// A field that could not be parsed is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct DropRecord {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub time: u64,
    /// Host-side interface of the pod.
    pub ifindex: u32,
    /// Allow map that was looked up; 0 where none was.
    pub allow_map: u32,
    /// Identity of the far end; 0 where it was not looked up.
    pub identity: u32,
    /// Length of the frame in bytes.
    pub length: u32,
    /// EtherType, host byte order.
    pub ether_type: u16,
    /// Number of a `Direction`.
    pub direction: u8,
    /// Number of a `Reason`.
    pub reason: u8,
    /// Port of the pod, network byte order; the identifier for ICMP echo.
    pub local_port: [u8; 2],
    /// Port of the far end, network byte order.
    pub remote_port: [u8; 2],
    /// IP protocol number.
    pub protocol: u8,
    /// Flag byte of the TCP header.
    pub tcp_flags: u8,
    /// Zero.
    pub pad: [u8; 2],
    /// Dropped packets that were charged to the same sender or interface as this one and got no
    /// record since its last record: it had used up its share, or the ring buffer was full.
    pub withheld: u32,
    /// Address of the pod's side.
    pub local: Address,
    /// Address of the far end.
    pub remote: Address,
}

/// [`RecordCharge::direction`] for replies to what a pod may not send (S59).
pub const REPLIES: u32 = 3;

/// Key of `record_budgets`: the interface that a record is charged to.
///
/// A packet that a pod of this node sent is charged to that pod's interface, wherever it is
/// dropped; any other packet is charged to the interface where it is dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct RecordCharge {
    /// Host-side interface: the sender's, or where the packet was dropped.
    pub ifindex: u32,
    /// Number of the `Direction` in which it was dropped; [`REPLIES`] for a budget of replies.
    pub direction: u32,
}

/// Value of `record_budgets`: a token bucket of records.
///
/// Two CPUs that write it at the same time may send one record more or less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RecordBudget {
    /// `CLOCK_MONOTONIC` in nanoseconds up to which tokens were added.
    pub since: u64,
    /// Tokens left.
    pub left: u32,
    /// Drops without a record so far, as in `DropRecord`.
    pub withheld: u32,
}

plain!(DropKey, DropRecord, RecordCharge, RecordBudget);

const _: () = assert!(size_of::<DropKey>() == 8);
const _: () = assert!(size_of::<DropRecord>() == 72);
const _: () = assert!(size_of::<RecordBudget>() == 16);
