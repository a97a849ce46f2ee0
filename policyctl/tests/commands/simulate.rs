//! `policyctl simulate`.

use std::{fs, io, path::PathBuf};

use serde_json::Value;

use crate::program::{answer, assert_answers, assert_code, policyctl, policyctl_on, printed, root};

const THREE_TIER: [&str; 3] = ["simulate", "-f", "examples/three-tier.yaml"];

/// Two pods, and nothing that speaks of them.
const PODS: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: ns}
spec: {containers: [{name: c, image: c, ports: [{containerPort: 80}]}]}
status: {podIPs: [{ip: 10.0.0.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: ns}
spec: {containers: [{name: c, image: c, ports: [{containerPort: 80}]}]}
status: {podIPs: [{ip: 10.0.0.2}]}
";

/// Expectation files under `examples/`, at any depth.
fn expectations(folder: PathBuf, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            expectations(path, found)?;
        } else if path.to_str().is_some_and(|name| name.ends_with(".expect.yaml")) {
            found.push(path);
        }
    }
    Ok(())
}

#[test]
fn every_expectation_of_the_examples_holds() -> io::Result<()> {
    let mut found = Vec::new();
    expectations(root().join("examples"), &mut found)?;
    assert!(found.len() >= 3, "{found:?}");
    for expected in found {
        let expected = expected.to_string_lossy().into_owned();
        let manifests = expected.replace(".expect.yaml", ".yaml");
        let output = policyctl(&["simulate", "-f", &manifests, "--expect", &expected]).output()?;
        assert_code(&output, 0);
    }
    Ok(())
}

#[test]
fn an_expectation_that_does_not_hold_exits_1_in_every_form() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("wrong.yaml");
    fs::write(
        &path,
        "default: deny\nexpect:\n- {from: ns/a, to: ns/b, port: 80/TCP, verdict: deny}\n",
    )?;
    let path = path.to_string_lossy().into_owned();
    #[rustfmt::skip]
    let cases = [
        // form      on standard output                         on standard error
        ("table",    "Not as expected:",                        ""),
        ("json",     "\"probes\"",                              "ns/a -> ns/b 80/TCP IPv4: allow, expected deny"),
        ("yaml",     "probes:",                                 "ns/a -> ns/b 80/TCP IPv4: allow, expected deny"),
        ("junit",    "tests=\"2\" skipped=\"0\" failures=\"2\"",              ""),
        ("markdown", "- `ns/a -> ns/b 80/TCP IPv4: allow, expected deny", ""),
    ];
    for (form, out, err) in cases {
        let output = policyctl_on(PODS, &["simulate", "--expect", &path, "-o", form])?;
        assert_code(&output, 1);
        assert_answers(&output, &[out]);
        assert!(printed(&output).contains(err), "{form}: {}", printed(&output));
    }
    Ok(())
}

#[test]
fn json_is_the_schema_of_the_lab_and_nothing_else() -> io::Result<()> {
    let output = policyctl(&THREE_TIER).args(["-o", "json"]).output()?;
    assert_code(&output, 0);
    let table: Value = serde_json::from_slice(&output.stdout)?;
    let rows = table["probes"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert!(rows.len() > 10, "{}", printed(&output));
    for row in rows {
        let mut keys: Vec<_> = row.as_object().into_iter().flatten().map(|(key, _)| key).collect();
        keys.sort();
        assert_eq!(
            keys,
            ["by", "egress", "family", "from", "ingress", "port", "protocol", "to", "verdict"]
        );
        let both = row["ingress"] == "allow" && row["egress"] == "allow";
        assert_eq!(row["verdict"] == "allow", both, "{row}");
    }
    assert!(rows.iter().any(|row| row["verdict"] == "allow"));
    assert!(rows.iter().any(|row| row["verdict"] == "deny"));
    Ok(())
}

#[test]
fn options_narrow_the_table_in_every_form() -> io::Result<()> {
    #[rustfmt::skip]
    let cases = [
        ("table",    "egress: frontend/frontend rule 0; ingress: backend/backend rule 0"),
        ("yaml",     "from: frontend/web"),
        ("junit",    "tests=\"2\" skipped=\"0\" failures=\"0\""),
        ("markdown", "| frontend/web | backend/api | 80/TCP | IPv6 | ✓ allow |"),
    ];
    for (form, part) in cases {
        let output = policyctl(&THREE_TIER)
            .args(["--from", "frontend/web", "--to", "backend/api", "--port", "80", "-o", form])
            .output()?;
        assert_code(&output, 0);
        assert_answers(&output, &[part]);
    }
    Ok(())
}

#[test]
fn bad_input_exits_2_and_says_what_is_wrong() -> io::Result<()> {
    #[rustfmt::skip]
    let cases: [(&str, &[&str], &str); 4] = [
        ("a: [", &[],                      "-:1"),
        ("",     &[],                      "no pod runs and has an address"),
        (PODS,   &["--from", "ns/c"],      "there is no ns/c"),
        (PODS,   &["--port", "http"],      "80/TCP"),
    ];
    for (text, arguments, message) in cases {
        let output = policyctl_on(text, &[&["simulate"], arguments].concat())?;
        assert_code(&output, 2);
        assert!(printed(&output).contains(message), "{message:?} is not in\n{}", printed(&output));
        assert!(answer(&output).is_empty(), "{}", printed(&output));
    }
    Ok(())
}

#[test]
fn nothing_is_coloured_away_from_a_terminal() -> io::Result<()> {
    let output = policyctl(&THREE_TIER).output()?;
    assert!(!answer(&output).contains('\u{1b}'), "{}", printed(&output));
    Ok(())
}

#[test]
fn kubectl_finds_the_same_program() -> io::Result<()> {
    let plugin = env!("CARGO_BIN_EXE_kubectl-policy");
    let output =
        std::process::Command::new(plugin).args(THREE_TIER).current_dir(root()).output()?;
    assert_eq!(answer(&output), answer(&policyctl(&THREE_TIER).output()?));
    assert_code(&output, 0);
    Ok(())
}

#[test]
fn an_error_has_one_heading() -> io::Result<()> {
    #[rustfmt::skip]
    let cases: [&[&str]; 6] = [
        &["simulate", "-f", "/nowhere"],
        &["simulate", "-f", "Cargo.toml"],
        &["simulate", "-f", "examples/tiers.yaml", "--port", "x"],
        &["simulate", "-f", "examples/tiers.yaml", "--from", "shop/wed"],
        &["diff", "--old", "/nowhere", "--new", "/nowhere"],
        &["man", "dance"],
    ];
    for arguments in cases {
        let output = policyctl(arguments).output()?;
        assert_code(&output, 2);
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(printed.matches("error:").count(), 1, "{arguments:?}: {printed}");
    }
    Ok(())
}

#[test]
fn a_pod_without_its_namespace_is_of_the_one_that_is_named() -> io::Result<()> {
    let ends = ["simulate", "--from", "a", "--to", "b", "-o", "json"];
    let output = policyctl_on(PODS, &[&ends[..], &["-n", "ns"]].concat())?;
    assert_code(&output, 0);
    assert_answers(&output, &["\"from\": \"ns/a\"", "\"to\": \"ns/b\""]);
    let output = policyctl_on(PODS, &ends)?;
    assert_code(&output, 2);
    assert!(printed(&output).contains("there is no default/a"), "{}", printed(&output));
    Ok(())
}

#[test]
fn the_summary_has_no_words_about_packets() -> io::Result<()> {
    let output = policyctl_on(PODS, &["simulate"])?;
    assert!(answer(&output).ends_with("8 probes, 8 allowed, 0 denied\n"), "{}", printed(&output));
    Ok(())
}

/// Source, destination, port and verdict of each probe.
fn probes(text: &str, arguments: &[&str]) -> io::Result<Vec<String>> {
    let output = policyctl_on(text, &[&["simulate", "-o", "json"], arguments].concat())?;
    assert_code(&output, 0);
    let table: Value = serde_json::from_slice(&output.stdout)?;
    let rows = table["probes"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let line = |row: &Value| {
        let [from, to, protocol, verdict] =
            ["from", "to", "protocol", "verdict"].map(|field| text(&row[field]));
        format!("{from} -> {to} {}/{protocol} {verdict}", row["port"])
    };
    Ok(rows.iter().map(line).collect())
}

#[test]
fn a_port_of_each_protocol_stands_for_those_that_no_pod_declares() -> io::Result<()> {
    // `b` declares no port, and the policy names the highest ones.
    let text = PODS.replacen(", ports: [{containerPort: 80}]", "", 2)
        + "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: ns}\n\
           spec: {podSelector: {}, ingress: [{ports: [{port: 65535}, {port: 60000, endPort: 65535, protocol: UDP}, {protocol: SCTP}]}]}\n";
    let want = [
        "ns/a -> ns/b 59999/UDP deny",
        "ns/a -> ns/b 65534/TCP deny",
        "ns/a -> ns/b 65535/SCTP allow",
    ];
    let to_b = ["--from", "ns/a", "--to", "ns/b"];
    assert_eq!(probes(&text, &to_b)?, want);
    assert_eq!(probes(&text, &[])?.len(), 6);
    // Expectations and `--port` are about what they name.
    let with_port = probes(&text, &[&to_b[..], &["--port", "7"]].concat())?;
    assert_eq!(with_port, ["ns/a -> ns/b 7/TCP deny"]);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("expect.yaml");
    fs::write(&path, "default: allow\n")?;
    let path = path.to_string_lossy().into_owned();
    assert_eq!(probes(PODS, &["--expect", &path])?.len(), 2);
    Ok(())
}

#[test]
fn rows_that_are_written_one_by_one_are_those_of_the_whole_table() -> io::Result<()> {
    let cluster = fs::read_to_string(root().join("examples/self-service.yaml"))?;
    for options in [&[][..], &["-n", "shop"], &["--port", "80", "--port", "7/UDP"]] {
        let run = |form| policyctl_on(&cluster, &[&["simulate", "-o", form], options].concat());
        let (streamed, whole) = (run("json")?, run("yaml")?);
        assert_eq!(streamed.status, whole.status, "{}", printed(&streamed));
        if streamed.status.success() {
            let streamed: Value = serde_json::from_slice(&streamed.stdout)?;
            let whole: Value = yaml_serde::from_slice(&whole.stdout).map_err(io::Error::other)?;
            assert_eq!(streamed, whole);
        }
    }
    Ok(())
}

#[test]
fn more_probes_than_a_table_can_have_are_refused() -> io::Result<()> {
    let pod = |number: usize| {
        format!(
            "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: p{number}, namespace: ns}}, status: {{podIPs: [{{ip: 10.1.{}.{}}}]}}}}\n",
            number / 250,
            number % 250 + 1
        )
    };
    let text: String = (0..300).map(pod).collect();
    let output = policyctl_on(&text, &["simulate"])?;
    assert_code(&output, 2);
    assert!(printed(&output).contains("more than 250000 probes; use `policyctl list`"));
    assert_code(&policyctl_on(&text, &["simulate", "--from", "ns/p1"])?, 0);
    Ok(())
}
