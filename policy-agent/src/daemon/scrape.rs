//! The text of `/metrics`, collected on the thread of the HTTP server.
//!
//! Input: the registry of the daemon's metrics, the kernel's drop counters, and which pod is at which
//! interface, which the daemon writes after each reconciliation. A scrape needs nothing else of the
//! daemon, so that it is answered while a reconciliation or a takeover goes on.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt,
    sync::{Arc, Mutex, OnceLock},
};

use policy_common::drops::{Direction, DropKey, Reason};
use policy_core::model::ObjectName;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text::encode},
    metrics::counter::ConstCounter,
    registry::Registry,
};

use super::{mutex::lock, report, verdicts::NamespaceVerdicts, watches::WatchAges};
use crate::dataplane::{DataplaneError, DropCounters};

/// What a scrape reads, shared by the daemon and the HTTP server.
#[derive(Clone, Debug)]
pub(super) struct Scrape {
    pub(super) registry: Arc<Mutex<Registry>>,
    /// Empty before the programs are loaded.
    counters: Arc<OnceLock<DropCounters>>,
    /// The pod at each interface.
    pods: Arc<Mutex<BTreeMap<u32, ObjectName>>>,
    /// Drops by namespace.
    verdicts: Arc<Mutex<NamespaceVerdicts>>,
    /// Since when watches are broken.
    pub(super) watches: Arc<WatchAges>,
}

/// Labels of `policy_drops`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DropLabels {
    namespace: String,
    pod: String,
    direction: &'static str,
    reason: &'static str,
}

impl Scrape {
    /// Starts with a registry.
    pub(super) fn new(mut registry: Registry) -> Self {
        let verdicts = NamespaceVerdicts::default();
        let help = "Dropped packets by namespace, also of pods that are gone";
        registry.register("verdicts", help, verdicts.counters());
        let watches = WatchAges::default();
        watches.register(&mut registry);
        Self {
            registry: Arc::new(Mutex::new(registry)),
            counters: Arc::default(),
            pods: Arc::default(),
            verdicts: Arc::new(Mutex::new(verdicts)),
            watches: Arc::new(watches),
        }
    }

    /// Adds the drops so far to the counters by namespace, before pods and their counters go.
    pub(super) fn record_verdicts(&self) {
        let due = self.counters.get().filter(|_| lock(&self.verdicts).is_due());
        if let Some(Err(error)) = due.map(|counters| self.read(counters)) {
            report::metrics_failed(&error);
        }
    }

    /// As if the kernel had counted one drop.
    #[cfg(test)]
    pub(super) fn drop_one(&self) {
        let (direction, reason) = (Direction::Egress as u8, Reason::NoRule as u8);
        let key = DropKey { ifindex: 7, direction, reason, pad: [0; 2] };
        lock(&self.verdicts).add(&BTreeMap::from([(key, 1)]), &BTreeMap::new());
    }

    fn read(&self, counters: &DropCounters) -> Result<BTreeMap<DropKey, u64>, DataplaneError> {
        let counts = counters.read()?;
        lock(&self.verdicts).add(&counts, &lock(&self.pods));
        Ok(counts)
    }

    /// From now on the kernel's drop counters are part of the text. Only the first call has an effect:
    /// the daemon loads its programs once.
    pub(super) fn set_counters(&self, counters: DropCounters) {
        let _ = self.counters.set(counters);
    }

    /// The pod at each interface, from now on.
    pub(super) fn set_pods(&self, pods: BTreeMap<u32, ObjectName>) {
        *lock(&self.pods) = pods;
    }

    /// The text; `None` where the counters cannot be read, which is logged.
    pub(super) fn text(&self) -> Option<String> {
        self.collect().inspect_err(|error| report::metrics_failed(&**error)).ok()
    }

    fn collect(&self) -> Result<String, Box<dyn Error>> {
        // Before the lock: the daemon waits for it, and must not wait for the kernel.
        let counts = self.counters.get().map(|counters| self.read(counters)).transpose()?;
        let counts = counts.unwrap_or_default();
        self.watches.measure();
        let drops = self.labelled(counts);
        Ok(text(&lock(&self.registry), drops)?)
    }

    /// The counters with their labels.
    fn labelled(&self, counts: BTreeMap<DropKey, u64>) -> Vec<(DropLabels, u64)> {
        let pods = lock(&self.pods);
        let labelled = counts.into_iter().filter_map(|(key, count)| {
            let pod = pods.get(&key.ifindex);
            let pod = pod.map(|name| (&*name.namespace, &*name.name));
            Some((DropLabels::of(key, pod)?, count))
        });
        labelled.collect()
    }
}

/// The text of `/metrics`, with the kernel's drop counters.
fn text(own: &Registry, drops: Vec<(DropLabels, u64)>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(DropTotals(drops)));
    let (mut text, mut of_kernel) = (String::new(), String::new());
    encode(&mut of_kernel, &registry)?;
    encode(&mut text, own)?;
    let own = text.strip_suffix("# EOF\n").unwrap_or(&text);
    Ok(format!("{own}{of_kernel}"))
}

impl DropLabels {
    /// The labels of a counter of the kernel; `None` for a direction or reason that this agent does not
    /// know.
    fn of(key: DropKey, pod: Option<(&str, &str)>) -> Option<Self> {
        let direction = Direction::from_number(key.direction)?.name();
        let reason = Reason::from_number(key.reason)?.name();
        let (namespace, pod) = pod.unwrap_or_default();
        Some(Self { namespace: namespace.to_owned(), pod: pod.to_owned(), direction, reason })
    }
}

/// The kernel's drop counters at one scrape. Interfaces of one pod are added up.
#[derive(Debug)]
struct DropTotals(Vec<(DropLabels, u64)>);

impl Collector for DropTotals {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut sums: BTreeMap<_, (&DropLabels, u64)> = BTreeMap::new();
        for (labels, count) in &self.0 {
            let DropLabels { namespace, pod, direction, reason } = labels;
            let sum = sums.entry((namespace, pod, direction, reason)).or_insert((labels, 0));
            sum.1 += count;
        }
        let help = "Dropped packets";
        let kind = ConstCounter::new(0_u64).metric_type();
        let mut metric = encoder.encode_descriptor("policy_drops", help, None, kind)?;
        for (labels, count) in sums.into_values() {
            ConstCounter::new(count).encode(metric.encode_family(labels)?)?;
        }
        Ok(())
    }
}
