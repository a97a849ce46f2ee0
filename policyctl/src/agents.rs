//! Asks the agents of a cluster, and names the nodes that do not answer.
//!
//! Input: the options that name a cluster, and a path of the agents' HTTP server. Output: the parsed
//! answer of each node. A node without an answer is named on standard error and hides no other one:
//!
//! ```text
//! warning: node2 has no answer: the agent's pod policy-agent-x2x4p does not run: it is Pending
//! ```

use clap::Args;
use policy_core::causes::causes;
use policy_kube::{AgentAnswer, AgentError, AgentPod, Client, Server, agents, ask_agents};
use policy_probe::{exit, terminal};
use serde::de::DeserializeOwned;

use crate::cluster::{ClusterError, ClusterOptions};

/// Which agents are asked.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(crate) struct AgentOptions {
    #[command(flatten)]
    cluster: ClusterOptions,

    /// Namespace of the agents' pods
    #[arg(long, value_name = "NAMESPACE", default_value = "policy-system")]
    agent_namespace: String,
}

/// Why no agent could be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentsError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(
        "no pod of the namespace {namespace} is an agent; install it, or name its namespace with \
         --agent-namespace"
    )]
    NoAgent { namespace: String },
    #[error(
        "the agents of the namespace {namespace} cannot be asked: you need the right to create \
         pods/portforward there"
    )]
    Forbidden {
        namespace: String,
        #[source]
        source: AgentError,
    },
    #[error("cannot start the network runtime")]
    Runtime(#[source] std::io::Error),
}

impl From<policy_kube::Error> for AgentsError {
    fn from(error: policy_kube::Error) -> Self {
        Self::Cluster(error.into())
    }
}

impl AgentsError {
    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Cluster(error) => error.code(),
            Self::NoAgent { .. } | Self::Forbidden { .. } | Self::Runtime(_) => exit::FAILED,
        }
    }
}

/// A connection to a cluster with agents.
pub(crate) struct Agents {
    runtime: tokio::runtime::Runtime,
    client: Client,
    namespace: String,
}

/// The answers of the nodes that have one.
#[derive(Debug)]
pub(crate) struct AgentAnswers<T> {
    /// By node.
    pub(crate) nodes: Vec<(AgentPod, T)>,
    /// Nodes without an answer, each with the reason.
    pub(crate) missing: Vec<(String, String)>,
}

/// Connects to the cluster that the options name.
pub(crate) fn connect(options: &AgentOptions) -> Result<Agents, AgentsError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(AgentsError::Runtime)?;
    let client = runtime
        .block_on(async { Server::find(&options.cluster.access()).await?.client_for_lists() })?;
    Ok(Agents { runtime, client, namespace: options.agent_namespace.clone() })
}

impl Agents {
    /// The answer of each agent to `GET` with its path.
    pub(crate) fn ask<T: DeserializeOwned>(
        &self,
        path: impl Fn(&AgentPod) -> String,
    ) -> Result<AgentAnswers<T>, AgentsError> {
        let answers = self.runtime.block_on(async {
            let agents = agents(&self.client, &self.namespace).await?;
            Ok::<_, policy_kube::Error>(ask_agents(&self.client, &agents, path).await)
        })?;
        if answers.is_empty() {
            return Err(AgentsError::NoAgent { namespace: self.namespace.clone() });
        }
        self.sorted(answers)
    }

    /// Parses the answers. An error where the caller has no right to any.
    fn sorted<T: DeserializeOwned>(
        &self,
        answers: Vec<AgentAnswer>,
    ) -> Result<AgentAnswers<T>, AgentsError> {
        let all = answers.len();
        let mut sorted = AgentAnswers { nodes: Vec::new(), missing: Vec::new() };
        for (agent, answer) in answers {
            let parsed = match answer {
                Ok(body) => serde_json::from_slice(&body).map_err(|error| {
                    format!("cannot parse its answer, it may have another version: {error}")
                }),
                Err(source) if all == sorted.missing.len() + 1 && source.is_forbidden() => {
                    let namespace = self.namespace.clone();
                    return Err(AgentsError::Forbidden { namespace, source });
                }
                Err(error) => Err(causes(&error).join(": ")),
            };
            match parsed {
                Ok(answer) => sorted.nodes.push((agent, answer)),
                Err(why) => sorted.missing.push((agent.node, why)),
            }
        }
        Ok(sorted)
    }
}

impl<T> AgentAnswers<T> {
    /// Names the nodes without an answer on standard error; the exit code, which is `answered` where
    /// every node has answered.
    pub(crate) fn report_missing(&self, answered: u8) -> u8 {
        for (node, why) in &self.missing {
            terminal::line(&format!("warning: {node} has no answer: {why}"));
        }
        if self.missing.is_empty() { answered } else { exit::FAILED }
    }
}
