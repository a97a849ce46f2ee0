//! Servers under policies, and pods that try to reach them during the whole soak test.
//!
//! Clients must be answered, strangers must not, and open connections must survive.

use std::collections::BTreeMap;
use std::fmt;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use testbed::client::{LogParams, Objects};
use testbed::until;
use xtask::image::POD_IMAGE;

use crate::NODES;
use crate::cluster::TestCluster;

/// The namespace of all pods of the test.
pub(super) const NAMESPACE: &str = "soak";

/// How long pods may take to become ready.
pub(super) const START: Duration = Duration::from_mins(5);

/// Milliseconds between tries.
const PAUSE: &str = "50";

/// Tries so far, and how many had the wrong outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    allowed: u64,
    lost: u64,
    denied: u64,
    pub(super) let_through: u64,
}

impl Count {
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            allowed: self.allowed - before.allowed,
            lost: self.lost - before.lost,
            denied: self.denied - before.denied,
            let_through: self.let_through - before.let_through,
        }
    }

    pub(super) fn is_clean(self) -> bool {
        self.lost == 0 && self.let_through == 0
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { allowed, lost, denied, let_through } = self;
        write!(
            f,
            "{allowed:>7} must be answered, {lost} lost; {denied:>7} must be denied, {let_through} let through"
        )
    }
}

/// The pods and their policies.
pub(super) struct Traffic<'a> {
    pub(super) cluster: &'a TestCluster,
    pub(super) pods: Objects<Pod>,
    servers: Vec<String>,
    talkers: Vec<String>,
}

impl<'a> Traffic<'a> {
    /// Makes servers, victims, and the policies that decide who reaches them.
    pub(super) fn create(cluster: &'a TestCluster) -> Result<Self> {
        let client = &cluster.client;
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        client.apply(&[namespace])?;
        let mut pods = Vec::new();
        for node in NODES {
            pods.push(pod(
                &format!("server-{node}"),
                node,
                "server",
                &["serve", "80/TCP", "80/UDP", "81/TCP"],
            ));
            for number in 0..2 {
                pods.push(pod(
                    &format!("victim-{node}-{number}"),
                    node,
                    "victim",
                    &["serve", "80/TCP"],
                ));
            }
        }
        until("the servers' objects", || client.apply(&pods).is_ok())?;
        client.apply(&[policy(
            "servers",
            "server",
            &json!([{"podSelector": {"matchLabels": {"app": "client"}}}]),
        )])?;
        let pods = client.namespaced(NAMESPACE);
        let mut traffic = Self { cluster, pods, servers: Vec::new(), talkers: Vec::new() };
        traffic.servers = traffic.addresses("app=server")?;
        Ok(traffic)
    }

    /// Starts pods that try, on each node one.
    pub(super) fn start(&mut self, app: &str, wants: &[&str]) -> Result<()> {
        let mut targets = Vec::new();
        for server in &self.servers {
            for want in wants {
                targets.push(format!("{want}=TCP/{server}:80"));
                if *want != "keep" {
                    targets.push(format!("{want}=UDP/{server}:80"));
                }
            }
        }
        let mut arguments = vec!["traffic", PAUSE];
        arguments.extend(targets.iter().map(String::as_str));
        let pods: Vec<_> =
            NODES.iter().map(|node| pod(&format!("{app}-{node}"), node, app, &arguments)).collect();
        self.cluster.client.apply(&pods)?;
        self.addresses(&format!("app={app}"))?;
        self.talkers.extend(NODES.iter().map(|node| format!("{app}-{node}")));
        Ok(())
    }

    /// The counts, after tries that were under way have ended.
    pub(super) fn settled(&self) -> Result<Count> {
        thread::sleep(Duration::from_secs(5));
        let mut sum = Count::default();
        for talker in &self.talkers {
            let end = LogParams { tail_lines: Some(100), ..LogParams::default() };
            let log = self.pods.log(talker, end)?;
            let total = log.lines().rev().find_map(|line| line.strip_prefix("total "));
            let total = total.with_context(|| format!("{talker} prints no counts"))?;
            let words: Vec<_> = total.split_whitespace().collect();
            let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
            let numbers: Option<Vec<_>> = [1, 2, 4, 5, 7, 8].into_iter().map(number).collect();
            let numbers = numbers.context("not a total")?;
            sum.allowed += numbers[0] + numbers[4];
            sum.lost += numbers[1] + numbers[5];
            sum.denied += numbers[2];
            sum.let_through += numbers[3];
        }
        Ok(sum)
    }

    /// Replaces the servers' policy by an equivalent one, and changes another pod's policy: no verdict
    /// on the traffic changes.
    pub(super) fn churn_policies(&self, number: u32) -> Result<()> {
        let by_label = json!([{"podSelector": {"matchLabels": {"app": "client"}}}]);
        let by_set = json!([{
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
            "podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["client", number.to_string()]}]},
        }]);
        let from = if number.is_multiple_of(2) { by_set } else { by_label };
        let other = json!([{"ipBlock": {"cidr": format!("192.0.2.{}/32", number % 256)}}]);
        let policies = [policy("servers", "server", &from), policy("victims", "victim", &other)];
        Ok(self.cluster.client.apply(&policies)?)
    }

    /// UIDs of the pods that may be killed.
    pub(super) fn victims(&self) -> Result<Vec<String>> {
        let pods = self.pods.list("app=victim")?;
        Ok(pods.into_iter().filter_map(|pod| pod.metadata.uid).collect())
    }

    /// An address of each pod of a kind, once all of them serve.
    pub(super) fn addresses(&self, label: &str) -> Result<Vec<String>> {
        let pods = self.pods.ready(label, START)?;
        let by_name: BTreeMap<_, _> = pods
            .into_iter()
            .filter_map(|pod| Some((pod.metadata.name?, pod.status?.pod_ip?)))
            .collect();
        ensure!(!by_name.is_empty(), "no pod with {label}");
        Ok(by_name.into_values().collect())
    }
}

/// A pod of the soak.
pub(super) fn pod(name: &str, node: &str, app: &str, arguments: &[&str]) -> Value {
    let mut spec = spec(arguments, json!({"value": name}));
    spec["nodeName"] = node.into();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": app}},
        "spec": spec,
    })
}

/// The template of a controller's pods, which have their UIDs as names.
pub(super) fn template(app: &str, arguments: &[&str]) -> Value {
    let own_uid = json!({"valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}});
    json!({"metadata": {"labels": {"app": app}}, "spec": spec(arguments, own_uid)})
}

/// What every pod of the soak has; `name` is what it calls itself.
fn spec(arguments: &[&str], mut name: Value) -> Value {
    name["name"] = "POD_NAME".into();
    json!({
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": 1,
        "containers": [{
            "name": "pod",
            "image": POD_IMAGE,
            "imagePullPolicy": "IfNotPresent",
            "args": arguments,
            "env": [name],
        }],
    })
}

/// A policy that allows only `from`, and only to port 80 of the pods with the label `app`.
pub(super) fn policy(name: &str, app: &str, from: &Value) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "podSelector": {"matchLabels": {"app": app}},
            "policyTypes": ["Ingress"],
            "ingress": [{
                "from": from,
                "ports": [{"port": 80, "protocol": "TCP"}, {"port": 80, "protocol": "UDP"}],
            }],
        },
    })
}
