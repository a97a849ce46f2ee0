//! The nodes' lists of CNI plugins, rewritten as another installer would do.
//!
//! The agent must notice that its plugin is gone from a list and add it again.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testbed::layout::Layout;
use testbed::running_nodes;

/// The folder, in a node's home.
const FOLDER: &str = "etc/cni/net.d";

/// Time in which the agent must add the plugin again.
const PATIENCE: Duration = Duration::from_mins(1);

/// Time in which a container runtime reads a new list.
const READ: Duration = Duration::from_secs(1);

/// The content of the lists before the plugin was added.
pub(super) struct Configuration {
    lists: Vec<(PathBuf, String)>,
}

impl Configuration {
    /// Reads the lists of all nodes.
    pub(super) fn read(layout: &Layout) -> Result<Self> {
        let mut lists = Vec::new();
        for name in running_nodes(layout)? {
            for path in files(&layout.node(&name).join(FOLDER))? {
                let text = fs::read_to_string(&path)?;
                ensure!(!text.contains("policy-cni"), "{} has the plugin", path.display());
                lists.push((path, text));
            }
        }
        ensure!(!lists.is_empty(), "no list of plugins");
        Ok(Self { lists })
    }

    /// Restores the lists without the plugin; returns how long the agent needs to add it again.
    pub(super) fn rewrite(&self, write: fn(&Path, &str) -> Result<()>) -> Result<Duration> {
        for (path, text) in &self.lists {
            write(path, text)?;
        }
        self.has_plugin()
    }

    /// Waits until each list has the plugin and the runtime has read it; returns the first time.
    pub(super) fn has_plugin(&self) -> Result<Duration> {
        let start = Instant::now();
        let has_plugin =
            |path: &Path| fs::read_to_string(path).is_ok_and(|text| text.contains("policy-cni"));
        while !self.lists.iter().all(|(path, _)| has_plugin(path)) {
            ensure!(start.elapsed() < PATIENCE, "the plugin is not put back");
            thread::sleep(Duration::from_millis(1));
        }
        let took = start.elapsed();
        thread::sleep(READ);
        Ok(took)
    }

    /// Fails if a list differs from its first content, or if a file was left beside it.
    pub(super) fn is_back(&self) -> Result<()> {
        for (path, text) in &self.lists {
            let folder = path.parent().context("a file without a folder")?;
            let count = self.lists.iter().filter(|(other, _)| other.parent() == Some(folder));
            ensure!(files(folder)?.len() == count.count(), "{} has more files", folder.display());
            ensure!(fs::read_to_string(path)? == *text, "{} is not as before", path.display());
        }
        Ok(())
    }
}

/// Writes into the same file.
pub(super) fn over(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Replaces the file by another one of the same name.
pub(super) fn in_place_of(path: &Path, text: &str) -> Result<()> {
    let other = path.with_extension("tmp");
    over(&other, text)?;
    fs::rename(&other, path).with_context(|| format!("cannot replace {}", path.display()))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
