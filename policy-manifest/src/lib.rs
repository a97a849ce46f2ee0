//! Reads Kubernetes manifests as text into the model of `policy-core`.
//!
//! Input: the text of files ([`read`], [`read_expectations`], [`read_tests`]) or the JSON of one object of an API
//! server ([`receive`]). Output: a snapshot or a change of it. This crate does no I/O.
//!
//! Files are accepted as a whole or not at all: either every object of every file is legal, or there
//! is an error for each that is not, with file, line, column and field path (S54):
//!
//! ```text
//! web.yaml:7:13: NetworkPolicy shop/web: spec.ingress[0].ports[0].port: 70000 is not a port (1 to 65535)
//! ```
//!
//! Supported are Namespaces, Pods, `NetworkPolicies`, `ClusterNetworkPolicies`, Services,
//! `EndpointSlices`, Nodes, lists of these, and `kind: Host` of `policy.lab/v1alpha1`. Policies and
//! hosts are decoded strictly: an unknown field is an error. Of the others only the fields that
//! policy depends on are decoded, so that the output of `kubectl get -o yaml` works unchanged.
//!
//! The way of a file: `yaml` parses text into nodes with places; `decode` gives typed access to
//! nodes and collects errors; `object` decodes each kind; `cluster` puts the objects of all files
//! together. An object that an API server has already accepted is never refused: `api` treats a
//! policy that it cannot decode as denying.
#![forbid(unsafe_code)]

mod api;
mod cluster;
mod decode;
mod end;
mod error;
mod expectation;
mod foreign;
mod left_out;
mod made_up;
mod names;
mod object;
mod options;
mod place;
mod places;
mod problem;
mod route;
mod syntax;
mod test_file;
mod yaml;

use std::{collections::BTreeMap, fmt, net::IpAddr};

pub use api::{Received, receive};
pub use decode::nearest;
pub use end::{End, EndError};
pub use error::{ErrorSubject, ManifestError, render};
pub use expectation::{Expectation, Expectations, Verdict, port_and_protocol, read_expectations};
pub use foreign::{FOREIGN_KINDS, ForeignKind};
pub use left_out::{LeftOut, LeftOutCounts};
pub use made_up::{MadeUp, SpareAddresses};
pub use object::RouteController;
pub use options::ReadOptions;
pub use place::Place;
pub use places::Places;
use policy_core::model::{ContainerPort, Snapshot};
pub use problem::Problem;
pub use route::Route;
pub use test_file::{
    Claim, Expected, SentenceError, TestCase, TestEnd, TestFile, TestNamespaces, read_tests,
};

/// A text to read, and its name in errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Usually a path; `-` for standard input.
    pub name: String,
    /// YAML or JSON, of one or more documents.
    pub text: String,
}

/// The objects of all sources together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifests {
    /// The cluster that they describe.
    pub snapshot: Snapshot,
    /// Machines outside of the cluster (`kind: Host`), by name.
    pub hosts: BTreeMap<String, Host>,
    /// Objects of other kinds, in the order of the sources.
    pub ignored: Vec<Ignored>,
    /// What else was not used.
    pub left_out: LeftOut,
    /// Pods and addresses that no source has.
    pub made_up: MadeUp,
    /// Routes from outside of the cluster, where they are read ([`ReadOptions::fill_in`]).
    pub routes: Vec<Route>,
    /// Where each object stands in the text.
    pub places: Places,
}

/// A machine outside of the cluster (`policy.lab/v1alpha1`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// `spec.address` or `spec.addresses`; at least one.
    pub addresses: Vec<IpAddr>,
    /// `spec.ports`: the ports at which it serves.
    pub ports: Vec<ContainerPort>,
}

/// An object of a kind that policy does not depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// Its first line.
    pub place: Place,
    /// `apiVersion`.
    pub api_version: String,
    /// `kind`.
    pub kind: String,
}

/// One line with the place.
impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} of {} is ignored", self.place, self.kind, self.api_version)
    }
}

/// Reads `sources` as the manifests of one cluster.
///
/// # Errors
///
/// Every error of every source; of a source that is not YAML only the first.
pub fn read(sources: &[Source]) -> Result<Manifests, Vec<ManifestError>> {
    read_with(sources, &ReadOptions::default())
}

/// Reads `sources` as the manifests of one cluster, as the options say.
///
/// # Errors
///
/// As [`read`]. An optional source with errors is passed over instead, unless its text names a kind
/// of policies.
pub fn read_with(
    sources: &[Source],
    options: &ReadOptions,
) -> Result<Manifests, Vec<ManifestError>> {
    let mut cluster = cluster::Cluster::new(options);
    for source in sources {
        cluster.read(source);
    }
    cluster.finish()
}
