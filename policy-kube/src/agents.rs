//! Asks the agents of all nodes over HTTP, with the rights of the caller.
//!
//! Input: a client, the namespace of the agents, and a path such as `/flows`. Output: the answer of each
//! agent, or why it has none. Agents listen on the loopback address of their nodes, so each request goes
//! through the API server and kubelet, as `kubectl port-forward` does: it needs the right to create
//! `pods/portforward` in the agents' namespace.
//!
//! ```text
//! policyctl ──TLS──> API server ──> kubelet of node1 ──> 127.0.0.1:9470 of node1
//! ```

mod error;
mod exchange;

use std::time::Duration;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use tokio::time::timeout;

use crate::{Client, Error, Resource};

pub use error::AgentError;

/// The label of the agents' pods.
const LABEL: &str = "app.kubernetes.io/name=policy-agent";
/// How long one agent may take.
const LIMIT: Duration = Duration::from_secs(20);
/// Agents that are asked at a time.
const CONCURRENT: usize = 32;

/// The pod of an agent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AgentPod {
    /// `spec.nodeName`; empty where it has no node yet.
    pub node: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `status.phase`.
    pub phase: String,
    /// The port of its option `--listen`.
    pub port: Option<u16>,
}

/// An agent, and its answer.
pub type AgentAnswer = (AgentPod, Result<Vec<u8>, AgentError>);

/// The agents of a namespace, by node.
///
/// # Errors
///
/// Where the server cannot be reached, or does not give the list.
pub async fn agents(client: &Client, namespace: &str) -> Result<Vec<AgentPod>, Error> {
    let api: Api<Pod> = Api::namespaced(client.kube.clone(), namespace);
    let list = api.list(&ListParams::default().labels(LABEL)).await;
    let pods = Resource::PODS.api_resource(Resource::PODS.newest());
    let list = list.map_err(|error| client.request_failure(&pods, "list", error))?;
    let mut agents: Vec<AgentPod> = list.items.iter().map(AgentPod::of).collect();
    agents.sort();
    Ok(agents)
}

/// Sends `GET` with the path for each agent, to several at a time; the answers come in the order of the
/// agents.
pub async fn ask_agents(
    client: &Client,
    agents: &[AgentPod],
    path: impl Fn(&AgentPod) -> String,
) -> Vec<AgentAnswer> {
    let requests = agents.iter().map(|agent| (agent, path(agent)));
    let answers = stream::iter(requests).map(async |(agent, path)| {
        let answer = timeout(LIMIT, exchange::get(client, agent, &path)).await;
        (agent.clone(), answer.unwrap_or(Err(AgentError::Timeout { limit: LIMIT })))
    });
    answers.buffered(CONCURRENT).collect().await
}

impl AgentPod {
    fn of(pod: &Pod) -> Self {
        let spec = pod.spec.as_ref();
        let containers = spec.into_iter().flat_map(|spec| &spec.containers);
        let arguments = containers.flat_map(|container| {
            container.command.iter().chain(&container.args).flatten().map(String::as_str)
        });
        let phase = pod.status.as_ref().and_then(|status| status.phase.clone());
        Self {
            node: spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
            phase: phase.unwrap_or_default(),
            port: listen_port(arguments),
        }
    }
}

/// The port of the option `--listen`.
fn listen_port<'a>(mut arguments: impl Iterator<Item = &'a str>) -> Option<u16> {
    while let Some(argument) = arguments.next() {
        let address = match argument.strip_prefix("--listen") {
            Some("") => arguments.next(),
            Some(value) => value.strip_prefix('='),
            None => None,
        };
        if let Some((_, port)) = address.and_then(|address| address.rsplit_once(':')) {
            return port.parse().ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_that_of_the_option() {
        #[rustfmt::skip]
        let cases: [(&[&str], Option<u16>); 6] = [
            (&["run", "--listen=127.0.0.1:9470"],           Some(9470)),
            (&["run", "--listen", "[::1]:9479", "--clsact"], Some(9479)),
            (&["run", "--listener=127.0.0.1:1"],            None),
            (&["--metrics-listen=0.0.0.0:9471"],            None),
            (&["--listen"],                                 None),
            (&[],                                           None),
        ];
        for (arguments, want) in cases {
            assert_eq!(listen_port(arguments.iter().copied()), want, "{arguments:?}");
        }
    }
}
