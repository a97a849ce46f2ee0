//! Nothing remains of a lab, however it ends.
//!
//! Namespaces without a name cannot be listed, so the test adds a veth to each of them; the other
//! end is in a namespace of the test. The kernel removes both ends with the lab's namespace.

use std::{
    collections::BTreeSet,
    error::Error,
    fs::{self, File},
    io,
    os::{fd::AsFd, unix::process::ExitStatusExt},
    process::{Child, ExitStatus, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use policy_agent::net::build::{End, NetBuilder};
use policy_lab::netns::{self, Namespace};
use procfs::process::Process;

use crate::{
    program::{Outcome, assert_code, lab, lab_on},
    sizes::cluster,
};

/// How long the kernel may take to destroy namespaces, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// The kernel objects of a lab.
struct Holdings {
    programs: BTreeSet<u32>,
    maps: BTreeSet<u32>,
    namespaces: Vec<File>,
}

/// Starts a lab on a file, and stops it as soon as its programs are attached.
fn stopped_lab() -> Result<(Child, Pid), Box<dyn Error>> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), cluster(24))?;
    let mut command = lab(&["-f"]);
    let mut child = command.arg(file.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    until("the programs are attached", || match child.try_wait()? {
        Some(status) => Err(io::Error::other(format!("it ended early: {status}"))),
        None => Ok(ids(pid, "link_id")?.len() >= 24),
    })?;
    kill(pid, Signal::SIGSTOP)?;
    until("the lab is stopped", || {
        let stat = Process::new(pid.as_raw()).and_then(|process| process.stat());
        Ok(stat.map_err(io::Error::other)?.state == 'T')
    })?;
    Ok((child, pid))
}

impl Holdings {
    fn of(pid: Pid) -> io::Result<Self> {
        let mut namespaces = Vec::new();
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            let path = entry?.path();
            if fs::read_link(&path)?.to_string_lossy().starts_with("net:[") {
                namespaces.push(File::open(path)?);
            }
        }
        Ok(Self { programs: ids(pid, "prog_id")?, maps: ids(pid, "map_id")?, namespaces })
    }
}

/// IDs in the `fdinfo` files of a process, such as those after `prog_id:`.
fn ids(pid: Pid, what: &str) -> io::Result<BTreeSet<u32>> {
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // Descriptors come and go.
        let Ok(text) = fs::read_to_string(entry?.path()) else {
            continue;
        };
        let lines = text.lines().filter_map(|line| line.strip_prefix(what)?.strip_prefix(":"));
        ids.extend(lines.filter_map(|number| number.trim().parse::<u32>().ok()));
    }
    Ok(ids)
}

/// Waits until `holds` returns true.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let start = Instant::now();
    while !holds()? {
        if start.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("timeout: {what}")));
        }
        sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Number of interfaces in the calling thread's namespace, without the loopback.
fn interfaces() -> Result<usize, netns::NetnsError> {
    let text = fs::read_to_string("/proc/thread-self/net/dev").map_err(netns::NetnsError::Open)?;
    Ok(text.lines().filter(|line| line.contains(':') && !line.contains("lo:")).count())
}

async fn nothing_remains(signal: Signal, ended: impl Fn(ExitStatus) -> bool) -> Outcome {
    let watch = Namespace::create()?;
    let builder = watch
        .run(|| NetBuilder::open().map_err(io::Error::other).map_err(netns::NetnsError::Open))?;
    let (mut child, pid) = stopped_lab()?;
    let holdings = Holdings::of(pid)?;
    let namespaces = holdings.namespaces.len();
    assert!(namespaces > 24, "one for each pod: {namespaces}");
    assert!(!holdings.programs.is_empty() && !holdings.maps.is_empty());
    for (index, namespace) in (100..).zip(&holdings.namespaces) {
        let near = End { index, name: format!("watch{index}") };
        let far = End { index: 9000, name: "sentinel".to_owned() };
        builder.add_veth(&near, &far, namespace.as_fd()).await?;
    }
    let Holdings { programs, maps, namespaces: opened } = holdings;
    drop(opened);
    assert_eq!(watch.run(interfaces)?, namespaces);

    kill(pid, signal)?;
    kill(pid, Signal::SIGCONT)?;
    let status = child.wait()?;
    assert!(ended(status), "{status:?}");
    until("the namespaces are gone", || {
        watch.run(interfaces).map(|left| left == 0).map_err(io::Error::other)
    })?;
    until("the programs are gone", || Ok(loaded_programs().is_disjoint(&programs)))?;
    until("the maps are gone", || Ok(loaded_maps().is_disjoint(&maps)))?;
    Ok(())
}

/// IDs of all loaded programs; one that is removed meanwhile is skipped.
fn loaded_programs() -> BTreeSet<u32> {
    let programs = aya::programs::loaded_programs().flatten();
    programs.map(|program| program.id()).collect()
}

fn loaded_maps() -> BTreeSet<u32> {
    let maps = aya::maps::loaded_maps().flatten();
    maps.map(|map| map.id()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_it_with_130_and_leaves_nothing() -> Outcome {
    nothing_remains(Signal::SIGINT, |status| status.code() == Some(130)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_termination_ends_it_with_143_and_leaves_nothing() -> Outcome {
    nothing_remains(Signal::SIGTERM, |status| status.code() == Some(143)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_leaves_nothing() -> Outcome {
    let killed = |status: ExitStatus| status.signal() == Some(Signal::SIGKILL as i32);
    nothing_remains(Signal::SIGKILL, killed).await
}

#[test]
fn two_labs_at_once_do_not_disturb_each_other() -> io::Result<()> {
    let text = cluster(6);
    let second = std::thread::spawn({
        let text = text.clone();
        move || lab_on(&text, &["--topology", "bridge"])
    });
    assert_code(&lab_on(&text, &[])?, 0);
    let second = second.join().map_err(|_panic| io::Error::other("the second lab's thread"))?;
    assert_code(&second?, 0);
    Ok(())
}
