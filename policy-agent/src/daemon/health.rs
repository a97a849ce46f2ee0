//! Whether the agent is ready: `/readyz`, and the chained plugin's first question.
//!
//! Input: the state of the watches and the outcome of each reconciliation. Output: `Ok`, or a text for
//! an operator that says what is missing.

use std::time::Duration;

use tokio::time::Instant;

use super::input::SyncState;

/// How long a reconciliation may fail before the agent is not ready: the next one comes at once, and
/// often succeeds.
const PATIENCE: Duration = Duration::from_secs(30);

/// The outcome of the reconciliations so far.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Whether any of them enforced something.
    is_enforced: bool,
    /// Since when they fail, and why the last one did.
    failing: Option<(Instant, String)>,
    /// A program of another that is before the agent's, by the last verification.
    bypass: Option<String>,
}

impl Health {
    /// Whether anything is enforced at all.
    pub(super) fn is_enforced(&self) -> bool {
        self.is_enforced
    }

    /// Something is enforced; whether this is the first time.
    pub(super) fn enforced(&mut self) -> bool {
        !std::mem::replace(&mut self.is_enforced, true)
    }

    /// Everything is enforced.
    pub(super) fn recovered(&mut self) {
        self.failing = None;
    }

    /// Something is not enforced.
    pub(super) fn fails(&mut self, why: String) {
        let since = self.failing.take().map_or_else(Instant::now, |(since, _)| since);
        self.failing = Some((since, why));
    }

    /// The last verification found a program of another before the agent's, or none.
    pub(super) fn bypassed(&mut self, bypass: Option<String>) {
        self.bypass = bypass;
    }

    /// Whether the agent has started: the cluster was read and enforced once, whatever fails since
    /// at single pods. The error says what is missing.
    pub(super) fn started(&self, sync: &SyncState) -> Result<(), String> {
        match (sync.is_complete(), self.is_enforced) {
            (false, _) => Err(format!("not listed yet: {}", sync.missing().join(", "))),
            (true, false) => Err(match &self.failing {
                None => "nothing is enforced yet".to_owned(),
                Some((_, why)) => format!("nothing is enforced yet: {why}"),
            }),
            (true, true) => Ok(()),
        }
    }

    /// Whether the node enforces what the cluster asks for. The error says what is missing.
    pub(super) fn ready(&self, sync: &SyncState) -> Result<(), String> {
        self.started(sync)?;
        if let Some(bypass) = &self.bypass {
            return Err(format!("enforcement is bypassed: {bypass}"));
        }
        match &self.failing {
            Some((since, why)) if since.elapsed() >= PATIENCE => Err(format!(
                "not everything is enforced, since {} s: {why}",
                since.elapsed().as_secs()
            )),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_fails_for_long_is_not_ready_and_reports_why() {
        let mut sync = SyncState::default();
        let mut health = Health::default();
        assert!(health.ready(&sync).is_err_and(|why| why.contains("not listed yet")));
        sync.list_all();
        health.fails("map full".to_owned());
        let want = "nothing is enforced yet: map full";
        assert_eq!(health.ready(&sync), Err(want.to_owned()));
        assert!(health.enforced() && !health.enforced(), "there is one first time");
        tokio::time::advance(Duration::from_secs(29)).await;
        assert_eq!(health.ready(&sync), Ok(()), "it is retried");
        health.fails("still map full".to_owned());
        tokio::time::advance(Duration::from_secs(1)).await;
        let want = "not everything is enforced, since 30 s: still map full";
        assert_eq!(health.ready(&sync), Err(want.to_owned()));
        assert_eq!(health.started(&sync), Ok(()), "one pod does not stop a node");
        health.recovered();
        assert_eq!(health.ready(&sync), Ok(()));
        health.bypassed(Some("shaper is first".to_owned()));
        let want = "enforcement is bypassed: shaper is first";
        assert_eq!(health.ready(&sync), Err(want.to_owned()));
        health.bypassed(None);
        assert_eq!(health.ready(&sync), Ok(()));
    }
}
