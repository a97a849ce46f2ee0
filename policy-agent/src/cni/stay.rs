//! The chained plugin kept where it belongs: whoever owns the configuration may write it again at any
//! time, and the entry is put back then.

use std::{future, io, path::Path, sync::Arc, time::Duration};

use tokio::{
    task,
    time::{Instant, sleep_until, timeout, timeout_at},
};

use super::install::{Installation, Written};
use crate::{chain::chain, watch::Watch};

/// How often the folders are looked at although nothing was told of them.
const LOOK: Duration = Duration::from_secs(10);

/// How often in a row the entry is put back at once.
const BURST: u32 = 20;
/// The first pause after those; each further one is twice as long, up to `LOOK`.
const PAUSE: Duration = Duration::from_millis(250);
/// Once the entry has stood for so long, nobody contends for it any more.
const CALM: Duration = Duration::from_mins(1);

/// How a look found the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As it should be.
    InForce,
    /// Not so, and it was put there.
    PutBack,
    /// Not so, and it cannot be put there.
    Missing,
}

/// Puts the plugin where it belongs, and back whenever it is no longer there; tells of every look;
/// never ends. Files are read and written on threads of their own: a disk may be slow.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O and time enabled.
pub async fn stay(installation: Installation, found: impl Fn(Standing)) {
    let installation = Arc::new(installation);
    let (mut last, mut contention) = (None, Contention::default());
    loop {
        // Watched before it is looked at, so that no change falls between.
        let mut watches = Watches::open(&installation);
        loop {
            let now = put(&installation).await;
            found(match &now {
                Ok(Written { entry: Some(_), .. }) => Standing::PutBack,
                Ok(Written { entry: None, .. }) => Standing::InForce,
                Err(_) => Standing::Missing,
            });
            let is_written = now.as_ref().is_ok_and(Written::is_any);
            let pause = if is_written { contention.next(Instant::now()) } else { Duration::ZERO };
            if pause == PAUSE {
                tracing::error!(
                    "somebody else keeps taking the plugin out of the node's CNI configuration: it \
                     is put back after a pause, in which pods do not wait for their policies"
                );
            } else if last.as_ref() != Some(&now) || (is_written && pause.is_zero()) {
                tell(&now);
            }
            last = Some(now);
            if !pause.is_zero() {
                rest(Instant::now() + pause, &installation, &mut watches, &found).await;
                continue;
            }
            match timeout(LOOK, watches.next()).await {
                Ok(Ok(())) => {}
                Err(_) if watches.are_whole() => {}
                Ok(Err(_)) | Err(_) => break,
            }
        }
    }
}

/// Only looks, until an instant: what is said of the plugin stays true.
async fn rest(
    until: Instant,
    installation: &Arc<Installation>,
    watches: &mut Watches,
    found: impl Fn(Standing),
) {
    while let Ok(told) = timeout_at(until, watches.next()).await {
        if told.is_err() {
            found(Standing::Missing);
            return sleep_until(until).await;
        }
        let installation = Arc::clone(installation);
        let stands = task::spawn_blocking(move || installation.stands()).await;
        let is_there = stands.unwrap_or_default();
        found(if is_there { Standing::InForce } else { Standing::Missing });
    }
}

/// Puts the plugin where it belongs, on a thread that may wait.
async fn put(installation: &Arc<Installation>) -> Result<Written, String> {
    let installation = Arc::clone(installation);
    let put = task::spawn_blocking(move || installation.ensure()).await;
    put.map_err(|error| chain(&error))?.map_err(|error| chain(&error))
}

fn tell(now: &Result<Written, String>) {
    match now {
        Ok(Written { entry: Some(path), .. }) => {
            tracing::info!(path = %path.display(), "pods wait for their policies from now on");
        }
        Ok(Written { entry: None, .. }) => tracing::info!("pods wait for their policies"),
        Err(error) => tracing::error!("pods do not wait for their policies: {error}"),
    }
}

/// The folders of configurations and of plugins, as far as they are there.
struct Watches {
    conf_dir: Option<Watch>,
    bin_dir: Option<Watch>,
}

impl Watches {
    fn open(installation: &Installation) -> Self {
        let open = |folder: &Path| Watch::open(folder).ok();
        Self { conf_dir: open(&installation.conf_dir), bin_dir: open(&installation.bin_dir) }
    }

    fn are_whole(&self) -> bool {
        self.conf_dir.is_some() && self.bin_dir.is_some()
    }

    /// Waits for an event of either; an error once one is no longer where it was.
    async fn next(&mut self) -> io::Result<()> {
        async fn of(watch: &mut Option<Watch>) -> io::Result<()> {
            match watch {
                Some(watch) => watch.next().await,
                None => future::pending().await,
            }
        }
        tokio::select! {
            told = of(&mut self.conf_dir) => told,
            told = of(&mut self.bin_dir) => told,
        }
    }
}

/// Who else writes the configuration, and how long without end.
#[derive(Debug, Default)]
struct Contention {
    writes: u32,
    last: Option<Instant>,
}

impl Contention {
    /// Counts a write; the pause after it.
    fn next(&mut self, now: Instant) -> Duration {
        if self.last.is_none_or(|last| now.duration_since(last) > CALM) {
            self.writes = 0;
        }
        self.writes = self.writes.saturating_add(1);
        self.last = Some(now);
        let Some(beyond) = self.writes.checked_sub(BURST + 1) else { return Duration::ZERO };
        PAUSE.saturating_mul(2_u32.saturating_pow(beyond)).min(LOOK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_writes_without_end_is_answered_less_and_less_often_until_it_is_calm() {
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
        assert_eq!(contention.next(now + CALM + PAUSE), Duration::ZERO, "it was calm");
    }
}
