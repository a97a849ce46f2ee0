//! Pods as the container runtime's network plugins know them, before the API server does (S47).

mod cache;
mod claim;
mod conflist;
mod files;
mod install;
mod remove;
mod root;
mod socket;
mod stay;

use std::{mem, net::IpAddr};

use policy_core::model::ObjectName;

pub use cache::follow;
pub use claim::Claim;
pub use conflist::ConflistError;
pub use files::InstallError;
pub use install::{Fail, Installation, Written};
pub use remove::Remains;
pub use socket::{Question, SocketError, State, Waiter, serve};
pub use stay::{Standing, stay};

/// The interface whose addresses are the pod's; others belong to further networks.
pub const POD_INTERFACE: &str = "eth0";

/// A pod's sandbox, and the addresses that it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// The pod.
    pub pod: ObjectName,
    /// `metadata.uid`, where the runtime tells it.
    pub uid: Option<String>,
    /// Addresses of the pod, one of each family at most.
    pub addresses: Vec<IpAddr>,
    /// Interfaces of the node; where any is named, the host side of the pod's link is one of them.
    pub host_interfaces: Vec<String>,
}

/// The first address of each family: what kubelet publishes of a pod, and what an endpoint has. A
/// pod may have been given more; they are nobody's, and none of them can be sent from.
fn one_of_each_family(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (mut has4, mut has6) = (false, false);
    addresses.retain(|address| {
        let has = if address.is_ipv4() { &mut has4 } else { &mut has6 };
        !mem::replace(has, true)
    });
    addresses
}
