//! Options about the container runtime's network plugins.

use std::{env, io, path::PathBuf};

use clap::{Args, ValueEnum};
use policy_cni::{PLUGIN, protocol::DEFAULT_SOCKET};

use crate::{
    cni::{FailMode, Installation},
    daemon::CniConfig,
};

/// What of the runtime is asked, told and changed.
#[derive(Debug, Args)]
pub(super) struct CniOptions {
    /// Where the chained plugin asks whether a pod is under its policies, before its first container
    /// starts; nowhere by default
    #[arg(long, value_name = "SOCKET", num_args = 0..=1, default_missing_value = DEFAULT_SOCKET)]
    cni_socket: Option<PathBuf>,

    /// Folder in which the runtime keeps what each pod was given (/var/lib/cni/results): read to know
    /// pods' addresses before the API server does
    #[arg(long, value_name = "DIR")]
    cni_cache: Option<PathBuf>,

    /// Chain the plugin in the node's CNI configuration, and put it back whenever that is rewritten;
    /// `policy-agent detach` takes it out
    #[arg(long, requires = "cni_socket")]
    install_cni: bool,

    #[command(flatten)]
    folders: Folders,

    /// The plugin's program, to be copied; the one beside this program by default
    #[arg(long, value_name = "FILE", requires = "install_cni")]
    cni_plugin: Option<PathBuf>,

    /// What happens to a pod that the agent does not speak for in time
    #[arg(long, value_name = "FAIL", value_enum, default_value_t, requires = "install_cni")]
    cni_fail: FailOption,
}

/// Where the node's plugins are.
#[derive(Debug, Args)]
pub(super) struct Folders {
    /// Folder of the node's CNI configurations
    #[arg(long = "cni-conf-dir", value_name = "DIR", default_value = "/etc/cni/net.d")]
    pub(super) conf_dir: PathBuf,

    /// Folder of the node's CNI plugins
    #[arg(long = "cni-bin-dir", value_name = "DIR", default_value = "/opt/cni/bin")]
    pub(super) bin_dir: PathBuf,
}

/// A pod that the agent does not speak for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum FailOption {
    /// It does not start, and the runtime tries again
    #[default]
    Closed,
    /// It starts without its policies
    Open,
}

impl CniOptions {
    /// The daemon's part of it.
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
