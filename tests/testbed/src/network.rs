//! The network between control plane and nodes: a bridge in a namespace of its own.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use xtask::command::command;

use super::layout::{self, CONTROL_PLANE, Host, Layout};

const FABRIC: &str = "fabric";

/// The control plane's namespace.
pub const CONTROL: &str = "control";

/// Makes the namespaces, and routes between all of them.
pub(super) fn build(layout: &Layout, count: u8) -> Result<()> {
    let mut hosts = vec![(CONTROL.to_owned(), CONTROL_PLANE)];
    hosts.extend(layout::nodes(count).map(|node| (node.name, node.host)));
    let fabric = layout.prefixed(FABRIC);
    batch(layout, None, &[format!("netns add {fabric}")])?;
    batch(
        layout,
        Some(FABRIC),
        &["link add br0 type bridge".to_owned(), "link set br0 up".to_owned()],
    )?;
    for (name, host) in &hosts {
        let own = layout.prefixed(name);
        batch(layout, None, &[format!("netns add {own}")])?;
        batch(layout, Some(name), &lines_of(name, *host, count, &fabric))?;
        batch(layout, Some(FABRIC), &[format!("link set to-{name} master br0 up")])?;
        forward(&own)?;
    }
    Ok(())
}

/// Removes all namespaces of the cluster, also those of a start that failed.
pub(super) fn remove(layout: &Layout) {
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(&layout.prefix) {
            let _ = command("ip").args(["netns", "del"]).arg(name).status();
        }
    }
}

/// The name of the namespace of a host outside of the cluster.
pub fn host(name: &str) -> String {
    format!("host-{name}")
}

/// Adds a host outside of the cluster: the control plane routes to it, and it is every node's
/// default gateway.
pub fn add_host(layout: &Layout, name: &str, addresses: &[IpAddr]) -> Result<()> {
    // Addresses that are used for nothing else.
    const GATEWAYS: [&str; 2] = ["169.254.1.1", "fd31::1"];
    let (own, link) = (host(name), format!("to-{name}"));
    let namespace = layout.prefixed(&own);
    batch(layout, None, &[format!("netns add {namespace}")])?;
    let mut control = vec![
        format!("link add {link} type veth peer name eth0 netns {namespace}"),
        format!("link set {link} up"),
        format!("addr add {}/32 dev {link}", GATEWAYS[0]),
        format!("addr add {}/128 dev {link} nodad", GATEWAYS[1]),
    ];
    let mut inside = vec!["link set lo up".to_owned(), "link set eth0 up".to_owned()];
    for address in addresses {
        // For IPv6 the kernel looks for duplicates first, and the address is unusable for a second.
        let at_once = if address.is_ipv6() { " nodad" } else { "" };
        inside.push(format!("addr add {address} dev eth0{at_once}"));
        control.push(format!("route add {address} dev {link}"));
    }
    for gateway in GATEWAYS {
        inside.push(format!("route add {gateway} dev eth0"));
        inside.push(format!("route add default via {gateway}"));
    }
    batch(layout, Some(CONTROL), &control)?;
    batch(layout, Some(&own), &inside)
}

/// Removes a host.
pub fn remove_host(layout: &Layout, name: &str) -> Result<()> {
    batch(layout, None, &[format!("netns del {}", layout.prefixed(&host(name)))])
}

/// A command that will run in one of the namespaces.
pub fn inside(layout: &Layout, name: &str) -> Command {
    let mut nsenter = command("nsenter");
    nsenter.arg(format!("--net={}", path(layout, name).display()));
    nsenter
}

/// The file of one of the namespaces.
pub(super) fn path(layout: &Layout, name: &str) -> PathBuf {
    Path::new("/run/netns").join(layout.prefixed(name))
}

fn lines_of(name: &str, host: Host, count: u8, fabric: &str) -> Vec<String> {
    let mut lines = vec![
        format!("link add eth0 type veth peer name to-{name} netns {fabric}"),
        "link set lo up".to_owned(),
        format!("addr add {}/24 dev eth0", host.v4()),
        format!("addr add {}/64 dev eth0 nodad", host.v6()),
        "link set eth0 up".to_owned(),
    ];
    for other in layout::nodes(count).filter(|other| other.name != name) {
        for (block, via) in other.pods.iter().zip([other.host.v4(), other.host.v6()]) {
            lines.push(format!("route add {block} via {via}"));
        }
    }
    if name != CONTROL {
        lines.push(format!("route add default via {}", CONTROL_PLANE.v4()));
        lines.push(format!("route add default via {}", CONTROL_PLANE.v6()));
    }
    lines
}

fn forward(namespace: &str) -> Result<()> {
    let mut sysctl = command("ip");
    sysctl.args(["netns", "exec", namespace, "sysctl", "-q", "-w"]);
    sysctl.args(["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
    xtask::command::run(sysctl.arg("net.ipv4.conf.all.rp_filter=0"))
}

/// Runs several commands in one process of `ip`.
fn batch(layout: &Layout, within: Option<&str>, lines: &[String]) -> Result<()> {
    let mut ip = command("ip");
    if let Some(name) = within {
        ip.args(["-n", &layout.prefixed(name)]);
    }
    let mut child =
        ip.args(["-batch", "-"]).stdin(Stdio::piped()).spawn().context("cannot run ip")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(lines.join("\n").as_bytes())?;
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("ip failed ({status}) on:\n{}", lines.join("\n"));
    }
    Ok(())
}
