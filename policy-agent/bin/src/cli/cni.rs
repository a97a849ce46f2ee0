//! Options about CNI: the chained plugin, and the container runtime's own files.

use std::{env, io, path::PathBuf};

use clap::{Args, ValueEnum};
use policy_agent::{cni::Installation, daemon::CniConfig};
use policy_cni::{FailMode, PLUGIN, protocol::DEFAULT_SOCKET};

/// The CNI options of `policy-agent run`.
#[derive(Debug, Args)]
pub(super) struct CniOptions {
    /// Listen on this Unix socket for the chained plugin, which delays the start of a pod until its
    /// policies are in force [default: no socket; without SOCKET: /run/policy-agent/cni.sock]
    #[arg(long, value_name = "SOCKET", num_args = 0..=1, default_missing_value = DEFAULT_SOCKET)]
    cni_socket: Option<PathBuf>,

    /// Read the addresses of new pods from this folder of the container runtime, usually
    /// /var/lib/cni/results, before the API server publishes them
    #[arg(long, value_name = "DIR")]
    cni_cache: Option<PathBuf>,

    /// Add the chained plugin to the node's CNI configuration, and add it again when the
    /// configuration is rewritten; `policy-agent detach` removes it
    #[arg(long, requires = "cni_socket")]
    install_cni: bool,

    #[command(flatten)]
    folders: Folders,

    /// Program of the chained plugin, to be copied to the folder of the CNI plugins [default:
    /// policy-cni beside this program]
    #[arg(long, value_name = "FILE", requires = "install_cni")]
    cni_plugin: Option<PathBuf>,

    /// What the chained plugin does when the agent does not confirm a pod in time
    #[arg(long, value_name = "FAIL", value_enum, default_value_t, requires = "install_cni")]
    cni_fail: FailOption,
}

/// Folders of the node's CNI plugins and configurations.
#[derive(Debug, Args)]
pub(super) struct Folders {
    /// Folder of the node's CNI configurations
    #[arg(long = "cni-conf-dir", value_name = "DIR", default_value = "/etc/cni/net.d")]
    pub(super) conf_dir: PathBuf,

    /// Folder of the node's CNI plugins
    #[arg(long = "cni-bin-dir", value_name = "DIR", default_value = "/opt/cni/bin")]
    pub(super) bin_dir: PathBuf,
}

/// What happens to a pod that the agent does not confirm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum FailOption {
    /// The pod does not start, and the container runtime retries
    #[default]
    Closed,
    /// The pod starts without its policies
    Open,
}

impl CniOptions {
    /// Returns the configuration of the daemon.
    ///
    /// # Errors
    ///
    /// Where the path of this program cannot be read, which the path of the plugin depends on.
    pub(super) fn config(self) -> io::Result<CniConfig> {
        let Self { cni_socket: socket, cni_cache: cache, folders, .. } = self;
        let installation = match &socket {
            Some(socket) if self.install_cni => Some(Installation {
                program: match self.cni_plugin {
                    Some(program) => program,
                    None => env::current_exe()?.with_file_name(PLUGIN),
                },
                bin_dir: folders.bin_dir,
                conf_dir: folders.conf_dir,
                socket: socket.clone(),
                fail: match self.cni_fail {
                    FailOption::Closed => FailMode::Closed,
                    FailOption::Open => FailMode::Open,
                },
            }),
            _ => None,
        };
        Ok(CniConfig { socket, cache, installation })
    }
}
