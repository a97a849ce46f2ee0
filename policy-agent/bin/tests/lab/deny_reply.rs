//! What an application sees if policies deny its connection (S36, S59).

use std::io;

use crate::program::{TOPOLOGIES, all_output, assert_code, lab_on};

/// A node with a client that may send nothing, in a namespace with an annotation, and a server.
const CLUSTER: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: ns, annotations: {policy-agent.io/deny-reply: CHOICE}}
---
apiVersion: v1
kind: Node
metadata: {name: a}
status: {addresses: [{type: InternalIP, address: 192.168.1.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: ns}
spec: {nodeName: a, containers: [{name: c, image: c}]}
status: {podIPs: [{ip: 10.244.0.6}, {ip: "fd00:10:244::6"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: server, namespace: other}
spec: {nodeName: a, containers: [{name: c, image: c, ports: [{containerPort: 80}]}]}
status: {podIPs: [{ip: 10.244.0.5}, {ip: "fd00:10:244::5"}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed, namespace: ns}
spec: {podSelector: {}, policyTypes: [Egress]}
"#;

/// Tries TCP and UDP from the client to the server, and to an address where nothing is; prints how each
/// try ends, and `slow` where that takes a second.
const TRY: &str = r#"
    client=$(grep '"netns"' "$LAB" | grep -o '/proc/[0-9]*/fd/[0-9]*' | sed -n 2p)
    try() {
        said=$(nsenter --net="$client" timeout 1 bash -c "$2" 2>&1)
        echo "$1: $(echo "$said" | grep -o 'refused\|No route\|denied' | tail -1)"
    }
    for address in 10.244.0.5 10.244.7.99 fd00:10:244::5 fd00:10:244:7::99; do
        try "tcp $address" ": < /dev/tcp/$address/80"
        try "udp $address" "exec 3<>/dev/udp/$address/80; echo 1 >&3; sleep 0.2; echo 2 >&3"
    done >&2
"#;

/// How a try of each kind ends where it is rejected: the error that Linux makes of the reply.
const REJECTED: [(&str, &str); 6] = [
    ("tcp 10.244.0.5", "refused"),
    ("udp 10.244.0.5", "No route"),
    ("tcp 10.244.7.99", "refused"),
    ("udp 10.244.7.99", "No route"),
    ("tcp fd00:10:244::5", "refused"),
    ("udp fd00:10:244::5", "denied"),
];

#[test]
fn s36_s57_s59_a_denied_connection_fails_at_once_where_replies_are_wanted() -> io::Result<()> {
    #[rustfmt::skip]
    let cases = [
        // namespace  the agent's options                                  rejects
        ("",       &["--deny-reply", "reject"][..],                          true),
        ("",       &[],                                                      false),
        ("reject", &["--deny-reply-annotation"],                             true),
        ("reject", &["--deny-reply", "none"],                                false),
        ("none",   &["--deny-reply", "reject", "--deny-reply-annotation"],   false),
    ];
    for topology in TOPOLOGIES {
        // Which pods reject does not depend on the topology.
        let cases = if topology == "ptp" { &cases[..] } else { &cases[..1] };
        for &(choice, options, rejects) in cases {
            let text = CLUSTER.replace("CHOICE", &format!("{choice:?}"));
            let run = ["--topology", topology, "-o", "json", "--run", TRY];
            let output = lab_on(&text, &[&run, options].concat())?;
            assert_code(&output, 0);
            let said = String::from_utf8_lossy(&output.stderr);
            for (kind, want) in REJECTED {
                let line = format!("{kind}: {}", if rejects { want } else { "" });
                let found = said.lines().any(|said| said.trim_end() == line.trim_end());
                assert!(found, "{topology} {options:?}: {line}: {}", all_output(&output));
            }
        }
    }
    Ok(())
}
