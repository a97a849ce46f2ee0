//! Whether one selector, peer or port allows everything that another one allows.
//!
//! Each function compares the form of two values and returns `true` only where the answer holds in
//! every cluster; `false` means "not proven". `wide` is always the one that may cover `narrow`.

use crate::{
    compile::contains,
    model::{IpBlock, Labels, Operator, Peer, Port, PortSpec, Requirement, Selector},
};

/// Peers of one policy; `own` are the labels of its namespace.
pub(in super::super) fn peer(own: &Labels, wide: &Peer, narrow: &Peer) -> bool {
    match (wide, narrow) {
        (
            Peer::Pods { namespaces: wide_in, pods: wide },
            Peer::Pods { namespaces: narrow_in, pods: narrow },
        ) => {
            let namespaces = match (wide_in, narrow_in) {
                (None, None) => true,
                (None, Some(_)) => false,
                (Some(wide), Some(narrow)) => selector(wide, narrow),
                (Some(wide), None) => wide.matches(own),
            };
            namespaces && selector(wide, narrow)
        }
        (Peer::Block(wide), Peer::Block(narrow)) => block(wide, narrow),
        (Peer::Pods { .. } | Peer::Block(_), _) => false,
    }
}

/// Selectors: `wide` covers `narrow` if each requirement of `wide` follows from one of `narrow`.
///
/// `app In (a, b)` covers `app In (a), tier Exists`: `app In (a)` implies `app In (a, b)`, and what
/// else `narrow` requires only narrows it further. An empty selector covers every one.
pub(in super::super) fn selector(wide: &Selector, narrow: &Selector) -> bool {
    wide.requirements.iter().all(|required| {
        let mut given = narrow.requirements.iter();
        given.any(|given| given.key == required.key && implies(given, required))
    })
}

/// Whether all labels that meet `given` also meet `required`, which is on the same key.
fn implies(given: &Requirement, required: &Requirement) -> bool {
    use Operator::{DoesNotExist, Exists, In, NotIn};
    match (&given.operator, &required.operator) {
        (In(given), In(required)) => given.is_subset(required),
        (In(given), NotIn(required)) => !given.iter().any(|value| required.contains(value)),
        (NotIn(given), NotIn(required)) => required.is_subset(given),
        (In(_) | Exists, Exists) | (DoesNotExist, NotIn(_) | DoesNotExist) => true,
        (In(_), DoesNotExist)
        | (NotIn(_), In(_) | Exists | DoesNotExist)
        | (Exists, In(_) | NotIn(_) | DoesNotExist)
        | (DoesNotExist, In(_) | Exists) => false,
    }
}

/// Blocks: each except of `wide` must lie outside of `narrow`, or inside one of its excepts.
///
/// 10.0.0.0/8 except 10.1.2.0/24 covers 10.1.0.0/16 except 10.1.2.0/23, as the addresses that the
/// wide one lacks are not in the narrow one either. It does not cover 10.1.0.0/16.
pub(in super::super) fn block(wide: &IpBlock, narrow: &IpBlock) -> bool {
    contains(wide.cidr, narrow.cidr)
        && wide.except.iter().all(|hole| {
            let apart = !contains(*hole, narrow.cidr) && !contains(narrow.cidr, *hole);
            apart || narrow.except.iter().any(|inner| contains(*inner, *hole))
        })
}

/// Lists of ports; an empty one is every port.
pub(in super::super) fn ports(wide: &[Port], narrow: &[Port]) -> bool {
    if wide.is_empty() || narrow.is_empty() {
        return wide.is_empty();
    }
    narrow.iter().all(|narrow| wide.iter().any(|wide| port(wide, narrow)))
}

fn port(wide: &Port, narrow: &Port) -> bool {
    let numbers = match (&wide.port, &narrow.port) {
        (PortSpec::Every, _) => true,
        (PortSpec::Range { first, last }, PortSpec::Range { first: low, last: high }) => {
            first <= low && high <= last
        }
        (wide, narrow) => wide == narrow,
    };
    wide.protocol == narrow.protocol && numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_of(cidr: &str, except: &[&str]) -> IpBlock {
        let parsed = |text: &str| text.parse().expect("a block");
        IpBlock { cidr: parsed(cidr), except: except.iter().copied().map(parsed).collect() }
    }

    #[test]
    fn a_block_covers_another_if_none_of_its_holes_is_in_it() {
        let wide = block_of("10.0.0.0/8", &["10.1.2.0/24"]);
        #[rustfmt::skip]
        let cases = [
            ("without the hole",        block_of("10.2.0.0/16", &[]),              true),
            ("with the hole",           block_of("10.1.0.0/16", &[]),              false),
            ("with a hole around it",   block_of("10.1.0.0/16", &["10.1.2.0/23"]), true),
            ("with a hole in it",       block_of("10.1.0.0/16", &["10.1.2.0/25"]), false),
            ("in the hole",             block_of("10.1.2.0/28", &[]),              false),
            ("wider",                   block_of("0.0.0.0/0", &[]),                false),
        ];
        for (claim, narrow, want) in cases {
            assert_eq!(block(&wide, &narrow), want, "{claim}");
        }
    }
}
