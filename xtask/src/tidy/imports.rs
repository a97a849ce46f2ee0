//! Import circles among the modules of a folder, and imports against a folder's order of stages.
//!
//! Two modules import each other, directly or through others, when neither can be read, tested or
//! moved alone. For each folder the check makes a graph of its direct modules: an edge leads from
//! the module in which a file lies to the module that the file imports.
//!
//! ```text
//! compile/peers/selectors.rs    use crate::compile::rules::Rule;    edge peers -> rules
//! compile/rules.rs              use super::peers::Peers;            edge rules -> peers: a circle
//! compile/rules.rs              use super::Scope;                   edge rules -> the parent, compile.rs
//! ```
//!
//! A child may use what its parent defines, as is usual in Rust. Only a stage may not: the parent
//! uses every stage, so that each would depend on all of them.
//!
//! Tests inside the files may import anything.

use std::collections::{BTreeMap, BTreeSet};

use super::paths;
use super::{Finding, Source};

/// A folder in which a module may import only the modules that stand before it.
struct Stages {
    folder: &'static str,
    order: &'static [&'static str],
}

const STAGES: &[Stages] = &[Stages {
    folder: "policy-core/src/compile",
    order: &["rules", "peers", "identities", "allow", "services", "compiler"],
}];

/// Where an import stands: file and line.
type Place = (String, usize);

/// The modules that each module of one folder imports, each with its first import.
type Graph = BTreeMap<String, BTreeMap<String, Place>>;

/// What stands in a [`Graph`] for items of the folder's own module.
const PARENT: &str = "";

/// Every module that has a file: the folder of its crate's sources, and its path there.
type Modules = BTreeSet<(String, Vec<String>)>;

/// Finds circles in every folder of modules, and imports against the order of stages.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let rust = || sources.iter().filter(|source| source.has_extension("rs"));
    let modules: Modules = rust().filter_map(|source| module_of(&source.path)).collect();
    let mut graphs = BTreeMap::<String, Graph>::new();
    for source in rust() {
        add_imports(source, &modules, &mut graphs);
    }
    let mut findings = Vec::new();
    for (folder, graph) in &graphs {
        findings.extend(circles(folder, graph));
        findings.extend(against_order(folder, graph));
    }
    findings
}

/// Adds the imports of a file to the graph of every folder above it.
fn add_imports(source: &Source, modules: &Modules, graphs: &mut BTreeMap<String, Graph>) {
    let Some((root, module)) = module_of(&source.path) else { return };
    let is_module = |path: &[String]| modules.contains(&(root.clone(), path.to_vec()));
    let Ok(file) = syn::parse_file(&source.text) else { return };
    for path in paths::collect_without_tests(&file) {
        let Some(mut imported) = resolve(&module, &path.segments) else { continue };
        // The last names may be those of functions.
        while !imported.is_empty() && !is_module(&imported) {
            imported.pop();
        }
        // The first part in which the two differ names the modules that the edge joins.
        let common = module.iter().zip(&imported).take_while(|(one, other)| one == other).count();
        let Some(from) = module.get(common) else { continue };
        let to = imported.get(common).map_or(PARENT, String::as_str);
        let folder = [std::slice::from_ref(&root), &module[..common]].concat().join("/");
        let imports = graphs.entry(folder).or_default().entry(from.clone()).or_default();
        imports.entry(to.to_owned()).or_insert((source.path.clone(), path.line));
    }
}

/// The folder of a crate's sources, and the module of a file: `a/src/b/c.rs` is `b::c` of `a/src`.
fn module_of(path: &str) -> Option<(String, Vec<String>)> {
    let (before, inside) = path.rsplit_once("/src/")?;
    let inside = inside.strip_suffix(".rs")?;
    let mut parts: Vec<_> = inside.split('/').map(str::to_owned).collect();
    if matches!(inside, "lib" | "main") {
        parts.clear();
    }
    Some((format!("{before}/src"), parts))
}

/// The module path that an import means; none for another crate's.
fn resolve(module: &[String], segments: &[String]) -> Option<Vec<String>> {
    let (first, rest) = segments.split_first()?;
    let mut rest = rest;
    let mut base = match first.as_str() {
        "crate" => Vec::new(),
        "self" => module.to_vec(),
        "super" => module.split_last()?.1.to_vec(),
        _ => return None,
    };
    while let Some(("super", after)) =
        rest.split_first().map(|(name, after)| (name.as_str(), after))
    {
        base.pop()?;
        rest = after;
    }
    // Types and functions are no modules.
    let is_module = |name: &&String| name.starts_with(|letter: char| letter.is_lowercase());
    base.extend(rest.iter().take_while(is_module).cloned());
    Some(base)
}

/// One finding for each import that closes a circle.
fn circles(folder: &str, graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (from, imports) in graph {
        for (to, (path, line)) in imports {
            if let Some(back) = way(graph, to, from) {
                let message =
                    format!("closes an import circle in {folder}: {from} -> {}", back.join(" -> "));
                findings.push(Finding { path: path.clone(), line: *line, message });
            }
        }
    }
    findings
}

/// The modules on a shortest way of imports, both ends among them.
fn way(graph: &Graph, from: &str, to: &str) -> Option<Vec<String>> {
    let mut ways = vec![vec![from.to_owned()]];
    let mut seen = BTreeSet::from([from.to_owned()]);
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let last = way.last()?;
            if last == to {
                return Some(way);
            }
            for next in graph.get(last).into_iter().flat_map(BTreeMap::keys) {
                if seen.insert(next.clone()) {
                    longer.push([&way[..], std::slice::from_ref(next)].concat());
                }
            }
        }
        ways = longer;
    }
    None
}

fn against_order(folder: &str, graph: &Graph) -> Vec<Finding> {
    let Some(stages) = STAGES.iter().find(|stages| stages.folder == folder) else {
        return Vec::new();
    };
    let stage = |name: &str| stages.order.iter().position(|stage| *stage == name);
    let mut findings = Vec::new();
    for (from, imports) in graph {
        for (to, (path, line)) in imports {
            let Some(own) = stage(from) else { continue };
            let message = if to == PARENT {
                format!("stage {from} imports an item of its parent module")
            } else if stage(to).is_some_and(|imported| imported > own) {
                format!("stage {from} imports the later stage {to}")
            } else {
                continue;
            };
            findings.push(Finding { path: path.clone(), line: *line, message });
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::source;

    fn findings(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<_> = files.iter().map(|(path, text)| source(path, text)).collect();
        check(&sources).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_circle_is_found_however_long_it_is() {
        let two = [("x/src/a.rs", "use crate::b::B;"), ("x/src/b.rs", "\nuse super::a::A;")];
        assert_eq!(
            findings(&two),
            [
                "x/src/a.rs:1: closes an import circle in x/src: a -> b -> a",
                "x/src/b.rs:2: closes an import circle in x/src: b -> a -> b",
            ]
        );
        let three = [
            ("x/src/m/a/inner.rs", "use super::super::b::B;"),
            ("x/src/m/b.rs", "fn f() { crate::m::c::g() }"),
            ("x/src/m/c.rs", "use super::a::inner::A;"),
        ];
        assert_eq!(findings(&three).len(), 3);
    }

    #[test]
    fn what_is_no_circle_passes() {
        #[rustfmt::skip]
        let cases: [(&str, &[(&str, &str)]); 5] = [
            ("one way",           &[("x/src/a.rs", "use crate::b::B;"), ("x/src/b.rs", "use std::fmt;")]),
            ("a parent",          &[("x/src/a.rs", "use self::b::B; mod b;"), ("x/src/a/b.rs", "use super::A;")]),
            ("another crate's b", &[("x/src/a.rs", "use crate::b::B;"), ("y/src/b.rs", "use crate::a::A;")]),
            ("a test",            &[("x/src/a.rs", "use crate::b::B;"), ("x/src/b.rs", "#[cfg(test)] mod tests { use crate::a::A; }")]),
            ("a type's function", &[("x/src/a.rs", "use crate::B;"), ("x/src/lib.rs", "fn f() { crate::a::g() }")]),
        ];
        for (claim, files) in cases {
            assert_eq!(findings(files), [""; 0], "{claim}");
        }
    }

    #[test]
    fn a_stage_imports_only_earlier_stages() {
        let early = [("policy-core/src/compile/peers.rs", "use super::rules::Rule;")];
        assert_eq!(findings(&early), [""; 0]);
        let late = [
            ("policy-core/src/compile/allow.rs", ""),
            ("policy-core/src/compile/rules/read.rs", "use crate::compile::allow::Map;"),
        ];
        assert_eq!(
            findings(&late),
            ["policy-core/src/compile/rules/read.rs:1: stage rules imports the later stage allow"]
        );
    }

    #[test]
    fn a_stage_imports_no_item_of_its_parent() {
        let stages = |rules, read| {
            findings(&[
                ("policy-core/src/compile.rs", "mod scope; pub use scope::Scope;"),
                ("policy-core/src/compile/scope.rs", "pub enum Scope {}"),
                ("policy-core/src/compile/rules.rs", rules),
                ("policy-core/src/compile/rules/read.rs", read),
            ])
        };
        let of = |file, line| {
            let place = format!("policy-core/src/compile/{file}:{line}");
            vec![format!("{place}: stage rules imports an item of its parent module")]
        };
        assert_eq!(stages("use super::Scope;", ""), of("rules.rs", 1));
        assert_eq!(stages("", "\nuse crate::compile::{Scope};"), of("rules/read.rs", 2));
        assert_eq!(stages("fn f() { super::compile() }", ""), of("rules.rs", 1));
        // A leaf beside the stage, and what the stage itself defines.
        assert_eq!(
            stages("use super::scope::Scope; pub(super) fn f() {}", "use super::Rules;"),
            [""; 0]
        );
    }
}
