//! What the container runtime says about one pod.

use std::net::IpAddr;

use crate::model::ObjectName;

/// A pod's sandbox and the addresses that it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// The pod.
    pub pod: ObjectName,
    /// `metadata.uid`, where the runtime gives it.
    pub uid: Option<String>,
    /// Addresses of the pod, at most one of each family.
    pub addresses: Vec<IpAddr>,
    /// Interfaces of the node. If any is named, the host side of the pod's veth is among them.
    pub host_interfaces: Vec<String>,
}

impl Sandbox {
    /// Whether it can be that of a pod with this UID; neither the runtime nor a manifest need have one.
    #[must_use]
    pub fn may_have_uid(&self, uid: &str) -> bool {
        self.uid.as_ref().is_none_or(|own| uid.is_empty() || own == uid)
    }
}
