//! kubectl, for a cluster of this machine or for another one.
//!
//! The API server of a cluster of this machine is reachable only from the cluster's own network
//! namespace, so kubectl is started there.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;
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

    /// Whether kubectl succeeds; its output is discarded.
    pub fn succeeds(&self, arguments: &[&str]) -> bool {
        let mut kubectl = self.command();
        kubectl.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        kubectl.status().is_ok_and(|status| status.success())
    }

    /// The output of kubectl; the error has its standard error.
    pub fn answer(&self, arguments: &[&str]) -> Result<String> {
        self.feed(arguments, "")
    }

    /// The output of kubectl as JSON.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.answer(&[arguments, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).context("kubectl gave no JSON")
    }

    /// As [`Kubectl::answer`], with standard input.
    pub fn feed(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut kubectl = self.command();
        kubectl.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = kubectl.spawn().context("cannot start kubectl")?;
        if let Some(mut stdin) = child.stdin.take() {
            // kubectl may exit before it has read everything; its standard error has the reason.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            bail!("{} failed ({})\n{}", line(&kubectl), output.status, why.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Applies objects, in one call.
    pub fn apply(&self, objects: &[Value]) -> Result<()> {
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.feed(&["apply", "-f", "-"], &list.to_string()).map(drop)
    }
}
