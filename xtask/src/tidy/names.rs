//! Names of files and folders that do not describe the content.

use super::{Finding, Source};

const EMPTY_WORDS: &[&str] = &[
    "data", "handler", "handlers", "helper", "helpers", "info", "infos", "manager", "managers",
    "misc", "util", "utils",
];

/// Finds empty words in a path.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let words = source.path.split(|letter: char| !letter.is_alphanumeric());
    words
        .filter(|word| EMPTY_WORDS.contains(&word.to_lowercase().as_str()))
        .map(|word| {
            Finding::new(
                source,
                0,
                format!("`{word}` does not describe the content; name what it holds"),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::source;

    #[test]
    fn empty_words_are_found() {
        #[rustfmt::skip]
        let cases = [
            ("policy-agent/src/utils.rs",       true),
            ("policy-agent/src/pod_info.rs",    true),
            ("policy-agent/src/helper/a.rs",    true),
            ("policy-agent/src/data/a.rs",      true),
            ("policy-agent/src/dataplane.rs",   false),
            ("policy-agent/src/metadata.rs",    false),
        ];
        for (path, broken) in cases {
            assert_eq!(!check(&source(path, "")).is_empty(), broken, "{path}");
        }
    }
}
