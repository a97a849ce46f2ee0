//! Writes the translations as text for `nft -f -`.
//!
//! One table with, per family, a set of pods, a map from frontend to chain and a map of frontends
//! without backends; per translation the chains that select a backend:
//!
//! ```text
//! map services4 { ... 10.96.0.1 . tcp . 80 : goto service-0 }
//! chain service-0 {
//!   ip saddr != @pods4 meta mark set meta mark | 0x4000       masquerade what is not from a pod
//!   numgen random mod 2 vmap { 0 : goto endpoint-0-0, 1 : goto endpoint-0-1 }
//! }
//! chain endpoint-0-0 { ... dnat ip to 10.244.0.5:8080 }
//! ```

use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
};

use policy_core::model::Protocol;

use super::{Proxy, Translation};

/// The bit of the packet mark that makes the postrouting chain masquerade a packet.
const MARK: &str = "0x4000";

/// The complete ruleset; loading it replaces a loaded one atomically.
///
/// Unlike kube-proxy's, it masquerades without `random-fully`, so the kernel keeps the source port
/// where it can: the lab recognises a probe by its source port.
#[must_use]
pub fn ruleset(proxy: &Proxy) -> String {
    // Deleting a missing table is an error, and declaring an existing one is not.
    let mut text = String::from("table inet kube-proxy\ndelete table inet kube-proxy\n");
    text.push_str("table inet kube-proxy {\n");
    for (suffix, kind, ipv4) in [("4", "ipv4_addr", true), ("6", "ipv6_addr", false)] {
        let frontend = format!("{kind} . inet_proto . inet_service : verdict");
        let node_port = "inet_proto . inet_service : verdict";
        let of_family = |at: &&IpAddr| at.is_ipv4() == ipv4;
        let pods: Vec<String> =
            proxy.pods.iter().filter(of_family).map(ToString::to_string).collect();
        declare(&mut text, &format!("set pods{suffix}"), kind, &pods);
        let translated = services(proxy, ipv4, true);
        declare(&mut text, &format!("map services{suffix}"), &frontend, &translated);
        let refused = services(proxy, ipv4, false);
        declare(&mut text, &format!("map refused{suffix}"), &frontend, &refused);
        let ports = node_ports(proxy, ipv4);
        declare(&mut text, &format!("map node-ports{suffix}"), node_port, &ports);
    }
    for (index, translation) in proxy.translations.iter().enumerate() {
        chains(&mut text, index, translation);
    }
    text.push_str(HOOKS);
    text.push_str("}\n");
    text
}

/// Base chains, as kube-proxy hooks them.
const HOOKS: &str = "\
  chain refuse { reject; }
  chain check-refused {
    ct state != new return
    ip daddr . meta l4proto . th dport vmap @refused4
    ip6 daddr . meta l4proto . th dport vmap @refused6
  }
  chain translate {
    ip daddr . meta l4proto . th dport vmap @services4
    ip6 daddr . meta l4proto . th dport vmap @services6
    meta nfproto ipv4 fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @node-ports4
    meta nfproto ipv6 fib daddr type local ip6 daddr != ::1 meta l4proto . th dport vmap @node-ports6
  }
  chain prerouting { type nat hook prerouting priority -100; jump translate; }
  chain output { type nat hook output priority -100; jump translate; }
  chain postrouting {
    type nat hook postrouting priority 100;
    meta mark & 0x4000 == 0 return
    meta mark set meta mark & 0xffffbfff
    masquerade
  }
  chain filter-input { type filter hook input priority -110; jump check-refused; }
  chain filter-forward { type filter hook forward priority -110; jump check-refused; }
  chain filter-output { type filter hook output priority -110; jump check-refused; }
";

/// Declares a set or map with its elements.
fn declare(text: &mut String, name: &str, kind: &str, elements: &[String]) {
    let list = match elements {
        [] => String::new(),
        some => format!(" elements = {{ {} }};", some.join(", ")),
    };
    push(text, format_args!("  {name} {{ type {kind};{list} }}\n"));
}

/// Elements of the map of frontends with backends, or of the map of frontends without.
fn services(proxy: &Proxy, ipv4: bool, with_backends: bool) -> Vec<String> {
    let mut elements = Vec::new();
    for (index, translation) in proxy.translations.iter().enumerate() {
        if translation.backends.is_empty() == with_backends {
            continue;
        }
        for address in translation.frontends.iter().filter(|at| at.is_ipv4() == ipv4) {
            let chain = match (with_backends, translation.cluster_ips.contains(address)) {
                (false, _) => "refuse".to_owned(),
                (true, true) => format!("service-{index}"),
                (true, false) => format!("external-{index}"),
            };
            let protocol = protocol_name(translation.protocol);
            elements.push(format!("{address} . {protocol} . {} : goto {chain}", translation.port));
        }
    }
    elements
}

/// Elements of the map of node ports.
fn node_ports(proxy: &Proxy, ipv4: bool) -> Vec<String> {
    let of_family = |(_, translation): &(usize, &Translation)| {
        translation.backends.first().is_some_and(|backend| backend.is_ipv4() == ipv4)
    };
    let with_backends = proxy.translations.iter().enumerate().filter(of_family);
    with_backends
        .filter_map(|(index, translation)| {
            let port = translation.node_port?;
            Some(format!(
                "{} . {port} : goto external-{index}",
                protocol_name(translation.protocol)
            ))
        })
        .collect()
}

/// The chains of a translation: one for its cluster IPs, one for its external addresses and node
/// ports, and one per backend.
fn chains(text: &mut String, index: usize, translation: &Translation) {
    let Some(first) = translation.backends.first() else {
        return;
    };
    let (family, pods) = if first.is_ipv4() { ("ip", "@pods4") } else { ("ip6", "@pods6") };
    for (number, backend) in translation.backends.iter().enumerate() {
        let to = literal(*backend);
        let protocol = protocol_name(translation.protocol);
        push(
            text,
            format_args!(
                "  chain endpoint-{index}-{number} {{\n    {family} saddr {address} meta mark set meta mark | {MARK}\n    \
                 meta l4proto {protocol} dnat {family} to {to}\n  }}\n",
                address = backend.ip(),
            ),
        );
    }
    let count = translation.backends.len();
    let targets: Vec<String> =
        (0..count).map(|number| format!("{number} : goto endpoint-{index}-{number}")).collect();
    let targets = targets.join(", ");
    push(
        text,
        format_args!(
            "  chain service-{index} {{\n    {family} saddr != {pods} meta mark set meta mark | {MARK}\n    \
             numgen random mod {count} vmap {{ {targets} }}\n  }}\n  \
             chain external-{index} {{\n    meta mark set meta mark | {MARK}\n    \
             goto service-{index}\n  }}\n",
        ),
    );
}

/// An address and port in the notation of `dnat`.
fn literal(backend: SocketAddr) -> String {
    match backend.ip() {
        IpAddr::V4(address) => format!("{address}:{}", backend.port()),
        IpAddr::V6(address) => format!("[{address}]:{}", backend.port()),
    }
}

fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

/// Appends text; writing to a `String` never fails.
fn push(text: &mut String, part: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(part);
}
