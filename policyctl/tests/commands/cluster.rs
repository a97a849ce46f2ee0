//! Without `-f` the commands read the cluster of the kubeconfig; here a server plays its part.

mod foreign;

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    net::TcpListener,
    process::Output,
    thread,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{answer, assert_answers, assert_code, policyctl, policyctl_on, printed};

/// Answers to requests for a path with its query: status and body.
type Answers = fn(&str) -> (u16, Value);

fn pod(namespace: &str, name: &str, address: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}, "managedFields": [{"manager": "x"}]},
        "spec": {"containers": [{"name": "c", "image": "c", "ports": [{"containerPort": 80}]}]},
        "status": {"phase": "Running", "podIPs": [{"ip": address}]},
    })
}

fn pods() -> [Value; 3] {
    [pod("a", "web", "10.0.0.1"), pod("a", "db", "10.0.0.2"), pod("b", "batch", "10.0.0.3")]
}

fn policies() -> Vec<Value> {
    vec![json!({
        "metadata": {"name": "db", "namespace": "a"},
        "spec": {"podSelector": {"matchLabels": {"app": "db"}}, "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "none"}}}]}]},
    })]
}

fn list(items: &[Value], next: &str) -> (u16, Value) {
    (
        200,
        json!({"kind": "SomeList", "apiVersion": "v1", "metadata": {"continue": next}, "items": items}),
    )
}

fn refusal(code: u16) -> (u16, Value) {
    let message = "somebody may not";
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message, "reason": "x"}),
    )
}

/// The API groups that discovery lists.
fn groups(names: &[&str]) -> (u16, Value) {
    let group = |name: &&str| {
        let version = json!({"groupVersion": format!("{name}/v1alpha2"), "version": "v1alpha2"});
        json!({"name": name, "versions": [version], "preferredVersion": version})
    };
    let groups: Vec<Value> = names.iter().map(group).collect();
    (200, json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
}

/// The resources of the group of cluster-wide policies.
fn resources() -> (u16, Value) {
    let resource = json!({
        "name": "clusternetworkpolicies", "singularName": "", "namespaced": false,
        "kind": "ClusterNetworkPolicy", "verbs": ["list", "watch"],
    });
    let version = "policy.networking.k8s.io/v1alpha2";
    let resources = json!([resource]);
    (
        200,
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}),
    )
}

/// A cluster whose pods come in two pages, without cluster-wide policies.
fn paged(path: &str) -> (u16, Value) {
    match path {
        "/apis" => groups(&["networking.k8s.io"]),
        "/api/v1/pods?limit=500" => list(&pods()[..2], "more"),
        "/api/v1/pods?limit=500&continue=more" => list(&pods()[2..], ""),
        _ if path.starts_with("/apis/networking.k8s.io/v1/networkpolicies") => {
            list(&policies(), "")
        }
        _ if path.contains("clusternetworkpolicies") => refusal(404),
        _ => list(&[], ""),
    }
}

/// One that forgets where a list was.
fn forgetful(path: &str) -> (u16, Value) {
    match path {
        "/api/v1/pods?limit=500&continue=more" => refusal(410),
        "/api/v1/pods?" => list(&pods(), ""),
        _ => paged(path),
    }
}

/// A cluster, as the kubeconfig of a folder names it.
struct Fake {
    folder: TempDir,
}

impl Fake {
    /// Serves until the test ends.
    fn serve(answers: Answers) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || {
                    let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                    let request = lines.next().unwrap_or_default();
                    // A request ends with an empty line; these have no body.
                    lines.take_while(|line| !line.is_empty()).for_each(drop);
                    let path = request.split(' ').nth(1).unwrap_or_default();
                    let (code, body) = answers(&path.replace("?&", "?"));
                    let body = body.to_string();
                    let _ = write!(
                        &stream,
                        "HTTP/1.1 {code} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                        body.len()
                    );
                });
            }
        });
        Self::at(&format!("http://127.0.0.1:{port}"))
    }

    /// A kubeconfig for a server.
    fn at(server: &str) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "dev",
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "dev", "context": {"cluster": "c", "user": "u", "namespace": "b"}}],
        });
        fs::write(folder.path().join("config"), config.to_string())?;
        Ok(Self { folder })
    }

    /// Runs the program on it.
    fn run(&self, arguments: &[&str]) -> io::Result<Output> {
        let mut command = policyctl(arguments);
        command.env("KUBECONFIG", self.folder.path().join("config")).output()
    }
}

#[test]
fn a_cluster_gives_what_its_dump_gives() -> io::Result<()> {
    let list = |kind: &str, version: &str, items: &[Value]| {
        json!({"kind": kind, "apiVersion": version, "items": items}).to_string()
    };
    let dump = list("PodList", "v1", &pods())
        + "\n---\n"
        + &list("NetworkPolicyList", "networking.k8s.io/v1", &policies());
    let of_dump = policyctl_on(&dump, &["simulate", "-o", "json"])?;
    for answers in [paged, forgetful] {
        let of_cluster = Fake::serve(answers)?.run(&["simulate", "-A", "-o", "json"])?;
        assert_code(&of_cluster, 0);
        assert_eq!(answer(&of_cluster), answer(&of_dump), "{}", printed(&of_cluster));
        assert_answers(&of_cluster, &["\"from\": \"b/batch\""]);
    }
    Ok(())
}

#[test]
fn answers_are_about_a_namespace_or_all() -> io::Result<()> {
    let cluster = Fake::serve(paged)?;
    #[rustfmt::skip]
    let cases: [(&str, &[&str], usize); 4] = [
        ("every pair",                            &["-A"],               24),
        ("the context's namespace",               &[],                   16),
        ("another one",                           &["-n", "a"],          24),
        ("an end that an option names",             &["--from", "a/web"],  8),
    ];
    for (claim, options, want) in cases {
        let output = cluster.run(&[&["simulate", "-o", "json"], options].concat())?;
        assert_code(&output, 0);
        let table: Value = serde_json::from_slice(&output.stdout)?;
        assert_eq!(
            table["probes"].as_array().map(Vec::len),
            Some(want),
            "{claim}: {}",
            printed(&output)
        );
    }
    let output = cluster.run(&["simulate", "-n", "c"])?;
    assert_code(&output, 2);
    assert!(printed(&output).contains("there is no namespace c"), "{}", printed(&output));
    let output =
        cluster.run(&["explain", "-n", "a", "--from", "web", "--to", "db", "--port", "80"])?;
    assert_answers(&output, &["a/web -> a/db 80/TCP IPv4: deny"]);
    let output = cluster.run(&["explain", "--from", "batch", "--to", "a/db", "--port", "80"])?;
    assert_answers(&output, &["b/batch -> a/db 80/TCP IPv4: deny"]);
    let ends = |options: &[&str]| -> io::Result<Vec<(String, String)>> {
        let output = cluster.run(&[&["graph", "-o", "json"], options].concat())?;
        let picture: Value = serde_json::from_slice(&output.stdout)?;
        let edges = picture["edges"].as_array().cloned().unwrap_or_default();
        let end = |edge: &Value, name: &str| edge[name].as_str().unwrap_or_default().to_owned();
        Ok(edges.iter().map(|edge| (end(edge, "from"), end(edge, "to"))).collect())
    };
    let named = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect()
    };
    let (db, web, batch) = ("a/db", "a/web", "b/batch");
    assert_eq!(ends(&[])?, named(&[(db, batch), (web, batch), (batch, web)]));
    assert_eq!(ends(&["-A"])?, named(&[(db, web), (db, batch), (web, batch), (batch, web)]));
    Ok(())
}

#[test]
fn one_set_of_manifests_is_compared_with_the_cluster_that_it_would_change() -> io::Result<()> {
    const POLICY: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: NAME, namespace: a}
spec: {podSelector: {matchLabels: {app: APP}}, ingress: [RULES]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: a, labels: {app: elsewhere}}
spec: {containers: [{name: c, image: c}]}
";
    let cluster = Fake::serve(paged)?;
    #[rustfmt::skip]
    let cases = [
        // claim                        name   app    rules                  exit  printed
        ("one that is there, wider",    "db",  "db",  "{ports: [{port: 80}]}", 1, "opened 0.0.0.0/0, a/web, b/batch -> a/db IPv4: TCP 80\n"),
        ("one beside",                  "web", "web", "",                      0, " b/batch -> a/web IPv4: all\n"),
        ("one that changes nothing",    "two", "db",  "",                      0, "0 opened, 0 closed"),
    ];
    for (claim, name, app, rules, code, part) in cases {
        let text = POLICY.replace("NAME", name).replace("APP", app).replace("RULES", rules);
        let path = cluster.folder.path().join("new.yaml");
        fs::write(&path, text)?;
        let output = cluster.run(&["diff", "-f", &path.display().to_string()])?;
        assert_code(&output, code);
        assert!(printed(&output).contains(part), "{claim}: {}", printed(&output));
        assert!(printed(&output).contains("Pods of the manifests are ignored"), "{claim}");
    }
    Ok(())
}

#[test]
fn findings_name_the_cluster_instead_of_a_line() -> io::Result<()> {
    let cluster = Fake::serve(paged)?;
    let output = cluster.run(&["lint", "-A"])?;
    assert_code(&output, 1);
    assert_answers(
        &output,
        &["cluster dev: warning[NP002]: NetworkPolicy a/db: spec.ingress[0].from[0]"],
    );
    let output = cluster.run(&["lint"])?;
    assert_code(&output, 0);
    assert!(!answer(&output).contains("a/db"), "{}", printed(&output));
    let output = cluster.run(&["lint", "-A", "-o", "json"])?;
    let document: Value = serde_json::from_slice(&output.stdout)?;
    let named = |one: &&Value| one["code"] == "NP002";
    let finding = document["findings"].as_array().into_iter().flatten().find(named);
    let finding = finding.cloned().unwrap_or_default();
    assert_eq!((&finding["place"], &finding["cluster"]), (&Value::Null, &"cluster dev".into()));
    let output = cluster.run(&["lint", "-A", "-o", "sarif"])?;
    assert_answers(&output, &["\"fullyQualifiedName\": \"NetworkPolicy a/db\""]);
    Ok(())
}

#[test]
fn what_the_server_refuses_is_the_environments_fault() -> io::Result<()> {
    #[rustfmt::skip]
    let cases: [(&str, Answers, &str); 4] = [
        ("a missing right",     |path| if path.contains("slices") { refusal(403) } else { paged(path) }, "apiGroups: [\"discovery.k8s.io\"], resources: [endpointslices], verbs: [list]"),
        ("an unknown user",     |_| refusal(401),                                                        "does not accept the credentials"),
        ("a kind that is gone", |path| if path.contains("/pods") { refusal(404) } else { paged(path) },  "GET /api/v1/pods is answered by 404: somebody may not"),
        ("another's answer",    |_| (200, json!({"hello": "world"})),                                     "the response to GET /api/v1/namespaces is not a list"),
    ];
    for (claim, answers, part) in cases {
        let output = Fake::serve(answers)?.run(&["simulate"])?;
        assert_code(&output, 3);
        assert!(printed(&output).contains(part), "{claim}: {}", printed(&output));
    }
    // Nobody listens at a port that was just given back.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let server = format!("http://127.0.0.1:{port}");
    let output = Fake::at(&server)?.run(&["lint"])?;
    assert_code(&output, 3);
    assert!(printed(&output).contains(&format!("cannot reach the API server {server}")));
    Ok(())
}

#[test]
fn cluster_wide_policies_are_absent_only_where_discovery_says_so() -> io::Result<()> {
    #[rustfmt::skip]
    let cases: [(&str, Answers, i32, &str); 5] = [
        ("forbidden and not installed", |path| if path.contains("clusternetwork") { refusal(403) } else { paged(path) }, 0, ""),
        ("not found, and discovery fails", |path| if path == "/apis" { refusal(500) } else { paged(path) },
         3, "does not report whether they exist"),
        ("not found, by a proxy that answers discovery too", |path| if path == "/apis" { groups(&[]) } else { paged(path) },
         3, "is not from an API server"),
        ("not found, though installed", |path| with_cluster_policies(path, 404), 3, "is answered by 404"),
        ("installed and forbidden", |path| with_cluster_policies(path, 403), 3, "resources: [clusternetworkpolicies], verbs: [list]"),
    ];
    for (claim, answers, code, part) in cases {
        let output = Fake::serve(answers)?.run(&["simulate", "-A"])?;
        assert_code(&output, code);
        assert!(printed(&output).contains(part), "{claim}: {}", printed(&output));
    }
    Ok(())
}

/// A cluster that has cluster-wide policies, and refuses to list them.
fn with_cluster_policies(path: &str, code: u16) -> (u16, Value) {
    match path {
        "/apis" => groups(&["networking.k8s.io", "policy.networking.k8s.io"]),
        "/apis/policy.networking.k8s.io/v1alpha2" => resources(),
        _ if path.contains("clusternetworkpolicies") => refusal(code),
        _ => paged(path),
    }
}

#[test]
fn a_kubeconfig_that_does_not_do_is_bad_input() -> io::Result<()> {
    let cluster = Fake::serve(paged)?;
    #[rustfmt::skip]
    let cases: [(&str, &[&str], &str); 3] = [
        ("no such context",   &["simulate", "--context", "prod"],                              "has no context prod; it has dev"),
        ("no such file",      &["simulate", "--kubeconfig", "/nowhere"],                       "cannot use the kubeconfig"),
        ("files and cluster", &["lint", "-f", "examples/tiers.yaml", "--context", "dev"],      "cannot be used with"),
    ];
    for (claim, arguments, part) in cases {
        let output = cluster.run(arguments)?;
        assert_code(&output, 2);
        assert!(printed(&output).contains(part), "{claim}: {}", printed(&output));
    }
    let home = tempfile::tempdir()?;
    let mut nowhere = policyctl(&["simulate"]);
    let output = nowhere.env_remove("KUBECONFIG").env("HOME", home.path()).output()?;
    assert_code(&output, 2);
    assert!(printed(&output).contains("there is no kubeconfig"), "{}", printed(&output));
    Ok(())
}
