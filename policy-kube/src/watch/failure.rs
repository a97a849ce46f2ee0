//! What a failed request of a watch means, and what to do about it.
//!
//! Input: an error of `kube`'s watcher. The result is one of these:
//!
//! ```text
//! 410, after a complete list          list again; not a failure
//! 400, 405, 422 to a streamed list    list in pages; not a failure
//! 403, 404 to an optional resource    ask discovery:
//! ... served in another known version request that version; not a failure
//! ... absent                          its list is empty
//! ... served in unknown versions      Broken, and its first list is empty
//! anything else                       Broken; the watcher retries
//! ... while a list was streamed       and list in pages
//! ```

use std::{collections::BTreeSet, mem, pin::pin, time::Duration};

use kube::runtime::watcher;
use tokio::time::timeout;

use super::{
    event::WatchEvent,
    follower::{End, Follower, SentList},
};
use crate::{
    Error,
    presence::{Presence, Remedy, presence, remedy},
};

/// Time after which a discovery without a response is reported.
const DISCOVERY_LATE: Duration = Duration::from_secs(2);
/// Time after which it is given up, and tried again.
const DISCOVERY_LIMIT: Duration = Duration::from_secs(30);

impl Follower {
    /// Decides what an error means: a fresh list, another way to list, absence, or a broken watch.
    /// The watcher retries by itself where the run goes on.
    pub(super) async fn fail(&mut self, error: watcher::Error) -> Result<(), End> {
        let was_streamed = self.stream_progress().is_some();
        self.list = None;
        let error = self.error(error);
        let code = error.code();
        // 410: the server keeps too short a history to resume. The watcher lists again; the second
        // 410 without a list in between is an error like any other.
        if code == Some(410) && mem::take(&mut self.was_listed) {
            return Ok(());
        }
        // A server before 1.32 refuses the parameters of a streamed list as invalid.
        if matches!(code, Some(400 | 405 | 422)) && self.streaming.is_on() {
            self.streaming.refuse();
            return Err(End::Restart);
        }
        let error = match code {
            Some(404) if self.sent == SentList::Absent => return Err(End::Absent),
            Some(403 | 404) if self.resource.is_optional => {
                let presence = self.presence().await?;
                match remedy(&self.resource, self.version, presence, error) {
                    Ok(Remedy::Absent) => return Err(self.absent().await),
                    Ok(Remedy::Version(version)) => {
                        self.version = version;
                        return Err(End::Restart);
                    }
                    Err(error @ Error::UnsupportedVersions { .. }) => {
                        return Err(self.unsupported(error).await);
                    }
                    Err(error) => error,
                }
            }
            // Credentials and roles may be wrong for a moment only, while they are replaced.
            _ => error,
        };
        if was_streamed { self.fall_back_to_pages(error).await } else { self.broken(error).await }
    }

    fn error(&self, error: watcher::Error) -> Error {
        let error = match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => error,
            watcher::Error::WatchError(status) => kube::Error::Api(status),
            watcher::Error::NoResourceVersion => {
                return Error::NoResourceVersion { path: self.path() };
            }
        };
        self.client.request_failure(&self.api_resource(), "list, watch", error)
    }

    /// A streamed list does not end: requests pages from now on.
    pub(super) async fn fall_back_to_pages(&mut self, error: Error) -> Result<(), End> {
        self.streaming.refuse();
        self.broken(error).await?;
        Err(End::Restart)
    }

    /// Asks discovery about the resource. A slow response is reported, for nothing is enforced until
    /// it comes.
    async fn presence(&mut self) -> Result<Result<Presence, Error>, End> {
        let (client, resource) = (self.client.clone(), self.resource);
        let mut response = pin!(presence(&client, &resource));
        if let Ok(presence) = timeout(DISCOVERY_LATE, &mut response).await {
            return Ok(presence);
        }
        let late = |waited| Error::DiscoveryTimeout { waited };
        self.broken(Error::presence_unknown(&resource, late(DISCOVERY_LATE))).await?;
        let response = timeout(DISCOVERY_LIMIT, response).await;
        Ok(response.unwrap_or_else(|_| Err(late(DISCOVERY_LIMIT))))
    }

    /// The server does not have the resource: its list is empty.
    async fn absent(&mut self) -> End {
        let sent = async {
            self.recovered().await?;
            let before = self.sent;
            if before != SentList::Absent {
                self.listed(BTreeSet::new()).await?;
                self.sent = SentList::Absent;
            }
            if before == SentList::Objects {
                self.send(WatchEvent::Disappeared(self.resource)).await?;
            }
            Ok(())
        };
        sent.await.err().unwrap_or(End::Absent)
    }

    /// The server has the resource in versions that are not known. That is reported for as long as
    /// it lasts, and holds up no other resource: without a list, the first one counts as empty (S55).
    async fn unsupported(&mut self, error: Error) -> End {
        let sent = async {
            self.broken(error).await?;
            self.listed_if_first().await
        };
        sent.await.err().unwrap_or(End::Absent)
    }
}
