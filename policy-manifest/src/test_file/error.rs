//! Why a sentence of a test file is not understood, and what to write instead.

use thiserror::Error;

/// Why a text is not a sentence of a test file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SentenceError {
    /// There is no verb.
    #[error(
        "write who can reach whom, such as `frontend can reach backend on 80`, \
         `web cannot reach db` or `nobody reaches db but backend`"
    )]
    NoVerb,
    /// An end is missing.
    #[error("an end is missing: name a pod, a workload, a Service, an address or a block")]
    NoEnds,
    /// Words that are no end.
    #[error(
        "`{found}` is no end; write NAME, NAMESPACE/NAME, deploy/NAME, svc/NAME, an address, a CIDR, \
         `pods KEY=VALUE in NAMESPACE`, `namespace NAME`, `every pod`, `everybody` or `the internet`"
    )]
    NotAnEnd {
        /// The words.
        found: String,
    },
    /// A mapping that selects nothing.
    #[error("an end needs podSelector, namespace, namespaceSelector or block")]
    EmptyEnd,
    /// Words that are no labels.
    #[error(
        "`{found}` are no labels; write KEY=VALUE, KEY!=VALUE, KEY or !KEY, with commas between them"
    )]
    NotLabels {
        /// The words.
        found: String,
    },
    /// A word that is no port.
    #[error("`{found}` is no port; write 80, 53/UDP, 8000-8010/TCP or ICMP")]
    NotAPort {
        /// The word.
        found: String,
    },
    /// `but` without `nobody`.
    #[error("`but` needs `nobody`, as in `nobody reaches db but backend`")]
    ButWithoutNobody,
    /// Two words that contradict each other.
    #[error("`{first}` and `{second}` cannot be in one sentence")]
    Contradiction {
        /// The word that comes first.
        first: &'static str,
        /// The other word.
        second: &'static str,
    },
}
