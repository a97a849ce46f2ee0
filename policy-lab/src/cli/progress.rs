//! Shows the stage and the number of probes on standard error, if that is a terminal.

use std::{sync::Mutex, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

use crate::Progress;

/// Interval between two frames of the spinner.
const TICK: Duration = Duration::from_millis(100);

/// A line that changes; indicatif draws nothing without a terminal.
#[derive(Debug)]
pub(super) struct ProgressLine {
    bar: Mutex<ProgressBar>,
}

impl ProgressLine {
    /// Creates an empty line.
    pub(super) fn new() -> Self {
        Self { bar: Mutex::new(ProgressBar::new_spinner()) }
    }

    fn bar(&self) -> ProgressBar {
        self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl Progress for ProgressLine {
    fn start_stage(&self, stage: &'static str, probes: usize) {
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

    fn probe_done(&self) {
        self.bar().inc(1);
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.bar().finish_and_clear();
    }
}
