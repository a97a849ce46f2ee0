//! Metrics of the history of denied flows.

use std::sync::atomic::Ordering;

use policy_report::flows::LostFlows;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::gauge_value;
use crate::flows::FlowHistory;

/// How much memory the flows use, and what was lost.
#[derive(Debug, Default)]
pub(super) struct HistoryMetrics {
    bytes: Gauge,
    lost: Family<LossLabels, Counter>,
}

/// Labels of `policy_flow_history_lost`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LossLabels {
    what: &'static str,
}

impl HistoryMetrics {
    /// Registers them, with all their labels.
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Memory of the denied flows that /flows reports, in bytes";
        registry.register("flow_history_bytes", help, self.bytes.clone());
        let help = "What /flows lacks: flows that were forgotten because the memory is used up, and \
                    dropped packets without a record";
        registry.register("flow_history_lost", help, self.lost.clone());
        self.set_lost(LostFlows::default());
    }

    /// A packet was added.
    pub(super) fn update(&self, history: &FlowHistory) {
        self.bytes.set(gauge_value(history.bytes()));
        self.set_lost(history.lost());
    }

    fn set_lost(&self, lost: LostFlows) {
        for (what, count) in [("flows", lost.flows), ("packets", lost.packets)] {
            let counter = self.lost.get_or_create(&LossLabels { what });
            counter.inner().store(count, Ordering::Relaxed);
        }
    }
}
