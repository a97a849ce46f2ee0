//! Test files: what people expect of a set of manifests, in words.
//!
//! Input: the text of a file. Output: a [`TestFile`]; `policyctl test` looks up the ends and judges
//! the cases. A case is a sentence, or a mapping with the same parts:
//!
//! ```text
//! namespace: shop
//! tests:
//! - frontend can reach backend on 80          allow: [frontend] to [backend], TCP 80
//! - nobody reaches db but backend             only [backend] reaches [db]
//! - {from: web, to: the internet, expect: deny}
//! ```

mod end;
mod error;
mod sentence;

use ipnetwork::IpNetwork;
use policy_core::{
    desired::Ports,
    model::{Protocol, Selector},
};

pub use error::SentenceError;

use crate::{
    ManifestError, Place, Source,
    decode::{Field, Log, Map},
    object::selector,
    place::Origin,
    problem::Problem,
    syntax, yaml,
};

/// A file of tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestFile {
    /// `namespace`: the namespace of names without one.
    pub namespace: Option<String>,
    /// `tests`, in the order of the file.
    pub cases: Vec<TestCase>,
}

/// An entry of `tests`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestCase {
    /// The sentence, or the case's `name`.
    pub name: String,
    /// What is expected.
    pub claim: Claim,
    /// Where it is written.
    pub place: Place,
}

/// What a test case expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who opens the connections.
    pub from: Vec<TestEnd>,
    /// Who they are for.
    pub to: Vec<TestEnd>,
    /// At which ports; `None` where the case names none.
    pub ports: Option<Ports>,
    /// What must be true of them.
    pub expected: Expected,
}

/// What must be true of the connections from some ends to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Each pair may connect: at each of the ports, or at one at least where none is named.
    Allow,
    /// No pair may connect at any of the ports.
    Deny,
    /// As `Allow`, and nobody else may connect to the destinations.
    OnlyFrom,
    /// As `Allow`, and the sources may connect to nobody else.
    OnlyTo,
}

/// An end of connections, as a test names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestEnd {
    /// A name as of `--from` and `--to`: a pod, a workload, a Service, a host or an address.
    Named(String),
    /// Pods by their labels.
    Pods {
        /// Labels of the pods.
        pods: Selector,
        /// Which namespaces.
        namespaces: TestNamespaces,
    },
    /// Addresses outside of the cluster.
    Block(IpNetwork),
    /// Every address that the Internet routes.
    Internet,
    /// Every pod, and every address outside of the cluster.
    Everybody,
}

/// The namespaces of pods that a test selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestNamespaces {
    /// The file's `namespace`; every namespace where it has none.
    Default,
    /// Every one.
    Every,
    /// By name.
    Named(String),
    /// By labels.
    Matching(Selector),
}

/// Reads a file of tests.
///
/// # Errors
///
/// Every error of the source.
pub fn read_tests(source: &Source) -> Result<TestFile, Vec<ManifestError>> {
    let origin = Origin::new(source);
    let documents = yaml::documents(&source.text)
        .map_err(|(span, problem)| vec![ManifestError::of_source(&origin, span, problem)])?;
    let log = Log::new(&origin);
    let mut file = TestFile::default();
    for document in &documents {
        decode(&Field::root(document, &log), &mut file);
    }
    let errors = log.into_errors();
    if errors.is_empty() { Ok(file) } else { Err(errors) }
}

fn decode(root: &Field<'_>, file: &mut TestFile) {
    let Some(map) = root.map() else { return };
    map.check_only(&["namespace", "tests"]);
    if let Some(field) = map.get("namespace") {
        file.namespace = field.checked(syntax::is_label, |found| Problem::ObjectName { found });
    }
    let Some(tests) = map.require("tests") else { return };
    file.cases.extend(tests.list().iter().filter_map(case));
}

fn case(field: &Field<'_>) -> Option<TestCase> {
    if field.is_map() {
        return written_out(&field.map()?, field.place());
    }
    let name = field.string()?;
    match sentence::parse(&name) {
        Ok(claim) => Some(TestCase { name, claim, place: field.place() }),
        Err(error) => {
            field.reject(Problem::Sentence(error));
            None
        }
    }
}

const EXPECTED: [(&str, Expected); 4] = [
    ("allow", Expected::Allow),
    ("deny", Expected::Deny),
    ("only-from", Expected::OnlyFrom),
    ("only-to", Expected::OnlyTo),
];

/// A case as a mapping.
fn written_out(map: &Map<'_>, place: Place) -> Option<TestCase> {
    map.check_only(&["name", "from", "to", "ports", "expect"]);
    let name = map.get("name").map(|field| field.string());
    let from = map.require("from").map(|field| ends(&field));
    let to = map.require("to").map(|field| ends(&field));
    let ports = map.get("ports").map(|field| ports(&field));
    let expected = map.require("expect").and_then(|field| field.word(&EXPECTED));
    let claim = Claim {
        from: from??,
        to: to??,
        ports: ports.map_or(Some(None), |ports| ports.map(Some))?,
        expected: expected?,
    };
    let name = name.unwrap_or_else(|| Some(claim.to_string()))?;
    Some(TestCase { name, claim, place })
}

/// One end, or a list of them; `None` where one is not legal.
fn ends(field: &Field<'_>) -> Option<Vec<TestEnd>> {
    let fields = if field.is_list() { field.list() } else { vec![field.clone()] };
    if fields.is_empty() {
        field.reject(Problem::Sentence(SentenceError::NoEnds));
        return None;
    }
    let ends: Vec<_> = fields.iter().map(end).collect();
    ends.into_iter().collect::<Option<Vec<_>>>().map(|ends| ends.concat())
}

/// Decodes an end: a string, which may list several, or a mapping.
fn end(field: &Field<'_>) -> Option<Vec<TestEnd>> {
    if field.is_map() {
        return selected(field).map(|end| vec![end]);
    }
    let text = field.string()?;
    match sentence::ends(&text) {
        Ok(ends) => Some(ends),
        Err(error) => {
            field.reject(Problem::Sentence(error));
            None
        }
    }
}

/// `podSelector`, `namespace`, `namespaceSelector` or `block`.
fn selected(field: &Field<'_>) -> Option<TestEnd> {
    let map = field.map()?;
    map.check_only(&["podSelector", "namespace", "namespaceSelector", "block"]);
    if let Some(block) = map.get("block") {
        map.check_only(&["block"]);
        return block.block().map(TestEnd::Block);
    }
    let pods = map.get("podSelector").map(|field| selector::decode(&field));
    let named = map
        .get("namespace")
        .map(|field| field.checked(syntax::is_label, |found| Problem::ObjectName { found }));
    let matching = map.get("namespaceSelector").map(|field| selector::decode(&field));
    let namespaces = match (named, matching) {
        (None, None) if pods.is_none() => {
            field.reject(Problem::Sentence(SentenceError::EmptyEnd));
            return None;
        }
        (Some(_), Some(_)) => {
            field.reject(Problem::OnlyOne { names: "namespace, namespaceSelector".to_owned() });
            return None;
        }
        (None, None) => TestNamespaces::Default,
        (Some(name), None) => TestNamespaces::Named(name?),
        (None, Some(selector)) => TestNamespaces::Matching(selector),
    };
    Some(TestEnd::Pods { pods: pods.unwrap_or_default(), namespaces })
}

/// The ports of a list, such as `[80, 53/UDP, 8000-8010, ICMP]`.
fn ports(field: &Field<'_>) -> Option<Ports> {
    let fields = if field.is_list() { field.list() } else { vec![field.clone()] };
    let of = |field: &Field<'_>| {
        let text = field.written()?;
        let found = sentence::port(&text);
        if found.is_none() {
            field.reject(Problem::Sentence(SentenceError::NotAPort { found: text }));
        }
        found
    };
    let found: Vec<_> = fields.iter().map(of).collect();
    let found = found.into_iter().collect::<Option<Vec<Ports>>>()?;
    Some(Ports::union(&found))
}

/// The claim as a sentence.
impl std::fmt::Display for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |ends: &[TestEnd]| {
            ends.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
        };
        let (from, to) = (list(&self.from), list(&self.to));
        match self.expected {
            Expected::Allow => write!(f, "{from} can reach {to}")?,
            Expected::Deny => write!(f, "{from} cannot reach {to}")?,
            Expected::OnlyFrom => write!(f, "only {from} can reach {to}")?,
            Expected::OnlyTo => write!(f, "{from} can reach only {to}")?,
        }
        let Some(ports) = &self.ports else { return Ok(()) };
        let range = |(protocol, first, last): &(Protocol, u16, u16)| {
            if first == last {
                format!("{first}/{protocol}")
            } else {
                format!("{first}-{last}/{protocol}")
            }
        };
        let mut words: Vec<String> = ports.ranges.iter().map(range).collect();
        words.extend(ports.contains_other_protocols().then(|| "ICMP".to_owned()));
        write!(f, " on {}", words.join(", "))
    }
}
