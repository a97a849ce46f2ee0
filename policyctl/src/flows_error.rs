//! Why observed connections cannot be read.

use policy_manifest::Place;

/// Why a file of connections cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FlowsError {
    /// A line of JSON is neither of the flow log nor of Hubble.
    #[error("{place}: the line is no flow, neither of this project's flow log nor of Hubble")]
    Json {
        place: Place,
        #[source]
        source: serde_json::Error,
    },
    /// A table without a column that it needs.
    #[error("{place}: the first line must name the columns from, to and port")]
    NoColumn { place: Place },
    /// A row that is no CSV.
    #[error("{place}: the row is not CSV")]
    Csv {
        place: Place,
        #[source]
        source: csv::Error,
    },
    /// A port that is none.
    #[error("{place}: {found:?} is no port; write 80, 80/TCP or 53/UDP")]
    Port { place: Place, found: String },
    /// No file has a connection.
    #[error("no connection was observed: give flows with --flows, as JSON lines or CSV")]
    Nothing,
}
