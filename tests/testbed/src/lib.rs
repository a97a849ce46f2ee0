//! `cargo xtask cluster`: a real Kubernetes on this machine, without containers around it.
//!
//! Each node is a set of namespaces (network, mounts, processes, host name) with a containerd, a
//! kubelet, a kube-proxy and a bpffs of its own; the control plane is four processes in a network
//! namespace. Dual stack; nothing outside of those namespaces is touched but the cgroup tree.

pub(crate) mod control_plane;
pub(crate) mod images;
pub(crate) mod kubectl;
pub(crate) mod layout;
pub(crate) mod network;
pub(crate) mod node;
mod pki;
pub(crate) mod process;
pub(crate) mod programs;

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};

use crate::bootstrap::packages::{self, Program};
use crate::command::line;
use kubectl::Kubectl;
use layout::Layout;
use process::Service;

const PACKAGES: &[Program] = &[
    Program { name: "conntrack", package: "conntrack" },
    Program { name: "containerd", package: "containerd" },
    Program { name: "ip", package: "iproute2" },
    Program { name: "iptables", package: "iptables" },
    Program { name: "nft", package: "nftables" },
    Program { name: "openssl", package: "openssl" },
    Program { name: "runc", package: "runc" },
];

/// What is asked of the cluster.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Compile Kubernetes and etcd from their modules, once per machine (about 5 minutes)
    Build {
        /// Compile the upstream end-to-end suite and its server too
        #[arg(long)]
        suite: bool,
    },
    /// Start a cluster; takes seconds
    Up(Shape),
    /// End every process of the cluster and remove all that it left
    Down,
    /// Say which parts run, and what the API server says of nodes and pods
    Status,
    /// Import an archive of images into every node
    Load {
        /// As `docker save` and `cargo xtask image` write it
        archive: PathBuf,
    },
    /// Run kubectl as the administrator
    Kubectl {
        /// Its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run a command in the namespaces of a node, whose bpffs is at /sys/fs/bpf
    Enter {
        /// `node1` and so on
        node: String,
        /// The command
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    /// Stop the API server, or start it again
    Api {
        /// Which of the two
        action: Action,
    },
}

/// How the cluster is made.
#[derive(Args, Clone, Debug)]
pub(crate) struct Shape {
    /// Number of nodes
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub(crate) nodes: u8,
    /// How kube-proxy translates Services
    #[arg(long, value_enum, default_value_t)]
    pub(crate) proxy: Proxy,
    /// How pods are joined to their node
    #[arg(long, value_enum, default_value_t)]
    pub(crate) cni: Cni,
}

/// Mode of kube-proxy.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Proxy {
    /// Rules of nftables
    #[default]
    Nftables,
    /// Rules of iptables
    Iptables,
}

/// A plugin of containernetworking-plugins.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Cni {
    /// A routed veth for each pod
    #[default]
    Ptp,
    /// A bridge on each node
    Bridge,
}

/// What may be done to the API server.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Action {
    /// It ends, as if it had crashed
    Stop,
    /// It comes back and is waited for
    Start,
}

/// Does what is asked.
pub(crate) fn run(name: &str, verb: Verb) -> Result<()> {
    let layout = Layout::of(name);
    match verb {
        Verb::Build { suite } => {
            programs::kubernetes()?;
            if suite {
                programs::suite()?;
            }
            Ok(())
        }
        Verb::Up(options) => up(&layout, &options),
        Verb::Down => down(&layout),
        Verb::Status => status(&layout),
        Verb::Load { archive } => load(&layout, &archive),
        Verb::Kubectl { arguments } => {
            let mut kubectl = Kubectl::local(&layout)?.command();
            kubectl.args(arguments);
            Err(kubectl.exec()).with_context(|| format!("cannot start {}", line(&kubectl)))
        }
        Verb::Enter { node, command } => {
            let mut inside = node::inside(&layout, &node)?;
            inside.args(command);
            Err(inside.exec()).with_context(|| format!("cannot start {}", line(&inside)))
        }
        Verb::Api { action: Action::Stop } => control_plane::api_server(&layout)?.end(),
        Verb::Api { action: Action::Start } => control_plane::start_api_server(&layout),
    }
}

/// Starts a cluster, and takes down what it started where that fails.
pub(crate) fn up(layout: &Layout, options: &Shape) -> Result<()> {
    if !packages::is_root() {
        bail!("namespaces and cgroups need root");
    }
    if layout.root.exists() {
        bail!(
            "{} exists: a cluster is up, or was not taken down (cargo xtask cluster down)",
            layout.root.display()
        );
    }
    ensure_packages()?;
    programs::kubernetes()?;
    let pod_image = images::pod()?;
    let start = Instant::now();
    start_all(layout, options, &pod_image).inspect_err(|_| {
        // The logs are what the user needs then, so they stay; the processes do not.
        let _ = end_all(layout);
    })?;
    println!("{} nodes, ready after {:.1} s", options.nodes, start.elapsed().as_secs_f64());
    Ok(())
}

/// Installs what nodes consist of and the machine lacks.
pub(crate) fn ensure_packages() -> Result<()> {
    packages::ensure(PACKAGES)?;
    if !node::PLUGINS.iter().any(|folder| folder.join("ptp").exists()) {
        packages::install(&["containernetworking-plugins"])?;
    }
    Ok(())
}

fn start_all(layout: &Layout, options: &Shape, pod_image: &std::path::Path) -> Result<()> {
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
    let kubectl = Kubectl::local(layout)?;
    for node in &names {
        until("the node's object", || kubectl.succeeds(&["get", "node", &node.name]))?;
    }
    kubectl.run(&["wait", "--for=condition=Ready", "node", "--all", "--timeout=120s"])?;
    until("the default service account", || kubectl.succeeds(&["get", "serviceaccount", "default"]))
}

/// Ends everything, whatever state it is in; nothing to do is fine.
pub(crate) fn down(layout: &Layout) -> Result<()> {
    end_all(layout)?;
    if layout.root.exists() {
        // Mounts of others below it would be theirs, not ours to empty.
        let mut remove = crate::command::command("rm");
        crate::command::run(remove.args(["-rf", "--one-file-system"]).arg(&layout.root))?;
    }
    // The last cluster leaves nothing. Before that the folders must stay: one that is removed here
    // is no longer covered anywhere, and another cluster's nodes would lose their own.
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

fn status(layout: &Layout) -> Result<()> {
    let services = Service::all(layout)?;
    if services.is_empty() {
        println!("no cluster");
        return Ok(());
    }
    for service in &services {
        println!("{:24} {}", service.name, if service.is_alive() { "runs" } else { "ended" });
    }
    println!(
        "\nkubeconfig {}, logs {}\n",
        layout.kubeconfig("admin").display(),
        layout.logs().display()
    );
    Kubectl::local(layout)?.run(&["get", "nodes,pods", "--all-namespaces", "-o", "wide"])
}

/// Imports an archive of images into every node.
pub(crate) fn load(layout: &Layout, archive: &std::path::Path) -> Result<()> {
    for name in running_nodes(layout)? {
        node::import(layout, &name, archive)?;
    }
    Ok(())
}

/// Names of the nodes that run.
pub(crate) fn running_nodes(layout: &Layout) -> Result<Vec<String>> {
    let services = Service::all(layout)?.into_iter().filter(Service::is_alive);
    Ok(services.map(|service| service.name).filter(|name| name.starts_with("node")).collect())
}

/// Waits for something of which only looking tells.
pub(crate) fn until(what: &str, mut is_ready: impl FnMut() -> bool) -> Result<()> {
    let end = Instant::now() + Duration::from_mins(2);
    while !is_ready() {
        if Instant::now() > end {
            bail!("{what}: not there after 2 minutes; the logs tell more");
        }
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Writes a file and the folders above it.
pub(crate) fn write(path: &std::path::Path, text: impl AsRef<[u8]>) -> Result<()> {
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
