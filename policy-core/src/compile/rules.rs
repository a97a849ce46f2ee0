//! Stage 1: policies into compiled rules, for those that select a pod of the scope.

pub(crate) mod cluster_policy;
pub(crate) mod merge;
pub(crate) mod network_policy;
pub(crate) mod peer_list;
pub(crate) mod rule;
pub(crate) mod selection;
pub(crate) mod selection_index;
