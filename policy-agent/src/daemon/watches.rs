//! How old the agent's view of the cluster is, for metrics.
//!
//! Input: when a watch breaks and works again. Output at each scrape: the seconds for which each
//! resource has not been followed. Before the first list they count from the start.

use std::{collections::BTreeMap, sync::Mutex, time::Instant};

use policy_kube::{RESOURCES, Resource};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

use super::mutex::lock;

/// Labels of the metrics of watches.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct WatchLabels {
    pub(super) kind: &'static str,
}

/// Since when each resource is not followed; not here while it is.
#[derive(Debug)]
pub(super) struct WatchAges {
    since: Mutex<BTreeMap<&'static str, Instant>>,
    seconds: Family<WatchLabels, Gauge>,
}

impl Default for WatchAges {
    fn default() -> Self {
        let now = Instant::now();
        let since = RESOURCES.into_iter().map(|resource| (resource.plural, now));
        Self { since: Mutex::new(since.collect()), seconds: Family::default() }
    }
}

impl WatchAges {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Seconds for which changes of a resource have not been read; 0 while they are";
        registry.register("watch_stale_seconds", help, self.seconds.clone());
    }

    /// A resource is followed from now on, or not.
    pub(super) fn set(&self, resource: Resource, is_followed: bool) {
        let mut since = lock(&self.since);
        if is_followed {
            since.remove(resource.plural);
        } else {
            since.entry(resource.plural).or_insert_with(Instant::now);
        }
    }

    /// Every resource was read at once, from files.
    pub(super) fn set_all(&self) {
        lock(&self.since).clear();
    }

    /// Writes the ages of this moment.
    pub(super) fn measure(&self) {
        let since = lock(&self.since);
        for Resource { plural: kind, .. } in RESOURCES {
            let age = since.get(kind).map_or(0, |since| since.elapsed().as_secs());
            let age = i64::try_from(age).unwrap_or(i64::MAX);
            self.seconds.get_or_create(&WatchLabels { kind }).set(age);
        }
    }
}
