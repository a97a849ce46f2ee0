//! `policyctl explain`.

use std::io;

use serde_json::Value;

use crate::program::{answer, assert_answers, assert_code, policyctl, policyctl_on, printed};

fn explain(from: &str, to: &str, port: &str) -> std::process::Command {
    policyctl(&[
        "explain",
        "-f",
        "examples/three-tier.yaml",
        "--from",
        from,
        "--to",
        to,
        "--port",
        port,
    ])
}

#[test]
fn a_denied_connection_is_explained_in_both_families() -> io::Result<()> {
    let output = explain("other/stranger", "backend/api", "80/TCP").output()?;
    assert_code(&output, 0);
    #[rustfmt::skip]
    assert_answers(&output, &[
        "other/stranger -> backend/api 80/TCP IPv4: deny",
        "other/stranger -> backend/api 80/TCP IPv6: deny",
        "egress of other/stranger: allow: no policy applies",
        "isolated by backend/backend",
        "from[0]: namespace other is not kubernetes.io/metadata.name=frontend",
        "to allow it, add to spec.ingress[0].from of NetworkPolicy backend/backend:",
    ]);
    Ok(())
}

#[test]
fn an_allowed_connection_names_the_rules_and_no_change() -> io::Result<()> {
    let output = explain("frontend/web", "backend/api", "80").output()?;
    assert_code(&output, 0);
    assert_answers(
        &output,
        &[
            "spec.egress[0] of frontend/frontend: allows it",
            "spec.ingress[0] of backend/backend: allows it",
        ],
    );
    assert!(!answer(&output).contains("to allow it"), "{}", printed(&output));
    Ok(())
}

#[test]
fn json_has_an_answer_per_family() -> io::Result<()> {
    let output =
        explain("frontend/web", "backend/api", "8080/TCP").args(["-o", "json"]).output()?;
    assert_code(&output, 0);
    let document: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(document["answers"].as_array().map(Vec::len), Some(2), "{}", printed(&output));
    let first = &document["answers"][0];
    assert_eq!(first["verdict"], "deny");
    assert_eq!(first["sides"][0]["change"]["add_to"], "spec.egress[0].ports");
    assert_eq!(first["sides"][0]["rules"][0]["failed"][0], "ports[0]: is for port 80");
    Ok(())
}

#[test]
fn a_service_without_the_port_is_its_address() -> io::Result<()> {
    const SERVICE: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: ns}
spec: {containers: [{name: c, image: c}]}
status: {podIPs: [{ip: 10.0.0.1}]}
---
apiVersion: v1
kind: Service
metadata: {name: s, namespace: ns}
spec: {clusterIP: 10.96.0.1, ports: [{port: 8000}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: e, namespace: ns}
spec: {podSelector: {}, policyTypes: [Egress]}
";
    for to in ["service/ns/s", "10.96.0.1"] {
        let question = ["explain", "--from", "ns/a", "--to", to, "--port", "80"];
        let output = policyctl_on(SERVICE, &question)?;
        assert_code(&output, 0);
        assert_answers(&output, &[&format!("ns/a -> {to} 80/TCP IPv4: deny")]);
    }
    Ok(())
}

#[test]
fn an_unknown_end_exits_2() -> io::Result<()> {
    let output = explain("frontend/wed", "backend/api", "80").output()?;
    assert_code(&output, 2);
    assert!(printed(&output).contains("did you mean frontend/web?"), "{}", printed(&output));
    Ok(())
}

#[test]
fn s39_a_pod_and_itself_are_one_end() -> io::Result<()> {
    let output = explain("backend/api", "backend/api", "80").output()?;
    assert_code(&output, 2);
    assert!(printed(&output).contains("backend/api always reaches itself"), "{}", printed(&output));
    Ok(())
}

#[test]
fn rules_of_the_tiers_are_listed_in_order() -> io::Result<()> {
    #[rustfmt::skip]
    let cases: [(&str, &str, &str, &[&str]); 3] = [
        ("shop/web", "vault/store", "8200", &[
            "decided by spec.ingress[1] of ClusterNetworkPolicy vault",
            "Admin 10: spec.ingress[0] of ClusterNetworkPolicy metrics: Accept, does not match\n      from[0]: namespace shop is not",
            "Admin 20: spec.ingress[1] of ClusterNetworkPolicy vault: Deny, decides",
            "isolated by vault/store-for-everyone, which is not evaluated\n    spec.ingress[0] of vault/store-for-everyone: would allow it",
            "closed-by-default: Deny, matches, but comes after spec.ingress[1] of ClusterNetworkPolicy vault",
            "to allow it, add to spec.ingress of ClusterNetworkPolicy vault, before [1]:\n      - {action: Pass, ",
        ]),
        ("vault/unsealer", "vault/store", "8200", &[
            "Admin 20: spec.ingress[0] of ClusterNetworkPolicy vault: Pass, leaves the tier",
            "spec.ingress[0] of vault/store-for-everyone: allows it",
            "closed-by-default: Deny, matches, but network policies select the pod",
        ]),
        ("monitoring/agent", "shop/web", "9100", &[
            "decided by spec.ingress[0] of ClusterNetworkPolicy metrics",
            "isolated by shop/web-for-the-sandbox, which is not evaluated\n    Baseline",
        ]),
    ];
    let file = ["explain", "-f", "examples/tiers.yaml"];
    for (from, to, port, parts) in cases {
        let question = ["--from", from, "--to", to, "--port", port];
        let output = policyctl(&file).args(question).output()?;
        assert_code(&output, 0);
        assert_answers(&output, parts);
    }
    let question = ["--from", "shop/web", "--to", "vault/store", "--port", "8200", "-o", "json"];
    let output = policyctl(&file).args(question).output()?;
    let document: Value = serde_json::from_slice(&output.stdout)?;
    let side = &document["answers"][0]["sides"][1];
    assert_eq!(side["decided_by"], "spec.ingress[1] of ClusterNetworkPolicy vault");
    assert_eq!(side["tiers"][0]["part"], "misses");
    assert_eq!(side["tiers"][3]["behind"], side["decided_by"]);
    assert_eq!(
        (&side["change"]["before"], &side["change"]["kind"]),
        (&1.into(), &"ClusterNetworkPolicy".into())
    );
    Ok(())
}
