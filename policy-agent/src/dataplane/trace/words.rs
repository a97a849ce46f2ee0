//! Names in place of the numbers in the lines of the tracing programs.
//!
//! ```text
//! verdict: dropped, reason 1   → verdict: dropped, reason no-rule
//! packet: to ::ffff:10.0.0.2 … → packet: to 10.0.0.2 …
//! ```

use policy_common::{
    drops::Reason,
    flow::Initiator,
    protocol::{ICMP, ICMPV6, SCTP, TCP, UDP},
};

/// A line with names.
pub(super) fn named(line: &str) -> String {
    let mut before = "";
    let words = line.split(' ').map(|word| {
        let (number, comma) = word.strip_suffix(',').map_or((word, ""), |number| (number, ","));
        let named = match number.parse().ok().and_then(|number| name(before, number)) {
            Some(name) => format!("{name}{comma}"),
            None => word.strip_prefix("::ffff:").unwrap_or(word).to_owned(),
        };
        before = word;
        named
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The name of a number after a word.
fn name(before: &str, number: u8) -> Option<&'static str> {
    match before {
        "reason" => Reason::from_number(number).map(Reason::name),
        "initiator" => Some(match Initiator::from_number(number) {
            Initiator::Local => "the pod",
            Initiator::Remote => "the far end",
            Initiator::Node => "a process of the node",
            Initiator::Either => "not known",
        }),
        "protocol" => match number {
            ICMP => Some("ICMP"),
            TCP => Some("TCP"),
            UDP => Some("UDP"),
            ICMPV6 => Some("ICMPv6"),
            SCTP => Some("SCTP"),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn numbers_of_protocols_reasons_and_initiators_have_names() {
        #[rustfmt::skip]
        let cases = [
            ("verdict: dropped, reason 1",               "verdict: dropped, reason no-rule"),
            ("packet: from the pod, protocol 6, epoch 3", "packet: from the pod, protocol TCP, epoch 3"),
            ("port set: protocol 17 from port 1 to 6",   "port set: protocol UDP from port 1 to 6"),
            ("packet: to ::ffff:10.0.0.2 port 6",        "packet: to 10.0.0.2 port 6"),
            ("packet: to fd00::2 port 6",                "packet: to fd00::2 port 6"),
            ("flow: known, initiator 1",                 "flow: known, initiator the pod"),
            ("protocol 99",                              "protocol 99"),
        ];
        for (line, want) in cases {
            assert_eq!(named(line), want);
        }
    }
}
