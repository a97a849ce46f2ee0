//! Loads a ruleset into a namespace by the program `nft`.

use std::{
    io::{self, Write},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use super::netns::Namespace;

/// Why a ruleset could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program is not there.
    #[error(
        "nft is not installed, and Services cannot be translated without it: \
         install the package nftables, or run `cargo xtask bootstrap`"
    )]
    Missing,
    /// It did not start, or could not be written to.
    #[error("cannot run nft")]
    Run(#[source] io::Error),
    /// It refused.
    #[error("nft refused the table of Services: {}", complaint.trim())]
    Refused {
        /// What it wrote to standard error.
        complaint: String,
    },
}

/// Loads `ruleset` into the tables of `namespace`. Blocks until `nft` ends.
///
/// # Errors
///
/// Where `nft` is missing or refuses.
pub fn load(namespace: &Namespace, ruleset: &str) -> Result<(), Error> {
    let mut command = Command::new("nft");
    command.args(["-f", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    // Ctrl-C at a terminal is this process's to see, not nft's to die of.
    command.process_group(0);
    namespace.adopt(&mut command);
    let mut child = command.spawn().map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound { Error::Missing } else { Error::Run(error) }
    })?;
    // The pipe is closed before the wait, or nft would read for ever.
    let written = child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(ruleset.as_bytes()));
    let output = child.wait_with_output().map_err(Error::Run)?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Error::Refused { complaint });
    }
    written.map_err(Error::Run)
}
