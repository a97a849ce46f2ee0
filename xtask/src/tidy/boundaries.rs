//! Which part of the project may know which crate.

use super::paths::{self, Path};
use super::{Finding, Source};

/// A crate, or a family that shares a prefix, that only some places may name.
struct Confined {
    crate_name: &'static str,
    to: &'static [&'static str],
}

const DATAPLANE: &[&str] = &[
    "policy-agent/src/dataplane",
    "policy-common/src",
    "policy-ebpf/benches",
    "tests/packet-model/src",
];
const KUBERNETES: &[&str] = &["policy-kube/src", "tests/e2e/src", "tests/testbed/src"];
const NET: &[&str] = &["policy-agent/src/net"];

const CONFINED: &[Confined] = &[
    Confined { crate_name: "aya", to: DATAPLANE },
    Confined { crate_name: "aya_log", to: DATAPLANE },
    Confined { crate_name: "aya_obj", to: DATAPLANE },
    Confined { crate_name: "k8s_openapi", to: KUBERNETES },
    Confined { crate_name: "kube", to: KUBERNETES },
    Confined { crate_name: "kube_*", to: KUBERNETES },
    Confined { crate_name: "rtnetlink", to: NET },
    Confined { crate_name: "netlink_*", to: NET },
];

/// What a place must not name.
struct Forbidden {
    in_place: &'static str,
    paths: &'static [&'static str],
}

const FORBIDDEN: &[Forbidden] = &[
    // The compiler's result depends on its input alone.
    Forbidden {
        in_place: "policy-core/src",
        paths: &[
            "kube",
            "tokio",
            "std::env",
            "std::fs",
            "std::io",
            "std::os",
            "std::process",
            "std::thread",
            "std::time::Instant",
            "std::time::SystemTime",
            "std::net::TcpListener",
            "std::net::TcpStream",
            "std::net::ToSocketAddrs",
            "std::net::UdpSocket",
        ],
    },
    // Text comes in, a model goes out; who reads the file is not its concern.
    Forbidden { in_place: "policy-manifest/src", paths: &["kube", "tokio", "std::fs"] },
    // They meet in the reconciler only.
    Forbidden { in_place: "policy-agent/src/source", paths: &["crate::dataplane"] },
    Forbidden { in_place: "policy-agent/src/dataplane", paths: &["crate::source"] },
];

/// Finds paths that cross a boundary. Integration tests may name anything.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    if !source.has_extension("rs") || source.path.contains("/tests/") {
        return Vec::new();
    }
    let file = match syn::parse_file(&source.text) {
        Ok(file) => file,
        Err(error) => {
            let line = error.span().start().line;
            return vec![Finding::new(source, line, format!("cannot be parsed: {error}"))];
        }
    };
    let mut findings: Vec<_> = paths::collect(&file)
        .iter()
        .filter_map(|path| Some(Finding::new(source, path.line, crossing(&source.path, path)?)))
        .collect();
    findings.dedup();
    findings
}

/// What is wrong with naming `path` in the file `place`.
fn crossing(place: &str, path: &Path) -> Option<String> {
    let confined = CONFINED.iter().find(|rule| rule.matches(path));
    if let Some(rule) = confined
        && !rule.to.iter().any(|home| is_under(place, home))
    {
        return Some(format!("{} may be used only in {}", path.segments[0], rule.to.join(" and ")));
    }
    let rule = FORBIDDEN.iter().find(|rule| is_under(place, rule.in_place))?;
    let forbidden = rule.paths.iter().find(|forbidden| path.is_in(forbidden))?;
    Some(format!("{} must not use {forbidden}", rule.in_place))
}

impl Confined {
    fn matches(&self, path: &Path) -> bool {
        match self.crate_name.strip_suffix('*') {
            Some(prefix) => path.segments.first().is_some_and(|first| first.starts_with(prefix)),
            None => path.is_in(self.crate_name),
        }
    }
}

/// Whether `place` is in the folder `home`, or is the module of that name.
fn is_under(place: &str, home: &str) -> bool {
    place.strip_prefix(home).is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::source;

    #[test]
    fn boundaries_hold() {
        #[rustfmt::skip]
        let cases = [
            // where                                   what                                    broken
            ("policy-agent/src/dataplane.rs",          "use aya::Ebpf;",                       false),
            ("policy-agent/src/dataplane/maps.rs",     "use aya::Ebpf;",                       false),
            ("policy-agent/tests/lab.rs",              "use aya::Ebpf;",                       false),
            ("policy-common/src/flow.rs",              "unsafe impl aya::Pod for A {}",        false),
            ("policy-agent/src/dataplanes.rs",         "use aya::Ebpf;",                       true),
            ("policy-agent/src/main.rs",               "fn a() { aya::load() }",               true),
            ("policy-agent/src/net/link.rs",           "use netlink_packet_route::link;",      false),
            ("policy-agent/src/net.rs",                "use rtnetlink::Handle;",               false),
            ("policy-agent/src/lab.rs",                "use netlink_packet_route::link;",      true),
            ("policy-agent/src/lab.rs",                "use rtnetlink::Handle;",               true),
            ("policy-kube/src/events/object.rs",       "use k8s_openapi::api;",                false),
            ("policy-agent/src/source/files.rs",       "use k8s_openapi::api;",                true),
            ("policy-kube/src/list.rs",                "use kube::Api;",                       false),
            ("policyctl/src/cluster.rs",               "use kube::Client;",                    true),
            ("policyctl/src/origin.rs",                "use kube::Client;",                    true),
            ("policy-probe/src/choose.rs",             "use kube_runtime::watcher;",           true),
            ("policy-agent/src/source/files.rs",       "use crate::dataplane::Maps;",          true),
            ("policy-agent/src/dataplane/maps.rs",     "use crate::source::Files;",            true),
            ("policy-agent/src/reconcile.rs",          "use crate::{source, dataplane};",      false),
            ("policy-core/src/plan.rs",                "use std::{collections, net::IpAddr};", false),
            ("policy-core/src/plan.rs",                "use std::{net, time::Instant};",       true),
            ("policy-core/src/plan.rs",                "use std::time::Duration;",             false),
            ("policy-core/src/plan.rs",                "fn a() { std::fs::read(\"\"); }",      true),
            ("policy-core/src/plan.rs",                "use std::net::UdpSocket;",             true),
            ("policy-core/src/plan.rs",                "use kube::Api;",                       true),
            ("policy-core/tests/property.rs",          "use std::fs;",                         false),
            ("policy-manifest/src/lib.rs",             "use std::fs;",                         true),
            ("policy-manifest/src/lib.rs",             "#[tokio::test] fn a() {}",             true),
            ("policy-manifest/src/lib.rs",             "use aya::Ebpf;",                       true),
            ("policy-manifest/src/lib.rs",             "fn (",                                 true),
        ];
        for (place, text, broken) in cases {
            assert_eq!(!check(&source(place, text)).is_empty(), broken, "{place}: {text}");
        }
    }

    #[test]
    fn a_finding_names_the_line() {
        let findings = check(&source("policy-core/src/plan.rs", "//! Plan.\n\nuse std::fs;\n"));
        let shown: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["policy-core/src/plan.rs:3: policy-core/src must not use std::fs"]);
    }
}
