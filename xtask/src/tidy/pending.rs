//! The one list of places that do not pass a check yet.
//!
//! A check that is new starts with the places that it finds; each is removed once it is clean, and
//! `cargo xtask tidy` warns of entries that are no longer needed.

use super::Finding;

/// A check, and the start of the paths in which its findings are accepted for now.
const PENDING: &[(&str, &str)] = &[];

/// Findings that count, and the entries of the list that accepted none.
pub(super) fn sort_out(findings: Vec<(&'static str, Finding)>) -> (Vec<Finding>, Vec<String>) {
    sort_out_by(PENDING, findings)
}

fn sort_out_by(
    pending: &[(&str, &str)],
    findings: Vec<(&'static str, Finding)>,
) -> (Vec<Finding>, Vec<String>) {
    let mut used = vec![false; pending.len()];
    let mut counting = Vec::new();
    for (check, finding) in findings {
        let is_of =
            |(name, start): &(&str, &str)| *name == check && finding.path.starts_with(start);
        match pending.iter().position(is_of) {
            Some(at) => used[at] = true,
            None => counting.push(finding),
        }
    }
    let unused = pending.iter().zip(used).filter(|(_, used)| !used);
    (counting, unused.map(|((check, start), _)| format!("{check} of {start}")).collect())
}

#[cfg(test)]
mod tests {
    use super::sort_out_by;
    use crate::tidy::{Finding, source};

    #[test]
    fn a_pending_place_is_accepted_for_its_check_alone() {
        let finding = |path| Finding::new(&source(path, ""), 0, "broken");
        let pending = [("edges", "a/"), ("words", "b/")];
        let findings =
            vec![("edges", finding("a/x")), ("words", finding("a/x")), ("edges", finding("ab/x"))];
        let (counting, unused) = sort_out_by(&pending, findings);
        let counting: Vec<_> = counting.iter().map(|finding| finding.path.as_str()).collect();
        assert_eq!(counting, ["a/x", "ab/x"]);
        assert_eq!(unused, ["words of b/"]);
    }
}
