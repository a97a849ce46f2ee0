//! Named ports of policies in force that no possible destination has (S24).
//!
//! Input: the cluster, after a reconciliation. Output: findings for the log, `/status` and Events. They
//! are no faults: such a port is enforced as it is written, and allows nothing.

use std::time::Duration;

use policy_core::lint::{Finding, unresolved_ports};
use tokio::time::Instant;

use crate::node::Node;

/// Shortest time between two checks: each may walk all pods of the cluster, and pods change all the time.
const INTERVAL: Duration = Duration::from_secs(10);

/// The result of the last check.
#[derive(Debug, Default)]
pub(super) struct UnresolvedPorts {
    checked: Option<Instant>,
    found: Vec<Finding>,
}

impl UnresolvedPorts {
    /// Checks again if the last check is old enough; what it found.
    pub(super) fn update(&mut self, node: &Node) -> &[Finding] {
        if self.checked.is_none_or(|checked| checked.elapsed() >= INTERVAL) {
            let in_force = node.desired().policies.keys().cloned().collect();
            self.found = unresolved_ports(node.snapshot(), &in_force);
            self.checked = Some(Instant::now());
        }
        &self.found
    }
}
