//! Events that several nodes write, or that an API server refuses.

use std::time::Duration;

use anyhow::{Context, Result};
use fake_api_server::{Answer, ApiServer, Request, status};
use policy_core::model::{Kind, ObjectName, ObjectRef};
use policy_kube::{Access, ActiveWarnings, Client, Server, Warning, write_events};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

const LIMIT: Duration = Duration::from_mins(1);
/// Time in which an Event that must not be written would be.
const QUIET: Duration = Duration::from_secs(3);

const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";
const POLICIES: &str = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies";

/// Waits for something that may take long on a loaded machine.
async fn soon(mut is_so: impl FnMut() -> bool) -> Result<()> {
    let waits = async {
        while !is_so() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    Ok(timeout(LIMIT, waits).await?)
}

fn active() -> ActiveWarnings {
    let deny = ObjectName::new("default", "deny");
    let warning = Warning {
        about: ObjectRef::namespaced(Kind::NetworkPolicy, &deny),
        uid: None,
        reason: "NotExpressible",
        note: "spec: something: nothing".to_owned(),
    };
    ActiveWarnings { nodes: 2, warnings: [warning].into() }
}

async fn client(server: &ApiServer) -> Result<Client> {
    let folder = tempfile::tempdir()?;
    let kubeconfig = Some(server.kubeconfig(folder.path())?);
    Ok(Server::find(&Access { kubeconfig, context: None }).await?.client_for_watches()?)
}

/// A server that has the policy.
fn server() -> Result<ApiServer> {
    let server = ApiServer::new()?;
    let metadata = json!({"name": "deny", "namespace": "default", "uid": "7"});
    server.set(POLICIES, Answer::Objects(vec![json!({"metadata": metadata})]));
    Ok(server)
}

/// Events that were sent so far.
fn events(requests: &mut Vec<Request>, server: &ApiServer) -> Vec<Value> {
    requests.extend(server.requests());
    let is_event = |request: &&Request| request.method == "POST" && request.path == EVENTS;
    requests.iter().filter(is_event).map(|request| request.body.clone()).collect()
}

#[tokio::test]
async fn nodes_with_the_same_warning_write_one_event_that_names_its_object() -> Result<()> {
    let server = server()?;
    let client = client(&server).await?;
    let writers = ["one", "two"].map(|node| write_events(&client, node));
    for writer in &writers {
        writer.send_replace(active());
    }
    let mut requests = Vec::new();
    soon(|| events(&mut requests, &server).len() >= 2).await?;
    sleep(QUIET).await;
    let sent = events(&mut requests, &server);
    assert_eq!(sent.len(), 2, "each once, though one of them is refused: {requests:#?}");
    assert_eq!(sent[0]["metadata"], sent[1]["metadata"]);
    let uid = requests
        .iter()
        .find(|request| request.path == POLICIES)
        .context("the uid was not requested")?;
    assert!(uid.query.contains("fieldSelector=metadata.name%3Ddeny"), "{uid:?}");
    let regarding = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "namespace": "default", "name": "deny", "uid": "7",
    });
    assert_eq!(sent[0]["regarding"], regarding);
    Ok(())
}

#[tokio::test]
async fn a_refused_event_is_written_later() -> Result<()> {
    let server = server()?;
    let writer = write_events(&client(&server).await?, "one");
    server.set(EVENTS, Answer::Json(500, status(500)));
    let (mut requests, start) = (Vec::new(), Instant::now());
    writer.send_replace(active());
    soon(|| !events(&mut requests, &server).is_empty()).await?;
    // The same set, sent again, does not shorten the waits.
    for _ in 0..20 {
        writer.send_replace(active());
        sleep(Duration::from_millis(50)).await;
    }
    let (count, most) =
        (events(&mut requests, &server).len() as u64, 2 + start.elapsed().as_secs());
    assert!(count <= most, "{requests:#?}");
    server.unset(EVENTS);
    soon(|| !server.events().is_empty()).await?;
    let sent = events(&mut requests, &server);
    assert!(sent.len() > 1 && sent.iter().all(|event| event["metadata"] == sent[0]["metadata"]));
    sleep(QUIET).await;
    assert_eq!(events(&mut requests, &server).len(), sent.len(), "it is accepted: {requests:#?}");
    Ok(())
}
