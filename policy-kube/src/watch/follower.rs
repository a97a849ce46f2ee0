//! The watch of one resource: from the events of `kube`'s watcher to [`WatchEvent`]s.
//!
//! It adds to the watcher what an agent must know: when a list is complete and what was in it, that
//! a watch is broken and when it works again, that an optional resource is absent, and that a
//! streamed list does not end. `watch` runs one follower for each resource.

use std::{collections::BTreeSet, future::pending, mem, pin::pin, time::Duration};

use futures::StreamExt;
use kube::{
    Api,
    core::{ApiResource, DynamicObject},
    runtime::{WatchStreamExt, watcher},
};
use policy_core::model::ObjectRef;
use policy_manifest::Received;
use tokio::{
    sync::{mpsc::Sender, watch::Receiver},
    time::{Instant, sleep, sleep_until},
};

use super::{event::WatchEvent, requests::observed, streaming::Streaming};
use crate::{
    Client, Error, Resource, decode,
    kinds::{deletion, path},
};

/// Objects of one page, where the server does not stream lists.
const PAGE: u32 = 500;
/// How long a granted watch must work before it counts as recovered.
const SETTLED: Duration = Duration::from_secs(2);
/// Longest time between two new objects of a streamed list. It is long: a server that many agents
/// ask is slow, and would be slower if they all asked again.
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
    pub(super) client: Client,
    pub(super) resource: Resource,
    /// The version of the resource that is requested.
    pub(super) version: &'static str,
    events: Sender<WatchEvent>,
    /// The client of the watcher; discovery uses `client`, for it is not paced.
    observed: kube::Client,
    /// Changes at each successful response to `observed`.
    grants: Receiver<()>,
    pub(super) streaming: Streaming,
    pub(super) list: Option<PartialList>,
    /// A list was complete, and has not expired since.
    pub(super) was_listed: bool,
    /// `Broken` was sent, and no `Recovered` since.
    is_broken: bool,
    /// Which list was sent last.
    pub(super) sent: SentList,
}

/// The last list that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SentList {
    /// None yet.
    None,
    /// That of the server's objects.
    Objects,
    /// An empty one, because the server does not have the resource.
    Absent,
}

/// A list that is not complete.
pub(super) struct PartialList {
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
            version: resource.newest(),
            events,
            observed,
            grants,
            streaming: Streaming::default(),
            list: None,
            was_listed: false,
            is_broken: false,
            sent: SentList::None,
        }
    }

    /// Watches until one of the [`End`]s.
    pub(super) async fn run(&mut self) -> End {
        let api: Api<DynamicObject> = Api::all_with(self.observed.clone(), &self.api_resource());
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
                    let path = self.path();
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
                        let path = self.path();
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
                self.was_listed = true;
                let names = self.list.take().map(|list| list.names).unwrap_or_default();
                self.listed(names).await
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

    /// The resource in the version that is requested.
    pub(super) fn api_resource(&self) -> ApiResource {
        self.resource.api_resource(self.version)
    }

    /// Path of the objects of all namespaces.
    pub(super) fn path(&self) -> String {
        path(&self.api_resource())
    }

    /// When the last new object of a streamed list came; `None` where no list is streamed.
    pub(super) fn stream_progress(&self) -> Option<Instant> {
        self.list.as_ref().filter(|_| self.streaming.is_on()).map(|list| list.progress)
    }

    pub(super) async fn broken(&mut self, error: Error) -> Result<(), End> {
        self.grants.mark_unchanged();
        self.is_broken = true;
        self.send(WatchEvent::Broken(self.resource, error)).await
    }

    pub(super) async fn recovered(&mut self) -> Result<(), End> {
        if mem::replace(&mut self.is_broken, false) {
            self.send(WatchEvent::Recovered(self.resource)).await?;
        }
        Ok(())
    }

    /// Sends a complete list.
    pub(super) async fn listed(&mut self, names: BTreeSet<ObjectRef>) -> Result<(), End> {
        self.sent = SentList::Objects;
        self.send(WatchEvent::Listed(self.resource, names)).await
    }

    /// Sends an empty list, if no list was sent so far.
    pub(super) async fn listed_if_first(&mut self) -> Result<(), End> {
        if self.sent == SentList::None { self.listed(BTreeSet::new()).await } else { Ok(()) }
    }

    async fn change(&self, object: DynamicObject) -> Result<(), End> {
        let Ok(Received { change, errors }) = decode::change(&self.api_resource(), object) else {
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

    pub(super) async fn send(&self, event: WatchEvent) -> Result<(), End> {
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
