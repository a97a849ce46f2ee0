//! The command `policy-agent detach`: removes the chained plugin, the pins and the socket.
//!
//! Each part is tried even if an earlier one fails, except for the socket: it is what a running
//! agent would need, so it goes last and only if everything else is removed.

use std::{
    io,
    path::{Path, PathBuf},
};

use clap::Args;
use policy_agent::{
    cni::Uninstaller,
    dataplane::{self, DataplaneError, Detached},
};
use policy_cni::protocol::DEFAULT_SOCKET;
use policy_probe::{exit, terminal};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

use super::{PIN_DIR, cni::Folders};

const HELP: &str = "\
Examples:
  policy-agent detach
      remove everything, on a node where the agent has ended
  policy-agent detach --root /host --stay
      the same in a pod of a DaemonSet that has the node's root folder at /host
  policy-agent detach --pins-only --pin-dir /sys/fs/bpf/policy-old
      remove the pins of another folder, while the agent runs with its own

The chained plugin is removed first, so that no pod waits for an agent that does not run.
Where an agent still responds at the socket, only the pins are removed, and the exit code is 3.

Exit codes:
  0  everything is removed
  2  wrong usage, or the folder does not hold pins of the agent
  3  something could not be removed";

/// Options of `policy-agent detach`.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct DetachArguments {
    /// Folder of the pins; the same as for `policy-agent run`
    #[arg(long, value_name = "DIR", default_value = PIN_DIR)]
    pin_dir: PathBuf,

    /// Remove only the pins; use it for the folder of an earlier agent while another one runs
    #[arg(long)]
    pins_only: bool,

    #[command(flatten)]
    folders: Folders,

    /// Socket for the chained plugin; the same as for `policy-agent run`
    #[arg(long, value_name = "SOCKET", default_value = DEFAULT_SOCKET)]
    cni_socket: PathBuf,

    /// Mount point of the node's root folder; the CNI folders and the socket are below it
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,

    /// Wait for SIGTERM afterwards, because the pods of a DaemonSet must not end
    #[arg(long)]
    stay: bool,
}

/// Removes everything and returns the exit code.
pub(super) fn main(arguments: &DetachArguments) -> u8 {
    let DetachArguments { folders: Folders { conf_dir, bin_dir }, cni_socket, root, .. } =
        arguments;
    let uninstaller = Uninstaller {
        root: root.clone(),
        bin_dir: bin_dir.clone(),
        conf_dir: conf_dir.clone(),
        socket: cni_socket.clone(),
    };
    let mut code = exit::FINE;
    // The plugin first, so that no pod waits for an agent that does not run.
    let plugin = if arguments.pins_only { Ok(()) } else { uninstaller.remove_plugin() };
    if let Err(error) = plugin {
        terminal::error(&error);
        code = exit::FAILED;
    }
    // Also after an error: enforcement must not continue because the plugin could not be removed.
    match dataplane::detach(&arguments.pin_dir) {
        Ok(detached) => print(&detached, &arguments.pin_dir),
        Err(error) => {
            terminal::error(&error);
            let is_input = matches!(error, DataplaneError::NotPins { .. });
            code = code.max(if is_input { exit::INPUT } else { exit::FAILED });
        }
    }
    if code != exit::FINE {
        return code;
    }
    // Last, since a running agent would not create the socket again.
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

/// Prints what was removed of the pins in a folder and of the filters, and what was left.
fn print(detached: &Detached, folder: &Path) {
    let (Detached { removed, filters, left }, folder) = (detached, folder.display());
    terminal::line(&match (removed, filters) {
        (0, 0) => format!("nothing is pinned in {folder}: there was nothing to detach"),
        (0, _) => format!("removed {filters} filters of interfaces; nothing is pinned in {folder}"),
        (_, 0) => {
            format!("removed {removed} pins in {folder}: no policy is enforced by them any more")
        }
        _ => format!(
            "removed {removed} pins in {folder} and {filters} filters of interfaces: no policy is \
             enforced by them any more"
        ),
    });
    let note = |path: &PathBuf| {
        format!("{} was not removed: it is not a pin of the agent", path.display())
    };
    terminal::notes(&left.iter().map(note).collect::<Vec<_>>());
}

/// Waits for SIGTERM; the first process of a container does not receive it without a handler.
fn stay() -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        signal(SignalKind::terminate())?.recv().await;
        Ok(())
    })
}
