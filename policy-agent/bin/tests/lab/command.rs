//! `--run`: a command runs while the lab does.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use procfs::process::Process;
use serde_json::Value;

use crate::{
    program::{Outcome, all_output, assert_code, lab, lab_on},
    remains::until,
    sizes::cluster,
};

const THREE_TIER: [&str; 2] = ["-f", "examples/three-tier.yaml"];

/// Runs a command in the lab of an example; `$OUT` is a folder for its output.
fn run(command: &str, out: &Path) -> io::Result<std::process::Output> {
    lab(&THREE_TIER).args(["--run", command]).env("OUT", out).output()
}

#[test]
fn the_commands_exit_code_is_the_labs() -> io::Result<()> {
    for (command, code) in [("exit 7", 7), ("true", 0), ("kill -9 $$", 137)] {
        let output = lab_on(&cluster(2), &["--run", command])?;
        assert_code(&output, code);
        assert!(all_output(&output).contains("0 disagree"), "the table comes first");
    }
    Ok(())
}

#[test]
fn the_command_finds_every_machine_by_the_file() -> Outcome {
    let out = tempfile::tempdir()?;
    let command = r#"cp "$LAB" "$OUT/lab.json"; printf %s "$LAB" > "$OUT/path"
        for netns in $(grep '"netns"' "$LAB" | grep -o '/proc/[0-9]*/fd/[0-9]*'); do
            echo "$netns"; nsenter --net="$netns" ip -o addr show || exit 9
        done > "$OUT/seen"
        for pins in $(grep '"pins"' "$LAB" | grep -o '/proc/[0-9]*/fd/[0-9]*'); do
            bpftool --json map dump pinned "$pins/maps/endpoints" || exit 9
        done > "$OUT/endpoints""#;
    let output = run(command, out.path())?;
    assert_code(&output, 0);
    let lab: Value = serde_json::from_str(&fs::read_to_string(out.path().join("lab.json"))?)?;
    let seen = fs::read_to_string(out.path().join("seen"))?;
    let within = |netns: &Value, what: &str| {
        let blocks = seen.split("/proc/").filter(|block| {
            netns.as_str().and_then(|path| path.strip_prefix("/proc/")) == block.lines().next()
        });
        blocks.into_iter().any(|block| block.contains(what))
    };

    let named = |kind: &str| -> Vec<&str> {
        let all = lab[kind].as_array().map(Vec::as_slice).unwrap_or_default();
        all.iter().filter_map(|machine| machine["name"].as_str()).collect()
    };
    assert_eq!(named("nodes"), ["node-a", "node-b"]);
    assert_eq!(named("pods"), ["api", "mysql", "web", "stranger"]);
    assert_eq!(named("hosts"), ["metadata"]);
    for (kind, index) in [("nodes", 0), ("pods", 0), ("hosts", 0)] {
        let machine = &lab[kind][index];
        let address = machine["addresses"][0].as_str().unwrap_or_default();
        assert!(within(&machine["netns"], &format!(" {address}/")), "{machine}\n{seen}");
    }
    let pod = &lab["pods"][0];
    assert_eq!((&pod["namespace"], &pod["node"]), (&"backend".into(), &"node-a".into()));
    let node = &lab["nodes"][0];
    // Each agent has its own pins, with the two pods of its node.
    let endpoints = fs::read_to_string(out.path().join("endpoints"))?;
    let endpoints: Vec<Value> =
        serde_json::Deserializer::from_str(&endpoints).into_iter().collect::<Result<_, _>>()?;
    let count = |found: &Value| found.as_array().map(Vec::len);
    assert_eq!(endpoints.iter().map(count).collect::<Vec<_>>(), [Some(2), Some(2)]);
    assert_ne!(node["pins"], lab["nodes"][1]["pins"]);
    let interface = pod["interface"].as_str().unwrap_or_default();
    assert!(within(&pod["netns"], &format!(": {interface} ")), "{pod}\n{seen}");
    let peer = pod["peer"].as_str().unwrap_or_default();
    assert!(within(&node["netns"], &format!(": {peer} ")), "{pod}\n{seen}");

    let path = PathBuf::from(fs::read_to_string(out.path().join("path"))?);
    assert!(!path.exists(), "{} is still there", path.display());
    Ok(())
}

/// With JSON on standard output, the output of the command does not mix with it.
#[test]
fn machine_readable_output_is_not_mixed_with_the_commands() -> io::Result<()> {
    let output = lab_on(&cluster(2), &["-o", "json", "--run", "echo noise; echo more >&2"])?;
    assert_code(&output, 0);
    let table: Value = serde_json::from_slice(&output.stdout)?;
    assert!(table["probes"].is_array(), "{}", all_output(&output));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("noise") && errors.contains("more"), "{errors}");
    // A table is for people, and so is the output of the command.
    let output = lab_on(&cluster(2), &["--run", "echo noise"])?;
    assert!(String::from_utf8_lossy(&output.stdout).contains("noise"), "{}", all_output(&output));
    Ok(())
}

#[test]
fn a_command_runs_without_probes() -> io::Result<()> {
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: ns}, \
               status: {podIPs: [{ip: 10.0.0.5}]}}";
    for (options, code) in [(&["--run", "exit 7"][..], 7), (&[], 2)] {
        assert_code(&lab_on(pod, options)?, code);
    }
    let json = lab_on(pod, &["-o", "json", "--run", "true"])?;
    assert_code(&json, 0);
    let table: Value = serde_json::from_slice(&json.stdout)?;
    assert_eq!(table["probes"].as_array().map(Vec::len), Some(0));
    Ok(())
}

#[test]
fn a_pod_with_the_network_of_its_node_is_listed_with_it() -> Outcome {
    let text = "\
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: ns}
spec: {nodeName: one, containers: [{name: c, image: c, ports: [{containerPort: 80}]}]}
status: {podIPs: [{ip: 10.0.0.5}]}
---
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: ns}
spec: {nodeName: one, hostNetwork: true, containers: [{name: c, image: c}]}
status: {podIPs: [{ip: 192.168.0.1}]}
---
apiVersion: v1
kind: Node
metadata: {name: one}
status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}
";
    let output = lab_on(text, &["-o", "json", "--run", r#"cat "$LAB" >&2; echo END >&2"#])?;
    assert_code(&output, 0);
    let errors = String::from_utf8_lossy(&output.stderr);
    let (begin, end) = (errors.find('{').ok_or("no file")?, errors.find("END").ok_or("no end")?);
    let lab: Value = serde_json::from_str(&errors[begin..end])?;
    let (on_node, own) = (&lab["pods"][0], &lab["pods"][1]);
    assert_eq!((&on_node["name"], &own["name"]), (&"a".into(), &"b".into()), "{lab}");
    let keys = |pod: &Value| pod.as_object().map(|pod| pod.keys().cloned().collect::<Vec<_>>());
    assert_eq!(keys(on_node), keys(own));
    assert_eq!(on_node["netns"], lab["nodes"][0]["netns"]);
    assert_eq!(on_node["node"], "one");
    assert_eq!((&on_node["interface"], &on_node["peer"]), (&"eth0".into(), &"eth0".into()));
    assert_eq!(on_node["addresses"], serde_json::json!(["192.168.0.1"]));
    Ok(())
}

#[test]
fn policies_are_in_force_while_the_command_runs() -> Outcome {
    let out = tempfile::tempdir()?;
    // The first pod is backend/api, which may send to database/mysql at 3306 and not at 22.
    let command = r#"netns=$(grep '"netns"' "$LAB" | grep -o '/proc/[0-9]*/fd/[0-9]*' | sed -n 3p)
        reached() { timeout 1 nsenter --net="$netns" bash -c ": < /dev/tcp/10.244.1.10/$1"; }
        reached 3306 || exit 8
        reached 22 && exit 9
        exit 0"#;
    assert_code(&run(command, out.path())?, 0);
    Ok(())
}

/// Without a terminal the lab forwards the signal, and the command decides the exit code.
#[test]
fn an_interrupt_reaches_the_command() -> Outcome {
    for (signal, name) in [(Signal::SIGINT, "INT"), (Signal::SIGTERM, "TERM")] {
        let out = tempfile::tempdir()?;
        let ready = out.path().join("ready");
        let command = format!(
            "trap 'exit 42' {name}; touch {}; while :; do sleep 0.1; done",
            ready.display()
        );
        let mut child = lab(&THREE_TIER)
            .args(["--run", &command])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        until("the command runs", || Ok(ready.exists()))?;
        kill(Pid::from_raw(i32::try_from(child.id())?), signal)?;
        let mut status = None;
        let ended = until("the lab has ended", || {
            status = child.try_wait()?;
            Ok(status.is_some())
        });
        child.kill()?;
        ended?;
        assert_eq!(status.and_then(|status| status.code()), Some(42));
    }
    Ok(())
}

/// Starts a lab with a command that starts a process in a pod's namespace; returns that process.
fn with_grandchild(out: &Path) -> Result<(Child, Pid), Box<dyn Error>> {
    let file = out.join("pid");
    let command = format!(
        r#"netns=$(grep '"netns"' "$LAB" | grep -o '/proc/[0-9]*/fd/[0-9]*' | sed -n 3p)
        nsenter --net="$netns" sleep 600 & echo $! > {0}.new; mv {0}.new {0}; wait"#,
        file.display()
    );
    let mut lab = lab(&THREE_TIER);
    let child =
        lab.args(["--run", &command]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    until("the command runs", || Ok(file.exists()))?;
    Ok((child, Pid::from_raw(fs::read_to_string(&file)?.trim().parse()?)))
}

/// Whether a process runs, and is not a zombie.
fn runs(pid: Pid) -> bool {
    let stat = Process::new(pid.as_raw()).and_then(|process| process.stat());
    stat.is_ok_and(|stat| !matches!(stat.state, 'Z' | 'X'))
}

#[test]
fn a_lab_ends_what_a_killed_lab_left_running_and_nothing_else() -> Outcome {
    let (first, second) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (mut killed, orphan) = with_grandchild(first.path())?;
    let (mut lives, beside) = with_grandchild(second.path())?;
    killed.kill()?;
    killed.wait()?;
    assert!(runs(orphan), "the orphan survives its lab");
    let next = lab_on(&cluster(2), &[]);
    let (left, spared) = (runs(orphan), runs(beside));
    for pid in [orphan, beside] {
        let _ = kill(pid, Signal::SIGKILL);
    }
    lives.kill()?;
    lives.wait()?;
    let next = next?;
    assert_code(&next, 0);
    assert!(!left, "{}", all_output(&next));
    assert!(spared, "a process of a running lab: {}", all_output(&next));
    assert!(
        all_output(&next).contains("that killed labs had left running"),
        "{}",
        all_output(&next)
    );
    Ok(())
}

#[test]
fn the_command_ends_with_a_killed_lab() -> Outcome {
    let out = tempfile::tempdir()?;
    let ready = out.path().join("pid");
    let command = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600", ready.display());
    let mut child = lab(&THREE_TIER).args(["--run", &command]).stdout(Stdio::null()).spawn()?;
    until("the command runs", || Ok(ready.exists()))?;
    let pid: i32 = fs::read_to_string(&ready)?.trim().parse()?;
    child.kill()?;
    child.wait()?;
    until("the command is gone", || Ok(kill(Pid::from_raw(pid), None).is_err()))?;
    Ok(())
}
