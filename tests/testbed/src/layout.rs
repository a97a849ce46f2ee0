//! Files, addresses and names of a cluster.

use std::path::{Path, PathBuf};

/// Address of the control plane, and gateway of the nodes.
pub const CONTROL_PLANE: Host = Host { number: 10 };

/// The Services' first address, at which pods find the API server.
pub const API_SERVICE: &str = "10.96.0.1";

/// Blocks of the Services.
pub const SERVICES: &str = "10.96.0.0/16,fd00:10:96::/112";

/// Blocks of the pods.
pub const PODS: &str = "10.244.0.0/16,fd00:10:244::/48";

/// The folder of all clusters' folders.
pub const CLUSTERS: &str = "/var/lib/policy-cluster";

/// An end of the network between nodes.
#[derive(Clone, Copy)]
pub struct Host {
    /// The last part of its addresses.
    pub number: u8,
}

impl Host {
    /// Its address.
    pub fn v4(self) -> String {
        format!("172.30.0.{}", self.number)
    }

    /// Its other address.
    pub fn v6(self) -> String {
        format!("fd30::{}", self.number)
    }
}

/// Name and addresses of a node.
pub struct Node {
    /// Its name, also as a host.
    pub name: String,
    /// Its addresses.
    pub host: Host,
    /// Its pods' addresses.
    pub pods: [String; 2],
}

/// Reads the name of a cluster.
pub fn name(text: &str) -> Result<String, String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.is_empty() || !text.chars().all(is_name) {
        return Err("small letters, digits and `-`".to_owned());
    }
    Ok(text.to_owned())
}

/// The nodes of a cluster of `count`.
pub fn nodes(count: u8) -> impl Iterator<Item = Node> {
    (1..=count).map(|number| Node {
        name: format!("node{number}"),
        host: Host { number: CONTROL_PLANE.number + number },
        pods: [format!("10.244.{number}.0/24"), format!("fd00:10:244:{number}::/64")],
    })
}

/// The files of a cluster.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Everything lies below it.
    pub root: PathBuf,
    /// Start of the names of its network namespaces and cgroups.
    pub prefix: String,
}

impl Layout {
    /// That of the cluster of this name.
    pub fn of(name: &str) -> Self {
        let root = Path::new(CLUSTERS).join(name);
        // Names have no underscores, so no cluster's prefix is the start of another's.
        Self { root, prefix: format!("policy_{name}_") }
    }

    /// The name of a network namespace or a cgroup.
    pub fn prefixed(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Output of every process.
    pub fn logs(&self) -> PathBuf {
        self.root.join("log")
    }

    /// Which processes were started.
    pub fn pids(&self) -> PathBuf {
        self.root.join("pid")
    }

    /// Keys and certificates.
    pub fn pki(&self, file: &str) -> PathBuf {
        self.root.join("pki").join(file)
    }

    /// The kubeconfig of a user.
    pub fn kubeconfig(&self, who: &str) -> PathBuf {
        self.root.join(format!("{who}.kubeconfig"))
    }

    /// What belongs to one node.
    pub fn node(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::{Layout, name};

    #[test]
    fn names_of_one_cluster_never_match_another() {
        let (short, long) = (Layout::of("netpol"), Layout::of("netpol-iptables"));
        assert!(!long.prefixed("node1").starts_with(&short.prefix));
        assert!(name("netpol-2").is_ok());
        for wrong in ["", "a_b", "../x", "A"] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }
}
