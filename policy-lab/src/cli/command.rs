//! The command of `--run`.

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
use tokio::process::{Child, Command};

use super::{Format, orphans, signals::in_foreground};
use crate::description::Description;

/// A command that runs beside a lab.
pub(super) struct Running {
    child: Child,
    /// Whether it is in this process's own group, which a terminal's Ctrl-C reaches by itself.
    together: bool,
    /// What `LAB` names: a file without a folder, gone with this process however that ends.
    _description: File,
}

impl Running {
    /// Starts `command` by `sh -c`, with `description` in the file that `LAB` names. Where standard
    /// output is for programs, what the command prints there goes to standard error.
    pub(super) fn start(
        command: &str,
        description: &Description,
        output: Format,
    ) -> io::Result<Self> {
        let mut file = File::from(memfd_create("lab.json", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(&serde_json::to_vec_pretty(description)?)?;
        let together = in_foreground();
        let mut shell = process::Command::new("sh");
        shell.arg("-c").arg(command);
        shell.env("LAB", format!("/proc/{}/fd/{}", process::id(), file.as_raw_fd()));
        shell.env(orphans::MARK, orphans::mark()?);
        match output {
            Format::Table => {}
            Format::Json => {
                shell.stdout(io::stderr().as_fd().try_clone_to_owned()?);
            }
        }
        if !together {
            shell.process_group(0);
        }
        // SAFETY: between fork and exec the closure makes one system call; it neither allocates
        // nor takes a lock that another thread might have held.
        unsafe { shell.pre_exec(|| set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from)) };
        let child = Command::from(shell).kill_on_drop(true).spawn()?;
        Ok(Self { child, together, _description: file })
    }

    /// Waits for its end; the exit code, as a shell tells it.
    pub(super) async fn wait(&mut self) -> io::Result<u8> {
        self.child.wait().await.map(code)
    }

    /// Hands a signal on, except one that it has already. It may have ended meanwhile.
    pub(super) fn signal(&self, signal: Signal) {
        let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) else {
            return;
        };
        match (self.together, signal) {
            (true, Signal::SIGINT) => {}
            (true, other) => drop(kill(Pid::from_raw(id), other)),
            // The whole group: a shell does not hand on what it gets.
            (false, other) => drop(kill(Pid::from_raw(-id), other)),
        }
    }
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
