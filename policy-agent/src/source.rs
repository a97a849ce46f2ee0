//! The manifests of a folder as the state of a cluster.
//!
//! The other source, an API server, is `policy-kube`. Sources only convert.

pub mod files;
