//! Connections to Services of which the pod may reach some backends (S40).

use policy_common::{
    allow::PortSet,
    backend::{Backend, BackendKey},
    drops::Reason,
    flow::TRANSLATED,
};

use crate::{
    craft::{
        Ends, Flags, OUT, OUT_V6, POD, POD_V6, SCTP, TCP, UDP, fragment, icmp, sctp, tcp, udp,
        with_checksum,
    },
    rig::{Isolated, Rig, bytes, everything, ports},
};

const SERVICE: Ends<'static> = Ends { destination: "10.96.0.1", destination_port: 443, ..OUT };
const SERVICE_V6: Ends<'static> =
    Ends { destination: "fd00:10:96::1", destination_port: 443, ..OUT_V6 };
const BACKEND: Ends<'static> = Ends { destination: "10.244.1.7", destination_port: 8443, ..OUT };
const BACKEND_V6: Ends<'static> =
    Ends { destination: "fd00:10:244:1::7", destination_port: 8443, ..OUT_V6 };
const BOTH: [(Ends<'static>, Ends<'static>); 2] = [(SERVICE, BACKEND), (SERVICE_V6, BACKEND_V6)];

/// The list of backends in the allow map.
const LIST: u32 = 5;

impl Rig {
    /// Writes lists of backends: the frontends of identity 9 lead to these.
    fn lead_to(&mut self, backends: &[(&str, u16)], checks_frontend: u8) -> PortSet {
        for (place, (address, port)) in (0..).zip(backends) {
            let key = BackendKey { list: LIST, place };
            let (address, port) = (bytes(address), port.to_be_bytes());
            self.put("backends", key, Backend { key, address, port, checks_frontend, pad: 0 });
        }
        PortSet {
            identity: 9,
            refusal: Reason::ServicePartlyDenied as u8,
            bitmap: LIST,
            backends: u16::try_from(backends.len()).unwrap(),
            ..PortSet::default()
        }
    }
}

/// A Service in each family, of which the pod may reach one backend: identity 4, at port 8443.
fn rig(service: Ends<'_>, backend: Ends<'_>) -> Rig {
    let mut rig = Rig::new(Isolated::Both);
    for protocol in [TCP, UDP, SCTP] {
        rig.frontend(service.destination, service.destination_port, protocol, 9);
    }
    rig.identity(backend.destination, 4);
    let choice = rig.lead_to(&[(backend.destination, backend.destination_port)], 0);
    rig.allow(&[choice, allowed()]);
    rig
}

/// What the backend's identity may be reached at.
fn allowed() -> PortSet {
    ports(4, &[(TCP, 8443, 8443), (UDP, 8443, 8443), (SCTP, 443, 443)])
}

/// A packet of each protocol with a checksum.
fn packets(ends: Ends<'_>) -> [Vec<u8>; 2] {
    [with_checksum(tcp(ends, Flags::Syn)), with_checksum(udp(ends))]
}

#[test]
fn s40_a_connection_goes_to_the_allowed_backend_and_back() {
    for (service, backend) in BOTH {
        for kind in 0..2 {
            let mut rig = rig(service, backend);
            let there = |ends| packets(ends)[kind].clone();
            let (verdict, sent) = rig.sent_as(&there(service));
            assert_eq!((verdict, sent), (None, there(backend)), "the first packet");
            let back = |ends: Ends<'_>| match kind {
                0 => with_checksum(tcp(ends.back(), Flags::SynAck)),
                _ => with_checksum(udp(ends.back())),
            };
            let (verdict, received) = rig.received_as(&back(backend));
            assert_eq!((verdict, received), (None, back(service)), "the answer");
            let next = |ends: Ends<'_>| match kind {
                0 => with_checksum(tcp(ends, Flags::Ack)),
                _ => with_checksum(udp(ends)),
            };
            // Neither a long silence after a reply nor a new epoch changes where it goes.
            let (verdict, sent) = rig.sent_as(&next(service));
            assert_eq!((verdict, sent), (None, next(backend)), "the next packet");
            rig.epoch(2);
            let (verdict, sent) = rig.sent_as(&next(service));
            assert_eq!((verdict, sent), (None, next(backend)), "after a new epoch");
            let (verdict, received) = rig.received_as(&back(backend));
            assert_eq!((verdict, received), (None, back(service)), "an answer after that");
        }
    }
}

#[test]
fn s40_a_udp_checksum_of_zero_stays_zero() {
    let mut rig = rig(SERVICE, BACKEND);
    let (verdict, sent) = rig.sent_as(&udp(SERVICE));
    assert_eq!((verdict, sent), (None, udp(BACKEND)));
}

#[test]
fn s40_sctp_goes_to_a_backend_at_the_same_port_only() {
    for (service, backend) in BOTH {
        let mut rig = rig(service, backend);
        assert_eq!(rig.sent(&sctp(service, 1)), Some(Reason::ServicePartlyDenied));
        let (_, _, new4, new6) = rig.flows();
        assert_eq!(new4.len() + new6.len(), 0, "a denied packet creates no flow");
        let choice = rig.lead_to(&[(backend.destination, 443)], 0);
        rig.allow(&[choice, allowed()]);
        let (verdict, sent) = rig.sent_as(&sctp(service, 1));
        assert_eq!((verdict, sent), (None, sctp(backend.at(443), 1)));
        let (verdict, received) = rig.received_as(&sctp(backend.at(443).back(), 2));
        assert_eq!((verdict, received), (None, sctp(service.back(), 2)));
    }
}

#[test]
fn s40_connections_spread_over_the_allowed_backends_and_each_stays() {
    for (service, backend) in BOTH {
        let mut rig = rig(service, backend);
        let is_six = service.destination.contains(':');
        let all: Vec<String> = (1..=4)
            .map(|n| if is_six { format!("fd00:10:244:2::{n}") } else { format!("10.244.2.{n}") })
            .collect();
        let list: Vec<(&str, u16)> = all.iter().map(|address| (&**address, 8443)).collect();
        for address in &all {
            rig.identity(address, 4);
        }
        let choice = rig.lead_to(&list, 0);
        rig.allow(&[choice, allowed()]);
        let mut counts = [0; 4];
        for source_port in 40_000..40_200 {
            let from = |ends| Ends { source_port, ..ends };
            let (verdict, sent) = rig.sent_as(&with_checksum(tcp(from(service), Flags::Syn)));
            assert_eq!(verdict, None);
            let to = |n: usize| from(Ends { destination: list[n].0, ..backend });
            let place = (0..4).find(|n| sent == with_checksum(tcp(to(*n), Flags::Syn)));
            counts[place.expect("one of the list")] += 1;
            let (_, again) = rig.sent_as(&with_checksum(tcp(from(service), Flags::Syn)));
            assert_eq!(again, sent, "a SYN that is sent once more");
        }
        assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
    }
}

#[test]
fn s40_the_pod_itself_is_passed_over() {
    for ((service, backend), own) in BOTH.into_iter().zip([POD, POD_V6]) {
        let mut rig = rig(service, backend);
        let choice = rig.lead_to(&[(own, 8443), (backend.destination, 8443)], 0);
        rig.allow(&[choice, allowed()]);
        for source_port in 40_000..40_010 {
            let from = |ends| Ends { source_port, ..ends };
            let (_, sent) = rig.sent_as(&with_checksum(tcp(from(service), Flags::Syn)));
            assert_eq!(sent, with_checksum(tcp(from(backend), Flags::Syn)));
        }
        let choice = rig.lead_to(&[(own, 8443)], 0);
        rig.allow(&[choice, allowed()]);
        let other = Ends { source_port: 41_000, ..service };
        assert_eq!(rig.sent(&tcp(other, Flags::Syn)), Some(Reason::ServicePartlyDenied));
    }
}

#[test]
fn s29_a_backend_that_is_denied_meanwhile_gets_nothing_more() {
    for (service, backend) in BOTH {
        let mut rig = rig(service, backend);
        assert_eq!(rig.sent(&tcp(service, Flags::Syn)), None);
        assert_eq!(rig.received(&tcp(backend.back(), Flags::SynAck)), None);
        rig.allow(&[]);
        rig.epoch(2);
        assert_eq!(rig.sent(&tcp(service, Flags::Ack)), Some(Reason::Revoked));
        assert_eq!(rig.received(&tcp(backend.back(), Flags::Ack)), Some(Reason::Revoked));
    }
}

#[test]
fn s42_a_live_connection_keeps_its_backend_when_the_service_loses_it() {
    for (service, backend) in BOTH {
        let mut rig = rig(service, backend);
        assert_eq!(rig.sent(&tcp(service, Flags::Syn)), None);
        assert_eq!(rig.received(&tcp(backend.back(), Flags::SynAck)), None);
        let refusal = Reason::ServiceNoBackend as u8;
        rig.allow(&[PortSet { identity: 9, refusal, ..PortSet::default() }, allowed()]);
        rig.epoch(2);
        let (verdict, sent) = rig.sent_as(&with_checksum(tcp(service, Flags::Ack)));
        assert_eq!((verdict, sent), (None, with_checksum(tcp(backend, Flags::Ack))));
        assert_eq!(rig.sent(&tcp(service, Flags::Syn)), Some(Reason::ServiceNoBackend));
    }
}

#[test]
fn s40_datagrams_to_a_backend_that_is_denied_meanwhile_go_to_another() {
    for (service, backend) in BOTH {
        let mut rig = rig(service, backend);
        assert_eq!(rig.sent(&udp(service)), None);
        assert_eq!(rig.received(&udp(backend.back())), None);
        let is_six = service.destination.contains(':');
        let other = if is_six { "fd00:10:244:2::1" } else { "10.244.2.1" };
        rig.identity(backend.destination, 3);
        rig.identity(other, 4);
        let choice = rig.lead_to(&[(other, 8443)], 0);
        rig.allow(&[choice, allowed()]);
        rig.epoch(2);
        let (verdict, sent) = rig.sent_as(&with_checksum(udp(service)));
        let to = Ends { destination: other, ..backend };
        assert_eq!((verdict, sent), (None, with_checksum(udp(to))));
    }
}

#[test]
fn s40_the_frontends_own_address_counts_for_live_connections_too() {
    for (service, backend) in BOTH {
        let mut rig = rig(service, backend);
        rig.identity(service.destination, 6);
        let choice = rig.lead_to(&[(backend.destination, 8443)], 1);
        let frontend = ports(6, &[(TCP, 443, 443)]);
        rig.allow(&[choice, allowed(), frontend]);
        assert_eq!(rig.sent(&tcp(service, Flags::Syn)), None);
        rig.epoch(2);
        assert_eq!(rig.received(&tcp(backend.back(), Flags::SynAck)), None);
        rig.allow(&[choice, allowed()]);
        rig.epoch(3);
        assert_eq!(rig.received(&tcp(backend.back(), Flags::Ack)), Some(Reason::Revoked));
        assert_eq!(rig.sent(&tcp(service, Flags::Ack)), Some(Reason::Revoked));
    }
}

#[test]
fn s33_fragments_are_not_translated_but_dropped() {
    for (service, backend) in BOTH {
        let mut rig = rig(service, backend);
        assert_eq!(rig.sent(&fragment(&udp(service))), Some(Reason::Fragment));
        assert_eq!(rig.sent(&udp(service)), None);
        assert_eq!(rig.sent(&fragment(&udp(service))), Some(Reason::Fragment));
        assert_eq!(rig.received(&fragment(&udp(backend.back()))), Some(Reason::Fragment));
    }
}

#[test]
fn s28_both_flows_refer_to_one_another_and_move_with_the_first_reply() {
    let mut rig = rig(SERVICE, BACKEND);
    assert_eq!(rig.sent(&tcp(SERVICE, Flags::Syn)), None);
    assert_eq!(rig.received(&tcp(BACKEND.back(), Flags::SynAck)), None);
    let (replied, _, new, _) = rig.flows();
    assert_eq!((replied.len(), new.len()), (2, 0));
    let far = |address: &str| {
        let flow = replied.iter().find(|flow| flow.key.remote == bytes(address)[12..]);
        let flow = flow.expect("a flow");
        assert_eq!(flow.state.judgement.denied, TRANSLATED);
        (flow.translation.address, u16::from_be_bytes(flow.translation.port))
    };
    assert_eq!(far(SERVICE.destination), (bytes(BACKEND.destination), 8443));
    assert_eq!(far(BACKEND.destination), (bytes(SERVICE.destination), 443));
}

#[test]
fn s31_an_error_about_a_translated_packet_quotes_what_its_receiver_knows() {
    for (service, backend) in BOTH {
        let mut rig = rig(service, backend);
        let is_six = service.destination.contains(':');
        let (kind, router) = if is_six { (1, "fd00:10:244:3::1") } else { (3, "10.244.3.1") };
        let error = |from: &str, to: &str, quoted: Ends<'_>| {
            let rest = [&[0; 4], &udp(quoted)[14..]].concat();
            with_checksum(icmp(from, to, kind, &rest))
        };
        assert_eq!(rig.sent(&udp(service)), None);
        for (from, shown) in [(router, router), (backend.destination, service.destination)] {
            let (verdict, received) = rig.received_as(&error(from, service.source, backend));
            assert_eq!(
                (verdict, received),
                (None, error(shown, service.source, service)),
                "{from}"
            );
        }
        assert_eq!(rig.received(&udp(backend.back())), None);
        let of_pod = |to: Ends<'_>| error(to.source, to.destination, to.back());
        let (verdict, sent) = rig.sent_as(&of_pod(service));
        assert_eq!((verdict, sent), (None, of_pod(backend)), "of the pod");
    }
}

#[test]
fn s40_what_is_allowed_whole_is_not_translated() {
    let mut rig = rig(SERVICE, BACKEND);
    rig.allow(&[everything(0), PortSet { identity: 9, ..PortSet::default() }]);
    let (verdict, sent) = rig.sent_as(&with_checksum(tcp(SERVICE, Flags::Syn)));
    assert_eq!((verdict, sent), (None, with_checksum(tcp(SERVICE, Flags::Syn))));
}
