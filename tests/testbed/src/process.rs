//! Processes that outlive the program that started them, and are stopped by their number.
//!
//! A file for each has the process number and the time of its start: the kernel reuses numbers, and
//! a process with the same number and another start is not ours.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use procfs::process::Process;

use super::layout::Layout;
use super::write;

/// A process that was started, identified by its number and the time of its start.
#[derive(Debug)]
pub struct Service {
    /// What it is called.
    pub name: String,
    /// Its number.
    pub pid: i32,
    started: u64,
}

impl Service {
    /// Starts a process in a group of its own that writes into a log of its name.
    pub fn start(layout: &Layout, name: &str, command: &mut Command) -> Result<Self> {
        fs::create_dir_all(layout.logs())?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(layout.logs().join(format!("{name}.log")))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.current_dir(&layout.root).process_group(0);
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let pid = i32::try_from(child.id()).context("a process number out of range")?;
        // A parent that keeps running, as a soak test does, must wait for its children.
        thread::spawn(move || child.wait());
        let started = start_time(pid).ok_or_else(|| anyhow!("{name} ended at once"))?;
        write(&layout.pids().join(name), format!("{pid} {started}"))?;
        Ok(Self { name: name.to_owned(), pid, started })
    }

    /// The process of a name.
    pub fn find(layout: &Layout, name: &str) -> Result<Self> {
        let file = layout.pids().join(name);
        Self::read(&file)?.ok_or_else(|| anyhow!("{name} was never started"))
    }

    /// All processes of a cluster, by name.
    pub fn all(layout: &Layout) -> Result<Vec<Self>> {
        let entries = match fs::read_dir(layout.pids()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context("cannot list processes"),
        };
        let mut all = Vec::new();
        for entry in entries {
            all.extend(Self::read(&entry?.path())?);
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    fn read(file: &Path) -> Result<Option<Self>> {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", file.display()));
            }
        };
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let parts = text.split_once(' ').and_then(|(pid, started)| {
            Some(Self { name, pid: pid.parse().ok()?, started: started.parse().ok()? })
        });
        // An empty file is left by a writer that was killed; its process is found by its namespace.
        Ok(parts)
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    /// Kills the process and its group, and waits until it has ended.
    pub fn end(&self) -> Result<()> {
        let limit = Instant::now() + Duration::from_secs(20);
        while self.is_alive() {
            // It may have ended in between, which is the goal.
            let _ = killpg(Pid::from_raw(self.pid), Signal::SIGKILL);
            if Instant::now() > limit {
                bail!("{} does not end (process {})", self.name, self.pid);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// Kills one process, if it still exists.
pub fn end(pid: i32) {
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}

/// Children of a process.
pub fn children(pid: i32) -> Vec<i32> {
    let children = Process::new(pid).and_then(|process| process.task_main_thread()?.children());
    children.into_iter().flatten().filter_map(|pid| i32::try_from(pid).ok()).collect()
}

/// When a process was started, in ticks since boot; none for one that is gone or a zombie.
fn start_time(pid: i32) -> Option<u64> {
    let stat = Process::new(pid).and_then(|process| process.stat()).ok()?;
    (!matches!(stat.state, 'Z' | 'X')).then_some(stat.starttime)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::Service;
    use crate::layout::Layout;

    #[test]
    fn a_service_is_found_again_and_ended_once() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let layout = Layout { root: folder.path().to_path_buf(), prefix: String::new() };
        assert!(Service::all(&layout)?.is_empty());
        Service::start(&layout, "sleeper", Command::new("sleep").arg("60"))?;
        let found = Service::find(&layout, "sleeper")?;
        assert!(found.is_alive());
        found.end()?;
        assert!(!found.is_alive());
        Ok(())
    }

    #[test]
    fn a_number_that_was_given_out_again_is_another_process() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let layout = Layout { root: folder.path().to_path_buf(), prefix: String::new() };
        let service = Service::start(&layout, "sleeper", Command::new("sleep").arg("60"))?;
        let other = Service { started: service.started + 1, ..Service::find(&layout, "sleeper")? };
        assert!(!other.is_alive());
        other.end()?;
        assert!(service.is_alive(), "the other's end is not this one's");
        service.end()
    }
}
