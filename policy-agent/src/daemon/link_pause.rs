//! When a change of the node's links is reconciled.
//!
//! The first change is reconciled at once. While changes go on, the pause between two reconciliations
//! grows, so that a pod that sets its link up and down all the time delays nothing else:
//!
//! ```text
//! 0 ms     change      reconciled at once         the next one after 5 ms
//! 1 ms     change      waits until 5 ms
//! 5 ms     reconciled                             the next one after 10 ms, 20, …, at most 500
//! 2 s after the last change                       at once again
//! ```

use std::time::Duration;

use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(500);
/// How long no link may change before the pause is forgotten.
const CALM: Duration = Duration::from_secs(2);

/// The pause between reconciliations of changed links.
#[derive(Debug)]
pub(super) struct LinkPause {
    pause: Duration,
    last_change: Option<Instant>,
    /// No changed link is reconciled before.
    earliest: Instant,
    /// Whether a change waits to be reconciled.
    is_due: bool,
}

impl LinkPause {
    pub(super) fn new(now: Instant) -> Self {
        Self { pause: Duration::ZERO, last_change: None, earliest: now, is_due: false }
    }

    /// When a change of links that was reported now is to be reconciled.
    pub(super) fn changed(&mut self, now: Instant) -> Instant {
        if self.last_change.is_none_or(|last| now.saturating_duration_since(last) > CALM) {
            self.pause = Duration::ZERO;
            self.earliest = now;
        }
        self.last_change = Some(now);
        self.is_due = true;
        now.max(self.earliest)
    }

    /// A reconciliation has ended.
    pub(super) fn reconciled(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_due) {
            self.pause = (2 * self.pause).clamp(FIRST, LONGEST);
            self.earliest = now + self.pause;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_between_changes_grows_and_is_forgotten_after_a_calm() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut pause = LinkPause::new(start);
        assert_eq!(pause.changed(at(0)), at(0), "at once");
        pause.reconciled(at(1));
        assert_eq!(pause.changed(at(2)), at(6), "5 ms after the last");
        assert_eq!(pause.changed(at(4)), at(6));
        pause.reconciled(at(7));
        assert_eq!(pause.changed(at(8)), at(17), "10 ms after the last");
        let mut now = 17;
        for _ in 0..20 {
            pause.reconciled(at(now));
            pause.changed(at(now));
            now += 1;
        }
        assert_eq!(pause.changed(at(now)), at(now - 1 + 500), "no longer than half a second");
        pause.reconciled(at(now));
        pause.reconciled(at(now + 5));
        assert_eq!(pause.changed(at(now + 3000)), at(now + 3000), "after a calm");
    }
}
