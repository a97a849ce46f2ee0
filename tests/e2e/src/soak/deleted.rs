//! Pods that are deleted before an agent has attached to them (S47).
//!
//! Each pod calls another pod as soon as it runs; that one then sends datagrams until one is answered.
//! A policy lets nobody reach the pods, so no datagram may be answered, although the API has no object
//! of them any more when their containers start.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::json;
use testbed::client::LogParams;
use xtask::progress::Progress;

use super::traffic::{NAMESPACE, Traffic, pod, policy, template};
use crate::NODES;

/// Label of the pods that are deleted, and name of their policy.
const APP: &str = "departing";
/// Name and label of the pod that they call.
const HAMMER: &str = "departing-hammer";
/// Name of the `StatefulSet`.
const SET: &str = "departing-set";
/// The port that receives calls.
const CALLS: &str = "9000";

/// Creates pods and deletes each within two seconds, `count` times as pods of their own and as often
/// as the pod of a `StatefulSet`, which gets the same name again.
pub(super) fn count_reached(traffic: &Traffic<'_>, count: u32) -> Result<()> {
    let client = &traffic.cluster.client;
    // An empty list would allow every peer.
    let nobody = json!([{"podSelector": {"matchLabels": {"app": "nobody"}}}]);
    let hammer = pod(HAMMER, NODES[0], HAMMER, &["hammer", "1", CALLS, "80"]);
    client.apply(&[policy(APP, APP, &nobody), hammer])?;
    let addresses = traffic.addresses(&format!("app={HAMMER}"))?;
    let hammer = format!("{}:{CALLS}", addresses.first().context("no address")?);
    let mut progress = Progress::start("deleting pods early", Some((2 * count).into()));
    for number in 0..count {
        let node = NODES[fastrand::usize(..NODES.len())];
        let name = format!("{APP}-{number}");
        client.apply(&[pod(&name, node, APP, &["call", &hammer, "80/UDP"])])?;
        progress.sleep(Duration::from_millis(fastrand::u64(..2000)));
        traffic.pods.delete(&name)?;
        progress.part(&name);
    }
    client.apply(&[set(&hammer)])?;
    for _ in 0..count {
        progress.sleep(Duration::from_millis(fastrand::u64(..2000)));
        traffic.pods.delete(&format!("{SET}-0"))?;
        progress.part(SET);
    }
    progress.end("done");
    // kubelet ends the last containers, and datagrams are sent until then.
    thread::sleep(Duration::from_secs(10));
    let log = traffic.pods.log(HAMMER, LogParams::default())?;
    let of = |word: &str| log.lines().filter(|line| line.starts_with(word)).count();
    let (heard, reached) = (of("heard "), of("answered "));
    client.namespaced::<StatefulSet>(NAMESPACE).delete(SET)?;
    traffic.pods.delete(HAMMER)?;
    client.namespaced::<NetworkPolicy>(NAMESPACE).delete(APP)?;
    println!("{heard} deleted pods ran, {reached} let through");
    ensure!(heard > 0, "no container of a deleted pod ran, so the test would prove nothing");
    ensure!(reached == 0, "{reached} deleted pods were reached");
    Ok(())
}

/// A `StatefulSet` of one pod, which calls with its UID: each pod of it is heard once.
fn set(hammer: &str) -> serde_json::Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": SET, "namespace": NAMESPACE},
        "spec": {
            "replicas": 1,
            "serviceName": SET,
            "selector": {"matchLabels": {"app": APP}},
            "template": template(APP, &["call", hammer, "80/UDP"]),
        },
    })
}
