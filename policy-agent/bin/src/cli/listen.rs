//! Options about where the agent answers, and where it is asked.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use policy_agent::http::Listen;

/// Default of `--status-socket` without a value.
pub(super) const STATUS_SOCKET: &str = "/run/policy-agent/status.sock";

/// Where `policy-agent run` answers.
#[derive(Debug, Args)]
pub(super) struct ListenOptions {
    /// Serve /healthz, /readyz, /metrics, /status and /flows at this address [default: no server]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = socket_address)]
    listen: Option<SocketAddr>,

    /// Serve the same at this Unix socket, which only root can use; no other process of the node can
    /// take its place [default: no socket; without SOCKET: /run/policy-agent/status.sock]
    #[arg(long, value_name = "SOCKET", num_args = 0..=1, default_missing_value = STATUS_SOCKET)]
    status_socket: Option<PathBuf>,

    /// Serve /metrics alone at this address too, for a Prometheus that cannot reach --listen [default:
    /// no server]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = socket_address)]
    metrics_listen: Option<SocketAddr>,
}

impl From<ListenOptions> for Listen {
    fn from(options: ListenOptions) -> Self {
        let ListenOptions { listen: address, status_socket: socket, metrics_listen: metrics } =
            options;
        Self { address, socket, metrics }
    }
}

/// Reads an address and a port.
///
/// # Errors
///
/// The text is something else; the message shows how to write one.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    let example = "write an IP address and a port, as in 127.0.0.1:9470 or [::1]:9470";
    text.parse().map_err(|_syntax| example.to_owned())
}
