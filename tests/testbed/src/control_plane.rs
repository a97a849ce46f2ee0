//! etcd, API server, controllers and scheduler: four processes in one network namespace.

use std::process::Command;

use anyhow::Result;

use super::client::Client;
use super::layout::{CONTROL_PLANE, Layout, SERVICES};
use super::network::{self, CONTROL};
use super::process::Service;
use super::{programs, until};

const API_SERVER: &str = "kube-apiserver";
const STORE: &str = "http://127.0.0.1:2379";

/// Starts the four processes, and waits for the API server.
pub(super) fn start(layout: &Layout) -> Result<()> {
    let mut etcd = program(layout, "etcd")?;
    etcd.arg("--data-dir").arg(layout.root.join("etcd"));
    etcd.args(["--listen-client-urls", STORE, "--advertise-client-urls", STORE]);
    etcd.args(["--listen-peer-urls", "http://127.0.0.1:2380", "--log-level", "warn"]);
    // The cluster need not survive a power cut, and syncing is slow.
    Service::start(layout, "etcd", etcd.arg("--unsafe-no-fsync"))?;
    start_api_server(layout)?;

    let admin = layout.kubeconfig("admin");
    let mut controllers = program(layout, "kube-controller-manager")?;
    controllers.arg("--kubeconfig").arg(&admin);
    controllers.arg("--service-account-private-key-file").arg(layout.pki("accounts.key"));
    controllers.arg("--root-ca-file").arg(layout.pki("ca.crt"));
    controllers.args(["--use-service-account-credentials", "--leader-elect=false"]);
    controllers.args(["--bind-address", "127.0.0.1"]);
    Service::start(layout, "kube-controller-manager", &mut controllers)?;
    let mut scheduler = program(layout, "kube-scheduler")?;
    scheduler.arg("--kubeconfig").arg(&admin);
    scheduler.args(["--leader-elect=false", "--bind-address", "127.0.0.1"]);
    Service::start(layout, "kube-scheduler", &mut scheduler).map(drop)
}

/// The API server's process.
pub fn api_server(layout: &Layout) -> Result<Service> {
    Service::find(layout, API_SERVER)
}

/// Starts the API server if it does not run, and waits until it is ready.
pub fn start_api_server(layout: &Layout) -> Result<()> {
    start_api_server_with(layout, &[])
}

/// As [`start_api_server`], with more arguments.
pub fn start_api_server_with(layout: &Layout, more: &[&str]) -> Result<()> {
    if !api_server(layout).is_ok_and(|service| service.is_alive()) {
        let mut server = program(layout, API_SERVER)?;
        server.args(["--etcd-servers", STORE, "--bind-address", "0.0.0.0"]);
        server.args(["--secure-port", "6443", "--advertise-address", &CONTROL_PLANE.v4()]);
        server.arg("--tls-cert-file").arg(layout.pki("api.crt"));
        server.arg("--tls-private-key-file").arg(layout.pki("api.key"));
        server.arg("--token-auth-file").arg(layout.pki("tokens.csv"));
        server.arg("--service-account-key-file").arg(layout.pki("accounts.pub"));
        server.arg("--service-account-signing-key-file").arg(layout.pki("accounts.key"));
        server.args(["--service-account-issuer", "https://kubernetes.default.svc"]);
        server.args(["--service-cluster-ip-range", SERVICES, "--authorization-mode", "Node,RBAC"]);
        // The control plane cannot resolve the names of nodes.
        server.args(["--kubelet-preferred-address-types", "InternalIP", "--allow-privileged"]);
        Service::start(layout, API_SERVER, server.args(more))?;
    }
    let client = Client::local(layout)?;
    until("the API server", || client.is_ready())
}

fn program(layout: &Layout, name: &str) -> Result<Command> {
    let mut inside = network::inside(layout, CONTROL);
    inside.arg(programs::kubernetes()?).arg(name);
    Ok(inside)
}
