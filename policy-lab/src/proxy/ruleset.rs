//! The text for `nft -f -`.

use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
};

use policy_core::model::Protocol;

use super::{Proxy, Translation};

/// Bit of the packet mark by which kube-proxy asks for masquerading.
const MARK: &str = "0x4000";

/// The table, complete; loading it replaces the one that is there, at once.
///
/// Unlike kube-proxy's, masquerading keeps the source port where it can: a probe is known by it.
#[must_use]
pub fn ruleset(proxy: &Proxy) -> String {
    // To delete a table that is not there is an error; to declare one that is there is none.
    let mut text = String::from("table inet kube-proxy\ndelete table inet kube-proxy\n");
    text.push_str("table inet kube-proxy {\n");
    for (suffix, kind, ipv4) in [("4", "ipv4_addr", true), ("6", "ipv6_addr", false)] {
        let frontend = format!("{kind} . inet_proto . inet_service : verdict");
        let node_port = "inet_proto . inet_service : verdict";
        let of_family = |at: &&IpAddr| at.is_ipv4() == ipv4;
        let pods: Vec<String> =
            proxy.pods.iter().filter(of_family).map(ToString::to_string).collect();
        named(&mut text, &format!("set pods{suffix}"), kind, &pods);
        let translated = services(proxy, ipv4, true);
        named(&mut text, &format!("map services{suffix}"), &frontend, &translated);
        let refused = services(proxy, ipv4, false);
        named(&mut text, &format!("map refused{suffix}"), &frontend, &refused);
        let ports = node_ports(proxy, ipv4);
        named(&mut text, &format!("map node-ports{suffix}"), node_port, &ports);
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

/// A set or map with its elements, if it has any.
fn named(text: &mut String, name: &str, kind: &str, elements: &[String]) {
    let list = match elements {
        [] => String::new(),
        some => format!(" elements = {{ {} }};", some.join(", ")),
    };
    push(text, format_args!("  {name} {{ type {kind};{list} }}\n"));
}

/// Elements of the map of frontends that have backends, or of those that have none.
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
            let protocol = word(translation.protocol);
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
            Some(format!("{} . {port} : goto external-{index}", word(translation.protocol)))
        })
        .collect()
}

/// Chains of a translation: from the cluster, from outside or to an outer address, each backend.
fn chains(text: &mut String, index: usize, translation: &Translation) {
    let Some(first) = translation.backends.first() else {
        return;
    };
    let (family, pods) = if first.is_ipv4() { ("ip", "@pods4") } else { ("ip6", "@pods6") };
    for (number, backend) in translation.backends.iter().enumerate() {
        let to = literal(*backend);
        let protocol = word(translation.protocol);
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

/// Address and port as `dnat` wants them.
fn literal(place: SocketAddr) -> String {
    match place.ip() {
        IpAddr::V4(address) => format!("{address}:{}", place.port()),
        IpAddr::V6(address) => format!("[{address}]:{}", place.port()),
    }
}

fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

/// Appends; writing to a string cannot fail.
fn push(text: &mut String, part: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(part);
}
