//! A client of a cluster's API server for programs that are not async.
//!
//! Every call blocks until the API server has answered. Objects are given as JSON, read as the types
//! of `k8s-openapi`, and waited for by watches:
//!
//! ```text
//! client.apply(&[json!({"apiVersion": "v1", "kind": "Pod", …})])?;
//! let pods = client.namespaced::<Pod>("soak").ready("app=server", Duration::from_secs(60))?;
//! ```

mod error;
mod objects;
mod pods;

use std::collections::BTreeMap;
use std::fs::File;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{panic, thread};

use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::discovery::{ApiCapabilities, ApiResource, Scope, pinned_kind};
use kube::{Resource, ResourceExt};
use nix::sched::{CloneFlags, setns};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use super::layout::Layout;
use super::network::{self, CONTROL};

pub use error::ClientError;
pub use kube::api::LogParams;
pub use objects::{Kind, Objects};
pub use pods::is_pod_ready;

/// The field manager of everything that is applied.
const MANAGER: &str = "policy-tests";

/// A client of one API server.
#[derive(Clone)]
pub struct Client {
    runtime: Arc<Runtime>,
    kube: kube::Client,
}

impl Client {
    /// A client of a cluster of this machine, as its administrator.
    pub fn local(layout: &Layout) -> Result<Self, ClientError> {
        let namespace = network::path(layout, CONTROL);
        Self::new(layout.kubeconfig("admin"), Some(namespace))
    }

    /// A client of the cluster of a kubeconfig.
    pub fn of(kubeconfig: PathBuf) -> Result<Self, ClientError> {
        Self::new(kubeconfig, None)
    }

    fn new(kubeconfig: PathBuf, namespace: Option<PathBuf>) -> Result<Self, ClientError> {
        let runtime = Arc::new(runtime_in(namespace)?);
        let connect = async move {
            let unusable = |source| ClientError::Kubeconfig {
                path: kubeconfig.clone(),
                source: Box::new(source),
            };
            let read = Kubeconfig::read_from(&kubeconfig).map_err(unusable)?;
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(read, &options).await.map_err(unusable)?;
            kube::Client::try_from(config).map_err(|source| ClientError::Make(Box::new(source)))
        };
        let kube = run(&runtime, connect)?;
        Ok(Self { runtime, kube })
    }

    /// Whether the API server answers and is ready.
    pub fn is_ready(&self) -> bool {
        let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else { return false };
        let kube = self.kube.clone();
        self.run(async move {
            let answer = kube.request_text(request).await;
            answer.map_err(|source| ClientError::failed("read", "/readyz", source))
        })
        .is_ok()
    }

    /// The objects of a kind in a namespace.
    pub fn namespaced<K>(&self, namespace: &str) -> Objects<K>
    where
        K: Kind + Resource<Scope = NamespaceResourceScope>,
    {
        Objects::new(self.clone(), Api::namespaced(self.kube.clone(), namespace))
    }

    /// The objects of a kind in every namespace; only for reading.
    pub fn everywhere<K>(&self) -> Objects<K>
    where
        K: Kind + Resource<Scope = NamespaceResourceScope>,
    {
        Objects::new(self.clone(), Api::all(self.kube.clone()))
    }

    /// The objects of a kind that has no namespaces.
    pub fn cluster_wide<K>(&self) -> Objects<K>
    where
        K: Kind + Resource<Scope = ClusterResourceScope>,
    {
        Objects::new(self.clone(), Api::all(self.kube.clone()))
    }

    /// Creates objects, or changes them to what is given (server-side apply).
    pub fn apply(&self, objects: &[Value]) -> Result<(), ClientError> {
        self.each(ObjectVerb::Apply, objects)
    }

    /// Creates objects; fails where one exists.
    pub fn create(&self, objects: &[Value]) -> Result<(), ClientError> {
        self.each(ObjectVerb::Create, objects)
    }

    /// Deletes objects, without waiting for their end; one that does not exist is no failure.
    pub fn delete(&self, objects: &[Value]) -> Result<(), ClientError> {
        self.each(ObjectVerb::Delete, objects)
    }

    fn each(&self, verb: ObjectVerb, objects: &[Value]) -> Result<(), ClientError> {
        let (kube, objects) = (self.kube.clone(), objects.to_vec());
        self.run(async move {
            let mut kinds = Kinds { kube, kinds: BTreeMap::new() };
            for object in objects {
                let (api, object) = kinds.locate(object).await?;
                let failed =
                    |source| ClientError::failed(verb.name(), description(&object), source);
                verb.run(&api, &object).await.map_err(failed)?;
            }
            Ok(())
        })
    }

    fn run<T: Send + 'static>(
        &self,
        request: impl Future<Output = Result<T, ClientError>> + Send + 'static,
    ) -> Result<T, ClientError> {
        run(&self.runtime, request)
    }
}

/// What is done to each of several objects.
#[derive(Clone, Copy)]
enum ObjectVerb {
    Apply,
    Create,
    Delete,
}

impl ObjectVerb {
    fn name(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Create => "create",
            Self::Delete => "delete",
        }
    }

    async fn run(self, api: &Api<DynamicObject>, object: &DynamicObject) -> kube::Result<()> {
        let name = object.name_any();
        match self {
            Self::Apply => {
                let parameters = PatchParams::apply(MANAGER).force();
                api.patch(&name, &parameters, &Patch::Apply(object)).await.map(drop)
            }
            Self::Create => api.create(&PostParams::default(), object).await.map(drop),
            Self::Delete => {
                error::unless_absent(api.delete(&name, &DeleteParams::default()).await).map(drop)
            }
        }
    }
}

/// How the API server calls the kinds of given objects, asked once for each kind.
struct Kinds {
    kube: kube::Client,
    kinds: BTreeMap<String, (ApiResource, ApiCapabilities)>,
}

impl Kinds {
    /// The place of an object in the API; an object without a namespace belongs to `default`.
    async fn locate(
        &mut self,
        object: Value,
    ) -> Result<(Api<DynamicObject>, DynamicObject), ClientError> {
        let object: DynamicObject =
            serde_json::from_value(object).map_err(ClientError::NoObject)?;
        let types = object.types.clone().unwrap_or_default();
        let key = format!("{} {}", types.api_version, types.kind);
        if !self.kinds.contains_key(&key) {
            let kind = GroupVersionKind::try_from(types).map_err(ClientError::NoVersion)?;
            let found = pinned_kind(&self.kube, &kind).await;
            let found = found
                .map_err(|source| ClientError::failed("find the kind", key.clone(), source))?;
            self.kinds.insert(key.clone(), found);
        }
        let (resource, capabilities) = &self.kinds[&key];
        let api = match capabilities.scope {
            Scope::Cluster => Api::all_with(self.kube.clone(), resource),
            Scope::Namespaced => {
                let namespace = object.namespace().unwrap_or_else(|| "default".to_owned());
                Api::namespaced_with(self.kube.clone(), &namespace, resource)
            }
        };
        Ok((api, object))
    }
}

/// The kind and name of an object.
fn description(object: &DynamicObject) -> String {
    let kind = object.types.as_ref().map_or("object", |types| &types.kind);
    match object.namespace() {
        Some(namespace) => format!("{kind} {namespace}/{}", object.name_any()),
        None => format!("{kind} {}", object.name_any()),
    }
}

/// Runs a request on the runtime's own thread: only that one is in the cluster's network namespace.
fn run<T: Send + 'static>(
    runtime: &Runtime,
    request: impl Future<Output = Result<T, ClientError>> + Send + 'static,
) -> Result<T, ClientError> {
    match runtime.block_on(runtime.spawn(request)) {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => panic::resume_unwind(panic),
            Err(error) => Err(ClientError::Cancelled(error)),
        },
    }
}

/// A runtime with its threads in a network namespace.
fn runtime_in(namespace: Option<PathBuf>) -> Result<Runtime, ClientError> {
    let start = move || {
        if let Some(path) = namespace {
            enter(&path).map_err(|source| ClientError::Namespace { path, source })?;
        }
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        runtime.map_err(ClientError::Threads)
    };
    // A thread inherits the network namespace of the thread that starts it.
    match thread::spawn(start).join() {
        Ok(runtime) => runtime,
        Err(panic) => panic::resume_unwind(panic),
    }
}

fn enter(namespace: &Path) -> std::io::Result<()> {
    Ok(setns(File::open(namespace)?, CloneFlags::CLONE_NEWNET)?)
}
