//! Runs the program.

use std::{
    io::{self, Seek, Write},
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The program, to be run on the workspace's root.
pub(crate) fn policyctl(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_policyctl"));
    command.args(arguments).current_dir(root());
    command
}

/// Runs the program with `text` on its standard input.
pub(crate) fn policyctl_on(text: &str, arguments: &[&str]) -> io::Result<Output> {
    let mut input = tempfile::tempfile()?;
    input.write_all(text.as_bytes())?;
    input.rewind()?;
    policyctl(arguments).args(["-f", "-"]).stdin(input).output()
}

/// The workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Standard output.
pub(crate) fn answer(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// All that a run printed, for the message of a failed assertion.
pub(crate) fn printed(output: &Output) -> String {
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
    assert_eq!(output.status.code(), Some(code), "{}", printed(output));
}

/// Requires texts on standard output.
#[track_caller]
pub(crate) fn assert_answers(output: &Output, parts: &[&str]) {
    for part in parts {
        assert!(answer(output).contains(part), "{part:?} is not in\n{}", printed(output));
    }
}
