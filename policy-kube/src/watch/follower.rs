//! The watch of one resource: from the events of `kube`'s watcher to [`WatchEvent`]s.
//!
//! It adds to the watcher what an agent must know: when a list is complete and what was in it, that
//! a watch is broken and when it works again, that an optional resource is absent, and that a
//! streamed list does not end. `watch` runs one follower for each resource.

use std::{collections::BTreeSet, future::pending, mem, pin::pin, time::Duration};

use futures::StreamExt;
use kube::{
    Api,
    core::DynamicObject,
    runtime::{WatchStreamExt, watcher},
};
use policy_core::model::ObjectRef;
use policy_manifest::Received;
use tokio::{
    sync::{mpsc::Sender, watch::Receiver},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{WatchEvent, requests::observed, streaming::Streaming};
use crate::{
    Client, Error, Resource, decode,
    kinds::deletion,
    presence::{Presence, is_absent, presence},
};

/// Objects of one page, where the server does not stream lists.
const PAGE: u32 = 500;
/// How long a granted watch must work before it counts as recovered.
const SETTLED: Duration = Duration::from_secs(2);
/// Time after which a discovery without a response is reported.
const DISCOVERY_LATE: Duration = Duration::from_secs(2);
/// Time after which it is given up, and tried anew.
const DISCOVERY_LIMIT: Duration = Duration::from_secs(30);
/// Longest time between two new objects of a streamed list. It is long: a server that many agents
/// ask is slow, and would be slower if they all asked anew.
const STALLED: Duration = Duration::from_mins(1);

/// Why a run of the watcher ended.
pub(super) enum End {
    /// Nobody receives the events any more.
    ReceiverDropped,
    /// Lists are to be requested in another way.
    Restart,
    /// The server does not have the resource.
    Absent,
}

/// The watch of one resource.
pub(super) struct Follower {
    client: Client,
    resource: Resource,
    events: Sender<WatchEvent>,
    /// The client of the watcher; discovery uses `client`, for it is not paced.
    observed: kube::Client,
    /// Changes at each successful response to `observed`.
    grants: Receiver<()>,
    streaming: Streaming,
    list: Option<PartialList>,
    /// A list was complete, and has not expired since.
    was_listed: bool,
    /// `Broken` was sent, and no `Recovered` since.
    is_broken: bool,
    /// An empty list was sent because the server does not have the resource.
    is_absent: bool,
}

/// A list that is not complete.
struct PartialList {
    names: BTreeSet<ObjectRef>,
    /// When its last new object came.
    progress: Instant,
}

impl PartialList {
    fn new() -> Self {
        Self { names: BTreeSet::new(), progress: Instant::now() }
    }
}

impl Follower {
    pub(super) fn new(client: &Client, resource: Resource, events: Sender<WatchEvent>) -> Self {
        let (observed, grants) = observed(&client.kube);
        Self {
            client: client.clone(),
            resource,
            events,
            observed,
            grants,
            streaming: Streaming::default(),
            list: None,
            was_listed: false,
            is_broken: false,
            is_absent: false,
        }
    }

    /// Watches until one of the [`End`]s.
    pub(super) async fn run(&mut self) -> End {
        let api: Api<DynamicObject> =
            Api::all_with(self.observed.clone(), &self.resource.api_resource());
        let mut stream = pin!(watcher::watcher(api, self.config()).default_backoff());
        self.list = None;
        loop {
            let progress = self.stream_progress();
            // A list that is granted may still be cut off: only its end recovers the watch.
            let may_recover = self.is_broken && self.list.is_none();
            let outcome = tokio::select! {
                // An object that has arrived is not late.
                biased;
                event = stream.next() => match event {
                    Some(Ok(event)) => self.take(event).await,
                    Some(Err(error)) => self.fail(error).await,
                    None => Err(End::Restart),
                },
                () = settled(may_recover, &mut self.grants) => self.recovered().await,
                () = stalled(progress) => {
                    let path = self.resource.path();
                    self.fall_back_to_pages(Error::Stalled { path, idle: STALLED }).await
                }
            };
            if let Err(end) = outcome {
                return end;
            }
        }
    }

    fn config(&self) -> watcher::Config {
        let config = watcher::Config::default();
        let config =
            if self.streaming.is_on() { config.streaming_lists() } else { config.page_size(PAGE) };
        match self.resource.watch_selector {
            Some(fields) => config.fields(fields),
            None => config,
        }
    }

    async fn take(&mut self, event: watcher::Event<DynamicObject>) -> Result<(), End> {
        match event {
            watcher::Event::Init => {
                if self.streaming.retry() {
                    return Err(End::Restart);
                }
                match self.list.replace(PartialList::new()) {
                    Some(_) => {
                        let path = self.resource.path();
                        self.fall_back_to_pages(Error::Truncated { path }).await
                    }
                    None => Ok(()),
                }
            }
            watcher::Event::InitApply(object) => {
                let name = decode::reference(&self.resource, &object);
                let list = self.list.get_or_insert_with(PartialList::new);
                let is_new = list.names.insert(name);
                self.change(object).await?;
                // Sending may have waited for the receiver, which is no fault of the server's.
                if let Some(list) = self.list.as_mut().filter(|_| is_new) {
                    list.progress = Instant::now();
                }
                Ok(())
            }
            watcher::Event::InitDone => {
                self.recovered().await?;
                (self.was_listed, self.is_absent) = (true, false);
                let names = self.list.take().map(|list| list.names).unwrap_or_default();
                self.send(WatchEvent::Listed(self.resource, names)).await
            }
            watcher::Event::Apply(object) => {
                self.recovered().await?;
                self.change(object).await
            }
            watcher::Event::Delete(object) => {
                self.recovered().await?;
                match deletion(&decode::reference(&self.resource, &object)) {
                    Some(change) => self.send(WatchEvent::Changed(change)).await,
                    None => Ok(()),
                }
            }
        }
    }

    /// Decides what an error means: a fresh list, another way to list, absence, or a broken watch.
    /// The watcher retries by itself where the run goes on.
    async fn fail(&mut self, error: watcher::Error) -> Result<(), End> {
        let was_streamed = self.stream_progress().is_some();
        self.list = None;
        let error = self.error(error);
        let code = error.code();
        // 410: the server keeps too short a history to resume. The watcher lists anew; the second
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
            Some(404) if self.is_absent => return Err(End::Absent),
            Some(403 | 404) if self.resource.is_optional => {
                let presence = self.presence().await?;
                match is_absent(&self.resource, presence, error) {
                    Ok(()) => return Err(self.absent().await),
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
                return Error::NoResourceVersion { path: self.resource.path() };
            }
        };
        self.client.request_failure(&self.resource, "list, watch", error)
    }

    /// When the last new object of a streamed list came; `None` where no list is streamed.
    fn stream_progress(&self) -> Option<Instant> {
        self.list.as_ref().filter(|_| self.streaming.is_on()).map(|list| list.progress)
    }

    /// A streamed list does not end: requests pages from now on.
    async fn fall_back_to_pages(&mut self, error: Error) -> Result<(), End> {
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
            if !mem::replace(&mut self.is_absent, true) {
                self.send(WatchEvent::Listed(self.resource, BTreeSet::new())).await?;
            }
            Ok(())
        };
        sent.await.err().unwrap_or(End::Absent)
    }

    async fn broken(&mut self, error: Error) -> Result<(), End> {
        self.grants.mark_unchanged();
        self.is_broken = true;
        self.send(WatchEvent::Broken(self.resource, error)).await
    }

    async fn recovered(&mut self) -> Result<(), End> {
        if mem::replace(&mut self.is_broken, false) {
            self.send(WatchEvent::Recovered(self.resource)).await?;
        }
        Ok(())
    }

    async fn change(&self, object: DynamicObject) -> Result<(), End> {
        let Ok(Received { change, errors }) = decode::change(&self.resource, object) else {
            return Ok(());
        };
        if !errors.is_empty() {
            self.send(WatchEvent::Unreadable(errors)).await?;
        }
        match change {
            Some(change) => self.send(WatchEvent::Changed(change)).await,
            None => Ok(()),
        }
    }

    async fn send(&self, event: WatchEvent) -> Result<(), End> {
        self.events.send(event).await.or(Err(End::ReceiverDropped))
    }
}

/// Ready once the server has granted a request since the last failure, and no error followed.
async fn settled(is_broken: bool, grants: &mut Receiver<()>) {
    if !is_broken || grants.changed().await.is_err() {
        return pending().await;
    }
    sleep(SETTLED).await;
}

/// Ready where a streamed list has made no progress for too long.
async fn stalled(progress: Option<Instant>) {
    match progress {
        Some(progress) => sleep_until(progress + STALLED).await,
        None => pending().await,
    }
}
