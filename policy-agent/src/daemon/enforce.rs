//! The node, brought in line and read back.

use std::time::Duration;

use tokio::time::Instant;

use super::{Daemon, Locals, report, retry::Retry};
use crate::{chain::chain, net::enforcers, node::Reconciled};

/// How long an agent without anything to do waits before it looks again: addresses inside of a
/// pod change without a word to the node.
const IDLE: Duration = Duration::from_secs(10);

/// How long an interface may wait for its pod and still be counted.
const FORGOTTEN: Duration = Duration::from_mins(10);

/// When what is enforced is read back.
#[derive(Debug)]
pub(super) struct Verify {
    pub(super) interval: Duration,
    pub(super) next: Instant,
}

impl Daemon {
    /// How long interfaces waited for their policies.
    fn observe_births(&mut self) {
        let endpoints = self.node.actual().endpoints();
        let found = self.born.extract_if(.., |ifindex, _| endpoints.contains_key(ifindex));
        for (_, born) in found {
            self.metrics.began(born.elapsed());
        }
        // Those of no pod are not waited for.
        self.born.retain(|_, born| born.elapsed() < FORGOTTEN);
    }

    pub(super) fn verifies(&self) -> bool {
        self.health.is_enforced() && !self.verify.interval.is_zero()
    }

    /// Names others that enforce policies here.
    async fn look_around(&mut self) {
        self.reporter.enforcers(enforcers(self.pins.as_deref()).await);
    }

    pub(super) async fn verify(&mut self) {
        self.look_around().await;
        match self.node.verify() {
            Ok(drift) => {
                report::drift(&drift);
                self.metrics.repaired(&drift);
            }
            Err(error) => report::failed(&error, self.verify.interval),
        }
        self.verify.next = Instant::now() + self.verify.interval;
    }

    pub(super) async fn enforce(&mut self) {
        let begin = Instant::now();
        let wait = match self.node.enforce().await {
            Ok(reconciled) => {
                self.metrics.enforced(begin.elapsed(), &reconciled);
                self.metrics.pods(self.node.desired().endpoints.len(), &reconciled);
                self.enforced(reconciled).await
            }
            Err(error) => {
                self.metrics.failed();
                let wait = self.retry.next();
                self.reporter.failed(&error, wait);
                self.health.fails(chain(&error));
                wait
            }
        };
        self.due = Instant::now() + wait;
    }

    /// What follows from a reconciliation that came to its end; when to look again.
    async fn enforced(&mut self, reconciled: Reconciled) -> Duration {
        let is_refused = !reconciled.not_attached.is_empty();
        match reconciled.not_attached.first() {
            None => self.health.recovered(),
            Some(refused) => self.health.fails(refused.reason.clone()),
        }
        let is_any = !is_refused || !self.node.actual().endpoints().is_empty();
        let is_first = is_any && self.health.enforced();
        let is_more = self.waiting.answer(&mut self.node);
        self.locals = Locals::new(self.node.desired(), self.node.actual().endpoints());
        self.observe_births();
        self.announcer.announce(&self.node, &reconciled);
        // A pod whose interface has no address yet gets one without a word to the node.
        let waits = is_refused || !reconciled.pods_without_interface.is_empty();
        let told = reconciled.steps > 0;
        self.reporter.reconciled(reconciled);
        if is_first {
            self.look_around().await;
        }
        if (told && !is_refused) || !waits {
            self.retry = Retry::new();
        }
        if is_more {
            return Duration::ZERO;
        }
        if waits { self.retry.next().min(IDLE) } else { IDLE }
    }
}
