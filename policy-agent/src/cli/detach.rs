//! `policy-agent detach`.

use std::path::PathBuf;

use clap::Args;
use policy_cli::{exit, terminal};

use super::PIN_DIR;
use crate::dataplane;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Folder of the pins, as it was given to `policy-agent run`
    #[arg(long, value_name = "DIR", default_value = PIN_DIR)]
    pin_dir: PathBuf,
}

/// Takes everything away; the exit code.
pub(super) fn main(arguments: &Arguments) -> u8 {
    match dataplane::detach(&arguments.pin_dir) {
        Ok(()) => exit::FINE,
        Err(error) => {
            terminal::error(&error);
            exit::FAILED
        }
    }
}
