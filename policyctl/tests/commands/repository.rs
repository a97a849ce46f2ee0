//! Commands on what people keep in a repository, and on policies that no verdict covers.

use std::{fs, io};

use serde_json::Value;

use crate::program::{answer, assert_answers, assert_code, policyctl, policyctl_on, printed};

/// A workload that accepts only its own pods, and one that nothing isolates.
const REPOSITORY: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 3
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: c, ports: [{containerPort: 80}]}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec:
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: c, image: c, ports: [{containerPort: 5432}]}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}
";

const FOREIGN: &str = "\
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: p, namespace: shop}
spec: {endpointSelector: {}}
";

#[test]
fn workloads_are_answered_for_as_one_pod_and_its_peers() -> io::Result<()> {
    let output = policyctl_on(REPOSITORY, &["simulate", "-o", "json"])?;
    assert_code(&output, 0);
    let table: Value = serde_json::from_slice(&output.stdout)?;
    let row = |row: &Value| {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        format!("{} {} {} {}", text("from"), text("to"), text("family"), text("verdict"))
    };
    let all = table["probes"].as_array().cloned().unwrap_or_default();
    // A declared port, and an undeclared one of each protocol.
    assert_eq!(all.len(), 24, "{}", printed(&output));
    let rows: Vec<String> = all.iter().filter(|row| row["port"] != 65535).map(row).collect();
    let want = [
        "shop/db shop/web IPv4 deny",
        "shop/db shop/web IPv6 deny",
        "shop/web shop/db IPv4 allow",
        "shop/web shop/db IPv6 allow",
        "shop/web shop/web IPv4 allow",
        "shop/web shop/web IPv6 allow",
    ];
    assert_eq!(rows, want, "{}", printed(&output));
    assert!(printed(&output).contains("2 pods and workloads without an address"));
    Ok(())
}

#[test]
fn no_command_is_silent_about_what_it_leaves_out() -> io::Result<()> {
    let text = format!("{REPOSITORY}---\napiVersion: v1\nkind: ConfigMap\n");
    let ends = ["--from", "shop/web", "--to", "shop/db", "--port", "80"];
    let commands: [&[&str]; 4] = [
        &["simulate"],
        &["graph"],
        &["lint", "--deny", "never"],
        &[&["explain"], &ends[..]].concat(),
    ];
    for command in commands {
        let output = policyctl_on(&text, &[command, &["-o", "json"]].concat())?;
        assert_code(&output, 0);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        for part in
            ["note: not used: 1 ConfigMap\n", "so they have no label but their name: shop\n"]
        {
            assert!(stderr.contains(part), "{command:?}: {stderr}");
        }
        let document: Value = serde_json::from_slice(&output.stdout)?;
        assert_eq!(document["left_out"]["other_kinds"], 1, "{command:?}: {document}");
        assert_eq!(document["left_out"]["undefined_namespaces"], 1, "{command:?}");
    }
    Ok(())
}

#[test]
fn an_answer_that_ignores_a_policy_says_so_in_every_form() -> io::Result<()> {
    let text = format!("{REPOSITORY}{FOREIGN}");
    let ends = ["--from", "shop/web", "--to", "shop/db", "--port", "80"];
    let explain = |form| [&["explain", "-o", form], &ends[..]].concat();
    let lint = |form| vec!["lint", "--deny", "never", "-o", form];
    let commands: [Vec<&str>; 11] = [
        vec!["simulate", "-o", "table"],
        vec!["simulate", "-o", "json"],
        vec!["simulate", "-o", "yaml"],
        vec!["simulate", "-o", "junit"],
        vec!["simulate", "-o", "markdown"],
        vec!["graph", "-o", "dot"],
        vec!["graph", "-o", "mermaid"],
        explain("text"),
        explain("json"),
        lint("text"),
        lint("sarif"),
    ];
    for command in commands {
        let output = policyctl_on(&text, &command)?;
        assert_code(&output, 2);
        assert!(answer(&output).is_empty(), "{command:?}");
        assert!(printed(&output).contains("CiliumNetworkPolicy of cilium.io/v2 is not supported"));
        assert!(printed(&output).contains("note: --ignore-foreign answers without"));
        let output = policyctl_on(&text, &[&command[..], &["--ignore-foreign"]].concat())?;
        assert_code(&output, 0);
        let warning = "does not cover these policies: CiliumNetworkPolicy (-:";
        assert_answers(&output, &[warning]);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(stderr.contains(&format!("warning: the answer {warning}")), "{stderr}");
    }
    Ok(())
}

#[test]
fn a_comparison_says_which_policies_of_either_side_it_ignores() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("plain.yaml"), REPOSITORY)?;
    fs::write(path("cilium.yaml"), format!("{REPOSITORY}{FOREIGN}"))?;
    for form in ["text", "json"] {
        for (old, new) in [("cilium", "plain"), ("plain", "cilium"), ("cilium", "cilium")] {
            let sides = [path(&format!("{old}.yaml")), path(&format!("{new}.yaml"))];
            let mut command = policyctl(&["diff", "--ignore-foreign", "-o", form]);
            let output = command.args(["-f", &sides[0], "-f", &sides[1]]).output()?;
            assert_code(&output, 0);
            let found = answer(&output).matches("CiliumNetworkPolicy (").count();
            assert_eq!(found, 1, "{old} {new}: {}", printed(&output));
        }
    }
    Ok(())
}

#[test]
fn folders_are_read_with_what_else_lies_there() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().display().to_string();
    let files = [
        ("deploy/all.yaml", REPOSITORY),
        ("deploy/base/kustomization.yaml", "resources: []\n"),
        ("chart/Chart.yaml", "name: x\n"),
        ("chart/templates/p.yaml", "kind: NetworkPolicy\n{{ if x }}\n"),
        ("compose.yaml", "services: {}\n"),
        ("broken.yaml", "a: [\n"),
    ];
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap_or(&file))?;
        fs::write(file, text)?;
    }
    let output = policyctl(&["simulate", "-R", "-f", &path]).output()?;
    assert_code(&output, 0);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    for part in [
        format!("note: files without a Kubernetes object: {path}/compose.yaml\n"),
        format!("note: {path}/broken.yaml: passed over, as it cannot be read: "),
        format!("note: {path}/chart: the Helm chart is not read; --helm {path}/chart renders it\n"),
        format!("-k {path}/deploy/base renders it\n"),
    ] {
        assert!(stderr.contains(&part), "{part}: {stderr}");
    }
    fs::write(folder.path().join("broken.yaml"), "kind: NetworkPolicy\na: [\n")?;
    let output = policyctl(&["simulate", "-R", "-f", &path]).output()?;
    assert_code(&output, 2);
    assert!(printed(&output).contains("broken.yaml:2:4"), "{}", printed(&output));
    Ok(())
}

/// Puts a program into a folder, which prints the manifests and its arguments as a comment.
#[cfg(unix)]
fn stub(folder: &std::path::Path, name: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let text = format!("#!/bin/sh\necho \"# $*\"\n/bin/cat <<'END'\n{REPOSITORY}END\n");
    let path = folder.join(name);
    fs::write(&path, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
}

#[test]
fn charts_and_kustomizations_are_rendered_by_their_programs() -> io::Result<()> {
    #[rustfmt::skip]
    let cases: [(&str, &[&str], &str); 3] = [
        ("kubectl",   &["-k", "deploy"],                            "kubectl or kustomize"),
        ("kustomize", &["-k", "deploy"],                            "kubectl or kustomize"),
        ("helm",      &["--helm", "chart", "--values", "v.yaml"],   "helm"),
    ];
    for (program, options, programs) in cases {
        let folder = tempfile::tempdir()?;
        let run = || {
            let mut command = policyctl(&[&["simulate", "-o", "json"], options].concat());
            command.env("PATH", folder.path()).output()
        };
        let output = run()?;
        assert_code(&output, 2);
        let missing = format!("cannot render {}: install {programs}", options[1]);
        assert!(printed(&output).contains(&missing), "{}", printed(&output));
        stub(folder.path(), program)?;
        let output = run()?;
        assert_code(&output, 0);
        assert_answers(&output, &["\"from\": \"shop/web\""]);
        fs::write(folder.path().join(program), "#!/bin/sh\necho no such chart >&2\nexit 1\n")?;
        let output = run()?;
        assert_code(&output, 2);
        assert!(printed(&output).contains("no such chart"), "{}", printed(&output));
    }
    Ok(())
}

#[test]
fn pods_that_only_a_template_describes_are_compared() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("old.yaml"), REPOSITORY)?;
    fs::write(
        path("new.yaml"),
        REPOSITORY.replace("[{podSelector: {matchLabels: {app: web}}}]", "[]"),
    )?;
    let output = policyctl(&["diff", "-f", &path("old.yaml"), "-f", &path("new.yaml")]).output()?;
    assert_code(&output, 1);
    assert_answers(&output, &["opened shop/db -> shop/web IPv4, IPv6: all\n"]);
    assert!(!answer(&output).contains("web-2"), "{}", printed(&output));
    Ok(())
}
