//! Pods that wait for their policies before they start (S47).

use std::{mem, path::PathBuf};

use tokio::sync::{mpsc::Receiver, oneshot};

use super::metrics::Metrics;
use crate::{
    cni::{self, Claim, Installation, Question, Sandbox, State, Waiter},
    node::Node,
};

/// What of the container runtime is asked, told and changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CniConfig {
    /// Socket for the chained plugin.
    pub socket: Option<PathBuf>,
    /// libcni's cache of results.
    pub cache: Option<PathBuf>,
    /// The plugin, where it shall be chained on this node.
    pub installation: Option<Installation>,
}

impl CniConfig {
    /// The place of the socket, which may be an ending agent's for a while.
    pub(super) async fn claim(&self) -> Result<Option<Claim>, cni::SocketError> {
        match &self.socket {
            Some(socket) => Claim::take(socket).await.map(Some),
            None => Ok(None),
        }
    }
}

/// What comes from the runtime.
#[derive(Debug)]
pub(super) struct Inbox {
    questions: Option<Receiver<Question>>,
    cache: Option<Receiver<Vec<Sandbox>>>,
}

/// Something that came.
#[derive(Debug)]
pub(super) enum Runtime {
    Ready(oneshot::Sender<Result<(), String>>),
    Asked(Waiter),
    Cached(Vec<Sandbox>),
}

impl Inbox {
    /// Listens before the plugin is told to ask, where a place was claimed for it.
    pub(super) fn open(
        claim: Option<Claim>,
        config: CniConfig,
        metrics: &mut Metrics,
    ) -> Result<Self, cni::SocketError> {
        let CniConfig { cache, installation, .. } = config;
        let questions = claim.map(cni::serve).transpose()?;
        if let Some(installation) = installation {
            tokio::spawn(cni::stay(installation, metrics.plugin()));
        }
        Ok(Self { questions, cache: cache.map(cni::follow) })
    }

    /// What comes next; never where nothing can.
    pub(super) async fn next(&mut self) -> Runtime {
        tokio::select! {
            Some(question) = received(&mut self.questions) => match question {
                Question::Ready(answer) => Runtime::Ready(answer),
                Question::Pod(waiter) => Runtime::Asked(waiter),
            },
            Some(sandboxes) = received(&mut self.cache) => Runtime::Cached(sandboxes),
            else => std::future::pending().await,
        }
    }
}

async fn received<T>(inbox: &mut Option<Receiver<T>>) -> Option<T> {
    match inbox {
        Some(inbox) => inbox.recv().await,
        None => std::future::pending().await,
    }
}

/// Pods that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting(Vec<Waiter>);

impl Waiting {
    /// One more.
    pub(super) fn add(&mut self, waiter: Waiter) {
        self.0.push(waiter);
    }

    /// Tells each how it stands, and forgets those that wait no more: what they said of their pods
    /// is taken back, for the runtime gives their addresses to others. To be called when all that is
    /// known has been enforced; whether there is more to be enforced now.
    #[must_use]
    pub(super) fn answer(&mut self, node: &mut Node) -> bool {
        let mut left = Vec::new();
        for waiter in mem::take(&mut self.0) {
            let now = node.state_of(&waiter.sandbox);
            match waiter.state.send(now) {
                Err(_) if waiter.is_add => left.push(waiter.sandbox.pod),
                Ok(()) if now != State::Enforced => self.0.push(waiter),
                Err(_) | Ok(()) => {}
            }
        }
        // Who asks again told the same or better.
        left.retain(|pod| self.0.iter().all(|waiter| waiter.sandbox.pod != *pod));
        left.iter().fold(false, |more, pod| node.unlearn(pod) | more)
    }
}
