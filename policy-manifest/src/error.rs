//! Errors with their place in the text, as one line or with the line and a caret.

use std::{fmt, iter, ops::Range, sync::Arc};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use policy_core::model::{FieldPath, ObjectRef};
use thiserror::Error;

use crate::{Source, problem::Problem};

/// A place in a source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Name of the source.
    pub source: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// Bytes of one block: characters are counted once for each block.
const BLOCK: usize = 1024;

/// A source with an index of its lines and characters. Without it, the column of an error in a JSON
/// file of one long line would cost a pass over the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    source: Source,
    /// First byte of each line.
    lines: Vec<usize>,
    /// Characters before each block of bytes, and in all.
    characters: Vec<usize>,
}

impl Origin {
    pub(crate) fn new(source: &Source) -> Arc<Self> {
        let newlines = source.text.match_indices('\n').map(|(at, _)| at + 1);
        let mut characters = vec![0];
        let mut sum = 0;
        for block in source.text.as_bytes().chunks(BLOCK) {
            sum += self::characters(block);
            characters.push(sum);
        }
        let lines = iter::once(0).chain(newlines).collect();
        Arc::new(Self { source: source.clone(), lines, characters })
    }

    /// The place of a byte.
    pub(crate) fn place(&self, byte: usize) -> Place {
        let line = self.lines.partition_point(|start| *start <= byte);
        let column = self.characters_before(byte) - self.characters_before(self.lines[line - 1]);
        Place { source: self.source.name.clone(), line, column: column + 1 }
    }

    fn characters_before(&self, byte: usize) -> usize {
        let text = self.source.text.as_bytes();
        let byte = byte.min(text.len());
        let block = byte / BLOCK;
        self.characters[block] + characters(&text[block * BLOCK..byte])
    }

    /// The lines that hold `span`, and their first byte.
    fn around(&self, span: &Range<usize>) -> (&str, usize) {
        let text = &self.source.text;
        let first = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[span.end..].find('\n').map_or(text.len(), |newline| span.end + newline);
        (&text[first..end], first)
    }
}

/// Number of UTF-8 characters that start in `bytes`.
fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0b1100_0000 != 0b1000_0000).count()
}

/// `source:line:column`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.source, self.line, self.column)
    }
}

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
            Self::Object(object) => write!(f, "{} {object}", object.kind()),
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
