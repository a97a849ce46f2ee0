//! The node agent: finds pods' interfaces, compiles, plans, and writes what follows to the kernel.

pub mod chain;
#[cfg(feature = "daemon")]
pub mod check;
#[cfg(feature = "daemon")]
pub mod cni;
#[cfg(feature = "daemon")]
pub mod daemon;
pub mod dataplane;
pub mod flows;
#[cfg(feature = "daemon")]
pub mod http;
mod inotify;
pub mod net;
pub mod node;
pub mod source;
#[cfg(feature = "daemon")]
pub mod status;
pub mod switch;
