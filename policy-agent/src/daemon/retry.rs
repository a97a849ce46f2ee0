//! The backoff between attempts.

use std::{fmt, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

/// The first delay, without jitter.
const FIRST: Duration = Duration::from_millis(100);
/// The longest delay, without jitter.
const LONGEST: Duration = Duration::from_secs(10);

/// Delays that double from `FIRST` to `LONGEST`, each with jitter, without end.
pub(super) struct Retry(ExponentialBackoff);

impl Retry {
    /// Starts with the first delay.
    pub(super) fn new() -> Self {
        let delays = ExponentialBuilder::new()
            .with_min_delay(FIRST)
            .with_max_delay(LONGEST)
            .without_max_times()
            .with_jitter();
        Self(delays.build())
    }

    /// The next delay.
    pub(super) fn next(&mut self) -> Duration {
        self.0.next().unwrap_or(LONGEST)
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Retry")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_up_to_the_longest_and_never_end() {
        let mut retry = Retry::new();
        let delays: Vec<Duration> = (0..50).map(|_| retry.next()).collect();
        assert!(delays[0] >= FIRST && delays[0] <= 2 * FIRST, "{:?}", delays[0]);
        assert!(delays[3] > delays[0], "{delays:?}");
        // backon adds jitter to the longest delay too.
        assert!(delays.iter().all(|delay| *delay <= 2 * LONGEST), "{delays:?}");
        assert!(delays[49] >= LONGEST, "{:?}", delays[49]);
    }
}
