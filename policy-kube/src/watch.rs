//! The watch of one kind.

mod streaming;

use std::{collections::BTreeSet, future::pending, mem, pin::pin, time::Duration};

use backon::{BackoffBuilder, ConstantBuilder};
use futures::StreamExt;
use kube::{
    Api, Client, ResourceExt,
    core::{DynamicObject, Status, TypeMeta},
    runtime::{
        WatchStreamExt,
        watcher::{self, Error},
    },
};
use policy_core::model::ObjectName;
use policy_manifest::{Received, receive};
use tokio::{
    sync::{mpsc::Sender, watch::Receiver},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    Event, Kind, WatchError,
    answers::noted,
    discovery::{DiscoveryError, Presence, presence},
};
use streaming::Streaming;

/// Objects that are listed at once where the server streams no lists.
const PAGE: u32 = 500;
/// Time after which a kind that the server does not have is asked for again, and at most as much
/// jitter: all agents of a cluster ask.
const ABSENT: Duration = Duration::from_secs(20);
/// How long a watch that the server grants must go well before it is no longer broken.
const SETTLED: Duration = Duration::from_secs(2);
/// Time after which it is told that the server does not say whether it has a kind.
const SOON: Duration = Duration::from_secs(2);
/// Time after which it is asked anew.
const LATE: Duration = Duration::from_secs(30);
/// Longest time between two objects of a list that is streamed, and to its end; a large one is slow
/// where many ask, and all the slower if it is asked for anew.
const PAUSE: Duration = Duration::from_mins(1);

/// Why a watch ended.
enum End {
    /// Nobody listens any more.
    Deaf,
    /// Lists are asked for in another way from now on.
    Restart,
    /// The server does not have the kind.
    Absent,
}

/// Follows a kind for as long as somebody listens.
pub(super) async fn follow(client: Client, kind: Kind, events: Sender<Event>) {
    let mut waits =
        ConstantBuilder::new().with_delay(ABSENT).without_max_times().with_jitter().build();
    let mut watch = Watch::new(client, kind, events);
    loop {
        match watch.run().await {
            End::Deaf => return,
            End::Restart => {}
            End::Absent => sleep(waits.next().unwrap_or(ABSENT)).await,
        }
    }
}

/// A list that is not complete.
struct List {
    names: BTreeSet<ObjectName>,
    /// When it last went on.
    since: Instant,
}

impl List {
    fn new() -> Self {
        Self { names: BTreeSet::new(), since: Instant::now() }
    }
}

/// A kind that is followed.
struct Watch {
    /// For what is asked beside the watch.
    client: Client,
    watched: Client,
    /// The server's grants of what `watched` asked for.
    answers: Receiver<()>,
    kind: Kind,
    events: Sender<Event>,
    streaming: Streaming,
    list: Option<List>,
    /// A list was complete, and the server did not ask for another since then.
    was_listed: bool,
    /// It was told that the watch is broken.
    is_broken: bool,
    /// It was told that there is none of the kind, for the server does not have it.
    is_absent: bool,
}

impl Watch {
    fn new(client: Client, kind: Kind, events: Sender<Event>) -> Self {
        let (watched, answers) = noted(&client);
        Self {
            client,
            watched,
            answers,
            kind,
            events,
            streaming: Streaming::default(),
            list: None,
            was_listed: false,
            is_broken: false,
            is_absent: false,
        }
    }

    async fn run(&mut self) -> End {
        let resource = self.kind.resource();
        let types =
            TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() };
        let api: Api<DynamicObject> = Api::all_with(self.watched.clone(), &resource);
        let mut stream = pin!(watcher::watcher(api, self.config()).default_backoff());
        self.list = None;
        loop {
            let since = self.streamed();
            // That a list is granted does not make it complete.
            let may_mend = self.is_broken && self.list.is_none();
            let done = tokio::select! {
                // What has come is not late.
                biased;
                event = stream.next() => match event {
                    Some(Ok(event)) => self.take(event, &types).await,
                    Some(Err(error)) => self.fail(error).await,
                    None => Err(End::Restart),
                },
                () = granted(may_mend, &mut self.answers) => self.mended().await,
                () = endless(since) => self.unstreamed(WatchError::Endless(PAUSE)).await,
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    fn config(&self) -> watcher::Config {
        let config = watcher::Config::default();
        let config =
            if self.streaming.is_on() { config.streaming_lists() } else { config.page_size(PAGE) };
        match self.kind.fields() {
            Some(fields) => config.fields(fields),
            None => config,
        }
    }

    async fn take(
        &mut self,
        event: watcher::Event<DynamicObject>,
        types: &TypeMeta,
    ) -> Result<(), End> {
        match event {
            watcher::Event::Init => {
                if self.streaming.ask_again() {
                    return Err(End::Restart);
                }
                match self.list.replace(List::new()) {
                    Some(_) => self.unstreamed(WatchError::Cut).await,
                    None => Ok(()),
                }
            }
            watcher::Event::InitApply(object) => {
                let is_new = self.list.get_or_insert_with(List::new).names.insert(name(&object));
                self.object(object, types).await?;
                if let Some(list) = self.list.as_mut().filter(|_| is_new) {
                    list.since = Instant::now();
                }
                Ok(())
            }
            watcher::Event::InitDone => {
                self.mended().await?;
                (self.was_listed, self.is_absent) = (true, false);
                let names = self.list.take().map(|list| list.names).unwrap_or_default();
                self.tell(Event::Listed(self.kind, names)).await
            }
            watcher::Event::Apply(object) => {
                self.mended().await?;
                self.object(object, types).await
            }
            watcher::Event::Delete(object) => {
                self.mended().await?;
                self.tell(Event::Changed(self.kind.gone(name(&object)))).await
            }
        }
    }

    async fn fail(&mut self, error: Error) -> Result<(), End> {
        let is_cut = self.streamed().is_some();
        self.list = None;
        let code = status(&error).map(|status| status.code);
        // The server remembers less than was missed: all is listed once more.
        if code == Some(410) && mem::take(&mut self.was_listed) {
            return Ok(());
        }
        // A feature of servers from 1.32 on; older ones call the question invalid.
        if matches!(code, Some(400 | 405 | 422)) && self.streaming.is_on() {
            self.streaming.refused();
            return Err(End::Restart);
        }
        let kind = self.kind;
        let error = match code {
            Some(404) if self.is_absent => return Err(End::Absent),
            // Neither says whether there is something that must be enforced.
            Some(403 | 404) if kind.is_optional() => match self.presence().await? {
                Ok(Presence::Absent) => return Err(self.absent().await),
                Ok(Presence::Otherwise(versions)) => WatchError::Version(versions),
                Ok(Presence::Here) => WatchError::of(kind, error),
                Err(error) => WatchError::Unclear(Box::new(error)),
            },
            // Who we are may be unclear for a moment (401), and what we may do (403).
            _ => WatchError::of(kind, error),
        };
        if is_cut { self.unstreamed(error).await } else { self.broken(error).await }
    }

    /// When a list that is streamed last went on.
    fn streamed(&self) -> Option<Instant> {
        self.list.as_ref().filter(|_| self.streaming.is_on()).map(|list| list.since)
    }

    /// A list that is streamed does not come to its end: it is asked for in pages.
    async fn unstreamed(&mut self, error: WatchError) -> Result<(), End> {
        self.streaming.refused();
        self.broken(error).await?;
        Err(End::Restart)
    }

    /// Asks whether the server has the kind; that this takes long is told.
    async fn presence(&mut self) -> Result<Result<Presence, DiscoveryError>, End> {
        let client = self.client.clone();
        let mut asked = pin!(presence(&client, self.kind));
        if let Ok(said) = timeout(SOON, &mut asked).await {
            return Ok(said);
        }
        self.broken(WatchError::Unclear(Box::new(DiscoveryError::Late))).await?;
        Ok(timeout(LATE, asked).await.unwrap_or(Err(DiscoveryError::Late)))
    }

    /// There is none of the kind.
    async fn absent(&mut self) -> End {
        let told = async {
            self.mended().await?;
            if !mem::replace(&mut self.is_absent, true) {
                self.tell(Event::Listed(self.kind, BTreeSet::new())).await?;
            }
            Ok(())
        };
        told.await.err().unwrap_or(End::Absent)
    }

    async fn broken(&mut self, error: WatchError) -> Result<(), End> {
        self.answers.mark_unchanged();
        self.is_broken = true;
        self.tell(Event::Broken(self.kind, error)).await
    }

    async fn mended(&mut self) -> Result<(), End> {
        if mem::replace(&mut self.is_broken, false) {
            self.tell(Event::Mended(self.kind)).await?;
        }
        Ok(())
    }

    async fn object(&self, mut object: DynamicObject, types: &TypeMeta) -> Result<(), End> {
        // Items of lists come without; nobody reads who wrote which field.
        object.types = Some(types.clone());
        object.metadata.managed_fields = None;
        let Ok(json) = serde_json::to_value(&object) else { return Ok(()) };
        let Received { change, errors } = receive(&json, "the API server");
        if !errors.is_empty() {
            self.tell(Event::Illegible(errors)).await?;
        }
        match change {
            Some(change) => self.tell(Event::Changed(change)).await,
            None => Ok(()),
        }
    }

    async fn tell(&self, event: Event) -> Result<(), End> {
        let told = self.events.send(event).await;
        told.or(Err(End::Deaf))
    }
}

/// Ready once the server has granted something since it last did not, and that goes well.
async fn granted(is_broken: bool, answers: &mut Receiver<()>) {
    if !is_broken || answers.changed().await.is_err() {
        return pending().await;
    }
    sleep(SETTLED).await;
}

/// Ready where a list that is streamed does not go on.
async fn endless(since: Option<Instant>) {
    match since {
        Some(since) => sleep_until(since + PAUSE).await,
        None => pending().await,
    }
}

/// Where the server, or somebody else, answered.
pub(super) fn status(error: &Error) -> Option<&Status> {
    match error {
        Error::InitialListFailed(kube::Error::Api(status))
        | Error::WatchStartFailed(kube::Error::Api(status))
        | Error::WatchFailed(kube::Error::Api(status))
        | Error::WatchError(status) => Some(status),
        Error::InitialListFailed(_)
        | Error::WatchStartFailed(_)
        | Error::WatchFailed(_)
        | Error::NoResourceVersion => None,
    }
}

fn name(object: &DynamicObject) -> ObjectName {
    ObjectName::new(object.namespace().unwrap_or_default(), object.name_any())
}
