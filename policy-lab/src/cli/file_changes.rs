//! What the options name, read again when it changes.

use std::time::Duration;

use policy_manifest::{Expectations, Manifests, Source};
use policy_probe::{
    input::{self, InputError},
    options::ProbeOptions,
};
use tokio::{sync::mpsc, time::timeout};

use policy_agent::source::files::{Files, FilesError};

/// How soon files that could not be read are read again, though nothing was told of them.
const AGAIN: Duration = Duration::from_secs(1);

/// Files that are watched.
#[derive(Debug)]
pub(super) struct Changes {
    options: ProbeOptions,
    /// The texts that were last good or last reported.
    last: Texts,
    failure: Option<String>,
    stirred: mpsc::Receiver<()>,
}

/// Texts of the manifests and of the expectations.
type Texts = (Vec<Source>, Vec<Source>);

impl Changes {
    /// Watches everything that `options` name; `sources` was read of it at first.
    pub(super) fn watch(options: ProbeOptions, sources: Vec<Source>) -> Self {
        let (sender, stirred) = mpsc::channel(1);
        let files = options.files.iter().filter(|path| policy_files::is_rereadable(path));
        for path in files.chain(&options.expect) {
            let mut files = Files::new(path);
            let sender = sender.clone();
            tokio::spawn(async move {
                // What it reads is one part of several: only that it changed counts here.
                while !sender.is_closed() {
                    if !matches!(files.next().await, Err(FilesError::Unfinished(_))) {
                        // A full channel knows already.
                        let _ = sender.try_send(());
                    }
                }
            });
        }
        let expected = policy_files::read(options.expect.as_slice()).unwrap_or_default();
        Self { options, last: (sources, expected), failure: None, stirred }
    }

    /// Waits for a change, and reads everything; for ever where nothing can change.
    ///
    /// # Errors
    ///
    /// What is wrong with the files, once for each change.
    pub(super) async fn next(&mut self) -> Result<(Manifests, Expectations), InputError> {
        loop {
            let again = if self.failure.is_some() { AGAIN } else { Duration::MAX };
            match timeout(again, self.stirred.recv()).await {
                // What was about to be written may be there.
                Err(_) | Ok(Some(())) => {}
                Ok(None) => std::future::pending().await,
            }
            match self.texts() {
                Ok(texts) if texts == self.last && self.failure.is_none() => {}
                Ok(texts) => {
                    self.failure = None;
                    let read = policy_manifest::read(&texts.0).map_err(InputError::Manifests);
                    self.last = texts;
                    return Ok((read?, input::expectations_of(&self.last.1)?));
                }
                Err(error) => {
                    let message = error.to_string();
                    if self.failure.as_ref() != Some(&message) {
                        self.failure = Some(message);
                        return Err(error.into());
                    }
                }
            }
        }
    }

    fn texts(&self) -> Result<Texts, policy_files::Error> {
        let manifests = policy_files::reread(&self.options.files, &self.last.0)?;
        let expected = policy_files::reread(self.options.expect.as_slice(), &self.last.1)?;
        Ok((manifests, expected))
    }
}
