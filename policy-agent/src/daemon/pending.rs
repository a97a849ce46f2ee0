//! Pods that wait for their policies before they start (S47).

use std::mem;

use policy_core::intent::Readiness;

use crate::{cni::PendingPod, node::Node};

/// The pods that wait.
#[derive(Debug, Default)]
pub(super) struct PendingPods(Vec<PendingPod>);

impl PendingPods {
    /// Adds a pod.
    pub(super) fn add(&mut self, pod: PendingPod) {
        self.0.push(pod);
    }

    /// Reports to each pod whether its policies are in force, and removes those that wait no longer.
    /// Call it after everything known was enforced.
    ///
    /// The hint of a pod that gave up is removed, because the runtime gives its addresses to others.
    /// Whether that changed anything, so that there is more to enforce.
    #[must_use]
    pub(super) fn report(&mut self, node: &mut Node) -> bool {
        let mut gave_up = Vec::new();
        for pending in mem::take(&mut self.0) {
            let readiness = node.readiness(&pending.sandbox);
            // The receiver is the plugin's connection: it is closed if the runtime gave up waiting.
            match pending.readiness.send(readiness) {
                Err(_closed) if pending.is_add => gave_up.push(pending.sandbox.pod),
                Ok(()) if readiness != Readiness::Enforced => self.0.push(pending),
                Err(_) | Ok(()) => {}
            }
        }
        // The runtime may have started the same pod once more meanwhile.
        gave_up.retain(|pod| self.0.iter().all(|pending| pending.sandbox.pod != *pod));
        gave_up.iter().fold(false, |more, pod| node.intent().remove_hint(pod) | more)
    }
}
