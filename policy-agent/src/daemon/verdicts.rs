//! Drops by namespace, for metrics that outlive the pods.
//!
//! The kernel counts by interface, and its counters end with the pod; what they grew by is added here
//! to the counter of the pod's namespace:
//!
//! ```text
//! kernel   12 egress no-rule   7 → 9      pod shop/web at 12    shop egress no-rule  + 2
//! kernel   12 egress no-rule   9 → 3      another pod at 12     db   egress no-rule  + 3
//! ```
//!
//! The HTTP server's thread calls it at each scrape, and the daemon before a reconciliation.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use policy_common::drops::{Direction, DropKey, Reason};
use policy_core::model::ObjectName;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};

/// The most namespaces with counters of their own; further ones share those without a name.
const NAMESPACES: usize = 256;
/// Shortest time between two additions without a scrape.
const INTERVAL: Duration = Duration::from_secs(1);

/// Labels of `policy_verdicts`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabels {
    namespace: String,
    direction: &'static str,
    verdict: &'static str,
    reason: &'static str,
}

/// The counters, and what the kernel's were when they were last added.
#[derive(Debug, Default)]
pub(super) struct NamespaceVerdicts {
    counters: Family<VerdictLabels, Counter>,
    namespaces: BTreeSet<String>,
    before: BTreeMap<DropKey, u64>,
    added: Option<Instant>,
}

impl NamespaceVerdicts {
    /// To register.
    pub(super) fn counters(&self) -> impl prometheus_client::registry::Metric + use<> {
        self.counters.clone()
    }

    /// Whether the last addition is old enough for another one without a scrape: a node on which pods
    /// come and go reconciles many times in a second.
    pub(super) fn is_due(&self) -> bool {
        self.added.is_none_or(|added| added.elapsed() >= INTERVAL)
    }

    /// Adds what the kernel's counters grew by.
    pub(super) fn add(
        &mut self,
        counts: &BTreeMap<DropKey, u64>,
        pods: &BTreeMap<u32, ObjectName>,
    ) {
        for (key, count) in counts {
            let before = self.before.get(key).copied().unwrap_or_default();
            // A smaller number is the counter of another pod, at the same interface.
            let more = count.checked_sub(before).unwrap_or(*count);
            let pod = pods.get(&key.ifindex).map(|pod| pod.namespace.as_str());
            let namespace = self.namespace(pod.unwrap_or_default());
            let direction = Direction::from_number(key.direction);
            if let Some((direction, reason)) = direction.zip(Reason::from_number(key.reason)) {
                let (direction, reason) = (direction.name(), reason.name());
                let labels = VerdictLabels { namespace, direction, verdict: "drop", reason };
                self.counters.get_or_create(&labels).inc_by(more);
            }
        }
        self.before.clone_from(counts);
        self.added = Some(Instant::now());
    }

    /// The label of a namespace.
    fn namespace(&mut self, name: &str) -> String {
        if !self.namespaces.contains(name) {
            if self.namespaces.len() >= NAMESPACES {
                return String::new();
            }
            self.namespaces.insert(name.to_owned());
        }
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ifindex: u32, count: u64) -> BTreeMap<DropKey, u64> {
        let (direction, reason) = (Direction::Egress as u8, Reason::NoRule as u8);
        BTreeMap::from([(DropKey { ifindex, direction, reason, pad: [0; 2] }, count)])
    }

    fn pod(ifindex: u32, namespace: &str) -> BTreeMap<u32, ObjectName> {
        BTreeMap::from([(ifindex, ObjectName::new(namespace, "pod"))])
    }

    fn total(verdicts: &NamespaceVerdicts, namespace: &str) -> u64 {
        let (direction, reason) = (Direction::Egress.name(), Reason::NoRule.name());
        let namespace = namespace.to_owned();
        let labels = VerdictLabels { namespace, direction, verdict: "drop", reason };
        verdicts.counters.get_or_create(&labels).get()
    }

    #[test]
    fn drops_of_a_namespace_outlive_its_pods() {
        let mut verdicts = NamespaceVerdicts::default();
        verdicts.add(&at(12, 7), &pod(12, "shop"));
        verdicts.add(&at(12, 9), &pod(12, "shop"));
        verdicts.add(&BTreeMap::new(), &BTreeMap::new());
        assert_eq!(total(&verdicts, "shop"), 9);
        verdicts.add(&at(12, 2), &pod(12, "shop"));
        verdicts.add(&at(12, 1), &pod(12, "db"));
        assert_eq!((total(&verdicts, "shop"), total(&verdicts, "db")), (11, 1));
    }

    #[test]
    fn namespaces_beyond_the_limit_share_their_counters() {
        let mut verdicts = NamespaceVerdicts::default();
        for number in 0..NAMESPACES + 3 {
            verdicts.add(&at(u32::try_from(number).unwrap_or_default(), 1), &BTreeMap::new());
        }
        assert_eq!(total(&verdicts, ""), NAMESPACES as u64 + 3, "of no known pod");
        for number in 0..=NAMESPACES {
            let ifindex = u32::try_from(number).unwrap_or_default();
            verdicts.add(&at(ifindex, 5), &pod(ifindex, &format!("n{number}")));
            verdicts.add(&BTreeMap::new(), &BTreeMap::new());
        }
        assert_eq!(total(&verdicts, "n0"), 5);
        assert_eq!(total(&verdicts, &format!("n{NAMESPACES}")), 0);
        assert!(total(&verdicts, "") > NAMESPACES as u64 + 3);
    }
}
