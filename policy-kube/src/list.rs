//! Lists of objects, as the API server gives them.

use std::fmt::Write;

use http::Request;
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Error;

/// Objects that the API server is asked for at once.
const PAGE: u32 = 500;

/// HTTP's words for the answers that are told apart.
const UNAUTHORIZED: u16 = 401;
const FORBIDDEN: u16 = 403;
const NOT_FOUND: u16 = 404;
const GONE: u16 = 410;

/// A kind of objects.
struct Kind {
    list: &'static str,
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    /// Whether a cluster may do without.
    optional: bool,
}

const fn kind(
    list: &'static str,
    group: &'static str,
    version: &'static str,
    resource: &'static str,
) -> Kind {
    Kind { list, group, version, resource, optional: false }
}

/// The kinds that policy depends on.
const KINDS: [Kind; 7] = [
    kind("NamespaceList", "", "v1", "namespaces"),
    kind("NodeList", "", "v1", "nodes"),
    kind("PodList", "", "v1", "pods"),
    kind("ServiceList", "", "v1", "services"),
    kind("EndpointSliceList", "discovery.k8s.io", "v1", "endpointslices"),
    kind("NetworkPolicyList", "networking.k8s.io", "v1", "networkpolicies"),
    // Its CRD is installed or not.
    Kind {
        optional: true,
        ..kind(
            "ClusterNetworkPolicyList",
            "policy.networking.k8s.io",
            "v1alpha2",
            "clusternetworkpolicies",
        )
    },
];

/// A page of a list.
#[derive(Deserialize)]
struct Page {
    metadata: PageMetadata,
    items: Vec<Value>,
}

#[derive(Deserialize)]
struct PageMetadata {
    #[serde(rename = "continue", default)]
    next: String,
}

/// All objects of all kinds, a document per kind.
pub(super) async fn everything(client: &Client, server: &str) -> Result<String, Error> {
    let mut text = String::new();
    for kind in &KINDS {
        let mut items = kind.items(client, server).await?;
        items.iter_mut().for_each(prune);
        let document = json!({"apiVersion": kind.api_version(), "kind": kind.list, "items": items});
        // With a line per field, errors can show theirs.
        let _ = writeln!(text, "---\n{document:#}");
    }
    Ok(text)
}

impl Kind {
    fn api_version(&self) -> String {
        if self.group.is_empty() {
            return self.version.to_owned();
        }
        format!("{}/{}", self.group, self.version)
    }

    /// Every object; none where the cluster does not have the kind.
    async fn items(&self, client: &Client, server: &str) -> Result<Vec<Value>, Error> {
        match self.pages(client, PAGE).await {
            // The list took longer than the server remembers where it was: in one piece, then.
            Err(error) if status(&error) == Some(GONE) => self.pages(client, 0).await,
            other => other,
        }
        .or_else(|error| match error {
            Failed::Kube(error) => self.refuse(error, server),
            Failed::Json(source) => Err(Error::NoList { resource: self.resource, source }),
        })
    }

    async fn pages(&self, client: &Client, size: u32) -> Result<Vec<Value>, Failed> {
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        let path = format!("{root}/{}/{}?limit={size}", self.api_version(), self.resource);
        let (mut items, mut next) = (Vec::new(), String::new());
        loop {
            let from = if next.is_empty() { String::new() } else { format!("&continue={next}") };
            let request = Request::get(format!("{path}{from}")).body(Vec::new());
            let request = request.map_err(kube::Error::HttpError)?;
            let text = client.request_text(request).await?;
            let page: Page = serde_json::from_str(&text)?;
            items.extend(page.items);
            if page.metadata.next.is_empty() {
                return Ok(items);
            }
            next = page.metadata.next;
        }
    }

    fn refuse(&self, error: kube::Error, server: &str) -> Result<Vec<Value>, Error> {
        let (resource, group, server) = (self.resource, self.group, server.to_owned());
        let kube::Error::Api(answer) = error else {
            return Err(Error::Unreachable { server, source: Box::new(error) });
        };
        let answer = *answer;
        let message = answer.message;
        match answer.code {
            NOT_FOUND if self.optional => Ok(Vec::new()),
            UNAUTHORIZED => Err(Error::Unauthorized { server }),
            FORBIDDEN => Err(Error::Forbidden { resource, group, message }),
            _ => Err(Error::Refused { resource, message }),
        }
    }
}

/// What went wrong with a page.
enum Failed {
    Kube(kube::Error),
    Json(serde_json::Error),
}

impl From<kube::Error> for Failed {
    fn from(error: kube::Error) -> Self {
        Self::Kube(error)
    }
}

impl From<serde_json::Error> for Failed {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error)
    }
}

fn status(failed: &Failed) -> Option<u16> {
    match failed {
        Failed::Kube(kube::Error::Api(answer)) => Some(answer.code),
        Failed::Kube(_) | Failed::Json(_) => None,
    }
}

/// Takes away who wrote which field: half of the text, and nobody's policy.
fn prune(item: &mut Value) {
    if let Some(metadata) = item.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}
