//! The agent's metrics: prefix `policy_`, base units, in the `OpenMetrics` text format.
//!
//! Input: the outcomes of reconciliations, watches and read-backs as they happen, and the kernel's
//! drop counters at each scrape. Output: the text of `/metrics`. Names and labels are a contract;
//! counters get the suffix `_total` when they are written.

mod history;
mod labels;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use policy_common::flow::place;
use policy_core::model::{Direction, ObjectName, PolicyRef};
use policy_kube::{RESOURCES, Resource};
use prometheus_client::{
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::Registry,
};

use super::{mutex::lock, scrape::Scrape, watches::WatchLabels};
use crate::{
    cni::InstallState,
    dataplane::{Drift, Drifted, FlowTableUse, MapUse},
    flows::{DroppedPacket, FlowHistory},
    node::Reconciled,
};

use history::HistoryMetrics;
use labels::{DenialLabels, DriftLabels, FlowTableLabels, MapLabels, PodLabels};

/// The most policies with counters of their own, in each direction.
const DENYING: usize = 1000;

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
    left_out_services: Gauge,
    closed_pods: Gauge,
    conflicts: Gauge,
    bypassed: Gauge,
    sharing: Gauge,
    off: Gauge,
    pods: Family<PodLabels, Gauge>,
    repaired: Family<DriftLabels, Counter>,
    broken_watches: Family<WatchLabels, Gauge>,
    compile_duration: Histogram,
    write_duration: Histogram,
    map_entries: Family<MapLabels, Gauge>,
    map_capacity: Family<MapLabels, Gauge>,
    full_maps: Family<MapLabels, Counter>,
    flow_tables: Family<FlowTableLabels, Gauge<f64, AtomicU64>>,
    denied: Family<DenialLabels, Counter>,
    history: HistoryMetrics,
    /// The policies that `denied` has, each with its direction.
    denying: BTreeSet<(PolicyRef, Direction)>,
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
            left_out_services: Gauge::default(),
            closed_pods: Gauge::default(),
            conflicts: Gauge::default(),
            bypassed: Gauge::default(),
            sharing: Gauge::default(),
            off: Gauge::default(),
            pods: Family::default(),
            repaired: Family::default(),
            broken_watches: Family::default(),
            compile_duration: Histogram::new(exponential_buckets(0.0001, 4.0, 10)),
            write_duration: Histogram::new(exponential_buckets(0.0001, 4.0, 10)),
            map_entries: Family::default(),
            map_capacity: Family::default(),
            full_maps: Family::default(),
            flow_tables: Family::default(),
            denied: Family::default(),
            history: HistoryMetrics::default(),
            denying: BTreeSet::new(),
        };
        metrics.history.register(&mut lock(&metrics.scrape.registry));
        metrics.register_maps(&mut lock(&metrics.scrape.registry));
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
        let help = "Services that do not fit into the map frontends; egress of isolated pods to them is \
                    denied";
        registry.register("left_out_services", help, self.left_out_services.clone());
        let help = "New pods that are closed because what they need does not fit";
        registry.register("closed_pods", help, self.closed_pods.clone());
        let help = "Interfaces with an address of a pod that has another one; they are closed";
        registry.register("interface_conflicts", help, self.conflicts.clone());
        let help = "Hooks on which a program of another sees packets before the agent's, and may let \
                    them pass";
        registry.register("bypassed_hooks", help, self.bypassed.clone());
        let help = "Isolated pods that share flow tables with others";
        registry.register("pods_sharing_flow_tables", help, self.sharing.clone());
        let help = "Whether enforcement is switched off (1), so that every packet passes";
        registry.register("enforcement_off", help, self.off.clone());
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

    /// Registers the metrics of maps, and those of the two parts of a reconciliation.
    fn register_maps(&self, registry: &mut Registry) {
        let help = "Time to compile what changed in the cluster, in seconds";
        registry.register("compile_duration_seconds", help, self.compile_duration.clone());
        let help = "Time to write the result to the kernel, in seconds";
        registry.register("write_duration_seconds", help, self.write_duration.clone());
        registry.register("map_entries", "Entries of a map", self.map_entries.clone());
        let help = "The most entries that a map can have";
        registry.register("map_capacity", help, self.map_capacity.clone());
        let help = "Writes that a full map refused";
        registry.register("map_full", help, self.full_maps.clone());
        let help = "Used share of the pod's fullest flow table, from 0 to 1";
        registry.register("flow_table_use_ratio", help, self.flow_tables.clone());
        let help = "Packets that a policy denied, by the records of dropped packets";
        registry.register("denied_packets", help, self.denied.clone());
    }

    /// A packet was added to the history of flows.
    pub(super) fn flow_history(&self, history: &FlowHistory) {
        self.history.update(history);
    }

    /// Changes of the cluster were compiled.
    pub(super) fn compiled(&self, took: Duration) {
        self.compile_duration.observe(took.as_secs_f64());
    }

    /// How full the maps are that the agent writes, and those that refused a write.
    pub(super) fn maps(&self, uses: &[MapUse], full: &[&'static str]) {
        for MapUse { map, used, capacity } in uses {
            let labels = MapLabels { map };
            self.map_entries.get_or_create(&labels).set(gauge_value(*used));
            self.map_capacity.get_or_create(&labels).set(i64::from(*capacity));
            drop(self.full_maps.get_or_create(&labels));
        }
        for map in full {
            self.full_maps.get_or_create(&MapLabels { map }).inc();
        }
    }

    /// What is to be called, on any thread, with the use of the flow tables; `pod` gives the pod at
    /// an interface.
    pub(super) fn flow_tables(
        &self,
        pods: BTreeMap<u32, ObjectName>,
    ) -> impl FnOnce(Vec<FlowTableUse>) + Send + use<> {
        let (registry, tables) = (Arc::clone(&self.scrape.registry), self.flow_tables.clone());
        let (entries, capacities) = (self.map_entries.clone(), self.map_capacity.clone());
        move |uses| {
            let words = pods.iter().map(|(ifindex, pod)| (place::word(*ifindex), pod));
            let of_word: BTreeMap<u32, &ObjectName> = words.collect();
            let mut fullest: BTreeMap<&ObjectName, f64> = BTreeMap::new();
            for FlowTableUse { table: map, word, used, capacity } in uses {
                let Some(word) = word else {
                    entries.get_or_create(&MapLabels { map }).set(gauge_value(used));
                    capacities.get_or_create(&MapLabels { map }).set(i64::from(capacity));
                    continue;
                };
                let Some(pod) = of_word.get(&word) else { continue };
                let ratio = ratio(used, capacity);
                let of_pod = fullest.entry(*pod).or_default();
                *of_pod = of_pod.max(ratio);
            }
            // No scrape sees a part of it.
            let _registry = lock(&registry);
            tables.clear();
            for (ObjectName { namespace, name }, ratio) in fullest {
                let (namespace, pod) = (namespace.clone(), name.clone());
                tables.get_or_create(&FlowTableLabels { namespace, pod }).set(ratio);
            }
        }
    }

    /// Policies denied packets. Of more than [`DENYING`] policies, the others share the labels without
    /// a name.
    pub(super) fn denied(&mut self, packet: &DroppedPacket<'_>) {
        let direction = packet.direction();
        let (policies, packets) = packet.denied_by();
        // Several rules of one policy may decide together.
        for policy in policies.collect::<BTreeSet<_>>() {
            let key = (policy.clone(), direction);
            let is_named = self.denying.contains(&key)
                || self.denying.len() < DENYING && self.denying.insert(key);
            let named = |text: Option<&str>| {
                text.filter(|_| is_named).map(str::to_owned).unwrap_or_default()
            };
            let labels = DenialLabels {
                kind: policy.kind().name(),
                namespace: named(policy.namespace()),
                policy: named(Some(policy.name())),
                direction: direction.name(),
            };
            self.denied.get_or_create(&labels).inc_by(packets);
        }
    }

    /// A reconciliation succeeded, except for the pods that it names.
    pub(super) fn enforced(&self, took: Duration, reconciled: &Reconciled) {
        let Reconciled {
            faults,
            steps,
            held_back,
            not_attached,
            left_out_services,
            write_time,
            ..
        } = reconciled;
        if *steps > 0 {
            self.write_duration.observe(write_time.as_secs_f64());
        }
        self.enforce_duration.observe(took.as_secs_f64());
        self.steps.inc_by(*steps as u64);
        self.faults.set(gauge_value(faults.len()));
        self.held_back.set(gauge_value(held_back.len()));
        let left_out = left_out_services.iter().map(|one| one.services).sum();
        self.left_out_services.set(gauge_value(left_out));
        self.closed_pods.set(gauge_value(reconciled.closed_pods.len()));
        self.conflicts.set(gauge_value(reconciled.conflicts.len()));
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
        self.scrape.watches.set(resource, !is_broken);
    }

    /// Everything was read, from files.
    pub(super) fn all_read(&self) {
        self.scrape.watches.set_all();
    }

    /// The last verification found this many hooks with a program of another before the agent's.
    pub(super) fn bypassed(&self, count: usize) {
        self.bypassed.set(gauge_value(count));
    }

    /// So many pods share flow tables with others.
    pub(super) fn sharing(&self, count: usize) {
        self.sharing.set(gauge_value(count));
    }

    /// Enforcement is off or on.
    pub(super) fn off(&self, is_off: bool) {
        self.off.set(i64::from(is_off));
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

    /// Counts the node's pods by state; `all` is their number. None is enforced while enforcement is
    /// off.
    pub(super) fn pods(&self, all: usize, reconciled: &Reconciled, is_off: bool) {
        let without = reconciled.pods_without_address;
        let missing = reconciled.pods_without_interface.len() + reconciled.not_attached.len();
        let not = if is_off { all.saturating_sub(without) } else { missing };
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

/// A share of a capacity.
fn ratio(used: usize, capacity: u32) -> f64 {
    let used = u32::try_from(used).unwrap_or(u32::MAX);
    f64::from(used) / f64::from(capacity.max(1))
}

fn gauge_value(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod names;
