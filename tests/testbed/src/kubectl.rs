//! kubectl, for a cluster of this machine or for another one: for what an operator types.
//!
//! Tests of anything else use the [`client`](super::client). The API server of a cluster of this machine is reachable only from the cluster's own network
//! namespace, so kubectl is started there.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use xtask::command::{command, line, run};

use super::layout::Layout;
use super::{network, programs};

/// A way to run kubectl against one API server.
#[derive(Clone, Debug)]
pub struct Kubectl {
    kubeconfig: Option<PathBuf>,
    /// The cluster of this machine and the program that contains kubectl.
    local: Option<(Layout, PathBuf)>,
}

impl Kubectl {
    /// kubectl for a cluster of this machine, as its administrator.
    pub fn local(layout: &Layout) -> Result<Self> {
        let program = programs::kubernetes()?;
        Ok(Self {
            kubeconfig: Some(layout.kubeconfig("admin")),
            local: Some((layout.clone(), program)),
        })
    }

    /// The kubectl in `PATH`, for the cluster of a kubeconfig or of the environment.
    pub fn of(kubeconfig: Option<PathBuf>) -> Self {
        Self { kubeconfig, local: None }
    }

    /// A command to which arguments can be added.
    pub fn command(&self) -> Command {
        let mut kubectl = match &self.local {
            Some((layout, program)) => {
                let mut inside = network::inside(layout, network::CONTROL);
                inside.arg(program).arg("kubectl");
                inside
            }
            None => command("kubectl"),
        };
        if let Some(kubeconfig) = &self.kubeconfig {
            kubectl.arg("--kubeconfig").arg(kubeconfig);
        }
        kubectl
    }

    /// Runs kubectl with its output on our terminal.
    pub fn run(&self, arguments: &[&str]) -> Result<()> {
        run(self.command().args(arguments))
    }

    /// The output of kubectl; the error has its standard error.
    pub fn answer(&self, arguments: &[&str]) -> Result<String> {
        let mut kubectl = self.command();
        let output = kubectl.args(arguments).stdin(Stdio::null()).output();
        let output = output.context("cannot start kubectl")?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            bail!("{} failed ({})\n{}", line(&kubectl), output.status, why.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
