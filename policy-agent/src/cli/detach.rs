//! `policy-agent detach`.

use std::path::PathBuf;

use clap::Args;
use policy_cli::{exit, terminal};

use super::{PIN_DIR, cni::Folders};
use crate::{cni, dataplane};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Folder of the pins, as it was given to `policy-agent run`
    #[arg(long, value_name = "DIR", default_value = PIN_DIR)]
    pin_dir: PathBuf,

    #[command(flatten)]
    folders: Folders,
}

/// Takes everything away; the exit code.
pub(super) fn main(arguments: &Arguments) -> u8 {
    // The plugin first: no pod shall wait for an agent that does not come.
    let Folders { conf_dir, bin_dir } = &arguments.folders;
    if let Err(error) = cni::remove(conf_dir, bin_dir) {
        terminal::error(&error);
        return exit::FAILED;
    }
    match dataplane::detach(&arguments.pin_dir) {
        Ok(()) => exit::FINE,
        Err(error) => {
            terminal::error(&error);
            exit::FAILED
        }
    }
}
