//! Allow maps: for one direction of a pod, which ports each identity may use.
//!
//! Example: TCP 80 and 8000-8999 for identity 5 is the entry
//! `5 → PortSet { identity: 5, ranges: [TCP 80-80, TCP 8000-8999], .. }`.
//! More ranges than [`INLINE_RANGES`] become a bitmap in `port_chunks`, so that any number of
//! ports costs one more look-up.

use crate::plain;

/// The key of an allow map's default entry, and the identity of every address that matches no
/// peer of a policy in force on the node.
pub const DEFAULT_IDENTITY: u32 = 0;

/// Bits of `PortSet::protocols`: protocols that are allowed whole.
pub mod every {
    /// Every protocol, ICMP and those without ports included.
    pub const PROTOCOL: u8 = 1 << 0;
    /// Every TCP port.
    pub const TCP: u8 = 1 << 1;
    /// Every UDP port.
    pub const UDP: u8 = 1 << 2;
    /// Every SCTP port.
    pub const SCTP: u8 = 1 << 3;
    /// Every protocol except TCP, UDP and SCTP.
    pub const OTHER: u8 = 1 << 4;
}

/// Ranges that a port set holds in itself; more go into a bitmap.
pub const INLINE_RANGES: usize = 4;

/// Ports `first..=last` of one protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct PortRange {
    /// IP protocol number; 0 where this range is unused.
    pub protocol: u8,
    /// Zero.
    pub pad: u8,
    /// First port, host byte order.
    pub first: u16,
    /// Last port, included, host byte order.
    pub last: u16,
}

/// Value of an allow map, keyed by identity: the ports that this identity may use.
///
/// An identity with an entry does not also get the ports of the default entry.
/// An identity without one gets those of the default entry, or nothing if there is none.
/// Written by the agent, never edited in place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct PortSet {
    /// The key again: the kernel recycles elements while a program reads them.
    pub identity: u32,
    /// Bitmap in `port_chunks` that is searched after the ranges; 0 for none. For the identity of a
    /// Service frontend: list of `backends` that it leads to.
    pub bitmap: u32,
    /// Bits of [`every`].
    pub protocols: u8,
    /// For the identity of a Service frontend: number of the `Reason` for which it is refused, 0
    /// where it passes.
    pub refusal: u8,
    /// For the identity of a Service frontend that is refused as `ServicePartlyDenied`: how many
    /// backends its list has. With 0 it is refused, otherwise connections go to one of them.
    pub backends: u16,
    /// Allowed ranges, in no order.
    pub ranges: [PortRange; INLINE_RANGES],
}

/// Key of `port_chunks`: 256 ports of one protocol of one bitmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct PortChunkKey {
    /// Bitmap, from 1.
    pub bitmap: u32,
    /// IP protocol number.
    pub protocol: u8,
    /// High byte of the port.
    pub chunk: u8,
    /// Zero.
    pub pad: [u8; 2],
}

/// Value of `port_chunks`: port `chunk << 8 | n` is bit `n % 64` of word `n / 64`.
///
/// A chunk without a set bit has no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PortChunk {
    /// The key again: the kernel recycles elements while a program reads them.
    pub key: PortChunkKey,
    /// The ports.
    pub bits: [u64; 4],
}

plain!(PortRange, PortSet, PortChunkKey, PortChunk);

const _: () = assert!(size_of::<PortRange>() == 6);
const _: () = assert!(size_of::<PortSet>() == 36);
const _: () = assert!(size_of::<PortChunkKey>() == 8);
const _: () = assert!(size_of::<PortChunk>() == 40);
