//! Removes the chained plugin from its node, and the agent's socket.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::{fs::FileTypeExt as _, net::UnixStream},
    path::{Path, PathBuf},
};

use nix::errno::Errno;
use policy_cni::PLUGIN;

use super::{
    atomic_file::{self, InstallError, configurations, edit, failed, remove_new_files},
    conflist,
    host_root::HostRoot,
};

/// Name of the socket with the agent's status, beside that for the plugin.
const STATUS_SOCKET: &str = "status.sock";

/// Where an agent may have installed something; none of it needs to exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uninstaller {
    /// Where the node's root folder is mounted; the other paths are those on the node.
    pub root: PathBuf,
    /// Folder of the node's plugins.
    pub bin_dir: PathBuf,
    /// Folder of the node's CNI configurations.
    pub conf_dir: PathBuf,
    /// The agent's socket.
    pub socket: PathBuf,
}

impl Uninstaller {
    /// Removes the plugin from every configuration, then its program, and files that a killed agent left
    /// incomplete. Folders stay, because a runtime watches them even if they are empty.
    ///
    /// # Errors
    ///
    /// The first failure; everything else is removed all the same. The program stays where a
    /// configuration may still need it. Nothing is removed while an agent answers at the socket, which
    /// would install the plugin again.
    pub fn remove_plugin(&self) -> Result<(), InstallError> {
        let root = self.open()?;
        let socket = resolve(&root, &self.socket)?;
        if socket.is_some_and(|socket| UnixStream::connect(socket).is_ok()) {
            return Err(InstallError::AgentRunning(self.socket.clone()));
        }
        if let Some(folder) = resolve(&root, &self.conf_dir)? {
            let mut result = remove_new_files(&folder);
            for path in configurations(&folder)? {
                result = result.and(self.remove_from(&root, path.file_name().unwrap_or_default()));
            }
            // No pod starts where a list names a program that does not exist.
            result?;
        }
        if let Some(folder) = resolve(&root, &self.bin_dir)? {
            remove_new_files(&folder)?;
            atomic_file::remove(&folder.join(PLUGIN))?;
        }
        Ok(())
    }

    /// Removes the socket, that of the status beside it, and their folder if it is then empty.
    ///
    /// # Errors
    ///
    /// The first failure.
    pub fn remove_socket(&self) -> Result<(), InstallError> {
        let parts = (self.socket.parent(), self.socket.file_name());
        let (Some(folder), Some(name)) = parts else { return Ok(()) };
        let Some(folder) = resolve(&self.open()?, folder)? else { return Ok(()) };
        for socket in [folder.join(name), folder.join(STATUS_SOCKET)] {
            match fs::symlink_metadata(&socket) {
                Ok(found) if found.file_type().is_socket() => atomic_file::remove(&socket)?,
                Ok(_) => return Ok(()),
                Err(_) => {}
            }
        }
        let Err(error) = fs::remove_dir(&folder) else { return Ok(()) };
        match error.raw_os_error().map(Errno::from_raw) {
            // It holds files of others, or is a mount point.
            Some(Errno::ENOTEMPTY | Errno::EBUSY | Errno::ENOENT) => Ok(()),
            _ => Err(failed("remove", &folder)(error)),
        }
    }

    fn open(&self) -> Result<HostRoot, InstallError> {
        HostRoot::open(&self.root).map_err(failed("open", &self.root))
    }

    fn remove_from(&self, root: &HostRoot, name: &OsStr) -> Result<(), InstallError> {
        // A link to a missing file is not a configuration.
        let Some(path) = resolve(root, &self.conf_dir.join(name))? else { return Ok(()) };
        let without = |text: &str| match conflist::without(text) {
            // An incomplete list, or a configuration of the plugin alone.
            Err(source) if text.contains(PLUGIN) => {
                Err(InstallError::StillUsed { path: path.clone(), source })
            }
            without => Ok(without.unwrap_or_default()),
        };
        match edit(&path, without, || {}) {
            // A file that is not text is not a configuration.
            Err(InstallError::File { source, .. }) if is_no_text(&source) => Ok(()),
            edited => edited.map(drop),
        }
    }
}

/// Whether a file cannot be read because it is missing or not text.
fn is_no_text(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, IsADirectory, NotFound};
    matches!(error.kind(), InvalidData | IsADirectory | NotFound)
}

fn resolve(root: &HostRoot, path: &Path) -> Result<Option<PathBuf>, InstallError> {
    root.resolve(path).map_err(failed("find", path))
}
