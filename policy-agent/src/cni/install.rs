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

/// What was not where it belongs, and was put there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Whether the program was.
    pub program: bool,
    /// The configuration that has the entry now.
    pub entry: Option<PathBuf>,
}

impl Written {
    /// Whether anything was.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.program || self.entry.is_some()
    }
}

impl Installation {
    /// Puts the program and the entry where they belong.
    ///
    /// # Errors
    ///
    /// Where that cannot be: nothing is left half written.
    pub fn ensure(&self) -> Result<Written, InstallError> {
        // Before anybody is told to run it.
        let program = self.ensure_program()?;
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
        Ok(Written { program, entry: changed.then_some(path) })
    }

    /// Whether the program and the entry are where they belong; nothing is written.
    #[must_use]
    pub fn stands(&self) -> bool {
        let entry = self.entry();
        let is_entered = || {
            let first = configurations(&self.conf_dir).ok()?.into_iter().next()?;
            let text = files::read(&first).ok()?;
            Some(conflist::with(&text, &entry).ok()? == text)
        };
        self.missing_program().is_ok_and(|missing| missing.is_none()) && is_entered() == Some(true)
    }

    /// Whether the program was put there.
    fn ensure_program(&self) -> Result<bool, InstallError> {
        let Some(program) = self.missing_program()? else { return Ok(false) };
        files::replace(&self.bin_dir.join(PLUGIN), &program, 0o755)?;
        Ok(true)
    }

    /// The program, where it is not in its place.
    fn missing_program(&self) -> Result<Option<Vec<u8>>, InstallError> {
        let wanted = fs::read(&self.program).map_err(failed("read", &self.program))?;
        let path = self.bin_dir.join(PLUGIN);
        let is_executable = || {
            let about = fs::metadata(&path);
            about.is_ok_and(|about| about.permissions().mode() & 0o111 == 0o111)
        };
        let is_there = fs::read(&path).is_ok_and(|found| found == wanted) && is_executable();
        Ok((!is_there).then_some(wanted))
    }

    fn entry(&self) -> String {
        let fail = match self.fail {
            Fail::Closed => "closed",
            Fail::Open => "open",
        };
        json!({"type": PLUGIN, "socket": self.socket, "fail": fail}).to_string()
    }
}
