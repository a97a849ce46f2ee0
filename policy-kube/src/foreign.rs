//! Policies of kinds that this project does not watch, such as those of another enforcer.
//!
//! Input: a client and the table of `policy-manifest`. Output: the objects of each kind that the
//! server's discovery lists. `policyctl` reads them with the rest of a cluster, so that a verdict
//! never passes over a policy that denies.
//!
//! A group need not have a kind in every version. Each kind is read in the first version that has
//! it, and the version that the server prefers comes first:
//!
//! ```text
//! policy.networking.k8s.io/v1alpha2   preferred   has clusternetworkpolicies only
//! policy.networking.k8s.io/v1alpha1               has adminnetworkpolicies: read here
//! ```

use kube::core::{ApiResource, GroupVersionKind};
use policy_manifest::{FOREIGN_KINDS, ForeignKind};
use serde_json::Value;

use crate::{
    Client, Error,
    list::complete,
    presence::{groups, plurals},
};

/// The objects of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignList {
    /// The kind.
    pub kind: ForeignKind,
    /// `apiVersion` of the objects.
    pub api_version: String,
    /// All of them.
    pub items: Vec<Value>,
}

/// The objects of every kind of the table that the server has, without kinds that have none.
///
/// # Errors
///
/// Where discovery, or a list of one of the kinds, is not answered.
pub async fn list_foreign(client: &Client) -> Result<Vec<ForeignList>, Error> {
    let mut found = Vec::new();
    for group in groups(client).await? {
        let of_group = FOREIGN_KINDS.iter().filter(|kind| kind.group == group.name);
        let mut missing: Vec<&ForeignKind> = of_group.collect();
        let mut versions = group.versions;
        versions.sort_by_key(|version| Some(version) != group.preferred_version.as_ref());
        for version in versions {
            if missing.is_empty() {
                break;
            }
            let plurals = plurals(client, &version.group_version).await?;
            let is_served =
                |kind: &&ForeignKind| plurals.iter().any(|plural| plural == kind.plural);
            let (served, others): (Vec<&ForeignKind>, _) = missing.into_iter().partition(is_served);
            missing = others;
            for kind in served {
                let named = GroupVersionKind::gvk(kind.group, &version.version, kind.kind);
                let resource = ApiResource::from_gvk_with_plural(&named, kind.plural);
                let items = complete(client, &resource).await?;
                found.push(ForeignList { kind: *kind, api_version: resource.api_version, items });
            }
        }
    }
    found.retain(|list| !list.items.is_empty());
    Ok(found)
}
