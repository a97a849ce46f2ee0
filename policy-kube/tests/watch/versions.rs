//! Versions of the API of cluster-wide policies: which one is read, and what an unknown one does.

use anyhow::Result;
use fake_api_server::{
    Answer, ApiServer, CLUSTER_POLICIES, denies_all, groups_with, resources, status,
};
use policy_core::model::Kind;
use policy_kube::WatchEvent;
use serde_json::json;

use super::Follower;

/// Serves cluster-wide policies in some versions, each with a policy of the version's name.
fn serve_versions(server: &ApiServer, versions: &[&str]) {
    server.set("/apis", groups_with(versions));
    for version in versions {
        let path = format!("/apis/policy.networking.k8s.io/{version}");
        server.set(&path, resources(version));
        let mut policy = denies_all();
        policy["metadata"]["name"] = json!(version);
        policy["apiVersion"] = json!(format!("policy.networking.k8s.io/{version}"));
        let path = format!("{path}/clusternetworkpolicies");
        server.set(&path, Answer::Objects(vec![policy]));
    }
}

#[tokio::test]
async fn s55_the_newest_known_version_that_is_served_is_read() -> Result<()> {
    for (served, read) in [
        (&["v1alpha2"][..], "v1alpha2"),
        (&["v1beta1"], "v1beta1"),
        (&["v1alpha2", "v1beta1"], "v1beta1"),
        (&["v2", "v1alpha2"], "v1alpha2"),
    ] {
        let server = ApiServer::new()?;
        serve_versions(&server, served);
        let mut follower = Follower::new(&server).await?;
        let listed = follower.listed(Kind::ClusterNetworkPolicy).await?;
        assert_eq!(listed, [read.to_owned()].into(), "of {served:?}");
    }
    Ok(())
}

#[tokio::test]
async fn s55_a_version_that_ends_is_left_for_another() -> Result<()> {
    let server = ApiServer::new()?;
    serve_versions(&server, &["v1beta1"]);
    let mut follower = Follower::new(&server).await?;
    assert_eq!(follower.listed(Kind::ClusterNetworkPolicy).await?, ["v1beta1".to_owned()].into());
    serve_versions(&server, &["v1alpha2"]);
    server.set(CLUSTER_POLICIES, Answer::Json(404, status(404)));
    assert_eq!(follower.listed(Kind::ClusterNetworkPolicy).await?, ["v1alpha2".to_owned()].into());
    Ok(())
}

#[tokio::test]
async fn s55_an_unknown_version_is_reported_and_holds_up_nothing() -> Result<()> {
    let server = ApiServer::new()?;
    serve_versions(&server, &["v2"]);
    let mut follower = Follower::new(&server).await?;
    let error = follower.broken(Kind::ClusterNetworkPolicy).await?;
    assert!(
        error.contains("in version v2 only, and this program reads v1beta1, v1alpha2"),
        "{error}"
    );
    assert!(follower.listed(Kind::ClusterNetworkPolicy).await?.is_empty(), "others go on");
    follower
        .has_no(Kind::ClusterNetworkPolicy, |event| matches!(event, WatchEvent::Recovered(_)))
        .await
}

#[tokio::test]
async fn s55_policies_that_were_read_stay_when_only_an_unknown_version_is_served() -> Result<()> {
    let server = ApiServer::new()?;
    serve_versions(&server, &["v1beta1"]);
    let mut follower = Follower::new(&server).await?;
    assert_eq!(follower.listed(Kind::ClusterNetworkPolicy).await?, ["v1beta1".to_owned()].into());
    serve_versions(&server, &["v2"]);
    server.set(CLUSTER_POLICIES, Answer::Json(404, status(404)));
    follower.broken(Kind::ClusterNetworkPolicy).await?;
    follower.is_not_listed(Kind::ClusterNetworkPolicy).await
}
