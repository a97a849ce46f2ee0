//! Whether an API server has a kind, by its own word.

use kube::Client;
use thiserror::Error;

use super::Kind;

/// A group that every API server has which an agent can follow.
const ALWAYS: &str = "networking.k8s.io";

/// What an API server says of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// It has the kind in the version that is asked for.
    Here,
    /// It has the kind, in these versions only.
    Otherwise(Vec<String>),
    /// It does not have the kind.
    Absent,
}

/// Why there is no telling.
#[derive(Debug, Error)]
pub enum DiscoveryError {
    /// The list of groups, or the list of a version's resources.
    #[error("GET {path}")]
    Ask {
        /// What was asked for.
        path: String,
        /// Why there is no answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// Another answer than a list.
    #[error("GET {path} is answered by {code}")]
    Answer {
        /// What was asked for.
        path: String,
        /// HTTP status.
        code: u16,
    },
    /// An answer by somebody else: without the groups that are always there.
    #[error("GET /apis: the answer is not an API server's, it lists no {ALWAYS}")]
    Stranger,
    /// No answer in time.
    #[error("the API server does not say what it has")]
    Late,
}

/// Asks for lists of what there is: that something is not found may be anybody's answer.
pub(super) async fn presence(client: &Client, kind: Kind) -> Result<Presence, DiscoveryError> {
    let wanted = kind.resource();
    let groups = client.list_api_groups().await;
    let groups = groups.map_err(|error| failed("/apis".to_owned(), error))?.groups;
    if !groups.iter().any(|group| group.name == ALWAYS) {
        return Err(DiscoveryError::Stranger);
    }
    let mut others = Vec::new();
    let versions = groups.into_iter().filter(|group| group.name == wanted.group);
    for version in versions.flat_map(|group| group.versions) {
        let path = || format!("/apis/{}", version.group_version);
        let resources = client.list_api_group_resources(&version.group_version).await;
        let resources = resources.map_err(|error| failed(path(), error))?.resources;
        if !resources.iter().any(|resource| resource.name == wanted.plural) {
            continue;
        }
        if version.version == wanted.version {
            return Ok(Presence::Here);
        }
        others.push(version.version);
    }
    Ok(if others.is_empty() { Presence::Absent } else { Presence::Otherwise(others) })
}

fn failed(path: String, error: kube::Error) -> DiscoveryError {
    if let kube::Error::Api(status) = &error {
        return DiscoveryError::Answer { path, code: status.code };
    }
    DiscoveryError::Ask { path, source: Box::new(error) }
}
