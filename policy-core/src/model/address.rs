//! Arithmetic of addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address after one; `None` after the last of its family.
#[must_use]
pub(crate) fn address_after(address: IpAddr) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(address) => Ipv4Addr::from(u32::from(address).checked_add(1)?).into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address).checked_add(1)?).into(),
    })
}
