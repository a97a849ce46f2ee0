//! Pods that connect as the first thing they do, and the servers that they connect to.
//!
//! A round creates pods of two kinds. `first` pods try to reach servers; `listener` pods are servers
//! that no pod may reach: they call `hammer`, which then sends datagrams until one is answered.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use serde_json::{Value, json};
use testbed::client::{Client, LogParams, Objects};
use testbed::until;
use xtask::image::POD_IMAGE;

use super::outcome::Outcome;
use crate::NODES;

/// The namespace of all pods of the test.
pub(super) const NAMESPACE: &str = "first";

/// Milliseconds that a try may take: the kernel repeats a lost SYN after one second and after three.
const PATIENCE: &str = "4000";

/// The port that receives calls.
const CALLS: &str = "9000";

/// Containers of a pod that tries; each tries before it does anything else.
const CONTAINERS: usize = 2;

/// How long pods may take to become ready.
const START: Duration = Duration::from_mins(5);

/// The pods that stay from one round to the next.
pub(super) struct FirstPods<'a> {
    client: &'a Client,
    pods: Objects<Pod>,
    /// What every container tries, as `policy-pod first` takes it.
    targets: Vec<String>,
    /// Address of the pod that only `first` may reach.
    guarded: String,
    /// Address and port of the pod that sends datagrams to each server that calls it.
    hammer: String,
}

impl<'a> FirstPods<'a> {
    /// Creates the policies and the servers.
    pub(super) fn create(client: &'a Client) -> Result<Self> {
        client.apply(&[
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        ])?;
        client.apply(&policies())?;
        let serve = ["serve", "80/TCP", "80/UDP"];
        let server = |role: &str| pod(role, NODES[0], role, &container("main", role, &serve));
        let hammer = container("main", "hammer", &["hammer", "1", CALLS, "80"]);
        let objects = [
            server("open"),
            server("secret"),
            server("guarded"),
            pod("hammer", NODES[0], "hammer", &hammer),
        ];
        until("the servers' objects", || client.apply(&objects).is_ok())?;
        let pods = client.namespaced::<Pod>(NAMESPACE);
        pods.ready("role in (open,secret,guarded,hammer)", START)?;
        let address = |name: &str, family: usize| {
            let own = pods.get(name)?.status.unwrap_or_default().pod_ips.unwrap_or_default();
            let own = own.into_iter().nth(family).context("no address")?;
            Ok::<_, anyhow::Error>(own.ip)
        };
        let mut targets = Vec::new();
        for (id, server) in [("allow", "open"), ("deny", "secret")] {
            let (v4, v6) = (address(server, 0)?, address(server, 1)?);
            targets.push(format!("{id}=TCP/{v4}:80"));
            targets.push(format!("{id}=UDP/{v4}:80"));
            targets.push(format!("{id}=TCP/[{v6}]:80"));
        }
        let guarded = address("guarded", 0)?;
        let hammer = format!("{}:{CALLS}", address("hammer", 0)?);
        Ok(Self { client, pods, targets, guarded, hammer })
    }

    /// Creates pods that try, and half as many servers that no pod may reach.
    pub(super) fn start(&self, round: &str, count: usize) -> Result<()> {
        let node = |number: usize| NODES[number % NODES.len()];
        // The guarded pod is on the first node.
        let targets = |number: usize| {
            let distance = if node(number) == NODES[0] { "near" } else { "far" };
            let guarded = format!("{distance}=TCP/{}:80", self.guarded);
            self.targets.iter().cloned().chain([guarded]).collect::<Vec<_>>()
        };
        let mut pods = Vec::new();
        for number in 0..count {
            let name = format!("first-{round}-{number}");
            let targets = targets(number);
            let targets = targets.iter().map(String::as_str);
            let with = |verb| [verb, PATIENCE].into_iter().chain(targets.clone());
            let main = container("main", &name, &with("once").collect::<Vec<_>>());
            let mut pod = pod(&name, node(number), "first", &main);
            pod["spec"]["initContainers"] =
                json!([container("init", &name, &with("first").collect::<Vec<_>>())]);
            pods.push(pod);
        }
        for number in 0..count / 2 {
            let name = format!("listener-{round}-{number}");
            let main = container("main", &name, &["call", &self.hammer, "80/UDP"]);
            pods.push(pod(&name, node(number), "listener", &main));
        }
        Ok(self.client.apply(&pods)?)
    }

    /// How many pods of the round have started a container.
    pub(super) fn started(&self) -> Result<usize> {
        let is_started = |one: &ContainerStatus| {
            let is_waiting = one.state.as_ref().is_some_and(|state| state.waiting.is_some());
            !is_waiting || one.started == Some(true)
        };
        let has_started = |pod: &Pod| {
            let status = pod.status.as_ref();
            let first = status.and_then(|status| status.init_container_statuses.as_ref());
            let main = status.and_then(|status| status.container_statuses.as_ref());
            first.into_iter().chain(main).flatten().any(is_started)
        };
        Ok(self.pods.list(PASSING)?.iter().filter(|pod| has_started(pod)).count())
    }

    /// Waits until all containers of a round have made their tries.
    pub(super) fn tried(&self, round: &str, count: usize) -> Result<Outcome> {
        self.pods.ready(PASSING, START)?;
        let lines = count * CONTAINERS * (self.targets.len() + 1);
        let mut outcome = Outcome::default();
        until("the tries", || {
            outcome = self.read(round).unwrap_or_default();
            outcome.tries() >= lines
        })?;
        // Callers repeat a call for a second; the datagrams need longer.
        thread::sleep(Duration::from_secs(3));
        let outcome = self.read(round)?;
        ensure!(outcome.tries() == lines, "{} tries instead of {lines}", outcome.tries());
        ensure!(outcome.heard == count / 2, "{} of {} calls", outcome.heard, count / 2);
        Ok(outcome)
    }

    /// Removes the pods of all rounds.
    pub(super) fn clear(&self) -> Result<()> {
        Ok(self.pods.delete_all(PASSING)?)
    }

    /// Names of the pods of the rounds.
    pub(super) fn names(&self) -> Result<BTreeSet<String>> {
        let pods = self.pods.list(PASSING)?;
        Ok(pods.into_iter().filter_map(|pod| pod.metadata.name).collect())
    }

    fn read(&self, round: &str) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        for pod in self.pods.list("role=first")? {
            let name = pod.metadata.name.unwrap_or_default();
            for container in ["init", "main"] {
                let of =
                    LogParams { container: Some(container.to_owned()), ..LogParams::default() };
                self.pods.log(&name, of)?.lines().for_each(|line| outcome.take(line));
            }
        }
        let calls = self.pods.log("hammer", LogParams::default())?;
        let prefix = format!("listener-{round}-");
        let of = |word: &str| {
            let names = calls.lines().filter_map(|line| line.strip_prefix(word));
            names.filter(|name| name.trim().starts_with(&prefix)).count()
        };
        (outcome.heard, outcome.reached) = (of("heard "), of("answered "));
        Ok(outcome)
    }
}

/// Pods of one round.
const PASSING: &str = "role in (first,listener)";

fn pod(name: &str, node: &str, role: &str, main: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"role": role}},
        "spec": {
            "nodeName": node,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": 1,
            "containers": [main],
        },
    })
}

fn container(name: &str, pod: &str, arguments: &[&str]) -> Value {
    json!({
        "name": name,
        "image": POD_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "args": arguments,
        "env": [{"name": "POD_NAME", "value": pod}],
    })
}

/// `first` may reach only `open` and `guarded`; only `first` may reach `guarded`; no pod may reach
/// `listener`.
fn policies() -> Vec<Value> {
    let policy = |name: &str, mut spec: Value| {
        spec["podSelector"] = json!({"matchLabels": {"role": name}});
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": spec,
        })
    };
    let peer = |role: &str| json!({"podSelector": {"matchLabels": {"role": role}}});
    vec![
        policy(
            "first",
            json!({"policyTypes": ["Egress"], "egress": [{"to": [peer("open"), peer("guarded")]}]}),
        ),
        policy(
            "guarded",
            json!({"policyTypes": ["Ingress"], "ingress": [{"from": [peer("first")]}]}),
        ),
        policy("listener", json!({"policyTypes": ["Ingress"]})),
    ]
}
