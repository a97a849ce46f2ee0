//! The daemon: keeps one node in step with the cluster, the node's links and the container runtime.
//!
//! It is one loop over events. An event changes the node's [`Intent`](policy_core::intent::Intent) and
//! schedules a reconciliation; nothing else enforces. For example, a new pod:
//!
//! ```text
//! link monitor    veth3f2a is new                     reconcile now (`link_pause`)
//! CNI plugin      shop/web-1 has 10.0.0.2 and waits   hint; reconcile within BATCH_DELAY
//! API server      Pod shop/web-1, node one            change; reconcile within BATCH_DELAY
//! reconcile       ──> endpoint written                the plugin gets its response, the pod starts
//! ```
//!
//! Nothing is enforced before every kind was listed: with half of the cluster known, pods would be
//! cut off or opened by mistake. What an earlier agent enforced stays until then.

mod config;
mod enforce;
mod events;
mod health;
mod input;
mod limits;
mod link_pause;
mod metrics;
mod mutex;
mod pending;
mod report;
mod retry;
mod runtime;
mod scrape;
mod unresolved;
mod verdicts;
mod watches;

use std::{
    collections::BTreeMap,
    future::{self, Future},
    path::PathBuf,
    pin::pin,
    time::Duration,
};

use policy_common::drops::DropRecord;
use policy_kube::{WatchEvent, deletions};
use tokio::{
    sync::mpsc::Receiver,
    time::{Instant, sleep_until},
};

use crate::{
    dataplane::DropsError,
    flows::{DroppedPacket, FlowHistory, FlowLog},
    http::{self, Question},
    net::{LinkMonitor, NetError},
    node::Node,
    source::files::FilesError,
    switch,
};

use enforce::Verify;
use events::EventWriter;
use health::Health;
use input::{Source, SourceEvent, SyncState};
use link_pause::LinkPause;
use metrics::Metrics;
use pending::PendingPods;
use report::Reporter;
use retry::Retry;
use runtime::{RuntimeEvent, RuntimeEvents};
use unresolved::UnresolvedPorts;

pub use config::{DaemonConfig, DaemonError, Origin};
pub use runtime::CniConfig;

/// How long a change waits for others, to be enforced together with them.
const BATCH_DELAY: Duration = Duration::from_millis(10);

/// Time between two looks at the switch of enforcement.
const SWITCH_INTERVAL: Duration = Duration::from_secs(1);

/// Runs until `stop` is ready, in the network namespace of the calling thread.
///
/// Use a current-thread runtime: attaching happens in the network namespace of the thread.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O and time enabled.
///
/// # Errors
///
/// Only what a retry cannot cure, and manifests that are invalid at the start. Manifests that become
/// invalid later leave the last good state in force, and failed steps are tried again.
pub async fn run(config: DaemonConfig, stop: impl Future<Output = ()>) -> Result<(), DaemonError> {
    limits::raise_descriptors();
    let mut stop = pin!(stop);
    let mut links = LinkMonitor::open()?;
    let source = Source::open(&config.source).await;
    let mut source = source.map_err(|source| DaemonError::Kubernetes(Box::new(source)))?;
    let log = FlowLog::open(&config.flow_log)?;
    let mut metrics = Metrics::new();
    let scrape = metrics.scrape().clone();
    let questions = http::serve(config.listen, move || scrape.text());
    let mut questions = questions.map_err(DaemonError::Http)?;
    // Before anything is pinned: an agent that has to end again leaves nothing behind.
    let lock = tokio::select! {
        () = &mut stop => return Ok(()),
        lock = config.cni.lock_socket() => lock?,
    };
    let pins = config.node.pins.clone();
    let mut node = Node::start(config.node)?;
    let unreadable = |source| DaemonError::Drops(Box::new(source));
    let mut drops = node.dataplane().drops().map_err(unreadable)?;
    metrics.scrape().set_counters(node.dataplane().drop_counters().map_err(unreadable)?);
    node.intent().set_off_by_command(pins.as_deref().is_some_and(switch::is_off));
    let events = EventWriter::new(source.client(), node.name());
    let mut runtime = RuntimeEvents::open(lock, config.cni, &mut metrics)?;
    let history = FlowHistory::new(config.flow_memory);
    let reports = Reports { log, history, events, metrics };
    let mut daemon = Daemon::new(node, reports, config.verify_interval, pins);
    loop {
        // In this order: stopping and enforcing come before events.
        tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            () = sleep_until(daemon.due), if daemon.sync.is_complete() => daemon.enforce().await,
            () = sleep_until(daemon.verify.next), if daemon.verifies() => daemon.verify().await,
            found = daemon.verify.found() => daemon.repair(found),
            () = sleep_until(daemon.switch_due) => daemon.read_switch(),
            // In random order: a large cluster sends a hundred thousand events, a pod can cause any
            // number of drops, and neither may delay the others.
            event = async {
                tokio::select! {
                    event = source.next() => Event::Source(event),
                    new_links = links.next() => Event::Links(new_links),
                    event = runtime.next() => Event::Runtime(event),
                    question = next_question(&mut questions) => Event::Question(question),
                    record = drops.next() => Event::Drop(record),
                }
            } => daemon.handle(event)?,
        }
    }
}

/// Something that the daemon waits for.
enum Event {
    /// A change of the cluster; `None` where no more can come.
    Source(Option<SourceEvent>),
    /// Changes of the node's links and addresses, with the links that are new.
    Links(Result<Vec<u32>, NetError>),
    /// A request or a hint of the container runtime.
    Runtime(RuntimeEvent),
    /// A request to the HTTP server.
    Question(Question),
    /// A dropped packet.
    Drop(Result<DropRecord, DropsError>),
}

/// The next request to the HTTP server; never returns without a server.
async fn next_question(questions: &mut Receiver<Question>) -> Question {
    match questions.recv().await {
        Some(question) => question,
        None => future::pending().await,
    }
}

/// A node, and what is needed to keep it in step.
struct Daemon {
    node: Node,
    /// Nothing is enforced before it is complete.
    sync: SyncState,
    /// When the next reconciliation is due.
    due: Instant,
    retry: Retry,
    reporter: Reporter,
    events: EventWriter,
    link_pause: LinkPause,
    history: FlowHistory,
    /// New links without an endpoint, and since when.
    new_links: BTreeMap<u32, Instant>,
    log: FlowLog,
    metrics: Metrics,
    pending: PendingPods,
    verify: Verify,
    /// The folder of its pins; other enforcers may have pinned beside it.
    pins: Option<PathBuf>,
    health: Health,
    unresolved: UnresolvedPorts,
    /// When the switch of enforcement is read next.
    switch_due: Instant,
}

/// Where a daemon reports what happens.
struct Reports {
    log: FlowLog,
    history: FlowHistory,
    events: EventWriter,
    metrics: Metrics,
}

impl Daemon {
    fn new(node: Node, reports: Reports, interval: Duration, pins: Option<PathBuf>) -> Self {
        let Reports { log, history, events, metrics } = reports;
        Self {
            node,
            sync: SyncState::default(),
            due: Instant::now(),
            retry: Retry::new(),
            reporter: Reporter::default(),
            events,
            link_pause: LinkPause::new(Instant::now()),
            history,
            new_links: BTreeMap::new(),
            log,
            metrics,
            pending: PendingPods::default(),
            verify: Verify::new(interval),
            pins,
            health: Health::default(),
            unresolved: UnresolvedPorts::default(),
            switch_due: Instant::now(),
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), DaemonError> {
        match event {
            Event::Source(event) => self.handle_source(event.ok_or(DaemonError::Source)?)?,
            Event::Links(new_links) => {
                let now = Instant::now();
                self.new_links.extend(new_links?.into_iter().map(|ifindex| (ifindex, now)));
                self.due = self.due.min(self.link_pause.changed(now));
            }
            Event::Runtime(event) => self.handle_runtime(event),
            Event::Question(question) => self.answer(question),
            Event::Drop(Ok(record)) => {
                let packet = DroppedPacket::new(&record, &mut self.node);
                self.log.write(&packet);
                self.history.add(&packet);
                self.events.dropped(&packet);
                self.metrics.denied(&packet);
                self.metrics.flow_history(&self.history);
            }
            Event::Drop(Err(error)) => report::unreadable_record(&error),
        }
        Ok(())
    }

    fn handle_source(&mut self, event: SourceEvent) -> Result<(), DaemonError> {
        match event {
            SourceEvent::Files(Ok(manifests)) => {
                report::manifests_read(&manifests);
                if !self.sync.is_complete() {
                    report::unknown_node(self.node.name(), &manifests.snapshot);
                }
                let start = Instant::now();
                self.node.intent().replace(manifests.snapshot);
                self.metrics.compiled(start.elapsed());
                self.metrics.all_read();
                self.sync.list_all();
                self.schedule_within(Duration::ZERO);
            }
            // There is no good state to continue with; what an earlier agent enforced stays.
            SourceEvent::Files(Err(error @ FilesError::Manifests(_)))
                if !self.sync.is_complete() =>
            {
                return Err(error.into());
            }
            SourceEvent::Files(Err(error)) => {
                report::manifests_broken(&error, self.sync.is_complete());
            }
            SourceEvent::Kubernetes(event) => self.handle_kubernetes(event),
        }
        Ok(())
    }

    fn handle_kubernetes(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Changed(change) => {
                let start = Instant::now();
                self.node.intent().apply(change);
                self.metrics.compiled(start.elapsed());
                self.schedule_within(BATCH_DELAY);
            }
            WatchEvent::Listed(resource, names) => {
                self.events.listed(resource);
                if !self.sync.is_watch_broken(resource) {
                    self.metrics.watch_broken(resource, false);
                }
                // The snapshot must show the policies that the API server has, not older versions.
                self.node.intent().release_all();
                for deletion in deletions(resource.kind, &names, self.node.snapshot()) {
                    self.node.intent().apply(deletion);
                }
                if self.sync.list(resource) {
                    report::cluster_read(self.node.snapshot());
                    report::unknown_node(self.node.name(), self.node.snapshot());
                }
                self.schedule_within(BATCH_DELAY);
            }
            WatchEvent::Disappeared(resource) => {
                report::resource_disappeared(resource);
                self.events.disappeared(resource);
                self.schedule_within(BATCH_DELAY);
            }
            WatchEvent::Unreadable(errors) => report::unreadable_object(&errors),
            WatchEvent::Broken(resource, error) => {
                self.metrics.watch_broken(resource, true);
                self.sync.watch_failed(resource, &error);
            }
            WatchEvent::Recovered(resource) => {
                self.metrics.watch_broken(resource, false);
                self.sync.watch_recovered(resource);
            }
        }
    }

    fn handle_runtime(&mut self, event: RuntimeEvent) {
        match event {
            RuntimeEvent::Status(response) => {
                return drop(response.send(self.health.started(&self.sync)));
            }
            RuntimeEvent::Pod(pod) => {
                if pod.is_add {
                    self.node.intent().add_hint(pod.sandbox.clone());
                }
                self.pending.add(pod);
            }
            RuntimeEvent::Cache(sandboxes) => self.node.intent().replace_cached_hints(sandboxes),
        }
        self.schedule_within(BATCH_DELAY);
    }

    /// Answers a request; a client that closed its connection gets no answer.
    fn answer(&mut self, question: Question) {
        match question {
            Question::Alive(answer) => drop(answer.send(())),
            Question::Ready(answer) => drop(answer.send(self.health.ready(&self.sync))),
            Question::Flows(since, answer) => {
                drop(answer.send(self.history.report(self.node.name(), since)));
            }
            Question::Status(answer) => {
                let not_ready = self.health.ready(&self.sync).err();
                drop(answer.send(self.reporter.status(&self.node, not_ready)));
            }
        }
    }

    /// Reads whether somebody has switched enforcement off or on.
    fn read_switch(&mut self) {
        self.switch_due = Instant::now() + SWITCH_INTERVAL;
        let is_off = self.pins.as_deref().is_some_and(switch::is_off);
        if self.node.intent().set_off_by_command(is_off) {
            self.schedule_within(Duration::ZERO);
        }
    }

    /// Schedules a reconciliation within `delay`, and ends the backoff of earlier ones.
    fn schedule_within(&mut self, delay: Duration) {
        self.due = self.due.min(Instant::now() + delay);
        self.retry = Retry::new();
    }
}
