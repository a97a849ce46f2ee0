//! Parsers: from the bytes of a frame to a [`Packet`](ip::Packet), or a [`Quotation`](quote::Quotation)
//! for the packet that an ICMP error quotes.
//!
//! They read through [`Bytes`] alone, look nothing up, and decide nothing.

pub(crate) mod headers;
pub(crate) mod ip;
pub(crate) mod quote;
pub(crate) mod transport;

use headers::Upper;

/// Bytes of an Ethernet header.
pub(crate) const ETHER_LENGTH: usize = 14;

/// The bytes of a frame, from the Ethernet header.
pub(crate) trait Bytes {
    /// Loads a value; `None` if the frame ends before its last byte.
    fn load<T>(&self, offset: usize) -> Option<T>;

    /// Loads a value to its place; `None` as for `load`. The value takes no stack.
    fn load_to<T>(&self, offset: usize, place: &mut T) -> Option<()>;

    /// Bytes of the frame.
    fn length(&self) -> u32;

    /// [`headers::walk4`], which a program calls as a subprogram.
    fn walk4(&self, header_length: u32, protocol: u8) -> Upper;

    /// [`headers::walk6`], which a program calls as a subprogram.
    fn walk6(&self, offset: u32, protocol: u8) -> Upper;
}
