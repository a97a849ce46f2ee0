//! Ends of connections as people name them, and the ends that the manifests have by that name.
//!
//! ```text
//! web                 the pod or workload web of the namespace in question
//! shop/web            the pod or workload web of the namespace shop
//! deploy/web          the Deployment web of the namespace in question
//! deploy/shop/web     the Deployment web of the namespace shop
//! svc/web             the Service web of the namespace in question
//! host/NAME, 10.0.0.7 as they are
//! ```
//!
//! A workload stands for its pods, so that one name can give several ends.

use std::{collections::BTreeSet, fmt, str::FromStr};

use policy_core::model::{ObjectName, Phase, Snapshot};
use policy_manifest::{End, EndError, Manifests, nearest};

use crate::{error::Error, workload};

/// Kinds of workloads, and the words for each that kubectl knows.
const WORKLOADS: [(&str, &[&str]); 9] = [
    ("Deployment", &["deploy", "deployment", "deployments"]),
    ("StatefulSet", &["sts", "statefulset", "statefulsets"]),
    ("DaemonSet", &["ds", "daemonset", "daemonsets"]),
    ("ReplicaSet", &["rs", "replicaset", "replicasets"]),
    ("ReplicationController", &["rc", "replicationcontroller", "replicationcontrollers"]),
    ("Job", &["job", "jobs"]),
    ("CronJob", &["cj", "cronjob", "cronjobs"]),
    ("DeploymentConfig", &["dc", "deploymentconfig", "deploymentconfigs"]),
    ("Pod", &["po", "pod", "pods"]),
];

/// Words for a Service.
const SERVICES: [&str; 3] = ["svc", "service", "services"];

/// An end of a connection, as a person names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// An address or a host.
    End(End),
    /// A Service; without a namespace it is of the namespace in question.
    Service(Option<String>, String),
    /// A pod or a workload of any kind.
    Any(Option<String>, String),
    /// A workload of a kind, or a pod.
    OfKind {
        /// As the API writes it.
        kind: &'static str,
        /// The word that the person wrote for it.
        word: String,
        namespace: Option<String>,
        name: String,
    },
}

impl Named {
    /// The ends that it stands for, at least one; `own` is the namespace in question.
    ///
    /// A pod that does not exist is an end too, so that whoever probes it reports it.
    pub(crate) fn ends(&self, manifests: &Manifests, own: &str) -> Result<Vec<End>, Error> {
        let full = |namespace: &Option<String>, name: &str| {
            ObjectName::new(namespace.as_deref().unwrap_or(own), name)
        };
        let snapshot = &manifests.snapshot;
        match self {
            Self::End(end) => Ok(vec![end.clone()]),
            Self::Service(namespace, name) => Ok(vec![End::Service(full(namespace, name))]),
            Self::Any(namespace, name) => {
                let name = full(namespace, name);
                let workloads = workload::of_pods(snapshot);
                let of = |pod: &ObjectName| workloads.get(pod).is_some_and(|one| *one == name);
                let pods = live(snapshot, of);
                let is_pod = snapshot.pods.contains_key(&name) || pods.is_empty();
                Ok(if is_pod { vec![End::Pod(name)] } else { pods })
            }
            Self::OfKind { kind: "Pod", namespace, name, .. } => {
                Ok(vec![End::Pod(full(namespace, name))])
            }
            Self::OfKind { kind, word, namespace, name } => {
                let wanted = full(namespace, name);
                let of = |pod: &ObjectName| {
                    let workload = snapshot.pods.get(pod).and_then(|pod| pod.workload.as_ref());
                    pod.namespace == wanted.namespace
                        && workload.is_some_and(|one| one.kind == *kind && one.name == *name)
                };
                let pods = live(snapshot, of);
                // `job/web` can also be the pod web of a namespace with the name job.
                let pod = ObjectName::new(word, name);
                let is_pod = namespace.is_none() && snapshot.pods.contains_key(&pod);
                match (pods.is_empty(), is_pod) {
                    (false, _) => Ok(pods),
                    (true, true) => Ok(vec![End::Pod(pod)]),
                    (true, false) => Err(unknown(snapshot, kind, &wanted)),
                }
            }
        }
    }
}

/// Pods that run and have an address. A second pod of a made-up workload is like the first, and
/// comes after it.
fn live(snapshot: &Snapshot, is_meant: impl Fn(&ObjectName) -> bool) -> Vec<End> {
    let pods = snapshot.pods.iter().filter(|(name, pod)| {
        pod.phase == Phase::Live && !pod.addresses.is_empty() && is_meant(name)
    });
    pods.map(|(name, _)| End::Pod(name.clone())).collect()
}

/// The error for a workload that no pod belongs to, with a similar name if there is one.
fn unknown(snapshot: &Snapshot, kind: &'static str, name: &ObjectName) -> Error {
    let pods = snapshot.pods.iter();
    let known: BTreeSet<String> = pods
        .filter_map(|(pod, found)| {
            let workload = found.workload.as_ref().filter(|one| one.kind == kind)?;
            Some(ObjectName::new(&pod.namespace, &workload.name).to_string())
        })
        .collect();
    let near = nearest(&name.to_string(), known.iter().map(String::as_str)).map(str::to_owned);
    Error::UnknownWorkload { kind, name: name.clone(), nearest: near }
}

impl FromStr for Named {
    type Err = EndError;

    fn from_str(text: &str) -> Result<Self, EndError> {
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(EndError);
        }
        let (word, namespace, name) = match parts[..] {
            ["host", _] => return text.parse().map(Self::End),
            [name] => {
                let end = text.parse().map(Self::End);
                return end.or_else(|_: EndError| Ok(Self::Any(None, name.to_owned())));
            }
            [word, name] => (word, None, name),
            [word, namespace, name] => (word, Some(namespace.to_owned()), name),
            _ => return Err(EndError),
        };
        let kind = WORKLOADS.iter().find(|(_, words)| words.contains(&word));
        match (kind, namespace) {
            (Some((kind, _)), namespace) => {
                Ok(Self::OfKind { kind, word: word.to_owned(), namespace, name: name.to_owned() })
            }
            (None, namespace) if SERVICES.contains(&word) => {
                Ok(Self::Service(namespace, name.to_owned()))
            }
            (None, None) => Ok(Self::Any(Some(word.to_owned()), name.to_owned())),
            (None, Some(_)) => Err(EndError),
        }
    }
}

/// As the option has it.
impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, namespace, name) = match self {
            Self::End(end) => return end.fmt(f),
            Self::Service(namespace, name) => (Some("service"), namespace, name),
            Self::Any(namespace, name) => (None, namespace, name),
            Self::OfKind { word, namespace, name, .. } => (Some(word.as_str()), namespace, name),
        };
        for part in [word, namespace.as_deref()].into_iter().flatten() {
            write!(f, "{part}/")?;
        }
        f.write_str(name)
    }
}
