//! Lists of names in messages.

/// The first `most` names, and how many more there are: `a, b, c and 4 more`.
pub fn first_few<T: ToString>(names: impl IntoIterator<Item = T>, most: usize) -> String {
    let names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
    let (listed, others) = names.split_at(most.min(names.len()));
    match (listed.join(", "), others.len()) {
        (listed, 0) => listed,
        (listed, more) => format!("{listed} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::first_few;

    #[test]
    fn names_past_the_limit_are_counted() {
        #[rustfmt::skip]
        let cases = [
            ("no name",         vec![],                   ""),
            ("one name",        vec!["a"],                "a"),
            ("the limit",       vec!["a", "b"],           "a, b"),
            ("more than that",  vec!["a", "b", "c", "d"], "a, b and 2 more"),
        ];
        for (claim, names, want) in cases {
            assert_eq!(first_few(names, 2), want, "{claim}");
        }
    }
}
