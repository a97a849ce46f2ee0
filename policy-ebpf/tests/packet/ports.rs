//! Port sets: ranges, whole protocols, bitmaps.

use policy_common::{
    allow::{PortChunk, PortChunkKey, PortSet, every},
    drops::Reason,
};

use crate::{
    craft::{Flags, OUT, SCTP, TCP, UDP, ip, sctp, tcp, udp},
    rig::{Isolated, Rig, everything, ports},
};

const DENIED: Option<Reason> = Some(Reason::NoRule);

#[test]
fn s22_a_range_includes_both_its_ends() {
    let mut rig = Rig::new(Isolated::Both);
    rig.allow(&[ports(0, &[(TCP, 8000, 8999), (UDP, 53, 53), (TCP, 0, 0), (TCP, 65535, 65535)])]);
    #[rustfmt::skip]
    let cases = [
        // claim                          port   verdict
        ("below the range",               7999,  DENIED),
        ("the first",                     8000,  None),
        ("the last",                      8999,  None),
        ("above the range",               9000,  DENIED),
        ("of another protocol's range",   53,    DENIED),
        ("the highest of all",            65535, None),
        ("the lowest of all",             0,     None),
    ];
    for (claim, port, verdict) in cases {
        assert_eq!(rig.sent(&tcp(OUT.at(port), Flags::Syn)), verdict, "{claim}");
    }
}

#[test]
fn s25_tcp_udp_and_sctp_are_distinct() {
    for (protocol, bit) in [(TCP, every::TCP), (UDP, every::UDP), (SCTP, every::SCTP)] {
        for set in
            [ports(0, &[(protocol, 80, 80)]), PortSet { protocols: bit, ..PortSet::default() }]
        {
            let mut rig = Rig::new(Isolated::Both);
            rig.allow(&[set]);
            let verdict = |own| if own == protocol { None } else { DENIED };
            assert_eq!(rig.sent(&tcp(OUT, Flags::Syn)), verdict(TCP));
            assert_eq!(rig.sent(&udp(OUT)), verdict(UDP));
            assert_eq!(rig.sent(&sctp(OUT, 1)), verdict(SCTP));
        }
    }
}

#[test]
fn s21_a_rule_without_ports_allows_every_protocol() {
    let gre_like = ip(OUT.source, OUT.destination, 64, 99, &[0; 8]);
    let mut rig = Rig::new(Isolated::Both);
    rig.allow(&[PortSet {
        protocols: every::TCP | every::UDP | every::SCTP,
        ..PortSet::default()
    }]);
    assert_eq!(rig.sent(&gre_like), DENIED, "every port of three protocols is not every protocol");
    rig.allow(&[everything(0)]);
    assert_eq!(rig.sent(&gre_like), None);
    assert_eq!(rig.sent(&tcp(OUT, Flags::Syn)), None);
}

#[test]
fn s51_what_has_no_ports_passes_beside_a_denied_port() {
    let gre_like = ip(OUT.source, OUT.destination, 64, 99, &[0; 8]);
    let mut rig = Rig::new(Isolated::Both);
    let but_http =
        PortSet { protocols: every::OTHER | every::UDP, ..ports(0, &[(TCP, 81, 65535)]) };
    rig.allow(&[but_http]);
    assert_eq!(rig.sent(&gre_like), None);
    assert_eq!(rig.sent(&tcp(OUT.at(81), Flags::Syn)), None);
    assert_eq!(rig.sent(&tcp(OUT.at(80), Flags::Syn)), DENIED);
    assert_eq!(rig.sent(&sctp(OUT, 1)), DENIED);
}

#[test]
fn s26_a_bitmap_holds_any_number_of_ports() {
    let mut rig = Rig::new(Isolated::Both);
    let key = PortChunkKey { bitmap: 5, protocol: TCP, chunk: 0x1f, pad: [0; 2] };
    // Ports 0x1f00, 0x1f40 and 0x1fff.
    rig.port_chunk(PortChunk { key, bits: [1, 1, 0, 1 << 63] });
    rig.allow(&[PortSet { bitmap: 5, ..ports(0, &[(TCP, 22, 22)]) }]);
    for (port, verdict) in [
        (0x1f00, None),
        (0x1f40, None),
        (0x1fff, None),
        (22, None),
        (0x1f01, DENIED),
        (0x2000, DENIED),
    ] {
        assert_eq!(rig.sent(&tcp(OUT.at(port), Flags::Syn)), verdict, "port {port:#x}");
    }
    assert_eq!(rig.sent(&udp(OUT.at(0x1f00))), DENIED, "the bitmap of another protocol");
}

#[test]
fn s26_a_missing_allow_map_drops() {
    let mut rig = Rig::new(Isolated::Both);
    rig.no_content();
    assert_eq!(rig.sent(&udp(OUT)), Some(Reason::MissingAllowMap));
}
