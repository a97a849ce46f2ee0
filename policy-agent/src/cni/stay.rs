//! The chained plugin kept where it belongs: whoever owns the configuration may write it again at any
//! time, and the entry is put back then.

use std::{path::PathBuf, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use super::install::Installation;
use crate::{chain::chain, watch::Watch};

/// How often the folder is looked at although nothing was told of it.
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
/// never ends.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O and time enabled.
pub async fn stay(installation: Installation, found: impl Fn(Standing)) {
    let (mut last, mut contention) = (None, Contention::default());
    loop {
        // Watched before it is looked at, so that no change falls between.
        let mut watch = Watch::open(&installation.conf_dir).ok();
        loop {
            let now = installation.ensure().map_err(|error| chain(&error));
            let standing = match &now {
                Ok(None) => Standing::InForce,
                Ok(Some(_)) => Standing::PutBack,
                Err(_) => Standing::Missing,
            };
            found(standing);
            let is_put_back = standing == Standing::PutBack;
            let pause = if is_put_back { contention.next(Instant::now()) } else { Duration::ZERO };
            if pause == PAUSE {
                tracing::error!(
                    "somebody else keeps taking the plugin out of the node's CNI configuration: it \
                     is put back after a pause, in which pods do not wait for their policies"
                );
            } else if last.as_ref() != Some(&now) || (is_put_back && pause.is_zero()) {
                tell(&now);
            }
            last = Some(now);
            sleep(pause).await;
            let Some(watch) = &mut watch else {
                sleep(LOOK).await;
                break;
            };
            if let Ok(Err(_)) = timeout(LOOK, watch.next()).await {
                break;
            }
        }
    }
}

fn tell(now: &Result<Option<PathBuf>, String>) {
    match now {
        Ok(Some(path)) => {
            tracing::info!(path = %path.display(), "pods wait for their policies from now on");
        }
        Ok(None) => tracing::info!("pods wait for their policies"),
        Err(error) => tracing::error!("pods do not wait for their policies: {error}"),
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
