//! What is taken for the cluster's state where an API server, or what stands before it, fails.

mod streams;

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, bail, ensure};
use policy_agent::source::kubernetes::{self, Access, Event, Kind, WatchError};
use policy_core::compile::Change;
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    sync::mpsc::Receiver,
    time::{self, Instant, timeout, timeout_at},
};

use crate::api_server::{
    Answer, ApiServer, CLUSTER_POLICIES, Streams, denies_all, groups, resources, status,
};

const LIMIT: Duration = Duration::from_secs(40);
/// Time in which what must not be told would be, several times over.
const QUIET: Duration = Duration::from_secs(4);
const NETWORK_POLICIES: &str = "/apis/networking.k8s.io/v1/networkpolicies";
const VERSION: &str = "/apis/policy.networking.k8s.io/v1alpha2";

/// What follows a server.
struct Follower {
    events: Receiver<Event>,
    _folder: TempDir,
}

impl Follower {
    async fn new(server: &ApiServer) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let access = Access { kubeconfig: Some(server.kubeconfig(folder.path())?) };
        let events = kubernetes::follow(&kubernetes::client(&access).await?);
        Ok(Self { events, _folder: folder })
    }

    /// The first thing told of a kind that is asked for; everything before it is passed over.
    async fn told<T>(
        &mut self,
        kind: Kind,
        mut wanted: impl FnMut(&Event) -> Option<T>,
    ) -> Result<T> {
        let limit = Instant::now() + LIMIT;
        let mut before = Vec::new();
        loop {
            let Ok(event) = timeout_at(limit, self.events.recv()).await else {
                bail!("not told of {kind}, but {before:#?}");
            };
            let Some(event) = event else { bail!("nobody follows any more") };
            if of(&event) == Some(kind) {
                match wanted(&event) {
                    Some(found) => return Ok(found),
                    None => before.push(event),
                }
            }
        }
    }

    async fn listed(&mut self, kind: Kind) -> Result<BTreeSet<String>> {
        self.told(kind, |event| {
            let Event::Listed(_, names) = event else { return None };
            Some(names.iter().map(|name| name.name.clone()).collect())
        })
        .await
    }

    /// In words, as an operator reads it.
    async fn broken(&mut self, kind: Kind) -> Result<String> {
        self.told(kind, |event| {
            let Event::Broken(_, error) = event else { return None };
            Some(error.to_string())
        })
        .await
    }

    /// A policy came or changed.
    async fn changed(&mut self, policy: &str) -> Result<()> {
        let came = async {
            while let Some(event) = self.events.recv().await {
                ensure!(of(&event) != Some(Kind::Policy), "{event:?}");
                let Event::Changed(Change::Policy(name, _)) = event else { continue };
                if name.name == policy {
                    return Ok(());
                }
            }
            bail!("nobody follows any more")
        };
        timeout(LIMIT, came).await?
    }

    async fn mended(&mut self, kind: Kind) -> Result<()> {
        self.told(kind, |event| matches!(event, Event::Mended(_)).then_some(())).await
    }

    /// For some time no list of a kind is told.
    async fn is_not_listed(&mut self, kind: Kind) -> Result<()> {
        self.is_not_told(kind, |event| matches!(event, Event::Listed(..))).await
    }

    /// For some time something is not told of a kind.
    async fn is_not_told(&mut self, kind: Kind, unwanted: impl Fn(&Event) -> bool) -> Result<()> {
        let limit = Instant::now() + QUIET;
        while let Ok(Some(event)) = timeout_at(limit, self.events.recv()).await {
            ensure!(of(&event) != Some(kind) || !unwanted(&event), "{event:?}");
        }
        Ok(())
    }
}

fn of(event: &Event) -> Option<Kind> {
    match event {
        Event::Listed(kind, _) | Event::Broken(kind, _) | Event::Mended(kind) => Some(*kind),
        Event::Changed(_) | Event::Illegible(_) => None,
    }
}

/// A server that has cluster-wide policies, and one of them.
fn with_cluster_policies() -> Result<ApiServer> {
    let server = ApiServer::new()?;
    server.set("/apis", groups(true));
    server.set(VERSION, resources("v1alpha2"));
    server.set(CLUSTER_POLICIES, Answer::Objects(vec![denies_all()]));
    Ok(server)
}

/// Waits until a server is asked for something.
async fn is_asked(server: &ApiServer, path: &str) -> Result<()> {
    let asked = async {
        while !server.asked().iter().any(|asked| asked.path == path) {
            time::sleep(Duration::from_millis(10)).await;
        }
    };
    Ok(timeout(LIMIT, asked).await?)
}

/// Lets a time pass at once.
async fn pass(time: Duration) {
    time::pause();
    time::advance(time).await;
    time::resume();
}

#[tokio::test]
async fn a_kind_that_the_server_does_not_have_is_none() -> Result<()> {
    let server = ApiServer::new()?;
    let mut follower = Follower::new(&server).await?;
    assert!(follower.listed(Kind::ClusterPolicy).await?.is_empty());
    // Nor need anybody be allowed to read it.
    server.set(CLUSTER_POLICIES, Answer::Json(403, status(403)));
    let mut follower = Follower::new(&server).await?;
    assert!(follower.listed(Kind::ClusterPolicy).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_page_that_is_not_found_is_no_word_that_there_are_no_policies() -> Result<()> {
    let server = with_cluster_policies()?;
    for path in [CLUSTER_POLICIES, "/apis", VERSION] {
        server.set(path, Answer::Page(404));
    }
    let mut follower = Follower::new(&server).await?;
    let told = follower.broken(Kind::ClusterPolicy).await?;
    assert!(told.contains("no API server says that it does not have them"), "{told}");
    follower.is_not_listed(Kind::ClusterPolicy).await?;
    // An answer that is well made, and of nobody who knows.
    let stranger = json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []});
    server.set("/apis", Answer::Json(200, stranger));
    follower.is_not_listed(Kind::ClusterPolicy).await?;

    server.set("/apis", groups(true));
    server.set(CLUSTER_POLICIES, Answer::Objects(vec![denies_all()]));
    assert_eq!(follower.listed(Kind::ClusterPolicy).await?, ["deny".to_owned()].into());
    Ok(())
}

#[tokio::test]
async fn what_is_there_and_may_not_be_read_is_not_none() -> Result<()> {
    let server = with_cluster_policies()?;
    server.set(CLUSTER_POLICIES, Answer::Json(403, status(403)));
    let mut follower = Follower::new(&server).await?;
    let told = follower.broken(Kind::ClusterPolicy).await?;
    assert!(told.contains(CLUSTER_POLICIES) && told.contains("ClusterRole"), "{told}");
    follower.is_not_listed(Kind::ClusterPolicy).await?;
    server.set(CLUSTER_POLICIES, Answer::Objects(vec![denies_all()]));
    follower.mended(Kind::ClusterPolicy).await?;
    assert_eq!(follower.listed(Kind::ClusterPolicy).await?, ["deny".to_owned()].into());
    Ok(())
}

#[tokio::test]
async fn policies_in_a_version_that_is_not_read_are_not_none() -> Result<()> {
    let server = ApiServer::new()?;
    let version = json!({"groupVersion": "policy.networking.k8s.io/v2", "version": "v2"});
    let network = json!({"groupVersion": "networking.k8s.io/v1", "version": "v1"});
    let groups = json!([
        {"name": "networking.k8s.io", "versions": [network]},
        {"name": "policy.networking.k8s.io", "versions": [version]},
    ]);
    let groups = json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups});
    server.set("/apis", Answer::Json(200, groups));
    server.set("/apis/policy.networking.k8s.io/v2", resources("v2"));
    let mut follower = Follower::new(&server).await?;
    let told = follower.broken(Kind::ClusterPolicy).await?;
    assert!(told.contains("has version v2 alone"), "{told}");
    follower.is_not_listed(Kind::ClusterPolicy).await
}

#[tokio::test]
async fn policies_that_were_listed_stay_until_the_server_says_that_it_has_none() -> Result<()> {
    let server = with_cluster_policies()?;
    let mut follower = Follower::new(&server).await?;
    assert_eq!(follower.listed(Kind::ClusterPolicy).await?, ["deny".to_owned()].into());
    for refusal in [Answer::Page(404), Answer::Json(403, status(403))] {
        server.set(CLUSTER_POLICIES, refusal);
        follower.broken(Kind::ClusterPolicy).await?;
        follower.is_not_listed(Kind::ClusterPolicy).await?;
    }
    server.set(CLUSTER_POLICIES, Answer::Objects(vec![denies_all()]));
    follower.mended(Kind::ClusterPolicy).await?;
    server.set("/apis", groups(false));
    server.set(CLUSTER_POLICIES, Answer::Json(404, status(404)));
    assert!(follower.listed(Kind::ClusterPolicy).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_refusal_of_a_moment_costs_a_moment() -> Result<()> {
    let server = ApiServer::new()?;
    server.set(NETWORK_POLICIES, Answer::Json(403, status(403)));
    let mut follower = Follower::new(&server).await?;
    let is_refusal = |event: &Event| {
        let Event::Broken(_, error) = event else { return None };
        Some(matches!(error, WatchError::Refused { .. }))
    };
    assert!(follower.told(Kind::Policy, is_refusal).await?);
    server.set(NETWORK_POLICIES, Answer::Objects(Vec::new()));
    let begin = Instant::now();
    follower.listed(Kind::Policy).await?;
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    // A watch that goes on where it was tells nothing, and is whole again all the same.
    server.set(NETWORK_POLICIES, Answer::Json(403, status(403)));
    follower.broken(Kind::Policy).await?;
    server.set(NETWORK_POLICIES, Answer::Objects(Vec::new()));
    follower.mended(Kind::Policy).await
}

#[tokio::test]
async fn lists_that_end_at_once_are_told_and_not_asked_for_without_a_pause() -> Result<()> {
    let server = ApiServer::new()?;
    server.set(NETWORK_POLICIES, Answer::Nothing);
    let mut follower = Follower::new(&server).await?;
    let told = follower.broken(Kind::Policy).await?;
    assert!(told.contains("ends before it is complete"), "{told}");
    server.asked();
    follower.is_not_listed(Kind::Policy).await?;
    let asked = server.asked();
    let times = asked.iter().filter(|asked| asked.path == NETWORK_POLICIES).count();
    assert!(times <= 6, "{times} times in {QUIET:?}");
    is_asked(&server, NETWORK_POLICIES).await
}

#[tokio::test]
async fn a_server_that_streams_no_lists_is_asked_for_pages() -> Result<()> {
    let server = ApiServer::new()?;
    server.stream(Streams::Refused);
    let mut follower = Follower::new(&server).await?;
    follower.listed(Kind::Policy).await?;
    // It has forgotten what the agent knows, and is not bothered with the question again.
    server.stream(Streams::Whole);
    server.asked();
    let gone = json!({"type": "ERROR", "object": status(410)});
    server.set(NETWORK_POLICIES, Answer::Json(200, gone));
    follower.broken(Kind::Policy).await?;
    server.set(NETWORK_POLICIES, Answer::Objects(Vec::new()));
    follower.listed(Kind::Policy).await?;
    let asked = server.asked();
    let mut policies = asked.iter().filter(|asked| asked.path == NETWORK_POLICIES);
    assert!(policies.all(|asked| !asked.query.contains("sendInitialEvents=true")), "{asked:?}");
    Ok(())
}

#[tokio::test]
async fn a_server_that_has_forgotten_what_was_missed_is_not_broken() -> Result<()> {
    let server = ApiServer::new()?;
    let mut follower = Follower::new(&server).await?;
    follower.listed(Kind::Policy).await?;
    server.asked();
    let gone = json!({"type": "ERROR", "object": status(410)});
    server.set(NETWORK_POLICIES, Answer::Json(200, gone));
    is_asked(&server, NETWORK_POLICIES).await?;
    server.set(NETWORK_POLICIES, Answer::Objects(Vec::new()));
    let next = follower.told(Kind::Policy, |event| Some(format!("{event:?}"))).await?;
    assert!(next.starts_with("Listed"), "{next}");
    Ok(())
}

#[tokio::test]
async fn a_request_that_is_never_answered_is_told_and_asked_again() -> Result<()> {
    let server = ApiServer::new()?;
    server.set(NETWORK_POLICIES, Answer::Silence);
    let mut follower = Follower::new(&server).await?;
    is_asked(&server, NETWORK_POLICIES).await?;
    // Whoever asks from now on is answered.
    server.set(NETWORK_POLICIES, Answer::Objects(Vec::new()));
    pass(Duration::from_secs(30)).await;
    assert!(follower.broken(Kind::Policy).await?.contains(NETWORK_POLICIES));
    assert!(follower.listed(Kind::Policy).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_list_that_stops_in_its_body_is_told_and_asked_for_again() -> Result<()> {
    let server = ApiServer::new()?;
    server.stream(Streams::Refused);
    server.set(NETWORK_POLICIES, Answer::Json(500, status(500)));
    let mut follower = Follower::new(&server).await?;
    follower.broken(Kind::Policy).await?;
    server.set(NETWORK_POLICIES, Answer::Head);
    server.asked();
    is_asked(&server, NETWORK_POLICIES).await?;
    // That it is granted does not make it complete.
    follower.is_not_told(Kind::Policy, |event| matches!(event, Event::Mended(_))).await?;
    server.set(NETWORK_POLICIES, Answer::Objects(Vec::new()));
    pass(Duration::from_secs(295)).await;
    assert!(follower.broken(Kind::Policy).await?.contains(NETWORK_POLICIES));
    assert!(follower.listed(Kind::Policy).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_server_that_does_not_say_what_it_has_is_told_and_asked_again() -> Result<()> {
    for silence in [Answer::Silence, Answer::Head] {
        let server = ApiServer::new()?;
        server.set(CLUSTER_POLICIES, Answer::Json(403, status(403)));
        server.set("/apis", silence);
        let mut follower = Follower::new(&server).await?;
        let told = follower.broken(Kind::ClusterPolicy).await?;
        assert!(told.contains("no API server says that it does not have them"), "{told}");
        server.set("/apis", groups(false));
        pass(Duration::from_secs(30)).await;
        assert!(follower.listed(Kind::ClusterPolicy).await?.is_empty());
    }
    Ok(())
}
