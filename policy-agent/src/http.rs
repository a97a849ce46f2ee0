//! The daemon's HTTP endpoints: `/healthz`, `/readyz`, `/status`, `/flows` and `/metrics`.
//!
//! The server has a thread of its own. `/metrics` is answered there; every other request becomes a
//! [`Question`] to the daemon's task, which owns the state and answers it between two reconciliations.
//! No answer within five seconds is status 503.

mod listener;
mod since;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, thread, time::Duration};

use axum::{
    Json, Router,
    extract::{RawQuery, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use jiff::Timestamp;
use policy_report::{flows::FlowReport, status::Status};
use tokio::{
    runtime,
    sync::{
        mpsc::{self, Receiver, Sender},
        oneshot,
    },
    task::JoinSet,
    time::timeout,
};

use listener::ListenPlace;

/// Longest wait for the daemon's answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Questions that wait for the daemon.
const QUEUE: usize = 8;
/// Media type of the `OpenMetrics` text format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where requests arrive; nowhere where all are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listen {
    /// An address and a port, which every process of the node can use.
    pub address: Option<SocketAddr>,
    /// Path of a Unix socket, which only root can use.
    pub socket: Option<PathBuf>,
    /// An address and a port for `/metrics` alone, for others who need not see pods and policies.
    pub metrics: Option<SocketAddr>,
}

/// A question, and the channel for its answer.
#[derive(Debug)]
pub enum Question {
    /// Whether the daemon runs (`/healthz`).
    Alive(oneshot::Sender<()>),
    /// Whether it is ready (`/readyz`); the error says what is missing.
    Ready(oneshot::Sender<Result<(), String>>),
    /// What is enforced at each pod, and of each policy (`/status`).
    Status(oneshot::Sender<Status>),
    /// The denied flows with a packet since a time, or all (`/flows`).
    Flows(Option<Timestamp>, oneshot::Sender<FlowReport>),
}

/// Collects the text of `/metrics`; `None` where it cannot.
type MetricsText = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// Serves the endpoints on a thread of its own until the process ends.
///
/// # Errors
///
/// Where no thread can be started. An address or a socket that cannot be used is logged and tried again.
pub fn serve(
    listen: Listen,
    metrics: impl Fn() -> Option<String> + Send + Sync + 'static,
) -> io::Result<Receiver<Question>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (questions, inbox) = mpsc::channel(QUEUE);
    let only_metrics = only_metrics(Arc::new(metrics));
    let router = router(questions).merge(only_metrics.clone());
    let Listen { address, socket, metrics } = listen;
    let places = [
        address.map(|address| (ListenPlace::Address(address), router.clone())),
        socket.map(|socket| (ListenPlace::Socket(socket), router)),
        metrics.map(|address| (ListenPlace::Address(address), only_metrics)),
    ];
    let serve = async move {
        let servers = places.into_iter().flatten();
        let servers = servers.map(|(place, router)| listener::serve(place, router));
        // They accept connections for ever.
        servers.collect::<JoinSet<()>>().join_all().await;
    };
    let thread = thread::Builder::new().name("http".to_owned());
    thread.spawn(move || runtime.block_on(serve))?;
    Ok(inbox)
}

fn only_metrics(metrics: MetricsText) -> Router {
    Router::new().route("/metrics", get(answer_metrics)).with_state(metrics)
}

fn router(questions: Sender<Question>) -> Router {
    Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/status", get(status))
        .route("/flows", get(flows))
        .with_state(questions)
}

async fn alive(State(questions): State<Sender<Question>>) -> Response {
    match ask(&questions, Question::Alive).await {
        Some(()) => "ok\n".into_response(),
        None => no_answer(),
    }
}

async fn ready(State(questions): State<Sender<Question>>) -> Response {
    match ask(&questions, Question::Ready).await {
        Some(Ok(())) => "ok\n".into_response(),
        Some(Err(missing)) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{missing}\n")).into_response()
        }
        None => no_answer(),
    }
}

async fn status(State(questions): State<Sender<Question>>) -> Response {
    match ask(&questions, Question::Status).await {
        Some(status) => Json(status).into_response(),
        None => no_answer(),
    }
}

async fn flows(State(questions): State<Sender<Question>>, RawQuery(query): RawQuery) -> Response {
    let since = match since::of_query(query.as_deref().unwrap_or_default(), Timestamp::now()) {
        Ok(since) => since,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    match ask(&questions, |answer| Question::Flows(since, answer)).await {
        Some(flows) => Json(flows).into_response(),
        None => no_answer(),
    }
}

async fn answer_metrics(State(metrics): State<MetricsText>) -> Response {
    match metrics() {
        Some(text) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        None => no_answer(),
    }
}

fn no_answer() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the daemon does not answer\n").into_response()
}

async fn ask<T>(
    questions: &Sender<Question>,
    question: impl FnOnce(oneshot::Sender<T>) -> Question,
) -> Option<T> {
    let (sender, answer) = oneshot::channel();
    let asked = async {
        questions.send(question(sender)).await.ok()?;
        answer.await.ok()
    };
    timeout(PATIENCE, asked).await.ok().flatten()
}
