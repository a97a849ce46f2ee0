//! Whether an API server has a resource, by its own discovery (docs/adr/0015).
//!
//! A cluster need not have cluster-wide policies, and then a watch or a list of them is refused. But
//! 404 is also what a proxy answers, and 403 what a role answers that is being replaced: to read
//! either as "there are none" would open what those policies deny. So watch and list, when an
//! optional resource is refused, ask discovery:
//!
//! ```text
//! GET /apis                                     lists policy.networking.k8s.io?  no  -> Absent
//! GET /apis/policy.networking.k8s.io/v1beta1    lists clusternetworkpolicies?    yes -> Present in v1beta1
//! GET /apis/policy.networking.k8s.io/v1alpha2   lists clusternetworkpolicies?    yes -> Present in v1alpha2
//! GET /apis/policy.networking.k8s.io/v2         lists clusternetworkpolicies?    yes -> OtherVersions
//! no such list, or one without networking.k8s.io                                 -> an error
//! ```

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIGroup;

use crate::{Client, Error, Resource};

/// A group that every API server has; a response without it is from something else.
const ALWAYS: &str = "networking.k8s.io";

/// What discovery reports about a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// The server has the resource in this version, the newest of those that are read (S55).
    Present(&'static str),
    /// The server has the resource in these versions only.
    OtherVersions(Vec<String>),
    /// The server does not have the resource.
    Absent,
}

/// Asks discovery about a resource.
pub(crate) async fn presence(client: &Client, resource: &Resource) -> Result<Presence, Error> {
    let mut served = Vec::new();
    let versions = groups(client).await?.into_iter().filter(|group| group.name == resource.group);
    for version in versions.flat_map(|group| group.versions) {
        let plurals = plurals(client, &version.group_version).await?;
        if plurals.iter().any(|plural| plural == resource.plural) {
            served.push(version.version);
        }
    }
    let is_served = |version: &&&str| served.iter().any(|served| served == **version);
    Ok(match resource.versions.iter().find(is_served) {
        Some(version) => Presence::Present(version),
        None if served.is_empty() => Presence::Absent,
        None => Presence::OtherVersions(served),
    })
}

/// Every API group that the server has.
pub(crate) async fn groups(client: &Client) -> Result<Vec<APIGroup>, Error> {
    let groups = client.kube.list_api_groups().await;
    let groups = groups.map_err(|error| client.failure("/apis", error))?.groups;
    if !groups.iter().any(|group| group.name == ALWAYS) {
        return Err(Error::NotAnApiServer { group: ALWAYS });
    }
    Ok(groups)
}

/// The plurals of the resources that a version of a group has, such as `apps/v1`.
pub(crate) async fn plurals(client: &Client, group_version: &str) -> Result<Vec<String>, Error> {
    let resources = client.kube.list_api_group_resources(group_version).await;
    let path = format!("/apis/{group_version}");
    let resources = resources.map_err(|error| client.failure(&path, error))?.resources;
    Ok(resources.into_iter().map(|resource| resource.name).collect())
}

/// What to do about a resource that was refused in a version.
pub(crate) enum Remedy {
    /// Request it in another version.
    Version(&'static str),
    /// Its list is empty.
    Absent,
}

/// What to do about a resource that was refused in `version`; otherwise the error to report instead
/// of `refusal`.
pub(crate) fn remedy(
    resource: &Resource,
    version: &str,
    presence: Result<Presence, Error>,
    refusal: Error,
) -> Result<Remedy, Error> {
    match presence {
        Ok(Presence::Absent) => Ok(Remedy::Absent),
        Ok(Presence::Present(served)) if served != version => Ok(Remedy::Version(served)),
        Ok(Presence::Present(_)) => Err(refusal),
        Ok(Presence::OtherVersions(versions)) => {
            let (plural, read) = (resource.plural, resource.versions);
            Err(Error::UnsupportedVersions { plural, read, versions })
        }
        Err(error) => Err(Error::presence_unknown(resource, error)),
    }
}
