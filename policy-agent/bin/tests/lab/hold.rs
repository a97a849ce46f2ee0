//! `--hold`: a lab follows its files.

use std::{
    error::Error,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    program::{Outcome, lab},
    remains::until,
};

const PODS: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: ns, labels: {app: a}}
spec: {containers: [{name: c, image: c}]}
status: {podIPs: [{ip: 10.0.0.5}]}
---
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: ns, labels: {app: b}}
spec: {containers: [{name: c, image: c, ports: [{containerPort: 80}]}]}
status: {podIPs: [{ip: 10.0.0.6}]}
";

const DENY: &str = "---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: ns}
spec: {podSelector: {matchLabels: {app: b}}, ingress: [{from: [{podSelector: {matchLabels: {role: friend}}}]}]}
";

const SERVICE: &str = "---
apiVersion: v1
kind: Service
metadata: {name: late, namespace: ns}
spec: {clusterIP: 10.96.0.9, clusterIPs: [10.96.0.9], ports: [{port: 8000, targetPort: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: late, namespace: ns, labels: {kubernetes.io/service-name: late}}
addressType: IPv4
ports: [{port: 80, protocol: TCP}]
endpoints: [{addresses: [10.0.0.6], conditions: {ready: true}}]
";

/// A held lab; its output goes to files.
struct Held {
    child: Child,
    folder: tempfile::TempDir,
}

impl Held {
    fn start(text: &str, arguments: &[&str]) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("cluster.yaml");
        fs::write(&file, text)?;
        let mut command = lab(&["-f"]);
        command.arg(&file).args(arguments).stdin(Stdio::null());
        command.stdout(File::create(folder.path().join("out"))?);
        command.stderr(File::create(folder.path().join("err"))?);
        Ok(Self { child: command.spawn()?, folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn printed(&self, name: &str) -> io::Result<String> {
        fs::read_to_string(self.path(name))
    }

    /// Waits until `number` tables are printed, and returns the last one.
    fn table(&mut self, number: usize) -> io::Result<String> {
        const END: &str = " disagree\n";
        let (out, err) = (self.path("out"), self.path("err"));
        until(&format!("table {number}"), || {
            if let Some(status) = self.child.try_wait()? {
                let stderr = fs::read_to_string(&err)?;
                return Err(io::Error::other(format!("it ended early: {status}\n{stderr}")));
            }
            Ok(fs::read_to_string(&out)?.matches(END).count() >= number)
        })?;
        let text = self.printed("out")?;
        Ok(text.split(END).nth(number - 1).unwrap_or_default().to_owned())
    }

    fn wait_for(&self, line: &str) -> io::Result<()> {
        until(line, || Ok(self.printed("err")?.contains(line)))
    }

    /// Waits until the last line of the output contains `what`.
    fn wait_for_table(&self, what: &str) -> io::Result<()> {
        until(what, || {
            let text = self.printed("out")?;
            Ok(text.lines().last().is_some_and(|line| line.contains(what)))
        })
    }

    /// Sends a signal and returns the exit code.
    fn end(mut self, signal: Signal) -> Result<Option<i32>, Box<dyn Error>> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?;
        Ok(self.child.wait()?.code())
    }
}

/// Ends the lab after a failed test too.
impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Replaces a file as editors do: by renaming a new file.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(new, path)
}

#[test]
fn policies_labels_and_services_are_followed_and_broken_files_are_not() -> Outcome {
    let ends = ["--hold", "--from", "ns/a", "--to", "ns/b"];
    let mut held = Held::start(PODS, &ends)?;
    let file = held.path("cluster.yaml");
    assert!(held.table(1)?.contains("1 allowed"), "policies may be absent at first");

    fs::write(&file, format!("{PODS}{DENY}"))?;
    let table = held.table(2)?;
    assert!(table.contains("1 denied"), "a policy is added: {table}");

    fs::write(&file, format!("{PODS}{DENY}  oops: ["))?;
    held.wait_for("cluster.yaml:")?;
    replace(
        &file,
        &format!("{}{DENY}{SERVICE}", PODS.replace("app: a}", "app: a, role: friend}")),
    )?;
    assert!(held.table(3)?.contains("1 allowed"), "a label counts, after a broken file");

    fs::write(&file, format!("{PODS}{SERVICE}"))?;
    assert!(held.table(4)?.contains("1 allowed"), "the policy is gone");
    assert_eq!(held.end(Signal::SIGINT)?, Some(0));
    Ok(())
}

#[test]
fn labels_of_nodes_are_followed_and_a_missing_node_is_noted() -> Outcome {
    let node = "---
apiVersion: v1
kind: Node
metadata: {name: far, labels: {zone: a}}
status: {addresses: [{type: InternalIP, address: 192.168.9.9}]}
";
    let policy = "---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: zone}
spec:
  tier: Admin
  priority: 1
  subject: {namespaces: {}}
  egress:
  - {action: Deny, to: [{nodes: {matchLabels: {zone: b}}}]}
";
    let text = format!("{PODS}{node}{policy}");
    let ends = ["--hold", "--from", "ns/a", "--to", "192.168.9.9", "--port", "80"];
    let mut held = Held::start(&text, &ends)?;
    let file = held.path("cluster.yaml");
    assert!(held.table(1)?.contains("1 allowed"));
    replace(&file, &text.replace("zone: a", "zone: b"))?;
    assert!(held.table(2)?.contains("1 denied"), "the label counts");
    replace(&file, &format!("{PODS}{policy}"))?;
    assert!(held.table(3)?.contains("1 denied"), "the node stays as it was");
    held.wait_for("not followed: node/far is gone")?;
    assert_eq!(held.end(Signal::SIGINT)?, Some(0));
    Ok(())
}

#[test]
fn a_held_lab_may_start_without_probes() -> Outcome {
    let silent = PODS.replace(", ports: [{containerPort: 80}]", "");
    let held = Held::start(&silent, &["--hold"])?;
    let file = held.path("cluster.yaml");
    held.wait_for("the lab runs")?;
    replace(&file, PODS)?;
    held.wait_for_table("1 allowed")?;
    replace(&file, &silent)?;
    held.wait_for_table("0 allowed")?;
    assert_eq!(held.end(Signal::SIGINT)?, Some(0));
    Ok(())
}

#[test]
fn a_file_that_is_truncated_before_it_is_written_is_no_change() -> Outcome {
    let folder = tempfile::tempdir()?;
    let expect = folder.path().join("x.expect.yaml");
    let expectation = "expect: [{from: ns/a, to: ns/b, port: 80/TCP, verdict: deny}]";
    fs::write(&expect, expectation)?;
    let path = expect.display().to_string();
    let text = format!("{PODS}{DENY}");
    let mut held = Held::start(&text, &["--hold", "--expect", &path])?;
    let file = held.path("cluster.yaml");
    held.table(1)?;
    fs::write(&file, "")?;
    held.wait_for("cluster.yaml is empty")?;
    fs::write(&expect, "")?;
    fs::write(&file, PODS)?;
    held.wait_for("x.expect.yaml is empty")?;
    fs::write(&expect, expectation)?;
    let table = held.table(2)?;
    assert!(table.contains("ns/b 80/TCP IPv4: allow, expected deny"), "{table}");
    assert_eq!(held.end(Signal::SIGINT)?, Some(1), "the last table has a finding");
    Ok(())
}

#[test]
fn a_service_that_is_added_later_is_translated_and_new_ports_are_served() -> Outcome {
    let mut held = Held::start(PODS, &["--hold"])?;
    let file = held.path("cluster.yaml");
    held.table(1)?;
    fs::write(&file, format!("{PODS}{SERVICE}").replace("containerPort: 80", "containerPort: 81"))?;
    assert!(held.table(2)?.contains("ns/b"), "the new port is probed");
    drop(held);

    let folder = tempfile::tempdir()?;
    let expect = folder.path().join("x.expect.yaml");
    fs::write(&expect, "")?;
    let path = expect.display().to_string();
    let mut held = Held::start(PODS, &["--hold", "--expect", &path])?;
    let file = held.path("cluster.yaml");
    held.table(1)?;
    fs::write(&file, format!("{PODS}{SERVICE}"))?;
    held.table(2)?;
    fs::write(
        &expect,
        "expect: [{from: ns/a, to: service/ns/late, port: 8000/TCP, verdict: deny}]",
    )?;
    let table = held.table(3)?;
    assert!(table.contains("service/ns/late 8000/TCP IPv4: allow, expected deny"), "{table}");
    assert_eq!(held.end(Signal::SIGINT)?, Some(1), "the last table has a finding");
    Ok(())
}

#[test]
fn machines_are_not_followed_and_a_note_says_so() -> Outcome {
    let mut held = Held::start(PODS, &["--hold"])?;
    let file = held.path("cluster.yaml");
    held.table(1)?;
    let third = "---
apiVersion: v1
kind: Pod
metadata: {name: third, namespace: ns}
status: {podIPs: [{ip: 10.0.0.7}]}
";
    fs::write(&file, format!("{}{third}", PODS.replace("10.0.0.5", "10.0.0.8")))?;
    assert!(held.table(2)?.contains("1 allowed"));
    held.wait_for("not followed: ns/third is new")?;
    held.wait_for("not followed: ns/a has other addresses")?;
    assert_eq!(held.end(Signal::SIGTERM)?, Some(143));
    Ok(())
}

/// The command sees the change on the wire.
#[test]
fn changes_are_in_force_while_a_command_runs() -> Outcome {
    let command = r#"netns=$(grep '"netns"' "$LAB" | grep -o '/proc/[0-9]*/fd/[0-9]*' | sed -n 2p)
        reached() { timeout 1 nsenter --net="$netns" bash -c ': < /dev/tcp/10.0.0.6/80'; }
        reached || exit 9
        for try in $(seq 100); do reached || exit 42; sleep 0.1; done"#;
    let mut held = Held::start(PODS, &["--run", command])?;
    let file = held.path("cluster.yaml");
    held.table(1)?;
    fs::write(&file, format!("{PODS}{DENY}"))?;
    held.wait_for("the change of the files is in force")?;
    assert_eq!(held.child.wait()?.code(), Some(42));
    Ok(())
}

#[test]
fn two_held_labs_follow_their_own_files() -> Outcome {
    let mut first = Held::start(PODS, &["--hold"])?;
    let mut second = Held::start(&format!("{PODS}{DENY}"), &["--hold", "--topology", "bridge"])?;
    assert!(first.table(1)?.contains("1 allowed"));
    assert!(second.table(1)?.contains("1 denied"));
    fs::write(second.path("cluster.yaml"), PODS)?;
    assert!(second.table(2)?.contains("1 allowed"));
    fs::write(first.path("cluster.yaml"), format!("{PODS}{DENY}"))?;
    assert!(first.table(2)?.contains("1 denied"));
    let printed = second.printed("out")?;
    assert_eq!(second.end(Signal::SIGINT)?, Some(0));
    assert_eq!(printed.matches("1 allowed").count(), 1, "{printed}");
    assert_eq!(first.end(Signal::SIGINT)?, Some(0));
    Ok(())
}
