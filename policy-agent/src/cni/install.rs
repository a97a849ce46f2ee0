//! The chained plugin on its node: its program, and its entry in the configuration.
//!
//! Whoever owns the configuration may write it again at any time; the entry is put back then.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use policy_cni::PLUGIN;
use serde_json::json;
use thiserror::Error;
use tokio::time::timeout;

use super::conflist::{self, ConflistError};
use crate::watch::Watch;

/// How often the folder is looked at although nothing was told of it.
const LOOK: Duration = Duration::from_secs(10);

/// Files that a runtime reads as configurations; the first by name is the node's.
const EXTENSIONS: [&str; 3] = ["conf", "conflist", "json"];

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

/// Why the plugin is not as it should be.
#[derive(Debug, Error)]
pub enum InstallError {
    /// A file or folder.
    #[error("cannot {act} {path}")]
    File {
        /// What was tried.
        act: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// No configuration is there yet.
    #[error("no CNI configuration in {0} yet")]
    None(PathBuf),
    /// A configuration.
    #[error("cannot chain the plugin in {path}")]
    Configuration {
        /// The file.
        path: PathBuf,
        /// What it lacks.
        #[source]
        source: ConflistError,
    },
}

/// Puts the plugin where it belongs, and back whenever it is no longer there; never ends.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O and time enabled.
pub async fn stay(installation: Installation) {
    let mut last = None;
    loop {
        // Watched before it is looked at, so that no change falls between.
        let mut watch = Watch::open(&installation.conf_dir).ok();
        loop {
            let now = installation.ensure().map_err(|error| chain(&error));
            if last.as_ref() != Some(&now) || matches!(now, Ok(Some(_))) {
                tell(&now);
            }
            last = Some(now);
            let Some(watch) = &mut watch else {
                tokio::time::sleep(LOOK).await;
                break;
            };
            if let Ok(Err(_)) = timeout(LOOK, watch.next()).await {
                break;
            }
        }
    }
}

fn tell(now: &Result<Option<PathBuf>, String>) {
    match now {
        Ok(Some(path)) => {
            tracing::info!(path = %path.display(), "pods wait for their policies from now on");
        }
        Ok(None) => tracing::info!("pods wait for their policies"),
        Err(error) => tracing::error!("pods do not wait for their policies: {error}"),
    }
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
        let path =
            first(&self.conf_dir)?.ok_or_else(|| InstallError::None(self.conf_dir.clone()))?;
        let before = read(&path)?;
        let after = conflist::with(&before, &self.entry());
        let after =
            after.map_err(|source| InstallError::Configuration { path: path.clone(), source })?;
        if after == before {
            return Ok(None);
        }
        replace(&path, after.as_bytes(), mode(&path)?)?;
        Ok(Some(path))
    }

    fn ensure_program(&self) -> Result<(), InstallError> {
        let wanted = fs::read(&self.program).map_err(failed("read", &self.program))?;
        let path = self.bin_dir.join(PLUGIN);
        if fs::read(&path).is_ok_and(|found| found == wanted) && mode(&path)? & 0o111 == 0o111 {
            return Ok(());
        }
        replace(&path, &wanted, 0o755)
    }

    fn entry(&self) -> String {
        let fail = match self.fail {
            Fail::Closed => "closed",
            Fail::Open => "open",
        };
        json!({"type": PLUGIN, "socket": self.socket, "fail": fail}).to_string()
    }
}

/// Takes the plugin out of every configuration of a folder, then its program away; folders that do
/// not exist have neither.
///
/// # Errors
///
/// The first failure; what could be taken away is.
pub fn remove(conf_dir: &Path, bin_dir: &Path) -> Result<(), InstallError> {
    let mut result = Ok(());
    for path in configurations(conf_dir)? {
        let taken = read(&path).and_then(|text| match conflist::without(&text) {
            Ok(Some(without)) => replace(&path, without.as_bytes(), mode(&path)?),
            // What cannot be read as a list has no entry of ours.
            Ok(None) | Err(_) => Ok(()),
        });
        result = result.and(taken);
    }
    // A list that still names a program which is gone starts no pod.
    result?;
    let program = bin_dir.join(PLUGIN);
    match fs::remove_file(&program) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(failed("remove", &program)),
    }
}

/// The configuration that the runtime takes.
fn first(folder: &Path) -> Result<Option<PathBuf>, InstallError> {
    Ok(configurations(folder)?.into_iter().next())
}

/// Configurations, by name; of a folder that does not exist, none.
fn configurations(folder: &Path) -> Result<Vec<PathBuf>, InstallError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed("list", folder))?,
    };
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(failed("list", folder))?;
    let is_one = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| EXTENSIONS.contains(&extension))
    };
    paths.retain(is_one);
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<String, InstallError> {
    fs::read_to_string(path).map_err(failed("read", path))
}

fn mode(path: &Path) -> Result<u32, InstallError> {
    Ok(fs::metadata(path).map_err(failed("look at", path))?.permissions().mode() & 0o7777)
}

/// Puts a file in place of another, whole at every instant.
fn replace(path: &Path, content: &[u8], mode: u32) -> Result<(), InstallError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // No runtime takes it for a configuration or a plugin.
    let aside = path.with_file_name(format!(".{name}.{PLUGIN}-new"));
    let written = File::create(&aside).and_then(|mut file| {
        file.write_all(content)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()
    });
    let replaced = written.and_then(|()| fs::rename(&aside, path));
    if replaced.is_err() {
        let _ = fs::remove_file(&aside);
    }
    replaced.map_err(failed("write", path))
}

fn failed(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.to_owned();
    move |source| InstallError::File { act, path, source }
}

fn chain(error: &InstallError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
