//! A chained CNI plugin that waits until the node's agent enforces the policies of a new pod (S47).
//!
//! [`wire`] and [`result`] are shared with the agent.
#![forbid(unsafe_code)]

mod ask;
mod configuration;
mod environment;
pub mod failure;
pub mod result;
mod verb;
pub mod wire;

pub use verb::{Output, run};

/// Name of the program, and `type` of its entry in a CNI configuration.
pub const PLUGIN: &str = "policy-cni";

/// Versions of the CNI specification that a configuration may be of, oldest first.
pub const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
