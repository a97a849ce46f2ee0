//! What an answer is about: namespaces that options name, and folders that are read.

use std::{fs, io};

use crate::program::{assert_code, policyctl, policyctl_on, printed};

/// A namespace with pods, one that only a policy names, and an empty one.
const SPACES: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop}
spec: {containers: [{name: c, image: c, ports: [{containerPort: 80}]}]}
status: {podIPs: [{ip: 10.0.0.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop}
spec: {containers: [{name: c, image: c, ports: [{containerPort: 80}]}]}
status: {podIPs: [{ip: 10.0.0.2}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: ruled}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
---
apiVersion: v1
kind: Namespace
metadata: {name: deserted}
";

#[test]
fn a_namespace_that_nothing_names_is_bad_usage() -> io::Result<()> {
    #[rustfmt::skip]
    let cases = [
        ("with pods",      "shop",      0, ""),
        ("with a policy",  "ruled",     0, ""),
        ("empty",          "deserted",  0, ""),
        ("misspelt",       "shpo",      2, "there is no namespace shpo; did you mean shop?"),
        ("unknown",        "elsewhere", 2, "there is no namespace elsewhere\n"),
    ];
    for command in ["lint", "simulate", "graph"] {
        for (claim, namespace, code, part) in cases {
            let deny: &[&str] = if command == "lint" { &["--deny", "never"] } else { &[] };
            let output = policyctl_on(SPACES, &[&[command, "-n", namespace], deny].concat())?;
            println!("{command}: {claim}");
            assert_code(&output, code);
            assert!(printed(&output).contains(part), "{claim}: {}", printed(&output));
        }
    }
    let output = policyctl_on(SPACES, &["simulate", "-n", "deserted"])?;
    assert!(printed(&output).contains("namespace deserted has no pod"), "{}", printed(&output));
    Ok(())
}

#[test]
fn folders_of_a_folder_are_named_as_they_are_not_read() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().display().to_string();
    fs::write(folder.path().join("a.yaml"), SPACES)?;
    fs::create_dir(folder.path().join(".git"))?;
    let commands: [&[&str]; 4] = [
        &["lint", "--deny", "never", "-f", &path],
        &["simulate", "-f", &path],
        &["graph", "-f", &path],
        &["diff", "-f", &path, "-f", &path],
    ];
    for arguments in commands {
        let output = policyctl(arguments).output()?;
        assert_code(&output, 0);
        assert!(!printed(&output).contains("not read"), "{}", printed(&output));
    }
    for name in ["overlays", "base"] {
        fs::create_dir(folder.path().join(name))?;
    }
    let note = format!("note: {path}: folders in it are not read: base, overlays\n");
    for arguments in commands {
        let output = policyctl(arguments).output()?;
        assert_code(&output, 0);
        assert!(printed(&output).contains(&note), "{}", printed(&output));
    }
    // Where that is why there is nothing, the option is named that reads them.
    fs::remove_file(folder.path().join("a.yaml"))?;
    let output = policyctl(&["lint", "-f", &path]).output()?;
    assert_code(&output, 2);
    assert!(printed(&output).contains("-R reads them too"), "{}", printed(&output));
    Ok(())
}
