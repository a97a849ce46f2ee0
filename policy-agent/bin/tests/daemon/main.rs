//! The agent on the real kernel, in network namespaces: the program as a process, and in `kernel` its
//! library. Needs root and bpftool.

mod adoption;
mod backends;
mod capacity;
mod check;
mod cluster;
mod cni;
mod cni_files;
mod cni_socket;
mod conflicts;
mod departed;
mod detach;
mod drift;
mod enforcers;
mod flap;
mod flood;
mod flow_log;
mod flow_tables;
mod follow;
mod http;
mod kernel;
mod links;
mod listen;
mod live;
mod machine;
mod manifests;
mod namespace;
mod newcomers;
mod pins;
mod privilege;
mod reports;
mod runtime;
mod stream;
mod switch;
mod traffic;
mod uninstall;
