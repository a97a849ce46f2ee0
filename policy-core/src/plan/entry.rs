//! Entries of allow maps: from the compiler's form ([`Ports`]) to the kernel's ([`PortSet`]), and
//! back.
//!
//! A `PortSet` has bits for whole protocols and room for `INLINE_RANGES` ranges of ports. An entry
//! with more ranges has its ports in a bitmap instead, in chunks of 256 ports:
//!
//! ```text
//! all UDP, TCP 80, TCP 443     protocols = UDP, ranges = [TCP 80, TCP 443], no bitmap
//! TCP 80, 100, 200, 300, 400   bitmap: (TCP, chunk 0) has bits 80, 100, 200; (TCP, chunk 1) has 44, 144
//! ```

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use policy_common::{
    address::in_one_form,
    allow::{DEFAULT_IDENTITY, INLINE_RANGES, PortChunk, PortChunkKey, PortRange, PortSet, every},
    backend::{Backend, BackendKey},
    drops::Reason,
};

use crate::{desired::ServiceBackends, model::Protocol, ports::Ports};

/// Chunks of a port bitmap, by protocol number and high byte.
pub(super) type Bitmap = BTreeMap<(u8, u8), [u64; 4]>;

/// The value of an allow map for one identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AllowEntry {
    /// For an identity of addresses: the ports that pass.
    pub(super) ports: Ports,
    /// For an identity of frontends: what happens to a new connection; `None` where it passes.
    pub(super) limit: Option<Limit>,
}

/// What keeps connections to frontends from all of their backends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Limit {
    /// They are refused.
    Refuse(Reason),
    /// They go to one of these.
    Some(ServiceBackends),
}

/// A list of backends, by place.
pub(super) type BackendList = BTreeMap<u32, Backend>;

/// The entries of an allow map, by identity.
pub(super) type Entries = BTreeMap<u32, AllowEntry>;

static NOTHING: Ports = Ports { every_protocol: false, other_protocols: false, ranges: Vec::new() };

/// The ports of an identity of addresses: its own entry, else the default one, else none.
pub(super) fn ports_of(entries: &Entries, identity: u32) -> &Ports {
    let entry = entries.get(&identity).or_else(|| entries.get(&DEFAULT_IDENTITY));
    entry.map_or(&NOTHING, |entry| &entry.ports)
}

/// The entries of an allow map of the kernel; one that is missing passes nothing.
pub(super) fn of_allow_map(allow_maps: &BTreeMap<u32, Entries>, allow_map: u32) -> &Entries {
    static EMPTY: Entries = Entries::new();
    allow_maps.get(&allow_map).unwrap_or(&EMPTY)
}

/// What limits frontends of an identity. Without an entry they pass only if the default
/// entry allows every protocol.
pub(super) fn limit_of(entries: &Entries, identity: u32) -> Option<&Limit> {
    static DENIED: Limit = Limit::Refuse(Reason::ServiceDenied);
    match entries.get(&identity) {
        Some(entry) => entry.limit.as_ref(),
        None if ports_of(entries, DEFAULT_IDENTITY).every_protocol => None,
        None => Some(&DENIED),
    }
}

const WHOLE: [(Protocol, u8); 3] =
    [(Protocol::Tcp, every::TCP), (Protocol::Udp, every::UDP), (Protocol::Sctp, every::SCTP)];

/// The kernel's form of an entry, and the bitmap that it needs, if any. The caller gives bitmaps and
/// lists of backends an id and writes it into the set.
pub(super) fn encode(identity: u32, entry: &AllowEntry) -> (PortSet, Option<Bitmap>) {
    let refusal = match &entry.limit {
        None => 0,
        Some(Limit::Refuse(reason)) => *reason as u8,
        Some(Limit::Some(_)) => Reason::ServicePartlyDenied as u8,
    };
    let mut set = PortSet { identity, refusal, ..PortSet::default() };
    if entry.ports.every_protocol {
        set.protocols = every::PROTOCOL;
        return (set, None);
    }
    if entry.ports.other_protocols {
        set.protocols = every::OTHER;
    }
    let mut rest = Vec::new();
    for &(protocol, first, last) in &entry.ports.ranges {
        // A whole protocol is one bit, and leaves the ranges to others.
        let whole = (first, last) == (0, u16::MAX);
        match WHOLE.iter().find(|(known, _)| whole && *known == protocol) {
            Some((_, bit)) => set.protocols |= bit,
            None => rest.push(PortRange { protocol: protocol.number(), pad: 0, first, last }),
        }
    }
    // All or none, so that equal entries have one form.
    if rest.len() > INLINE_RANGES {
        return (set, Some(bitmap(&rest)));
    }
    for (place, range) in set.ranges.iter_mut().zip(rest) {
        *place = range;
    }
    (set, None)
}

fn bitmap(ranges: &[PortRange]) -> Bitmap {
    let mut chunks = Bitmap::new();
    for range in ranges {
        for port in range.first..=range.last {
            let [chunk, low] = port.to_be_bytes();
            let bits = chunks.entry((range.protocol, chunk)).or_default();
            bits[usize::from(low / 64)] |= 1 << (low % 64);
        }
    }
    chunks
}

/// The compiler's form of an entry.
pub(super) fn decode(
    set: &PortSet,
    bitmaps: &BTreeMap<u32, Bitmap>,
    lists: &BTreeMap<u32, BackendList>,
) -> AllowEntry {
    let limit = limit(set, lists);
    if set.backends != 0 {
        return AllowEntry { ports: Ports::default(), limit };
    }
    if set.protocols & every::PROTOCOL != 0 {
        let ports = Ports::everything();
        return AllowEntry { ports, limit };
    }
    let mut ranges = Vec::new();
    for (protocol, bit) in WHOLE {
        let of = |range: &&PortRange| range.protocol == protocol.number();
        let inline = set.ranges.iter().filter(of);
        ranges.extend(inline.map(|range| (protocol, range.first, range.last)));
        if set.protocols & bit != 0 {
            ranges.push((protocol, 0, u16::MAX));
        }
        for (&(number, chunk), bits) in bitmaps.get(&set.bitmap).into_iter().flatten() {
            let low =
                (0..=u8::MAX).filter(|low| bits[usize::from(low / 64)] >> (low % 64) & 1 != 0);
            let ports = low.map(|low| u16::from_be_bytes([chunk, low]));
            let ports = ports.filter(|_| number == protocol.number());
            ranges.extend(ports.map(|port| (protocol, port, port)));
        }
    }
    let other_protocols = set.protocols & every::OTHER != 0;
    let ports = Ports { other_protocols, ..Ports::from_ranges(ranges) };
    AllowEntry { ports, limit }
}

fn limit(set: &PortSet, lists: &BTreeMap<u32, BackendList>) -> Option<Limit> {
    let reason = Reason::from_number(set.refusal)?;
    if set.backends == 0 {
        return Some(Limit::Refuse(reason));
    }
    let list = lists.get(&set.bitmap).into_iter().flat_map(BTreeMap::values);
    let list = list.take(set.backends.into());
    let checks_frontend = list.clone().any(|backend| backend.checks_frontend != 0);
    let backends = list.map(|backend| {
        let address = Ipv6Addr::from(backend.address).to_canonical();
        (address, u16::from_be_bytes(backend.port))
    });
    Some(Limit::Some(ServiceBackends { backends: Arc::new(backends.collect()), checks_frontend }))
}

/// The places of a list of backends as map entries; no more than a port set can count.
pub(super) fn list(list: u32, service: &ServiceBackends) -> BackendList {
    let backends = (0..).zip(service.backends.iter()).take(usize::from(u16::MAX));
    let entry = |(place, (address, port)): (u32, &(IpAddr, u16))| {
        let (key, address) = (BackendKey { list, place }, in_one_form(*address));
        let (port, checks_frontend) = (port.to_be_bytes(), service.checks_frontend.into());
        (place, Backend { key, address, port, checks_frontend, pad: 0 })
    };
    backends.map(entry).collect()
}

/// The chunks of a bitmap as map entries.
pub(super) fn chunks(bitmap: u32, chunks: &Bitmap) -> impl Iterator<Item = PortChunk> + '_ {
    chunks.iter().map(move |(&(protocol, chunk), &bits)| PortChunk {
        key: PortChunkKey { bitmap, protocol, chunk, pad: [0; 2] },
        bits,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Protocol::{Sctp, Tcp, Udp};

    #[test]
    fn what_is_encoded_is_decoded() {
        let many = (0..300).map(|n| (Tcp, n * 7, n * 7 + 3));
        #[rustfmt::skip]
        let cases: [(&str, Ports, bool); 7] = [
            ("all but one port",      Ports::everything().without(&Ports::from_ranges([(Tcp, 80, 80)])), false),
            ("nothing",               Ports::default(),                                             false),
            ("everything",            Ports::everything(),                                          false),
            ("a whole protocol",      Ports::from_ranges([(Sctp, 0, 65535), (Tcp, 1, 1)]),           false),
            ("four ranges",           Ports::from_ranges((0..4).map(|n| (Udp, n * 9, n * 9 + 1))),   false),
            ("five ranges",           Ports::from_ranges((0..5).map(|n| (Udp, n * 9, n * 9 + 1))),   true),
            ("many, and a protocol",  Ports::from_ranges(many.chain([(Udp, 0, 65535)])),             true),
        ];
        for (claim, ports, beside) in cases {
            let entry = AllowEntry { ports, limit: None };
            let (mut set, bitmap) = encode(3, &entry);
            assert_eq!(bitmap.is_some(), beside, "{claim}");
            let mut bitmaps = BTreeMap::new();
            if let Some(bitmap) = bitmap {
                set.bitmap = 9;
                bitmaps.insert(9, bitmap);
            }
            assert_eq!(decode(&set, &bitmaps, &BTreeMap::new()), entry, "{claim}");
        }
    }
}
