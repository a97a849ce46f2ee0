//! Starts other programs: out in the open, quietly with a progress line, or for their answer.

use std::env;
use std::fs::File;
use std::io::{IsTerminal, Read, Seek, Write, stderr};
use std::iter::once;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
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
    let status = command.status().with_context(|| format!("cannot start {}", words(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", words(command));
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
    let (start, ticks) = (Instant::now(), stderr().is_terminal());
    let mut log = tempfile::tempfile().context("cannot make a temporary file")?;
    progress(&format!("{what} …"), !ticks);
    let status = wait(command, &log, limit, || {
        if ticks {
            progress(&format!("\r{what} … {} s", start.elapsed().as_secs()), false);
        }
    });
    let status = status.with_context(|| format!("cannot run {}", line(command)))?;
    let (seconds, back) = (start.elapsed().as_secs(), if ticks { "\r" } else { "" });
    if status.is_some_and(|status| status.success()) {
        progress(&format!("{back}{what}: done in {seconds} s"), true);
        return Ok(());
    }
    progress(&format!("{back}{what}: failed after {seconds} s"), true);
    let end = status.map_or_else(|| "no end in time".to_owned(), |status| status.to_string());
    bail!("{} failed ({end})\n{}", command.get_program().display(), tail(&mut log)?)
}

/// A command as one would type it, variables first.
pub(crate) fn line(command: &Command) -> String {
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={} ", name.display(), value?.display())));
    variables.collect::<String>() + &words(command)
}

fn words(command: &Command) -> String {
    let words = once(command.get_program()).chain(command.get_args());
    words.map(|word| word.display().to_string()).collect::<Vec<_>>().join(" ")
}

fn progress(text: &str, end: bool) {
    let mut out = stderr().lock();
    // A closed stderr is no reason to stop.
    let _ = write!(out, "{text}{}", if end { "\n" } else { "" }).and_then(|()| out.flush());
}

/// The exit status of a command whose output goes to `log`; none if it was killed after `limit`.
fn wait(
    command: &mut Command,
    log: &File,
    limit: Duration,
    mut tick: impl FnMut(),
) -> Result<Option<ExitStatus>> {
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
    let mut child = command.spawn()?;
    let start = Instant::now();
    while start.elapsed() < limit {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        tick();
        thread::sleep(Duration::from_millis(50));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

fn tail(log: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    log.rewind()?;
    log.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(30)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{command, quietly, wait};

    #[test]
    fn a_command_that_does_not_end_is_ended() -> anyhow::Result<()> {
        let log = tempfile::tempfile()?;
        let start = Instant::now();
        let status = wait(command("sleep").arg("60"), &log, Duration::from_millis(100), || ())?;
        assert_eq!(status, None);
        assert!(start.elapsed() < Duration::from_secs(30));
        Ok(())
    }

    #[test]
    fn a_failure_tells_what_was_said() {
        let mut failing = command("sh");
        failing.args(["-c", "echo one; echo two >&2; exit 3"]);
        let error = quietly("failing", &mut failing, Duration::from_secs(30))
            .map_err(|error| error.to_string());
        assert_eq!(error, Err("sh failed (exit status: 3)\none\ntwo".to_owned()));
    }
}
