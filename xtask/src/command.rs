//! Starts other programs: on our terminal, behind a progress line, or for their output.

use std::collections::VecDeque;
use std::env;
use std::io::{self, BufRead, BufReader};
use std::iter::once;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::progress::Progress;

/// Lines of output that are shown when a program fails.
const SHOWN_LINES: usize = 30;

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

/// A program that starts in the root of the workspace, without what `cargo run` leaves in the
/// environment: it makes other crates' build scripts run again, and points a foreign `rustc` to
/// the wrong libraries.
pub fn command(program: impl AsRef<Path>) -> Command {
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
pub fn cargo() -> Command {
    command(env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from))
}

/// Runs a program that shares our terminal, and fails if it does.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", words(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", words(command));
    }
    Ok(())
}

/// What a program answers on stdout, or nothing if it is missing or fails.
pub fn answer(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// How the output of a program shows what it works on.
#[derive(Clone, Copy)]
pub struct OutputParts {
    /// How many parts there are, where that is known.
    pub total: Option<u64>,
    /// The part that a line of the output names.
    pub of_line: fn(&str) -> Option<&str>,
}

impl OutputParts {
    /// A program that does not show what it works on.
    pub const NONE: Self = Self { total: None, of_line: |_| None };
}

/// Runs a program behind a progress line that names `what`.
///
/// Its output is shown only if it fails, or does not end within `limit`.
pub fn quietly(what: &str, command: &mut Command, limit: Duration) -> Result<()> {
    quietly_in_parts(what, command, limit, OutputParts::NONE)
}

/// As [`quietly`]; the progress line counts the parts that the program's output names.
pub fn quietly_in_parts(
    what: &str,
    command: &mut Command,
    limit: Duration,
    parts: OutputParts,
) -> Result<()> {
    let mut progress = Progress::start(what, parts.total);
    let mut tail = VecDeque::new();
    let ended = wait(command, limit, |line| {
        if let Some(line) = line {
            if let Some(part) = (parts.of_line)(line) {
                progress.part(part);
            }
            tail.push_back(line.to_owned());
            if tail.len() > SHOWN_LINES {
                tail.pop_front();
            }
        }
        progress.tick();
    });
    let status = ended.with_context(|| format!("cannot run {}", line(command)))?;
    if status.is_some_and(|status| status.success()) {
        progress.end("done");
        return Ok(());
    }
    progress.end("failed");
    let end = status.map_or_else(|| "did not end in time".to_owned(), |status| status.to_string());
    let output = Vec::from(tail).join("\n");
    bail!("{} failed ({end})\n{output}", command.get_program().display())
}

/// Runs a build of cargo, and returns the name and the path of each program that it made; errors of
/// the compiler go to the terminal.
pub fn built(build: &mut Command) -> Result<Vec<(String, PathBuf)>> {
    build.args(["--message-format", "json-render-diagnostics"]);
    let output = build.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    ensure!(output.status.success(), "{} failed", words(build));
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let programs = messages.filter_map(|message| {
        let name = message["target"]["name"].as_str()?.to_owned();
        Some((name, PathBuf::from(message["executable"].as_str()?)))
    });
    Ok(programs.collect())
}

/// A command as one would type it, variables first.
pub fn line(command: &Command) -> String {
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={} ", name.display(), value?.display())));
    variables.collect::<String>() + &words(command)
}

fn words(command: &Command) -> String {
    let words = once(command.get_program()).chain(command.get_args());
    words.map(|word| word.display().to_string()).collect::<Vec<_>>().join(" ")
}

/// Runs a command, and calls `observe` for each line of its output and several times a second.
///
/// Returns its exit status; none if it was killed after `limit`.
pub fn wait(
    command: &mut Command,
    limit: Duration,
    mut observe: impl FnMut(Option<&str>),
) -> Result<Option<ExitStatus>> {
    let (output, writer) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // The pipe ends only when nobody can write into it any more, and `command` still can.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(output).split(b'\n').map_while(Result::ok);
        // The receiver is gone once the command has ended.
        lines.map(|line| sender.send(line)).take_while(Result::is_ok).count()
    });
    let (start, mut ended) = (Instant::now(), None);
    while start.elapsed() < limit {
        match lines.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => observe(Some(&String::from_utf8_lossy(&line))),
            Err(RecvTimeoutError::Disconnected) => return Ok(Some(child.wait()?)),
            // A service that the command started may keep the pipe open.
            Err(RecvTimeoutError::Timeout) if ended.is_some() => return Ok(ended),
            Err(RecvTimeoutError::Timeout) => {
                observe(None);
                ended = child.try_wait()?;
            }
        }
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{command, quietly, wait};

    #[test]
    fn a_command_that_does_not_end_is_killed() -> anyhow::Result<()> {
        let start = Instant::now();
        let status = wait(command("sleep").arg("60"), Duration::from_millis(100), |_| ())?;
        assert_eq!(status, None);
        assert!(start.elapsed() < Duration::from_secs(30));
        Ok(())
    }

    #[test]
    fn every_line_of_the_output_is_observed() -> anyhow::Result<()> {
        let mut seen = Vec::new();
        let mut both = command("sh");
        both.args(["-c", "echo one; echo two >&2; printf three"]);
        wait(&mut both, Duration::from_secs(30), |line| seen.extend(line.map(str::to_owned)))?;
        assert_eq!(seen, ["one", "two", "three"]);
        Ok(())
    }

    #[test]
    fn a_failure_shows_the_output() {
        let mut failing = command("sh");
        failing.args(["-c", "echo one; echo two >&2; exit 3"]);
        let error = quietly("failing", &mut failing, Duration::from_secs(30))
            .map_err(|error| error.to_string());
        assert_eq!(error, Err("sh failed (exit status: 3)\none\ntwo".to_owned()));
    }
}
