//! Other NetworkPolicy enforcers on the same node, recognised by what they create there: an interface,
//! a folder of pins, or chains of nftables.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use netlink_packet_netfilter::{
    NetfilterMessage, NetfilterMessageInner,
    nftables::{ChainAttribute, ChainMessage, NfTablesMessage},
};
use nix::net::if_;

use super::{error::NetError, netfilter::NetfilterList};

/// Names of nftables tables that only one enforcer uses, and that enforcer.
const TABLES: [(&str, &str); 3] = [
    ("kindnet-network-policies", "kindnet"),
    ("kube-network-policies", "kube-network-policies"),
    ("calico", "Calico"),
];

/// Prefixes of chain names, and their enforcers. Chains of `iptables-nft` are among them.
const CHAINS: [(&str, &str); 5] = [
    ("KUBE-NWPLCY-", "kube-router, as in k3s"),
    ("KUBE-POD-FW-", "kube-router, as in k3s"),
    ("cali-", "Calico"),
    ("CILIUM_", "Cilium"),
    ("WEAVE-NPC", "Weave Net"),
];

/// Another enforcer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enforcer {
    /// Its name.
    pub name: &'static str,
    /// What was found of it first.
    pub trace: String,
}

impl fmt::Display for Enforcer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.trace)
    }
}

/// Finds other enforcers in the calling thread's network namespace, and in the bpffs of the agent's
/// own folder of pins, if it has one; `elsewhere` are folders of other agents.
///
/// Chains of `iptables-legacy` are not found: they are not in nftables.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O enabled.
///
/// # Errors
///
/// [`NetError::Refused`] where the kernel has no nftables and nothing else was found.
pub async fn enforcers(
    pins: Option<&Path>,
    elsewhere: &[PathBuf],
) -> Result<Vec<Enforcer>, NetError> {
    let mut found = BTreeMap::new();
    if if_::if_nametoindex("cilium_host").is_ok() {
        found.insert("Cilium", "interface cilium_host".to_owned());
    }
    for (folder, name) in [("cilium", "Cilium"), ("calico", "Calico")] {
        let folder = pins
            .and_then(Path::parent)
            .map(|bpffs| bpffs.join(folder))
            .filter(|folder| folder.is_dir());
        if let Some(folder) = folder {
            found.insert(name, format!("programs in {}", folder.display()));
        }
    }
    match chains().await {
        Ok(chains) => {
            for (name, trace) in chains.iter().filter_map(|(table, chain)| owner(table, chain)) {
                found.entry(name).or_insert(trace);
            }
        }
        // A kernel without nftables may still have the other traces.
        Err(error) if found.is_empty() && elsewhere.is_empty() => return Err(error),
        Err(_) => {}
    }
    let found = found.into_iter().map(|(name, trace)| Enforcer { name, trace });
    Ok(found.chain(elsewhere.iter().map(|folder| agent(folder))).collect())
}

/// An agent with another folder of pins. Its programs stay in force after it has ended.
fn agent(folder: &Path) -> Enforcer {
    let folder = folder.display();
    let trace = format!(
        "--pin-dir {folder}; `policy-agent detach --pins-only --pin-dir {folder}` removes its pins"
    );
    Enforcer { name: "another agent", trace }
}

/// The enforcer that a chain belongs to, and how to find the chain.
fn owner(table: &str, chain: &str) -> Option<(&'static str, String)> {
    if let Some((_, name)) = TABLES.iter().find(|(own, _)| *own == table) {
        return Some((name, format!("table {table} of nftables")));
    }
    let (_, name) = CHAINS.iter().find(|(prefix, _)| chain.starts_with(prefix))?;
    Some((name, format!("chain {chain} of nftables' table {table}")))
}

/// Table and name of every chain of every family.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O enabled.
///
/// # Errors
///
/// [`NetError::Refused`] where the kernel has no nftables.
pub async fn chains() -> Result<Vec<(String, String)>, NetError> {
    let request = NfTablesMessage::GetChain(ChainMessage { attributes: Vec::new() });
    let mut list = NetfilterList::request("chains of nftables", request)?;
    let mut chains = Vec::new();
    while let Some(message) = list.next().await? {
        chains.extend(chain(&message));
    }
    Ok(chains)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a chain has a dozen attributes, two are used")]
fn chain(message: &NetfilterMessage) -> Option<(String, String)> {
    let NetfilterMessageInner::NfTables(NfTablesMessage::NewChain(chain)) = &message.inner else {
        return None;
    };
    let (mut table, mut name) = (None, None);
    for attribute in &chain.attributes {
        match attribute {
            ChainAttribute::Table(text) => table = Some(text.clone()),
            ChainAttribute::Name(text) => name = Some(text.clone()),
            _ => {}
        }
    }
    Some((table?, name?))
}
