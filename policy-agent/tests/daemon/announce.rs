//! What becomes of an Event that several nodes tell, or that an API server does not take.

use std::time::Duration;

use anyhow::{Context, Result};
use policy_agent::source::kubernetes::{
    Access, Announcement, Announcements, Kind, announce, client,
};
use policy_core::model::ObjectName;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::api_server::{Answer, ApiServer, Asked, status};

const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";
const POLICIES: &str = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies";

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
    sleep(Duration::from_secs(3)).await;
    let mut asked = Vec::new();
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
    announcer.send_replace(fault());
    let mut asked = Vec::new();
    while events(&mut asked, &server).is_empty() {
        sleep(Duration::from_millis(20)).await;
    }
    // The same again is no reason to hurry.
    announcer.send_replace(fault());
    sleep(Duration::from_millis(100)).await;
    server.set(EVENTS, Answer::Json(201, json!({"metadata": {}})));
    sleep(Duration::from_secs(4)).await;
    let told = events(&mut asked, &server);
    assert_eq!(told.len(), 2, "{asked:#?}");
    assert_eq!(told[0]["metadata"], told[1]["metadata"]);
    Ok(())
}
