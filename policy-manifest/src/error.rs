//! Errors that show their place.

use std::{fmt, ops::Range, sync::Arc};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use thiserror::Error;

use crate::{Source, problem::Problem};

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Name of the source.
    pub source: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// `source:line:column`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.source, self.line, self.column)
    }
}

/// Something in a source that is not as it must be.
///
/// `Display` gives one line with the place; [`render`] shows the line with a caret under it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{place}: {}", self.headline())]
pub struct ManifestError {
    /// Where it stands.
    pub place: Place,
    /// The object, as `Kind namespace/name`; empty where it is not known.
    pub object: String,
    /// Field path in the object, as `spec.ports[0].port`; empty for the object itself.
    pub field: String,
    /// What is wrong.
    pub problem: Problem,
    pub(crate) origin: Arc<Source>,
    pub(crate) span: Range<usize>,
}

impl ManifestError {
    /// Object, field and problem in one line.
    fn headline(&self) -> String {
        [self.object.as_str(), &self.field, &self.problem.to_string()]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(": ")
    }
}

/// Shows each error with its line and a caret under the place, in colour or without.
#[must_use]
pub fn render(errors: &[ManifestError], colour: bool) -> String {
    let renderer = if colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let mut out = String::new();
    for error in errors {
        let title = error.headline();
        let snippet = Snippet::source(error.origin.text.as_str())
            .path(error.origin.name.as_str())
            .annotation(AnnotationKind::Primary.span(error.span.clone()));
        out.push_str(&renderer.render(&[Level::ERROR.primary_title(title).element(snippet)]));
        out.push_str("\n\n");
    }
    out
}
