//! The chained plugin taken off its node, and the socket that it asked at.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::{fs::FileTypeExt as _, net::UnixStream},
    path::{Path, PathBuf},
};

use nix::errno::Errno;
use policy_cni::PLUGIN;

use super::{
    conflist,
    files::{self, InstallError, configurations, edit, failed, remove_asides},
    root::Root,
};

/// What an agent may have left on a node, whether or not it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remains {
    /// Where the node's root folder is mounted; the others are as the node sees them.
    pub root: PathBuf,
    /// Folder of the node's plugins.
    pub bin_dir: PathBuf,
    /// Folder of the node's configurations.
    pub conf_dir: PathBuf,
    /// The agent's socket.
    pub socket: PathBuf,
}

impl Remains {
    /// Takes the plugin out of every configuration, then its program away, and what was left half
    /// written. Folders stay: a runtime watches an empty one too.
    ///
    /// # Errors
    ///
    /// The first failure; what could be taken away is. The program stays where a configuration may
    /// need it still, and all of it where an agent answers, which would put it back.
    pub fn remove_plugin(&self) -> Result<(), InstallError> {
        let root = self.open()?;
        let socket = find(&root, &self.socket)?;
        if socket.is_some_and(|socket| UnixStream::connect(socket).is_ok()) {
            return Err(InstallError::Answered(self.socket.clone()));
        }
        if let Some(folder) = find(&root, &self.conf_dir)? {
            let mut result = remove_asides(&folder);
            for path in configurations(&folder)? {
                result = result.and(self.take_out(&root, path.file_name().unwrap_or_default()));
            }
            // A list that still names a program which is gone starts no pod.
            result?;
        }
        if let Some(folder) = find(&root, &self.bin_dir)? {
            remove_asides(&folder)?;
            files::remove(&folder.join(PLUGIN))?;
        }
        Ok(())
    }

    /// Takes the socket away, and its folder where that is empty then.
    ///
    /// # Errors
    ///
    /// The first failure.
    pub fn remove_socket(&self) -> Result<(), InstallError> {
        let parts = (self.socket.parent(), self.socket.file_name());
        let (Some(folder), Some(name)) = parts else { return Ok(()) };
        let Some(folder) = find(&self.open()?, folder)? else { return Ok(()) };
        let socket = folder.join(name);
        match fs::symlink_metadata(&socket) {
            Ok(found) if found.file_type().is_socket() => files::remove(&socket)?,
            Ok(_) => return Ok(()),
            Err(_) => {}
        }
        let Err(error) = fs::remove_dir(&folder) else { return Ok(()) };
        match error.raw_os_error().map(Errno::from_raw) {
            // Somebody else's, or where a volume is mounted.
            Some(Errno::ENOTEMPTY | Errno::EBUSY | Errno::ENOENT) => Ok(()),
            _ => Err(failed("remove", &folder)(error)),
        }
    }

    fn open(&self) -> Result<Root, InstallError> {
        Root::open(&self.root).map_err(failed("open", &self.root))
    }

    fn take_out(&self, root: &Root, name: &OsStr) -> Result<(), InstallError> {
        // A link that leads nowhere is no configuration.
        let Some(path) = find(root, &self.conf_dir.join(name))? else { return Ok(()) };
        let without = |text: &str| match conflist::without(text) {
            // Half of a list, or the plugin alone.
            Err(source) if text.contains(PLUGIN) => {
                Err(InstallError::Kept { path: path.clone(), source })
            }
            without => Ok(without.unwrap_or_default()),
        };
        match edit(&path, without, || {}) {
            // What is no text is no configuration.
            Err(InstallError::File { source, .. }) if is_none(&source) => Ok(()),
            edited => edited.map(drop),
        }
    }
}

/// Whether nothing is there, or nothing that can be read as text.
fn is_none(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, IsADirectory, NotFound};
    matches!(error.kind(), InvalidData | IsADirectory | NotFound)
}

fn find(root: &Root, path: &Path) -> Result<Option<PathBuf>, InstallError> {
    root.find(path).map_err(failed("find", path))
}
