//! `policyctl test`.

use std::{fs, io, process::Output};

use serde_json::Value;

use crate::program::{answer, assert_answers, assert_code, policyctl, printed};

/// Three tiers in one namespace, and a namespace that nothing isolates; `backend` may leave the
/// cluster at TCP 443.
const MANIFESTS: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: frontend, namespace: shop}
spec: {replicas: 2, template: {metadata: {labels: {app: frontend}}, spec: {containers: []}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: backend, namespace: shop}
spec: {template: {metadata: {labels: {app: backend, tier: back}}, spec: {containers: [{name: c, ports: [{containerPort: 80}]}]}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec: {template: {metadata: {labels: {app: db, tier: back}}, spec: {containers: [{name: c, ports: [{containerPort: 5432}]}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: batch, namespace: jobs}
spec: {template: {metadata: {labels: {app: batch}}, spec: {containers: []}}}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {selector: {app: db}, ports: [{port: 5432}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: jobs, labels: {team: a}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress, Egress]
  ingress: [{from: [{podSelector: {matchLabels: {app: backend}}}], ports: [{port: 5432}]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: backend, namespace: shop}
spec:
  podSelector: {matchLabels: {app: backend}}
  policyTypes: [Ingress, Egress]
  ingress: [{from: [{podSelector: {matchLabels: {app: frontend}}}], ports: [{port: 80}]}]
  egress:
  - {to: [{podSelector: {matchLabels: {app: db}}}]}
  - {to: [{ipBlock: {cidr: 0.0.0.0/0, except: [169.254.0.0/16, 10.0.0.0/8]}}], ports: [{port: 443}]}
";

/// Runs the program on [`MANIFESTS`] and a file of tests.
fn run(tests: &str, arguments: &[&str]) -> io::Result<Output> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    fs::write(path("all.yaml"), MANIFESTS)?;
    fs::write(path("tests.yaml"), tests)?;
    let mut command = policyctl(&["test", "-f", "all.yaml", "tests.yaml"]);
    command.current_dir(folder.path()).args(arguments).output()
}

#[test]
fn s2_s3_cases_that_hold_pass() -> io::Result<()> {
    let sentences = [
        "frontend can reach backend on 80",
        "frontend can reach backend",
        "frontend cannot reach backend on 81, 80/UDP and ICMP",
        "nobody reaches db but backend",
        "nobody reaches svc/shop/db but backend on 5432",
        "nobody reaches deploy/backend on 80 but frontend",
        "backend can reach svc/db on 5432",
        "db reaches nobody",
        "db cannot reach the internet",
        "backend can reach the internet on 443",
        "backend cannot reach 169.254.169.254 on 443",
        "backend cannot reach 169.254.169.254/32",
        "backend cannot reach pods app=batch in jobs, namespace jobs and namespaces team=a",
        "pods app=frontend can reach namespaces team=a",
        "jobs/batch can reach frontend",
        "10.0.0.0/8 and frontend can reach batch on 1-65535, 1-65535/UDP and ICMP",
        "10.1.2.3 cannot reach pods tier=back",
    ];
    let listed: Vec<String> = sentences.iter().map(|one| format!("- {one}\n")).collect();
    let output = run(&format!("namespace: shop\ntests:\n{}", listed.concat()), &[])?;
    // `batch` is of another namespace.
    assert_code(&output, 2);
    assert!(printed(&output).contains("there is no batch; did you mean jobs/batch?"));
    let tests = listed.concat().replace("reach batch", "reach jobs/batch");
    let output = run(&format!("namespace: shop\ntests:\n{tests}"), &[])?;
    assert_code(&output, 0);
    assert_eq!(answer(&output).matches('✓').count(), listed.len(), "{}", printed(&output));
    assert_answers(&output, &["\n17 tests, 0 failed\n"]);
    Ok(())
}

#[test]
fn a_case_that_does_not_hold_names_the_policy_that_decides() -> io::Result<()> {
    let tests = "\
tests:
- frontend can reach backend on 80 and 81
- nobody reaches backend
- frontend reaches only backend on 8080
- name: jobs are shut
  from: [{podSelector: {matchLabels: {app: db}}}, frontend]
  to: {namespace: jobs}
  ports: [443, 53/UDP]
  expect: deny
- db can reach backend
- db cannot reach frontend
";
    let output = run(tests, &[])?;
    assert_code(&output, 1);
    assert_answers(
        &output,
        &[
            "✗ frontend can reach backend on 80 and 81 (tests.yaml:2:3)\n    \
             shop/frontend -> shop/backend IPv4, IPv6: deny TCP 81, expected allow; ingress: no rule of shop/backend\n",
            "✗ nobody reaches backend (tests.yaml:3:3)\n    \
             shop/frontend -> shop/backend IPv4, IPv6: allow TCP 80, expected deny; ingress: shop/backend rule 0\n",
            "shop/frontend -> jobs/batch IPv4, IPv6: allow TCP 8080, expected deny; no policy\n",
            "✗ jobs are shut (tests.yaml:5:3)\n    \
             shop/frontend -> jobs/batch IPv4, IPv6: allow TCP 443; UDP 53, expected deny; no policy\n",
            "shop/db -> shop/backend IPv4, IPv6: deny all, expected allow; egress: no rule of shop/db; ingress: no rule of shop/backend\n",
            "✓ db cannot reach frontend\n\n6 tests, 5 failed\n",
        ],
    );
    Ok(())
}

#[test]
fn nobody_but_means_that_those_may() -> io::Result<()> {
    let output = run("tests: [nobody reaches db but backend and frontend]\n", &[])?;
    assert_code(&output, 1);
    assert_answers(
        &output,
        &[
            "shop/frontend -> shop/db IPv4, IPv6: deny all, expected allow; ingress: no rule of shop/db",
        ],
    );
    Ok(())
}

#[test]
fn the_internet_is_reached_where_one_family_as_a_whole_is() -> io::Result<()> {
    let output = run(
        "tests: [backend can reach 2000::/3 on 443, backend cannot reach the internet]\n",
        &[],
    )?;
    assert_code(&output, 1);
    assert_answers(
        &output,
        &["shop/backend -> 2000::/3 IPv6: deny TCP 443", "\n2 tests, 2 failed\n"],
    );
    assert_answers(&output, &[" IPv4: allow TCP 443, expected deny; egress: shop/backend rule 1"]);
    Ok(())
}

#[test]
fn programs_get_the_same_report() -> io::Result<()> {
    let tests = "tests:\n- frontend can reach backend on 80\n- nobody reaches backend\n";
    let output = run(tests, &["-o", "json"])?;
    assert_code(&output, 1);
    let report: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!((&report["passed"], &report["failed"]), (&1.into(), &1.into()), "{report}");
    let case = &report["tests"][1];
    assert_eq!((&case["file"], &case["line"]), (&"tests.yaml".into(), &3.into()), "{report}");
    let failure = &case["failures"][0];
    let want = serde_json::json!({
        "from": "shop/frontend", "to": "shop/backend", "families": ["IPv4", "IPv6"],
        "ports": {"all": false, "other_protocols": false,
                  "ranges": [{"protocol": "TCP", "first": 80, "last": 80}]},
        "verdict": "allow", "expected": "deny", "decided_by": "ingress: shop/backend rule 0",
    });
    assert_eq!(failure, &want);
    assert_eq!(report["left_out"]["undefined_namespaces"], 1);
    let output = run(tests, &["-o", "junit"])?;
    assert_code(&output, 1);
    assert_answers(
        &output,
        &[
            "<testsuite name=\"tests.yaml\" tests=\"2\"",
            "failures=\"1\"",
            "<testcase name=\"nobody reaches backend\" classname=\"line 3\"",
        ],
    );
    Ok(())
}

#[test]
fn bad_input_names_file_line_and_case() -> io::Result<()> {
    #[rustfmt::skip]
    let cases = [
        ("tests:\n- frontend -> backend\n",             "tests.yaml:2:3", "write who can reach whom"),
        ("tests:\n- fronted can reach db\n",            "tests.yaml:2:3: test \"fronted can reach db\"", "there is no fronted; did you mean frontend?"),
        ("tests:\n- namespace job can reach frontend\n", "tests.yaml:2:3", "there is no namespace job; did you mean jobs?"),
        ("tests:\n- pods app=x can reach frontend\n",   "tests.yaml:2:3", "no pod that runs and has an address matches pods app=x"),
        ("tests:\n- svc/db can reach frontend\n",       "tests.yaml:2:3", "svc/db is a Service, which opens no connections"),
        ("tests:\n- {from: frontend, to: db}\n",        "tests.yaml:2:3", "expect is missing"),
        ("tests:\n- {from: frontend, to: db, expect: maybe}\n", "tests.yaml:2:", "allow, deny, only-from, only-to"),
        ("tests:\n- {from: {namspc: jobs}, to: db, expect: deny}\n", "tests.yaml:2:", "unknown field \"namspc\""),
        ("cases: []\n",                                 "tests.yaml:1:1", "tests is missing"),
    ];
    for (tests, place, message) in cases {
        let output = run(tests, &[])?;
        assert_code(&output, 2);
        let printed = printed(&output);
        assert!(printed.contains(place) && printed.contains(message), "{message}: {printed}");
        assert!(answer(&output).is_empty());
    }
    Ok(())
}
