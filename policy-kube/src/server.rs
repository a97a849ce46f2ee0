//! Which API server to use, and a client for it.
//!
//! Input: the kubeconfig and context that a person named, or nothing. Output: a [`Server`], and from
//! it a [`Client`] with the timeouts that its use needs. The agent watches for months and waits
//! as long as it must; a person who runs `policyctl` waits for a list.
//!
//! The order is that of kubectl: the named kubeconfig, `KUBECONFIG`, `~/.kube/config`, and in a pod
//! without any of them its service account.

use std::{io, path::PathBuf, time::Duration};

use kube::{
    Config,
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
    core::ApiResource,
};
use tower::timeout::TimeoutLayer;

use crate::{Error, error::shortened, kinds::path};

/// How long a person waits for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest wait of a watch for the head of a response: a request can be lost on the way.
const HEAD: Duration = Duration::from_secs(30);
/// Longest silence in the body of a watch. A server ends a watch before that, after 290 s.
const SILENCE: Duration = Duration::from_secs(295);

/// Which API server a person named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// A kubeconfig; without one, the usual places.
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig; without one, its current context.
    pub context: Option<String>,
}

/// An API server that was found; no request has been sent.
#[derive(Clone, Debug)]
pub struct Server {
    config: Config,
    /// `None` for the service account of a pod.
    context: Option<String>,
}

/// A client of an API server. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    pub(crate) kube: kube::Client,
    /// URL, for messages.
    server: String,
}

impl Server {
    /// Finds the server.
    ///
    /// # Errors
    ///
    /// Where it is not known which server to use. A server that is down is found all the same.
    pub async fn find(access: &Access) -> Result<Self, Error> {
        let found = match &access.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let nothing_named = access.kubeconfig.is_none() && access.context.is_none();
        let kubeconfig = match found {
            Ok(kubeconfig) => kubeconfig,
            Err(error) if nothing_named && is_missing(&error) => {
                let config = Config::incluster();
                let config = config.map_err(|error| Error::NoKubeconfig(Box::new(error)))?;
                return Ok(Self { config, context: None });
            }
            Err(error) => return Err(Error::Kubeconfig(Box::new(error))),
        };
        let context = access.context.as_ref().or(kubeconfig.current_context.as_ref());
        let context = context.filter(|name| !name.is_empty()).ok_or(Error::NoContext)?.clone();
        let known: Vec<String> =
            kubeconfig.contexts.iter().map(|context| context.name.clone()).collect();
        if !known.contains(&context) {
            return Err(Error::UnknownContext { context, known });
        }
        let options = KubeConfigOptions { context: access.context.clone(), ..Default::default() };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        let config = config.map_err(|error| Error::Kubeconfig(Box::new(error)))?;
        Ok(Self { config, context: Some(context) })
    }

    /// The context of the kubeconfig; `None` for the service account of a pod.
    #[must_use]
    pub fn context(&self) -> Option<&str> {
        self.context.as_deref()
    }

    /// The namespace of the context.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.config.default_namespace
    }

    /// A client for a person who waits: it gives up soon where nothing listens.
    ///
    /// # Errors
    ///
    /// A certificate, key or proxy that cannot be used.
    pub fn client_for_lists(&self) -> Result<Client, Error> {
        let mut config = self.config.clone();
        config.connect_timeout = Some(CONNECT);
        let kube = kube::Client::try_from(config);
        self.client(kube)
    }

    /// A client for watches and Events. It retries nothing: a watch has waits of its own, and
    /// reports what the server answered.
    ///
    /// # Errors
    ///
    /// A certificate, key or proxy that cannot be used.
    pub fn client_for_watches(&self) -> Result<Client, Error> {
        let mut config = self.config.clone();
        config.read_timeout = Some(SILENCE);
        config.reset_reader_on_write = true;
        config.default_retry = false;
        let builder = ClientBuilder::try_from(config);
        self.client(builder.map(|builder| builder.with_layer(&TimeoutLayer::new(HEAD)).build()))
    }

    fn client(&self, kube: Result<kube::Client, kube::Error>) -> Result<Client, Error> {
        let kube = kube.map_err(|error| Error::Client(Box::new(error)))?;
        Ok(Client { kube, server: self.config.cluster_url.to_string() })
    }
}

impl Client {
    /// Why a request for objects of a resource failed; `verbs` are the rights that it needs.
    pub(crate) fn request_failure(
        &self,
        resource: &ApiResource,
        verbs: &'static str,
        error: kube::Error,
    ) -> Error {
        let error = self.failure(&path(resource), error);
        if let Error::Refused { path, code: 403, message } = error {
            let ApiResource { group, plural, .. } = resource.clone();
            return Error::Forbidden { path, group, plural, verbs, message };
        }
        error
    }

    /// Why a GET of a path failed.
    pub(crate) fn failure(&self, path: &str, error: kube::Error) -> Error {
        let (server, path) = (self.server.clone(), path.to_owned());
        if let kube::Error::Api(status) = &error {
            let (code, message) = (status.code, shortened(&status.message));
            return match code {
                401 => Error::Unauthorized { server, path, message },
                _ => Error::Refused { path, code, message },
            };
        }
        if let kube::Error::SerdeError(source) = error {
            return Error::NotAList { path, source };
        }
        Error::Unreachable { server, path, source: Box::new(error) }
    }
}

/// Whether there is no kubeconfig at all.
fn is_missing(error: &KubeconfigError) -> bool {
    let is_missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    matches!(error, KubeconfigError::FindPath)
        || matches!(error, KubeconfigError::ReadConfig(error, _) if is_missing(error))
}
