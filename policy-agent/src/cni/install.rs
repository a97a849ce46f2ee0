//! The chained plugin on its node: its program, and its entry in the configuration.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use policy_cni::PLUGIN;
use serde_json::json;

use super::{
    conflist,
    files::{self, InstallError, configurations, edit, failed},
};

/// What happens to pods that the agent does not speak for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fail {
    /// They do not start.
    #[default]
    Closed,
    /// They start without their policies.
    Open,
}

/// What is put where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// The plugin's program, to be copied.
    pub program: PathBuf,
    /// Folder of the node's plugins.
    pub bin_dir: PathBuf,
    /// Folder of the node's configurations.
    pub conf_dir: PathBuf,
    /// The agent's socket, as the plugin sees it.
    pub socket: PathBuf,
    /// What happens to pods that the agent does not speak for.
    pub fail: Fail,
}

impl Installation {
    /// Puts the program and the entry where they belong; the configuration that was changed, if any
    /// was.
    ///
    /// # Errors
    ///
    /// Where that cannot be: nothing is left half written.
    pub fn ensure(&self) -> Result<Option<PathBuf>, InstallError> {
        // Before anybody is told to run it.
        self.ensure_program()?;
        // The configuration that the runtime takes.
        let first = configurations(&self.conf_dir)?.into_iter().next();
        let path = first.ok_or_else(|| InstallError::None(self.conf_dir.clone()))?;
        // A link stays one.
        let file = fs::canonicalize(&path).map_err(failed("find", &path))?;
        let entry = self.entry();
        let with = |text: &str| match conflist::with(text, &entry) {
            Ok(with) => Ok((with != text).then_some(with)),
            Err(source) => Err(InstallError::Configuration { path: path.clone(), source }),
        };
        let changed = edit(&file, with, || {})?;
        Ok(changed.then_some(path))
    }

    fn ensure_program(&self) -> Result<(), InstallError> {
        let wanted = fs::read(&self.program).map_err(failed("read", &self.program))?;
        let path = self.bin_dir.join(PLUGIN);
        let is_executable = || {
            let about = fs::metadata(&path);
            about.is_ok_and(|about| about.permissions().mode() & 0o111 == 0o111)
        };
        if fs::read(&path).is_ok_and(|found| found == wanted) && is_executable() {
            return Ok(());
        }
        files::replace(&path, &wanted, 0o755)
    }

    fn entry(&self) -> String {
        let fail = match self.fail {
            Fail::Closed => "closed",
            Fail::Open => "open",
        };
        json!({"type": PLUGIN, "socket": self.socket, "fail": fail}).to_string()
    }
}
