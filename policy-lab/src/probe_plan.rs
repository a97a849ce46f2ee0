//! All probes of a table, tried at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use futures::stream::{self, StreamExt};
use policy_core::model::Protocol;
use policy_probe::{End, Probe};

use super::{
    blueprint::{Blueprint, Machine},
    connection::{Attempt, Fate, attempt},
    drop_matcher::Ledger,
    network::Network,
    proxy::Proxy,
    servers::{self, Served},
};

/// Probes on the way at a time: two descriptors each, well below the usual limit of 1024.
const IN_FLIGHT: usize = 384;

/// Tries of a Service per backend: one is left out once in 3000 times.
const TRIES: usize = 8;

/// Tries of a Service in all.
const MOST_TRIES: usize = 64;

/// A probe that can be tried.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The probe.
    pub probe: Probe,
    /// How to try it.
    attempt: Attempt,
    /// Whether nothing is behind the Service, so that kube-proxy refuses the connection.
    pub refusing: bool,
    /// How often to try: kube-proxy chooses backends by chance, and each should have its turn.
    tries: usize,
}

impl Planned {
    /// Tries until something else than the right answer comes.
    async fn run(&self, ledger: &Arc<Ledger>) -> Fate {
        for _ in 1..self.tries {
            let fate = attempt(&self.attempt, ledger).await;
            if fate != Fate::Answered {
                return fate;
            }
        }
        attempt(&self.attempt, ledger).await
    }
}

/// The probes of a lab.
#[derive(Clone, Debug, Default)]
pub struct Campaign {
    /// In the order of the table.
    pub planned: Vec<Planned>,
    /// Every place that a probe may end at.
    pub served: Served,
    /// Probes that the lab cannot try, with the reason.
    pub left_out: Vec<String>,
}

impl Campaign {
    /// Works out where each probe starts, where it may end, and who must answer.
    #[must_use]
    pub fn plan(probes: &[Probe], blueprint: &Blueprint, network: &Network, proxy: &Proxy) -> Self {
        let mut campaign = Self::default();
        for probe in probes {
            match plan(probe, blueprint, network, proxy) {
                Some((planned, places)) => {
                    campaign.served.extend(places);
                    campaign.planned.push(planned);
                }
                None => campaign.left_out.push(format!("{} -> {}", probe.from, probe.to)),
            }
        }
        campaign
    }

    /// Ports that no probe may come from.
    #[must_use]
    pub fn ports(&self, proxy: &Proxy) -> BTreeSet<u16> {
        let probed = self.planned.iter().map(|planned| planned.probe.port);
        let served = self.served.iter().map(|(address, _)| address.port());
        let nodes = proxy.translations.iter().filter_map(|translation| translation.node_port);
        probed.chain(served).chain(nodes).collect()
    }

    /// Tries all of them; `done` is called after each. The fates are in the order of `planned`.
    pub async fn run(&self, ledger: &Arc<Ledger>, done: impl Fn()) -> Vec<Fate> {
        let attempts = stream::iter(self.planned.iter().enumerate()).map(|(index, planned)| {
            let done = &done;
            async move {
                let fate = planned.run(ledger).await;
                done();
                (index, fate)
            }
        });
        let fates: BTreeMap<usize, Fate> = attempts.buffer_unordered(IN_FLIGHT).collect().await;
        fates.into_values().collect()
    }
}

/// `None` where an end of the probe is no machine of the lab, nor a frontend.
fn plan(
    probe: &Probe,
    blueprint: &Blueprint,
    network: &Network,
    proxy: &Proxy,
) -> Option<(Planned, Vec<(SocketAddr, Protocol)>)> {
    let source = blueprint.owners.get(&probe.source)?;
    let destination = SocketAddr::new(probe.destination, probe.port);
    let backends = match &probe.to {
        End::Service(_) => Some(proxy.behind(destination, probe.protocol)?),
        End::Address(_) => proxy.behind(destination, probe.protocol),
        End::Pod(_) | End::Host(_) => None,
    };
    let places = backends.cloned().unwrap_or_else(|| BTreeSet::from([destination]));
    let answer = |place: &SocketAddr| {
        let machine = blueprint.owners.get(&place.ip())?;
        Some(servers::name_of(machine, *place))
    };
    let answers: BTreeSet<String> = places.iter().map(answer).collect::<Option<_>>()?;
    let far = places.iter().map(SocketAddr::ip).chain([probe.destination]);
    let planned = Planned {
        probe: probe.clone(),
        attempt: Attempt {
            namespace: network.machines.get(source)?.clone(),
            // A process of a node takes whatever address the route gives it.
            source: (!matches!(source, Machine::Node(_))).then_some(probe.source),
            destination,
            protocol: probe.protocol,
            addresses: far.chain(near(source, probe.source, blueprint)).collect(),
            answers,
        },
        refusing: places.is_empty(),
        tries: match places.len() {
            0 | 1 => 1,
            backends => (backends * TRIES).min(MOST_TRIES),
        },
    };
    Some((planned, places.into_iter().map(|place| (place, probe.protocol)).collect()))
}

/// Addresses that the near end may come from.
fn near(source: &Machine, address: IpAddr, blueprint: &Blueprint) -> Vec<IpAddr> {
    match source {
        Machine::Node(name) => blueprint.nodes.get(name).cloned().unwrap_or_default(),
        Machine::Pod(_) | Machine::Host(_) => vec![address],
    }
}
