//! Expectations: the verdicts that a user expects of a set of manifests (`*.expect.yaml`).

use policy_core::model::{Family, Protocol};
use serde::{Deserialize, Serialize};

use crate::{
    End, ManifestError, Place, Source,
    decode::{Field, Log},
    place::Origin,
    problem::Problem,
    yaml,
};

/// An expected verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The connection passes.
    Allow,
    /// The connection is dropped.
    Deny,
}

/// A file of expectations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expectations {
    /// Verdict for every pair of pods that is not listed; `None` where the file has no default.
    pub default: Option<Verdict>,
    /// The listed ones.
    pub listed: Vec<Expectation>,
}

/// An entry of `expect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// The source; never a Service.
    pub from: End,
    /// The destination.
    pub to: End,
    /// Destination port, as the initiator sees it.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// Address family; `None` for each family that both ends have.
    pub family: Option<Family>,
    /// The expected verdict.
    pub verdict: Verdict,
    /// Its place in the file.
    pub place: Place,
}

/// Reads a file of expectations; an empty one expects nothing.
///
/// # Errors
///
/// Every error of the source.
pub fn read_expectations(source: &Source) -> Result<Expectations, Vec<ManifestError>> {
    let origin = Origin::new(source);
    let documents = yaml::documents(&source.text)
        .map_err(|(span, problem)| vec![ManifestError::of_source(&origin, span, problem)])?;
    let log = Log::new(&origin);
    let mut expectations = Expectations::default();
    for document in &documents {
        decode(&Field::root(document, &log), &mut expectations);
    }
    let errors = log.into_errors();
    if errors.is_empty() { Ok(expectations) } else { Err(errors) }
}

const VERDICTS: [(&str, Verdict); 2] = [("allow", Verdict::Allow), ("deny", Verdict::Deny)];

fn decode(root: &Field<'_>, expectations: &mut Expectations) {
    let Some(map) = root.map() else { return };
    map.check_only(&["default", "expect"]);
    if let Some(default) = map.get("default") {
        expectations.default = default.word(&VERDICTS);
    }
    expectations.listed.extend(map.list("expect").iter().filter_map(expectation));
}

fn expectation(field: &Field<'_>) -> Option<Expectation> {
    const FAMILIES: [(&str, Family); 2] = [("IPv4", Family::Ipv4), ("IPv6", Family::Ipv6)];
    let map = field.map()?;
    map.check_only(&["from", "to", "port", "verdict", "family"]);
    let from = map.require("from");
    let source = from.as_ref().and_then(end);
    if let (Some(field), Some(End::Service(_))) = (from, &source) {
        field.reject(Problem::ServiceAsSource);
    }
    let to = map.require("to").and_then(|field| end(&field));
    let port = map.require("port").and_then(|field| port(&field));
    let family = map.get("family").map(|field| field.word(&FAMILIES));
    let verdict = map.require("verdict").and_then(|field| field.word(&VERDICTS));
    let (port, protocol) = port?;
    Some(Expectation {
        from: source?,
        to: to?,
        port,
        protocol,
        family: family.map_or(Some(None), |family| family.map(Some))?,
        verdict: verdict?,
        place: field.place(),
    })
}

fn end(field: &Field<'_>) -> Option<End> {
    let found = field.string()?;
    let end = found.parse().ok();
    if end.is_none() {
        field.reject(Problem::End { found });
    }
    end
}

fn port(field: &Field<'_>) -> Option<(u16, Protocol)> {
    let found = field.written()?;
    let port = port_and_protocol(&found);
    if port.is_none() {
        field.reject(Problem::PortAndProtocol { found });
    }
    port
}

/// Reads a port as expectations and options write it: `80/TCP`.
#[must_use]
pub fn port_and_protocol(text: &str) -> Option<(u16, Protocol)> {
    let (port, protocol) = text.split_once('/')?;
    let protocol = Protocol::ALL.into_iter().find(|known| known.name() == protocol)?;
    let number = port.parse().ok().filter(|number: &u16| *number != 0)?;
    (number.to_string() == port).then_some((number, protocol))
}
