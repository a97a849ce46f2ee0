//! Metrics: prefix `policy_`, base units.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::{
    cni::InstallState,
    dataplane::{Drift, Drifted},
    node::Reconciled,
    source::kubernetes::Kind,
};
use policy_common::drops::{Direction, DropKey, Reason};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text::encode},
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::Registry,
};

/// What is counted as it happens.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    enforcing: Histogram,
    waited: Histogram,
    failures: Counter,
    steps: Counter,
    faults: Gauge,
    held_back: Gauge,
    pods: Family<State, Gauge>,
    repaired: Family<What, Counter>,
    watches: Family<Watched, Gauge>,
}

/// Of a pod of the node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

/// Of what drifts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct What {
    what: &'static str,
}

/// Of watches.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Watched {
    kind: &'static str,
}

/// Of dropped packets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Dropped {
    pub(super) namespace: String,
    pub(super) pod: String,
    direction: &'static str,
    reason: &'static str,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("policy");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The agent", build);
        let enforcing = Histogram::new(exponential_buckets(0.001, 2.0, 14));
        let waited = Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let (failures, steps, faults) = (Counter::default(), Counter::default(), Gauge::default());
        let (held_back, pods) = (Gauge::default(), Family::default());
        let help = "Time of a look at the node and of bringing the kernel in line, in seconds";
        registry.register("enforce_duration_seconds", help, enforcing.clone());
        let help = "Time from the creation of a pod's interface to its policies, in seconds";
        registry.register("interface_wait_seconds", help, waited.clone());
        registry.register(
            "enforce_failures",
            "Steps that failed and are tried again",
            failures.clone(),
        );
        registry.register("steps", "Writes to the kernel", steps.clone());
        registry.register("faults", "Parts of policies that cannot be expressed", faults.clone());
        registry.register(
            "held_back_namespaces",
            "Namespaces whose policies found no room: those of before are in force",
            held_back.clone(),
        );
        registry.register(
            "pods",
            "Pods of the node, by whether policies are enforced",
            pods.clone(),
        );
        let repaired = Family::<What, Counter>::default();
        for drifted in [Drifted::Attachment, Drifted::Entry, Drifted::Pin] {
            drop(repaired.get_or_create(&What { what: drifted.name() }));
        }
        registry.register(
            "drift_repaired",
            "What somebody else changed of what is enforced, and was put right",
            repaired.clone(),
        );
        let watches = Family::<Watched, Gauge>::default();
        let help = "Kinds that cannot be followed at the moment (1): what was last known stays";
        registry.register("watch_broken", help, watches.clone());
        for kind in Kind::ALL.map(Kind::plural) {
            drop(watches.get_or_create(&Watched { kind }));
        }
        Self {
            registry,
            enforcing,
            waited,
            failures,
            steps,
            faults,
            held_back,
            pods,
            repaired,
            watches,
        }
    }

    /// A look at the node that came to its end.
    pub(super) fn enforced(&self, took: Duration, reconciled: &Reconciled) {
        let Reconciled { faults, steps, held_back, not_attached, .. } = reconciled;
        self.enforcing.observe(took.as_secs_f64());
        self.steps.inc_by(*steps as u64);
        self.faults.set(gauged(faults.len()));
        self.held_back.set(gauged(held_back.len()));
        self.failures.inc_by(not_attached.len() as u64);
    }

    /// An interface came under its policies.
    pub(super) fn began(&self, waited: Duration) {
        self.waited.observe(waited.as_secs_f64());
    }

    /// Whether a kind can be followed.
    pub(super) fn watch_broken(&self, kind: Kind, is_broken: bool) {
        let kind = kind.plural();
        self.watches.get_or_create(&Watched { kind }).set(i64::from(is_broken));
    }

    /// A look at the node that failed.
    pub(super) fn failed(&self) {
        self.failures.inc();
    }

    /// What was not as it had been written, and was put right (S50).
    pub(super) fn repaired(&self, drift: &Drift) {
        for (drifted, count) in drift {
            let what = drifted.name();
            self.repaired.get_or_create(&What { what }).inc_by(*count as u64);
        }
    }

    /// Pods of the node: so many in all.
    pub(super) fn pods(&self, all: usize, reconciled: &Reconciled) {
        let not = reconciled.pods_without_interface.len() + reconciled.not_attached.len();
        let without = reconciled.pods_without_address;
        let states = [
            ("enforced", all.saturating_sub(not + without)),
            ("not_enforced", not),
            ("without_address", without),
        ];
        for (state, count) in states {
            self.pods.get_or_create(&State { state }).set(gauged(count));
        }
    }

    /// Takes note of the chained plugin from now on; where none is to be chained there is no such
    /// metric.
    pub(super) fn plugin(&mut self) -> impl Fn(InstallState) + use<> {
        let (installed, put_back) = (Gauge::<i64>::default(), Counter::<u64>::default());
        let help = "Whether the plugin is in the node's CNI configuration, and its program there";
        self.registry.register("cni_installed", help, installed.clone());
        let help = "Times that the plugin's entry was written there";
        self.registry.register("cni_entries_written", help, put_back.clone());
        move |standing| {
            installed.set(i64::from(standing != InstallState::Missing));
            put_back.inc_by(u64::from(standing == InstallState::Restored));
        }
    }

    /// The text of `OpenMetrics`, with what the kernel counted.
    pub(super) fn text(&mut self, drops: Vec<(Dropped, u64)>) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Drops(drops)));
        let (mut text, mut of_kernel) = (String::new(), String::new());
        encode(&mut of_kernel, &registry)?;
        encode(&mut text, &self.registry)?;
        let own = text.strip_suffix("# EOF\n").unwrap_or(&text);
        Ok(format!("{own}{of_kernel}"))
    }
}

fn gauged(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Dropped {
    /// `None` for a number of no direction or reason.
    pub(super) fn of(key: DropKey, pod: Option<(&str, &str)>) -> Option<Self> {
        let direction =
            if key.direction == Direction::Ingress as u8 { "ingress" } else { "egress" };
        let reason = Reason::from_number(key.reason)?.name();
        let (namespace, pod) = pod.unwrap_or_default();
        Some(Self { namespace: namespace.to_owned(), pod: pod.to_owned(), direction, reason })
    }
}

/// The counters of the kernel, as they are when somebody asks.
#[derive(Debug)]
struct Drops(Vec<(Dropped, u64)>);

impl Collector for Drops {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut sums: BTreeMap<_, (&Dropped, u64)> = BTreeMap::new();
        for (labels, count) in &self.0 {
            let Dropped { namespace, pod, direction, reason } = labels;
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
