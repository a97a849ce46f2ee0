//! A folder of ordinary manifests, read again whenever it changes.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    time::Duration,
};

use policy_cli::{sources, terminal};
use policy_manifest::{ManifestError, Manifests, Source, render};
use thiserror::Error;
use tokio::{
    sync::mpsc,
    time::{self, Instant},
};

use crate::{chain::chain, watch::Watch};

/// How long a folder must have been quiet before it is read: an editor writes in several acts.
const QUIET: Duration = Duration::from_millis(50);
/// How long it is waited for that: others may write there without an end.
const PATIENCE: Duration = Duration::from_millis(300);
/// How often a folder is read although nothing was told of it: what links lead to is not watched.
const LOOK: Duration = Duration::from_millis(500);

/// Why a folder gives no state of a cluster. What was read before stays good.
#[derive(Debug, Error)]
pub enum FilesError {
    /// A file or the folder cannot be read, or has no manifests.
    #[error(transparent)]
    Read(#[from] sources::Error),
    /// A file that somebody has not finished.
    #[error("somebody still writes {}: it is read when that is done", .0.display())]
    Written(PathBuf),
    /// What stands in them; nothing is taken in part (S54).
    #[error("{}", render(.0, terminal::coloured()))]
    Manifests(Vec<ManifestError>),
}

/// A folder, and what was last read of it.
#[derive(Debug)]
pub struct Files {
    folder: PathBuf,
    watch: Option<Watch>,
    last: Option<Vec<Source>>,
    /// The message of the last failure to read, so that it is told once.
    failure: Option<String>,
    looked: bool,
    /// Whether something happened while it was read.
    stirred: bool,
}

impl Files {
    /// A folder, or a file; it is not read yet, and need not exist.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        Self { folder, watch: None, last: None, failure: None, looked: false, stirred: false }
    }

    /// What the folder holds: the first time at once, then whenever it holds something else.
    ///
    /// Cancelling it may delay the next answer by half a second.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O and time enabled.
    ///
    /// # Errors
    ///
    /// What is wrong with it, once for each change.
    pub async fn next(&mut self) -> Result<Manifests, FilesError> {
        loop {
            if self.looked {
                self.changed().await;
            } else {
                // Watched before it is read, so that no change falls between.
                self.watch = Watch::open(&self.folder).ok();
                self.looked = true;
            }
            match self.read() {
                Ok(read) if self.last.as_ref() == Some(&read) && self.failure.is_none() => {}
                Ok(read) => {
                    self.failure = None;
                    let manifests = policy_manifest::read(&read).map_err(FilesError::Manifests);
                    self.last = Some(read);
                    return manifests;
                }
                Err(error) => {
                    let message = chain(&error);
                    if self.failure.as_ref() != Some(&message) {
                        self.failure = Some(message);
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Reads the folder, unless somebody is about to write into it.
    fn read(&mut self) -> Result<Vec<Source>, FilesError> {
        let before = self.last.as_deref().unwrap_or_default();
        let read = sources::read_again(std::slice::from_ref(&self.folder), before)?;
        let Some(watch) = &mut self.watch else { return Ok(read) };
        // A change that came while it was read.
        let Ok(stirred) = watch.now() else {
            self.watch = None;
            return Ok(read);
        };
        self.stirred = stirred;
        let path = |name: &OsStr| {
            if name.is_empty() { self.folder.clone() } else { self.folder.join(name) }
        };
        let is_read = |path: &PathBuf| read.iter().any(|source| Path::new(&source.name) == path);
        match watch.written().map(path).find(is_read) {
            Some(path) => Err(FilesError::Written(path)),
            None => Ok(read),
        }
    }

    /// Waits until something happened in the folder and it is quiet again, or it is time to look.
    async fn changed(&mut self) {
        let Some(watch) = &mut self.watch else {
            time::sleep(LOOK / 2).await;
            self.watch = Watch::open(&self.folder).ok();
            return;
        };
        let mut outcome = Ok(());
        if !std::mem::take(&mut self.stirred) {
            let Ok(told) = time::timeout(LOOK, watch.next()).await else { return };
            outcome = told;
        }
        let end = Instant::now() + PATIENCE;
        while outcome.is_ok() {
            let quiet = end.min(Instant::now() + QUIET);
            match time::timeout_at(quiet, watch.next()).await {
                Ok(next) => outcome = next,
                Err(_) => return,
            }
        }
        // The folder itself went, or another has taken its place.
        self.watch = Watch::open(&self.folder).ok();
    }
}

/// Follows a folder for as long as the answers are received.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O and time enabled.
#[must_use]
pub fn follow(folder: &Path) -> mpsc::Receiver<Result<Manifests, FilesError>> {
    let mut files = Files::new(folder);
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move { while sender.send(files.next().await).await.is_ok() {} });
    receiver
}

#[cfg(test)]
mod tests {
    use std::{fs, io};

    use super::*;

    const POD: &str = "{apiVersion: v1, kind: Pod, metadata: {name: NAME, namespace: a}}";

    fn runtime() -> io::Result<tokio::runtime::Runtime> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    }

    fn pods(outcome: Result<Manifests, FilesError>) -> Vec<String> {
        match outcome {
            Ok(manifests) => manifests.snapshot.pods.keys().map(ToString::to_string).collect(),
            Err(error) => vec![error.to_string()],
        }
    }

    async fn soon(files: &mut Files) -> Vec<String> {
        match time::timeout(Duration::from_secs(1), files.next()).await {
            Ok(outcome) => pods(outcome),
            Err(_) => vec!["nothing within a second".to_owned()],
        }
    }

    #[test]
    fn a_change_is_followed_within_a_second_and_a_broken_file_told_once() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("a.yaml");
        fs::write(&file, POD.replace("NAME", "one"))?;
        runtime()?.block_on(async {
            let mut files = Files::new(folder.path());
            assert_eq!(soon(&mut files).await, ["a/one"]);
            fs::write(&file, POD.replace("NAME", "two"))?;
            assert_eq!(soon(&mut files).await, ["a/two"]);
            fs::write(&file, "kind: [")?;
            let broken = soon(&mut files).await;
            assert!(broken[0].contains("a.yaml:1"), "{broken:?}");
            assert_eq!(soon(&mut files).await, ["nothing within a second"]);
            fs::write(folder.path().join("b.tmp"), POD.replace("NAME", "three"))?;
            fs::rename(folder.path().join("b.tmp"), &file)?;
            assert_eq!(soon(&mut files).await, ["a/three"]);
            fs::remove_file(&file)?;
            assert!(soon(&mut files).await[0].contains("holds no"), "an emptied folder");
            Ok(())
        })
    }

    #[test]
    fn s54_what_is_half_there_leaves_the_last_good_state() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a.yaml"), POD.replace("NAME", "one"))?;
        fs::write(path("target"), POD.replace("NAME", "two"))?;
        std::os::unix::fs::symlink(path("target"), path("b.yaml"))?;
        runtime()?.block_on(async {
            let mut files = Files::new(folder.path());
            assert_eq!(soon(&mut files).await, ["a/one", "a/two"]);
            fs::write(path("a.yaml"), "")?;
            assert!(soon(&mut files).await[0].contains("a.yaml is empty"), "before it is written");
            fs::write(path("a.yaml"), POD.replace("NAME", "three"))?;
            assert_eq!(soon(&mut files).await, ["a/three", "a/two"]);
            fs::write(path("target"), POD.replace("NAME", "four"))?;
            assert_eq!(soon(&mut files).await, ["a/four", "a/three"], "where a link leads to");
            fs::remove_file(path("target"))?;
            assert!(soon(&mut files).await[0].contains("b.yaml"), "a link that leads nowhere");
            Ok(())
        })
    }

    #[test]
    fn s54_a_file_that_is_written_in_several_acts_is_read_when_it_is_whole() -> io::Result<()> {
        use std::io::Write as _;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("a.yaml");
        let whole = ["one", "two"].map(|name| POD.replace("NAME", name)).join("\n---\n");
        fs::write(&file, &whole)?;
        for watched in [folder.path(), &file] {
            runtime()?.block_on(async {
                let mut files = Files::new(watched);
                assert_eq!(soon(&mut files).await, ["a/one", "a/two"]);
                let (half, rest) = whole.split_at(whole.find("\n---").unwrap_or_default());
                let mut writer = fs::File::create(&file)?;
                writer.write_all(half.as_bytes())?;
                let told = soon(&mut files).await;
                assert!(told[0].contains("somebody still writes"), "{told:?}");
                assert_eq!(soon(&mut files).await, ["nothing within a second"], "{watched:?}");
                writer.write_all(rest.replace("two", "three").as_bytes())?;
                assert_eq!(soon(&mut files).await, ["nothing within a second"], "{watched:?}");
                drop(writer);
                assert_eq!(soon(&mut files).await, ["a/one", "a/three"], "{watched:?}");
                fs::write(&file, &whole)
            })?;
        }
        Ok(())
    }

    #[test]
    fn a_queue_of_events_that_overflows_hides_no_file_for_good() -> io::Result<()> {
        use std::io::Write as _;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("a.yaml");
        fs::write(&file, POD.replace("NAME", "one"))?;
        runtime()?.block_on(async {
            let mut files = Files::new(folder.path());
            assert_eq!(soon(&mut files).await, ["a/one"]);
            let mut writer = fs::File::create(&file)?;
            writer.write_all(POD.replace("NAME", "two").as_bytes())?;
            let mut noise = fs::File::create(folder.path().join("a.log"))?;
            let mut other = fs::File::create(folder.path().join("b.log"))?;
            // The queue holds 16,384 events (`fs.inotify.max_queued_events`), and equal ones once.
            for _ in 0..10_000 {
                noise.write_all(b"x")?;
                other.write_all(b"x")?;
            }
            drop(writer);
            assert_eq!(soon(&mut files).await, ["a/two"]);
            Ok(())
        })
    }

    #[test]
    fn a_folder_that_is_never_quiet_is_read() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("a.yaml");
        fs::write(&file, POD.replace("NAME", "one"))?;
        runtime()?.block_on(async {
            let mut files = Files::new(folder.path());
            assert_eq!(soon(&mut files).await, ["a/one"]);
            let noise = async {
                loop {
                    let _ = fs::write(folder.path().join("noise"), "");
                    time::sleep(Duration::from_millis(5)).await;
                }
            };
            fs::write(&file, POD.replace("NAME", "two"))?;
            let seen = tokio::select! { seen = soon(&mut files) => seen, () = noise => Vec::new() };
            assert_eq!(seen, ["a/two"]);
            Ok(())
        })
    }

    #[test]
    fn a_pipe_goes_on_to_say_what_it_said() -> io::Result<()> {
        use std::{io::Write as _, os::fd::AsRawFd as _};
        let (reader, mut writer) = io::pipe()?;
        writer.write_all(POD.replace("NAME", "one").as_bytes())?;
        drop(writer);
        runtime()?.block_on(async {
            let mut files = Files::new(format!("/proc/self/fd/{}", reader.as_raw_fd()));
            assert_eq!(soon(&mut files).await, ["a/one"]);
            assert_eq!(soon(&mut files).await, ["nothing within a second"]);
            Ok(())
        })
    }

    #[test]
    fn a_folder_that_is_replaced_is_found_again() -> io::Result<()> {
        let place = tempfile::tempdir()?;
        let (folder, other) = (place.path().join("now"), place.path().join("next"));
        for (folder, name) in [(&folder, "one"), (&other, "two")] {
            fs::create_dir(folder)?;
            fs::write(folder.join("a.yaml"), POD.replace("NAME", name))?;
        }
        runtime()?.block_on(async {
            let mut files = Files::new(&folder);
            assert_eq!(soon(&mut files).await, ["a/one"]);
            fs::rename(&folder, place.path().join("before"))?;
            fs::rename(&other, &folder)?;
            assert_eq!(soon(&mut files).await, ["a/two"]);
            fs::write(folder.join("a.yaml"), POD.replace("NAME", "three"))?;
            assert_eq!(soon(&mut files).await, ["a/three"]);
            Ok(())
        })
    }
}
