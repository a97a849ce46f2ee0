//! One form for the addresses of both families.

use core::net::IpAddr;

/// An address of either family: IPv6 as it is, IPv4 as `::ffff:a.b.c.d` (RFC 4291, 2.5.5.2).
///
/// An IPv6 packet that carries a mapped address on the wire is dropped before any look-up, so that
/// no packet can be mistaken for one of the other family.
pub type Address = [u8; 16];

/// The first twelve bytes of an IPv4 address in its mapped form.
pub const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// Length in bits of the prefix that all mapped IPv4 addresses share.
pub const MAPPED_BITS: u32 = 96;

/// An address in this form.
#[must_use]
#[inline]
pub const fn in_one_form(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => mapped(address.octets()),
        IpAddr::V6(address) => address.octets(),
    }
}

/// Puts an IPv4 address, in network byte order, into its mapped form.
#[must_use]
#[inline]
pub const fn mapped(address: [u8; 4]) -> Address {
    let [a, b, c, d] = address;
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}
