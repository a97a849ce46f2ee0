//! The daemon as a process of its own, on the real kernel, in namespaces of its own. Needs root.

mod adoption;
mod cluster;
mod cni;
mod cni_files;
mod cni_socket;
mod detach;
mod drift;
mod enforcers;
mod flap;
mod flood;
mod flow_log;
mod follow;
mod http;
mod live;
mod machine;
mod manifests;
#[expect(dead_code, reason = "the kernel tests need more of it")]
#[path = "../../../tests/kernel/namespace.rs"]
mod namespace;
mod newcomers;
mod pins;
mod privilege;
mod room;
mod runtime;
mod stream;
mod traffic;
mod uninstall;
