//! The plugin's entry of a CNI configuration, as the runtime hands it over.

use std::{
    io::{self, Read},
    time::Duration,
};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{VERSIONS, failure::Failure, wire};

/// Bytes of a configuration, at most; the results of the plugins before this one are in it.
const LIMIT: u64 = 4 << 20;

/// The longest time that a pod may be kept waiting; kubelet gives a sandbox two minutes.
const PATIENCE: Duration = Duration::from_secs(110);

/// The entry. Fields that other plugins, the runtime or later versions use are ignored.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Configuration {
    /// Version of the specification.
    #[serde(default)]
    pub(crate) cni_version: String,
    /// Result of the plugin before this one, word for word.
    #[serde(default)]
    pub(crate) prev_result: Option<Box<RawValue>>,
    /// The agent's socket.
    #[serde(default = "socket")]
    pub(crate) socket: String,
    /// What happens to a pod that the agent does not speak for.
    #[serde(default)]
    pub(crate) fail: Fail,
    /// Seconds that a pod waits for the agent.
    #[serde(default = "timeout")]
    timeout: u64,
}

/// What happens to a pod that the agent does not speak for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Fail {
    /// It does not start, and the runtime tries again.
    #[default]
    Closed,
    /// It starts as it would without this plugin.
    Open,
}

impl Configuration {
    /// Reads a configuration.
    pub(crate) fn read(input: impl Read) -> Result<Self, Failure> {
        let text = text(input)?;
        serde_json::from_slice(&text).map_err(Failure::Decode)
    }

    /// Fails where it is of another version than this plugin knows.
    pub(crate) fn check_version(&self) -> Result<(), Failure> {
        if VERSIONS.contains(&self.cni_version.as_str()) {
            return Ok(());
        }
        Err(Failure::Version(self.cni_version.clone()))
    }

    /// How long the agent has for its answer.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(self.timeout).min(PATIENCE)
    }
}

/// The version that a configuration of any kind claims, if it can be made out.
pub(crate) fn version(input: impl Read) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Versioned {
        cni_version: String,
    }
    serde_json::from_slice(&text(input).ok()?).ok().map(|Versioned { cni_version }| cni_version)
}

/// Reads a configuration that does not matter, so that whoever writes it comes to an end.
pub(crate) fn skip(input: impl Read) {
    let _ = io::copy(&mut input.take(LIMIT), &mut io::sink());
}

fn text(input: impl Read) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let read: io::Result<usize> = input.take(LIMIT + 1).read_to_end(&mut text);
    match read {
        Ok(length) if length as u64 > LIMIT => Err(Failure::Length(LIMIT)),
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::Input(error)),
    }
}

fn socket() -> String {
    wire::SOCKET.to_owned()
}

const fn timeout() -> u64 {
    15
}
