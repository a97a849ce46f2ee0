//! The outcome of a probe, with its word and its sign: the same in every table, list and report.

use std::fmt;

use policy_manifest::Verdict;
use serde::{Deserialize, Serialize};

/// What happened to a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The destination answered it.
    Allow,
    /// A counted drop stopped it.
    Deny,
    /// It vanished without a counted drop.
    Lost,
}

impl Outcome {
    /// The word in text and JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Lost => "lost",
        }
    }

    /// The sign in a matrix.
    #[must_use]
    pub const fn sign(self) -> char {
        match self {
            Self::Allow => '✓',
            Self::Deny => '✗',
            Self::Lost => '?',
        }
    }
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Allow => Self::Allow,
            Verdict::Deny => Self::Deny,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
