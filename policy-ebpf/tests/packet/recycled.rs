//! An element that the kernel recycles under a reader shows another key, and is not believed.

use policy_common::{
    allow::{PortChunk, PortChunkKey, PortSet},
    drops::Reason,
    endpoint::Endpoint,
    frontend::{Frontend, FrontendKey},
    identity::Identity,
};

use crate::{
    craft::{Ends, Flags, OUT, OUT_V6, PEER, TCP, tcp, udp},
    rig::{IFINDEX, Isolated, POD4, Rig, SLOT, bytes, everything, ports},
};

const DENIED: Option<Reason> = Some(Reason::NoRule);

#[test]
fn a_flow_of_another_key_is_none() {
    for ends in [OUT, OUT_V6] {
        let mut rig = Rig::new(Isolated::Both);
        rig.allow(&[ports(0, &[(17, 80, 80)])]);
        rig.sent(&udp(ends));
        rig.recycle_flows();
        assert_eq!(rig.received(&udp(ends.back())), DENIED);
    }
}

#[test]
fn an_endpoint_of_another_interface_is_none() {
    let mut rig = Rig::dropping_unknown();
    let other =
        Endpoint { ifindex: IFINDEX + 1, slot: SLOT, address4: POD4, ..Endpoint::default() };
    rig.put("endpoints", IFINDEX, other);
    assert_eq!(rig.sent(&udp(OUT)), Some(Reason::UnknownEndpoint));
}

#[test]
fn an_identity_of_another_address_is_none() {
    let mut rig = Rig::new(Isolated::Egress);
    rig.allow(&[everything(6)]);
    rig.put("identities", bytes(PEER), Identity { address: bytes("10.244.1.11"), identity: 6 });
    assert_eq!(rig.sent(&udp(OUT)), DENIED);
}

#[test]
fn a_port_set_of_another_identity_is_none() {
    let mut rig = Rig::new(Isolated::Egress);
    rig.identity(PEER, 6);
    rig.content_of([(6, everything(7))]);
    assert_eq!(rig.sent(&udp(OUT)), DENIED);
    rig.content_of([(0, everything(7))]);
    assert_eq!(rig.sent(&udp(OUT)), DENIED, "nor as the default entry");
}

#[test]
fn a_frontend_of_another_key_is_none_and_its_entry_of_another_identity_refuses() {
    let service = Ends { destination: "10.96.0.1", destination_port: 443, ..OUT };
    let key = FrontendKey { address: bytes("10.96.0.1"), port: [1, 187], protocol: TCP, pad: 0 };
    for other in [
        FrontendKey { address: bytes("10.96.0.2"), ..key },
        FrontendKey { port: [1, 188], ..key },
        FrontendKey { protocol: 17, ..key },
    ] {
        let mut rig = Rig::new(Isolated::Egress);
        rig.allow(&[PortSet { identity: 9, ..PortSet::default() }]);
        rig.put("frontends", key, Frontend { key: other, identity: 9 });
        assert_eq!(rig.sent(&tcp(service, Flags::Syn)), DENIED, "judged by its address");
    }
    let mut rig = Rig::new(Isolated::Egress);
    rig.put("frontends", key, Frontend { key, identity: 9 });
    rig.content_of([(9, PortSet { identity: 8, ..PortSet::default() })]);
    assert_eq!(rig.sent(&tcp(service, Flags::Syn)), Some(Reason::ServiceDenied));
    rig.content_of([(0, everything(8))]);
    assert_eq!(rig.sent(&tcp(service, Flags::Syn)), Some(Reason::ServiceDenied));
}

#[test]
fn a_port_chunk_of_another_key_is_none() {
    let key = PortChunkKey { bitmap: 5, protocol: TCP, chunk: 0, pad: [0; 2] };
    for other in [
        PortChunkKey { bitmap: 6, ..key },
        PortChunkKey { protocol: 17, ..key },
        PortChunkKey { chunk: 1, ..key },
    ] {
        let mut rig = Rig::new(Isolated::Egress);
        rig.allow(&[PortSet { bitmap: 5, ..PortSet::default() }]);
        rig.put("port_chunks", key, PortChunk { key: other, bits: [u64::MAX; 4] });
        assert_eq!(rig.sent(&tcp(OUT, Flags::Syn)), DENIED);
    }
}
