//! Streamed lists that do not end.

use std::time::Duration;

use anyhow::Result;
use fake_api_server::{Answer, ApiServer, Request, Streams, bookmark};
use policy_core::model::Kind;
use serde_json::{Value, json};

use super::{Follower, NETWORK_POLICIES, is_requested, pass};

fn policy(name: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "default", "resourceVersion": "1"},
        "spec": {"podSelector": {}},
    })
}

#[tokio::test]
async fn a_streamed_list_without_an_end_is_reported_and_requested_in_pages() -> Result<()> {
    let server = ApiServer::new()?;
    server.set(NETWORK_POLICIES, Answer::Objects(vec![policy("deny")]));
    for (how, words) in [
        (Streams::Endless, "the list is not complete, and nothing new has arrived for 60 s"),
        (Streams::Cut, "the list ends before it is complete"),
        (Streams::Failed, "is answered by 500: fake refusal 500"),
    ] {
        server.stream(how);
        drop(server.requests());
        let mut follower = Follower::new(&server).await?;
        if how == Streams::Endless {
            is_requested(&server, NETWORK_POLICIES).await?;
            follower.is_not_listed(Kind::NetworkPolicy).await?;
            pass(Duration::from_mins(1)).await;
        }
        let error = follower.broken(Kind::NetworkPolicy).await?;
        assert!(error.contains(words), "{error}");
        follower.recovered(Kind::NetworkPolicy).await?;
        let next = follower.first(Kind::NetworkPolicy, |event| Some(format!("{event:?}"))).await?;
        assert!(next.starts_with("Listed") && next.contains("deny"), "{next}");
        let mut requests = server.requests().into_iter();
        let is_page = |request: Request| {
            request.path == NETWORK_POLICIES && request.query.contains("limit=500")
        };
        assert!(requests.any(is_page), "{how:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_streamed_list_may_take_long_while_it_makes_progress() -> Result<()> {
    let server = ApiServer::new()?;
    server.stream(Streams::Endless);
    server.set(NETWORK_POLICIES, Answer::Objects(vec![policy("0")]));
    let mut follower = Follower::new(&server).await?;
    follower.changed("0").await?;
    for name in ["1", "2", "3"] {
        pass(Duration::from_secs(40)).await;
        server.send(NETWORK_POLICIES, json!({"type": "ADDED", "object": policy(name)}));
        follower.changed(name).await?;
    }
    server.send(NETWORK_POLICIES, bookmark());
    let next = follower.first(Kind::NetworkPolicy, |event| Some(format!("{event:?}"))).await?;
    assert!(next.starts_with("Listed"), "{next}");
    Ok(())
}

#[tokio::test]
async fn a_repeated_object_is_no_progress_of_a_streamed_list() -> Result<()> {
    let server = ApiServer::new()?;
    server.stream(Streams::Endless);
    server.set(NETWORK_POLICIES, Answer::Objects(vec![policy("0")]));
    let mut follower = Follower::new(&server).await?;
    follower.changed("0").await?;
    pass(Duration::from_secs(55)).await;
    server.send(NETWORK_POLICIES, json!({"type": "MODIFIED", "object": policy("0")}));
    follower.changed("0").await?;
    pass(Duration::from_secs(5)).await;
    follower.broken(Kind::NetworkPolicy).await?;
    Ok(())
}
