//! How many records of an endpoint are told: a noisy pod hides no other's.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Records that an endpoint may have at once.
const BURST: u32 = 100;
/// Time in which an endpoint may have one more.
const INTERVAL: Duration = Duration::from_millis(50);

/// A token bucket per endpoint.
#[derive(Debug, Default)]
pub(super) struct Rates(BTreeMap<u32, Bucket>);

#[derive(Debug)]
struct Bucket {
    tokens: u32,
    since: Instant,
    left_out: u64,
}

impl Rates {
    /// Whether a record of an endpoint is told; if so, how many were not since the last that was.
    pub(super) fn admit(&mut self, ifindex: u32, now: Instant) -> Option<u64> {
        let full = Bucket { tokens: BURST, since: now, left_out: 0 };
        let bucket = self.0.entry(ifindex).or_insert(full);
        let intervals = now.duration_since(bucket.since).as_nanos() / INTERVAL.as_nanos();
        let gained = u32::try_from(intervals).unwrap_or(BURST).min(BURST);
        bucket.tokens = BURST.min(bucket.tokens + gained);
        bucket.since = if bucket.tokens == BURST { now } else { bucket.since + INTERVAL * gained };
        if bucket.tokens == 0 {
            bucket.left_out += 1;
            return None;
        }
        bucket.tokens -= 1;
        Some(std::mem::take(&mut bucket.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noisy_endpoint_is_cut_short_and_no_other() {
        let (mut rates, begin) = (Rates::default(), Instant::now());
        let told = (0..1000).filter(|_| rates.admit(1, begin).is_some()).count();
        assert_eq!(told, BURST as usize);
        assert_eq!(rates.admit(2, begin), Some(0), "another endpoint");
        assert_eq!(rates.admit(1, begin + INTERVAL), Some(900), "one more after a while");
        assert_eq!(rates.admit(1, begin + INTERVAL), None);
        let later = begin + INTERVAL * 5;
        let told = (0..1000).filter(|_| rates.admit(1, later).is_some()).count();
        assert_eq!(told, 4);
    }
}
