//! Watches of an API server that refuses, stalls and forgets: what is reported, and what is not.

mod streams;
mod versions;

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, bail, ensure};
use fake_api_server::{Answer, ApiServer, CLUSTER_POLICIES, Streams, denies_all, groups, status};
use policy_core::{compile::Change, model::Kind};
use policy_kube::{Access, Error, Server, WatchEvent, watch};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    sync::mpsc::Receiver,
    time::{self, Instant, timeout, timeout_at},
};

const LIMIT: Duration = Duration::from_secs(40);
/// Time in which an event that must not come would come, several times over.
const QUIET: Duration = Duration::from_secs(4);
const NETWORK_POLICIES: &str = "/apis/networking.k8s.io/v1/networkpolicies";
const VERSION: &str = "/apis/policy.networking.k8s.io/v1beta1";

/// Receives what the watches of a server report.
struct Follower {
    events: Receiver<WatchEvent>,
    _folder: TempDir,
}

impl Follower {
    async fn new(server: &ApiServer) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let kubeconfig = Some(server.kubeconfig(folder.path())?);
        let server = Server::find(&Access { kubeconfig, context: None }).await?;
        let events = watch(&server.client_for_watches()?);
        Ok(Self { events, _folder: folder })
    }

    /// The first event of a kind that is wanted; those before it are passed over.
    async fn first<T>(
        &mut self,
        kind: Kind,
        mut wanted: impl FnMut(&WatchEvent) -> Option<T>,
    ) -> Result<T> {
        let limit = Instant::now() + LIMIT;
        let mut before = Vec::new();
        loop {
            let Ok(event) = timeout_at(limit, self.events.recv()).await else {
                bail!("no such event of {kind}, but {before:#?}");
            };
            let Some(event) = event else { bail!("the watches have ended") };
            if of(&event) == Some(kind) {
                match wanted(&event) {
                    Some(found) => return Ok(found),
                    None => before.push(event),
                }
            }
        }
    }

    async fn listed(&mut self, kind: Kind) -> Result<BTreeSet<String>> {
        self.first(kind, |event| {
            let WatchEvent::Listed(_, names) = event else { return None };
            Some(names.iter().map(|name| name.name().to_owned()).collect())
        })
        .await
    }

    /// The error of a broken watch, as an operator reads it.
    async fn broken(&mut self, kind: Kind) -> Result<String> {
        self.first(kind, |event| {
            let WatchEvent::Broken(_, error) = event else { return None };
            Some(error.to_string())
        })
        .await
    }

    /// A policy came or changed.
    async fn changed(&mut self, policy: &str) -> Result<()> {
        let came = async {
            while let Some(event) = self.events.recv().await {
                ensure!(of(&event) != Some(Kind::NetworkPolicy), "{event:?}");
                let WatchEvent::Changed(Change::Policy(name, _)) = event else { continue };
                if name.name == policy {
                    return Ok(());
                }
            }
            bail!("the watches have ended")
        };
        timeout(LIMIT, came).await?
    }

    async fn recovered(&mut self, kind: Kind) -> Result<()> {
        self.first(kind, |event| matches!(event, WatchEvent::Recovered(_)).then_some(())).await
    }

    /// For some time no list of a kind is complete.
    async fn is_not_listed(&mut self, kind: Kind) -> Result<()> {
        self.has_no(kind, |event| matches!(event, WatchEvent::Listed(..))).await
    }

    /// For some time an event of a kind does not come.
    async fn has_no(&mut self, kind: Kind, unwanted: impl Fn(&WatchEvent) -> bool) -> Result<()> {
        let limit = Instant::now() + QUIET;
        while let Ok(Some(event)) = timeout_at(limit, self.events.recv()).await {
            ensure!(of(&event) != Some(kind) || !unwanted(&event), "{event:?}");
        }
        Ok(())
    }
}

fn of(event: &WatchEvent) -> Option<Kind> {
    match event {
        WatchEvent::Listed(resource, _)
        | WatchEvent::Broken(resource, _)
        | WatchEvent::Disappeared(resource)
        | WatchEvent::Recovered(resource) => Some(resource.kind),
        WatchEvent::Changed(_) | WatchEvent::Unreadable(_) => None,
    }
}

/// A server that has cluster-wide policies, and one of them.
fn with_cluster_policies() -> Result<ApiServer> {
    let server = ApiServer::new()?;
    server.serve_cluster_policies();
    Ok(server)
}

/// Waits until a path is requested.
async fn is_requested(server: &ApiServer, path: &str) -> Result<()> {
    let requested = async {
        while !server.requests().iter().any(|request| request.path == path) {
            time::sleep(Duration::from_millis(10)).await;
        }
    };
    Ok(timeout(LIMIT, requested).await?)
}

/// Lets a time pass at once.
async fn pass(time: Duration) {
    time::pause();
    time::advance(time).await;
    time::resume();
}

#[tokio::test]
async fn a_resource_that_the_server_does_not_have_is_empty() -> Result<()> {
    let server = ApiServer::new()?;
    let mut follower = Follower::new(&server).await?;
    assert!(follower.listed(Kind::ClusterNetworkPolicy).await?.is_empty());
    let gone = |event: &WatchEvent| matches!(event, WatchEvent::Disappeared(_));
    follower.has_no(Kind::ClusterNetworkPolicy, gone).await?;
    // Even without the right to read it.
    server.set(CLUSTER_POLICIES, Answer::Json(403, status(403)));
    let mut follower = Follower::new(&server).await?;
    assert!(follower.listed(Kind::ClusterNetworkPolicy).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_404_of_a_proxy_does_not_mean_that_there_are_no_policies() -> Result<()> {
    let server = with_cluster_policies()?;
    for path in [CLUSTER_POLICIES, "/apis", VERSION] {
        server.set(path, Answer::Page(404));
    }
    let mut follower = Follower::new(&server).await?;
    let error = follower.broken(Kind::ClusterNetworkPolicy).await?;
    assert!(error.contains("the API server does not report whether they exist"), "{error}");
    follower.is_not_listed(Kind::ClusterNetworkPolicy).await?;
    // A response in the right form, and not from an API server.
    let stranger = json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []});
    server.set("/apis", Answer::Json(200, stranger));
    follower.is_not_listed(Kind::ClusterNetworkPolicy).await?;

    server.set("/apis", groups(true));
    server.set(CLUSTER_POLICIES, Answer::Objects(vec![denies_all()]));
    assert_eq!(follower.listed(Kind::ClusterNetworkPolicy).await?, ["deny".to_owned()].into());
    Ok(())
}

#[tokio::test]
async fn policies_that_may_not_be_read_are_not_absent() -> Result<()> {
    let server = with_cluster_policies()?;
    server.set(CLUSTER_POLICIES, Answer::Json(403, status(403)));
    let mut follower = Follower::new(&server).await?;
    let error = follower.broken(Kind::ClusterNetworkPolicy).await?;
    assert!(error.contains(CLUSTER_POLICIES) && error.contains("ClusterRole"), "{error}");
    follower.is_not_listed(Kind::ClusterNetworkPolicy).await?;
    server.set(CLUSTER_POLICIES, Answer::Objects(vec![denies_all()]));
    follower.recovered(Kind::ClusterNetworkPolicy).await?;
    assert_eq!(follower.listed(Kind::ClusterNetworkPolicy).await?, ["deny".to_owned()].into());
    Ok(())
}

#[tokio::test]
async fn listed_policies_stay_until_discovery_reports_that_there_are_none() -> Result<()> {
    let server = with_cluster_policies()?;
    let mut follower = Follower::new(&server).await?;
    assert_eq!(follower.listed(Kind::ClusterNetworkPolicy).await?, ["deny".to_owned()].into());
    for refusal in [Answer::Page(404), Answer::Json(403, status(403))] {
        server.set(CLUSTER_POLICIES, refusal);
        follower.broken(Kind::ClusterNetworkPolicy).await?;
        follower.is_not_listed(Kind::ClusterNetworkPolicy).await?;
    }
    server.set(CLUSTER_POLICIES, Answer::Objects(vec![denies_all()]));
    follower.recovered(Kind::ClusterNetworkPolicy).await?;
    server.set("/apis", groups(false));
    server.set(CLUSTER_POLICIES, Answer::Json(404, status(404)));
    assert!(follower.listed(Kind::ClusterNetworkPolicy).await?.is_empty());
    let disappeared = |event: &WatchEvent| {
        Some(matches!(event, WatchEvent::Disappeared(_))).filter(|is_so| *is_so)
    };
    assert!(follower.first(Kind::ClusterNetworkPolicy, disappeared).await?);
    Ok(())
}

#[tokio::test]
async fn a_short_refusal_is_recovered_from_soon() -> Result<()> {
    let server = ApiServer::new()?;
    server.set(NETWORK_POLICIES, Answer::Json(403, status(403)));
    let mut follower = Follower::new(&server).await?;
    let is_forbidden = |event: &WatchEvent| {
        let WatchEvent::Broken(_, error) = event else { return None };
        Some(matches!(error, Error::Forbidden { .. }))
    };
    assert!(follower.first(Kind::NetworkPolicy, is_forbidden).await?);
    server.set(NETWORK_POLICIES, Answer::Objects(Vec::new()));
    let start = Instant::now();
    follower.listed(Kind::NetworkPolicy).await?;
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    // A watch that resumes where it was has no events, and has recovered all the same.
    server.set(NETWORK_POLICIES, Answer::Json(403, status(403)));
    follower.broken(Kind::NetworkPolicy).await?;
    server.set(NETWORK_POLICIES, Answer::Objects(Vec::new()));
    follower.recovered(Kind::NetworkPolicy).await
}

#[tokio::test]
async fn lists_that_end_at_once_are_reported_and_paced() -> Result<()> {
    let server = ApiServer::new()?;
    server.set(NETWORK_POLICIES, Answer::Nothing);
    let mut follower = Follower::new(&server).await?;
    let error = follower.broken(Kind::NetworkPolicy).await?;
    assert!(error.contains("ends before it is complete"), "{error}");
    drop(server.requests());
    follower.is_not_listed(Kind::NetworkPolicy).await?;
    let requests = server.requests();
    let times = requests.iter().filter(|request| request.path == NETWORK_POLICIES).count();
    assert!(times <= 6, "{times} times in {QUIET:?}");
    is_requested(&server, NETWORK_POLICIES).await
}

#[tokio::test]
async fn a_server_that_streams_no_lists_is_asked_for_pages() -> Result<()> {
    let server = ApiServer::new()?;
    server.stream(Streams::Refused);
    let mut follower = Follower::new(&server).await?;
    follower.listed(Kind::NetworkPolicy).await?;
    // The history has expired, and the server is not asked to stream again.
    server.stream(Streams::Whole);
    drop(server.requests());
    let gone = json!({"type": "ERROR", "object": status(410)});
    server.set(NETWORK_POLICIES, Answer::Json(200, gone));
    follower.broken(Kind::NetworkPolicy).await?;
    server.set(NETWORK_POLICIES, Answer::Objects(Vec::new()));
    follower.listed(Kind::NetworkPolicy).await?;
    let requests = server.requests();
    let mut policies = requests.iter().filter(|request| request.path == NETWORK_POLICIES);
    assert!(
        policies.all(|request| !request.query.contains("sendInitialEvents=true")),
        "{requests:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_watch_that_expired_is_listed_again_and_not_broken() -> Result<()> {
    let server = ApiServer::new()?;
    let mut follower = Follower::new(&server).await?;
    follower.listed(Kind::NetworkPolicy).await?;
    drop(server.requests());
    let gone = json!({"type": "ERROR", "object": status(410)});
    server.set(NETWORK_POLICIES, Answer::Json(200, gone));
    is_requested(&server, NETWORK_POLICIES).await?;
    server.set(NETWORK_POLICIES, Answer::Objects(Vec::new()));
    let next = follower.first(Kind::NetworkPolicy, |event| Some(format!("{event:?}"))).await?;
    assert!(next.starts_with("Listed"), "{next}");
    Ok(())
}

#[tokio::test]
async fn a_request_without_a_response_is_reported_and_retried() -> Result<()> {
    let server = ApiServer::new()?;
    server.set(NETWORK_POLICIES, Answer::Silence);
    let mut follower = Follower::new(&server).await?;
    is_requested(&server, NETWORK_POLICIES).await?;
    // Requests from now on have a response.
    server.set(NETWORK_POLICIES, Answer::Objects(Vec::new()));
    pass(Duration::from_secs(30)).await;
    assert!(follower.broken(Kind::NetworkPolicy).await?.contains(NETWORK_POLICIES));
    assert!(follower.listed(Kind::NetworkPolicy).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_list_that_stops_in_its_body_is_reported_and_retried() -> Result<()> {
    let server = ApiServer::new()?;
    server.stream(Streams::Refused);
    server.set(NETWORK_POLICIES, Answer::Json(500, status(500)));
    let mut follower = Follower::new(&server).await?;
    follower.broken(Kind::NetworkPolicy).await?;
    server.set(NETWORK_POLICIES, Answer::Head);
    drop(server.requests());
    is_requested(&server, NETWORK_POLICIES).await?;
    // That it is granted does not make it complete.
    follower.has_no(Kind::NetworkPolicy, |event| matches!(event, WatchEvent::Recovered(_))).await?;
    server.set(NETWORK_POLICIES, Answer::Objects(Vec::new()));
    pass(Duration::from_secs(295)).await;
    assert!(follower.broken(Kind::NetworkPolicy).await?.contains(NETWORK_POLICIES));
    assert!(follower.listed(Kind::NetworkPolicy).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn discovery_without_a_response_is_reported_and_retried() -> Result<()> {
    for silence in [Answer::Silence, Answer::Head] {
        let server = ApiServer::new()?;
        server.set(CLUSTER_POLICIES, Answer::Json(403, status(403)));
        server.set("/apis", silence);
        let mut follower = Follower::new(&server).await?;
        let error = follower.broken(Kind::ClusterNetworkPolicy).await?;
        assert!(error.contains("the API server does not report whether they exist"), "{error}");
        server.set("/apis", groups(false));
        pass(Duration::from_secs(30)).await;
        assert!(follower.listed(Kind::ClusterNetworkPolicy).await?.is_empty());
    }
    Ok(())
}
