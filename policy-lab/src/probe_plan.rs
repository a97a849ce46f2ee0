//! Plans the probes of a truth table, and runs them at once.
//!
//! Input: the probes that options and expectations name, such as `web -> service/ns/api port 80`.
//! Output: per probe a [`Connection`] with the servers that may respond, and later its result.
//! A Service has several right servers, one per backend; kube-proxy selects one at random, so
//! such a probe is repeated.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use futures::stream::{self, StreamExt};
use policy_core::model::Protocol;
use policy_probe::{End, Probe};

use crate::{
    blueprint::{Blueprint, Machine},
    connection::{Connection, ConnectionResult, connect},
    drop_matcher::DropMatcher,
    network::Network,
    proxy::Proxy,
    servers::{self, ServedPorts},
};

/// Probes in flight at a time: two descriptors each, well below the usual limit of 1024.
const IN_FLIGHT: usize = 384;

/// Connections to a Service per backend: a given backend is missed once in 3000 probes.
const CONNECTIONS_PER_BACKEND: usize = 8;

/// The most connections to a Service.
const MAX_CONNECTIONS: usize = 64;

/// A probe that the lab can run.
#[derive(Clone, Debug)]
pub struct PlannedProbe {
    /// The probe.
    pub probe: Probe,
    connection: Connection,
    /// Whether the Service has no backends, so that kube-proxy refuses the connection.
    pub refusing: bool,
    /// How often to connect.
    repetitions: usize,
}

impl PlannedProbe {
    /// Connects until a result is not [`ConnectionResult::Answered`].
    async fn run(&self, drops: &Arc<DropMatcher>) -> ConnectionResult {
        // One denied backend is enough to deny the Service, and kube-proxy chooses at random: only
        // many answers in a row show that all are allowed.
        for _ in 1..self.repetitions {
            let result = connect(&self.connection, drops).await;
            if result != ConnectionResult::Answered {
                return result;
            }
        }
        connect(&self.connection, drops).await
    }
}

/// The probes of a lab.
#[derive(Clone, Debug, Default)]
pub struct ProbePlan {
    /// The probes, in the order of the table.
    pub planned: Vec<PlannedProbe>,
    /// Every address and port that a probe may end at.
    pub served: ServedPorts,
    /// Probes that the lab cannot run, as `FROM -> TO`.
    pub left_out: Vec<String>,
}

impl ProbePlan {
    /// Finds for each probe its client, its possible servers and the names that they respond with.
    #[must_use]
    pub fn new(probes: &[Probe], blueprint: &Blueprint, network: &Network, proxy: &Proxy) -> Self {
        let mut plan = Self::default();
        for probe in probes {
            match plan_probe(probe, blueprint, network, proxy) {
                Some((planned, served)) => {
                    plan.served.extend(served);
                    plan.planned.push(planned);
                }
                None => plan.left_out.push(format!("{} -> {}", probe.from, probe.to)),
            }
        }
        plan
    }

    /// Ports that no probe may use as its source port.
    #[must_use]
    pub fn ports(&self, proxy: &Proxy) -> BTreeSet<u16> {
        let probed = self.planned.iter().map(|planned| planned.probe.port);
        let served = self.served.iter().map(|(address, _)| address.port());
        let node_ports = proxy.translations.iter().filter_map(|translation| translation.node_port);
        probed.chain(served).chain(node_ports).collect()
    }

    /// Runs all probes and calls `done` after each. The results have the order of `planned`.
    pub async fn run(&self, drops: &Arc<DropMatcher>, done: impl Fn()) -> Vec<ConnectionResult> {
        let runs = stream::iter(self.planned.iter().enumerate()).map(|(index, planned)| {
            let done = &done;
            async move {
                let result = planned.run(drops).await;
                done();
                (index, result)
            }
        });
        let results: BTreeMap<_, _> = runs.buffer_unordered(IN_FLIGHT).collect().await;
        results.into_values().collect()
    }
}

/// Plans one probe; returns it with the addresses and ports that need a server.
///
/// Returns `None` where an end of the probe is neither a machine of the lab nor a frontend.
fn plan_probe(
    probe: &Probe,
    blueprint: &Blueprint,
    network: &Network,
    proxy: &Proxy,
) -> Option<(PlannedProbe, ServedPorts)> {
    let client = blueprint.owners.get(&probe.source)?;
    let destination = SocketAddr::new(probe.destination, probe.port);
    let backends = match &probe.to {
        End::Service(_) => Some(proxy.backends_of(destination, probe.protocol)?),
        End::Address(_) => proxy.backends_of(destination, probe.protocol),
        End::Pod(_) | End::Host(_) => None,
    };
    let servers = backends.cloned().unwrap_or_else(|| BTreeSet::from([destination]));
    let name_of = |server: &SocketAddr| {
        let machine = blueprint.owners.get(&server.ip())?;
        Some(servers::name_of(machine, *server))
    };
    let expected_names = servers.iter().map(name_of).collect::<Option<_>>()?;
    let server_addresses = servers.iter().map(SocketAddr::ip).chain([probe.destination]);
    let client_addresses = client_addresses(client, probe.source, blueprint);
    let planned = PlannedProbe {
        probe: probe.clone(),
        connection: Connection {
            namespace: network.machines.get(client)?.clone(),
            // For a process of a node the kernel selects the source address of the route.
            source: (!matches!(client, Machine::Node(_))).then_some(probe.source),
            destination,
            protocol: probe.protocol,
            addresses: server_addresses.chain(client_addresses).collect(),
            expected_names,
        },
        refusing: servers.is_empty(),
        repetitions: match servers.len() {
            0 | 1 => 1,
            backends => (backends * CONNECTIONS_PER_BACKEND).min(MAX_CONNECTIONS),
        },
    };
    let served: BTreeSet<(SocketAddr, Protocol)> =
        servers.into_iter().map(|server| (server, probe.protocol)).collect();
    Some((planned, served))
}

/// Addresses that the client's packets may have.
fn client_addresses(client: &Machine, source: IpAddr, blueprint: &Blueprint) -> Vec<IpAddr> {
    match client {
        Machine::Node(name) => blueprint.nodes.get(name).cloned().unwrap_or_default(),
        Machine::Pod(_) | Machine::Host(_) => vec![source],
    }
}
