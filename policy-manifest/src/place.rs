//! Places in a source: the line and column of a byte.
//!
//! Errors, problems and findings carry a [`Place`]. The reader makes one [`Origin`] for each source,
//! which gives the place of a byte.

use std::{fmt, iter, ops::Range, sync::Arc};

use crate::Source;

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

/// `source:line:column`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.source, self.line, self.column)
    }
}

/// The folders in which two sources stand, up to the first part of their paths that differs; `None`
/// for sources of one folder.
///
/// ```text
/// deploy/base/web.yaml, deploy/overlays/dev/web.yaml    deploy/base and deploy/overlays
/// ```
pub(crate) fn folders(one: &str, other: &str) -> Option<(String, String)> {
    let parts = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<String>>();
    let (one, other) = (parts(one), parts(other));
    let differs = one.iter().zip(&other).position(|(one, other)| one != other)?;
    let folder = |path: &[String]| {
        // The last part is the file.
        let length = path.len().saturating_sub(1).min(differs + 1);
        if length == 0 { ".".to_owned() } else { path[..length].join("/") }
    };
    let (one, other) = (folder(&one), folder(&other));
    (one != other).then_some((one, other))
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
    pub(crate) fn around(&self, span: &Range<usize>) -> (&str, usize) {
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
