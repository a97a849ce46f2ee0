//! Others that enforce NetworkPolicies on the same node, told by what they leave there.

use std::{collections::BTreeMap, fmt, path::Path};

use futures::StreamExt as _;
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
    nftables::{ChainAttribute, ChainMessage, NfTablesMessage},
};
use netlink_proto::sys::{SocketAddr, protocols::NETLINK_NETFILTER};
use nix::net::if_;
use rtnetlink::packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};

use super::{NetError, dump};
use crate::dataplane::pinned_elsewhere;

const WHAT: &str = "chains of nftables";

/// A name that nobody else gives to a table of nftables.
const TABLES: [(&str, &str); 3] = [
    ("kindnet-network-policies", "kindnet"),
    ("kube-network-policies", "kube-network-policies"),
    ("calico", "Calico"),
];

/// What names of chains begin with; those that iptables makes by nftables are among them.
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
    /// What of it was found first.
    pub trace: String,
}

impl fmt::Display for Enforcer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.trace)
    }
}

/// Other enforcers of the calling thread's network namespace, and of the bpffs where an agent has its
/// own folder of pins, if it has one.
///
/// Chains of the older interface of iptables (`iptables-legacy`) are not seen.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O enabled.
///
/// # Errors
///
/// When the kernel refuses to list nftables' chains, as it does where it has none, and nothing else
/// tells of an enforcer.
pub async fn enforcers(pins: Option<&Path>) -> Result<Vec<Enforcer>, NetError> {
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
    let elsewhere = pins.map(pinned_elsewhere).unwrap_or_default();
    match chains().await {
        Ok(chains) => {
            for (name, trace) in chains.iter().filter_map(|(table, chain)| known(table, chain)) {
                found.entry(name).or_insert(trace);
            }
        }
        // A kernel without nftables has no chains, and may have the other traces.
        Err(error) if found.is_empty() && elsewhere.is_empty() => return Err(error),
        Err(_) => {}
    }
    let found = found.into_iter().map(|(name, trace)| Enforcer { name, trace });
    Ok(found.chain(elsewhere.iter().map(|folder| agent(folder))).collect())
}

/// An agent that pinned elsewhere: what it enforced goes on though it has ended.
fn agent(folder: &Path) -> Enforcer {
    let folder = folder.display();
    let trace = format!(
        "--pin-dir {folder}; `policy-agent detach --pins-only --pin-dir {folder}` takes away what it \
         pinned"
    );
    Enforcer { name: "another agent", trace }
}

/// Whose a chain is, if it is an enforcer's.
fn known(table: &str, chain: &str) -> Option<(&'static str, String)> {
    if let Some((_, name)) = TABLES.iter().find(|(known, _)| *known == table) {
        return Some((name, format!("table {table} of nftables")));
    }
    let (_, name) = CHAINS.iter().find(|(begin, _)| chain.starts_with(begin))?;
    Some((name, format!("chain {chain} of nftables' table {table}")))
}

/// Every chain of every family: its table, and its name.
async fn chains() -> Result<Vec<(String, String)>, NetError> {
    let socket = netlink_proto::new_connection::<NetfilterMessage>(NETLINK_NETFILTER);
    let (connection, handle, _) = socket.map_err(NetError::Open)?;
    let task = tokio::spawn(connection);
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, 0);
    let request = NfTablesMessage::GetChain(ChainMessage { attributes: Vec::new() });
    let request = NetfilterMessage::new(header, request);
    let mut message = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(request));
    message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let answers = handle.request(message, SocketAddr::new(0, 0));
    let mut answers = answers.map_err(|_gone| NetError::Closed { what: WHAT })?;
    let mut chains = Vec::new();
    while let Some(answer) = answers.next().await {
        match dump::payload(WHAT, answer) {
            Ok(Some(message)) => chains.extend(chain(&message)),
            Ok(None) => {}
            Err(error) => {
                task.abort();
                return Err(error);
            }
        }
    }
    task.abort();
    Ok(chains)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a chain has a dozen attributes, two count here"
)]
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
