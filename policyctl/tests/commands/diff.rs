//! `policyctl diff`.

use std::{fs, io, process::Output};

use serde_json::Value;

use crate::program::{answer, assert_answers, assert_code, policyctl, printed};

const PODS: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: ns, labels: {app: a}}
spec: {containers: [{name: c, image: c}]}
status: {podIPs: [{ip: 10.0.0.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: ns, labels: {app: b}}
spec: {containers: [{name: c, image: c, ports: [{containerPort: 80}]}]}
status: {podIPs: [{ip: 10.0.0.2}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: ns}
spec: {podSelector: {matchLabels: {app: b}}, policyTypes: [Ingress], ingress: [RULES]}
";

/// Writes the manifests of two sides; their folder goes away with the first value.
fn written(old: &str, new: &str) -> io::Result<(tempfile::TempDir, [String; 2])> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).map(|()| path.display().to_string())
    };
    let paths = [path("old.yaml", old)?, path("new.yaml", new)?];
    Ok((folder, paths))
}

/// Compares two lists of rules.
fn diff(old: &str, new: &str, arguments: &[&str]) -> io::Result<Output> {
    let with = |rules: &str| PODS.replace("RULES", rules);
    let (_folder, [old, new]) = written(&with(old), &with(new))?;
    policyctl(&["diff", "--old", &old, "--new", &new]).args(arguments).output()
}

#[test]
fn what_opens_and_closes_is_printed_and_sets_the_exit_code() -> io::Result<()> {
    const A80: &str = "{from: [{podSelector: {matchLabels: {app: a}}}], ports: [{port: 80}]}";
    const A8080: &str = "{from: [{podSelector: {matchLabels: {app: a}}}], ports: [{port: 8080}]}";
    const WORLD: &str = "{from: [{ipBlock: {cidr: 203.0.113.0/24}}], ports: [{port: 80}]}";
    const MIDDLE: &str =
        "{from: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.0/26, 203.0.113.192/26]}}]}";
    const HIGH: &str = "{ports: [{port: 1000, endPort: 65535}]}";
    const TWO: &str = "{ports: [{protocol: TCP}, {protocol: UDP}]}";
    #[rustfmt::skip]
    let cases = [
        // claim                             old  new     exit  printed
        ("nothing changes",                  A80, A80,    0, "0 opened, 0 closed"),
        ("a pair opens",                     "",  A80,    1, "opened ns/a -> ns/b IPv4: TCP 80\n"),
        ("a pair closes",                    A80, "",     0, "closed ns/a -> ns/b IPv4: TCP 80\n"),
        ("a port that nobody declares",      "",  A8080,  1, "opened ns/a -> ns/b IPv4: TCP 8080\n"),
        ("one opens while another closes",   A80, A8080,  1, "closed ns/a -> ns/b IPv4: TCP 80\n"),
        ("addresses outside",                "",  WORLD,  1, "opened 203.0.113.0/24 -> ns/b IPv4: TCP 80\n"),
        ("every port",                       A80, "{}",   1, "ns/a -> ns/b IPv4: TCP 1-79, 81-65535; UDP; SCTP; other protocols\n"),
        ("what excepts leave of a block",    "",  MIDDLE, 1, "opened 203.0.113.0/24 except 203.0.113.0/26, 203.0.113.192/26 -> ns/b IPv4: all\n"),
        ("around a block",                   WORLD, "{}", 1, "any other IPv4 address, ns/a -> ns/b IPv4: all\n"),
        ("ports below a range to the end",   HIGH, "{}",  1, "ns/a -> ns/b IPv4: TCP 1-999; UDP; SCTP; other protocols\n"),
        ("every protocol",                   TWO, "{}",   1, "ns/a -> ns/b IPv4: SCTP; other protocols\n"),
    ];
    for (claim, old, new, code, part) in cases {
        println!("{claim}");
        let output = diff(old, new, &[])?;
        assert_code(&output, code);
        assert_answers(&output, &[part]);
    }
    let output = diff("", A80, &[])?;
    assert_answers(
        &output,
        &["was deny by ingress: no rule of ns/p", "now allow by ingress: ns/p rule 0"],
    );
    Ok(())
}

#[test]
fn json_has_both_rows() -> io::Result<()> {
    let output = diff("", "{ports: [{port: 80}], from: [{podSelector: {}}]}", &["-o", "json"])?;
    assert_code(&output, 1);
    let found: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(found["opened"].as_array().map(Vec::len), Some(1), "{}", printed(&output));
    assert_eq!(found["opened"][0]["old"]["verdict"], "deny");
    assert_eq!(found["opened"][0]["new"]["by"]["ingress"][0]["rule"], 0);
    Ok(())
}

#[test]
fn two_sets_are_needed() -> io::Result<()> {
    let one = ["diff", "-f", "examples/deny-nodes.yaml"];
    let output = policyctl(&one).args([&one[1..], &one[1..]].concat()).output()?;
    assert_code(&output, 2);
    assert!(printed(&output).contains("-f OLD -f NEW"), "{}", printed(&output));
    assert_code(&policyctl(&["diff"]).output()?, 2);
    // Beside the policy that it adds, the second file is the first one.
    let output = policyctl(&one).args(["-f", "examples/deny-nodes-allow-api.yaml"]).output()?;
    assert_code(&output, 1);
    assert_answers(
        &output,
        &["opened netpol-test/alpine -> service/default/kubernetes IPv4: TCP 443\n"],
    );
    assert!(!answer(&output).contains("10250"), "{}", printed(&output));
    Ok(())
}

#[test]
fn what_cannot_be_compared_is_no_change() -> io::Result<()> {
    let policies = PODS.split("---\n").last().unwrap_or_default();
    // An API server has stored these pods, and gives them addresses later.
    let waiting = PODS
        .replace("metadata: {name: ", "metadata: {uid: u, name: ")
        .replace("status: {podIPs: [{ip: 10.0.0.1}]}\n", "")
        .replace("status: {podIPs: [{ip: 10.0.0.2}]}\n", "");
    for text in [policies, &waiting] {
        let (_folder, [old, new]) =
            written(&text.replace("RULES", ""), &text.replace("RULES", "{}"))?;
        let output = policyctl(&["diff", "-f", &old, "-f", &new]).output()?;
        assert_code(&output, 2);
        assert!(printed(&output).contains("nothing can be compared"), "{}", printed(&output));
    }
    Ok(())
}

#[test]
fn a_reader_that_has_read_enough_changes_no_exit_code() -> io::Result<()> {
    let (_folder, [old, new]) = written(&PODS.replace("RULES", ""), &PODS.replace("RULES", "{}"))?;
    for (arguments, code) in [
        (vec!["diff", "-f", &old, "-f", &new], 1),
        (vec!["diff", "-f", &old, "-f", &new, "-o", "json"], 1),
        (vec!["diff", "-f", &old, "-f", "nowhere"], 2),
    ] {
        // Both readers are gone before the program begins to write.
        let closed = || Ok::<_, io::Error>(std::process::Stdio::from(io::pipe()?.1));
        let mut command = policyctl(&arguments);
        let status = command.stdout(closed()?).stderr(closed()?).status()?;
        assert_eq!(status.code(), Some(code), "{arguments:?}");
    }
    Ok(())
}

#[test]
fn s37_a_pod_of_the_host_does_not_stand_for_its_node() -> io::Result<()> {
    const NODE: &str = "---\napiVersion: v1\nkind: Node\nmetadata: {name: n1}\nstatus: {addresses: [{type: InternalIP, address: 192.0.2.1}]}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: h, namespace: ns}\nspec: {nodeName: n1, hostNetwork: true, containers: [{name: c, image: c}]}\nstatus: {hostIP: 192.0.2.1, podIPs: [{ip: 192.0.2.1}]}\n";
    let with = |rules: &str| {
        let on_node = PODS.replace("RULES", rules).replace(
            "spec: {containers: [{name: c, image: c, p",
            "spec: {nodeName: n1, containers: [{name: c, image: c, p",
        );
        on_node + NODE
    };
    let (_folder, [old, new]) =
        written(&with(""), &with("{from: [{ipBlock: {cidr: 192.0.2.1/32}}]}"))?;
    let output = policyctl(&["diff", "-f", &old, "-f", &new]).output()?;
    assert_code(&output, 1);
    assert_answers(&output, &["opened 192.0.2.1/32 -> ns/b IPv4: all\n"]);
    Ok(())
}

#[test]
fn services_are_compared_at_their_ports() -> io::Result<()> {
    const SERVICE: &str = "---\napiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: ns}\nspec: {clusterIP: 10.96.0.1, selector: {app: b}, ports: [{port: 8000, targetPort: 80}]}\n";
    const EGRESS: &str = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: e, namespace: ns}\nspec: {podSelector: {matchLabels: {app: a}}, policyTypes: [Egress], egress: [TO]}\n";
    const OPEN: &str = "{to: [{podSelector: {matchLabels: {app: b}}}], ports: [{port: 80}]}";
    let all =
        |rules: &str, to: &str| PODS.replace("RULES", rules) + SERVICE + &EGRESS.replace("TO", to);
    #[rustfmt::skip]
    let cases = [
        ("by ingress of a backend",  all("", OPEN),    all("{}", OPEN),    "opened ns/a -> service/ns/s IPv4: TCP 8000\n"),
        ("by egress to it",          all("{}", ""),    all("{}", OPEN),    "opened ns/a -> service/ns/s IPv4: TCP 8000\n"),
        ("shut again",               all("{}", OPEN),  all("{}", ""),      "closed ns/a -> service/ns/s IPv4: TCP 8000\n"),
    ];
    for (claim, old, new, part) in cases {
        println!("{claim}");
        let (_folder, [old, new]) = written(&old, &new)?;
        let output = policyctl(&["diff", "--old", &old, "--new", &new]).output()?;
        assert_answers(&output, &[part]);
    }
    Ok(())
}

#[test]
fn what_tiers_and_nodes_name_is_compared_too() -> io::Result<()> {
    const NODE: &str = "---\napiVersion: v1\nkind: Node\nmetadata: {name: n1}\nstatus: {addresses: [{type: InternalIP, address: 192.0.2.1}]}\n";
    const TO_NODE: &str = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: e, namespace: ns}\nspec: {podSelector: {}, policyTypes: [Egress], egress: [TO]}\n";
    let tier = |rule: &str| {
        format!(
            "---\napiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\n\
             metadata: {{name: t}}\nspec: {{tier: Admin, priority: 1, subject: {{namespaces: {{}}}}, \
             egress: [{rule}]}}\n"
        )
    };
    let port = tier(
        "{action: Deny, to: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {number: 9999}}}]}",
    );
    let network = tier("{action: Deny, to: [{networks: [203.0.113.0/24]}]}");
    let nodes = tier("{action: Deny, to: [{nodes: {}}]}");
    let api = |rule: &str| TO_NODE.replace("TO", rule);
    #[rustfmt::skip]
    let cases = [
        ("a port of a tier",      port,    String::new(), "opened ns/a -> ns/b IPv4: TCP 9999\n"),
        ("a network of a tier",   network, String::new(), "ns/a, ns/b -> 203.0.113.0/24 IPv4: all\n"),
        ("nodes of a tier",       nodes,   String::new(), "ns/a, ns/b -> 192.0.2.1/32 IPv4: all\n"),
        ("a node by its address", api(""), api("{to: [{ipBlock: {cidr: 192.0.2.1/32}}]}"), "ns/a, ns/b -> 192.0.2.1/32 IPv4: all\n"),
    ];
    for (claim, old, new, part) in cases {
        println!("{claim}");
        let with = |text: &str| PODS.replace("RULES", "{}") + NODE + text;
        let (_folder, [old, new]) = written(&with(&old), &with(&new))?;
        let output = policyctl(&["diff", "-f", &old, "-f", &new]).output()?;
        assert_code(&output, 1);
        assert_answers(&output, &[part]);
    }
    Ok(())
}

#[test]
fn every_form_has_the_same_changes() -> io::Result<()> {
    let output = diff("", "{ports: [{port: 80}]}", &["-o", "markdown"])?;
    assert_code(&output, 1);
    #[rustfmt::skip]
    assert_answers(&output, &[
        "**2 opened, 0 closed**\n",
        "| **opened** | 0.0.0.0/0, ns/a | ns/b | IPv4 | TCP 80 | ingress: no rule of ns/p | ingress: ns/p rule 0 |\n",
    ]);
    let output = diff("", "{ports: [{port: 80}]}", &["-o", "sarif"])?;
    let log: Value = serde_json::from_slice(&output.stdout)?;
    let results = &log["runs"][0]["results"];
    assert_eq!(results[0]["ruleId"], "connection-opened", "{}", printed(&output));
    // The rule that allows it.
    let place = &results[0]["locations"][0]["physicalLocation"]["region"];
    assert_eq!((&place["startLine"], &place["startColumn"]), (&16.into(), &80.into()));
    let output = diff("", "{ports: [{port: 80}]}", &["-o", "json"])?;
    let found: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(found["changes"][1]["ports"]["ranges"][0]["last"], 80, "{}", printed(&output));
    Ok(())
}

#[test]
fn pods_of_a_workload_that_differ_do_not_hide_one_another() -> io::Result<()> {
    const TWO: &str = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: c, namespace: ns, labels: {app: a, role: second}, ownerReferences: [OWNER]}\nspec: {containers: [{name: c, image: c}]}\nstatus: {podIPs: [{ip: 10.0.0.3}]}\n";
    const OWNER: &str =
        "{apiVersion: apps/v1, kind: StatefulSet, name: set, uid: u, controller: true}";
    let with = |role: &str| {
        let rule = format!(
            "{{from: [{{podSelector: {{matchLabels: {{role: {role}}}}}}}], ports: [{{port: 80}}]}}"
        );
        let first = "name: a, namespace: ns, labels: {app: a}";
        let owned = format!(
            "name: a, namespace: ns, labels: {{app: a, role: first}}, ownerReferences: [{OWNER}]"
        );
        PODS.replace("RULES", &rule).replace(first, &owned) + &TWO.replace("OWNER", OWNER)
    };
    let (_folder, [old, new]) = written(&with("first"), &with("second"))?;
    let output = policyctl(&["diff", "-f", &old, "-f", &new]).output()?;
    assert_code(&output, 1);
    #[rustfmt::skip]
    assert_answers(&output, &[
        "opened ns/set -> ns/b IPv4: TCP 80 [some pods only]\n",
        "closed ns/set -> ns/b IPv4: TCP 80 [some pods only]\n",
        "1 opened, 1 closed\n",
    ]);
    Ok(())
}

#[test]
fn revisions_of_a_repository_are_compared() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let deploy = folder.path().join("deploy/policies");
    fs::create_dir_all(&deploy)?;
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
        let mut command = std::process::Command::new("git");
        let output = command.args(identity).args(arguments).current_dir(folder.path()).output()?;
        assert!(output.status.success(), "{}", printed(&output));
        Ok::<_, io::Error>(())
    };
    let write = |rules: &str| fs::write(deploy.join("all.yaml"), PODS.replace("RULES", rules));
    git(&["init", "-q", "-b", "main"])?;
    write("")?;
    git(&["add", "."])?;
    git(&["commit", "-qm", "one"])?;
    write("{ports: [{port: 80}]}")?;
    git(&["commit", "-qam", "two"])?;
    write("{ports: [{port: 80}, {port: 81}]}")?;
    let diff = |arguments: &[&str]| {
        let mut command = policyctl(&["diff", "-R"]);
        command.args(arguments).current_dir(folder.path()).output()
    };
    #[rustfmt::skip]
    let cases = [
        ("two revisions",                 vec!["--git", "main~1..main", "deploy/"],      1, "ns/a -> ns/b IPv4: TCP 80\n"),
        ("a revision and the files",      vec!["--git", "main", "deploy/"],              1, "ns/a -> ns/b IPv4: TCP 81\n"),
        ("files by -f",                   vec!["--git", "main", "-f", "deploy/"],        1, "ns/a -> ns/b IPv4: TCP 81\n"),
        ("a revision and itself",         vec!["--git", "main..main", "deploy/"],        0, "0 opened, 0 closed"),
        ("the way back",                  vec!["--git", "main..main~1", "deploy/"],      0, "ns/a -> ns/b IPv4: TCP 80\n"),
        ("this folder, without a path",   vec!["--git", "main~1..main"],                 1, "ns/a -> ns/b IPv4: TCP 80\n"),
    ];
    for (claim, arguments, code, part) in cases {
        println!("{claim}");
        let output = diff(&arguments)?;
        assert_code(&output, code);
        assert_answers(&output, &[part]);
    }
    for (arguments, message) in [
        (["--git", "nowhere..main", "deploy/"], "there is no revision nowhere here"),
        (["--git", "a...b", "deploy/"], "write OLD..NEW"),
    ] {
        let output = diff(&arguments)?;
        assert_code(&output, 2);
        assert!(printed(&output).contains(message), "{}", printed(&output));
    }
    Ok(())
}
