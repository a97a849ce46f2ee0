//! What can be wrong in a manifest.

use std::fmt;

use policy_core::model::Kind;
use thiserror::Error;

use crate::Place;

/// What is wrong at a place of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Problem {
    /// The text is no YAML.
    #[error("{message}")]
    Syntax {
        /// The parser's words.
        message: String,
    },
    /// A key that stands twice in a mapping.
    #[error("the key {key:?} is there already")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A document or list item is no mapping.
    #[error("an object must be a mapping with apiVersion, kind and metadata")]
    NotAnObject,
    /// `apiVersion` does not fit to `kind`.
    #[error("{kind} is read as {}, not as {found}", .kind.api_version())]
    Version {
        /// The object's kind.
        kind: Kind,
        /// `apiVersion` as written.
        found: String,
    },
    /// Enforcing the rest without this one would be wrong.
    #[error("{kind} of {api_version} changes what is enforced, and is not supported")]
    UnsupportedPolicy {
        /// `apiVersion`.
        api_version: String,
        /// `kind`.
        kind: String,
    },
    /// A kind that is spelt like one that is read.
    #[error("{api_version} has no kind {kind}; did you mean {nearest}?")]
    UnknownKind {
        /// `apiVersion`.
        api_version: String,
        /// `kind`.
        kind: String,
        /// What was meant.
        nearest: &'static str,
    },
    /// A second object of the same kind and name.
    #[error("this object is there already, at {first}")]
    DuplicateObject {
        /// Where the first one begins.
        first: Place,
    },
    /// A key that the type does not have.
    #[error("there is no field {name:?}{}", Suggestion(.nearest.as_deref()))]
    UnknownField {
        /// The key.
        name: String,
        /// One that is spelt alike.
        nearest: Option<String>,
    },
    /// A required field is absent.
    #[error("{name} is missing")]
    Missing {
        /// The field.
        name: &'static str,
    },
    /// Of two fields that say the same only one may be there.
    #[error("{name} and {other} exclude one another")]
    Exclusive {
        /// This field.
        name: &'static str,
        /// The other one.
        other: &'static str,
    },
    /// A value of another type.
    #[error("must be {wanted}, not {found}")]
    Type {
        /// What the field takes.
        wanted: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// A string that YAML readers take for something else.
    #[error(
        "{text} without quotes is {taken_for} to YAML readers such as kubectl; write \"{text}\""
    )]
    NeedsQuotes {
        /// As written.
        text: String,
        /// What it is without quotes.
        taken_for: &'static str,
    },
    /// An empty value where a string is needed.
    #[error("has no value; write \"\" for the empty string")]
    NoValue,
    /// A word that is none of those allowed.
    #[error("{found:?} is not one of {allowed}{}", Suggestion(.nearest.as_deref()))]
    NotOneOf {
        /// As written.
        found: String,
        /// All that may be there.
        allowed: &'static str,
        /// One that is spelt alike.
        nearest: Option<String>,
    },
    /// More entries than there may be.
    #[error("may have at most {most} entries")]
    TooMany {
        /// The limit.
        most: usize,
    },
    /// Fewer entries than there must be.
    #[error("needs at least {least} entry")]
    TooFew {
        /// The limit.
        least: usize,
    },
    /// A text that is too long.
    #[error("may have at most {most} characters")]
    TooLong {
        /// The limit.
        most: usize,
    },
    /// Of several fields exactly one must be there.
    #[error("needs exactly one of {names}")]
    OnlyOne {
        /// All of them.
        names: &'static str,
    },
    /// A number outside of its range.
    #[error("{found} is not a whole number from 0 to {most}")]
    OutOfRange {
        /// As written.
        found: String,
        /// The highest.
        most: u16,
    },
    /// A range of ports whose end is not above its start.
    #[error("end {end} is not above start {start}; a single port is a number")]
    RangeBackwards {
        /// `start`.
        start: u16,
        /// `end`.
        end: u16,
    },
    /// A named port beside peers that have none.
    #[error(
        "destinationNamedPort needs peers that are pods: nodes, networks and domainNames have no named ports"
    )]
    NamedPortWithoutPods,
    /// No domain name.
    #[error("{found:?} is not a domain name as in example.com or *.example.com")]
    DomainName {
        /// As written.
        found: String,
    },
    /// A number that is no port.
    #[error("{found} is not a port (1 to 65535)")]
    PortNumber {
        /// As written.
        found: String,
    },
    /// A number in quotes where a port may have a name, too.
    #[error("a port's number stands without quotes: {found}")]
    QuotedPort {
        /// As written.
        found: String,
    },
    /// A string that is no name of a port.
    #[error(
        "{found:?} is not a port name (at most 15 of a-z, 0-9 and -, with a letter, no - at an end or twice in a row)"
    )]
    PortName {
        /// As written.
        found: String,
    },
    /// `endPort` without a numeric `port`.
    #[error("endPort needs a port with a number beside it")]
    EndPortAlone,
    /// `endPort` below `port`.
    #[error("endPort {last} is below port {first}")]
    EndPortBelow {
        /// `port`.
        first: u16,
        /// `endPort`.
        last: u16,
    },
    /// No port and protocol as expectations and options write them.
    #[error("{found:?} is not a port as in 80/TCP")]
    PortAndProtocol {
        /// As written.
        found: String,
    },
    /// No IP address.
    #[error("{found:?} is not an IP address")]
    Address {
        /// As written.
        found: String,
    },
    /// No block of addresses.
    #[error("{found:?} is not a block of addresses as in 10.0.0.0/8 or fd00::/8")]
    Cidr {
        /// As written.
        found: String,
    },
    /// `except` that is not a part of `cidr`.
    #[error("{found} must lie within {cidr} and be smaller")]
    ExceptOutside {
        /// The exception.
        found: String,
        /// The block.
        cidr: String,
    },
    /// Peer `{}`.
    #[error("a peer needs podSelector, namespaceSelector or ipBlock")]
    EmptyPeer,
    /// `ipBlock` beside a selector.
    #[error("ipBlock stands alone in a peer; put the selector into an entry of its own")]
    BlockBesideSelector,
    /// `In` or `NotIn` without values.
    #[error("{operator} needs at least one value")]
    OperatorNeedsValues {
        /// The operator.
        operator: &'static str,
    },
    /// `Exists` or `DoesNotExist` with values.
    #[error("{operator} takes no values")]
    OperatorTakesNoValues {
        /// The operator.
        operator: &'static str,
    },
    /// No key of a label.
    #[error(
        "{found:?} is not a label key ([DNS domain/]name of at most 63 letters, digits, -, _ and ., ends being letters or digits)"
    )]
    LabelKey {
        /// As written.
        found: String,
    },
    /// No value of a label.
    #[error(
        "{found:?} is not a label value (empty, or at most 63 letters, digits, -, _ and ., ends being letters or digits)"
    )]
    LabelValue {
        /// As written.
        found: String,
    },
    /// No name of an object.
    #[error(
        "{found:?} is not a name (a-z, 0-9, - and where the kind allows it ., ends being letters or digits)"
    )]
    ObjectName {
        /// As written.
        found: String,
    },
    /// Text that names no end of a connection.
    #[error(
        "{found:?} names no end; write NAMESPACE/POD, host/NAME, service/NAMESPACE/NAME or an address"
    )]
    End {
        /// As written.
        found: String,
    },
    /// A Service opens no connections.
    #[error("a Service opens no connections")]
    ServiceAsSource,
}

/// `; did you mean "…"?`, or nothing.
struct Suggestion<'a>(Option<&'a str>);

impl fmt::Display for Suggestion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |nearest| write!(f, "; did you mean {nearest:?}?"))
    }
}
