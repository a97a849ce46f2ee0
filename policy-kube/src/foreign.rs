//! Policies of kinds that this project does not watch, such as those of another enforcer.
//!
//! Input: a client and the table of `policy-manifest`. Output: the objects of each kind that the
//! server's discovery lists, in the version that the server prefers. `policyctl` reads them with the
//! rest of a cluster, so that a verdict never passes over a policy that denies.

use kube::{
    Api,
    api::ListParams,
    core::{ApiResource, DynamicObject, GroupVersionKind, TypeMeta},
};
use policy_manifest::{FOREIGN_KINDS, ForeignKind};
use serde_json::Value;

use crate::{Client, Error, presence::groups};

/// Most objects that are read of one kind: that there are some is what matters.
const MOST: u32 = 500;

/// The objects of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignList {
    /// The kind.
    pub kind: ForeignKind,
    /// `apiVersion` of the objects.
    pub api_version: String,
    /// The first of them.
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
        let kinds = FOREIGN_KINDS.iter().filter(|kind| kind.group == group.name);
        let kinds: Vec<&ForeignKind> = kinds.collect();
        let versions = group.preferred_version.into_iter().chain(group.versions);
        let Some(version) = versions.into_iter().next().filter(|_| !kinds.is_empty()) else {
            continue;
        };
        let path = format!("/apis/{}", version.group_version);
        let resources = client.kube.list_api_group_resources(&version.group_version).await;
        let resources = resources.map_err(|error| client.failure(&path, error))?.resources;
        for kind in kinds {
            if resources.iter().any(|resource| resource.name == kind.plural) {
                let items = list(client, kind, &version.version).await?;
                let api_version = version.group_version.clone();
                found.push(ForeignList { kind: *kind, api_version, items });
            }
        }
    }
    found.retain(|list| !list.items.is_empty());
    Ok(found)
}

async fn list(client: &Client, kind: &ForeignKind, version: &str) -> Result<Vec<Value>, Error> {
    let ForeignKind { group, kind, plural } = *kind;
    let named = GroupVersionKind::gvk(group, version, kind);
    let resource = ApiResource::from_gvk_with_plural(&named, plural);
    let api: Api<DynamicObject> = Api::all_with(client.kube.clone(), &resource);
    let path = format!("/apis/{group}/{version}/{plural}");
    let listed = api.list(&ListParams::default().limit(MOST)).await;
    let listed = listed.map_err(|error| {
        let error = client.failure(&path, error);
        if let Error::Refused { path, code: 403, message } = error {
            return Error::Forbidden { path, group, plural, verbs: "list", message };
        }
        error
    })?;
    let json = |mut object: DynamicObject| {
        let (api_version, kind) = (resource.api_version.clone(), kind.to_owned());
        object.types = Some(TypeMeta { api_version, kind });
        object.metadata.managed_fields = None;
        serde_json::to_value(&object)
    };
    let items: Result<Vec<Value>, _> = listed.items.into_iter().map(json).collect();
    items.map_err(|source| Error::NotAList { path, source })
}
