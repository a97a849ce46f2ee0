//! A chained CNI plugin: a pod starts only once the node's agent enforces its policies (S47).
//!
//! The runtime runs the plugin last in its list, with a command in `CNI_COMMAND`, the pod in other
//! variables, and a configuration on standard input that holds the result of the plugins before.
//! [`run`] is the whole plugin; [`protocol`], [`result`] and [`FailMode`] are also used by the agent.
//!
//! Example; the runtime starts the pod `shop/web-1`, checks it and removes it:
//!
//! ```text
//! STATUS   asks the agent: are pods handled at all?   error 50 if not, so the node is not ready
//! ADD      sends pod, UID, addresses, interfaces      the agent responds once the policies of the
//!          and how long it waits                      pod are in force; prevResult goes to standard
//!                                                     output unchanged, and containers start
//!          no response in time, or a refusal          "fail": "closed": error 11, the runtime tries
//!                                                     again; "open": as above, with a warning
//! CHECK    the same without waiting                   error 11 if the policies are not in force
//! DEL, GC  nothing: the agent sees the link go        never fails
//! ```
#![forbid(unsafe_code)]

mod client;
mod commands;
mod configuration;
mod environment;
pub mod error;
pub mod protocol;
pub mod result;

pub use commands::{Output, run};
pub use configuration::FailMode;

/// Name of the program, and `type` of its entry in a CNI configuration.
pub const PLUGIN: &str = "policy-cni";

/// Versions of the CNI specification that a configuration may have, oldest first.
pub const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
