//! The node agent: finds pods' interfaces, compiles, plans, and writes what follows to the kernel.

pub mod chain;
pub mod cni;
pub mod daemon;
pub mod dataplane;
pub mod flows;
pub mod http;
mod inotify;
pub mod net;
pub mod node;
pub mod source;
pub mod status;
