//! `cargo xtask e2e operator`: an operator sees the denied flows and the state of all nodes, with
//! rights of their own; others see nothing.
//!
//! Each of two nodes has a server that a policy isolates, and one client sends to both. Then `policyctl`
//! is run with three kubeconfigs: of the administrator, of a user with the documented rights, and of one
//! who lacks `pods/portforward`; and a pod tries the agents' port.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use k8s_openapi::api::core::v1::{Node, Pod};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use testbed::layout::Layout;
use testbed::{network, until};
use xtask::bootstrap::Purpose;
use xtask::build::{self, Profile};
use xtask::image::{POD, POD_IMAGE};

use super::NODES;
use super::agents;
use super::cluster::{TestCluster, on_own};
use super::install::{self, NAMESPACE};

/// The namespace of the test's pods.
const SHOP: &str = "shop";
/// How long pods may take to become ready.
const START: Duration = Duration::from_mins(1);
/// The port that the servers serve and the policy denies.
const PORT: u16 = 5432;
/// The port at which agents answer.
const AGENT_PORT: u16 = 9470;

/// How the test is run.
#[derive(Args, Clone, Debug)]
pub(crate) struct OperatorOptions {
    /// Use the debug build of the agent, as the tests do; it compiles faster
    #[arg(long)]
    debug: bool,
    /// Leave the cluster running at the end
    #[arg(long)]
    keep: bool,
}

/// `policyctl`, with a kubeconfig.
struct Operator<'a> {
    layout: &'a Layout,
    program: PathBuf,
    kubeconfig: PathBuf,
}

/// What `policyctl` has answered.
#[derive(Debug)]
struct Answer {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs the test on a cluster of its own.
pub(super) fn run(options: &OperatorOptions) -> Result<()> {
    let profile = if options.debug { Profile::Debug } else { Profile::Release };
    let folder = build::build(Purpose::Build, &["policyctl"], profile)?;
    let program = folder.join("policyctl");
    on_own("operator", &testbed::Shape::default(), options.keep, profile, |cluster| {
        let layout = cluster.local.as_ref().context("the cluster is of this machine")?;
        deploy(cluster)?;
        install::agent(cluster)?;
        let of = |kubeconfig| Operator { layout, program: program.clone(), kubeconfig };
        let admin = of(layout.kubeconfig("admin"));
        flows_of_both_nodes_are_seen(cluster, &admin)?;
        let rights = json!([
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
            {"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["get", "create"]},
        ]);
        let reader = of(user(cluster, layout, "reader", &rights)?);
        ensure!(reader.run(&["flows", "--since=1h"])?.code == Some(0), "these rights are enough");
        let outsider = of(user(cluster, layout, "outsider", &json!([rights[0]]))?);
        the_state_of_both_nodes_is_seen(&admin)?;
        a_user_without_the_right_gets_nothing(&outsider)?;
        a_pod_gets_nothing(cluster)?;
        an_agent_that_is_away_hides_no_other(&admin)
    })
}

/// Creates a server on each node, a client, and a policy that isolates the servers.
fn deploy(cluster: &TestCluster) -> Result<()> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SHOP}});
    cluster.client.create(&[namespace])?;
    let place = format!("{PORT}/TCP");
    let pod = |name: &str, node: &str, arguments: Value| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": SHOP, "labels": {"app": "shop", "name": name}},
            "spec": {
                "nodeName": node,
                "automountServiceAccountToken": false,
                "terminationGracePeriodSeconds": 1,
                "containers": [{
                    "name": "pod", "image": POD_IMAGE, "imagePullPolicy": "IfNotPresent",
                    "args": arguments, "env": [{"name": "POD_NAME", "value": name}],
                }],
            },
        })
    };
    let servers = NODES.map(|node| pod(&format!("db-{node}"), node, json!(["serve", place])));
    let client = pod("web", NODES[0], json!(["pause"]));
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "db", "namespace": SHOP},
        "spec": {
            "podSelector": {"matchExpressions": [
                {"key": "name", "operator": "NotIn", "values": ["web"]},
            ]},
            "policyTypes": ["Ingress"],
        },
    });
    let objects = [&servers[..], &[client, policy]].concat();
    // A namespace accepts pods only once its service account exists.
    until("the pods' objects", || cluster.client.apply(&objects).is_ok())?;
    Ok(cluster.client.namespaced::<Pod>(SHOP).ready("app=shop", START).map(drop)?)
}

/// Sends from the client to each address; the lines that the probe prints.
fn probe(cluster: &TestCluster, targets: &[String]) -> Result<String> {
    let lines: Vec<String> =
        targets.iter().map(|target| format!("{target} TCP {target}\n")).collect();
    let pods = cluster.client.namespaced::<Pod>(SHOP);
    Ok(pods.run("web", &[&format!("/{POD}"), "probe", "1500"], &lines.concat())?)
}

fn flows_of_both_nodes_are_seen(cluster: &TestCluster, admin: &Operator<'_>) -> Result<()> {
    let pods = cluster.client.namespaced::<Pod>(SHOP);
    let addresses = NODES.map(|node| {
        let pod = pods.get(&format!("db-{node}")).ok()?;
        Some(format!("{}:{PORT}", pod.status?.pod_ip?))
    });
    let addresses: Vec<String> = addresses.into_iter().flatten().collect();
    let seen = probe(cluster, &addresses)?;
    ensure!(seen.matches("silent").count() == NODES.len(), "the policy denies both: {seen}");
    let answer = admin.run(&["flows", "-n", SHOP, "--since=1h", "-o", "jsonl"])?;
    ensure!(answer.code == Some(0), "{answer:?}");
    let flows = answer.stdout.lines().map(serde_json::from_str::<Value>);
    let flows: Vec<Value> = flows.collect::<Result<_, _>>()?;
    for node in NODES {
        let is_denied = |flow: &&Value| flow["destination"]["name"] == format!("db-{node}");
        let flow = flows.iter().find(is_denied).with_context(|| format!("{answer:?}"))?;
        ensure!(flow["node"] == node && flow["port"] == PORT, "{flow}");
        ensure!(flow["source"]["name"] == "web" && flow["verdict"] == "deny", "{flow}");
        ensure!(flow["policies"][0]["name"] == "db" && flow["direction"] == "ingress", "{flow}");
    }
    println!("flows of both nodes:\n{}", admin.run(&["flows", "-n", SHOP])?.stdout);
    Ok(())
}

fn the_state_of_both_nodes_is_seen(admin: &Operator<'_>) -> Result<()> {
    let answer = admin.run(&["status", "-o", "json"])?;
    ensure!(answer.code == Some(0), "{answer:?}");
    let state: Value = serde_json::from_str(&answer.stdout)?;
    let nodes = state["nodes"].as_array().context("no nodes")?;
    let names: Vec<_> = nodes.iter().map(|node| &node["node"]).collect();
    ensure!(names == NODES, "{answer:?}");
    let answer = admin.run(&["status", "policy", &format!("{SHOP}/db")])?;
    ensure!(answer.stdout.contains("2/2"), "both nodes enforce it: {answer:?}");
    println!("the policy:\n{}", answer.stdout);
    let answer = admin.run(&["status", "policy", "nothing"])?;
    ensure!(answer.code == Some(2), "{answer:?}");
    Ok(())
}

fn a_user_without_the_right_gets_nothing(outsider: &Operator<'_>) -> Result<()> {
    let answer = outsider.run(&["flows", "--since=1h"])?;
    ensure!(answer.code == Some(3) && answer.stdout.is_empty(), "{answer:?}");
    ensure!(answer.stderr.contains("pods/portforward"), "{answer:?}");
    println!("without pods/portforward: {}", answer.stderr.trim());
    Ok(())
}

/// The agents' port is closed to a pod that no policy isolates, at every address of every node.
fn a_pod_gets_nothing(cluster: &TestCluster) -> Result<()> {
    let nodes = NODES.map(|node| cluster.client.cluster_wide::<Node>().get(node).ok());
    let addresses = nodes.into_iter().flatten().filter_map(|node| node.status?.addresses);
    let addresses = addresses.flatten().filter(|address| address.type_ == "InternalIP");
    let mut addresses: Vec<IpAddr> =
        addresses.filter_map(|address| address.address.parse().ok()).collect();
    ensure!(addresses.len() >= NODES.len(), "addresses of both nodes: {addresses:?}");
    addresses.push(Ipv4Addr::LOCALHOST.into());
    let targets = addresses.into_iter().map(|address| SocketAddr::new(address, AGENT_PORT));
    let targets: Vec<String> = targets.map(|target| target.to_string()).collect();
    let seen = probe(cluster, &targets)?;
    ensure!(seen.lines().count() == targets.len() && !seen.contains("answered"), "{seen}");
    println!("a pod at the agents' port:\n{seen}");
    Ok(())
}

/// An agent that does not answer is named, and the flows of the other node are printed.
fn an_agent_that_is_away_hides_no_other(admin: &Operator<'_>) -> Result<()> {
    let [here, away] = NODES;
    agents::signal(admin.layout, away, Signal::SIGSTOP)?;
    let answer = admin.run(&["flows", "-n", SHOP, "--since=1h", "-o", "jsonl"]);
    agents::signal(admin.layout, away, Signal::SIGCONT)?;
    let answer = answer?;
    ensure!(answer.code == Some(3) && answer.stderr.contains(away), "{answer:?}");
    let node = |name: &str| format!(r#""node":"{name}""#);
    ensure!(answer.stdout.contains(&node(here)), "the other node's flows: {answer:?}");
    ensure!(!answer.stdout.contains(&node(away)), "{answer:?}");
    println!("with an agent away: {}", answer.stderr.trim());
    Ok(())
}

/// A user with rights in the agents' namespace; the path of their kubeconfig.
fn user(cluster: &TestCluster, layout: &Layout, name: &str, rules: &Value) -> Result<PathBuf> {
    let metadata = json!({"name": name, "namespace": NAMESPACE});
    let rbac = "rbac.authorization.k8s.io";
    cluster.client.apply(&[
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": metadata, "rules": rules}),
        json!({
            "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}],
        }),
    ])?;
    let token = cluster.kubectl.answer(&["-n", NAMESPACE, "create", "token", name])?;
    let view = ["config", "view", "--raw", "--minify", "-o", "json"];
    let mut config: Value = serde_json::from_str(&cluster.kubectl.answer(&view)?)?;
    config["users"][0]["user"] = json!({"token": token.trim()});
    let path = layout.kubeconfig(name);
    testbed::write(&path, config.to_string())?;
    Ok(path)
}

impl Operator<'_> {
    fn run(&self, arguments: &[&str]) -> Result<Answer> {
        let mut command: Command = network::inside(self.layout, network::CONTROL);
        command.arg(&self.program).args(arguments).arg("--kubeconfig").arg(&self.kubeconfig);
        let output = command.output().context("cannot start policyctl")?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        Ok(Answer { code: output.status.code(), stdout, stderr })
    }
}
