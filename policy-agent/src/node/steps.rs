//! Carries out the steps of a plan, one after the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    time::Duration,
};

use policy_common::endpoint::Endpoint;
use policy_core::{
    adopt::{self, BackendSources, LiveBackends},
    desired::{Frontend, NodeKind},
    plan::Step,
};
use tokio::time::Instant;

use super::{Node, NodeError};
use crate::net::{TrackedConnections, tracked_connections};

/// How long pods stay tracked, with everything passing, while existing connections are recorded. A
/// full conntrack table must not keep a pod open for longer.
const TRACKING_LIMIT: Duration = Duration::from_millis(300);

/// How long flows wait for a new epoch while the backends of live connections are recorded. Nothing is
/// open meanwhile.
const BACKENDS_LIMIT: Duration = Duration::from_secs(2);

impl Node {
    /// Carries out steps. The interface of a new pod that cannot be attached to does not stop the
    /// others: such endpoints are returned at the end, each with its error.
    pub(super) async fn apply_steps(
        &mut self,
        steps: &[Step],
    ) -> Result<Vec<(Endpoint, NodeError)>, NodeError> {
        self.create_flow_tables(steps)?;
        let mut refused = Vec::new();
        let is_allow_map = |step: &Step| matches!(step, Step::PutAllowMap { .. });
        for steps in steps.chunk_by(|one, next| is_allow_map(one) && is_allow_map(next)) {
            if let [Step::PutAllowMap { .. }, _, ..] = steps {
                self.put_allow_maps(steps)?;
                continue;
            }
            let [step] = steps else { continue };
            if let Err(source) = self.dataplane.apply(step) {
                let newcomer = self.newcomer(step);
                let (step, source) = (Box::new(step.clone()), Box::new(source));
                let error = NodeError::Step { step, source };
                let Some(endpoint) = newcomer else { return Err(error) };
                // A plan may write the same endpoint several times.
                let is_same = |(other, _): &(Endpoint, _)| other.ifindex == endpoint.ifindex;
                if !refused.iter().any(is_same) {
                    refused.push((endpoint, error));
                }
                continue;
            }
            self.actual.apply(step);
            if let Step::AdoptFlows { interfaces } = step {
                self.adopt_flows(interfaces).await;
            }
            if let Step::RecordBackends { interfaces, deleted } = step {
                self.record_backends(interfaces, deleted).await;
            }
        }
        Ok(refused)
    }

    /// Creates the flow tables of pods that are first isolated.
    fn create_flow_tables(&mut self, steps: &[Step]) -> Result<(), NodeError> {
        let created = self.dataplane.create_flow_tables(steps);
        created.map_err(|source| NodeError::FlowTables(Box::new(source)))
    }

    /// Creates several allow maps together, which costs the kernel one grace period for all.
    fn put_allow_maps(&mut self, steps: &[Step]) -> Result<(), NodeError> {
        let allow_maps = steps.iter().filter_map(|step| {
            let Step::PutAllowMap { allow_map, entries } = step else { return None };
            Some((*allow_map, entries.as_slice()))
        });
        let put = self.dataplane.put_allow_maps(allow_maps);
        let count = steps.len();
        put.map_err(|source| NodeError::AllowMaps { count, source: Box::new(source) })?;
        for step in steps {
            self.actual.apply(step);
        }
        Ok(())
    }

    /// The endpoint that a step would write where none is.
    fn newcomer(&self, step: &Step) -> Option<Endpoint> {
        let Step::PutEndpoint(new) = step else { return None };
        (!self.actual.endpoints().contains_key(&new.ifindex)).then_some(*new)
    }

    /// Records the connections that existed before these pods are isolated, as conntrack knows them
    /// (S30). The pods are isolated even if conntrack cannot be read.
    async fn adopt_flows(&mut self, interfaces: &BTreeSet<u32>) {
        let deadline = Instant::now() + TRACKING_LIMIT;
        let Some(tracked) = read_tracked(deadline).await else { return };
        let TrackedConnections { connections, is_truncated } = &tracked;
        let own = self.actual.node_addresses();
        let own = own.filter_map(|(address, kind)| (kind == NodeKind::Own).then_some(address));
        let endpoints = self.actual.endpoints();
        let flows = adopt::flows(connections, interfaces, endpoints, &own.collect());
        match self.dataplane.adopt_flows(&flows, deadline.into_std()) {
            Ok(true) if !is_truncated => {}
            Ok(_) => tracing::warn!(
                "too many connections to record all that existed before isolation: the next packet \
                 of each of the others is judged as if either end had opened it; raise \
                 --flows-per-pod if pods have more connections than that"
            ),
            Err(error) => {
                let error: &dyn Error = &error;
                tracing::warn!(
                    error,
                    "cannot record all connections that existed before isolation: the next packet of \
                     each of the others is judged as a new connection"
                );
            }
        }
        self.put_backends(&tracked, interfaces, &BTreeMap::new());
    }

    /// Records the backends of live connections to Services that refuse new ones (S42). The flows
    /// are judged again even if conntrack cannot be read.
    async fn record_backends(
        &mut self,
        interfaces: &BTreeSet<u32>,
        deleted: &BTreeMap<Frontend, bool>,
    ) {
        if let Some(tracked) = read_tracked(Instant::now() + BACKENDS_LIMIT).await {
            self.put_backends(&tracked, interfaces, deleted);
        }
    }

    fn put_backends(
        &mut self,
        TrackedConnections { connections, is_truncated }: &TrackedConnections,
        interfaces: &BTreeSet<u32>,
        deleted: &BTreeMap<Frontend, bool>,
    ) {
        let endpoints = self.actual.endpoints().values();
        let endpoints: Vec<Endpoint> =
            endpoints.filter(|endpoint| interfaces.contains(&endpoint.ifindex)).copied().collect();
        let written = self.dataplane.live_backends(interfaces).and_then(|before| {
            let sources =
                BackendSources { desired: &self.intent.desired(), deleted, before: &before };
            let LiveBackends { entries, truncated } =
                LiveBackends::among(connections, &endpoints, sources);
            let entries = entries.into_iter().map(|entry| (entry.key, entry)).collect();
            self.dataplane.put_live_backends(&before, &entries).map(|()| truncated)
        });
        match written {
            Ok(truncated) if truncated.is_empty() && !is_truncated => {}
            Ok(interfaces) => tracing::warn!(
                ?interfaces,
                "too many live connections to Services that refuse new ones: the others are cut"
            ),
            Err(error) => {
                let error: &dyn Error = &error;
                tracing::warn!(
                    error,
                    "cannot record the backends of all live connections to Services that refuse \
                     new ones: the others are cut"
                );
            }
        }
    }
}

/// Reads the connections that the node tracks; `None`, with a log line, where that fails.
async fn read_tracked(deadline: Instant) -> Option<TrackedConnections> {
    match tracked_connections(deadline).await {
        Ok(tracked) => Some(tracked),
        Err(error) => {
            let error: &dyn Error = &error;
            tracing::warn!(
                error,
                "cannot read the connections that the node tracks: the next packet of each that a \
                 change concerns is judged as a new connection. Check that the node has the kernel \
                 module nf_conntrack_netlink"
            );
            None
        }
    }
}
