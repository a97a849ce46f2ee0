//! Backends of Services: those that a pod may reach (S40), and those that live connections have (S42).

use crate::{address::Address, plain};

/// Key of `backends`: a place in a list of backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct BackendKey {
    /// List, from 1; the port sets of frontends name it.
    pub list: u32,
    /// Place in the list, from 0.
    pub place: u32,
}

/// Value of `backends`: a backend of a Service that a pod may reach. A list is never edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Backend {
    /// The key again: the kernel recycles elements while a program reads them.
    pub key: BackendKey,
    /// Address of the backend.
    pub address: Address,
    /// Port of the backend, network byte order.
    pub port: [u8; 2],
    /// 1 where policy must allow the frontend's own address too: it is no cluster IP.
    pub checks_frontend: u8,
    /// Zero.
    pub pad: u8,
}

/// Key of `live_backends`: a connection of a pod to a frontend, as its flow has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct LiveBackendKey {
    /// Host-side interface of the pod.
    pub ifindex: u32,
    /// Address of the frontend; the pod's own address is of the same family.
    pub frontend: Address,
    /// Port of the pod, network byte order.
    pub local_port: [u8; 2],
    /// Port of the frontend, network byte order.
    pub remote_port: [u8; 2],
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub pad: [u8; 3],
}

/// Value of `live_backends`: the backend to which kube-proxy translates a connection, by
/// `nf_conntrack`.
///
/// Written by the agent, for connections to frontends that refuse a new one. It is looked up when a
/// flow is judged again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct LiveBackend {
    /// The key again: the kernel recycles elements while a program reads them.
    pub key: LiveBackendKey,
    /// Address of the backend.
    pub address: Address,
    /// Port of the backend, network byte order.
    pub port: [u8; 2],
    /// 1 where policy must allow the frontend's own address too: it is no cluster IP.
    pub checks_frontend: u8,
    /// Zero.
    pub pad: u8,
}

plain!(BackendKey, Backend, LiveBackendKey, LiveBackend);

const _: () = assert!(size_of::<BackendKey>() == 8);
const _: () = assert!(size_of::<Backend>() == 28);
const _: () = assert!(size_of::<LiveBackendKey>() == 28);
const _: () = assert!(size_of::<LiveBackend>() == 48);
