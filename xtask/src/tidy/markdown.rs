//! Markdown: one sentence per line, so that a change of one sentence is a change of one line.

use super::{Finding, Source};

/// After these a full stop ends no sentence.
const ABBREVIATIONS: &[&str] = &["cf.", "e.g.", "etc.", "i.e.", "no.", "vs."];

/// Finds lines that hold two sentences.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    if !source.has_extension("md") {
        return Vec::new();
    }
    let mut in_code = false;
    let mut findings = Vec::new();
    for (at, line) in source.text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with("```") || line.starts_with("~~~") {
            in_code = !in_code;
        } else if !in_code && !line.starts_with('|') && holds_two(&without_code(line)) {
            findings.push(Finding::new(source, at + 1, "holds two sentences; give each a line"));
        }
    }
    findings
}

/// Whether a word in the middle ends a sentence, and the next begins one.
fn holds_two(line: &str) -> bool {
    let words: Vec<_> = line.split_whitespace().collect();
    // A number or a letter that begins a list item ends no sentence.
    let words = &words[usize::from(words.first().is_some_and(|word| word.len() < 4))..];
    words.windows(2).any(|pair| ends_sentence(pair[0]) && starts_sentence(pair[1]))
}

fn ends_sentence(word: &str) -> bool {
    let word = word.trim_end_matches(['"', '\'', ')', ']', '*', '_']);
    let open = word.trim_start_matches(['"', '\'', '(', '[', '*', '_']);
    word.ends_with(['.', '!', '?'])
        && !word.ends_with("..")
        && !ABBREVIATIONS.contains(&open.to_lowercase().as_str())
}

fn starts_sentence(word: &str) -> bool {
    let word = word.trim_start_matches(['"', '\'', '(', '[', '*', '_']);
    word.starts_with(|letter: char| letter.is_uppercase() || letter == '`')
}

/// The line with the inside of each code span left out.
fn without_code(line: &str) -> String {
    let parts: Vec<_> =
        line.split('`').enumerate().filter(|(at, _)| at % 2 == 0).map(|(_, part)| part).collect();
    parts.join("`")
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::source;

    #[test]
    fn two_sentences_on_a_line_are_found() {
        #[rustfmt::skip]
        let cases = [
            ("One sentence.",                                 false),
            ("One sentence.\nAnother one.",                   false),
            ("One sentence. Another one.",                    true),
            ("- One item. It goes on.",                       true),
            ("1. One item.",                                  false),
            ("12. Twelfth item.",                             false),
            ("Is it? `cargo` says so.",                       true),
            ("**Bold.** Then more.",                          true),
            ("(In brackets.) Then more.",                     true),
            ("Say e.g. Debian, and so on.",                   false),
            ("Version 1.95 is pinned.",                       false),
            ("Run `a. B` and see.",                           false),
            ("| A cell. Another sentence. |",                 false),
            ("```\nOne. Two.\n```",                           false),
            ("```\ncode\n```\nOne. Two.",                     true),
            ("Wait ... And then.",                            false),
        ];
        for (text, broken) in cases {
            assert_eq!(!check(&source("a.md", text)).is_empty(), broken, "{text}");
        }
    }

    #[test]
    fn other_files_are_left_alone() {
        assert_eq!(check(&source("a.txt", "One. Two.")), []);
    }
}
