//! A node: namespaces in which containerd, kubelet and kube-proxy run as if on their own machine.
//!
//! They share a process namespace: when its first process is killed, the kernel kills every
//! container of the node.

mod cgroup;
mod config;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use xtask::bootstrap::CNI_PLUGINS;
use xtask::command::{answer, command, line};

use super::layout::{self, Layout, Node};
use super::process::{self, Service};
use super::{Shape, network, programs, until};

pub(super) use cgroup::remove as remove_cgroups;

/// Folders on which a node mounts its own, and which the machine may lack.
const COVERED: [&str; 3] = ["/var/lib/cni", "/opt/cni", "/etc/cni"];

const START: &str = include_str!("node.sh");

/// Starts a node; the caller waits until it has joined the cluster.
pub(super) fn start(layout: &Layout, node: &Node, options: &Shape) -> Result<()> {
    let home = layout.node(&node.name);
    for folder in ["cgroup", "etc/cni/net.d", "opt/cni/bin", "var/lib/cni", "var/log"] {
        fs::create_dir_all(home.join(folder))?;
    }
    copy_plugins(&home.join("opt/cni/bin"))?;
    config::write(layout, node, options)?;
    cgroup::make(layout, &node.name)?;
    let script = home.join("start");
    super::write(&script, START)?;

    let mut inside = network::inside(layout, &node.name);
    inside.args(["unshare", "--mount", "--propagation", "private", "--uts", "--ipc"]);
    inside.args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh"]);
    inside.arg(script).arg(&home).arg(&node.name).arg(programs::kubernetes()?);
    inside.arg(format!("{},{}", node.host.v4(), node.host.v6()));
    Service::start(layout, &node.name, &mut inside)?;
    until(&node.name, || is_started(layout, &node.name))
}

fn is_started(layout: &Layout, name: &str) -> bool {
    let started = || {
        let mut test = inside(layout, name).ok()?;
        answer(test.args(["test", "-e", "/run/node-started"]))
    };
    started().is_some()
}

/// A command that will run in the namespaces of a node, as one of its processes.
pub fn inside(layout: &Layout, name: &str) -> Result<Command> {
    let service = Service::find(layout, name)?;
    let init = process::children(service.pid).first().copied();
    let init = init.with_context(|| format!("{name} does not run"))?;
    let mut nsenter = command("nsenter");
    nsenter.args(["--target", &init.to_string()]);
    nsenter.args(["--net", "--mount", "--uts", "--ipc", "--pid"]);
    Ok(nsenter)
}

/// Imports an archive of images.
pub(super) fn import(layout: &Layout, name: &str, archive: &Path) -> Result<()> {
    let mut ctr = inside(layout, name)?;
    ctr.args(["ctr", "--namespace", "k8s.io", "images", "import", "-"]);
    // The archive's path may mean another folder inside of the node.
    let file = File::open(archive).with_context(|| format!("cannot read {}", archive.display()))?;
    let output = ctr.stdin(file).stdout(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("{} failed: {}", line(&ctr), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Kills every process in the cluster's namespaces.
pub(super) fn end_left_over(layout: &Layout) -> Result<()> {
    let names = layout::nodes(9).map(|node| node.name).chain([network::CONTROL.to_owned()]);
    for name in names {
        let own = layout.prefixed(&name);
        if !Path::new("/run/netns").join(&own).exists() {
            continue;
        }
        let alive = || {
            let list = answer(command("ip").args(["netns", "pids", &own])).unwrap_or_default();
            list.split_whitespace().filter_map(|pid| pid.parse().ok()).map(process::end).count() > 0
        };
        until("the end of what runs in the namespaces", || !alive())?;
    }
    Ok(())
}

/// Removes the empty folders that were made as mount points.
pub(super) fn forget_folders() {
    for folder in COVERED {
        let _ = fs::remove_dir(folder);
    }
}

/// Copies the CNI plugins: tests install others into a node, and not into the machine.
fn copy_plugins(to: &Path) -> Result<()> {
    let from =
        CNI_PLUGINS.map(PathBuf::from).into_iter().find(|folder| folder.join("ptp").exists());
    let from = from.context("no CNI plugins on this machine")?;
    for name in ["bridge", "host-local", "loopback", "portmap", "ptp"] {
        let source = from.join(name);
        fs::copy(&source, to.join(name))
            .with_context(|| format!("cannot copy {}", source.display()))?;
    }
    Ok(())
}
