//! Lists of whole resources, page by page.
//!
//! Input: a resource. Output: its objects as JSON, as in a dump of them. `policyctl` calls it for
//! each of [`RESOURCES`](crate::RESOURCES), and `foreign` for the kinds of its table.

use kube::{
    Api,
    api::ListParams,
    core::{ApiResource, DynamicObject},
};
use serde_json::Value;

use crate::{
    Client, Error, Resource, decode,
    kinds::path,
    presence::{Remedy, presence, remedy},
};

/// Objects of one page.
const PAGE: u32 = 500;

/// Every object of a resource; none where it is optional and the server does not have it.
///
/// # Errors
///
/// Where the server cannot be reached, or does not give the list.
pub async fn list(client: &Client, resource: &Resource) -> Result<Vec<Value>, Error> {
    let newest = resource.newest();
    match complete(client, &resource.api_resource(newest)).await {
        Err(refusal) if resource.is_optional && matches!(refusal.code(), Some(403 | 404)) => {
            let presence = presence(client, resource).await;
            match remedy(resource, newest, presence, refusal)? {
                Remedy::Absent => Ok(Vec::new()),
                Remedy::Version(version) => complete(client, &resource.api_resource(version)).await,
            }
        }
        listed => listed,
    }
}

/// Every object of a resource, whether [`RESOURCES`](crate::RESOURCES) has it or not.
pub(crate) async fn complete(client: &Client, resource: &ApiResource) -> Result<Vec<Value>, Error> {
    match pages(client, resource, Some(PAGE)).await {
        // The list took longer than the server keeps a page's token: once more, in one piece.
        Err(error) if error.code() == Some(410) => pages(client, resource, None).await,
        listed => listed,
    }
}

async fn pages(
    client: &Client,
    resource: &ApiResource,
    limit: Option<u32>,
) -> Result<Vec<Value>, Error> {
    let api: Api<DynamicObject> = Api::all_with(client.kube.clone(), resource);
    let mut page = ListParams { limit, ..ListParams::default() };
    let mut objects = Vec::new();
    loop {
        let list = api.list(&page).await;
        let list = list.map_err(|error| client.request_failure(resource, "list", error))?;
        for object in list.items {
            let json = decode::json(resource, object);
            objects.push(json.map_err(|source| Error::NotAList { path: path(resource), source })?);
        }
        page.continue_token = list.metadata.continue_.filter(|token| !token.is_empty());
        if page.continue_token.is_none() {
            return Ok(objects);
        }
    }
}
