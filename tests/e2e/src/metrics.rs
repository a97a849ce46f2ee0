//! Reads the agents' metrics, from inside of their nodes.
//!
//! Input is the Prometheus text of `/metrics`; output are sums of counters by label, and histograms:
//!
//! ```text
//! policy_drops_total{pod="web",direction="ingress"} 4     sum("policy_drops_total", ["pod=\"web\""]) = 4
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::layout::Layout;
use testbed::network;
use xtask::command::answer;

/// Fetches the metrics with bash alone; HTTP 1.0 has no chunked encoding.
const FETCH: &str = r"exec 3<>/dev/tcp/127.0.0.1/9470 &&
printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3 && cat <&3";

/// Samples of an agent, by name and labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Samples(BTreeMap<String, f64>);

/// A histogram: how many times something took at most so many seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Times {
    within: Vec<(f64, f64)>,
}

/// Fetches the metrics of a node's agent.
pub(super) fn of(layout: &Layout, node: &str) -> Result<Samples> {
    let mut fetch = network::inside(layout, node);
    let text = answer(fetch.args(["bash", "-c", FETCH])).context("no metrics")?;
    ensure!(text.contains("# EOF"), "no metrics of {node}: {text}");
    Ok(read(&text))
}

fn read(text: &str) -> Samples {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let samples = lines.filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    });
    Samples(samples.collect())
}

impl Samples {
    /// Sum of all samples of a name that have all of these texts in their labels.
    pub(super) fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let of = self.0.iter().filter(|(key, _)| {
            key.strip_prefix(name).is_some_and(|rest| {
                (rest.is_empty() || rest.starts_with('{'))
                    && labels.iter().all(|label| rest.contains(label))
            })
        });
        of.map(|(_, value)| value).sum()
    }

    /// A histogram.
    pub(super) fn times(&self, name: &str) -> Times {
        let bucket = format!("{name}_bucket{{le=\"");
        let within = self.0.iter().filter_map(|(key, count)| {
            let (bound, _) = key.strip_prefix(&bucket)?.split_once('"')?;
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
            Some((bound, *count))
        });
        let mut within: Vec<_> = within.collect();
        within.sort_by(|one, other| one.0.total_cmp(&other.0));
        Times { within }
    }
}

impl Times {
    /// The sum of two histograms.
    pub(super) fn and(self, other: &Self) -> Self {
        if self.within.is_empty() {
            return other.clone();
        }
        self.each(other, |one, other| one + other)
    }

    /// The times that were added after `before`.
    pub(super) fn since(self, before: &Self) -> Self {
        self.each(before, |now, before| now - before)
    }

    fn each(mut self, other: &Self, join: impl Fn(f64, f64) -> f64) -> Self {
        for ((_, own), (_, other)) in self.within.iter_mut().zip(&other.within) {
            *own = join(*own, *other);
        }
        self
    }

    /// The number of times.
    pub(super) fn count(&self) -> f64 {
        self.within.last().map_or(0.0, |(_, count)| *count)
    }

    /// The upper bound of the bucket that has this percentile.
    pub(super) fn bound(&self, percent: f64) -> Option<Duration> {
        let wanted = self.count() * percent / 100.0;
        let (bound, _) = self.within.iter().find(|(_, count)| *count > 0.0 && *count >= wanted)?;
        Duration::try_from_secs_f64(*bound).ok()
    }
}

/// The median and the maximum, as text.
pub(super) fn text(times: &Times) -> String {
    let within = |percent| match times.bound(percent) {
        Some(bound) => format!("{} ms", bound.as_millis()),
        None => "longer".to_owned(),
    };
    format!("{} times, half within {}, all within {}", times.count(), within(50.0), within(100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "HTTP/1.0 200 OK\n\n# TYPE wait histogram\nwait_sum 1.5\nwait_count 4\n\
        wait_bucket{le=\"0.001\"} 1\nwait_bucket{le=\"0.002\"} 3\nwait_bucket{le=\"+Inf\"} 4\n\
        drops_total{pod=\"a\",direction=\"egress\"} 2\ndrops_total{pod=\"b\",direction=\"egress\"} 5\n\
        drops_total_more 7\n# EOF";

    #[test]
    fn samples_are_summed_by_label_and_histograms_read_by_bound() {
        let samples = read(TEXT);
        let sum = |labels: &[&str]| samples.sum("drops_total", labels).to_string();
        assert_eq!(sum(&[]), "7");
        assert_eq!(sum(&["pod=\"b\"", "egress"]), "5");
        let times = samples.times("wait");
        assert_eq!(times.count().to_string(), "4");
        assert_eq!(times.bound(25.0), Some(Duration::from_millis(1)));
        assert_eq!(times.bound(75.0), Some(Duration::from_millis(2)));
        assert_eq!(times.bound(100.0), None, "beyond the last bound");
        assert_eq!(times.clone().since(&times).count().to_string(), "0");
        assert_eq!(times.clone().and(&times).count().to_string(), "8");
        assert_eq!(Times::default().bound(50.0), None);
    }
}
