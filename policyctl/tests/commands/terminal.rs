//! Colours, and where they are not.

use std::{
    fs::File,
    io::{self, Read as _},
    process::Stdio,
};

use nix::pty::openpty;

use crate::program::{answer, policyctl};

const TABLE: [&str; 3] = ["simulate", "-f", "examples/three-tier.yaml"];
const ESCAPE: &str = "\u{1b}[";

/// What the program draws on a terminal, in an environment.
fn drawn(environment: &[(&str, &str)]) -> io::Result<String> {
    let pty = openpty(None, None)?;
    let mut command = policyctl(&TABLE);
    command.env_remove("NO_COLOR").envs(environment.iter().copied());
    let mut child = command.stdin(Stdio::null()).stdout(pty.slave).spawn()?;
    // It holds the terminal too.
    drop(command);
    let mut screen = Vec::new();
    // The end of a terminal is an error (EIO), not an end of file.
    let _ = File::from(pty.master).read_to_end(&mut screen);
    assert!(child.wait()?.success());
    Ok(String::from_utf8_lossy(&screen).into_owned())
}

#[test]
fn a_terminal_has_colours_unless_they_are_not_wanted() -> io::Result<()> {
    assert!(drawn(&[])?.contains(ESCAPE));
    assert!(drawn(&[("NO_COLOR", "")])?.contains(ESCAPE), "an empty value asks for nothing");
    let plain = drawn(&[("NO_COLOR", "1")])?;
    assert!(!plain.contains(ESCAPE) && plain.contains("108 probes"), "{plain}");
    Ok(())
}

#[test]
fn what_is_no_terminal_has_none() -> io::Result<()> {
    let output = policyctl(&TABLE).env_remove("NO_COLOR").output()?;
    assert!(!answer(&output).contains(ESCAPE), "{}", answer(&output));
    Ok(())
}
