//! Whether a server is asked to stream its lists.

use std::time::Duration;

use tokio::time::Instant;

/// Time after which a server that refused to stream is asked once more, at its next list: it may be
/// another version by then, or a proxy may have answered.
const RETRY: Duration = Duration::from_hours(1);

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

    /// Notes that the server does not stream, and turns streaming off.
    pub(super) fn refuse(&mut self) {
        self.refused = Some(Instant::now());
    }

    /// Turns streaming on where it was refused long ago; whether it did.
    pub(super) fn retry(&mut self) -> bool {
        self.retry_at(Instant::now())
    }

    fn retry_at(&mut self, now: Instant) -> bool {
        self.refused.take_if(|since| now - *since >= RETRY).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_refused_is_asked_again_after_an_hour() {
        let (mut streaming, now) = (Streaming::default(), Instant::now());
        assert!(streaming.is_on() && !streaming.retry_at(now), "it is on already");
        streaming.refuse();
        assert!(!streaming.is_on() && !streaming.retry_at(now + RETRY / 2));
        assert!(streaming.retry_at(now + RETRY + RETRY) && streaming.is_on());
    }
}
