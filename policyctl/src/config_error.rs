//! Why the settings in `.policyctl.yaml` cannot be used.

use std::{io, path::PathBuf};

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The content is not what the file may hold.
    #[error("{}{place}: {message}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// `:line:column`; empty where the parser knows none.
        place: String,
        /// What is wrong.
        message: String,
    },
    /// The paths of one command have different settings.
    #[error(
        "{} and {} hold settings for what this command reads; name one with --config",
        first.display(), second.display()
    )]
    Several {
        /// The file of the first path.
        first: PathBuf,
        /// Another one.
        second: PathBuf,
    },
}
