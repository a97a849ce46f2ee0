//! Words and names that a text of this project does not use: poetry, and second names for things
//! that the glossary names once.
//!
//! Every line of code, comments, documentation and manifests is checked, identifiers too: the words
//! of `tell_all` are `tell` and `all`, those of `AllowTable` are `Allow` and `Table`.

use super::{Finding, Source};

/// Files that have to name the words: this one, and the list of style.
const EXEMPT: &[&str] = &["xtask/src/tidy/words.rs"];

const TEXTS: &[&str] = &["go", "json", "md", "rs", "sh", "toml", "txt", "yaml"];

/// Words, one or several in a row, and what to write instead.
#[rustfmt::skip]
const BANNED: &[(&str, &str)] = &[
    ("tell",             "reports, logs, shows, receives"),
    ("tells",            "reports, logs, shows, receives"),
    ("telling",          "reports, logs, shows, receives"),
    ("told",             "reports, logs, shows, receives"),
    ("word of",          "response, report"),
    ("comes to",         "results in, is"),
    ("come to",          "result in, are"),
    ("becomes of",       "happens to"),
    ("became of",        "happened to"),
    ("came of",          "resulted from"),
    ("comes of",         "results from"),
    ("no room",          "capacity, space"),
    ("finds room",       "fits, capacity"),
    ("find room",        "fit, capacity"),
    ("found room",       "fitted, capacity"),
    ("closed reading",   "is treated as denying"),
    ("may not ask",      "only root may connect"),
    ("who is not root",  "only root may connect"),
    ("makes no line",    "writes no log line"),
    ("none that the kernel takes", "the verifier rejects"),
    ("shall",            "must, is to, gets"),
    ("anew",             "once more, from the start"),
    ("of whichever",     "of any"),
    ("allow table",      "allow map"),
    ("connection table", "flow table"),
    ("flow map",         "flow table"),
    ("unisolated",       "non-isolated"),
    ("un isolated",      "non-isolated"),
    ("whitelist",        "allow map, allowed"),
    ("blacklist",        "denied"),
];

/// Names of types that say nothing about what the type is.
const TYPES: &[&str] = &[
    "Before", "Behind", "Behinds", "By", "Force", "Joined", "Kept", "Known", "Learned", "Room",
    "Same", "Sets", "Target", "Told", "View", "Visit",
];

/// Identifiers that other programs read, and that therefore stay as they are.
const CONTRACTS: &[&str] = &["NoRoom"];

/// Names of functions that say nothing about what the function does.
const FUNCTIONS: &[&str] = &["again", "begins", "look", "tell"];

/// Finds banned words, and definitions with a banned name.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    if EXEMPT.contains(&source.path.as_str())
        || !TEXTS.iter().any(|extension| source.has_extension(extension))
    {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (at, line) in source.text.lines().enumerate() {
        let mut add = |message| findings.push(Finding::new(source, at + 1, message));
        let words: Vec<_> = words_of(line).collect();
        for (banned, instead) in BANNED {
            if has(&words, banned) {
                add(format!("`{banned}`: write {instead}"));
            }
        }
        if source.has_extension("rs")
            && let Some(name) = banned_definition(line)
        {
            add(format!("`{name}` does not say what it is"));
        }
    }
    findings
}

/// The words of a line, and of its identifiers: `AllowTable` is `Allow` and `Table`.
fn words_of(line: &str) -> impl Iterator<Item = &str> {
    let words = line.split(|letter: char| !letter.is_alphanumeric());
    let words = words.filter(|word| !word.is_empty() && !CONTRACTS.contains(word));
    words.flat_map(|word| {
        let letters = word.char_indices().zip(word.chars().skip(1));
        let ends = letters.filter(|((_, one), next)| one.is_lowercase() && next.is_uppercase());
        let ends = ends.map(|((at, one), _)| at + one.len_utf8());
        let ends: Vec<usize> = ends.chain([word.len()]).collect();
        let starts = std::iter::once(0).chain(ends.clone());
        starts.zip(ends).map(|(start, end)| &word[start..end])
    })
}

/// Whether the words of `banned` stand in `words`, one after the other.
fn has(words: &[&str], banned: &str) -> bool {
    let banned: Vec<_> = banned.split(' ').collect();
    words.windows(banned.len()).any(|window| {
        window.iter().zip(&banned).all(|(word, banned)| word.eq_ignore_ascii_case(banned))
    })
}

/// The name that a line defines, if it is banned.
fn banned_definition(line: &str) -> Option<&str> {
    let code = line.split("//").next()?;
    let mut words = code.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let keyword = words.find(|word| matches!(*word, "enum" | "fn" | "struct" | "trait"))?;
    let name = words.next()?;
    let banned = if keyword == "fn" { FUNCTIONS } else { TYPES };
    banned.contains(&name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::source;

    #[test]
    fn banned_words_are_found_wherever_they_stand() {
        #[rustfmt::skip]
        let cases = [
            ("a.md",  "It tells the agent.",                   true),
            ("a.md",  "There is no room.",                     true),
            ("a.md",  "There is a room.",                      false),
            ("a.md",  "What comes next to it.",                false),
            ("a.md",  "A retold story, intelligible.",         false),
            ("a.md",  "The allow table of a pod.",             true),
            ("a.md",  "The allow map of a pod.",               false),
            ("a.rs",  "struct AllowTable;",                    true),
            ("a.rs",  "struct AllowMap; struct TableId;",      false),
            ("a.rs",  "const REASON: &str = \"NoRoom\";",      false),
            ("a.md",  "Who is not root is refused.",           true),
            ("a.rs",  "/// Tells the agent.",                  true),
            ("a.rs",  "fn tell_all() {}",                      true),
            ("a.rs",  "#[error(\"was told of {0}\")]",         true),
            ("a.rs",  "let told = 1;",                         true),
            ("a.png", "tell",                                  false),
            ("xtask/src/tidy/words.rs", "tell",                false),
        ];
        for (path, text, broken) in cases {
            assert_eq!(!check(&source(path, text)).is_empty(), broken, "{path}: {text}");
        }
    }

    #[test]
    fn definitions_with_an_empty_name_are_found() {
        #[rustfmt::skip]
        let cases = [
            ("pub(crate) struct Target {",          true),
            ("enum Known { A }",                    true),
            ("struct Room<'a>(&'a str);",           true),
            ("    type Target = str;",              false),
            ("struct FlowTarget;",                  false),
            ("// a struct Force would say nothing", false),
            ("pub fn look(&self) {}",               true),
            ("fn look_up(&self) {}",                false),
            ("let look = 1;",                       false),
        ];
        for (text, broken) in cases {
            assert_eq!(!check(&source("a.rs", text)).is_empty(), broken, "{text}");
        }
    }
}
