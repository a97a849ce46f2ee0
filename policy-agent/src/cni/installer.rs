//! Installs the chained plugin on its node: its program, and its entry in the CNI configuration.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use policy_cni::{FailMode, PLUGIN};
use serde_json::json;

use super::{
    atomic_file::{self, InstallError, configurations, edit, failed},
    conflist,
};

/// What to install, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// The plugin's program, which is copied.
    pub program: PathBuf,
    /// Folder of the node's plugins.
    pub bin_dir: PathBuf,
    /// Folder of the node's CNI configurations.
    pub conf_dir: PathBuf,
    /// The agent's socket, as the plugin sees it.
    pub socket: PathBuf,
    /// What happens to pods that the agent does not enforce policies for in time.
    pub fail: FailMode,
}

/// What an installation had to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Whether it wrote the program.
    pub program: bool,
    /// The configuration that it added the entry to.
    pub entry: Option<PathBuf>,
}

impl Written {
    /// Whether it wrote anything.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.program || self.entry.is_some()
    }
}

impl Installation {
    /// Writes the program and the entry where they are missing.
    ///
    /// # Errors
    ///
    /// [`InstallError`]; no file is incomplete then.
    pub fn install(&self) -> Result<Written, InstallError> {
        // The program comes first: the runtime runs it as soon as the entry is there.
        let program = self.install_program()?;
        // The runtime uses the first configuration.
        let first = configurations(&self.conf_dir)?.into_iter().next();
        let path = first.ok_or_else(|| InstallError::NoConfiguration(self.conf_dir.clone()))?;
        // Edits the target of a link, so that the link stays.
        let file = fs::canonicalize(&path).map_err(failed("find", &path))?;
        let entry = self.entry();
        let with = |text: &str| match conflist::with(text, &entry) {
            Ok(with) => Ok((with != text).then_some(with)),
            Err(source) => Err(InstallError::Configuration { path: path.clone(), source }),
        };
        let changed = edit(&file, with, || {})?;
        Ok(Written { program, entry: changed.then_some(path) })
    }

    /// Whether the program and the entry are installed; writes nothing.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        let entry = self.entry();
        let is_entered = || {
            let first = configurations(&self.conf_dir).ok()?.into_iter().next()?;
            let text = atomic_file::read(&first).ok()?;
            Some(conflist::with(&text, &entry).ok()? == text)
        };
        self.missing_program().is_ok_and(|missing| missing.is_none()) && is_entered() == Some(true)
    }

    /// Copies the program where it is missing; whether it was.
    fn install_program(&self) -> Result<bool, InstallError> {
        let Some(program) = self.missing_program()? else { return Ok(false) };
        atomic_file::replace(&self.bin_dir.join(PLUGIN), &program, 0o755)?;
        Ok(true)
    }

    /// The content of the program, if it is not installed.
    fn missing_program(&self) -> Result<Option<Vec<u8>>, InstallError> {
        let content = fs::read(&self.program).map_err(failed("read", &self.program))?;
        let path = self.bin_dir.join(PLUGIN);
        let is_executable = || {
            let about = fs::metadata(&path);
            about.is_ok_and(|about| about.permissions().mode() & 0o111 == 0o111)
        };
        let is_there = fs::read(&path).is_ok_and(|found| found == content) && is_executable();
        Ok((!is_there).then_some(content))
    }

    /// The plugin's entry in the list.
    fn entry(&self) -> String {
        json!({"type": PLUGIN, "socket": self.socket, "fail": self.fail}).to_string()
    }
}
