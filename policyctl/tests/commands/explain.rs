//! `policyctl explain`.

use std::io;

use serde_json::Value;

use crate::program::{answer, assert_answers, assert_code, policyctl, told};

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
        "egress of other/stranger: allow: no policy has a say",
        "isolated by backend/backend",
        "from[0]: namespace other is not kubernetes.io/metadata.name=frontend",
        "to allow it, add to spec.ingress[0].from of backend/backend:",
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
    assert!(!answer(&output).contains("to allow it"), "{}", told(&output));
    Ok(())
}

#[test]
fn json_has_an_answer_per_family() -> io::Result<()> {
    let output =
        explain("frontend/web", "backend/api", "8080/TCP").args(["-o", "json"]).output()?;
    assert_code(&output, 0);
    let document: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(document["answers"].as_array().map(Vec::len), Some(2), "{}", told(&output));
    let first = &document["answers"][0];
    assert_eq!(first["verdict"], "deny");
    assert_eq!(first["sides"][0]["change"]["add_to"], "spec.egress[0].ports");
    assert_eq!(first["sides"][0]["rules"][0]["failed"][0], "ports[0]: is for port 80");
    Ok(())
}

#[test]
fn an_unknown_end_exits_2() -> io::Result<()> {
    let output = explain("frontend/wed", "backend/api", "80").output()?;
    assert_code(&output, 2);
    assert!(told(&output).contains("did you mean frontend/web?"), "{}", told(&output));
    Ok(())
}
