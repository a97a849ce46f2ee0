//! Errors with their place in the text, as one line or with the line and a caret.

use std::{fmt, ops::Range, sync::Arc};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use policy_core::model::{FieldPath, ObjectRef};
use thiserror::Error;

use crate::{
    place::{Origin, Place},
    problem::Problem,
};

/// The object that an error is about, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ErrorSubject {
    /// Not even its kind is known.
    #[default]
    Unknown,
    /// Its `kind`, whether or not the project reads that kind; its name is not known.
    Kind(String),
    /// Kind and name are known.
    Object(ObjectRef),
}

/// `Kind namespace/name`, `Kind`, or nothing.
impl fmt::Display for ErrorSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => Ok(()),
            Self::Kind(kind) => f.write_str(kind),
            Self::Object(object) => write!(f, "{} {object}", object.kind_name()),
        }
    }
}

/// A part of a source that is not as it must be.
///
/// `Display` gives one line with the place; [`render`] shows the line with a caret under it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{place}: {}", self.headline())]
pub struct ManifestError {
    /// The place.
    pub place: Place,
    /// The object.
    pub subject: ErrorSubject,
    /// The field.
    pub field: FieldPath,
    /// The problem.
    pub problem: Problem,
    origin: Arc<Origin>,
    span: Range<usize>,
}

impl ManifestError {
    pub(crate) fn new(
        origin: &Arc<Origin>,
        span: Range<usize>,
        subject: ErrorSubject,
        field: FieldPath,
        problem: Problem,
    ) -> Self {
        let place = origin.place(span.start);
        Self { place, subject, field, problem, origin: Arc::clone(origin), span }
    }

    /// An error of the source as a whole: no object can be read.
    pub(crate) fn of_source(origin: &Arc<Origin>, span: Range<usize>, problem: Problem) -> Self {
        Self::new(origin, span, ErrorSubject::Unknown, FieldPath::root(), problem)
    }

    /// Another problem at the same place.
    pub(crate) fn with_problem(self, problem: Problem) -> Self {
        Self { problem, ..self }
    }

    /// Object, field and problem in one line.
    fn headline(&self) -> String {
        let Self { subject, field, problem, .. } = self;
        [subject.to_string(), field.to_string(), problem.to_string()]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(": ")
    }
}

/// Renders each error with its line and a caret under the place, with or without colour.
#[must_use]
pub fn render(errors: &[ManifestError], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for error in errors {
        let title = error.headline();
        let (text, first) = error.origin.around(&error.span);
        let mark = error.span.start - first..error.span.end - first;
        let snippet = Snippet::source(text)
            .line_start(error.place.line)
            .path(error.place.source.as_str())
            .annotation(AnnotationKind::Primary.span(mark));
        out.push_str(&renderer.render(&[Level::ERROR.primary_title(title).element(snippet)]));
        out.push_str("\n\n");
    }
    out
}
