//! Why a lab has no truth table.

use crate::{agent, anti_spoofing, blueprint, bpffs, netns, network, nft, servers};

/// Why a lab has no truth table.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No bpffs could be created for an agent's pins.
    #[error(transparent)]
    Bpffs(#[from] bpffs::BpffsError),
    /// The manifests describe no network that can be built.
    #[error(transparent)]
    Blueprint(#[from] blueprint::BlueprintError),
    /// The process is not privileged.
    #[error("the lab creates network namespaces and loads eBPF programs: run it as root")]
    NotPermitted,
    /// The network could not be built.
    #[error("cannot build the network")]
    Network(#[source] Box<network::NetworkError>),
    /// The rules that translate Services could not be loaded.
    #[error(transparent)]
    Nft(#[from] nft::NftError),
    /// A server could not be started.
    #[error(transparent)]
    Servers(#[from] servers::ServersError),
    /// An agent failed.
    #[error("the agent of node {node} failed")]
    Agent {
        /// The agent's node.
        node: String,
        /// How it failed.
        #[source]
        source: Box<agent::AgentError>,
    },
    /// No packet with a forged source address could be sent.
    #[error("cannot test a forged source address")]
    AntiSpoofing(#[from] anti_spoofing::AntiSpoofingError),
    /// Probes failed although no policy was in force: the network is broken, so that a failed probe
    /// would not prove a deny.
    #[error(
        "{} of {tried} probes failed before any policy was in force:\n  {}",
        failed.len(),
        shortened(failed)
    )]
    Baseline {
        /// The number of probes.
        tried: usize,
        /// The failed probes, each with its result.
        failed: Vec<String>,
    },
}

impl Error {
    /// Whether the manifests are the cause, not the environment.
    #[must_use]
    pub fn is_input(&self) -> bool {
        matches!(self, Self::Blueprint(_))
    }
}

impl From<network::NetworkError> for Error {
    /// Separates a missing privilege from other failures.
    fn from(error: network::NetworkError) -> Self {
        if let network::NetworkError::Namespace(netns::NetnsError::Create(nix::Error::EPERM)) =
            error
        {
            Self::NotPermitted
        } else {
            Self::Network(Box::new(error))
        }
    }
}

/// The number of lines that an error shows of a long list.
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
    fn a_long_list_is_shortened_and_says_how_much_is_missing() {
        let lines = |count: usize| vec!["x".to_owned(); count];
        assert_eq!(shortened(&lines(2)), "x\n  x");
        assert!(shortened(&lines(SHOWN + 3)).ends_with("x\n  and 3 more"));
    }
}
