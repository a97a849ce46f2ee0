//! Findings as commands of a GitHub workflow, which shows each beside its line.

use std::fmt::Write;

use policy_core::lint::Level;

use super::report::Located;

/// One command for each finding: `::warning file=web.yaml,line=7,col=3,title=NP005 …::message`.
pub(super) fn commands(findings: &[Located]) -> String {
    let mut out = String::new();
    for finding in findings {
        let Located { code, name, level, kind, object, message, suggestion, place, .. } = finding;
        let command = match level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Note => "notice",
        };
        let mut properties = String::new();
        if let Some(place) = place {
            let file = in_property(&place.source);
            let _ = write!(properties, "file={file},line={},col={},", place.line, place.column);
        }
        let title = in_property(&format!("{code} {name}"));
        let text = in_message(&format!("{kind} {object}: {message}; {suggestion}"));
        let _ = writeln!(out, "::{command} {properties}title={title}::{text}");
    }
    out
}

/// A text without characters that end a message: `%`, and line breaks.
fn in_message(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A text without characters that end a property: those that end a message, `:` and `,`.
fn in_property(text: &str) -> String {
    in_message(text).replace(':', "%3A").replace(',', "%2C")
}
