//! Why a lab gave no truth table.

use super::{agent, blueprint, build, netns, nft, serve, spoof};

/// Why a lab gave no truth table.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The manifests describe no network that can be.
    #[error(transparent)]
    Blueprint(#[from] blueprint::Error),
    /// The privilege is missing.
    #[error("the lab makes network namespaces and loads eBPF programs: run it as root")]
    NotPermitted,
    /// The network.
    #[error("cannot build the network")]
    Build(#[source] Box<build::Error>),
    /// The translation of Services.
    #[error(transparent)]
    Nft(#[from] nft::Error),
    /// A server.
    #[error(transparent)]
    Serve(#[from] serve::Error),
    /// An agent.
    #[error("the agent of node {node} failed")]
    Agent {
        /// Its node.
        node: String,
        /// Why.
        #[source]
        source: Box<agent::Error>,
    },
    /// The lie about a source address could not be told.
    #[error("cannot try a forged source address")]
    Spoof(#[from] spoof::Error),
    /// Without policies not everything passed: the lab is broken, and a deny would mean nothing.
    #[error(
        "{} of {tried} probes failed before any policy was in force:\n  {}",
        failed.len(),
        failed.join("\n  ")
    )]
    Baseline {
        /// How many were tried.
        tried: usize,
        /// Which ones failed, and how.
        failed: Vec<String>,
    },
}

impl Error {
    /// Whether the manifests are to blame, and not the environment.
    #[must_use]
    pub fn is_input(&self) -> bool {
        matches!(self, Self::Blueprint(_))
    }
}

impl From<build::Error> for Error {
    /// Tells the lack of privilege from other failures.
    fn from(error: build::Error) -> Self {
        if let build::Error::Namespace(netns::Error::Create(nix::Error::EPERM)) = error {
            Self::NotPermitted
        } else {
            Self::Build(Box::new(error))
        }
    }
}
