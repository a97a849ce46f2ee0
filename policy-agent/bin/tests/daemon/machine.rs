//! A node with a pod and a host outside, and the agent as a process in the node.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use policy_agent::net::build::NetBuilder;
use tempfile::TempDir;

use crate::namespace::{Namespace, add_addresses, end};

/// How long anything may take: a loaded or emulated machine starts a process and parses the kernel's types
/// slowly.
pub(crate) const LIMIT: Duration = Duration::from_mins(3);

/// How long a datagram may take to arrive; a packet that is dropped costs a test this time.
///
/// A loaded machine runs the receiving side of a veth late: 50 ms were too few.
pub(crate) const ARRIVAL: Duration = Duration::from_millis(500);

/// The pod's address.
pub(crate) const POD: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// The host outside.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);

/// Namespaces, a folder of manifests and a bpffs of their own.
pub(crate) struct Machine {
    pub(crate) node: Namespace,
    pub(crate) pod: Namespace,
    pub(crate) host: Namespace,
    /// Mount namespace in which `pins` is a bpffs; it goes with this.
    mounts: File,
    folder: TempDir,
}

impl Machine {
    /// A node that routes between the host outside and the pod, which is not there yet.
    pub(crate) fn new() -> Result<Self> {
        let (node, pod, host) = (Namespace::new()?, Namespace::new()?, Namespace::new()?);
        let at_host = ["10.1.0.2/24", "fd00:1::2/64"];
        node.join(&end(20, "uplink"), &host, &end(2, "eth0"), &at_host)?;
        node.run(async || {
            fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
            fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1")?;
            add_addresses(&NetBuilder::open()?, 20, &["10.1.0.1/24", "fd00:1::1/64"]).await
        })?;
        let routes = [("10.0.0.0/16", "10.1.0.1"), ("fd00::/32", "fd00:1::1")];
        host.run(async || add_routes(&routes).await)?;
        let folder = tempfile::tempdir()?;
        for name in ["manifests", "bpf"] {
            fs::create_dir(folder.path().join(name))?;
        }
        let mounts = private_bpffs(&folder.path().join("bpf"))?;
        Ok(Self { node, pod, host, mounts, folder })
    }

    /// The pod's link comes up.
    pub(crate) fn plug(&self) -> Result<()> {
        self.plug_another(&self.pod, 0)
    }

    /// The link of pod `10.0.N.2`, `fd00:0:N::2`, comes up.
    pub(crate) fn plug_another(&self, pod: &Namespace, number: u8) -> Result<()> {
        let (index, name) = (10 + u32::from(number), format!("veth{number}"));
        let address =
            |last| [format!("10.0.{number}.{last}"), format!("fd00:0:{number:x}::{last}")];
        let with_prefix = |[four, six]: &[String; 2]| [format!("{four}/24"), format!("{six}/64")];
        let (gateway, own) = (address(1), address(2));
        let [four, six] = with_prefix(&own);
        self.node.join(&end(index, &name), pod, &end(2, "eth0"), &[&four, &six])?;
        let [four, six] = with_prefix(&gateway);
        self.node.run(async || add_addresses(&NetBuilder::open()?, index, &[&four, &six]).await)?;
        let routes = [("0.0.0.0/0", &*gateway[0]), ("::/0", &*gateway[1])];
        pod.run(async || add_routes(&routes).await)
    }

    /// Has the node track connections, as every node does where kube-proxy translates Services.
    pub(crate) fn track(&self) -> Result<()> {
        let ruleset = "add table inet track; add chain inet track watch \
            { type filter hook prerouting priority 0; }; \
            add rule inet track watch ct state new counter";
        let output = self.inside(|| Ok(Command::new("nft").arg(ruleset).output()?))?;
        ensure!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Writes a file of the folder of manifests.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        Ok(fs::write(self.manifests().join(name), text)?)
    }

    /// The folder of manifests.
    pub(crate) fn manifests(&self) -> PathBuf {
        self.folder.path().join("manifests")
    }

    /// The agent's folder of pins, in the mount namespace.
    pub(crate) fn pins(&self) -> PathBuf {
        self.folder.path().join("bpf/policy")
    }

    /// The agent's standard output and error so far, of all that ran.
    pub(crate) fn said(&self, stream: &str) -> String {
        fs::read_to_string(self.folder.path().join(stream)).unwrap_or_default()
    }

    /// Runs something on a thread of its own in the node's network and mount namespaces.
    pub(crate) fn inside<T: Send>(&self, task: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                unshare(CloneFlags::CLONE_FS)?;
                setns(&self.mounts, CloneFlags::CLONE_NEWNS)?;
                setns(&self.node, CloneFlags::CLONE_NEWNET)?;
                task()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Asks an agent that listens at port 9100; status line, headers and body.
    pub(crate) fn ask(&self, path: &str) -> Result<String> {
        self.ask_at(9100, path)
    }

    /// Asks an agent that listens at a port.
    pub(crate) fn ask_at(&self, port: u16, path: &str) -> Result<String> {
        self.node.run(async || {
            let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            connection.set_read_timeout(Some(LIMIT / 4))?;
            write!(connection, "GET {path} HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            connection.read_to_string(&mut answer)?;
            Ok(answer)
        })
    }

    /// Whether an agent that listens at port 9100 is ready.
    pub(crate) fn is_ready(&self) -> bool {
        self.ask("/readyz").is_ok_and(|said| said.contains("200 OK"))
    }

    /// Starts `policy-agent run`.
    pub(crate) fn agent(&self, options: &[&str]) -> Result<Agent> {
        self.agent_by(&[], options)
    }

    /// Starts `policy-agent run` by a program that becomes it.
    pub(crate) fn agent_by(&self, starter: &[String], options: &[&str]) -> Result<Agent> {
        let source = ("--manifests", &*self.manifests());
        self.start(started(starter), &self.pins(), source, options)
    }

    /// Starts `policy-agent run` with what a kubeconfig names.
    pub(crate) fn agent_of(&self, kubeconfig: &Path, options: &[&str]) -> Result<Agent> {
        self.start(started(&[]), &self.pins(), ("--kubeconfig", kubeconfig), options)
    }

    /// Starts `policy-agent run` with another folder of pins.
    pub(crate) fn agent_at(&self, pins: &Path, options: &[&str]) -> Result<Agent> {
        self.start(started(&[]), pins, ("--manifests", &self.manifests()), options)
    }

    fn start(
        &self,
        mut command: Command,
        pins: &Path,
        (source, at): (&str, &Path),
        options: &[&str],
    ) -> Result<Agent> {
        let log = |name: &str| {
            File::options().append(true).create(true).open(self.folder.path().join(name))
        };
        let (output, errors) = (log("stdout")?, log("stderr")?);
        command.args(["run", "--node", "one", source]).arg(at);
        command.arg("--pin-dir").arg(pins).args(options);
        command.env("RUST_LOG", "debug").stdin(Stdio::null()).stdout(output).stderr(errors);
        Ok(Agent(self.inside(move || Ok(command.spawn()?))?))
    }
}

/// `policy-agent`, by a program that becomes it, if one is named.
pub(crate) fn started(starter: &[String]) -> Command {
    let program = env!("CARGO_BIN_EXE_policy-agent");
    let Some((first, others)) = starter.split_first() else { return Command::new(program) };
    let mut command = Command::new(first);
    command.args(others).arg(program);
    command
}

/// The agent; killed with this value.
pub(crate) struct Agent(Child);

impl Agent {
    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Asks it to end, and waits.
    pub(crate) fn terminate(mut self) -> Result<ExitStatus> {
        kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM)?;
        Ok(self.0.wait()?)
    }

    /// Asks it to end, and does not wait for ever.
    pub(crate) fn terminate_within(self, limit: Duration) -> Result<ExitStatus> {
        kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM)?;
        self.ended_within(limit)
    }

    /// Waits until it ends by itself.
    pub(crate) fn ended(mut self) -> Result<ExitStatus> {
        Ok(self.0.wait()?)
    }

    /// Waits until it ends by itself, not for ever.
    pub(crate) fn ended_within(mut self, limit: Duration) -> Result<ExitStatus> {
        let mut status = None;
        until("the agent has ended", limit, || {
            status = self.0.try_wait()?;
            Ok(status.is_some())
        })?;
        status.context("no status")
    }

    /// Ends it without a word.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a datagram from the pod arrives at a port of the host.
pub(crate) fn arrives(machine: &Machine, port: u16) -> Result<bool> {
    let at_host = machine.host.run(async || bound(port))?;
    at_host.set_read_timeout(Some(ARRIVAL))?;
    machine.pod.run(async || {
        UdpSocket::bind((POD, 0))?.send_to(b"hello", (HOST, port))?;
        Ok(())
    })?;
    Ok(at_host.recv(&mut [0; 8]).is_ok())
}

/// A socket at a port of the host. A process that another test starts at the moment holds a copy of an
/// earlier socket until it executes its program, so the port may still be in use.
fn bound(port: u16) -> Result<UdpSocket> {
    let mut bound = None;
    until("the port is free", LIMIT, || match UdpSocket::bind((HOST, port)) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => Ok(false),
        socket => {
            bound = Some(socket?);
            Ok(true)
        }
    })?;
    bound.context("no socket")
}

/// Waits until something is so; how long it took.
pub(crate) fn until(
    what: &str,
    limit: Duration,
    mut so: impl FnMut() -> Result<bool>,
) -> Result<Duration> {
    let start = Instant::now();
    while !so()? {
        ensure!(start.elapsed() < limit, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
    Ok(start.elapsed())
}

/// Adds routes over link 2, each a destination and a gateway.
async fn add_routes(routes: &[(&str, &str)]) -> Result<()> {
    let builder = NetBuilder::open()?;
    for (destination, gateway) in routes {
        builder.add_route(destination.parse()?, Some(gateway.parse()?), 2).await?;
    }
    Ok(())
}

/// A mount namespace in which a folder is a bpffs.
fn private_bpffs(folder: &Path) -> Result<File> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| -> Result<File> {
            unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace")?;
            let (none, private) = (None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE);
            mount(none, "/", none, private, none).context("cannot part the mounts")?;
            mount(Some("bpf"), folder, Some("bpf"), MsFlags::empty(), none)
                .context("cannot mount a bpffs")?;
            Ok(File::open("/proc/thread-self/ns/mnt")?)
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
