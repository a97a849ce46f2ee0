//! Brings the kernel to the desired state, as far as it fits.
//!
//! Input: what [`Node`] knows of the cluster and the kernel. Output: a [`Reconciled`]. What does not fit
//! waits, and nothing waits for it:
//!
//! ```text
//! frontends       old ones are deleted before new ones are written, in two plans
//! policies        the namespace with the policies that grew most keeps its earlier ones
//! new pods        they are closed, where no policy grew
//! ```

use std::time::Instant;

use policy_common::frontend::EVERY_PORT;
use policy_core::{
    desired::Frontend,
    intent::ClosedPod,
    model::ObjectName,
    plan::{Plan, close_newcomers, plan},
};

use super::{InterfaceConflict, Node, NodeError, Reconciled, monotonic_clock, reconciled};

/// Whether a reconciliation writes frontends that the kernel does not have yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NewFrontends {
    Now,
    /// The old ones must go first: there is no place for both.
    Later,
}

impl Node {
    /// Brings the kernel from what it holds to the desired state of the cluster, step by step. A namespace
    /// is held back if its new policies do not fit.
    ///
    /// # Errors
    ///
    /// [`NodeError::Discover`] before anything was changed. [`NodeError::Step`] with the step that
    /// failed: the steps before it stay in force, and the next call continues from there.
    pub async fn enforce(&mut self) -> Result<Reconciled, NodeError> {
        self.intent.release_due(self.started.elapsed());
        loop {
            let error = match self.reconcile_in_order().await {
                Ok(reconciled) => return Ok(self.record_success(reconciled)),
                Err(error) => error,
            };
            let Some(full) = error.full() else { return Err(error) };
            self.full_maps.extend(full.full_map());
            let reason = full.to_string();
            let Some(rolled_back) = self.intent.roll_back() else {
                // No policy grew, so new pods need what is missing: the others go on without them.
                if self.intent.close_new_pods(reason, self.started.elapsed()) {
                    continue;
                }
                return Err(error);
            };
            // Frees what was written of the new policies before those of other namespaces need it.
            let freed = self.reconcile_once(NewFrontends::Now).await;
            self.intent.hold_back(rolled_back, reason, self.started.elapsed());
            freed?;
        }
    }

    /// Reconciles, in two parts where frontends that go must make space for new ones.
    async fn reconcile_in_order(&mut self) -> Result<Reconciled, NodeError> {
        if self.must_delete_frontends_first() {
            self.reconcile_once(NewFrontends::Later).await?;
        }
        self.reconcile_once(NewFrontends::Now).await
    }

    /// Whether old and new frontends do not fit into the map together, as a plan needs it.
    fn must_delete_frontends_first(&self) -> bool {
        let desired = self.intent.desired();
        let wanted = desired.frontends.keys();
        let new = wanted.filter(|frontend| self.actual.frontend(frontend).is_none()).count();
        new + self.actual.frontend_count() > self.frontend_limit
    }

    /// Discovers, plans and applies one time.
    async fn reconcile_once(&mut self, frontends: NewFrontends) -> Result<Reconciled, NodeError> {
        let mut interfaces = self.discover().await?;
        self.delete_flows_of_reassigned()?;
        let faults = self.intent.faults().to_vec();
        let mut desired = self.intent.desired();
        if frontends == NewFrontends::Later {
            let desired = desired.to_mut();
            let is_there = |frontend: &Frontend| self.actual.frontend(frontend).is_some();
            let is_closed = |frontend: &Frontend| frontend.port == EVERY_PORT;
            let closed = desired.frontends.keys().filter(|one| is_closed(one) && !is_there(one));
            // An address must not be open between two plans.
            let fit = closed.count() + self.actual.frontend_count() <= self.frontend_limit;
            desired.frontends.retain(|one, _| is_there(one) || fit && is_closed(one));
        }
        let Plan { steps, pods_without_interface, interfaces_without_pod, pods_without_slot } =
            plan(&mut self.actual, &desired, &interfaces, self.options);
        let snapshot = self.intent.snapshot();
        self.attributor.plan(monotonic_clock(), &self.actual, &steps, &desired, snapshot);
        drop(desired);
        let unmatched =
            self.intent.sort_unmatched(&interfaces_without_pod, self.actual.endpoints());
        let start = Instant::now();
        let refused = match self.apply_steps(&steps).await {
            Ok(refused) => refused,
            Err(error) => {
                let desired = self.intent.desired();
                let closing = close_newcomers(&self.actual, &desired, &interfaces, self.options);
                drop(desired);
                // The first failure is the one to report.
                let _ = self.apply_steps(&closing).await;
                return Err(error);
            }
        };
        let full = refused.iter().filter_map(|(_, error)| error.full()?.full_map());
        self.full_maps.extend(full);
        self.dataplane.commit().map_err(|source| NodeError::Commit(Box::new(source)))?;
        let write_time = start.elapsed();
        if self.guards_unknown {
            let guarded = self.dataplane.guard(&unmatched.unknown);
            guarded.map_err(|source| NodeError::Guard(Box::new(source)))?;
        }
        let conflicts = interfaces.values().filter_map(InterfaceConflict::of).collect();
        let interfaces_without_pod = interfaces_without_pod.iter();
        Ok(Reconciled {
            faults,
            steps: steps.len(),
            write_time,
            pods_without_interface,
            pods_without_address: 0,
            not_attached: reconciled::not_attached(&refused, self.desired()),
            interfaces_without_pod: interfaces_without_pod
                .filter_map(|ifindex| interfaces.remove(ifindex))
                .collect(),
            held_back: Vec::new(),
            left_out_services: Vec::new(),
            closed_pods: pods_without_slot.into_iter().map(without_slot).collect(),
            conflicts,
        })
    }

    /// Reports a success to the intent, and completes the outcome with what it knows.
    fn record_success(&mut self, mut reconciled: Reconciled) -> Reconciled {
        self.intent.record_success(&reconciled.not_enforced());
        reconciled.held_back = self.intent.held_back();
        reconciled.left_out_services = self.intent.left_out_services();
        if !reconciled.closed_pods.is_empty() {
            self.full_maps.push("slots");
        }
        reconciled.closed_pods.extend(self.intent.closed_pods());
        reconciled.count_pods_without_address(self.desired());
        reconciled
    }
}

/// A pod for which no slot is free.
fn without_slot(pod: ObjectName) -> ClosedPod {
    let reason = "every slot of the node is taken by another pod".to_owned();
    ClosedPod { pod, reason }
}
