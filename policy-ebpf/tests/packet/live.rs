//! Live connections to Services that refuse new ones (S42).

use policy_common::{
    allow::PortSet,
    backend::{LiveBackend, LiveBackendKey},
    drops::Reason,
};

use crate::{
    craft::{Ends, Flags, OUT, OUT_V6, TCP, tcp},
    rig::{IFINDEX, Isolated, Rig, bytes, ports},
};

const SERVICE: Ends<'static> = Ends { destination: "10.96.0.1", destination_port: 443, ..OUT };
const SERVICE_V6: Ends<'static> =
    Ends { destination: "fd00:10:96::1", destination_port: 443, ..OUT_V6 };
const BACKENDS: [&str; 2] = ["10.244.1.7", "fd00:10:244:1::7"];

/// A pod with a live connection to a Service, which then loses its last ready backend. Policies allow
/// identity 4 at port 8443.
fn rig(service: Ends<'_>) -> Rig {
    let mut rig = Rig::new(Isolated::Egress);
    rig.frontend(service.destination, 443, TCP, 9);
    for backend in BACKENDS {
        rig.identity(backend, 4);
    }
    let backend = ports(4, &[(TCP, 8443, 8443)]);
    rig.allow(&[PortSet { identity: 9, ..PortSet::default() }, backend]);
    assert_eq!(rig.sent(&tcp(service, Flags::Syn)), None);
    assert_eq!(rig.received(&tcp(service.back(), Flags::SynAck)), None);
    let refusal = Reason::ServiceNoBackend as u8;
    rig.allow(&[PortSet { identity: 9, refusal, ..PortSet::default() }, backend]);
    rig
}

/// Writes the backend of a connection as the agent finds it.
fn record(rig: &mut Rig, connection: Ends<'_>, (address, port, checks_frontend): (&str, u16, u8)) {
    let key = LiveBackendKey {
        ifindex: IFINDEX,
        frontend: bytes(connection.destination),
        local_port: connection.source_port.to_be_bytes(),
        remote_port: connection.destination_port.to_be_bytes(),
        protocol: TCP,
        pad: [0; 3],
    };
    let (address, port) = (bytes(address), port.to_be_bytes());
    rig.put("live_backends", key, LiveBackend { key, address, port, checks_frontend, pad: 0 });
}

#[test]
fn s42_a_live_connection_is_judged_by_the_backend_that_it_has() {
    for (service, backend, other) in
        [(SERVICE, BACKENDS[0], "10.244.1.8"), (SERVICE_V6, BACKENDS[1], "fd00:10:244:1::8")]
    {
        let another = Ends { source_port: service.source_port + 1, ..service };
        #[rustfmt::skip]
        let cases = [
            // claim                                              connection   its backend            verdict
            ("its backend is allowed",                            service,     (backend, 8443, 0),    None),
            ("its backend is denied",                             service,     (other,   8443, 0),    Some(Reason::Revoked)),
            ("its backend is denied at that port",                service,     (backend, 8444, 0),    Some(Reason::Revoked)),
            ("the frontend's own address must be allowed too",    service,     (backend, 8443, 1),    Some(Reason::Revoked)),
            ("the backend is that of another connection",         another,     (backend, 8443, 0),    Some(Reason::Revoked)),
        ];
        for (claim, connection, backend, want) in cases {
            let mut rig = rig(service);
            record(&mut rig, connection, backend);
            assert_eq!(rig.sent(&tcp(service, Flags::Ack)), None, "{claim}: before the new epoch");
            rig.epoch(2);
            assert_eq!(rig.sent(&tcp(service, Flags::Ack)), want, "{claim}");
            assert_eq!(rig.received(&tcp(service.back(), Flags::Ack)), want, "{claim}: back");
            let new = Some(Reason::ServiceNoBackend);
            assert_eq!(rig.sent(&tcp(service, Flags::Syn)), new, "{claim}: a new connection");
        }
    }
}
