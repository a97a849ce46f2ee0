//! What an operator asks the daemon over HTTP: whether it lives, whether it enforces, what, and
//! metrics.

use std::{io, net::SocketAddr, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{
    net::TcpListener,
    sync::{
        mpsc::{self, Receiver, Sender},
        oneshot,
    },
    time::timeout,
};

use crate::status::Status;

/// Time in which the daemon must answer, or else it hangs.
const PATIENCE: Duration = Duration::from_secs(5);
/// Questions that wait.
const QUEUE: usize = 8;
/// Media type of the `OpenMetrics` text format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A question, and where to answer it.
#[derive(Debug)]
pub enum Question {
    /// Whether the daemon answers at all.
    Alive(oneshot::Sender<()>),
    /// Whether it enforces: `Err` says what is missing.
    Ready(oneshot::Sender<Result<(), String>>),
    /// How it stands with every pod and policy of the node.
    Status(oneshot::Sender<Status>),
    /// Metrics in the `OpenMetrics` text format.
    Metrics(oneshot::Sender<String>),
}

/// Serves `/healthz`, `/readyz`, `/status` and `/metrics` for as long as the receiver lives.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O enabled.
///
/// # Errors
///
/// Where the address cannot be listened at.
pub async fn serve(address: SocketAddr) -> io::Result<Receiver<Question>> {
    let listener = TcpListener::bind(address).await?;
    let (questions, inbox) = mpsc::channel(QUEUE);
    let router = Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .with_state(questions);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(inbox)
}

async fn alive(State(questions): State<Sender<Question>>) -> Response {
    match ask(&questions, Question::Alive).await {
        Some(()) => "ok\n".into_response(),
        None => hangs(),
    }
}

async fn ready(State(questions): State<Sender<Question>>) -> Response {
    match ask(&questions, Question::Ready).await {
        Some(Ok(())) => "ok\n".into_response(),
        Some(Err(missing)) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{missing}\n")).into_response()
        }
        None => hangs(),
    }
}

async fn status(State(questions): State<Sender<Question>>) -> Response {
    match ask(&questions, Question::Status).await {
        Some(status) => Json(status).into_response(),
        None => hangs(),
    }
}

async fn metrics(State(questions): State<Sender<Question>>) -> Response {
    match ask(&questions, Question::Metrics).await {
        Some(text) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        None => hangs(),
    }
}

fn hangs() -> Response {
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
