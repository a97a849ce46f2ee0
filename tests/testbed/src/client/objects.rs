//! The objects of one kind: reads, changes, deletes and waits for them.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use kube::Resource;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::{Condition, await_condition, conditions};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::error::unless_absent;
use super::{Client, ClientError};

/// How long deleted objects may take to disappear.
const GONE: Duration = Duration::from_mins(2);

/// A kind of objects, as a type of `k8s-openapi`.
pub trait Kind:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}

/// The objects of a kind, in one namespace or in all.
pub struct Objects<K> {
    pub(super) client: Client,
    pub(super) api: Api<K>,
}

impl<K: Kind> Objects<K> {
    pub(super) fn new(client: Client, api: Api<K>) -> Self {
        Self { client, api }
    }

    /// One object.
    pub fn get(&self, name: &str) -> Result<K, ClientError> {
        self.request("get", name, |api, name| async move { api.get(&name).await })
    }

    /// Whether an object exists.
    pub fn exists(&self, name: &str) -> Result<bool, ClientError> {
        let found =
            self.request("get", name, |api, name| async move { api.get_opt(&name).await })?;
        Ok(found.is_some())
    }

    /// The objects with these labels; all for an empty selector.
    pub fn list(&self, labels: &str) -> Result<Vec<K>, ClientError> {
        let list = self.request("list", labels, |api, labels| async move {
            api.list(&ListParams::default().labels(&labels)).await
        })?;
        Ok(list.items)
    }

    /// Creates an object.
    pub fn create(&self, object: &Value) -> Result<(), ClientError>
    where
        K: Serialize,
    {
        let object = K::deserialize(object).map_err(ClientError::NoObject)?;
        self.request("create", &object.name_any(), move |api, _| async move {
            api.create(&PostParams::default(), &object).await.map(drop)
        })
    }

    /// Changes fields of an object (strategic merge).
    pub fn patch(&self, name: &str, change: &Value) -> Result<(), ClientError> {
        let change = change.clone();
        self.request("change", name, move |api, name| async move {
            api.patch(&name, &PatchParams::default(), &Patch::Strategic(&change)).await.map(drop)
        })
    }

    /// Changes the status of an object, as a controller would.
    pub fn patch_status(&self, name: &str, status: &Value) -> Result<(), ClientError> {
        let status = serde_json::json!({"status": status});
        self.request("change the status of", name, move |api, name| async move {
            let (parameters, status) = (PatchParams::default(), Patch::Merge(&status));
            api.patch_status(&name, &parameters, &status).await.map(drop)
        })
    }

    /// Deletes an object at once, without waiting for its end; one that does not exist is no failure.
    pub fn delete(&self, name: &str) -> Result<(), ClientError> {
        self.request("delete", name, |api, name| async move {
            unless_absent(api.delete(&name, &DeleteParams::default().grace_period(0)).await)
                .map(drop)
        })
    }

    /// Deletes an object, and waits until it is gone: a pod once its containers have ended.
    pub fn end(&self, name: &str) -> Result<(), ClientError> {
        let Some(uid) = self.get(name)?.uid() else { return Ok(()) };
        self.request("delete", name, move |api, name| async move {
            unless_absent(api.delete(&name, &DeleteParams::default()).await).map(drop)
        })?;
        self.wait_for_end(name, uid)
    }

    /// Deletes the objects with these labels at once, and waits until they are gone.
    pub fn delete_all(&self, labels: &str) -> Result<(), ClientError> {
        let objects = self.list(labels)?;
        for object in &objects {
            self.delete(&object.name_any())?;
        }
        for object in objects {
            self.wait_for_end(&object.name_any(), object.uid().unwrap_or_default())?;
        }
        Ok(())
    }

    fn wait_for_end(&self, name: &str, uid: String) -> Result<(), ClientError> {
        self.wait(name, GONE, "gone", move |found: Option<&K>| {
            conditions::is_deleted(&uid).matches_object(found)
        })
    }

    /// Waits until an object has a state; the condition receives none where it does not exist.
    pub fn wait(
        &self,
        name: &str,
        limit: Duration,
        state: &'static str,
        condition: impl Fn(Option<&K>) -> bool + Send + Sync + 'static,
    ) -> Result<(), ClientError> {
        let (api, name, what) = (self.api.clone(), name.to_owned(), what::<K>(name));
        self.client.run(async move {
            match timeout(limit, await_condition(api, &name, condition)).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(source)) => Err(ClientError::Watch { what, source: Box::new(source) }),
                Err(_) => Err(ClientError::Late { what, state, limit }),
            }
        })
    }

    /// Makes one request about the object of a name.
    pub(super) fn request<T, F>(
        &self,
        act: &'static str,
        name: &str,
        request: impl FnOnce(Api<K>, String) -> F,
    ) -> Result<T, ClientError>
    where
        T: Send + 'static,
        F: Future<Output = kube::Result<T>> + Send + 'static,
    {
        let what = what::<K>(name);
        let request = request(self.api.clone(), name.to_owned());
        self.client.run(async move {
            request.await.map_err(|source| ClientError::failed(act, what, source))
        })
    }
}

/// Kind and name of an object.
pub(super) fn what<K: Resource<DynamicType = ()>>(name: &str) -> String {
    format!("{} {name}", K::kind(&()))
}
