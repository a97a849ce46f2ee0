//! What becomes of an Event that several nodes tell, or that an API server does not take.

use std::time::Duration;

use anyhow::{Context, Result};
use policy_agent::source::kubernetes::{
    Access, Announcement, Announcements, Kind, announce, client,
};
use policy_core::model::ObjectName;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    api_server::{Answer, ApiServer, Asked, status},
    machine::LIMIT,
};

/// Time in which what must not be told would be.
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

fn fault() -> Announcements {
    let announcement = Announcement {
        about: Kind::Policy,
        object: ObjectName::new("default", "deny"),
        uid: None,
        reason: "NotExpressible",
        note: "spec: something: nothing".to_owned(),
    };
    Announcements { nodes: 2, all: [announcement].into() }
}

/// A server that has the policy.
fn server() -> Result<ApiServer> {
    let server = ApiServer::new()?;
    let metadata = json!({"name": "deny", "namespace": "default", "uid": "7"});
    server.set(POLICIES, Answer::Objects(vec![json!({"metadata": metadata})]));
    Ok(server)
}

/// Events that were asked to be made so far.
fn events(asked: &mut Vec<Asked>, server: &ApiServer) -> Vec<Value> {
    asked.extend(server.asked());
    let events = asked.iter().filter(|asked| asked.method == "POST" && asked.path == EVENTS);
    events.map(|asked| asked.body.clone()).collect()
}

#[tokio::test]
async fn nodes_that_tell_the_same_make_one_event_that_names_its_object() -> Result<()> {
    let (server, folder) = (server()?, tempfile::tempdir()?);
    let access = Access { kubeconfig: Some(server.kubeconfig(folder.path())?) };
    let client = client(&access).await?;
    let announcers = ["one", "two"].map(|node| announce(&client, node));
    for announcer in &announcers {
        announcer.send_replace(fault());
    }
    let mut asked = Vec::new();
    soon(|| events(&mut asked, &server).len() >= 2).await?;
    sleep(QUIET).await;
    let told = events(&mut asked, &server);
    assert_eq!(told.len(), 2, "each once, though one of them is refused: {asked:#?}");
    assert_eq!(told[0]["metadata"], told[1]["metadata"]);
    let uid = asked.iter().find(|asked| asked.path == POLICIES).context("nobody asked")?;
    assert!(uid.query.contains("fieldSelector=metadata.name%3Ddeny"), "{uid:?}");
    let regarding = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "namespace": "default", "name": "deny", "uid": "7",
    });
    assert_eq!(told[0]["regarding"], regarding);
    Ok(())
}

#[tokio::test]
async fn an_event_that_is_not_taken_is_told_again() -> Result<()> {
    let (server, folder) = (server()?, tempfile::tempdir()?);
    let access = Access { kubeconfig: Some(server.kubeconfig(folder.path())?) };
    let announcer = announce(&client(&access).await?, "one");
    server.set(EVENTS, Answer::Json(500, status(500)));
    let (mut asked, begin) = (Vec::new(), Instant::now());
    announcer.send_replace(fault());
    soon(|| !events(&mut asked, &server).is_empty()).await?;
    // The same again is no reason to hurry.
    for _ in 0..20 {
        announcer.send_replace(fault());
        sleep(Duration::from_millis(50)).await;
    }
    let (count, most) = (events(&mut asked, &server).len() as u64, 2 + begin.elapsed().as_secs());
    assert!(count <= most, "{asked:#?}");
    server.unset(EVENTS);
    soon(|| !server.events().is_empty()).await?;
    let told = events(&mut asked, &server);
    assert!(told.len() > 1 && told.iter().all(|event| event["metadata"] == told[0]["metadata"]));
    sleep(QUIET).await;
    assert_eq!(events(&mut asked, &server).len(), told.len(), "it is taken: {asked:#?}");
    Ok(())
}
