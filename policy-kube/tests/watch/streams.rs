//! Lists that are streamed, and stop.

use std::time::Duration;

use anyhow::Result;
use policy_agent::source::kubernetes::Kind;
use serde_json::{Value, json};

use super::{Follower, NETWORK_POLICIES, is_asked, pass};
use crate::api_server::{Answer, ApiServer, Streams, bookmark};

fn policy(name: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "default", "resourceVersion": "1"},
        "spec": {"podSelector": {}},
    })
}

#[tokio::test]
async fn a_streamed_list_that_has_no_end_is_told_and_asked_for_in_pages() -> Result<()> {
    let server = ApiServer::new()?;
    server.set(NETWORK_POLICIES, Answer::Objects(vec![policy("deny")]));
    for (how, words) in [
        (Streams::Endless, "the list is not complete, and does not go on for 60 s"),
        (Streams::Cut, "the list ends before it is complete"),
        (Streams::Failed, "is answered by 500: fake refusal 500"),
    ] {
        server.stream(how);
        server.asked();
        let mut follower = Follower::new(&server).await?;
        if how == Streams::Endless {
            is_asked(&server, NETWORK_POLICIES).await?;
            follower.is_not_listed(Kind::Policy).await?;
            pass(Duration::from_mins(1)).await;
        }
        let told = follower.broken(Kind::Policy).await?;
        assert!(told.contains(words), "{told}");
        follower.mended(Kind::Policy).await?;
        let next = follower.told(Kind::Policy, |event| Some(format!("{event:?}"))).await?;
        assert!(next.starts_with("Listed") && next.contains("deny"), "{next}");
        let mut asked = server.asked().into_iter().filter(|asked| asked.path == NETWORK_POLICIES);
        assert!(asked.any(|asked| asked.query.contains("limit=500")), "{how:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_streamed_list_may_take_long_as_long_as_it_goes_on() -> Result<()> {
    let server = ApiServer::new()?;
    server.stream(Streams::Endless);
    server.set(NETWORK_POLICIES, Answer::Objects(vec![policy("0")]));
    let mut follower = Follower::new(&server).await?;
    follower.changed("0").await?;
    for name in ["1", "2", "3"] {
        pass(Duration::from_secs(40)).await;
        server.tell(NETWORK_POLICIES, json!({"type": "ADDED", "object": policy(name)}));
        follower.changed(name).await?;
    }
    server.tell(NETWORK_POLICIES, bookmark());
    let next = follower.told(Kind::Policy, |event| Some(format!("{event:?}"))).await?;
    assert!(next.starts_with("Listed"), "{next}");
    Ok(())
}

#[tokio::test]
async fn what_is_said_once_more_does_not_make_a_streamed_list_go_on() -> Result<()> {
    let server = ApiServer::new()?;
    server.stream(Streams::Endless);
    server.set(NETWORK_POLICIES, Answer::Objects(vec![policy("0")]));
    let mut follower = Follower::new(&server).await?;
    follower.changed("0").await?;
    pass(Duration::from_secs(55)).await;
    server.tell(NETWORK_POLICIES, json!({"type": "MODIFIED", "object": policy("0")}));
    follower.changed("0").await?;
    pass(Duration::from_secs(5)).await;
    follower.broken(Kind::Policy).await?;
    Ok(())
}
