//! The share of comment lines in a crate's sources.
//!
//! A crate without comments leaves its reader to reconstruct every reason. Counted are `//` and
//! `//!`; the sentence `///` that every public item has anyway is not.

use std::collections::BTreeMap;

use super::{Finding, Source};

/// Comment lines of a hundred lines, at least.
const LEAST_PERCENT: usize = 3;

/// A crate with fewer lines needs no check: two comments more would change the result.
const SMALL: usize = 200;

/// Finds crates with too few comments.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut crates = BTreeMap::<&str, (usize, usize)>::new();
    for source in sources.iter().filter(|source| source.has_extension("rs")) {
        let Some((name, _)) = source.path.rsplit_once("/src/") else { continue };
        let (lines, comments) = crates.entry(name).or_default();
        *lines += source.text.lines().count();
        *comments += source.text.lines().filter(|line| is_comment(line)).count();
    }
    let poor = crates
        .into_iter()
        .filter(|(_, (lines, comments))| *lines >= SMALL && comments * 100 < lines * LEAST_PERCENT);
    let finding = |(name, (lines, comments)): (&str, (usize, usize))| Finding {
        path: format!("{name}/src"),
        line: 0,
        message: format!("{comments} of {lines} lines are comments, less than {LEAST_PERCENT} %"),
    };
    poor.map(finding).collect()
}

fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("//") && !line.starts_with("///")
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::source;

    #[test]
    fn a_crate_with_too_few_comments_is_found() {
        let code = |comments: usize, lines: usize| {
            "// why\n".repeat(comments) + &"/// What.\n".repeat(lines - comments)
        };
        let files = [
            source("rich/src/lib.rs", &code(3, 100)),
            source("rich/src/a.rs", &code(6, 200)),
            source("poor/src/lib.rs", &code(8, 300)),
            source("small/src/lib.rs", &code(0, 199)),
            source("poor/tests/a.rs", &code(100, 100)),
        ];
        let found: Vec<_> = check(&files).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["poor/src:0: 8 of 300 lines are comments, less than 3 %"]);
    }
}
