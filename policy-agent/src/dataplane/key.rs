//! Conversions from the model to map keys.

use aya::maps::lpm_trie::Key;
use ipnetwork::IpNetwork;
use policy_common::{
    address::{Address, MAPPED_BITS, in_one_form, mapped},
    frontend::FrontendKey,
};
use policy_core::desired::Frontend;

/// A block in the form of the trie, IPv4 under the mapped prefix.
pub(super) fn block(block: IpNetwork) -> Key<Address> {
    let above = if block.is_ipv4() { MAPPED_BITS } else { 0 };
    Key::new(above + u32::from(block.prefix()), in_one_form(block.network()))
}

/// All of IPv4.
pub(super) const EVERY_IPV4: Key<Address> = Key::new(MAPPED_BITS, mapped([0; 4]));

/// The key of a frontend.
pub(super) fn frontend(frontend: &Frontend) -> FrontendKey {
    FrontendKey {
        address: in_one_form(frontend.address),
        port: frontend.port.to_be_bytes(),
        protocol: frontend.protocol.number(),
        pad: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s20_a_block_keeps_to_its_family() {
        #[rustfmt::skip]
        let cases = [
            ("0.0.0.0/0",       96,  [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]),
            ("10.1.2.0/24",     120, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 0]),
            ("10.1.2.3/24",     120, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 0]),
            ("::/0",            0,   [0; 16]),
            ("2001:db8::/32",   32,  [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ];
        for (text, bits, bytes) in cases {
            let key = block(text.parse().expect("a literal block"));
            assert_eq!((key.prefix_len(), key.data()), (bits, bytes), "{text}");
        }
    }
}
