//! The labels of the daemon's metrics.

use prometheus_client::encoding::EncodeLabelSet;

/// Labels of `policy_pods`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PodLabels {
    pub(super) state: &'static str,
}

/// Labels of `policy_drift_repaired`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DriftLabels {
    pub(super) what: &'static str,
}

/// Labels of the metrics of a map.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct MapLabels {
    pub(super) map: &'static str,
}

/// Labels of `policy_flow_table_use_ratio`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct FlowTableLabels {
    pub(super) namespace: String,
    pub(super) pod: String,
}

/// Labels of `policy_denied_packets`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DenialLabels {
    pub(super) kind: &'static str,
    pub(super) namespace: String,
    pub(super) policy: String,
    pub(super) direction: &'static str,
}
