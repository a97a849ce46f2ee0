//! Starts other programs: out in the open, quietly with a progress line, or for their answer.

use std::env;
use std::io::{IsTerminal, Write, stderr};
use std::iter::once;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The root of the workspace.
pub(crate) fn workspace() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

/// A program that starts in the root of the workspace, without what `cargo run` leaves in the
/// environment: it makes other crates' build scripts run again, and points a foreign `rustc` to
/// the wrong libraries.
pub(crate) fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    command.current_dir(workspace());
    for (name, _) in env::vars_os() {
        let left_by_run = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_")
                || name.starts_with("CARGO_MANIFEST_")
                || matches!(name, "LD_LIBRARY_PATH" | "RUST_RECURSION_COUNT")
        });
        if left_by_run {
            command.env_remove(name);
        }
    }
    command
}

/// The cargo that runs this program.
pub(crate) fn cargo() -> Command {
    command(env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from))
}

/// Runs a program that shares our terminal, and fails if it does.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", line(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", line(command));
    }
    Ok(())
}

/// What a program answers on stdout, or nothing if it is missing or fails.
pub(crate) fn answer(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs a program behind one line that names `what` and counts the seconds.
/// Its output is shown only if it fails, or does not end within `limit`.
pub(crate) fn quietly(what: &str, command: &mut Command, limit: Duration) -> Result<()> {
    let start = Instant::now();
    let ticks = stderr().is_terminal();
    progress(&format!("{what} …"), !ticks);
    let output = wait(command, limit, || {
        if ticks {
            progress(&format!("\r{what} … {} s", start.elapsed().as_secs()), false);
        }
    })
    .with_context(|| format!("cannot run {}", line(command)))?;
    let (seconds, back) = (start.elapsed().as_secs(), if ticks { "\r" } else { "" });
    if output.status.success() {
        progress(&format!("{back}{what}: done in {seconds} s"), true);
        return Ok(());
    }
    progress(&format!("{back}{what}: failed after {seconds} s"), true);
    bail!("{} failed ({})\n{}", command.get_program().display(), output.status, tail(&output));
}

/// A command as one would type it, variables first.
pub(crate) fn line(command: &Command) -> String {
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={}", name.display(), value?.display())));
    let words = once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| word.display().to_string());
    variables.chain(words).collect::<Vec<_>>().join(" ")
}

fn progress(text: &str, end: bool) {
    let mut out = stderr().lock();
    // A closed stderr is no reason to stop.
    let _ = write!(out, "{text}{}", if end { "\n" } else { "" }).and_then(|()| out.flush());
}

fn wait(command: &mut Command, limit: Duration, mut tick: impl FnMut()) -> Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn()?;
    let pid = child.id();
    let (done, output) = mpsc::channel();
    thread::spawn(move || done.send(child.wait_with_output()));
    let start = Instant::now();
    loop {
        match output.recv_timeout(Duration::from_secs(1)) {
            Ok(output) => return Ok(output?),
            Err(RecvTimeoutError::Disconnected) => bail!("its output was lost"),
            Err(RecvTimeoutError::Timeout) if start.elapsed() > limit => {
                run(Command::new("kill").arg(pid.to_string()))?;
                bail!("it did not end within {} s", limit.as_secs());
            }
            Err(RecvTimeoutError::Timeout) => tick(),
        }
    }
}

fn tail(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
