//! Names of types: one name has one meaning in a crate.
//!
//! Input is every Rust file. A crate is the `src` of one folder, or one folder or file in its
//! `tests`. Output is a finding for each type with a name that an earlier file of its crate has:
//! a reader who searches for `Options` would find six that are not the same.

use std::collections::{BTreeMap, btree_map::Entry};

use syn::visit::{self, Visit};
use syn::{Attribute, Ident, ItemEnum, ItemStruct, ItemTrait, ItemType, ItemUnion, Meta};

use super::{Finding, Source};

/// Finds names that two types of a crate have.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut first = BTreeMap::<(&str, String), String>::new();
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.has_extension("rs")) {
        let Some(unit) = crate_of(&source.path) else { continue };
        // A file that cannot be parsed is reported with the boundaries.
        let Ok(file) = syn::parse_file(&source.text) else { continue };
        let mut types = Types::default();
        types.visit_file(&file);
        for (name, line) in types.found {
            match first.entry((unit, name)) {
                Entry::Vacant(entry) => {
                    entry.insert(source.path.clone());
                }
                Entry::Occupied(entry) => {
                    let ((_, name), other) = (entry.key(), entry.get());
                    let message = format!(
                        "`{name}` is another type in {other}; give each a name that says what it is"
                    );
                    findings.push(Finding::new(source, line, message));
                }
            }
        }
    }
    findings
}

/// What is compiled together: `a/src`, `a/tests/packet` of `a/tests/packet/craft.rs`.
fn crate_of(path: &str) -> Option<&str> {
    if let Some(at) = path.rfind("/src/") {
        return Some(&path[..at + "/src".len()]);
    }
    let target = path.rfind("/tests/")? + "/tests/".len();
    let length = path[target..].find('/').unwrap_or(path.len() - target);
    Some(&path[..target + length])
}

/// The types of a file, each with its line.
#[derive(Default)]
struct Types {
    found: Vec<(String, usize)>,
}

impl Types {
    fn add(&mut self, name: &Ident, attributes: &[Attribute]) {
        if !attributes.iter().any(is_alternative) {
            self.found.push((name.to_string(), name.span().start().line));
        }
    }
}

/// `#[cfg(not(…))]`: the same type in a build without a feature.
fn is_alternative(attribute: &Attribute) -> bool {
    match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string().starts_with("not"),
        Meta::Path(_) | Meta::NameValue(_) => false,
    }
}

impl<'ast> Visit<'ast> for Types {
    fn visit_item_struct(&mut self, item: &'ast ItemStruct) {
        self.add(&item.ident, &item.attrs);
    }

    fn visit_item_enum(&mut self, item: &'ast ItemEnum) {
        self.add(&item.ident, &item.attrs);
    }

    fn visit_item_union(&mut self, item: &'ast ItemUnion) {
        self.add(&item.ident, &item.attrs);
    }

    fn visit_item_type(&mut self, item: &'ast ItemType) {
        self.add(&item.ident, &item.attrs);
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        self.add(&item.ident, &item.attrs);
        visit::visit_item_trait(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::source;

    #[test]
    fn one_name_is_one_type_of_a_crate() {
        #[rustfmt::skip]
        let cases = [
            ("in two files",            "a/src/b.rs",        "enum Options {}",                            true),
            ("an alias",                "a/src/b.rs",        "pub(crate) type Options = u8;",              true),
            ("a trait",                 "a/src/b/c.rs",      "pub trait Options {}",                       true),
            ("inside a function",       "a/src/b.rs",        "fn f() { struct Options; }",                 true),
            ("another name",            "a/src/b.rs",        "struct SoakOptions;",                        false),
            ("in another crate",        "a/bin/src/b.rs",    "struct Options;",                            false),
            ("in a test",               "a/tests/b.rs",      "struct Options;",                            false),
            ("an associated type",      "a/src/b.rs",        "impl T for U { type Options = u8; }",        false),
            ("without a feature",       "a/src/b.rs",        "#[cfg(not(feature = \"x\"))] struct Options;", false),
            ("with a feature",          "a/src/b.rs",        "#[cfg(feature = \"x\")] struct Options;",    true),
        ];
        for (claim, path, text, broken) in cases {
            let files = [source("a/src/a.rs", "struct Options;"), source(path, text)];
            assert_eq!(!check(&files).is_empty(), broken, "{claim}");
        }
    }

    #[test]
    fn a_folder_of_tests_is_one_crate() {
        let one = source("a/tests/packet/main.rs", "struct Ends;");
        let same = source("a/tests/packet/craft.rs", "struct Ends;");
        let other = source("a/tests/properties/main.rs", "struct Ends;");
        let found: Vec<_> = check(&[one, same, other]).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            ["a/tests/packet/craft.rs:1: `Ends` is another type in a/tests/packet/main.rs; \
              give each a name that says what it is"]
        );
    }
}
