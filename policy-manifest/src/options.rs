//! How to read manifests: as an enforcer does, or as a person who asks about a repository.

use std::collections::BTreeSet;

/// How to read manifests. The default is that of the agent and the lab: nothing is filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Whether to fill in what a cluster would add to the files of a repository.
    ///
    /// Pods of workload templates, and addresses of pods and Services that have none. Policies of
    /// the kinds `AdminNetworkPolicy` and `BaselineAdminNetworkPolicy` are read too.
    pub fill_in: bool,
    /// Whether to go on without policies of kinds that are not evaluated.
    pub ignore_foreign: bool,
    /// Names of sources that are passed over where they have errors and name no policy, as the
    /// files of a folder are.
    pub optional: BTreeSet<String>,
}
