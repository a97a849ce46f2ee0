//! Questions to addresses, whatever their family.

use policy_common::address::{Address, MAPPED};

/// `fe80::/10`.
#[inline(always)]
pub(crate) fn is_link_local6(address: &Address) -> bool {
    address[0] == 0xfe && address[1] & 0xc0 == 0x80
}

/// `ff02::/16`, multicast that stays on the link.
#[inline(always)]
pub(crate) fn is_link_multicast6(address: &Address) -> bool {
    address[0] == 0xff && address[1] & 0x0f == 0x02
}

/// An IPv4 address in its mapped form.
#[inline(always)]
pub(crate) fn is_mapped(address: &Address) -> bool {
    let mut difference = 0;
    for (byte, mapped) in address.iter().zip(MAPPED) {
        difference |= byte ^ mapped;
    }
    difference == 0
}

/// Multicast of either family, or the IPv4 limited broadcast.
#[inline(always)]
pub(crate) fn is_group(address: &Address) -> bool {
    address[0] == 0xff
        || (is_mapped(address)
            && (address[12] & 0xf0 == 0xe0
                || address[12] & address[13] & address[14] & address[15] == 0xff))
}

/// Whether two addresses are the same: a call of `memcmp` is none that the kernel knows.
#[inline(always)]
pub(crate) fn same(a: &Address, b: &Address) -> bool {
    let (a, b) = (u128::from_ne_bytes(*a), u128::from_ne_bytes(*b));
    a == b
}

/// An address as two scalars, for a subprogram.
#[inline(always)]
pub(crate) fn halves(address: &Address) -> (u64, u64) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *address;
    (
        u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
    )
}

/// An address from its two scalars.
#[inline(always)]
pub(crate) fn whole(high: u64, low: u64) -> Address {
    let ([a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]) =
        (high.to_ne_bytes(), low.to_ne_bytes());
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}
