//! Typed access to the nodes of a manifest.
//!
//! A [`Field`] is a node with the path that leads to it. Its methods return the value in the wanted
//! type. A value that does not fit becomes an error in the [`Log`] of the object, with its place in
//! the text and its path, and the method returns `None`: decoding goes on, so that one run reports
//! every error of a file.

mod scalar;

use std::{cell::RefCell, sync::Arc};

use policy_core::model::FieldPath;

use crate::{
    ErrorSubject, ManifestError, Place,
    place::Origin,
    problem::Problem,
    yaml::{Node, Value},
};

/// Collects the errors of one object.
pub(crate) struct Log {
    origin: Arc<Origin>,
    subject: RefCell<ErrorSubject>,
    errors: RefCell<Vec<ManifestError>>,
}

impl Log {
    /// An empty log for an object of `origin`.
    pub(crate) fn new(origin: &Arc<Origin>) -> Self {
        Self { origin: Arc::clone(origin), subject: RefCell::default(), errors: RefCell::default() }
    }

    /// An empty log for another object of the same text.
    pub(crate) fn of_same_origin(&self) -> Self {
        Self::new(&self.origin)
    }

    /// Sets the object that later errors name.
    pub(crate) fn set_subject(&self, subject: ErrorSubject) {
        self.subject.replace(subject);
    }

    /// Where a node stands.
    pub(crate) fn place(&self, node: &Node) -> Place {
        self.origin.place(node.span.start)
    }

    /// All errors, in the order in which they were found.
    pub(crate) fn into_errors(self) -> Vec<ManifestError> {
        self.errors.into_inner()
    }

    fn add(&self, node: &Node, field: &FieldPath, problem: Problem) {
        let subject = self.subject.borrow().clone();
        let span = node.span.clone();
        let error = ManifestError::new(&self.origin, span, subject, field.clone(), problem);
        self.errors.borrow_mut().push(error);
    }
}

/// A node with the path that leads to it.
#[derive(Clone)]
pub(crate) struct Field<'a> {
    node: &'a Node,
    path: FieldPath,
    log: &'a Log,
}

impl<'a> Field<'a> {
    /// The object itself.
    pub(crate) fn root(node: &'a Node, log: &'a Log) -> Self {
        Self { node, path: FieldPath::root(), log }
    }

    /// Reports a problem of this field.
    pub(crate) fn reject(&self, problem: Problem) {
        self.log.add(self.node, &self.path, problem);
    }

    /// Where the field stands.
    pub(crate) fn place(&self) -> Place {
        self.log.place(self.node)
    }

    /// Whether it is a mapping.
    pub(crate) fn is_map(&self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    /// Whether it is a list.
    pub(crate) fn is_list(&self) -> bool {
        matches!(self.node.value, Value::List(_))
    }

    /// The entries of a mapping.
    pub(crate) fn map(&self) -> Option<Map<'a>> {
        if let Value::Map(entries) = &self.node.value {
            return Some(Map { field: self.clone(), entries });
        }
        self.reject_type("a mapping");
        None
    }

    /// The items of a list.
    pub(crate) fn list(&self) -> Vec<Self> {
        let Value::List(items) = &self.node.value else {
            self.reject_type("a list");
            return Vec::new();
        };
        let item =
            |(index, node)| Self { node, path: self.path.clone().index(index), log: self.log };
        items.iter().enumerate().map(item).collect()
    }

    /// Reports that the field has another type than `wanted`.
    fn reject_type(&self, wanted: &'static str) {
        let found = match &self.node.value {
            Value::Null => "nothing",
            Value::Bool(..) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        };
        self.reject(Problem::Type { wanted, found });
    }
}

/// A mapping with known fields.
pub(crate) struct Map<'a> {
    field: Field<'a>,
    entries: &'a [(Node, Node)],
}

impl<'a> Map<'a> {
    /// Reports each field that is not one of `known`.
    pub(crate) fn check_only(&self, known: &[&str]) {
        for (key, _) in self.entries {
            let name = key_text(key);
            if !known.contains(&name) {
                let nearest = nearest(name, known.iter().copied()).map(str::to_owned);
                let problem = Problem::UnknownField { name: name.to_owned(), nearest };
                self.field.log.add(key, &self.field.path, problem);
            }
        }
    }

    /// A field, unless it is absent or null, which is the same to the API.
    pub(crate) fn get(&self, name: &'static str) -> Option<Field<'a>> {
        self.entries
            .iter()
            .find(|(key, value)| key_text(key) == name && value.value != Value::Null)
            .map(|(_, node)| self.child(node, name))
    }

    /// A field that stands in the text without a value.
    pub(crate) fn empty(&self, name: &'static str) -> Option<Field<'a>> {
        let mut entries = self.entries.iter();
        let found =
            entries.find(|(key, value)| key_text(key) == name && value.value == Value::Null)?;
        Some(self.child(&found.0, name))
    }

    /// Those of `names` that the mapping has, with the line of each, in the order of the text.
    pub(crate) fn lines_of<'n>(&self, names: &[&'n str]) -> Vec<(&'n str, usize)> {
        let keys = self.entries.iter().map(|(key, _)| key);
        let found = keys.filter_map(|key| {
            let name = names.iter().find(|name| **name == key_text(key))?;
            Some((*name, self.field.log.place(key).line))
        });
        found.collect()
    }

    /// The one field of `names` that is set. More or fewer than one is an error, which lists
    /// them.
    pub(crate) fn only_one(&self, names: &[&'static str]) -> Option<(&'static str, Field<'a>)> {
        self.check_only(names);
        let mut there = names.iter().filter_map(|name| Some((*name, self.get(name)?)));
        if let (Some(one), None) = (there.next(), there.next()) {
            return Some(one);
        }
        self.field.reject(Problem::OnlyOne { names: names.join(", ") });
        None
    }

    /// A field that must be set.
    pub(crate) fn require(&self, name: &'static str) -> Option<Field<'a>> {
        let field = self.get(name);
        if field.is_none() {
            self.field.reject(Problem::Missing { name });
        }
        field
    }

    /// The mapping in a field, if the field is set.
    pub(crate) fn map(&self, name: &'static str) -> Option<Map<'a>> {
        self.get(name)?.map()
    }

    /// The items of the list in a field; none if the field is absent.
    pub(crate) fn list(&self, name: &'static str) -> Vec<Field<'a>> {
        self.get(name).map(|field| field.list()).unwrap_or_default()
    }

    /// All entries, with their keys as fields of their own.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Field<'a>, Field<'a>)> {
        self.entries.iter().map(|(key, node)| {
            let path = self.field.path.clone().key(key_text(key));
            let at = |node| Field { node, path: path.clone(), log: self.field.log };
            (at(key), at(node))
        })
    }

    /// Reports a problem of the mapping as a whole.
    pub(crate) fn reject(&self, problem: Problem) {
        self.field.reject(problem);
    }

    fn child(&self, node: &'a Node, name: &'static str) -> Field<'a> {
        let path = self.field.path.clone().field(name);
        Field { node, path, log: self.field.log }
    }
}

/// A key as it is written, without quotes; empty for a collection.
fn key_text(key: &Node) -> &str {
    match &key.value {
        Value::Text(text) | Value::Bool(_, text) | Value::Number(text) => text,
        Value::Null | Value::List(_) | Value::Map(_) => "",
    }
}

/// The one of `known` that is spelt most like `name`: at most one in three letters differs.
pub fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let small = name.to_lowercase();
    let distance = |word: &str| strsim::damerau_levenshtein(&word.to_lowercase(), &small);
    known
        .map(|word| (distance(word), word))
        .filter(|(distance, _)| *distance <= small.len() / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}
