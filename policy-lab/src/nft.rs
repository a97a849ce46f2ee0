//! Loads a ruleset into a network namespace with the program `nft`.

use std::{
    io::{self, Write},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use crate::netns::Namespace;

/// Why a ruleset could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// The program is not installed.
    #[error(
        "nft is not installed, and the lab cannot translate Services without it: \
         install the package nftables, or run `cargo xtask bootstrap`"
    )]
    Missing,
    /// The program did not start, or its input could not be written.
    #[error("cannot run nft")]
    Run(#[source] io::Error),
    /// The program rejected the ruleset.
    #[error("nft rejected the ruleset of the Services: {}", message.trim())]
    Rejected {
        /// What it wrote to standard error.
        message: String,
    },
}

/// Loads `ruleset` into `namespace`; blocks until `nft` ends.
///
/// # Errors
///
/// Where `nft` is missing or rejects the ruleset.
pub fn load(namespace: &Namespace, ruleset: &str) -> Result<(), NftError> {
    let mut command = Command::new("nft");
    command.args(["-f", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    // In a process group of its own, Ctrl-C at a terminal reaches the lab only.
    command.process_group(0);
    namespace.place(&mut command);
    let mut child = command.spawn().map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            NftError::Missing
        } else {
            NftError::Run(error)
        }
    })?;
    // The pipe is closed before the wait: nft reads to the end of its input.
    let written = child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(ruleset.as_bytes()));
    let output = child.wait_with_output().map_err(NftError::Run)?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(NftError::Rejected { message });
    }
    written.map_err(NftError::Run)
}
