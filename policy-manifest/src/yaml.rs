//! YAML text as a tree of nodes with their places.
//!
//! `serde_saphyr` parses; the tree keeps how each scalar is written, as `yes` is a boolean of
//! YAML 1.1 and an error where a string is needed.

use std::{fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Error, Location, Options, Spanned, options::NonFiniteFloatPolicy};

use crate::problem::Problem;

/// A node of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// Bytes of the source; empty, at its first item, for a collection in block style.
    pub span: Range<usize>,
    /// Its value.
    pub value: Value,
}

impl Node {
    /// The value of the key `name`, if the node is a mapping that has it.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else { return None };
        let is_named = |key: &Self| matches!(&key.value, Value::Text(text) if text == name);
        entries.iter().find(|(key, _)| is_named(key)).map(|(_, value)| value)
    }

    /// The text of the key `name`, if the node is a mapping that has one there.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        if let Value::Text(text) = &self.get(name)?.value { Some(text) } else { None }
    }

    /// The same node of a text that begins `by` bytes earlier.
    fn moved(self, by: usize) -> Self {
        let value = match self.value {
            Value::List(items) => {
                Value::List(items.into_iter().map(|item| item.moved(by)).collect())
            }
            Value::Map(entries) => {
                let moved = |(key, value): (Self, Self)| (key.moved(by), value.moved(by));
                Value::Map(entries.into_iter().map(moved).collect())
            }
            scalar @ (Value::Null | Value::Bool(..) | Value::Number(_) | Value::Text(_)) => scalar,
        };
        Self { span: self.span.start + by..self.span.end + by, value }
    }
}

/// What a node holds. Aliases and merge keys are already resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Nothing, `null` or `~`.
    Null,
    /// A boolean of YAML 1.1, so `yes` and `on` too, and its text.
    Bool(bool, String),
    /// A number as written.
    Number(String),
    /// A string.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order of the text.
    Map(Vec<(Node, Node)>),
}

/// Reads the documents of `text`, without empty ones; stops at the first error.
///
/// JSON documents may stand one after the other without a separator, as many tools write them.
pub(crate) fn documents(text: &str) -> Result<Vec<Node>, (Range<usize>, Problem)> {
    let values = json_values(text);
    if values.len() < 2 {
        return yaml_documents(text);
    }
    let mut all = Vec::new();
    for value in values {
        let documents = yaml_documents(&text[value.clone()]).map_err(|(span, problem)| {
            (span.start + value.start..span.end + value.start, problem)
        })?;
        all.extend(documents.into_iter().map(|node| node.moved(value.start)));
    }
    Ok(all)
}

/// Where each of several JSON values is in a text; none where the text is something else.
fn json_values(text: &str) -> Vec<Range<usize>> {
    if !text.trim_start().starts_with('{') {
        return Vec::new();
    }
    let mut values = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    let mut start = 0;
    while let Some(value) = stream.next() {
        if value.is_err() {
            return Vec::new();
        }
        values.push(start..stream.byte_offset());
        start = stream.byte_offset();
    }
    values
}

fn yaml_documents(text: &str) -> Result<Vec<Node>, (Range<usize>, Problem)> {
    serde_saphyr::from_multiple_with_options::<Spanned<Raw>>(text, options())
        .map(|documents| documents.into_iter().map(|raw| node(raw, text)).collect())
        .map_err(|error| problem(&error, text))
}

/// No limits on size, as the files of a whole cluster are large; the limits on aliases and depth stay.
fn options() -> Options {
    let budget = serde_saphyr::budget! {
        max_documents: usize::MAX,
        max_nodes: usize::MAX,
        max_events: usize::MAX,
        max_total_scalar_bytes: usize::MAX,
        max_total_comment_bytes: usize::MAX,
    };
    serde_saphyr::options! {
        budget: budget,
        with_snippet: false,
        emit_comments: false,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
    }
}

fn node(raw: Spanned<Raw>, text: &str) -> Node {
    let span = bytes(raw.defined, text);
    let written = || text[span.clone()].to_owned();
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Bool(value) => Value::Bool(value, written()),
        Raw::Number => Value::Number(written()),
        Raw::Text(text) => Value::Text(text),
        Raw::List(items) => Value::List(items.into_iter().map(|item| node(item, text)).collect()),
        Raw::Map(entries) => Value::Map(
            entries.into_iter().map(|(key, value)| (node(key, text), node(value, text))).collect(),
        ),
    };
    Node { span, value }
}

/// The bytes of a location, always on character boundaries within `text`.
fn bytes(location: Location, text: &str) -> Range<usize> {
    let span = location.span();
    let exact = span.byte_offset().zip(span.byte_len()).and_then(|(offset, length)| {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        text.get(start..end).map(|_| start..end)
    });
    exact.unwrap_or_else(|| {
        let at = offset(text, location.line(), location.column());
        at..at
    })
}

/// The byte at a line and a column in characters, both from 1.
fn offset(text: &str, line: u64, column: u64) -> usize {
    let skipped = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
    let start: usize = text.split_inclusive('\n').take(skipped).map(str::len).sum();
    let right = usize::try_from(column.saturating_sub(1)).unwrap_or(usize::MAX);
    start + text[start..].chars().take(right).map(char::len_utf8).sum::<usize>()
}

fn problem(error: &Error, text: &str) -> (Range<usize>, Problem) {
    let location = error.location();
    let span = location.map_or(0..0, |location| bytes(location, text));
    if let Error::DuplicateMappingKey { key, .. } = error.without_snippet() {
        let key = key.clone().unwrap_or_default();
        return (span, Problem::DuplicateKey { key });
    }
    let mut message = error.to_string();
    if let Some(location) = location {
        // The error shows the place itself.
        let tail = format!(" at line {}, column {}", location.line(), location.column());
        message = message.replace(&tail, "");
    }
    (span, Problem::Syntax { message })
}

/// A value of the parser, without the text of scalars.
enum Raw {
    Null,
    Bool(bool),
    Number,
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}
