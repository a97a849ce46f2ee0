//! Why the ends of a test cannot be looked up.

use std::fmt;

use policy_manifest::Place;

/// An end of a test that cannot be looked up.
#[derive(Debug, thiserror::Error)]
#[error("{place}: test {name:?}: {reason}")]
pub(crate) struct TestEndError {
    pub(crate) place: Place,
    pub(crate) name: String,
    pub(crate) reason: TestEndReason,
}

/// Why an end cannot be looked up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TestEndReason {
    #[error("there is no {end}{}", nearest.as_ref().map(|near| format!("; did you mean {near}?")).unwrap_or_default())]
    Unknown { end: String, nearest: Option<String> },
    #[error("{end} is in several namespaces: {found}; write one of these")]
    Ambiguous { end: String, found: String },
    #[error("no pod that runs and has an address matches {end}")]
    NoPods { end: String },
    #[error("{end} is a Service, which opens no connections")]
    ServiceAsSource { end: String },
}

/// Errors of several ends, one a line.
#[derive(Debug, thiserror::Error)]
pub(crate) struct TestEndErrors(pub(crate) Vec<TestEndError>);

impl fmt::Display for TestEndErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}
