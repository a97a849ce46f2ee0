//! What the node's network must have: interfaces of pods, kube-proxy, CNI, and no other enforcer.

use std::{collections::BTreeSet, fs, path::Path};

use nix::net::if_;

use super::{CheckOptions, NodeCheck};
use crate::{
    chain::chain,
    dataplane::{hooks, pinned_elsewhere},
    net::{NetError, Network, PodInterfaces, chains, enforcers, tracked_connections},
};

/// The device that kube-proxy creates in its mode `ipvs`.
const IPVS: &str = "kube-ipvs0";
/// Whether a bridge shows its packets to `nf_conntrack`.
const BRIDGE_NETFILTER: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

/// Every check of the network.
pub(super) async fn checks(options: &CheckOptions) -> Vec<NodeCheck> {
    let interfaces = match Network::open() {
        Ok(network) => network.pod_interfaces().await,
        Err(error) => Err(error),
    };
    let names = interfaces.as_ref().map(|found| found.veths.clone()).unwrap_or_default();
    let has_bridge = interfaces.as_ref().is_ok_and(|found| found.has_bridge_ports);
    vec![
        of_interfaces(interfaces),
        programs(&names),
        other_enforcers(&options.pins).await,
        service_proxy(chains().await),
        conntrack().await,
        bridge(has_bridge),
        cni(&options.cni_conf_dir, &options.cni_bin_dir),
    ]
}

/// Pods must have veths: programs at netkit devices, or none at all, are not supported.
fn of_interfaces(found: Result<PodInterfaces, NetError>) -> NodeCheck {
    let name = "interfaces";
    match found {
        Err(error) => {
            let advice = "run in the node's network namespace, with the capability NET_ADMIN";
            NodeCheck::failed(name, format!("cannot be listed: {}", chain(&error)), advice)
        }
        Ok(PodInterfaces { netkit, .. }) if !netkit.is_empty() => {
            let found = format!("netkit devices: {}", netkit.join(", "));
            let advice =
                "configure the CNI to give pods veths: nothing is enforced at netkit devices";
            NodeCheck::failed(name, found, advice)
        }
        Ok(PodInterfaces { veths, .. }) if veths.is_empty() => {
            let advice = "check again when a pod with a network of its own runs here: its interface must \
                          be a veth";
            NodeCheck::warning(name, "no veth leads into another network namespace", advice)
        }
        Ok(PodInterfaces { veths, .. }) => {
            NodeCheck::ok(name, format!("{} veths lead into other network namespaces", veths.len()))
        }
    }
}

/// Programs of others at the interfaces of pods.
fn programs(interfaces: &[String]) -> NodeCheck {
    let name = "tc-programs";
    let mut foreign = BTreeSet::new();
    for interface in interfaces {
        // Needs TCX and rights that a container may not have; the agent itself reports bypasses.
        let Ok(hooks) = hooks(interface) else {
            let advice = "run it as root of the node, on Linux 6.6 or newer, to see them; the agent \
                          reports those that see packets before its own";
            return NodeCheck::warning(
                name,
                "the programs at pods' interfaces cannot be listed",
                advice,
            );
        };
        let programs = hooks.from_pod.into_iter().chain(hooks.to_pod);
        let names = programs.map(|program| program.name);
        foreign.extend(names.filter(|name| !["from_pod", "to_pod"].contains(&name.as_str())));
    }
    if foreign.is_empty() {
        return NodeCheck::ok(name, "none of another program");
    }
    let foreign: Vec<String> = foreign.into_iter().collect();
    let advice = "configure that program to attach behind others; one that passes packets on its own \
                  hides them from the agent";
    NodeCheck::warning(name, format!("programs of others: {}", foreign.join(", ")), advice)
}

async fn other_enforcers(pins: &Path) -> NodeCheck {
    let name = "enforcers";
    match enforcers(Some(pins), &pinned_elsewhere(pins)).await {
        Ok(found) if found.is_empty() => NodeCheck::ok(name, "none"),
        Ok(found) => {
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            let advice = "disable one of the two: a packet passes only if both allow it, and drops of the \
                          other are in no log or metric of the agent";
            NodeCheck::warning(name, found.join(", "), advice)
        }
        Err(_) => NodeCheck::ok(name, "none; the kernel has no nftables"),
    }
}

/// How kube-proxy translates Services. Its chains are in nftables in the modes `nftables` and, with
/// iptables-nft, `iptables`.
fn service_proxy(chains: Result<Vec<(String, String)>, NetError>) -> NodeCheck {
    let name = "kube-proxy";
    if if_::if_nametoindex(IPVS).is_ok() {
        let advice = "egress to Services is judged by the backends in any mode; this one is not tested: \
                      try it on one node first";
        return NodeCheck::warning(name, "mode ipvs", advice);
    }
    let chains = chains.unwrap_or_default();
    if chains.iter().any(|(table, _)| table == "kube-proxy") {
        return NodeCheck::ok(name, "mode nftables");
    }
    if chains.iter().any(|(_, chain)| chain == "KUBE-SERVICES") {
        return NodeCheck::ok(name, "mode iptables");
    }
    let advice = "if Services work here without kube-proxy, such as by another CNI's programs, egress to \
                  them may be judged wrongly; iptables-legacy is not seen from here and works";
    NodeCheck::warning(name, "no rules found", advice)
}

/// `nf_conntrack`, from which connections are taken over when a pod is first isolated (S30).
async fn conntrack() -> NodeCheck {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(1);
    match tracked_connections(deadline).await {
        Ok(_) => NodeCheck::ok("conntrack", "connections can be read"),
        Err(error) => {
            let advice = "modprobe nf_conntrack_netlink; without it, connections that exist when a pod is \
                          first isolated are judged as new ones";
            NodeCheck::warning("conntrack", chain(&error), advice)
        }
    }
}

/// Whether connections through a bridge are in `nf_conntrack`.
fn bridge(has_bridge_ports: bool) -> NodeCheck {
    let setting = fs::read_to_string(BRIDGE_NETFILTER).unwrap_or_default();
    if has_bridge_ports && setting.trim() != "1" {
        let advice = "sysctl net.bridge.bridge-nf-call-iptables=1 (module br_netfilter); without it, live \
                      connections between pods of one bridge are judged as new ones when a pod is first \
                      isolated, and Services between them do not work";
        return NodeCheck::warning("bridge", "bridge-nf-call-iptables is off", advice);
    }
    NodeCheck::ok("bridge", if has_bridge_ports { "bridge-nf-call-iptables is on" } else { "none" })
}

/// The folders of the CNI, which the chained plugin needs.
fn cni(conf_dir: &Path, bin_dir: &Path) -> NodeCheck {
    let name = "cni";
    let configurations = fs::read_dir(conf_dir).map(|entries| {
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        paths
            .filter(|path| path.extension().is_some_and(|it| it == "conflist" || it == "conf"))
            .count()
    });
    match configurations {
        Ok(count) if count > 0 && bin_dir.is_dir() => {
            NodeCheck::ok(name, format!("{count} configurations in {}", conf_dir.display()))
        }
        Ok(count) if count > 0 => {
            let advice = "name the folder of the plugins with --cni-bin-dir, if the chained plugin is \
                          wanted";
            NodeCheck::warning(name, format!("{} is no folder", bin_dir.display()), advice)
        }
        Ok(_) | Err(_) => {
            let advice = "name the folder with --cni-conf-dir, and run it where the node's folders are \
                          mounted; only the chained plugin needs it";
            NodeCheck::warning(name, format!("no configuration in {}", conf_dir.display()), advice)
        }
    }
}
