//! `cargo xtask cluster`: starts, shows and removes a Kubernetes of this machine.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use testbed::kubectl::Kubectl;
use testbed::layout::{self, Layout};
use testbed::process::Service;
use testbed::{Shape, control_plane, node, programs};
use xtask::command::line;

/// Run a real Kubernetes on this machine, in namespaces
#[derive(Parser)]
#[command(
    bin_name = "cargo xtask cluster",
    after_help = "Examples:
  cargo xtask cluster up --nodes 2 --proxy iptables
  cargo xtask image && cargo xtask cluster load target/image.tar
  cargo xtask cluster kubectl apply -f manifests/install.yaml
  cargo xtask cluster enter node1 bpftool link
  cargo xtask cluster down

Needs root. The first run compiles Kubernetes from its Go modules, which takes about 30 minutes on
2 cores; the result stays in ~/.cache/policy-xtask."
)]
struct Arguments {
    /// Name of the cluster; clusters of different names can run at the same time
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = layout::name)]
    name: String,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Compile Kubernetes and etcd, once per machine (about 30 minutes on 2 cores)
    Build {
        /// Also compile the upstream end-to-end suite and its server (about 15 minutes more)
        #[arg(long)]
        suite: bool,
    },
    /// Start a cluster (about 20 seconds, once Kubernetes is compiled)
    Up(Shape),
    /// Stop every process of the cluster and remove its files
    Down,
    /// Show which processes run, then the nodes and pods as the API server reports them
    Status,
    /// Import an archive of images into every node
    Load {
        /// As `docker save` and `cargo xtask image` write it
        archive: PathBuf,
    },
    /// Run kubectl as the administrator
    Kubectl {
        /// Arguments of kubectl
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run a command in the namespaces of a node; the node's bpffs is at /sys/fs/bpf
    Enter {
        /// `node1` and so on
        node: String,
        /// The command and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    /// Stop or start the API server
    Api {
        /// Which of the two
        action: Action,
    },
}

/// What to do with the API server.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Action {
    /// Kill it, as in a crash
    Stop,
    /// Start it and wait until it is ready
    Start,
}

fn main() -> ExitCode {
    let Arguments { name, verb } = Arguments::parse();
    match run(&Layout::of(&name), verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(layout: &Layout, verb: Verb) -> Result<()> {
    match verb {
        Verb::Build { suite } => {
            programs::kubernetes()?;
            if suite {
                programs::suite()?;
            }
            Ok(())
        }
        Verb::Up(shape) => testbed::up(layout, &shape),
        Verb::Down => testbed::down(layout),
        Verb::Status => status(layout),
        Verb::Load { archive } => testbed::load(layout, &archive),
        Verb::Kubectl { arguments } => {
            let mut kubectl = Kubectl::local(layout)?.command();
            exec(kubectl.args(arguments))
        }
        Verb::Enter { node, command } => exec(node::inside(layout, &node)?.args(command)),
        Verb::Api { action: Action::Stop } => control_plane::api_server(layout)?.end(),
        Verb::Api { action: Action::Start } => control_plane::start_api_server(layout),
    }
}

/// Replaces this process, so that terminal, signals and exit code are the command's own.
fn exec(command: &mut Command) -> Result<()> {
    Err(command.exec()).with_context(|| format!("cannot start {}", line(command)))
}

fn status(layout: &Layout) -> Result<()> {
    let services = Service::all(layout)?;
    if services.is_empty() {
        println!("no cluster");
        return Ok(());
    }
    for service in &services {
        println!("{:24} {}", service.name, if service.is_alive() { "running" } else { "stopped" });
    }
    println!(
        "\nkubeconfig {}, logs {}\n",
        layout.kubeconfig("admin").display(),
        layout.logs().display()
    );
    Kubectl::local(layout)?.run(&["get", "nodes,pods", "--all-namespaces", "-o", "wide"])
}
