//! The network part of a container runtime: runs each plugin of the node's first configuration in
//! order, with the result of the one before, as libcni does.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::fd::{AsFd as _, AsRawFd as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{machine::Machine, namespace::Namespace};

/// Where Debian's package puts the plugins.
const DEBIAN: &str = "/usr/lib/cni";

/// Folders of configurations, of plugins, and of what they remember.
pub(crate) struct Runtime<'a> {
    machine: &'a Machine,
    folder: TempDir,
}

/// `metadata.uid` of the pod in the manifests.
pub(crate) const UID: &str = "0000-1111";

impl<'a> Runtime<'a> {
    /// A runtime with the plugin `ptp`, which gives the pod the address 10.0.0.2.
    pub(crate) fn new(machine: &'a Machine) -> Result<Self> {
        let ptp = Path::new(DEBIAN).join("ptp");
        ensure!(ptp.exists(), "no {}; run `cargo xtask bootstrap`", ptp.display());
        let runtime = Self { machine, folder: tempfile::tempdir()? };
        for folder in [runtime.conf_dir(), runtime.bin_dir(), runtime.cache()] {
            fs::create_dir(folder)?;
        }
        fs::write(runtime.conflist(), runtime.configuration("1.0.0"))?;
        Ok(runtime)
    }

    /// The configuration as the node's network add-on writes it.
    pub(crate) fn configuration(&self, version: &str) -> String {
        let memory = self.path("addresses");
        format!(
            r#"{{
  "cniVersion": "{version}",
  "name": "net",
  "plugins": [
    {{"type": "ptp", "mtu": 1400, "ipam": {{"type": "host-local", "dataDir": "{}",
      "ranges": [[{{"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.2", "rangeEnd": "10.0.0.2"}}]],
      "routes": [{{"dst": "0.0.0.0/0"}}]}}}}
  ]
}}
"#,
            memory.display()
        )
    }

    pub(crate) fn conf_dir(&self) -> PathBuf {
        self.path("net.d")
    }

    pub(crate) fn conflist(&self) -> PathBuf {
        self.conf_dir().join("10-net.conflist")
    }

    pub(crate) fn bin_dir(&self) -> PathBuf {
        self.path("bin")
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.path("results")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("run").join("cni.sock")
    }

    /// Options of an agent that has the plugin chained.
    pub(crate) fn options(&self) -> Result<Vec<String>> {
        let mut options = self.places().to_vec();
        options.push("--install-cni".to_owned());
        options.push(format!("--cni-plugin={}", plugin()?.display()));
        Ok(options)
    }

    /// `detach` with the pins of the machine and all that an agent with these options installed.
    pub(crate) fn detach_arguments(&self) -> Vec<String> {
        let pins = format!("--pin-dir={}", self.machine.pins().display());
        ["detach".to_owned(), pins].into_iter().chain(self.places()).collect()
    }

    /// Options that `run` and `detach` share.
    fn places(&self) -> [String; 3] {
        [
            format!("--cni-socket={}", self.socket().display()),
            format!("--cni-conf-dir={}", self.conf_dir().display()),
            format!("--cni-bin-dir={}", self.bin_dir().display()),
        ]
    }

    /// Whether the plugin is chained.
    pub(crate) fn is_chained(&self) -> bool {
        let text = fs::read_to_string(self.conflist()).unwrap_or_default();
        text.contains("policy-cni") && self.bin_dir().join("policy-cni").exists()
    }

    /// Wires a pod; the last plugin's result, or the error that one of them gave.
    pub(crate) fn add(&self, pod: &Namespace) -> Result<Result<Value, Value>> {
        let mut result = None;
        for plugin in self.plugins()? {
            let output = self.run("ADD", pod, &plugin, result.as_ref())?;
            let said: Value = serde_json::from_slice(&output.stdout)
                .with_context(|| format!("the plugin said {output:?}"))?;
            if !output.status.success() {
                return Ok(Err(said));
            }
            result = Some(said);
        }
        Ok(Ok(result.context("no plugin")?))
    }

    /// Asks each plugin whether the pod is as it should be.
    pub(crate) fn check(&self, pod: &Namespace, result: &Value) -> Result<Result<(), Value>> {
        for plugin in self.plugins()? {
            let output = self.run("CHECK", pod, &plugin, Some(result))?;
            if !output.status.success() {
                return Ok(Err(serde_json::from_slice(&output.stdout)?));
            }
        }
        Ok(Ok(()))
    }

    /// Takes the pod's wire away: the plugins from the last to the first.
    pub(crate) fn delete(&self, pod: &Namespace, result: Option<&Value>) -> Result<()> {
        for plugin in self.plugins()?.iter().rev() {
            let output = self.run("DEL", pod, plugin, result)?;
            ensure!(output.status.success(), "{output:?}");
        }
        Ok(())
    }

    /// Keeps a result as libcni does when all plugins are through.
    pub(crate) fn keep(&self, result: &Value) -> Result<()> {
        let arguments = [
            ["IgnoreUnknown", "1"],
            ["K8S_POD_NAMESPACE", "default"],
            ["K8S_POD_NAME", "pod"],
            ["K8S_POD_UID", UID],
        ];
        let text = json!({
            "kind": "cniCacheV1", "containerId": "c1", "config": "e30=", "ifName": "eth0",
            "networkName": "net", "cniArgs": arguments, "result": result,
        });
        Ok(fs::write(self.cache().join("net-c1-eth0"), text.to_string())?)
    }

    /// The plugins of the first configuration by name, each with what it gets on standard input.
    fn plugins(&self) -> Result<Vec<Value>> {
        let files = fs::read_dir(self.conf_dir())?.map(|file| Ok(file?.path()));
        let mut files = files.collect::<Result<Vec<_>>>()?;
        files.retain(|path| path.extension().is_some_and(|extension| extension == "conflist"));
        let first = files.iter().min().context("no configuration")?;
        let list: Value = serde_json::from_str(&fs::read_to_string(first)?)?;
        let plugins = list["plugins"].as_array().context("no list")?;
        let own = |plugin: &Value| {
            let mut plugin = plugin.clone();
            plugin["name"] = list["name"].clone();
            plugin["cniVersion"] = list["cniVersion"].clone();
            plugin
        };
        Ok(plugins.iter().map(own).collect())
    }

    fn run(
        &self,
        command: &str,
        pod: &Namespace,
        plugin: &Value,
        previous: Option<&Value>,
    ) -> Result<Output> {
        let mut configuration = plugin.clone();
        if let Some(previous) = previous {
            configuration["prevResult"] = previous.clone();
        }
        let kind = plugin["type"].as_str().context("no type")?;
        let places = [self.bin_dir(), DEBIAN.into()];
        let program = places.iter().map(|place| place.join(kind)).find(|path| path.exists());
        let Some(program) = program else { bail!("no plugin {kind}") };
        let path = places.map(|place| place.to_string_lossy().into_owned()).join(":");
        let netns = format!("/proc/{}/fd/{}", std::process::id(), pod.as_fd().as_raw_fd());
        let arguments =
            format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod;K8S_POD_UID={UID}");
        let variables = BTreeMap::from([
            ("CNI_COMMAND", command),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_NETNS", &netns),
            ("CNI_IFNAME", "eth0"),
            ("CNI_ARGS", &arguments),
            ("CNI_PATH", &path),
        ]);
        self.machine.inside(|| {
            let mut child = Command::new(&program)
                .envs(variables)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            let mut input = child.stdin.take().context("no input")?;
            input.write_all(configuration.to_string().as_bytes())?;
            drop(input);
            Ok(child.wait_with_output()?)
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The chained plugin, built beside the agent.
pub(crate) fn plugin() -> Result<PathBuf> {
    let plugin = Path::new(env!("CARGO_BIN_EXE_policy-agent")).with_file_name("policy-cni");
    ensure!(plugin.exists(), "no {}; run `cargo build -p policy-cni`", plugin.display());
    Ok(plugin)
}
