//! Service frontends, judged before kube-proxy translates them.

use policy_common::{allow::PortSet, drops::Reason};

use crate::{
    craft::{Ends, Flags, OUT, OUT_V6, PEER, TCP, tcp},
    rig::{Isolated, Rig, everything, ports},
};

const SERVICE: Ends<'static> = Ends { destination: "10.96.0.1", destination_port: 443, ..OUT };
const SERVICE_V6: Ends<'static> =
    Ends { destination: "fd00:10:96::1", destination_port: 443, ..OUT_V6 };

fn rig() -> Rig {
    let mut rig = Rig::new(Isolated::Egress);
    rig.frontend(SERVICE.destination, 443, TCP, 9);
    rig.frontend(SERVICE_V6.destination, 443, TCP, 9);
    rig
}

/// What an allow map says of the frontends of identity 9.
fn outcome(refusal: Option<Reason>) -> PortSet {
    PortSet { identity: 9, refusal: refusal.map_or(0, |reason| reason as u8), ..PortSet::default() }
}

#[test]
fn s40_a_frontend_passes_where_all_backends_are_allowed() {
    for ends in [SERVICE, SERVICE_V6] {
        let mut rig = rig();
        rig.allow(&[outcome(None)]);
        assert_eq!(rig.sent(&tcp(ends, Flags::Syn)), None);
        assert_eq!(rig.received(&tcp(ends.back(), Flags::SynAck)), None, "the translated reply");
    }
}

#[test]
fn s40_a_frontend_is_dropped_for_the_reason_that_the_compiler_found() {
    for reason in [Reason::ServiceDenied, Reason::ServicePartlyDenied, Reason::ServiceNoBackend] {
        for ends in [SERVICE, SERVICE_V6] {
            let mut rig = rig();
            rig.allow(&[everything(0), outcome(Some(reason))]);
            assert_eq!(rig.sent(&tcp(ends, Flags::Syn)), Some(reason));
        }
    }
}

#[test]
fn s42_a_service_without_backends_is_dropped_even_where_all_is_allowed() {
    let mut rig = rig();
    rig.allow(&[everything(0), outcome(Some(Reason::ServiceNoBackend))]);
    assert_eq!(rig.sent(&tcp(SERVICE, Flags::Syn)), Some(Reason::ServiceNoBackend));
    assert_eq!(rig.sent(&tcp(SERVICE.at(80), Flags::Syn)), None, "another port is no frontend");
}

#[test]
fn s40_without_an_entry_a_frontend_passes_exactly_where_everything_does() {
    let mut rig = rig();
    rig.allow(&[ports(0, &[(TCP, 0, 65535)])]);
    assert_eq!(rig.sent(&tcp(SERVICE, Flags::Syn)), Some(Reason::ServiceDenied));
    rig.allow(&[everything(0)]);
    assert_eq!(rig.sent(&tcp(SERVICE, Flags::Syn)), None);
}

#[test]
fn s41_the_address_of_a_frontend_does_not_decide() {
    let mut rig = rig();
    rig.block("10.96.0.0", 16, 4);
    rig.allow(&[everything(4)]);
    assert_eq!(rig.sent(&tcp(SERVICE, Flags::Syn)), Some(Reason::ServiceDenied));
}

#[test]
fn s40_frontends_are_no_matter_of_ingress() {
    let mut rig = Rig::new(Isolated::Ingress);
    rig.frontend(PEER, 443, TCP, 9);
    rig.allow(&[ports(0, &[(TCP, 80, 80)]), outcome(Some(Reason::ServiceDenied))]);
    let ends = Ends { source_port: 443, ..OUT.back() };
    assert_eq!(rig.received(&tcp(ends.at(80), Flags::Syn)), None);
}
