//! Progress of steps that take long: what runs, how much of it is done, and for how long.
//!
//! [`Progress`] is one step. On a terminal its line is redrawn; elsewhere it is printed every 30
//! seconds, so that a log shows that the step is alive:
//!
//! ```text
//! building Kubernetes 1.35.4: 812 of 2310, k8s.io/api/core/v1, 3 min 20 s
//! ```
//!
//! [`Steps`] are the steps of a verb, each printed with its number and its time.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

/// Time between two lines where no terminal shows them.
const INTERVAL: Duration = Duration::from_secs(30);

/// Time between two states of a line on a terminal.
const REDRAWN: Duration = Duration::from_millis(100);

/// A step that is under way.
pub struct Progress {
    what: String,
    total: Option<u64>,
    done: u64,
    part: String,
    start: Instant,
    next_line: Duration,
    /// Draws nothing where stderr is no terminal.
    bar: ProgressBar,
}

impl Progress {
    /// Shows that `what` starts; `total` is the number of its parts, where that is known.
    pub fn start(what: &str, total: Option<u64>) -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        if bar.is_hidden() {
            eprintln!("{what} …");
        }
        Self {
            what: what.to_owned(),
            total,
            done: 0,
            part: String::new(),
            start: Instant::now(),
            next_line: INTERVAL,
            bar,
        }
    }

    /// Counts one more part, which starts now.
    pub fn part(&mut self, name: &str) {
        self.advance(1, name);
    }

    /// Counts more parts, of which the last one, or all of them together, have a name.
    pub fn advance(&mut self, count: u64, name: &str) {
        self.done += count;
        name.clone_into(&mut self.part);
    }

    /// Shows the state; called several times a second.
    pub fn tick(&mut self) {
        if !self.bar.is_hidden() {
            self.bar.set_message(self.line());
            self.bar.tick();
        } else if self.start.elapsed() >= self.next_line {
            self.next_line += INTERVAL;
            eprintln!("{}", self.line());
        }
    }

    /// Lets time pass, and shows the state meanwhile.
    pub fn sleep(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.tick();
            thread::sleep(REDRAWN.min(end.saturating_duration_since(Instant::now())));
        }
    }

    /// Replaces the line by one with the outcome, such as `done`, and the time.
    pub fn end(self, outcome: &str) {
        self.bar.finish_and_clear();
        eprintln!("{}: {outcome} after {}", self.what, time(self.start.elapsed()));
    }

    fn line(&self) -> String {
        let Self { what, done, part, .. } = self;
        let elapsed = time(self.start.elapsed());
        match self.total {
            // A total that was estimated too low must not show as `11 of 10`.
            Some(total) if *done > 0 => {
                format!("{what}: {done} of {}, {part}, {elapsed}", total.max(*done))
            }
            None if *done > 0 => format!("{what}: {done}, {part}, {elapsed}"),
            _ => format!("{what}: {elapsed}"),
        }
    }
}

/// The steps of a verb, in order.
pub struct Steps {
    total: usize,
    started: usize,
}

impl Steps {
    /// A verb of `total` steps.
    pub fn new(total: usize) -> Self {
        Self { total, started: 0 }
    }

    /// Runs the next step, and prints its number, its name and its time.
    pub fn run<T>(&mut self, name: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        let (value, took) = self.run_silent(name, step)?;
        eprintln!("   {name}: {}", time(took));
        Ok(value)
    }

    /// As [`Steps::run`], but prints nothing at the end: the step's own output has the last line.
    pub fn run_last<T>(&mut self, name: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        self.run_silent(name, step).map(|(value, _)| value)
    }

    fn run_silent<T>(
        &mut self,
        name: &str,
        step: impl FnOnce() -> Result<T>,
    ) -> Result<(T, Duration)> {
        self.started += 1;
        eprintln!("== {} of {}: {name}", self.started, self.total);
        let start = Instant::now();
        let value = step().with_context(|| format!("{name} failed"))?;
        Ok((value, start.elapsed()))
    }
}

/// A duration for a reader: `0.4 s`, `48 s`, `3 min 20 s`.
pub fn time(duration: Duration) -> String {
    match duration.as_secs() {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        seconds @ 10..60 => format!("{seconds} s"),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Progress, time};

    #[test]
    fn a_duration_has_the_unit_that_fits() {
        let shown = [400, 9_960, 48_000, 200_000].map(Duration::from_millis).map(time);
        assert_eq!(shown, ["0.4 s", "10.0 s", "48 s", "3 min 20 s"]);
    }

    #[test]
    fn a_line_shows_the_part_and_never_more_parts_than_there_are() {
        let mut progress = Progress::start("building", Some(2));
        assert!(progress.line().starts_with("building: 0.0 s"), "{}", progress.line());
        for (part, want) in [
            ("a", "building: 1 of 2, a, "),
            ("b", "building: 2 of 2, b, "),
            ("c", "building: 3 of 3, c, "),
        ] {
            progress.part(part);
            assert!(progress.line().starts_with(want), "{}", progress.line());
        }
    }
}
