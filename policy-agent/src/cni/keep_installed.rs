//! Keeps the chained plugin installed: the owner of the CNI configuration may rewrite it at any time,
//! and the plugin's entry is then put back.

use std::{future, io, path::Path, sync::Arc, time::Duration};

use tokio::{
    task,
    time::{Instant, sleep_until, timeout, timeout_at},
};

use super::installer::{Installation, Written};
use crate::{chain::chain, inotify::FolderWatch};

/// How often the folders are checked without a notification.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// How many times in a row the entry is put back without a pause.
const BURST: u32 = 20;
/// The first pause after those. Each further one is twice as long, up to `CHECK_INTERVAL`.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// After this time without a write the count starts at zero.
const CALM: Duration = Duration::from_mins(1);

/// How a check found the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstallState {
    /// Installed.
    Installed,
    /// Not in the configuration; the entry was put back.
    Restored,
    /// Not installed, and it cannot be.
    Missing,
}

/// Installs the plugin, and again whenever it is gone; reports the state after every check; never
/// ends. Files are read and written on other threads, because a disk may be slow.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O and time enabled.
pub async fn keep_installed(installation: Installation, report: impl Fn(InstallState)) {
    let installation = Arc::new(installation);
    let (mut last, mut contention) = (None, Contention::default());
    loop {
        // Watches are opened before the check, so that a change in between is not missed.
        let mut watches = Watches::open(&installation);
        loop {
            let outcome = install(&installation).await;
            report(match &outcome {
                Ok(Written { entry: Some(_), .. }) => InstallState::Restored,
                Ok(Written { entry: None, .. }) => InstallState::Installed,
                Err(_) => InstallState::Missing,
            });
            let is_written = outcome.as_ref().is_ok_and(Written::is_any);
            let pause = if is_written { contention.next(Instant::now()) } else { Duration::ZERO };
            if pause == FIRST_PAUSE {
                tracing::error!(
                    "another program keeps removing the plugin from the node's CNI configuration: \
                     it is put back after pauses, in which pods start without waiting for their \
                     policies"
                );
            } else if last.as_ref() != Some(&outcome) || (is_written && pause.is_zero()) {
                log(&outcome);
            }
            last = Some(outcome);
            if !pause.is_zero() {
                observe(Instant::now() + pause, &installation, &mut watches, &report).await;
                continue;
            }
            match timeout(CHECK_INTERVAL, watches.next()).await {
                Ok(Ok(())) => {}
                Err(_elapsed) if watches.are_complete() => {}
                Ok(Err(_)) | Err(_) => break,
            }
        }
    }
}

/// Reports the state until `until` without writing anything.
async fn observe(
    until: Instant,
    installation: &Arc<Installation>,
    watches: &mut Watches,
    report: impl Fn(InstallState),
) {
    while let Ok(event) = timeout_at(until, watches.next()).await {
        if event.is_err() {
            report(InstallState::Missing);
            return sleep_until(until).await;
        }
        let installation = Arc::clone(installation);
        let is_installed = task::spawn_blocking(move || installation.is_installed()).await;
        let is_installed = is_installed.unwrap_or_default();
        report(if is_installed { InstallState::Installed } else { InstallState::Missing });
    }
}

/// Installs the plugin, on a thread that may block.
async fn install(installation: &Arc<Installation>) -> Result<Written, String> {
    let installation = Arc::clone(installation);
    let written = task::spawn_blocking(move || installation.install()).await;
    written.map_err(|error| chain(&error))?.map_err(|error| chain(&error))
}

fn log(outcome: &Result<Written, String>) {
    match outcome {
        Ok(Written { entry: Some(path), .. }) => {
            let path = path.display();
            tracing::info!(%path, "the CNI plugin is installed: new pods wait for their policies");
        }
        Ok(Written { entry: None, .. }) => {
            tracing::info!(
                "the CNI plugin was installed already: new pods wait for their policies"
            );
        }
        Err(error) => tracing::error!(
            "cannot install the CNI plugin, so new pods start without waiting for their policies: \
             {error}"
        ),
    }
}

/// Watches of the folders of configurations and plugins, as far as they exist.
struct Watches {
    conf_dir: Option<FolderWatch>,
    bin_dir: Option<FolderWatch>,
}

impl Watches {
    fn open(installation: &Installation) -> Self {
        let open = |folder: &Path| FolderWatch::open(folder).ok();
        Self { conf_dir: open(&installation.conf_dir), bin_dir: open(&installation.bin_dir) }
    }

    fn are_complete(&self) -> bool {
        self.conf_dir.is_some() && self.bin_dir.is_some()
    }

    /// Waits for an event in either folder; an error where one was moved or deleted.
    async fn next(&mut self) -> io::Result<()> {
        async fn of(watch: &mut Option<FolderWatch>) -> io::Result<()> {
            match watch {
                Some(watch) => watch.next().await,
                None => future::pending().await,
            }
        }
        tokio::select! {
            event = of(&mut self.conf_dir) => event,
            event = of(&mut self.bin_dir) => event,
        }
    }
}

/// Counts how often another program and the agent undo each other's writes.
#[derive(Debug, Default)]
struct Contention {
    writes: u32,
    last: Option<Instant>,
}

impl Contention {
    /// Counts a write; how long to pause after it.
    fn next(&mut self, now: Instant) -> Duration {
        if self.last.is_none_or(|last| now.duration_since(last) > CALM) {
            self.writes = 0;
        }
        self.writes = self.writes.saturating_add(1);
        self.last = Some(now);
        // After 20 writes without a minute of calm: 250 ms, 500 ms, 1 s, and so on up to 10 s. The
        // other program must not be answered at its own pace, or both write the disk without end.
        let Some(beyond) = self.writes.checked_sub(BURST + 1) else { return Duration::ZERO };
        FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(beyond)).min(CHECK_INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_while_another_program_writes_and_end_when_it_is_calm() {
        let (mut contention, mut now) = (Contention::default(), Instant::now());
        let mut pauses: Vec<u128> = Vec::new();
        for _ in 0..BURST + 8 {
            let pause = contention.next(now);
            pauses.push(pause.as_millis());
            now += pause;
        }
        let (burst, beyond) = pauses.split_at(BURST as usize);
        assert!(burst.iter().all(|pause| *pause == 0), "{burst:?}");
        assert_eq!(beyond, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        assert_eq!(contention.next(now + CALM + FIRST_PAUSE), Duration::ZERO, "it was calm");
    }
}
