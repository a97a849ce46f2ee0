//! Requests at the socket of the chained plugin, and who may send them (S47).

use std::{
    fs::{self, Permissions},
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream, process::CommandExt as _},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    cni::{added, born, chained},
    machine::{LIMIT, Machine, arrives, until},
    manifests::DENY,
    runtime::{Runtime, plugin},
};

/// Sends a line to the agent; its response.
fn send(runtime: &Runtime, line: &str) -> Result<String> {
    let mut stream = UnixStream::connect(runtime.socket())?;
    stream.write_all(line.as_bytes())?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    Ok(said)
}

/// Runs STATUS of the plugin as a user.
fn status(runtime: &Runtime, uid: u32) -> Result<Output> {
    let mut command = Command::new(runtime.bin_dir().join("policy-cni"));
    command.env("CNI_COMMAND", "STATUS").uid(uid).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let socket = runtime.socket();
    let text = format!("{{\"cniVersion\": \"1.1.0\", \"socket\": \"{}\"}}", socket.display());
    child.stdin.take().context("no input")?.write_all(text.as_bytes())?;
    Ok(child.wait_with_output()?)
}

#[test]
fn only_root_may_connect_and_hostile_clients_delay_no_pod() -> Result<()> {
    let machine = Machine::new()?;
    let runtime = Runtime::new(&machine)?;
    machine.write("pod.yaml", &born())?;
    machine.write("policy.yaml", DENY)?;
    let _agent = chained(&runtime, &machine, &[])?;
    let socket = runtime.socket();
    let mode = |path| Ok::<_, anyhow::Error>(fs::metadata(path)?.permissions().mode() & 0o777);
    assert_eq!(
        (mode(&socket)?, mode(&socket.parent().context("a folder")?.to_owned())?),
        (0o600, 0o700)
    );

    // Connections that send nothing, never end their line, or break the protocol.
    let silent: Vec<UnixStream> =
        (0..300).map(|_| UnixStream::connect(&socket)).collect::<std::io::Result<_>>()?;
    let mut endless = UnixStream::connect(&socket)?;
    let _ = endless.write_all(&vec![b'x'; 1 << 20]);
    for text in
        ["\n", "{}\n", "[[[[\n", "{\"ask\":\"enforce\"}\n", "\u{0}\u{ff}\n", "{\"ask\":\"sing\"}\n"]
    {
        let said = send(&runtime, text)?;
        ensure!(said.contains("cannot decode the request"), "{text:?}: {said:?}");
    }
    // A client that never reads its response.
    let mut slow = UnixStream::connect(&socket)?;
    slow.write_all(b"{\"ask\":\"status\"}\n")?;
    let start = Instant::now();
    let result = added(&runtime, &machine.pod)?;
    println!("among them an ADD took {:?}", start.elapsed());
    ensure!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    runtime.delete(&machine.pod, Some(&result))?;
    drop((silent, endless, slow));

    // Even if the socket is opened to all users.
    let program = runtime.bin_dir().join("policy-cni");
    ensure!(program.exists() && plugin()?.exists());
    let folders = [socket.parent(), socket.parent().and_then(std::path::Path::parent)];
    for folder in folders.into_iter().flatten() {
        fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    }
    fs::set_permissions(&socket, Permissions::from_mode(0o666))?;
    ensure!(status(&runtime, 0)?.status.success(), "root is answered");
    ensure!(!status(&runtime, 65534)?.status.success(), "nobody is answered");
    until("it is logged", LIMIT, || Ok(machine.said("stderr").contains("only root may connect")))?;
    Ok(())
}

#[test]
fn s47_a_pod_with_two_addresses_of_one_family_starts() -> Result<()> {
    let machine = Machine::new()?;
    let runtime = Runtime::new(&machine)?;
    machine.write("pod.yaml", &born())?;
    machine.write("policy.yaml", DENY)?;
    let second = "}], [{\"subnet\": \"10.0.9.0/24\"}]],";
    let text = runtime.configuration("1.0.0").replace("}]],", second);
    ensure!(text.contains(second), "{text}");
    fs::write(runtime.conflist(), text)?;
    let _agent = chained(&runtime, &machine, &[])?;
    let result = added(&runtime, &machine.pod)?;
    assert_eq!(result["ips"].as_array().map(Vec::len), Some(2), "{result}");
    ensure!(!arrives(&machine, 5001)?, "the first packet of a container passed");
    ensure!(runtime.check(&machine.pod, &result)?.is_ok(), "it is as it should be");
    runtime.delete(&machine.pod, Some(&result))
}

#[test]
fn s47_an_additional_network_is_not_waited_for_and_gives_the_pod_no_address() -> Result<()> {
    let machine = Machine::new()?;
    let runtime = Runtime::new(&machine)?;
    machine.write("pod.yaml", &born())?;
    machine.write("policy.yaml", DENY)?;
    let _agent = chained(&runtime, &machine, &[])?;
    let result = added(&runtime, &machine.pod)?;
    let start = Instant::now();
    let said = send(
        &runtime,
        "{\"ask\": \"enforce\", \"namespace\": \"default\", \"name\": \"pod\", \"container\": \"c1\", \
         \"netns\": \"/x\", \"interface\": \"net1\", \"addresses\": [\"192.0.2.1\"], \"patience\": 9000}\n",
    )?;
    ensure!(said.contains("enforced") && start.elapsed() < Duration::from_secs(3), "{said}");
    // Longer than changes are batched.
    thread::sleep(Duration::from_millis(300));
    ensure!(runtime.check(&machine.pod, &result)?.is_ok(), "eth0 has the pod's address");
    ensure!(!arrives(&machine, 5001)?, "the pod is open");
    runtime.delete(&machine.pod, Some(&result))
}

#[test]
fn status_is_ready_once_the_cluster_is_known_and_enforced() -> Result<()> {
    let machine = Machine::new()?;
    let runtime = Runtime::new(&machine)?;
    machine.write("pod.yaml", &born())?;
    // A manifest that is still to be written.
    machine.write("policy.yaml", "")?;
    let _agent = chained(&runtime, &machine, &[])?;
    let early = status(&runtime, 0)?;
    let said = String::from_utf8_lossy(&early.stdout).into_owned();
    ensure!(!early.status.success(), "ready before anything is known");
    let error: serde_json::Value = serde_json::from_str(&said)?;
    assert_eq!(error["code"], 50, "{said}");
    ensure!(said.contains("not listed yet"), "{said}");
    machine.write("policy.yaml", DENY)?;
    until("it is ready", LIMIT, || Ok(status(&runtime, 0)?.status.success()))?;
    Ok(())
}

#[test]
fn two_agents_never_serve_one_socket_and_the_second_waits_for_one_that_ends() -> Result<()> {
    let machine = Machine::new()?;
    let runtime = Runtime::new(&machine)?;
    machine.write("pod.yaml", &born())?;
    machine.write("policy.yaml", DENY)?;
    let first = chained(&runtime, &machine, &[])?;
    until("it is ready", LIMIT, || Ok(status(&runtime, 0)?.status.success()))?;
    let socket = format!("--cni-socket={}", runtime.socket().display());
    let elsewhere = machine.pins().with_file_name("elsewhere");
    let second = || machine.agent_at(&elsewhere, &[&socket]);
    assert_eq!(second()?.ended_within(LIMIT)?.code(), Some(3));
    let said = machine.said("stderr");
    ensure!(said.contains(&format!("another agent has {}", runtime.socket().display())), "{said}");
    ensure!(status(&runtime, 0)?.status.success(), "the first answers no more");
    ensure!(!machine.inside(|| Ok(elsewhere.exists()))?, "the second left something");

    let second = second()?;
    thread::sleep(Duration::from_secs(1));
    ensure!(first.terminate()?.success());
    until("the second answers", LIMIT, || Ok(status(&runtime, 0)?.status.success()))?;
    ensure!(second.terminate()?.success());
    Ok(())
}
