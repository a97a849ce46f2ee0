//! Why a lab gave no truth table.

use super::{agent, anti_spoofing, blueprint, netns, network, nft, servers};

/// Why a lab gave no truth table.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No place for an agent's pins.
    #[error(transparent)]
    Bpffs(#[from] super::bpffs::Error),
    /// The manifests describe no network that can be.
    #[error(transparent)]
    Blueprint(#[from] blueprint::Error),
    /// The privilege is missing.
    #[error("the lab makes network namespaces and loads eBPF programs: run it as root")]
    NotPermitted,
    /// The network.
    #[error("cannot build the network")]
    Build(#[source] Box<network::Error>),
    /// The translation of Services.
    #[error(transparent)]
    Nft(#[from] nft::Error),
    /// A server.
    #[error(transparent)]
    Serve(#[from] servers::Error),
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
    Spoof(#[from] anti_spoofing::Error),
    /// Without policies not everything passed: the lab is broken, and a deny would mean nothing.
    #[error(
        "{} of {tried} probes failed before any policy was in force:\n  {}",
        failed.len(),
        shortened(failed)
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

impl From<network::Error> for Error {
    /// Tells the lack of privilege from other failures.
    fn from(error: network::Error) -> Self {
        if let network::Error::Namespace(netns::Error::Create(nix::Error::EPERM)) = error {
            Self::NotPermitted
        } else {
            Self::Build(Box::new(error))
        }
    }
}

/// Lines that are shown of a long list.
const SHOWN: usize = 20;

fn shortened(lines: &[String]) -> String {
    let shown = lines.iter().take(SHOWN).cloned();
    let rest = lines.len().saturating_sub(SHOWN);
    let tail = (rest > 0).then(|| format!("and {rest} more"));
    shown.chain(tail).collect::<Vec<_>>().join("\n  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut_and_says_so() {
        let lines = |count: usize| vec!["x".to_owned(); count];
        assert_eq!(shortened(&lines(2)), "x\n  x");
        assert!(shortened(&lines(SHOWN + 3)).ends_with("x\n  and 3 more"));
    }
}
