//! The agent's metrics: prefix `policy_`, base units, in the `OpenMetrics` text format.
//!
//! Input: the outcomes of reconciliations, watches and read-backs as they happen, and the kernel's
//! drop counters at each scrape. Output: the text of `/metrics`. Names and labels are a contract;
//! counters get the suffix `_total` when they are written.

use std::time::Duration;

use policy_kube::{RESOURCES, Resource};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::Registry,
};

use super::scrape::{Scrape, lock};
use crate::{
    cni::InstallState,
    dataplane::{Drift, Drifted},
    node::Reconciled,
};

/// Counters and gauges of the daemon.
#[derive(Debug)]
pub(super) struct Metrics {
    scrape: Scrape,
    enforce_duration: Histogram,
    interface_wait: Histogram,
    failures: Counter,
    steps: Counter,
    faults: Gauge,
    held_back: Gauge,
    bypassed: Gauge,
    sharing: Gauge,
    pods: Family<PodLabels, Gauge>,
    repaired: Family<DriftLabels, Counter>,
    broken_watches: Family<WatchLabels, Gauge>,
}

/// Labels of `policy_pods`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PodLabels {
    state: &'static str,
}

/// Labels of `policy_drift_repaired`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DriftLabels {
    what: &'static str,
}

/// Labels of `policy_watch_broken`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WatchLabels {
    kind: &'static str,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let metrics = Self {
            scrape: Scrape::new(Registry::with_prefix("policy")),
            enforce_duration: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            interface_wait: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            failures: Counter::default(),
            steps: Counter::default(),
            faults: Gauge::default(),
            held_back: Gauge::default(),
            bypassed: Gauge::default(),
            sharing: Gauge::default(),
            pods: Family::default(),
            repaired: Family::default(),
            broken_watches: Family::default(),
        };
        metrics.register(&mut lock(&metrics.scrape.registry));
        metrics
    }

    /// Registers the metrics. Drift and watches have all their labels from the start, so that a
    /// query for what never happened gives 0 and not nothing.
    fn register(&self, registry: &mut Registry) {
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of the agent", build);
        let help =
            "Time to read the node's interfaces, compile, and write to the kernel, in seconds";
        registry.register("enforce_duration_seconds", help, self.enforce_duration.clone());
        let help = "Time from the creation of a pod's interface until policies are enforced at it, \
                    in seconds";
        registry.register("interface_wait_seconds", help, self.interface_wait.clone());
        let help = "Reconciliations, and pods in them, that failed and are retried";
        registry.register("enforce_failures", help, self.failures.clone());
        registry.register("steps", "Writes to the kernel", self.steps.clone());
        let help = "Parts of objects that cannot be enforced as they are written";
        registry.register("faults", help, self.faults.clone());
        let help = "Namespaces with policies that do not fit into the maps; the previous ones are enforced";
        registry.register("held_back_namespaces", help, self.held_back.clone());
        let help = "Hooks on which a program of another sees packets before the agent's, and may let \
                    them pass";
        registry.register("bypassed_hooks", help, self.bypassed.clone());
        let help = "Isolated pods that share flow tables with others";
        registry.register("pods_sharing_flow_tables", help, self.sharing.clone());
        let help = "Pods of the node, by whether policies are enforced at them";
        registry.register("pods", help, self.pods.clone());
        let help = "Attachments, map entries and pins that another program changed and the agent \
                    repaired";
        registry.register("drift_repaired", help, self.repaired.clone());
        for drifted in [Drifted::Attachment, Drifted::Entry, Drifted::Pin] {
            drop(self.repaired.get_or_create(&DriftLabels { what: drifted.name() }));
        }
        let help =
            "Whether the watch of a resource is broken (1); what was read before stays in force";
        registry.register("watch_broken", help, self.broken_watches.clone());
        for kind in RESOURCES.map(|resource| resource.plural) {
            drop(self.broken_watches.get_or_create(&WatchLabels { kind }));
        }
    }

    /// A reconciliation succeeded, except for the pods that it names.
    pub(super) fn enforced(&self, took: Duration, reconciled: &Reconciled) {
        let Reconciled { faults, steps, held_back, not_attached, .. } = reconciled;
        self.enforce_duration.observe(took.as_secs_f64());
        self.steps.inc_by(*steps as u64);
        self.faults.set(gauge_value(faults.len()));
        self.held_back.set(gauge_value(held_back.len()));
        self.failures.inc_by(not_attached.len() as u64);
    }

    /// Policies are enforced at a new interface.
    pub(super) fn interface_enforced(&self, waited: Duration) {
        self.interface_wait.observe(waited.as_secs_f64());
    }

    /// A watch broke, or works again.
    pub(super) fn watch_broken(&self, resource: Resource, is_broken: bool) {
        let kind = resource.plural;
        self.broken_watches.get_or_create(&WatchLabels { kind }).set(i64::from(is_broken));
    }

    /// The last verification found this many hooks with a program of another before the agent's.
    pub(super) fn bypassed(&self, count: usize) {
        self.bypassed.set(gauge_value(count));
    }

    /// So many pods share flow tables with others.
    pub(super) fn sharing(&self, count: usize) {
        self.sharing.set(gauge_value(count));
    }

    /// A reconciliation failed.
    pub(super) fn failed(&self) {
        self.failures.inc();
    }

    /// A read-back found and repaired drift (S50).
    pub(super) fn repaired(&self, drift: &Drift) {
        for (drifted, count) in drift {
            let what = drifted.name();
            self.repaired.get_or_create(&DriftLabels { what }).inc_by(*count as u64);
        }
    }

    /// Counts the node's pods by state; `all` is their number.
    pub(super) fn pods(&self, all: usize, reconciled: &Reconciled) {
        let not = reconciled.pods_without_interface.len() + reconciled.not_attached.len();
        let without = reconciled.pods_without_address;
        let states = [
            ("enforced", all.saturating_sub(not + without)),
            ("not_enforced", not),
            ("without_address", without),
        ];
        for (state, count) in states {
            self.pods.get_or_create(&PodLabels { state }).set(gauge_value(count));
        }
    }

    /// Adds the metrics of the chained plugin, which only an agent that installs it has. The result
    /// takes each check of the installation.
    pub(super) fn plugin(&mut self) -> impl Fn(InstallState) + use<> {
        let (installed, written) = (Gauge::<i64>::default(), Counter::<u64>::default());
        let help = "Whether the node's CNI configuration names the plugin, and its program exists";
        let mut registry = lock(&self.scrape.registry);
        registry.register("cni_installed", help, installed.clone());
        let help = "Times that the agent wrote the plugin's entry into the CNI configuration";
        registry.register("cni_entries_written", help, written.clone());
        drop(registry);
        move |state| {
            installed.set(i64::from(state != InstallState::Missing));
            written.inc_by(u64::from(state == InstallState::Restored));
        }
    }

    /// What the HTTP server reads.
    pub(super) fn scrape(&self) -> &Scrape {
        &self.scrape
    }
}

fn gauge_value(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
