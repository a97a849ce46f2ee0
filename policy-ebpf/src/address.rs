//! Addresses in the form that the programs compute with.

use core::mem;

use policy_common::address::Address;

/// An address of either family in the form of `policy_common::address`, as two words.
///
/// Words, because a comparison of bytes would take sixteen loads, and because subprograms take
/// scalars only.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Ip {
    /// The first eight bytes, in memory order.
    pub(crate) high: u64,
    /// The last eight bytes, in memory order.
    pub(crate) low: u64,
}

/// `::`.
pub(crate) const UNSPECIFIED: Ip = Ip { high: 0, low: 0 };

/// The first four bytes of the last eight of a mapped IPv4 address.
pub(crate) const MAPPED_WORD: u32 = u32::from_be(0xffff);

impl Ip {
    /// From the form of the maps.
    #[inline(always)]
    pub(crate) fn new(address: Address) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address;
        Self {
            high: u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            low: u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
        }
    }

    /// From an IPv4 address.
    #[inline(always)]
    pub(crate) fn mapped(address: [u8; 4]) -> Self {
        let address = u32::from_ne_bytes(address);
        Self { high: 0, low: u64::from(MAPPED_WORD) | u64::from(address) << 32 }
    }

    /// To the form of the maps.
    #[inline(always)]
    pub(crate) fn bytes(self) -> Address {
        // SAFETY: two words are sixteen bytes, in memory order here; taken apart and put together they
        // would be written byte by byte.
        unsafe { mem::transmute::<[u64; 2], Address>([self.high, self.low]) }
    }

    /// The IPv4 address of a mapped one.
    #[inline(always)]
    pub(crate) fn bytes4(self) -> [u8; 4] {
        ((self.low >> 32) as u32).to_ne_bytes()
    }

    /// An IPv4 address.
    #[inline(always)]
    pub(crate) fn is_mapped(self) -> bool {
        self.high == 0 && self.low as u32 == MAPPED_WORD
    }

    /// The first two bytes.
    #[inline(always)]
    fn head(self) -> u16 {
        u16::from_be(self.high as u16)
    }

    /// `fe80::/10`.
    #[inline(always)]
    pub(crate) fn is_link_local6(self) -> bool {
        self.head() & 0xffc0 == 0xfe80
    }

    /// `ff00::/8`.
    #[inline(always)]
    pub(crate) fn is_multicast6(self) -> bool {
        self.head() & 0xff00 == 0xff00
    }

    /// `ff02::/16`, multicast that stays on the link.
    #[inline(always)]
    pub(crate) fn is_link_multicast6(self) -> bool {
        self.head() & 0xff0f == 0xff02
    }

    /// Multicast of either family, or the IPv4 limited broadcast.
    #[inline(always)]
    pub(crate) fn is_group(self) -> bool {
        let [first, second, third, fourth] = self.bytes4();
        self.is_multicast6()
            || (self.is_mapped()
                && (first & 0xf0 == 0xe0 || first & second & third & fourth == 0xff))
    }
}
