//! The backends of live connections to Services (S42).
//!
//! kube-proxy chooses the backend of a connection once, and `nf_conntrack` remembers it: what the reply
//! comes from. A frontend that refuses new connections cuts none whose own backend is allowed:
//!
//! ```text
//! original: 10.0.0.1:4000 -> 10.96.0.1:80      10.0.0.1 called the frontend 10.96.0.1:80
//! reply:    10.0.0.2:8080 -> 10.0.0.1:4000     its backend is 10.0.0.2:8080
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use policy_common::{
    address::in_one_form,
    backend::{LiveBackend, LiveBackendKey},
    endpoint::Endpoint,
    limits::LIVE_BACKENDS_OF_POD,
    protocol::{SCTP, TCP},
};

use super::Connection;
use crate::{
    desired::{Desired, DesiredEndpoint, Frontend, FrontendOutcome},
    model::Protocol,
};

/// What decides which connections to Services need their backend.
#[derive(Clone, Copy, Debug)]
pub struct BackendSources<'a> {
    /// What is in force when flows are judged again.
    pub desired: &'a Desired,
    /// Frontends that were deleted, and whether policy must allow their own address too.
    pub deleted: &'a BTreeMap<Frontend, bool>,
    /// The backends that were recorded before.
    pub before: &'a BTreeMap<LiveBackendKey, LiveBackend>,
}

/// The backends of the connections that these endpoints have to frontends that refuse new ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveBackends {
    /// To write; every other entry of the same interfaces is of a connection that is gone.
    pub entries: Vec<LiveBackend>,
    /// Interfaces of pods with more such connections than a pod may have entries.
    pub truncated: BTreeSet<u32>,
}

impl LiveBackends {
    /// Finds them among the connections of a node.
    #[must_use]
    pub fn among(
        connections: &[Connection],
        endpoints: &[Endpoint],
        sources: BackendSources<'_>,
    ) -> Self {
        let desired = sources.desired.endpoints.values();
        let of_pods: BTreeMap<IpAddr, &DesiredEndpoint> = desired
            .flat_map(|pod| pod.addresses.iter().map(move |address| (*address, pod)))
            .collect();
        let mut pods = BTreeMap::new();
        for endpoint in endpoints {
            let addresses =
                [IpAddr::from(endpoint.address4), IpAddr::from(endpoint.address6)].into_iter();
            pods.extend(addresses.filter_map(|address| {
                Some((address, (endpoint.ifindex, *of_pods.get(&address)?)))
            }));
        }
        let (mut found, mut counts) = (Self::default(), BTreeMap::<u32, usize>::new());
        for connection in connections {
            let Some(&(ifindex, pod)) = pods.get(&connection.original.source) else { continue };
            let Some(entry) = sources.backend_of(connection, ifindex, pod) else { continue };
            let count = counts.entry(ifindex).or_default();
            *count += 1;
            if *count > LIVE_BACKENDS_OF_POD {
                found.truncated.insert(ifindex);
            } else {
                found.entries.push(entry);
            }
        }
        found
    }
}

impl BackendSources<'_> {
    /// The backend of a connection; `None` where its flow needs none.
    fn backend_of(
        &self,
        connection: &Connection,
        ifindex: u32,
        pod: &DesiredEndpoint,
    ) -> Option<LiveBackend> {
        let Connection { original, reply, .. } = connection;
        let backend = (reply.source, reply.source_port);
        if backend == (original.destination, original.destination_port) {
            return None;
        }
        let is_protocol = |one: &Protocol| one.number() == connection.protocol;
        let protocol = Protocol::ALL.into_iter().find(is_protocol)?;
        let (address, port) = (original.destination, original.destination_port);
        let isolation = pod.isolation.egress.as_ref()?;
        let frontend = Frontend { address, protocol, port };
        // What kube-proxy may send to each backend passes without a look at the one that it has.
        let passes = match self.desired.outcome(isolation, &frontend) {
            Some(outcome) => outcome == FrontendOutcome::Pass,
            None => self.desired.allows(&isolation.allow_map, address, protocol, port),
        };
        if passes {
            return None;
        }
        let key = LiveBackendKey {
            ifindex,
            frontend: in_one_form(address),
            local_port: original.source_port.to_be_bytes(),
            remote_port: port.to_be_bytes(),
            protocol: connection.protocol,
            pad: [0; 3],
        };
        let service = self.desired.backends.get(&frontend);
        // kube-proxy forgets the datagrams of a backend that leaves: the next one goes to another.
        let starts_visibly = matches!(connection.protocol, TCP | SCTP);
        if !starts_visibly && !service.is_some_and(|it| it.backends.contains(&backend)) {
            return None;
        }
        let (address, port) = (in_one_form(backend.0), backend.1.to_be_bytes());
        let checks_frontend = match (service, self.before.get(&key)) {
            (Some(service), _) => service.checks_frontend,
            (None, Some(before)) if (before.address, before.port) == (address, port) => {
                before.checks_frontend != 0
            }
            (None, _) => *self.deleted.get(&frontend)?,
        };
        let checks_frontend = u8::from(checks_frontend);
        Some(LiveBackend { key, address, port, checks_frontend, pad: 0 })
    }
}
