//! Progress on standard error, where that is a terminal.

use std::{sync::Mutex, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

use crate::Progress;

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(100);

/// One line that changes; indicatif draws nothing where there is no terminal.
#[derive(Debug)]
pub(super) struct Line {
    bar: Mutex<ProgressBar>,
}

impl Line {
    /// An empty line.
    pub(super) fn new() -> Self {
        Self { bar: Mutex::new(ProgressBar::new_spinner()) }
    }

    fn bar(&self) -> ProgressBar {
        self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl Progress for Line {
    fn begin(&self, stage: &'static str, probes: usize) {
        let bar = self.bar();
        let template = if probes == 0 { "{spinner} {msg}" } else { "{spinner} {msg} {pos}/{len}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_position(0);
        bar.set_length(u64::try_from(probes).unwrap_or(u64::MAX));
        bar.set_message(stage);
        bar.enable_steady_tick(TICK);
    }

    fn step(&self) {
        self.bar().inc(1);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.bar().finish_and_clear();
    }
}
