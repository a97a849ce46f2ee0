//! Sets of ports, as every command prints them.

use std::fmt;

use policy_core::{desired::Ports, model::Protocol};
use serde::{Serialize, Serializer, ser::SerializeMap};

/// A set of ports, with the words for it. Port 0 is not in it: nothing connects to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PortSet(Ports);

impl PortSet {
    /// The set without port 0.
    pub(crate) fn new(mut ports: Ports) -> Self {
        ports.ranges.retain(|(.., last)| *last > 0);
        for (_, first, _) in &mut ports.ranges {
            *first = (*first).max(1);
        }
        Self(ports)
    }

    /// The set itself.
    pub(crate) fn into_ports(self) -> Ports {
        self.0
    }

    /// Whether it holds nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `all`, `none`, or as `TCP 80, 443-445; UDP; other protocols`: a protocol alone has all its ports.
impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.every_protocol {
            return f.write_str("all");
        }
        let of = |protocol: Protocol| {
            let ranges = self.0.ranges.iter().filter(|(one, ..)| *one == protocol);
            match ranges.collect::<Vec<_>>().as_slice() {
                [] => None,
                [(_, 1, u16::MAX)] => Some(protocol.to_string()),
                ranges => {
                    let words = ranges.iter().map(|(_, first, last)| range(*first, *last));
                    Some(format!("{protocol} {}", words.collect::<Vec<_>>().join(", ")))
                }
            }
        };
        let mut parts: Vec<String> = Protocol::ALL.into_iter().filter_map(of).collect();
        parts.extend(self.0.other_protocols.then(|| "other protocols".to_owned()));
        f.write_str(&if parts.is_empty() { "none".to_owned() } else { parts.join("; ") })
    }
}

fn range(first: u16, last: u16) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

/// `{"all", "other_protocols", "ranges": [{"protocol", "first", "last"}]}`.
impl Serialize for PortSet {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct PortRange {
            protocol: &'static str,
            first: u16,
            last: u16,
        }
        let range = |&(protocol, first, last): &(Protocol, u16, u16)| PortRange {
            protocol: protocol.name(),
            first,
            last,
        };
        let mut map = to.serialize_map(Some(3))?;
        map.serialize_entry("all", &self.0.every_protocol)?;
        map.serialize_entry("other_protocols", &self.0.contains_other_protocols())?;
        map.serialize_entry("ranges", &self.0.ranges.iter().map(range).collect::<Vec<_>>())?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use policy_core::model::Protocol::{Sctp, Tcp, Udp};

    use super::*;

    #[test]
    fn sets_of_ports_have_short_words() {
        let of = |ranges: &[(Protocol, u16, u16)]| Ports::from_ranges(ranges.iter().copied());
        let web = of(&[(Tcp, 80, 80), (Tcp, 443, 445), (Udp, 0, 65535)]);
        #[rustfmt::skip]
        let cases = [
            (Ports::everything(),                       "all"),
            (Ports::default(),                          "none"),
            (web.clone(),                               "TCP 80, 443-445; UDP"),
            (Ports::everything().without(&of(&[(Sctp, 0, 65535)])), "TCP; UDP; other protocols"),
            (of(&[(Tcp, 0, 9)]),                        "TCP 1-9"),
            (of(&[(Tcp, 1, 65535)]),                    "TCP"),
            (of(&[(Tcp, 0, 0), (Udp, 0, 0)]),           "none"),
            (of(&[(Tcp, 0, 0), (Tcp, 5, 5)]),           "TCP 5"),
        ];
        for (ports, want) in cases {
            assert_eq!(PortSet::new(ports).to_string(), want);
        }
    }
}
