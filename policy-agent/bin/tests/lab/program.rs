//! Runs `policy-agent lab` for these tests.

use std::{
    error::Error,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::NamedTempFile;

/// What a test of a running lab returns.
pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// The two ways to join a pod to its node.
pub(crate) const TOPOLOGIES: [&str; 2] = ["ptp", "bridge"];

/// The command, with the root of the workspace as its folder.
pub(crate) fn lab(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_policy-agent"));
    command.arg("lab").args(arguments).current_dir(root());
    command
}

/// Runs the lab with `text` on its standard input.
pub(crate) fn lab_on(text: &str, arguments: &[&str]) -> io::Result<Output> {
    feed(lab(arguments).args(["-f", "-"]), text)
}

/// Runs the lab on `text` with a file of expectations, once for each topology. All of them must hold;
/// the output of each run.
pub(crate) fn expect_on(text: &str, expectations: &str) -> io::Result<[String; 2]> {
    let mut file = NamedTempFile::new()?;
    file.write_all(expectations.as_bytes())?;
    let path = file.path().display().to_string();
    let run = |topology| {
        let output = lab_on(text, &["--topology", topology, "--expect", &path])?;
        println!("{topology}");
        assert_code(&output, 0);
        Ok::<_, io::Error>(all_output(&output))
    };
    let [ptp, bridge] = TOPOLOGIES;
    Ok([run(ptp)?, run(bridge)?])
}

/// Runs a command with `text` on its standard input.
pub(crate) fn feed(command: &mut Command, text: &str) -> io::Result<Output> {
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        // A program that exits because of its options does not read its input.
        let _ = pipe.write_all(text.as_bytes());
    }
    child.wait_with_output()
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Exit code, standard output and standard error, for the message of a failed assertion.
pub(crate) fn all_output(output: &Output) -> String {
    format!(
        "exit code {:?}\n{}\n{}",
        output.status.code(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    )
}

/// Requires an exit code.
#[track_caller]
pub(crate) fn assert_code(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", all_output(output));
}
