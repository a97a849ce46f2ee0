//! The agent's side of the container runtime: pods' addresses before the API server has them, and the
//! chained CNI plugin (S47).
//!
//! - [`serve`] answers the plugin, which waits at a socket until a pod's policies are in force;
//!   [`SocketLock`] makes sure that only one agent of a node does.
//! - [`follow_cache`] reads libcni's cache of results.
//! - [`Installation`] and [`keep_installed()`] put the plugin into the node's CNI configuration,
//!   [`Uninstaller`] takes it out.
//!
//! The daemon turns what comes from here into hints and requests of
//! [`Intent`](policy_core::intent::Intent). The plugin itself is the crate `policy-cni`, which also
//! defines the protocol and shows the sequence of its commands.

mod atomic_file;
mod conflist;
mod host_root;
mod installer;
mod keep_installed;
mod result_cache;
mod server;
mod socket_lock;
mod uninstaller;

use std::{mem, net::IpAddr};

pub use atomic_file::InstallError;
pub use conflist::ConflistError;
pub use installer::{Installation, Written};
pub use keep_installed::{InstallState, keep_installed};
pub use result_cache::follow_cache;
pub use server::{PendingPod, PluginRequest, serve};
pub use socket_lock::{SocketError, SocketLock};
pub use uninstaller::Uninstaller;

/// The interface with the pod's own addresses; others belong to additional networks.
pub const POD_INTERFACE: &str = "eth0";

/// The first address of each family: kubelet publishes these of a pod, and an endpoint has no others.
/// A pod cannot send from the rest.
fn one_of_each_family(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (mut has4, mut has6) = (false, false);
    addresses.retain(|address| {
        let has = if address.is_ipv4() { &mut has4 } else { &mut has6 };
        !mem::replace(has, true)
    });
    addresses
}
