//! A pod and its own node, as the operator's options say (S37, S38, S46, S57).

use std::{io, process::Output};

use serde_json::Value;

use crate::program::{TOPOLOGIES, all_output, assert_code, lab_on};

/// Two nodes; on node `a` a pod that is closed in both directions, on `b` a client.
const CLUSTER: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: ns, annotations: {policy-agent.io/anti-spoofing: disabled}}
---
apiVersion: v1
kind: Node
metadata: {name: a}
status: {addresses: [{type: InternalIP, address: 192.168.1.1}, {type: InternalIP, address: "fd00:30::1"}]}
---
apiVersion: v1
kind: Node
metadata: {name: b}
status: {addresses: [{type: InternalIP, address: 192.168.1.2}, {type: InternalIP, address: "fd00:30::2"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: closed, namespace: ns, labels: {app: closed}}
spec: {nodeName: a, containers: [{name: c, image: c, ports: [{containerPort: 9000}]}]}
status: {podIPs: [{ip: 10.244.0.5}, {ip: "fd00:10:244::5"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: ns, labels: {app: client}}
spec: {nodeName: b, containers: [{name: c, image: c}]}
status: {podIPs: [{ip: 10.244.1.5}, {ip: "fd00:10:244:1::5"}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed, namespace: ns}
spec: {podSelector: {matchLabels: {app: closed}}, policyTypes: [Ingress, Egress]}
"#;

/// Denies the node's kubelet in the Admin tier.
const TIER: &str = r#"---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: kubelet}
spec:
  tier: Admin
  priority: 10
  subject: {namespaces: {}}
  egress:
  - action: Deny
    to: [{networks: [192.168.1.0/24, "fd00:30::/64"]}]
    protocols: [{tcp: {destinationPort: {number: 10250}}}]
"#;

/// The verdicts of the wire on probes from the closed pod to both nodes.
fn to_nodes(text: &str, topology: &str, options: &[&str]) -> io::Result<Vec<(String, u64, bool)>> {
    let mut arguments = vec!["--topology", topology, "-o", "json", "--from", "ns/closed"];
    for node in ["192.168.1.1", "192.168.1.2", "fd00:30::1", "fd00:30::2"] {
        arguments.extend(["--to", node]);
    }
    arguments.extend(["--port", "10250/TCP", "--port", "53/UDP"]);
    arguments.extend(options);
    let output = lab_on(text, &arguments)?;
    assert_code(&output, 0);
    let table: Value = serde_json::from_slice(&output.stdout)?;
    let rows = table["probes"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert_eq!(rows.len(), 8, "{}", all_output(&output));
    let row = |row: &Value| {
        let to = row["to"].as_str().unwrap_or_default().to_owned();
        (to, row["port"].as_u64().unwrap_or_default(), row["verdict"] == "allow")
    };
    Ok(rows.iter().map(row).collect())
}

#[test]
fn s38_egress_to_the_own_node_is_judged_by_policy_unless_the_operator_allows_it() -> io::Result<()>
{
    let allow = ["--own-node-egress", "allow"];
    for topology in TOPOLOGIES {
        for (to, port, is_allowed) in to_nodes(CLUSTER, topology, &[])? {
            assert!(!is_allowed, "{topology}: {to} {port}");
        }
        for (to, port, is_allowed) in to_nodes(CLUSTER, topology, &allow)? {
            let is_own = to == "192.168.1.1" || to == "fd00:30::1";
            assert_eq!(is_allowed, is_own, "{topology}: {to} {port}");
        }
        for (to, port, is_allowed) in to_nodes(&format!("{CLUSTER}{TIER}"), topology, &allow)? {
            let is_own = to == "192.168.1.1" || to == "fd00:30::1";
            assert_eq!(is_allowed, is_own && port == 53, "{topology}: {to} {port}: a tier decides");
        }
    }
    Ok(())
}

/// Translates the source of connections from both nodes to the closed pod, tries them, and prints the
/// exit code of each try.
const PROBE: &str = r#"
    node() { grep '"netns"' "$LAB" | grep -o '/proc/[0-9]*/fd/[0-9]*' | sed -n "$1p"; }
    on() { netns=$(node "$1"); shift; nsenter --net="$netns" "$@"; }
    translate() {
        on "$1" nft "add table $2 mesh; add chain $2 mesh post { type nat hook postrouting priority 90; };
            add rule $2 mesh post $2 daddr $3 snat to $4" || exit 9
    }
    for number in 1 2; do
        translate $number ip 10.244.0.5 169.254.7.127
        translate $number ip6 fd00:10:244::5 fd16:9254:7127:1337:ffff:ffff:ffff:ffff
    done
    for address in 10.244.0.5 fd00:10:244::5; do
        for number in 1 2; do
            on $number timeout 1 bash -c ": < /dev/tcp/$address/9000" 2>/dev/null
            echo "node $number to $address: $?"
        done
    done >&2
"#;

fn probes(topology: &str, options: &[&str]) -> io::Result<Output> {
    let mut arguments = vec!["--topology", topology, "-o", "json", "--run", PROBE];
    arguments.extend(options);
    lab_on(CLUSTER, &arguments)
}

#[test]
fn s37_probes_from_a_meshs_address_reach_the_pods_of_their_own_node_alone() -> io::Result<()> {
    for topology in TOPOLOGIES {
        for (options, reaches) in [(&[][..], true), (&["--probe-source", "none"], false)] {
            let output = probes(topology, options)?;
            assert_code(&output, 0);
            let said = String::from_utf8_lossy(&output.stderr);
            for address in ["10.244.0.5", "fd00:10:244::5"] {
                let of = |node: u8| {
                    let ended = format!("node {node} to {address}: ");
                    said.lines().find_map(|line| line.strip_prefix(&ended)).map(|code| code == "0")
                };
                assert_eq!(of(1), Some(reaches), "{topology} {options:?}: {}", all_output(&output));
                assert_eq!(of(2), Some(false), "{topology}, another node: {}", all_output(&output));
            }
        }
    }
    Ok(())
}

/// The lab sends packets with a forged source, and requires that they are dropped, or received where
/// the sender may send them.
#[test]
fn s46_s57_a_namespace_is_free_of_anti_spoofing_only_where_the_operator_lets_it() -> io::Result<()>
{
    let plain = CLUSTER.replace("disabled", "enabled");
    for topology in TOPOLOGIES {
        for (text, options) in [
            (CLUSTER, &["--anti-spoofing-annotation"][..]),
            (CLUSTER, &[]),
            (&plain, &["--anti-spoofing-annotation"]),
        ] {
            let output = lab_on(text, &[&["--topology", topology][..], options].concat())?;
            assert_code(&output, 0);
        }
    }
    Ok(())
}
