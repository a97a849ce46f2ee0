//! Reads Kubernetes manifests as text into the model of `policy-core`.
//!
//! Nothing is taken in part: either every object of every source is legal, or there is an error
//! for each that is not, with file, line, column and field path (S54).
//! This crate does no I/O; the caller reads the files.
//!
//! Read are Namespaces, Pods, policies of namespaces and of the cluster, Services, endpoint slices, Nodes, lists of them, and
//! `kind: Host` of `policy.lab/v1alpha1`. Policies and hosts are read strictly; of the others only
//! the fields that are used must be right, so that a dump is good as it comes.
#![forbid(unsafe_code)]

mod api;
mod cluster;
mod decode;
mod end;
mod error;
mod expectation;
mod object;
mod places;
mod problem;
mod syntax;
mod yaml;

use std::{collections::BTreeMap, fmt, net::IpAddr};

pub use api::{Received, receive};
pub use decode::nearest;
pub use end::{End, EndError};
pub use error::{ErrorSubject, ManifestError, Place, render};
pub use expectation::{Expectation, Expectations, Verdict, port_and_protocol, read_expectations};
pub use places::Places;
use policy_core::model::{ContainerPort, Snapshot};
pub use problem::Problem;

/// A text to read, and what to call it in errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Usually a path; `-` for standard input.
    pub name: String,
    /// YAML or JSON, of one or more documents.
    pub text: String,
}

/// What the sources hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifests {
    /// What a cluster would hold.
    pub snapshot: Snapshot,
    /// Machines outside of the cluster (`kind: Host`), by name.
    pub hosts: BTreeMap<String, Host>,
    /// What was passed over, in the order of the sources.
    pub ignored: Vec<Ignored>,
    /// Where all that is read stands.
    pub places: Places,
}

/// A machine outside of the cluster (`policy.lab/v1alpha1`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// `spec.address` or `spec.addresses`; at least one.
    pub addresses: Vec<IpAddr>,
    /// `spec.ports`: what it serves.
    pub ports: Vec<ContainerPort>,
}

/// An object of a kind that policy does not depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// Where it begins.
    pub place: Place,
    /// `apiVersion`.
    pub api_version: String,
    /// `kind`.
    pub kind: String,
}

/// One line with the place.
impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} of {} is passed over", self.place, self.kind, self.api_version)
    }
}

/// Reads `sources` as the manifests of one cluster.
///
/// # Errors
///
/// Every fault of every source; a source that is no YAML is left at its first one.
pub fn read(sources: &[Source]) -> Result<Manifests, Vec<ManifestError>> {
    let mut cluster = cluster::Cluster::default();
    for source in sources {
        cluster.read(source);
    }
    cluster.finish()
}
