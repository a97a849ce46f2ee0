//! Fast writes to the API server, through one `kubectl proxy`.
//!
//! A `kubectl` for each write would take longer than what is measured. The proxy listens on a Unix
//! socket, which also leads out of the cluster's network namespace.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use testbed::kubectl::Kubectl;
use testbed::until;

/// A way to the API server that stays open.
pub(super) struct Api {
    proxy: Child,
    socket: PathBuf,
    _folder: TempDir,
}

impl Api {
    /// Opens it. A socket of the file system leads out of the cluster's own network.
    pub(super) fn open(kubectl: &Kubectl) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("api");
        let mut proxy = kubectl.command();
        proxy.arg("proxy").arg("--unix-socket").arg(&socket).stdout(Stdio::null());
        let proxy = proxy.spawn().context("cannot start kubectl proxy")?;
        let api = Self { proxy, socket, _folder: folder };
        until("the proxy's socket", || UnixStream::connect(&api.socket).is_ok())?;
        Ok(api)
    }

    /// Makes an object.
    pub(super) fn create(&self, path: &str, object: &Value) -> Result<()> {
        self.write("POST", path, "application/json", object).map(drop)
    }

    /// Changes an object by a body of a kind; when that was sent, in nanoseconds since 1970.
    pub(super) fn patch(&self, path: &str, kind: &str, body: &Value) -> Result<u128> {
        self.write("PATCH", path, kind, body)
    }

    fn write(&self, method: &str, path: &str, kind: &str, body: &Value) -> Result<u128> {
        let mut stream = UnixStream::connect(&self.socket).context("the proxy is gone")?;
        let (body, mut answer) = (body.to_string(), String::new());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let start = SystemTime::now().duration_since(UNIX_EPOCH)?;
        stream.write_all((head + &body).as_bytes())?;
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 2"), "the API server refuses: {answer}");
        Ok(start.as_nanos())
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        // The first process is kubectl itself: nsenter becomes what it starts.
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}
