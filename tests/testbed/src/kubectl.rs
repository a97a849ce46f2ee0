//! kubectl, of our own cluster or of another.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use xtask::command::{command, line, run};

use super::layout::Layout;
use super::{network, programs};

/// A way to ask an API server.
#[derive(Clone, Debug)]
pub struct Kubectl {
    kubeconfig: Option<PathBuf>,
    /// Our own one, which must be asked from within the cluster's network.
    local: Option<(Layout, PathBuf)>,
}

impl Kubectl {
    /// That of our own cluster, as its administrator.
    pub fn local(layout: &Layout) -> Result<Self> {
        let program = programs::kubernetes()?;
        Ok(Self {
            kubeconfig: Some(layout.kubeconfig("admin")),
            local: Some((layout.clone(), program)),
        })
    }

    /// The one in `PATH`, of the cluster that a file names, or the environment.
    pub fn of(kubeconfig: Option<PathBuf>) -> Self {
        Self { kubeconfig, local: None }
    }

    /// kubectl, to which arguments may be added.
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

    /// Runs it in the open.
    pub fn run(&self, arguments: &[&str]) -> Result<()> {
        run(self.command().args(arguments))
    }

    /// Whether it does what is asked, quietly.
    pub fn succeeds(&self, arguments: &[&str]) -> bool {
        let mut kubectl = self.command();
        kubectl.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        kubectl.status().is_ok_and(|status| status.success())
    }

    /// What it says, or why it fails.
    pub fn answer(&self, arguments: &[&str]) -> Result<String> {
        self.feed(arguments, "")
    }

    /// What it says in JSON.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.answer(&[arguments, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).context("kubectl gave no JSON")
    }

    /// What it says when it reads `input`, or why it fails.
    pub fn feed(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut kubectl = self.command();
        kubectl.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = kubectl.spawn().context("cannot start kubectl")?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that ends before it has read all says why on its standard error.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            bail!("{} failed ({})\n{}", line(&kubectl), output.status, why.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Makes the cluster hold what a list of objects says.
    pub fn apply(&self, objects: &[Value]) -> Result<()> {
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.feed(&["apply", "-f", "-"], &list.to_string()).map(drop)
    }
}
