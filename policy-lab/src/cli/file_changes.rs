//! Watches the files of the options, and reads them when one changes.

use std::time::Duration;

use policy_agent::source::files::{Files, FilesError};
use policy_manifest::{Expectations, Manifests, Source};
use policy_probe::{
    input::{self, InputError},
    options::ProbeOptions,
};
use tokio::{sync::mpsc, time::timeout};

/// Interval between attempts to read files that could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// The watched files.
#[derive(Debug)]
pub(super) struct FileChanges {
    options: ProbeOptions,
    /// The texts that [`Self::next`] read last.
    last: Texts,
    /// The last error, while the files cannot be read.
    error: Option<String>,
    /// Receives a message after each change of a file.
    changed: mpsc::Receiver<()>,
}

/// Texts of the manifests and of the expectations.
type Texts = (Vec<Source>, Vec<Source>);

impl FileChanges {
    /// Watches every file that `options` name; `sources` are their texts at the start.
    pub(super) fn watch(options: ProbeOptions, sources: Vec<Source>) -> Self {
        let (sender, changed) = mpsc::channel(1);
        let files = options.files.iter().filter(|path| policy_files::is_rereadable(path));
        for path in files.chain(&options.expect) {
            let mut files = Files::new(path);
            let sender = sender.clone();
            tokio::spawn(async move {
                // What this reads is only one of the files, so it serves as a notification.
                while !sender.is_closed() {
                    if !matches!(files.next().await, Err(FilesError::Unfinished(_))) {
                        // A full channel holds a notification already.
                        let _ = sender.try_send(());
                    }
                }
            });
        }
        let expectations = policy_files::read(options.expect.as_slice()).unwrap_or_default();
        Self { options, last: (sources, expectations), error: None, changed }
    }

    /// Waits for a change and reads all files; waits forever if no file can change.
    ///
    /// # Errors
    ///
    /// Where a file cannot be read or has an error; each error is returned once.
    pub(super) async fn next(&mut self) -> Result<(Manifests, Expectations), InputError> {
        loop {
            let interval = if self.error.is_some() { RETRY } else { Duration::MAX };
            match timeout(interval, self.changed.recv()).await {
                // After an error the files may be complete now.
                Err(_) | Ok(Some(())) => {}
                Ok(None) => std::future::pending().await,
            }
            match self.texts() {
                Ok(texts) if texts == self.last && self.error.is_none() => {}
                Ok(texts) => {
                    self.error = None;
                    let read = policy_manifest::read(&texts.0).map_err(InputError::Manifests);
                    self.last = texts;
                    return Ok((read?, input::expectations_of(&self.last.1)?));
                }
                Err(error) => {
                    let message = error.to_string();
                    if self.error.as_ref() != Some(&message) {
                        self.error = Some(message);
                        return Err(error.into());
                    }
                }
            }
        }
    }

    fn texts(&self) -> Result<Texts, policy_files::Error> {
        let manifests = policy_files::reread(&self.options.files, &self.last.0)?;
        let expectations = policy_files::reread(self.options.expect.as_slice(), &self.last.1)?;
        Ok((manifests, expectations))
    }
}
