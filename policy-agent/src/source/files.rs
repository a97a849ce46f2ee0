//! A folder of ordinary manifests as the state of a cluster.
//!
//! Input: a folder or file. Output: the whole state at the start and after each change, or what is
//! wrong with the files. Nothing is taken in part: the caller keeps the last good state (S54). A
//! change is read once the folder is quiet for 50 ms and no file in it is being written, and at least
//! every 500 ms, because what symbolic links lead to is not watched.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    time::Duration,
};

use policy_manifest::{ManifestError, Manifests, Source};
use thiserror::Error;
use tokio::{
    sync::mpsc,
    time::{self, Instant},
};

use crate::{chain::chain, inotify::FolderWatch};

/// How long a folder must be quiet before it is read: an editor writes in several steps.
const QUIET: Duration = Duration::from_millis(50);
/// Longest wait for that: other programs may write into the folder all the time.
const QUIET_LIMIT: Duration = Duration::from_millis(300);
/// Time after which a folder without events is read: the targets of links are not watched.
const POLL: Duration = Duration::from_millis(500);

/// Why a folder gives no state of a cluster. The last good state is still valid.
#[derive(Debug, Error)]
pub enum FilesError {
    /// A file or the folder cannot be read, or has no manifests.
    #[error(transparent)]
    Read(#[from] policy_files::Error),
    /// A file that another program has not closed.
    #[error("another program is writing {}; it is read when that program closes it", .0.display())]
    Unfinished(PathBuf),
    /// Errors in the manifests; none of them is applied (S54).
    #[error("{}", lines(.0))]
    Manifests(Vec<ManifestError>),
}

/// A folder, and what was read from it last.
#[derive(Debug)]
pub struct Files {
    folder: PathBuf,
    watch: Option<FolderWatch>,
    last: Option<Vec<Source>>,
    /// The message of the last failure, so that it is reported once.
    failure: Option<String>,
    was_read: bool,
    /// An event came while the folder was read.
    changed_meanwhile: bool,
}

impl Files {
    /// A folder, or a file; it is not read yet, and need not exist.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        Self {
            folder,
            watch: None,
            last: None,
            failure: None,
            was_read: false,
            changed_meanwhile: false,
        }
    }

    /// The state of the folder: at once the first time, then after each change.
    ///
    /// Cancelling it may delay the next result by half a second.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O and time enabled.
    ///
    /// # Errors
    ///
    /// What is wrong with the folder, once for each change.
    pub async fn next(&mut self) -> Result<Manifests, FilesError> {
        loop {
            if self.was_read {
                self.changed().await;
            } else {
                // Watched before it is read, so that no change falls between.
                self.watch = FolderWatch::open(&self.folder).ok();
                self.was_read = true;
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

    /// Reads the folder, unless another program is writing one of its manifests.
    fn read(&mut self) -> Result<Vec<Source>, FilesError> {
        let before = self.last.as_deref().unwrap_or_default();
        let read = policy_files::reread(std::slice::from_ref(&self.folder), before)?;
        let Some(watch) = &mut self.watch else { return Ok(read) };
        // A change that came while it was read.
        let Ok(changed_meanwhile) = watch.drain() else {
            self.watch = None;
            return Ok(read);
        };
        self.changed_meanwhile = changed_meanwhile;
        let path = |name: &OsStr| {
            if name.is_empty() { self.folder.clone() } else { self.folder.join(name) }
        };
        let is_read = |path: &PathBuf| read.iter().any(|source| Path::new(&source.name) == path);
        match watch.unfinished().map(path).find(is_read) {
            Some(path) => Err(FilesError::Unfinished(path)),
            None => Ok(read),
        }
    }

    /// Waits until something happened in the folder and it is quiet, or for [`POLL`].
    async fn changed(&mut self) {
        let Some(watch) = &mut self.watch else {
            time::sleep(POLL / 2).await;
            self.watch = FolderWatch::open(&self.folder).ok();
            return;
        };
        let mut outcome = Ok(());
        if !std::mem::take(&mut self.changed_meanwhile) {
            let Ok(event) = time::timeout(POLL, watch.next()).await else { return };
            outcome = event;
        }
        let end = Instant::now() + QUIET_LIMIT;
        while outcome.is_ok() {
            let quiet = end.min(Instant::now() + QUIET);
            match time::timeout_at(quiet, watch.next()).await {
                Ok(next) => outcome = next,
                Err(_) => return,
            }
        }
        // The folder was moved, deleted or replaced.
        self.watch = FolderWatch::open(&self.folder).ok();
    }
}

/// One line for each error, with its place.
fn lines(errors: &[ManifestError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Follows a folder until the receiver is dropped.
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
    fn a_change_is_followed_within_a_second_and_a_broken_file_reported_once() -> io::Result<()> {
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
    fn s54_a_file_that_is_written_in_several_steps_is_read_when_it_is_whole() -> io::Result<()> {
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
                let error = soon(&mut files).await;
                assert!(error[0].contains("another program is writing"), "{error:?}");
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
    fn a_pipe_that_was_read_keeps_its_content() -> io::Result<()> {
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
    fn a_folder_that_is_replaced_is_followed() -> io::Result<()> {
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
