//! Where the state of the cluster comes from; sources only convert.

pub mod files;
pub mod kubernetes;
