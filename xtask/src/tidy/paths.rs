//! Every path in a Rust file, wherever it stands: imports, expressions, macros, attributes.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, File, ItemExternCrate, ItemMod, ItemUse, Macro, Meta, UseTree};

/// A path, its leading `::` left out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// From 1.
    pub(super) line: usize,
    pub(super) segments: Vec<String>,
}

impl Path {
    /// Whether this is `prefix` or something inside it.
    pub(super) fn is_in(&self, prefix: &str) -> bool {
        let mut segments = self.segments.iter();
        prefix.split("::").all(|want| segments.next().is_some_and(|have| have == want))
    }
}

/// Collects the paths of a file; an import of a group counts once per member.
pub(super) fn collect(file: &File) -> Vec<Path> {
    let mut collector = Collector::default();
    collector.visit_file(file);
    collector.paths
}

/// As [`collect`], without what stands in `#[cfg(test)]` modules.
pub(super) fn collect_without_tests(file: &File) -> Vec<Path> {
    let mut collector = Collector { without_tests: true, ..Collector::default() };
    collector.visit_file(file);
    collector.paths
}

#[derive(Default)]
struct Collector {
    paths: Vec<Path>,
    without_tests: bool,
}

impl Collector {
    fn add(&mut self, span: Span, segments: Vec<String>) {
        self.paths.push(Path { line: span.start().line, segments });
    }

    fn add_imports(&mut self, tree: &UseTree, prefix: &[String]) {
        let longer = |name: &Ident| [prefix, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.add_imports(&path.tree, &longer(&path.ident)),
            UseTree::Name(name) => self.add(name.ident.span(), longer(&name.ident)),
            UseTree::Rename(rename) => self.add(rename.ident.span(), longer(&rename.ident)),
            UseTree::Glob(glob) => self.add(glob.star_token.spans[0], prefix.to_vec()),
            UseTree::Group(group) => {
                for item in &group.items {
                    self.add_imports(item, prefix);
                }
            }
        }
    }

    /// The paths among tokens that have no syntax tree: `a::b`, and what groups hold.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        let mut path: Option<(Span, Vec<String>)> = None;
        let mut after_colons = false;
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Ident(name) => match &mut path {
                    Some((_, segments)) if after_colons => segments.push(name.to_string()),
                    _ => self.flush(path.replace((name.span(), vec![name.to_string()]))),
                },
                TokenTree::Punct(colon) if colon.as_char() == ':' && is_colon(tokens.peek()) => {
                    tokens.next();
                    after_colons = true;
                    continue;
                }
                TokenTree::Group(group) => {
                    self.flush(path.take());
                    self.add_tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => self.flush(path.take()),
            }
            after_colons = false;
        }
        self.flush(path);
    }

    fn flush(&mut self, path: Option<(Span, Vec<String>)>) {
        if let Some((span, segments)) = path {
            self.add(span, segments);
        }
    }
}

fn is_colon(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Punct(colon)) if colon.as_char() == ':')
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let is_test = |attribute: &Attribute| match &attribute.meta {
            Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
            Meta::Path(_) | Meta::NameValue(_) => false,
        };
        if !(self.without_tests && item.attrs.iter().any(is_test)) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add_imports(&item.tree, &[]);
    }

    fn visit_item_extern_crate(&mut self, item: &'ast ItemExternCrate) {
        self.add(item.ident.span(), vec![item.ident.to_string()]);
    }

    // `pub(super)` names a module and imports nothing from it.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if let Some(first) = path.segments.first() {
            let segments = path.segments.iter().map(|segment| segment.ident.to_string());
            self.add(first.ident.span(), segments.collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.add_tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.add_tokens(list.tokens.clone());
        }
        visit::visit_attribute(self, attribute);
    }
}

#[cfg(test)]
mod tests {
    use super::collect;

    #[test]
    fn a_path_is_found_wherever_it_stands() -> syn::Result<()> {
        #[rustfmt::skip]
        let cases = [
            ("an import",                "use aya::maps::HashMap;"),
            ("an import of a group",     "use {std::fmt, aya::{maps::{HashMap, Array}}};"),
            ("an import of a glob",      "use aya::maps::*;"),
            ("a renamed import",         "use aya::maps as m;"),
            ("an import with colons",    "use ::aya::maps;"),
            ("a type",                   "struct A { map: Option<aya::maps::Array<u8>> }"),
            ("an expression",            "fn a() { let x = aya::maps::open(); }"),
            ("an implementation",        "unsafe impl aya::maps::Pod for A {}"),
            ("the inside of a macro",    "fn a() { println!(\"{}\", aya::maps::open()); }"),
            ("the body of a macro",      "macro_rules! a { ($x:ty) => { impl aya::maps::Pod for $x {} } }"),
            ("a derive",                 "#[derive(Clone, aya::maps::Pod)] struct A;"),
        ];
        for (claim, text) in cases {
            let paths = collect(&syn::parse_file(text)?);
            assert!(paths.iter().any(|path| path.is_in("aya::maps")), "{claim}: {paths:?}");
        }
        Ok(())
    }

    #[test]
    fn words_that_are_no_path_are_none() -> syn::Result<()> {
        let texts = [
            "// aya::maps\nfn a() {}",
            "/// aya::maps\nfn a() {}",
            "const A: &str = \"aya::maps\";",
        ];
        for text in texts {
            let paths = collect(&syn::parse_file(text)?);
            assert!(!paths.iter().any(|path| path.is_in("aya::maps")), "{text}");
        }
        Ok(())
    }
}
