//! Whether the agent does what it is there for.

use std::time::Duration;

use tokio::time::Instant;

use super::input::SyncState;

/// How long something may not be in force before the agent is no longer ready: what fails once is
/// tried again at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of the reconciliations so far.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Whether what is known is enforced.
    is_enforced: bool,
    /// Since when not all of it is, and why.
    failing: Option<(Instant, String)>,
}

impl Health {
    /// Whether anything is enforced at all.
    pub(super) fn is_enforced(&self) -> bool {
        self.is_enforced
    }

    /// Something is enforced; whether it is so for the first time.
    pub(super) fn enforced(&mut self) -> bool {
        !std::mem::replace(&mut self.is_enforced, true)
    }

    /// Everything is.
    pub(super) fn recovered(&mut self) {
        self.failing = None;
    }

    /// Not everything is, and why.
    pub(super) fn fails(&mut self, why: String) {
        let since = self.failing.take().map_or_else(Instant::now, |(since, _)| since);
        self.failing = Some((since, why));
    }

    /// Whether pods are spoken for, though one or the other may have a trouble of its own; else why
    /// not.
    pub(super) fn begun(&self, sync: &SyncState) -> Result<(), String> {
        match (sync.is_complete(), self.is_enforced) {
            (false, _) => Err(format!("not listed yet: {}", sync.missing().join(", "))),
            (true, false) => Err(match &self.failing {
                None => "nothing is enforced yet".to_owned(),
                Some((_, why)) => format!("nothing is enforced yet: {why}"),
            }),
            (true, true) => Ok(()),
        }
    }

    /// Whether policies are enforced as they are known; else why not.
    pub(super) fn ready(&self, sync: &SyncState) -> Result<(), String> {
        self.begun(sync)?;
        match &self.failing {
            Some((since, why)) if since.elapsed() >= PATIENCE => {
                Err(format!("not all is enforced for {} s: {why}", since.elapsed().as_secs()))
            }
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_fails_for_long_is_not_ready_and_says_why() {
        let mut sync = SyncState::default();
        let mut health = Health::default();
        assert!(health.ready(&sync).is_err_and(|why| why.contains("not listed yet")));
        sync.list_all();
        health.fails("no room".to_owned());
        let want = "nothing is enforced yet: no room";
        assert_eq!(health.ready(&sync), Err(want.to_owned()));
        assert!(health.enforced() && !health.enforced(), "it is the first time once");
        tokio::time::advance(Duration::from_secs(29)).await;
        assert_eq!(health.ready(&sync), Ok(()), "it is tried again");
        health.fails("still no room".to_owned());
        tokio::time::advance(Duration::from_secs(1)).await;
        let want = "not all is enforced for 30 s: still no room";
        assert_eq!(health.ready(&sync), Err(want.to_owned()));
        assert_eq!(health.begun(&sync), Ok(()), "a node is not given up for one pod");
        health.recovered();
        assert_eq!(health.ready(&sync), Ok(()));
    }
}
