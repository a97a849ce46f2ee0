//! Form of Rust files: purpose first, short, every test run, unsafe only where it is declared.

use std::collections::BTreeMap;

use proc_macro2::{TokenStream, TokenTree};

use super::{Finding, Source};

const WARN_LINES: usize = 250;
const MOST_LINES: usize = 400;

/// Checks one file.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    if !source.has_extension("rs") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    if source.path.ends_with("/mod.rs") {
        findings.push(Finding::new(source, 0, "write `foo.rs` beside `foo/`, not `mod.rs`"));
    }
    if !source.text.starts_with("//!") {
        findings.push(Finding::new(source, 1, "begin with `//!` and the purpose of the file"));
    }
    let lines = source.text.lines().count();
    if lines > MOST_LINES {
        let message = format!("has {lines} lines, more than {MOST_LINES}; split it");
        findings.push(Finding::new(source, 0, message));
    }
    let lines = ignored_tests(tokens(source));
    findings.extend(
        lines
            .iter()
            .map(|&line| Finding::new(source, line, "a test is run or deleted, not ignored")),
    );
    findings
}

/// Files that are long, but not yet too long.
pub(super) fn long_files(sources: &[Source]) -> Vec<Finding> {
    let rust = sources.iter().filter(|source| source.has_extension("rs"));
    rust.map(|source| (source, source.text.lines().count()))
        .filter(|(_, lines)| (WARN_LINES + 1..=MOST_LINES).contains(lines))
        .map(|(source, lines)| Finding::new(source, 0, format!("has {lines} lines")))
        .collect()
}

/// Finds the roots of crates that use no unsafe and do not forbid it.
pub(super) fn unsafe_crates(sources: &[Source]) -> Vec<Finding> {
    let mut crates: BTreeMap<&str, Vec<&Source>> = BTreeMap::new();
    for source in sources.iter().filter(|source| source.has_extension("rs")) {
        if let Some((name, _)) = source.path.split_once("/src/") {
            crates.entry(name).or_default().push(source);
        }
    }
    let safe =
        crates.values().filter(|files| !files.iter().any(|file| has_word(tokens(file), "unsafe")));
    let roots = safe.flatten().filter(|file| is_root(&file.path) && !forbids_unsafe(tokens(file)));
    roots
        .map(|file| Finding::new(file, 1, "has no unsafe: say `#![forbid(unsafe_code)]`"))
        .collect()
}

fn is_root(path: &str) -> bool {
    path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs")
}

/// A file that cannot be parsed has no tokens; it is reported with the boundaries.
fn tokens(source: &Source) -> TokenStream {
    source.text.parse().unwrap_or_default()
}

fn has_word(tokens: TokenStream, word: &str) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == word,
        TokenTree::Group(group) => has_word(group.stream(), word),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

fn forbids_unsafe(tokens: TokenStream) -> bool {
    attributes(tokens).iter().any(|(_, attribute)| {
        let text = attribute.to_string();
        text.starts_with("forbid") && text.contains("unsafe_code")
    })
}

/// The lines of `#[ignore]`, also as part of `#[cfg_attr(…)]`.
fn ignored_tests(tokens: TokenStream) -> Vec<usize> {
    let attributes = attributes(tokens).into_iter();
    let ignoring = attributes.filter(|(_, attribute)| {
        let first = attribute.clone().into_iter().next().map(|token| token.to_string());
        match first.as_deref() {
            Some("ignore") => true,
            Some("cfg_attr") => has_word(attribute.clone(), "ignore"),
            _ => false,
        }
    });
    ignoring.map(|(line, _)| line).collect()
}

/// Line and content of each attribute: a `[…]` after `#` or `#!`.
fn attributes(tokens: TokenStream) -> Vec<(usize, TokenStream)> {
    let mut found = Vec::new();
    let mut after_hash = false;
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                found.extend(attributes(group.stream()));
                if after_hash {
                    found.push((group.span_open().start().line, group.stream()));
                }
                after_hash = false;
            }
            TokenTree::Punct(mark) => {
                after_hash = mark.as_char() == '#' || (after_hash && mark.as_char() == '!');
            }
            TokenTree::Ident(_) | TokenTree::Literal(_) => after_hash = false,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{check, long_files, unsafe_crates};
    use crate::tidy::source;

    #[test]
    fn the_form_of_a_file_is_checked() {
        let long = format!("//! Long.\n{}", "//\n".repeat(400));
        #[rustfmt::skip]
        let cases = [
            ("a/src/a.rs",   "//! Purpose.\nfn a() {}",                               false),
            ("a/src/a.rs",   "fn a() {}",                                             true),
            ("a/src/mod.rs", "//! Purpose.",                                          true),
            ("a/src/a.rs",   long.as_str(),                                           true),
            ("a/src/a.rs",   "//! A.\nmod t { #[test]\n#[ignore]\nfn a() {} }",       true),
            ("a/src/a.rs",   "//! A.\n#[ignore = \"slow\"]\nfn a() {}",               true),
            ("a/src/a.rs",   "//! A.\n#[cfg_attr(unix, ignore)]\nfn a() {}",          true),
            ("a/src/a.rs",   "//! A.\n// #[ignore]\nfn ignore() {}",                  false),
            ("a/src/a.txt",  "fn a() {}",                                             false),
        ];
        for (path, text, broken) in cases {
            assert_eq!(!check(&source(path, text)).is_empty(), broken, "{path}: {text}");
        }
    }

    #[test]
    fn a_long_file_is_warned_of() {
        let files =
            [source("a/src/a.rs", &"//\n".repeat(251)), source("a/src/b.rs", &"//\n".repeat(250))];
        assert_eq!(long_files(&files).len(), 1);
    }

    #[test]
    fn a_crate_without_unsafe_forbids_it() {
        let forbids = "//! A.\n#![forbid(unsafe_code)]";
        #[rustfmt::skip]
        let cases = [
            ("forbids",                    forbids,                        "//! B.",                         false),
            ("does not",                   "//! A.",                       "//! B.",                         true),
            ("needs it",                   "//! A.",                       "//! B.\nfn b() { unsafe { } }",  false),
            ("needs it in a macro",        "//! A.",                       "//! B.\nm! { unsafe impl A {} }", false),
            ("says it in a comment only",  "//! A.\n// forbid unsafe_code", "//! B. unsafe",                 true),
        ];
        for (claim, root, other, broken) in cases {
            let files = [source("a/src/lib.rs", root), source("a/src/b.rs", other)];
            assert_eq!(!unsafe_crates(&files).is_empty(), broken, "{claim}");
        }
    }
}
