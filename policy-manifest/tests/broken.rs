//! S54: what is wrong in a manifest is reported with line, column, field and reason.

use policy_manifest::{ManifestError, Source, read, read_expectations, render};

fn source(text: &str) -> Source {
    Source { name: "m.yaml".into(), text: text.into() }
}

fn errors(text: &str) -> Vec<ManifestError> {
    read(&[source(text)]).err().unwrap_or_default()
}

fn policy(spec: &str) -> String {
    let head = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: np}\n";
    format!("{head}{spec}\n")
}

/// Takes the mark `¦` out of a text; it stands where the error must be.
fn unmarked(marked: &str) -> (String, usize, usize) {
    let (before, after) = marked.split_once('¦').expect("a mark");
    let line = before.rsplit('\n').next().unwrap_or_default();
    (format!("{before}{after}"), before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// Asserts that the marked text has exactly one error, at the mark, with this message.
#[track_caller]
fn assert_reported(claim: &str, marked: &str, want: &str) {
    assert_reported_by(errors, claim, marked, want);
}

#[track_caller]
fn assert_reported_by(
    reader: impl Fn(&str) -> Vec<ManifestError>,
    claim: &str,
    marked: &str,
    want: &str,
) {
    let (text, line, column) = unmarked(marked);
    let found = reader(&text);
    assert!(render(&found, false).contains('^'), "{claim}: no caret");
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    let [line_text] = &lines[..] else { panic!("{claim}: not one error: {lines:#?}") };
    assert!(line_text.starts_with(&format!("m.yaml:{line}:{column}: ")), "{claim}: {line_text}");
    assert!(line_text.contains(want), "{claim}: {line_text}");
}

#[test]
fn s54_policies() {
    #[rustfmt::skip]
    let cases = [
        // claim                             from line 4                                                           message
        ("misspelt spec",                    "¦spce: {}",                                                          "unknown field \"spce\"; did you mean \"spec\"?"),
        ("misspelt podSelector",             "spec:\n  ¦podselector: {}",                                          "spec: unknown field \"podselector\"; did you mean \"podSelector\"?"),
        ("misspelt policyTypes",             "spec:\n  ¦policyType: [Ingress]",                                    "did you mean \"policyTypes\"?"),
        ("from in egress",                   "spec: {egress: [{¦from: []}]}",                                      "spec.egress[0]: unknown field \"from\""),
        ("to in ingress",                    "spec: {ingress: [{¦to: []}]}",                                       "spec.ingress[0]: unknown field \"to\""),
        ("port of a rule",                   "spec: {ingress: [{¦port: 80}]}",                                     "did you mean \"ports\"?"),
        ("podSelector of the rule",          "spec: {ingress: [{¦podSelector: {}}]}",                              "unknown field \"podSelector\""),
        ("labels without matchLabels",       "spec: {podSelector: {¦app: web}}",                                   "spec.podSelector: unknown field \"app\""),
        ("spec a list",                      "spec: ¦[]",                                                          "spec: must be a mapping, not a list"),
        ("ingress a mapping",                "spec: {ingress: ¦{from: []}}",                                       "spec.ingress: must be a list, not a mapping"),
        ("empty list item",                  "spec:\n  ingress:\n  -¦\n",                                          "spec.ingress[0]: must be a mapping, not nothing"),
        ("policyTypes a string",             "spec: {policyTypes: ¦Ingress}",                                      "spec.policyTypes: must be a list, not a string"),
        ("policyTypes in small letters",     "spec: {policyTypes: [¦ingress]}",                                    "spec.policyTypes[0]: \"ingress\" is not one of Ingress, Egress; did you mean \"Ingress\"?"),
        ("three policyTypes",                "spec: {policyTypes: ¦[Egress, Egress, Egress]}",                     "at most 2 entries"),
        ("empty peer",                       "spec: {ingress: [{from: [¦{}]}]}",                                   "spec.ingress[0].from[0]: a peer needs"),
        ("peer with a null selector",        "spec: {ingress: [{from: [¦{podSelector: }]}]}",                      "a peer needs"),
        ("ipBlock beside a selector",        "spec: {egress: [{to: [{ipBlock: ¦{cidr: 10.0.0.0/8}, podSelector: {}}]}]}", "spec.egress[0].to[0].ipBlock: ipBlock cannot be combined with a selector"),
        ("ipBlock without cidr",             "spec: {egress: [{to: [{ipBlock: ¦{}}]}]}",                           "spec.egress[0].to[0].ipBlock: cidr is missing"),
        ("ipBlock a string",                 "spec: {egress: [{to: [{ipBlock: ¦10.0.0.0/8}]}]}",                   "must be a mapping, not a string"),
        ("cidr without length",              "spec: {egress: [{to: [{ipBlock: {cidr: ¦10.0.0.1}}]}]}",             "\"10.0.0.1\" is not a CIDR"),
        ("cidr with a mask",                 "spec: {egress: [{to: [{ipBlock: {cidr: ¦10.0.0.0/255.0.0.0}}]}]}",   "is not a CIDR"),
        ("cidr with a length too long",      "spec: {egress: [{to: [{ipBlock: {cidr: ¦10.0.0.0/33}}]}]}",          "is not a CIDR"),
        ("cidr with two lengths",            "spec: {egress: [{to: [{ipBlock: {cidr: ¦10.0.0.0/8/8}}]}]}",         "is not a CIDR"),
        ("cidr with a signed length",        "spec: {egress: [{to: [{ipBlock: {cidr: ¦10.0.0.0/+8}}]}]}",          "is not a CIDR"),
        ("IPv4 cidr written as IPv6",        "spec: {egress: [{to: [{ipBlock: {cidr: ¦'::ffff:10.0.0.0/104'}}]}]}", "is not a CIDR"),
        ("except a string",                  "spec: {egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: ¦10.1.0.0/16}}]}]}", "must be a list, not a string"),
        ("except outside",                   "spec: {egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [¦11.0.0.0/16]}}]}]}", "spec.egress[0].to[0].ipBlock.except[0]: 11.0.0.0/16 must be inside of 10.0.0.0/8"),
        ("except all of it",                 "spec: {egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [¦10.0.0.0/8]}}]}]}", "must be inside of"),
        ("except larger",                    "spec: {egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [¦10.0.0.0/7]}}]}]}", "must be inside of"),
        ("except of the other family",       "spec: {egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [¦'fd00::/8']}}]}]}", "must be inside of"),
        ("port 0",                           "spec: {ingress: [{ports: [{port: ¦0}]}]}",                           "spec.ingress[0].ports[0].port: 0 is not a port"),
        ("port 65536",                       "spec: {ingress: [{ports: [{port: ¦65536}]}]}",                       "65536 is not a port (1 to 65535)"),
        ("port below zero",                  "spec: {ingress: [{ports: [{port: ¦-1}]}]}",                          "-1 is not a port"),
        ("port with a fraction",             "spec: {ingress: [{ports: [{port: ¦80.5}]}]}",                        "80.5 is not a port"),
        ("port with a leading zero",         "spec: {ingress: [{ports: [{port: ¦080}]}]}",                         "080 is not a port"),
        ("port in quotes",                   "spec: {ingress: [{ports: [{port: ¦\"80\"}]}]}",                      "write the port number without quotes: 80"),
        ("port name too long",               "spec: {ingress: [{ports: [{port: ¦a-very-long-name}]}]}",            "\"a-very-long-name\" is not a port name"),
        ("port name with capitals",          "spec: {ingress: [{ports: [{port: ¦Http}]}]}",                        "is not a port name"),
        ("port name with two dashes",        "spec: {ingress: [{ports: [{port: ¦a--b}]}]}",                        "is not a port name"),
        ("port name without a letter",       "spec: {ingress: [{ports: [{port: ¦8-0}]}]}",                         "is not a port name"),
        ("port name that is a boolean",      "spec: {ingress: [{ports: [{port: ¦on}]}]}",                          "on without quotes is a boolean"),
        ("port a list",                      "spec: {ingress: [{ports: [{port: ¦[80]}]}]}",                        "must be a string, not a list"),
        ("ports a number",                   "spec: {ingress: [{ports: ¦80}]}",                                    "must be a list, not a number"),
        ("endPort alone",                    "spec: {ingress: [{ports: [{endPort: ¦80}]}]}",                       "endPort needs a numeric port"),
        ("endPort beside a name",            "spec: {ingress: [{ports: [{port: web, endPort: ¦80}]}]}",            "endPort needs a numeric port"),
        ("endPort below port",               "spec: {ingress: [{ports: [{port: 80, endPort: ¦79}]}]}",             "endPort 79 is below port 80"),
        ("endPort too large",                "spec: {ingress: [{ports: [{port: 80, endPort: ¦70000}]}]}",          "70000 is not a port"),
        ("endPort in quotes",                "spec: {ingress: [{ports: [{port: 80, endPort: ¦'90'}]}]}",           "must be a whole number, not a string"),
        ("protocol in small letters",        "spec: {ingress: [{ports: [{protocol: ¦tcp}]}]}",                     "\"tcp\" is not one of TCP, UDP, SCTP; did you mean \"TCP\"?"),
        ("protocol unknown",                 "spec: {ingress: [{ports: [{protocol: ¦ICMP}]}]}",                    "\"ICMP\" is not one of TCP, UDP, SCTP"),
        ("targetPort in a policy",           "spec: {ingress: [{ports: [{¦targetPort: 80}]}]}",                    "unknown field \"targetPort\""),
    ];
    for (claim, spec, want) in cases {
        assert_reported(claim, &policy(spec), want);
    }
}

#[test]
fn s54_selectors_and_strings() {
    #[rustfmt::skip]
    let cases = [
        ("In without values",            "{matchExpressions: [¦{key: a, operator: In}]}",                     "spec.podSelector.matchExpressions[0]: In needs at least one value"),
        ("NotIn with an empty list",     "{matchExpressions: [¦{key: a, operator: NotIn, values: []}]}",      "NotIn needs at least one value"),
        ("Exists with values",           "{matchExpressions: [{key: a, operator: Exists, values: ¦[b]}]}",    "Exists takes no values"),
        ("DoesNotExist with values",     "{matchExpressions: [{key: a, operator: DoesNotExist, values: ¦[b]}]}", "DoesNotExist takes no values"),
        ("unknown operator",             "{matchExpressions: [{key: a, operator: ¦Equals, values: [b]}]}",    "\"Equals\" is not one of In, NotIn, Exists, DoesNotExist"),
        ("no operator",                  "{matchExpressions: [¦{key: a}]}",                                   "operator is missing"),
        ("no key",                       "{matchExpressions: [¦{operator: Exists}]}",                         "key is missing"),
        ("value for values",             "{matchExpressions: [{key: a, operator: In, ¦value: [b], values: [b]}]}", "unknown field \"value\"; did you mean \"values\"?"),
        ("label key with a space",       "{matchLabels: {¦'a b': c}}",                                        "spec.podSelector.matchLabels[a b]: \"a b\" is not a label key"),
        ("label key with two slashes",   "{matchLabels: {¦a/b/c: d}}",                                        "is not a label key"),
        ("label key without a name",     "{matchLabels: {¦a.io/: d}}",                                        "is not a label key"),
        ("label value ends in a dash",   "{matchLabels: {a: ¦b-}}",                                           "\"b-\" is not a label value"),
        ("label value too long",         "{matchLabels: {a: ¦x234567890123456789012345678901234567890123456789012345678901234}}", "is not a label value"),
        ("label value a list",           "{matchLabels: {a: ¦[b]}}",                                          "must be a string, not a list"),
        ("label value null",             "{matchLabels: {a¦: }}",                                             "has no value; write \"\""),
        ("label value y",                "{matchLabels: {a: ¦y}}",                                            "y without quotes is a boolean for YAML parsers such as kubectl's; write \"y\""),
        ("label value yes",              "{matchLabels: {a: ¦yes}}",                                          "yes without quotes"),
        ("label value No",               "{matchLabels: {a: ¦No}}",                                           "No without quotes"),
        ("label value on",               "{matchLabels: {a: ¦on}}",                                           "on without quotes"),
        ("label value OFF",              "{matchLabels: {a: ¦OFF}}",                                          "OFF without quotes"),
        ("label value true",             "{matchLabels: {a: ¦true}}",                                         "true without quotes"),
        ("label value 1",                "{matchLabels: {a: ¦1}}",                                            "1 without quotes is a number"),
        ("label value 1.10",             "{matchLabels: {a: ¦1.10}}",                                         "write \"1.10\""),
        ("label value 0x1f",             "{matchLabels: {a: ¦0x1f}}",                                         "write \"0x1f\""),
        ("label value 1e3",              "{matchLabels: {a: ¦1e3}}",                                          "write \"1e3\""),
        ("label value 1_000",            "{matchLabels: {a: ¦1_000}}",                                        "write \"1_000\""),
        ("label key yes",                "{matchLabels: {¦yes: a}}",                                          "yes without quotes"),
        ("label key 1",                  "{matchLabels: {¦1: a}}",                                            "1 without quotes is a number"),
        ("value in an expression",       "{matchExpressions: [{key: a, operator: In, values: [¦yes]}]}",      "spec.podSelector.matchExpressions[0].values[0]: yes without quotes"),
        ("a selector that is a string",  "¦web",                                                              "must be a mapping, not a string"),
    ];
    for (claim, selector, want) in cases {
        assert_reported(claim, &policy(&format!("spec: {{podSelector: {selector}}}")), want);
    }
}

#[test]
fn s54_other_objects() {
    #[rustfmt::skip]
    let cases = [
        ("no name",                  "{apiVersion: v1, kind: Pod, metadata: ¦{}}",                                          "Pod: metadata: name is missing"),
        ("no metadata",              "¦{apiVersion: v1, kind: Pod}",                                                        "metadata is missing"),
        ("no kind",                  "¦apiVersion: v1\nmetadata: {name: p}",                                                "kind is missing"),
        ("no apiVersion",            "¦kind: Pod\nmetadata: {name: p}",                                                     "apiVersion is missing"),
        ("a kind in capitals",       "¦{apiVersion: networking.k8s.io/v1, kind: Networkpolicy, metadata: {name: p}}",        "networking.k8s.io/v1 has no kind Networkpolicy; did you mean NetworkPolicy?"),
        ("a kind in the plural",     "¦{apiVersion: networking.k8s.io/v1, kind: NetworkPolicies, metadata: {name: p}}",      "did you mean NetworkPolicy?"),
        ("a kind of the core",       "¦{apiVersion: v1, kind: NameSpace, metadata: {name: p}}",                              "did you mean Namespace?"),
        ("a list without items",     "¦{apiVersion: v1, kind: List}",                                                       "items is missing"),
        ("a list of one object",     "{apiVersion: v1, kind: List, items: ¦{apiVersion: v1, kind: Pod}}",                    "items: must be a list, not a mapping"),
        ("a list of policies",       "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicyList, items: ¦none}",           "items: must be a list, not a string"),
        ("a document that is text",  "¦just text",                                                                          "an object must be a mapping"),
        ("a list item that is text", "{apiVersion: v1, kind: List, items: [¦text]}",                                        "an object must be a mapping"),
        ("a name in capitals",       "{apiVersion: v1, kind: Pod, metadata: {name: ¦Web}}",                                 "metadata.name: \"Web\" is not a name"),
        ("a name that is a number",  "{apiVersion: v1, kind: Pod, metadata: {name: ¦123}}",                                 "metadata.name: 123 without quotes is a number"),
        ("a namespace with a dot",   "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: ¦a.b}}",                   "metadata.namespace: \"a.b\" is not a name"),
        ("a label of a pod",         "{apiVersion: v1, kind: Pod, metadata: {name: p, labels: {a: ¦no}}}",                  "Pod default/p: metadata.labels[a]: no without quotes"),
        ("a label of a namespace",   "{apiVersion: v1, kind: Namespace, metadata: {name: ns, labels: {a: ¦'b c'}}}",        "Namespace ns: metadata.labels[a]: \"b c\" is not a label value"),
        ("a pod's address",          "{apiVersion: v1, kind: Pod, metadata: {name: p}, status: {podIPs: [{ip: ¦10.0.0.256}]}}", "status.podIPs[0].ip: \"10.0.0.256\" is not an IP address"),
        ("podIPs without ip",        "{apiVersion: v1, kind: Pod, metadata: {name: p}, status: {podIPs: [¦10.0.0.1]}}",     "must be a mapping, not a string"),
        ("a container's port",       "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{ports: [{containerPort: ¦http}]}]}}", "spec.containers[0].ports[0].containerPort: must be a whole number, not a string"),
        ("a container's protocol",   "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{ports: [{containerPort: 80, protocol: ¦Tcp}]}]}}", "did you mean \"TCP\"?"),
        ("hostNetwork in quotes",    "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {hostNetwork: ¦'true'}}",      "spec.hostNetwork: must be true or false, not a string"),
        ("a Service's cluster IP",   "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {clusterIP: ¦none}}",      "spec.clusterIP: \"none\" is not an IP address"),
        ("a Service's port",         "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [¦{name: x}]}}",   "spec.ports[0]: port is missing"),
        ("a Service's type",         "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {type: ¦Headless}}",       "is not one of ClusterIP"),
        ("a Service's selector",     "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {selector: {a: ¦1}}}",     "spec.selector[a]: 1 without quotes"),
        ("a slice's address",        "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: s}, addressType: IPv4, endpoints: [{addresses: [¦x]}]}", "endpoints[0].addresses[0]: \"x\" is not an IP address"),
        ("a slice's address type",   "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: s}, addressType: ¦ipv4}", "did you mean \"IPv4\"?"),
        ("a node's address",         "{apiVersion: v1, kind: Node, metadata: {name: n1}, status: {addresses: [{type: InternalIP, address: ¦n1}]}}", "\"n1\" is not an IP address"),
        ("a node's block of pods",   "{apiVersion: v1, kind: Node, metadata: {name: n1}, spec: {podCIDRs: [¦10.0.0.1]}}",   "spec.podCIDRs[0]: \"10.0.0.1\" is not a CIDR"),
        ("a node's only block",      "{apiVersion: v1, kind: Node, metadata: {name: n1}, spec: {podCIDR: ¦10.0.0.0/33}}",   "spec.podCIDR: \"10.0.0.0/33\" is not a CIDR"),
        ("an owner without kind",    "{apiVersion: v1, kind: Pod, metadata: {name: p, ownerReferences: [¦{controller: true, name: a}]}}", "metadata.ownerReferences[0]: kind is missing"),
        ("a host without address",   "{apiVersion: policy.lab/v1alpha1, kind: Host, metadata: {name: h}, spec: ¦{}}",       "address is missing"),
        ("a host with no addresses", "{apiVersion: policy.lab/v1alpha1, kind: Host, metadata: {name: h}, spec: {addresses: ¦[]}}", "an address is missing"),
        ("a host's field",           "{apiVersion: policy.lab/v1alpha1, kind: Host, metadata: {name: h}, spec: {¦adress: 192.0.2.1, address: 192.0.2.1}}", "did you mean \"address\"?"),
        ("a host's two fields",      "{apiVersion: policy.lab/v1alpha1, kind: Host, metadata: {name: h}, spec: {address: 192.0.2.1, addresses: ¦[192.0.2.1]}}", "addresses and address cannot both be set"),
        ("an old version",           "¦{apiVersion: discovery.k8s.io/v1beta1, kind: EndpointSlice}",                        "EndpointSlice of discovery.k8s.io/v1beta1 is not supported; use apiVersion discovery.k8s.io/v1"),
        ("an old tier",              "¦{apiVersion: policy.networking.k8s.io/v1alpha1, kind: ClusterNetworkPolicy}",        "ClusterNetworkPolicy of policy.networking.k8s.io/v1alpha1 is not supported; use apiVersion policy.networking.k8s.io/v1beta1 or policy.networking.k8s.io/v1alpha2"),
        ("a tier's old kind",        "¦{apiVersion: policy.networking.k8s.io/v1alpha1, kind: AdminNetworkPolicy}",          "AdminNetworkPolicy of policy.networking.k8s.io/v1alpha1 is not supported; remove it"),
        ("another's policy",         "¦{apiVersion: crd.projectcalico.org/v1, kind: NetworkPolicy}",                        "NetworkPolicy of crd.projectcalico.org/v1 is not supported; remove it"),
        ("a policy of an unknown group", "¦{apiVersion: example.com/v1, kind: NetworkPolicy}",                            "NetworkPolicy of example.com/v1 is not supported; remove it"),
        ("a kind of Cilium",         "¦{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy}",                             "CiliumNetworkPolicy of cilium.io/v2 is not supported; remove it"),
        ("a firewall of OVN",        "¦{apiVersion: k8s.ovn.org/v1, kind: EgressFirewall}",                                "EgressFirewall of k8s.ovn.org/v1 is not supported; remove it"),
        ("a second object",          "{apiVersion: v1, kind: Node, metadata: {name: n1}}\n---\n¦{apiVersion: v1, kind: Node, metadata: {name: n1}}", "Node n1: this object is already defined at m.yaml:1:1"),
    ];
    for (claim, text, want) in cases {
        assert_reported(claim, text, want);
    }
}

#[test]
fn s54_yaml() {
    #[rustfmt::skip]
    let cases = [
        ("an open bracket",    "a: ¦[1, 2\n",             "unclosed bracket"),
        ("a tab",              "a:\n\t¦- b\n",            "tabs disallowed"),
        ("a key twice",        "a: 1\nb: 2\n¦a: 3\n",     "the key \"a\" is set twice"),
        ("a colon too many",   "a: b¦: c\n",              "mapping values are not allowed"),
        ("an unknown anchor",  "a: ¦*nope\n",             "unknown anchor"),
        ("after a good one",   "{apiVersion: v1, kind: Pod, metadata: {name: p}}\n---\na: ¦[\n", "unclosed bracket"),
        ("an umlaut before",   "ä: {ö: ¦[1}\n",           "mismatched bracket"),
    ];
    for (claim, text, want) in cases {
        assert_reported(claim, text, want);
    }
}

#[test]
fn s54_expectations() {
    #[rustfmt::skip]
    let cases = [
        ("unknown field",     "¦expects: []",                                                    "unknown field \"expects\"; did you mean \"expect\"?"),
        ("default",           "default: ¦Deny",                                                  "default: \"Deny\" is not one of allow, deny; did you mean \"deny\"?"),
        ("verdict",           "expect: [{from: a/b, to: a/c, port: 80/TCP, verdict: ¦drop}]",    "expect[0].verdict: \"drop\" is not one of allow, deny"),
        ("no verdict",        "expect: [¦{from: a/b, to: a/c, port: 80/TCP}]",                   "expect[0]: verdict is missing"),
        ("port without",      "expect: [{from: a/b, to: a/c, port: ¦80, verdict: deny}]",        "expect[0].port: \"80\" is not a port and a protocol such as 80/TCP"),
        ("port too large",    "expect: [{from: a/b, to: a/c, port: ¦65536/TCP, verdict: deny}]", "is not a port and a protocol such as 80/TCP"),
        ("small protocol",    "expect: [{from: a/b, to: a/c, port: ¦80/tcp, verdict: deny}]",    "is not a port and a protocol such as 80/TCP"),
        ("no slash",          "expect: [{from: ¦web, to: a/c, port: 80/TCP, verdict: deny}]",    "expect[0].from: \"web\" is not a source or destination"),
        ("short service",     "expect: [{from: a/b, to: ¦service/x, port: 80/TCP, verdict: deny}]", "is not a source or destination"),
        ("from a service",    "expect: [{from: ¦service/a/b, to: a/c, port: 80/TCP, verdict: deny}]", "a Service cannot open a connection"),
        ("family",            "expect: [{from: a/b, to: a/c, port: 80/TCP, verdict: deny, family: ¦4}]", "4 without quotes is a number"),
    ];
    for (claim, text, want) in cases {
        let reader = |text: &str| read_expectations(&source(text)).err().unwrap_or_default();
        assert_reported_by(reader, claim, text, want);
    }
}

#[test]
fn s54_every_error_is_reported_and_nothing_read_in_part() {
    let first = source(
        "{apiVersion: v1, kind: Pod, metadata: {name: Bad}}\n---\n{apiVersion: v1, kind: Pod, metadata: {name: good}}",
    );
    let second = Source { name: "n.yaml".into(), text: policy("spec: {x: 1, ingress: [{y: 1}]}") };
    let found = read(&[first, second]).expect_err("three errors");
    let places: Vec<String> = found.iter().map(|error| error.place.to_string()).collect();
    assert_eq!(places, ["m.yaml:1:46", "n.yaml:4:8", "n.yaml:4:25"]);
}

#[test]
fn s54_a_caret_stands_under_the_place() {
    let found = errors(&policy("spec:\n  ingress:\n  - ports:\n    - port: 70000"));
    let want = "
error: NetworkPolicy default/np: spec.ingress[0].ports[0].port: 70000 is not a port (1 to 65535)
 --> m.yaml:7:13
  |
7 |     - port: 70000
  |             ^^^^^

";
    assert_eq!(render(&found, false), want.trim_start());
    assert!(render(&found, true).contains('\u{1b}'));
}

#[test]
fn an_error_in_an_alias_is_reported_where_it_is_defined() {
    let text = policy(
        "spec:\n  podSelector: {matchLabels: &l {a: yes}}\n  ingress:\n  - from: [{podSelector: {matchLabels: *l}}]",
    );
    let found = errors(&text);
    let places: Vec<String> = found.iter().map(|error| error.place.to_string()).collect();
    assert_eq!(places, ["m.yaml:5:37", "m.yaml:5:37"]);
}

#[test]
fn files_of_several_clusters_give_a_few_errors() {
    let one = "{apiVersion: v1, kind: Node, metadata: {name: n1}}";
    let text = vec![one; 30].join("\n---\n");
    let found: Vec<String> = errors(&text).iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(found[2].contains("already defined at m.yaml:1:1"), "{}", found[2]);
    assert!(found[3].contains("26 more objects are defined twice"), "{}", found[3]);
}

#[test]
fn a_preview_of_a_policy_is_no_policy() {
    let staged =
        "{apiVersion: projectcalico.org/v3, kind: StagedNetworkPolicy, metadata: {name: p}}";
    assert_eq!(errors(staged), []);
}
