//! Other processes of the node cannot keep the agent from enforcing, or from answering root.

use std::{
    fs::{self, Permissions},
    io::Read,
    net::{TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    http::{ask, status},
    machine::{LIMIT, Machine, arrives, until},
    manifests::{DENY, POD},
};

const ADDRESS: &str = "127.0.0.1:9100";
const NOBODY: u32 = 65534;
/// More than the agent serves at a time.
const SILENT: usize = 200;

/// Where the tests' agents have their socket.
fn socket(machine: &Machine) -> PathBuf {
    machine.manifests().with_file_name("status.sock")
}

/// Exit code and output of `policy-agent status` at a socket.
fn at_socket(machine: &Machine, socket: &Path, options: &[&str]) -> Result<(Option<i32>, String)> {
    let socket = format!("--socket={}", socket.display());
    status(machine, &[&[&*socket], options].concat())
}

#[test]
fn an_address_that_another_process_has_is_tried_again_while_policies_are_enforced() -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    machine.write("pod.yaml", POD)?;
    machine.write("policy.yaml", DENY)?;
    let taken = machine.node.run(async || Ok(TcpListener::bind(ADDRESS)?))?;
    let socket = socket(&machine);
    let option = format!("--status-socket={}", socket.display());
    let agent = machine.agent(&["--listen", ADDRESS, &option])?;
    let ready = || at_socket(&machine, &socket, &["--check=ready"]);
    until("it is ready", LIMIT, || Ok(ready()?.0 == Some(0)))?;
    ensure!(!arrives(&machine, 5000)?, "the policy is enforced");
    let message = "cannot listen at 127.0.0.1:9100, policies are enforced without it";
    assert_eq!(machine.said("stderr").matches(message).count(), 1, "it is logged once");
    drop(taken);
    until("it answers", LIMIT, || Ok(ask(&machine, "/healthz").is_ok()))?;
    ensure!(agent.terminate()?.success());
    let (code, said) = at_socket(&machine, &socket, &["--check=alive"])?;
    assert_eq!(code, Some(3), "{said}");
    Ok(())
}

#[test]
fn connections_that_send_nothing_are_few_and_end_and_delay_no_answer_at_the_socket() -> Result<()> {
    let machine = Machine::new()?;
    machine.write("pod.yaml", POD)?;
    let socket = socket(&machine);
    let option = format!("--status-socket={}", socket.display());
    let agent = machine.agent(&["--listen", ADDRESS, &option])?;
    until("it is ready", LIMIT, || Ok(machine.is_ready()))?;
    let open =
        |agent| Ok::<usize, anyhow::Error>(fs::read_dir(format!("/proc/{agent}/fd"))?.count());
    let before = open(agent.pid())?;
    let mut silent = machine.node.run(async || {
        let connect = |_| {
            let connection = TcpStream::connect(ADDRESS)?;
            connection.set_read_timeout(Some(LIMIT))?;
            Ok(connection)
        };
        (0..SILENT).map(connect).collect::<Result<Vec<TcpStream>>>()
    })?;
    let (code, said) = at_socket(&machine, &socket, &["--check=alive"])?;
    assert_eq!((code, &*said), (Some(0), ""));
    let more = open(agent.pid())?.saturating_sub(before);
    ensure!(more < SILENT / 2, "{more} connections are open");
    let first = silent.first_mut().context("none")?;
    assert_eq!(first.read(&mut [0])?, 0, "the agent closes it");
    drop(silent);
    until("it answers", LIMIT, || Ok(ask(&machine, "/healthz").is_ok()))?;
    Ok(())
}

#[test]
fn only_root_gets_an_answer_at_the_socket() -> Result<()> {
    let machine = Machine::new()?;
    machine.write("pod.yaml", POD)?;
    let folder = machine.manifests().with_file_name("run");
    let socket = folder.join("status.sock");
    let _agent = machine.agent(&[&format!("--status-socket={}", socket.display())])?;
    until("it is ready", LIMIT, || {
        Ok(at_socket(&machine, &socket, &["--check=ready"])?.0 == Some(0))
    })?;
    let mode =
        |path: &Path| Ok::<u32, anyhow::Error>(fs::metadata(path)?.permissions().mode() & 0o777);
    assert_eq!((mode(&folder)?, mode(&socket)?), (0o700, 0o600));
    // Also where the modes were changed.
    let parent = folder.parent().context("no parent")?;
    for path in [parent, &folder, &socket] {
        fs::set_permissions(path, Permissions::from_mode(0o777))?;
    }
    let program = parent.join("policy-agent");
    fs::copy(env!("CARGO_BIN_EXE_policy-agent"), &program)?;
    let said = machine.inside(|| {
        let mut status = Command::new(&program);
        status.args(["status", "--socket"]).arg(&socket).uid(NOBODY).gid(NOBODY);
        Ok(status.output()?)
    })?;
    assert_eq!(said.status.code(), Some(3), "{said:?}");
    until("it is logged", LIMIT, || {
        Ok(machine.said("stderr").contains("only root may connect to the status socket"))
    })?;
    Ok(())
}

#[test]
fn the_agent_may_open_as_many_descriptors_as_its_hard_limit_allows() -> Result<()> {
    let machine = Machine::new()?;
    machine.write("pod.yaml", POD)?;
    let starter = ["prlimit", "--nofile=256:3000"].map(str::to_owned);
    let agent = machine.agent_by(&starter, &["--listen", ADDRESS])?;
    until("it is ready", LIMIT, || Ok(machine.is_ready()))?;
    let limits = fs::read_to_string(format!("/proc/{}/limits", agent.pid()))?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let numbers: Vec<&str> = line.unwrap_or_default().split_whitespace().skip(3).collect();
    assert_eq!(numbers, ["3000", "3000", "files"], "{limits}");
    Ok(())
}
