//! The text of `/metrics`, collected on the thread of the HTTP server.
//!
//! Input: the registry of [`Metrics`](super::metrics::Metrics), the kernel's drop counters, and which
//! pod is at which interface, which the daemon writes after each reconciliation. A scrape needs nothing
//! else of the daemon, so that it is answered while a reconciliation or a takeover goes on.

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use policy_core::model::ObjectName;
use prometheus_client::registry::Registry;

use super::{
    metrics::{self, DropLabels},
    report,
};
use crate::dataplane::DropCounters;

/// What a scrape reads, shared by the daemon and the HTTP server.
#[derive(Clone, Debug, Default)]
pub(super) struct Scrape {
    pub(super) registry: Arc<Mutex<Registry>>,
    kernel: Arc<Mutex<KernelState>>,
}

/// The drop counters, and whose they are.
#[derive(Debug, Default)]
struct KernelState {
    /// `None` before the programs are loaded.
    counters: Option<DropCounters>,
    pods: BTreeMap<u32, ObjectName>,
}

impl Scrape {
    /// Starts with a registry.
    pub(super) fn new(registry: Registry) -> Self {
        Self { registry: Arc::new(Mutex::new(registry)), kernel: Arc::default() }
    }

    /// From now on the kernel's drop counters are part of the text.
    pub(super) fn set_counters(&self, counters: DropCounters) {
        lock(&self.kernel).counters = Some(counters);
    }

    /// The pod at each interface, from now on.
    pub(super) fn set_pods(&self, pods: BTreeMap<u32, ObjectName>) {
        lock(&self.kernel).pods = pods;
    }

    /// The text; `None` where the counters cannot be read, which is logged.
    pub(super) fn text(&self) -> Option<String> {
        self.collect().inspect_err(|error| report::metrics_failed(&**error)).ok()
    }

    fn collect(&self) -> Result<String, Box<dyn Error>> {
        let kernel = lock(&self.kernel);
        let counts = match &kernel.counters {
            Some(counters) => counters.read()?,
            None => BTreeMap::new(),
        };
        let drops = counts.into_iter().filter_map(|(key, count)| {
            let pod = kernel.pods.get(&key.ifindex);
            let pod = pod.map(|name| (&*name.namespace, &*name.name));
            Some((DropLabels::of(key, pod)?, count))
        });
        Ok(metrics::text(&lock(&self.registry), drops.collect())?)
    }
}

/// A lock; what a thread that panicked left in it is whole, because each write replaces a field.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
