//! The problems that a manifest can have, and their messages.
//!
//! A message says what is wrong and, where that is not obvious, what to write instead. The place, the
//! object and the field stand before it ([`crate::ManifestError`]).

use std::fmt;

use policy_core::model::Kind;
use thiserror::Error;

use crate::{SentenceError, place::Place};

/// A problem at one place of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Problem {
    /// The text is not YAML.
    #[error("{message}")]
    Syntax {
        /// The parser's message.
        message: String,
    },
    /// A key that is in a mapping twice.
    #[error("the key {key:?} is set twice in this mapping; remove one of them")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A document or list item that is not a mapping.
    #[error("an object must be a mapping with apiVersion, kind and metadata")]
    NotAnObject,
    /// A version of a kind that is not supported.
    #[error("{kind} of {found} is not supported; use apiVersion {}", .kind.api_versions().join(" or "))]
    Version {
        /// The object's kind.
        kind: Kind,
        /// `apiVersion` as written.
        found: String,
    },
    /// A kind of policies that is not supported. Without it verdicts would differ from the cluster's.
    #[error("{kind} of {api_version} is not supported; remove it to continue without its rules")]
    UnsupportedPolicy {
        /// `apiVersion`.
        api_version: String,
        /// `kind`.
        kind: String,
    },
    /// A kind that is spelled like a supported one.
    #[error("{api_version} has no kind {kind}; did you mean {nearest}?")]
    UnknownKind {
        /// `apiVersion`.
        api_version: String,
        /// `kind`.
        kind: String,
        /// The supported kind.
        nearest: &'static str,
    },
    /// A field without a value, where the fields that belong into it stand beside it.
    #[error(
        "{field} has nothing below it, and {names} {} at its own indentation; \
         they were probably meant inside {field}: indent these lines",
        Lines(*first, *last)
    )]
    Flat {
        /// The empty field.
        field: &'static str,
        /// The fields beside it.
        names: String,
        /// Line of the first of them.
        first: usize,
        /// Line of the last.
        last: usize,
    },
    /// A second object of the same kind and name.
    #[error("this object is already defined at {first}; {}", SecondObject(.folders.as_ref()))]
    DuplicateObject {
        /// The place of the first one.
        first: Place,
        /// The folders of the two, where they differ.
        folders: Option<(String, String)>,
    },
    /// Further policies of kinds that are not supported.
    #[error("{more} more policies are of kinds that are not supported, this one among them")]
    ManyUnsupported {
        /// How many, without those that are listed.
        more: usize,
    },
    /// Further objects that are defined twice.
    #[error(
        "{more} more objects are defined twice, this one among them; \
         if the files are of several clusters or overlays, give the folder of one, or render an overlay \
         (policyctl -k FOLDER)"
    )]
    ManyDuplicates {
        /// How many, without those that are listed.
        more: usize,
    },
    /// A field that the type does not have.
    #[error("unknown field {name:?}{}", Suggestion(.nearest.as_deref()))]
    UnknownField {
        /// The field.
        name: String,
        /// A known field with a similar name.
        nearest: Option<String>,
    },
    /// A required field is absent.
    #[error("{name} is missing")]
    Missing {
        /// The field.
        name: &'static str,
    },
    /// Two fields of which only one may be set.
    #[error("{name} and {other} cannot both be set; remove one of them")]
    Exclusive {
        /// This field.
        name: &'static str,
        /// The other one.
        other: &'static str,
    },
    /// A value of another type.
    #[error("must be {wanted}, not {found}")]
    Type {
        /// The type that the field takes.
        wanted: &'static str,
        /// The type of the value.
        found: &'static str,
    },
    /// A string that YAML parsers read as another type.
    #[error(
        "{text} without quotes is {read_as} for YAML parsers such as kubectl's; write \"{text}\""
    )]
    NeedsQuotes {
        /// As written.
        text: String,
        /// The type that it has without quotes.
        read_as: &'static str,
    },
    /// An empty value where a string is needed.
    #[error("has no value; write \"\" for the empty string")]
    NoValue,
    /// A word that is not one of the allowed ones.
    #[error("{found:?} is not one of {allowed}{}", Suggestion(.nearest.as_deref()))]
    NotOneOf {
        /// As written.
        found: String,
        /// The allowed words.
        allowed: String,
        /// An allowed word that is spelled similarly.
        nearest: Option<String>,
    },
    /// Too many entries.
    #[error("may have at most {most} entries")]
    TooMany {
        /// The limit.
        most: usize,
    },
    /// Too few entries.
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
    /// Not exactly one of several fields is set.
    #[error("set exactly one of {names}")]
    OnlyOne {
        /// The fields.
        names: String,
    },
    /// A number outside of its range.
    #[error("{found} is not a whole number from 0 to {most}")]
    OutOfRange {
        /// As written.
        found: String,
        /// The highest.
        most: u16,
    },
    /// A range of ports with an end that is not above its start.
    #[error("end {end} is not above start {start}; for a single port, use number")]
    RangeBackwards {
        /// `start`.
        start: u16,
        /// `end`.
        end: u16,
    },
    /// A named port in a rule with peers that are not pods.
    #[error(
        "destinationNamedPort is only allowed in a rule in which every peer is namespaces or pods"
    )]
    NamedPortWithoutPods,
    /// Not a domain name.
    #[error("{found:?} is not a domain name such as example.com or *.example.com")]
    DomainName {
        /// As written.
        found: String,
    },
    /// A number that is not a port.
    #[error("{found} is not a port (1 to 65535)")]
    PortNumber {
        /// As written.
        found: String,
    },
    /// A port number in quotes, where a string is the name of a port.
    #[error("write the port number without quotes: {found}")]
    QuotedPort {
        /// As written.
        found: String,
    },
    /// A string that is not a port name.
    #[error(
        "{found:?} is not a port name (at most 15 of a-z, 0-9 and -, with a letter, no - at an end or twice in a row)"
    )]
    PortName {
        /// As written.
        found: String,
    },
    /// `endPort` without a numeric `port`.
    #[error("endPort needs a numeric port in the same entry")]
    EndPortAlone,
    /// `endPort` below `port`.
    #[error("endPort {last} is below port {first}")]
    EndPortBelow {
        /// `port`.
        first: u16,
        /// `endPort`.
        last: u16,
    },
    /// Not a port and protocol, as in expectations and options.
    #[error("{found:?} is not a port and a protocol such as 80/TCP")]
    PortAndProtocol {
        /// As written.
        found: String,
    },
    /// Not an IP address.
    #[error("{found:?} is not an IP address")]
    Address {
        /// As written.
        found: String,
    },
    /// Not a CIDR.
    #[error("{found:?} is not a CIDR such as 10.0.0.0/8 or fd00::/8")]
    Cidr {
        /// As written.
        found: String,
    },
    /// An entry of `except` that is not a part of `cidr`.
    #[error("{found} must be inside of {cidr} and smaller")]
    ExceptOutside {
        /// The entry of `except`.
        found: String,
        /// `cidr`.
        cidr: String,
    },
    /// Peer `{}`.
    #[error("a peer needs podSelector, namespaceSelector or ipBlock; an empty one matches nothing")]
    EmptyPeer,
    /// `ipBlock` beside a selector.
    #[error(
        "ipBlock cannot be combined with a selector; move the selector to a separate entry of the list"
    )]
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
    /// Not a label key.
    #[error(
        "{found:?} is not a label key ([DNS domain/]name of at most 63 letters, digits, -, _ and ., a letter or digit at both ends)"
    )]
    LabelKey {
        /// As written.
        found: String,
    },
    /// Not a label value.
    #[error(
        "{found:?} is not a label value (empty, or at most 63 letters, digits, -, _ and ., a letter or digit at both ends)"
    )]
    LabelValue {
        /// As written.
        found: String,
    },
    /// Not a name of an object.
    #[error(
        "{found:?} is not a name (a-z, 0-9, - and, where the kind allows it, .; a letter or digit at both ends)"
    )]
    ObjectName {
        /// As written.
        found: String,
    },
    /// Not a source or destination of a connection.
    #[error(
        "{found:?} is not a source or destination; write NAMESPACE/POD, host/NAME, service/NAMESPACE/NAME or an address"
    )]
    End {
        /// As written.
        found: String,
    },
    /// A Service as the source of a connection.
    #[error("a Service cannot open a connection; name a pod, a host or an address as the source")]
    ServiceAsSource,
    /// A case of a test file that cannot be understood.
    #[error(transparent)]
    Sentence(SentenceError),
}

/// `stand in lines 3 to 5`, or `stands in line 3`.
struct Lines(usize, usize);

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(first, last) = self;
        if first == last {
            write!(f, "stands in line {first}")
        } else {
            write!(f, "stand in lines {first} to {last}")
        }
    }
}

/// What to do about an object that is defined twice.
struct SecondObject<'a>(Option<&'a (String, String)>);

impl fmt::Display for SecondObject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(folders) = self;
        match folders {
            None => f.write_str("remove one of the two"),
            Some((first, second)) => write!(
                f,
                "the two differ, as those of a base and its overlays or of two clusters do: give one \
                 of the folders {first} and {second}, or render an overlay (policyctl -k FOLDER)"
            ),
        }
    }
}

/// `; did you mean "…"?`, or nothing.
struct Suggestion<'a>(Option<&'a str>);

impl fmt::Display for Suggestion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |nearest| write!(f, "; did you mean {nearest:?}?"))
    }
}
