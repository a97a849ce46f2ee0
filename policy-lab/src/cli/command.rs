//! The command of `--run`, which runs while the lab does.

use std::{
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{self, ExitStatus},
};

use nix::{
    sys::{
        memfd::{MFdFlags, memfd_create},
        prctl::set_pdeathsig,
        signal::{Signal, kill},
    },
    unistd::Pid,
};
use policy_probe::options::TableFormat;
use tokio::process::Child;

use super::{orphans, signals::in_foreground};
use crate::description::Description;

/// A running command.
pub(super) struct Command {
    child: Child,
    /// Whether it is in this process's group, so that Ctrl-C at the terminal reaches it directly.
    in_own_group: bool,
    /// The file that `LAB` names: it is in no folder, and ends with this process.
    _description: File,
}

impl Command {
    /// Starts `command` with `sh -c`, and `description` in the file that `LAB` names.
    ///
    /// With JSON on standard output, the output of the command goes to standard error.
    pub(super) fn start(
        command: &str,
        description: &Description,
        output: TableFormat,
    ) -> io::Result<Self> {
        let mut file = File::from(memfd_create("lab.json", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(&serde_json::to_vec_pretty(description)?)?;
        let in_own_group = in_foreground();
        let mut shell = process::Command::new("sh");
        shell.arg("-c").arg(command);
        shell.env("LAB", format!("/proc/{}/fd/{}", process::id(), file.as_raw_fd()));
        shell.env(orphans::VARIABLE, orphans::own_id().map_err(io::Error::other)?);
        match output {
            TableFormat::Table => {}
            TableFormat::Json => {
                shell.stdout(io::stderr().as_fd().try_clone_to_owned()?);
            }
        }
        if !in_own_group {
            shell.process_group(0);
        }
        // SAFETY: between fork and exec the closure makes one system call; it neither allocates
        // nor takes a lock that another thread might have held at the fork.
        unsafe { shell.pre_exec(|| set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from)) };
        let child = tokio::process::Command::from(shell).kill_on_drop(true).spawn()?;
        Ok(Self { child, in_own_group, _description: file })
    }

    /// Waits for the end of the command and returns the exit code that a shell reports.
    pub(super) async fn wait(&mut self) -> io::Result<u8> {
        self.child.wait().await.map(code)
    }

    /// Forwards a signal, except where the terminal has already sent it.
    pub(super) fn forward(&self, signal: Signal) {
        let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) else {
            return;
        };
        // The command may have ended meanwhile, so errors are ignored.
        match (self.in_own_group, signal) {
            (true, Signal::SIGINT) => {}
            (true, other) => drop(kill(Pid::from_raw(id), other)),
            // The whole group, since a shell does not forward signals.
            (false, other) => drop(kill(Pid::from_raw(-id), other)),
        }
    }
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
