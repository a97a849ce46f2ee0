//! `policy-agent detach`.

use std::{io, path::PathBuf};

use clap::Args;
use policy_cni::protocol::DEFAULT_SOCKET;
use policy_probe::{exit, terminal};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

use super::{PIN_DIR, cni::Folders};
use crate::{
    cni::Uninstaller,
    dataplane::{self, DataplaneError},
};

/// Options of `policy-agent detach`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Folder of the pins, as it was given to `policy-agent run`
    #[arg(long, value_name = "DIR", default_value = PIN_DIR)]
    pin_dir: PathBuf,

    /// Take away only the pins: of a folder that an agent had before the one that runs now
    #[arg(long)]
    pins_only: bool,

    #[command(flatten)]
    folders: Folders,

    /// The agent's socket, as it was given to `policy-agent run`
    #[arg(long, value_name = "SOCKET", default_value = DEFAULT_SOCKET)]
    cni_socket: PathBuf,

    /// Where the node's root folder is mounted: the plugin's folders and the socket are looked for
    /// beneath it
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,

    /// Afterwards do nothing until a signal comes: a `DaemonSet`'s pods must not end
    #[arg(long)]
    stay: bool,
}

/// Takes everything away; the exit code.
pub(super) fn main(arguments: &Arguments) -> u8 {
    let Arguments { folders: Folders { conf_dir, bin_dir }, cni_socket, root, .. } = arguments;
    let uninstaller = Uninstaller {
        root: root.clone(),
        bin_dir: bin_dir.clone(),
        conf_dir: conf_dir.clone(),
        socket: cni_socket.clone(),
    };
    let mut code = exit::FINE;
    // The plugin first: no pod shall wait for an agent that does not come.
    let plugin = if arguments.pins_only { Ok(()) } else { uninstaller.remove_plugin() };
    if let Err(error) = plugin {
        terminal::error(&error);
        code = exit::FAILED;
    }
    // In any case: what keeps the plugin is no reason to go on enforcing.
    match dataplane::detach(&arguments.pin_dir) {
        Ok(left) => {
            let note = |path: &PathBuf| format!("{} is not the agent's: it stays", path.display());
            terminal::notes(&left.iter().map(note).collect::<Vec<_>>());
        }
        Err(error) => {
            terminal::error(&error);
            let is_input = matches!(error, DataplaneError::NotPins { .. });
            code = code.max(if is_input { exit::INPUT } else { exit::FAILED });
        }
    }
    if code != exit::FINE {
        return code;
    }
    // An agent that runs would not make it again.
    let socket = if arguments.pins_only { Ok(()) } else { uninstaller.remove_socket() };
    if let Err(error) = socket {
        terminal::error(&error);
        return exit::FAILED;
    }
    match if arguments.stay { stay() } else { Ok(()) } {
        Ok(()) => exit::FINE,
        Err(error) => {
            terminal::error(&error);
            exit::FAILED
        }
    }
}

/// Until SIGTERM, which a container's first process must ask for.
fn stay() -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        signal(SignalKind::terminate())?.recv().await;
        Ok(())
    })
}
