//! How long to wait before something is tried again.

use std::{fmt, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

/// The first wait, without its jitter.
const FIRST: Duration = Duration::from_millis(100);
/// The longest, without its jitter.
const LONGEST: Duration = Duration::from_secs(10);

/// Waits that grow, each with some jitter, without an end.
pub(super) struct Retry(ExponentialBackoff);

impl Retry {
    /// From the first wait.
    pub(super) fn new() -> Self {
        let waits = ExponentialBuilder::new()
            .with_min_delay(FIRST)
            .with_max_delay(LONGEST)
            .without_max_times()
            .with_jitter();
        Self(waits.build())
    }

    /// The next wait.
    pub(super) fn next(&mut self) -> Duration {
        self.0.next().unwrap_or(LONGEST)
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("retry")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_longest_and_never_end() {
        let mut retry = Retry::new();
        let waits: Vec<Duration> = (0..50).map(|_| retry.next()).collect();
        assert!(waits[0] >= FIRST && waits[0] <= 2 * FIRST, "{:?}", waits[0]);
        assert!(waits[3] > waits[0], "{waits:?}");
        // backon adds the jitter to the longest wait too.
        assert!(waits.iter().all(|wait| *wait <= 2 * LONGEST), "{waits:?}");
        assert!(waits[49] >= LONGEST, "{:?}", waits[49]);
    }
}
