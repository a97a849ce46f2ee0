//! The plugin's configuration, which the runtime writes to its standard input.
//!
//! It is the plugin's entry in the node's list, with fields that the runtime adds:
//!
//! ```text
//! {"cniVersion": "1.0.0", "name": "net", "type": "policy-cni",
//!  "socket": "/run/policy-agent/cni.sock", "fail": "closed", "timeout": 15,
//!  "prevResult": {"interfaces": […], "ips": [{"address": "10.0.0.2/24", "interface": 1}]}}
//! ```

use std::{
    io::{self, Read},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{VERSIONS, error::PluginError, protocol};

/// Longest configuration, in bytes; it includes the result of the plugins before this one.
const MAX_LENGTH: u64 = 4 << 20;

/// Longest time that a pod may wait; kubelet gives up on a sandbox after two minutes.
const MAX_TIMEOUT: Duration = Duration::from_secs(110);

/// The configuration. Fields of other plugins, the runtime or later versions are ignored.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Configuration {
    /// Version of the specification.
    #[serde(default)]
    pub(crate) cni_version: String,
    /// Result of the plugin before this one, byte for byte.
    #[serde(default)]
    pub(crate) prev_result: Option<Box<RawValue>>,
    /// Path of the agent's socket.
    #[serde(default = "default_socket")]
    pub(crate) socket: String,
    /// What happens to a pod that the agent does not enforce policies for.
    #[serde(default)]
    pub(crate) fail: FailMode,
    /// Seconds that a pod waits for the agent.
    #[serde(default = "default_timeout")]
    timeout: u64,
}

/// What happens to a pod that the agent does not enforce policies for in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FailMode {
    /// It does not start; the runtime tries again.
    #[default]
    Closed,
    /// It starts as it would without this plugin.
    Open,
}

impl Configuration {
    /// Reads a configuration.
    pub(crate) fn read(input: impl Read) -> Result<Self, PluginError> {
        let text = text(input)?;
        serde_json::from_slice(&text).map_err(PluginError::Decode)
    }

    /// Fails where this plugin does not support its version.
    pub(crate) fn check_version(&self) -> Result<(), PluginError> {
        if VERSIONS.contains(&self.cni_version.as_str()) {
            return Ok(());
        }
        Err(PluginError::Version(self.cni_version.clone()))
    }

    /// How long the agent has to respond.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout).min(MAX_TIMEOUT)
    }
}

/// The version in any kind of configuration, if there is one.
pub(crate) fn version(input: impl Read) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Versioned {
        cni_version: String,
    }
    serde_json::from_slice(&text(input).ok()?).ok().map(|Versioned { cni_version }| cni_version)
}

/// Reads a configuration that is not used, so that the runtime can write all of it.
pub(crate) fn skip(input: impl Read) {
    let _ = io::copy(&mut input.take(MAX_LENGTH), &mut io::sink());
}

fn text(input: impl Read) -> Result<Vec<u8>, PluginError> {
    let mut text = Vec::new();
    let read: io::Result<usize> = input.take(MAX_LENGTH + 1).read_to_end(&mut text);
    match read {
        Ok(length) if length as u64 > MAX_LENGTH => Err(PluginError::Length(MAX_LENGTH)),
        Ok(_) => Ok(text),
        Err(error) => Err(PluginError::Input(error)),
    }
}

fn default_socket() -> String {
    protocol::DEFAULT_SOCKET.to_owned()
}

const fn default_timeout() -> u64 {
    15
}
