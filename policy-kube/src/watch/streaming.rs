//! Whether a server is asked to stream its lists.

use std::time::Duration;

use tokio::time::Instant;

/// Time after which a server that refused is asked once more, when something is listed anyway: it
/// may be another by then, or somebody else had answered for it.
const AGAIN: Duration = Duration::from_hours(1);

/// On, or refused a while ago.
#[derive(Debug, Default)]
pub(super) struct Streaming {
    refused: Option<Instant>,
}

impl Streaming {
    /// Whether lists are to be streamed.
    pub(super) fn is_on(&self) -> bool {
        self.refused.is_none()
    }

    /// The server does not stream.
    pub(super) fn refused(&mut self) {
        self.refused = Some(Instant::now());
    }

    /// Whether it is on again, after it was not.
    pub(super) fn ask_again(&mut self) -> bool {
        self.ask_again_at(Instant::now())
    }

    fn ask_again_at(&mut self, now: Instant) -> bool {
        self.refused.take_if(|since| now - *since >= AGAIN).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_refused_is_asked_again_after_an_hour() {
        let (mut streaming, now) = (Streaming::default(), Instant::now());
        assert!(streaming.is_on() && !streaming.ask_again_at(now), "it is on already");
        streaming.refused();
        assert!(!streaming.is_on() && !streaming.ask_again_at(now + AGAIN / 2));
        assert!(streaming.ask_again_at(now + AGAIN + AGAIN) && streaming.is_on());
    }
}
