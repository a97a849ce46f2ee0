//! Reconciles the node and verifies the kernel's state, and decides when to do either next.

use std::{collections::BTreeMap, future, time::Duration};

use policy_core::{model::ObjectName, plan::Actual};
use tokio::{task::JoinHandle, time::Instant};

use super::{Daemon, report, retry::Retry};
use crate::{
    chain::chain,
    dataplane::{Drift, pinned_elsewhere},
    net::enforcers,
    node::{NodeError, Reconciled},
};

/// Longest time between two reconciliations: the kernel sends no notification when addresses inside a
/// pod change.
const IDLE_INTERVAL: Duration = Duration::from_secs(10);

/// How long a new link without an endpoint is remembered: most links never belong to a pod.
const NEW_LINK_LIMIT: Duration = Duration::from_mins(10);

/// When the kernel's state is verified.
#[derive(Debug)]
pub(super) struct Verify {
    interval: Duration,
    pub(super) next: Instant,
    /// The thread that reads the maps, while it does.
    reader: Option<JoinHandle<Result<Actual, NodeError>>>,
}

impl Verify {
    /// The first one is due after `interval`.
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, next: Instant::now() + interval, reader: None }
    }

    /// What the reader found; never returns while none reads.
    pub(super) async fn found(&mut self) -> Result<Actual, NodeError> {
        let Some(reader) = &mut self.reader else { return future::pending().await };
        let found = reader.await;
        self.reader = None;
        match found {
            Ok(found) => found,
            // It panicked, or the runtime ends.
            Err(_) => future::pending().await,
        }
    }
}

impl Daemon {
    /// Whether the kernel's state is to be verified.
    pub(super) fn verifies(&self) -> bool {
        self.health.is_enforced() && !self.verify.interval.is_zero() && self.verify.reader.is_none()
    }

    /// Repairs pins and attached programs, and starts to read the maps.
    pub(super) async fn verify(&mut self) {
        self.find_other_enforcers().await;
        let drift = self.node.mend();
        self.report_drift(drift);
        let bypassed = self.node.bypassed();
        let messages: Vec<String> =
            bypassed.map(|(pod, bypass)| format!("pod {pod}: {bypass}")).collect();
        self.metrics.bypassed(messages.len());
        self.health.bypassed(messages.first().cloned());
        self.reporter.bypassed(messages);
        if let Some(reader) = self.node.dataplane().flow_table_reader() {
            let report = self.metrics.flow_tables(self.pods_by_interface());
            drop(tokio::task::spawn_blocking(move || report(reader.read())));
        }
        self.verify.reader = self.node.reader().map(tokio::task::spawn_blocking);
        self.verify.next = Instant::now() + self.verify.interval;
    }

    /// Repairs map entries that are not as the agent wrote them.
    pub(super) fn repair(&mut self, found: Result<Actual, NodeError>) {
        let drift = found.and_then(|found| self.node.repair(&found));
        self.report_drift(drift);
        self.verify.next = Instant::now() + self.verify.interval;
    }

    fn report_drift(&mut self, drift: Result<Drift, NodeError>) {
        match drift {
            Ok(drift) => {
                report::drift(&drift);
                self.metrics.repaired(&drift);
            }
            Err(error) => report::verify_failed(&error, self.verify.interval),
        }
    }

    /// Brings the kernel to what the cluster asks for.
    pub(super) async fn enforce(&mut self) {
        self.metrics.scrape().record_verdicts();
        let start = Instant::now();
        let enforced = self.node.enforce().await;
        self.metrics.maps(&self.node.map_use(), &self.node.take_full_maps());
        let delay = match enforced {
            Ok(reconciled) => {
                self.metrics.enforced(start.elapsed(), &reconciled);
                let off = self.node.off_cause();
                self.reporter.switched(off);
                self.metrics.off(off.is_some());
                let pods = self.node.desired().endpoints.len();
                self.metrics.pods(pods, &reconciled, off.is_some());
                self.metrics.sharing(self.node.sharing_flow_tables().count());
                self.finish(reconciled).await
            }
            Err(error) => {
                self.metrics.failed();
                let delay = self.retry.next();
                self.reporter.failed(&error, delay);
                self.health.fails(chain(&error));
                delay
            }
        };
        let now = Instant::now();
        self.link_pause.reconciled(now);
        self.due = now + delay;
        self.metrics.scrape().set_pods(self.pods_by_interface());
    }

    /// The pod at each interface.
    fn pods_by_interface(&self) -> BTreeMap<u32, ObjectName> {
        let endpoints = self.node.actual().endpoints().keys();
        let pods = endpoints
            .filter_map(|ifindex| Some((*ifindex, self.node.attributor().pod(*ifindex)?.clone())));
        pods.collect()
    }

    /// Reports a successful reconciliation to everything that depends on it; how long until the next.
    async fn finish(&mut self, reconciled: Reconciled) -> Duration {
        let is_refused = !reconciled.not_attached.is_empty();
        match reconciled.not_attached.first() {
            None => self.health.recovered(),
            Some(refused) => self.health.fails(refused.reason.clone()),
        }
        let is_any = !is_refused || !self.node.actual().endpoints().is_empty();
        let is_first = is_any && self.health.enforced();
        let has_changed_hints = self.pending.report(&mut self.node);
        self.observe_new_links();
        let unresolved = self.unresolved.update(&self.node);
        self.events.update(&self.node, &reconciled, unresolved);
        self.reporter.unresolved(unresolved);
        // The kernel sends no notification when a pod's interface gets its address.
        let is_incomplete = is_refused || !reconciled.pods_without_interface.is_empty();
        let is_progress = reconciled.steps > 0 && !is_refused;
        self.reporter.reconciled(reconciled);
        if is_first {
            report::started(&self.node);
            self.find_other_enforcers().await;
        }
        if is_progress || !is_incomplete {
            self.retry = Retry::new();
        }
        if has_changed_hints {
            return Duration::ZERO;
        }
        if is_incomplete { self.retry.next().min(IDLE_INTERVAL) } else { IDLE_INTERVAL }
    }

    /// Measures how long new links waited for their endpoints.
    fn observe_new_links(&mut self) {
        let endpoints = self.node.actual().endpoints();
        let enforced = self.new_links.extract_if(.., |ifindex, _| endpoints.contains_key(ifindex));
        for (_, since) in enforced {
            self.metrics.interface_enforced(since.elapsed());
        }
        self.new_links.retain(|_, since| since.elapsed() < NEW_LINK_LIMIT);
    }

    /// Reports other programs that enforce policies on this node.
    async fn find_other_enforcers(&mut self) {
        let elsewhere = self.pins.as_deref().map(pinned_elsewhere).unwrap_or_default();
        self.reporter.enforcers(enforcers(self.pins.as_deref(), &elsewhere).await);
    }
}
