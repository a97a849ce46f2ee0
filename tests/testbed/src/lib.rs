//! A Kubernetes of several nodes on one machine, without containers around it.
//!
//! Each node is a set of namespaces (network, mounts, processes, host name) with a containerd, a
//! kubelet, a kube-proxy and a bpffs of its own; the control plane is four processes in a network
//! namespace. Dual stack. Outside of those namespaces only the cgroup tree is changed.
//!
//! `cargo xtask cluster` runs this package's program; the end-to-end tests call [`up`], [`load`]
//! and [`down`].
#![forbid(unsafe_code)]
#![expect(clippy::missing_errors_doc, reason = "every error is shown to the user and ends the run")]
#![expect(clippy::must_use_candidate, reason = "the callers are two programs of this repository")]

pub mod client;
pub mod control_plane;
pub mod images;
pub mod kubectl;
pub mod layout;
pub mod network;
pub mod node;
mod pki;
pub mod process;
pub mod programs;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use xtask::bootstrap::{self, packages};

use client::Client;
use layout::Layout;
use process::Service;

/// How long a node may take to become ready.
const START: Duration = Duration::from_mins(2);

/// How the cluster is made.
#[derive(Args, Clone, Debug)]
pub struct Shape {
    /// Number of nodes
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub nodes: u8,
    /// How kube-proxy translates Services
    #[arg(long, value_enum, default_value_t)]
    pub proxy: Proxy,
    /// How pods are joined to their node
    #[arg(long, value_enum, default_value_t)]
    pub cni: Cni,
}

/// Mode of kube-proxy.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Proxy {
    /// Rules of nftables
    #[default]
    Nftables,
    /// Rules of iptables
    Iptables,
}

/// A plugin of containernetworking-plugins.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Cni {
    /// A routed veth for each pod
    #[default]
    Ptp,
    /// A bridge on each node
    Bridge,
}

/// Starts a cluster; stops its processes again if that fails.
pub fn up(layout: &Layout, options: &Shape) -> Result<()> {
    if !packages::is_root() {
        bail!("namespaces and cgroups need root");
    }
    if layout.root.exists() {
        bail!(
            "{} exists: a cluster is up, or was not taken down (cargo xtask cluster down)",
            layout.root.display()
        );
    }
    bootstrap::ensure_cluster_packages()?;
    programs::kubernetes()?;
    let pod_image = images::pod()?;
    let start = Instant::now();
    println!("starting a cluster of {} nodes (about 20 s on 2 cores) …", options.nodes);
    start_all(layout, options, &pod_image).inspect_err(|_| {
        // The processes are stopped; the logs stay, because the user needs them now.
        let _ = end_all(layout);
    })?;
    println!("{} nodes, ready after {:.1} s", options.nodes, start.elapsed().as_secs_f64());
    Ok(())
}

fn start_all(layout: &Layout, options: &Shape, pod_image: &Path) -> Result<()> {
    network::build(layout, options.nodes)?;
    pki::write(layout, options.nodes)?;
    control_plane::start(layout)?;
    let names: Vec<_> = layout::nodes(options.nodes).collect();
    for node in &names {
        node::start(layout, node, options)?;
    }
    for node in &names {
        node::import(layout, &node.name, pod_image)?;
    }
    let client = Client::local(layout)?;
    for node in &names {
        client.cluster_wide().wait(&node.name, START, "ready", is_node_ready)?;
    }
    let has_account = |account: Option<&ServiceAccount>| account.is_some();
    Ok(client.namespaced("default").wait("default", START, "there", has_account)?)
}

fn is_node_ready(node: Option<&Node>) -> bool {
    let status = node.and_then(|node| node.status.as_ref());
    let conditions = status.and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

/// Stops everything and removes its files, from any state; does nothing if there is no cluster.
pub fn down(layout: &Layout) -> Result<()> {
    end_all(layout)?;
    if layout.root.exists() {
        // Another file system that is mounted below must not be emptied.
        let mut remove = xtask::command::command("rm");
        xtask::command::run(remove.args(["-rf", "--one-file-system"]).arg(&layout.root))?;
    }
    // The folders are removed with the last cluster only: the nodes of another cluster have mounts
    // on them, which would disappear.
    if layout.root.parent().is_some_and(|all| fs::remove_dir(all).is_ok()) {
        node::forget_folders();
    }
    Ok(())
}

fn end_all(layout: &Layout) -> Result<()> {
    for service in Service::all(layout)? {
        service.end()?;
    }
    node::end_left_over(layout)?;
    network::remove(layout);
    node::remove_cgroups(layout);
    Ok(())
}

/// Imports an archive of images into every node.
pub fn load(layout: &Layout, archive: &Path) -> Result<()> {
    for name in running_nodes(layout)? {
        node::import(layout, &name, archive)?;
    }
    Ok(())
}

/// Names of the nodes that run.
pub fn running_nodes(layout: &Layout) -> Result<Vec<String>> {
    let services = Service::all(layout)?.into_iter().filter(Service::is_alive);
    Ok(services.map(|service| service.name).filter(|name| name.starts_with("node")).collect())
}

/// Polls until a condition holds; fails after two minutes.
pub fn until(what: &str, mut is_ready: impl FnMut() -> bool) -> Result<()> {
    let end = Instant::now() + Duration::from_mins(2);
    while !is_ready() {
        if Instant::now() > end {
            bail!("{what}: not ready after 2 minutes; see the logs of the cluster");
        }
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Writes a file and the folders above it.
pub fn write(path: &Path, text: impl AsRef<[u8]>) -> Result<()> {
    let act = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, text)
    };
    act().with_context(|| format!("cannot write {}", path.display()))
}

impl Default for Shape {
    fn default() -> Self {
        Self { nodes: 2, proxy: Proxy::default(), cni: Cni::default() }
    }
}
