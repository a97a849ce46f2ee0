//! `--run`: a command beside a standing lab.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{
    program::{assert_code, lab, lab_on, told},
    remains::until,
    sizes::cluster,
};

type Outcome = Result<(), Box<dyn Error>>;

const THREE_TIER: [&str; 2] = ["-f", "examples/three-tier.yaml"];

/// Runs a command in the lab of an example, with a folder of its own as `$OUT`.
fn run(command: &str, out: &Path) -> io::Result<std::process::Output> {
    lab(&THREE_TIER).args(["--run", command]).env("OUT", out).output()
}

#[test]
fn the_commands_exit_code_is_the_labs() -> io::Result<()> {
    for (command, code) in [("exit 7", 7), ("true", 0), ("kill -9 $$", 137)] {
        let output = lab_on(&cluster(2), &["--run", command])?;
        assert_code(&output, code);
        assert!(told(&output).contains("0 disagree"), "the table comes first");
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
    // Each node's own pods: two behind the one agent's pins, two behind the other's.
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

/// Without a terminal the lab hands the signal on; the command decides.
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

#[test]
fn a_killed_lab_takes_its_command_along() -> Outcome {
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
