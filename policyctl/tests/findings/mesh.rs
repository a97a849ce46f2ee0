//! NP021: the port of a service mesh.

use policy_core::lint::{Finding, Level};

use crate::{found, policy};

/// A second namespace, and pods in both.
const SHOP: &str = "\
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, META}
---
apiVersion: v1
kind: Pod
metadata: {name: api, namespace: shop, labels: {app: api}}
spec: {nodeName: n1, containers: [{name: c, image: c, ports: [{containerPort: 8080}]}]}
status: {podIPs: [{ip: 10.0.3.1}]}
";

const AMBIENT: &str = "labels: {istio.io/dataplane-mode: ambient}";

fn findings(meta: &str, spec: &str) -> Vec<Finding> {
    let policy = policy("p", spec).replace("namespace: web", "namespace: shop");
    let mut findings = found(&format!("{policy}{}", SHOP.replace("META", meta)));
    findings.retain(|finding| finding.code == "NP021");
    findings
}

#[test]
fn np021_the_port_of_the_mesh_is_shut() {
    const HERE: Option<&str> = Some("spec.ingress[0]");
    const THERE: Option<&str> = Some("spec.egress[0]");
    let own = "{from: [{podSelector: {}}], ports: [{port: 8080}]}";
    let mesh = "{from: [{podSelector: {}}], ports: [{port: 15008}]}";
    let ingress = |rules: &str| format!("{{podSelector: {{}}, ingress: [{rules}]}}");
    let egress =
        |rule: &str| format!("{{podSelector: {{}}, policyTypes: [Egress], egress: [{rule}]}}");
    #[rustfmt::skip]
    let cases = [
        ("the application's port",      AMBIENT,  ingress(own),                                                              HERE),
        ("everyone, at that port",      AMBIENT,  ingress("{ports: [{port: 8080}]}"),                                        HERE),
        ("both ports",                  AMBIENT,  ingress("{from: [{podSelector: {}}], ports: [{port: 8080}, {port: 15008}]}"), None),
        ("the other in its own rule",   AMBIENT,  ingress(&format!("{own}, {mesh}")),                                        None),
        ("it is for others alone",      AMBIENT,  ingress(&format!("{own}, {}", mesh.replace("podSelector: {}", "podSelector: {matchLabels: {app: none}}"))), HERE),
        ("every port",                  AMBIENT,  ingress("{from: [{podSelector: {}}]}"),                                    None),
        ("pods outside of the mesh",    AMBIENT,  ingress("{from: [{namespaceSelector: {matchLabels: {team: red}}}], ports: [{port: 8080}]}"), None),
        ("a block",                     AMBIENT,  ingress("{from: [{ipBlock: {cidr: 192.0.2.0/24}}], ports: [{port: 8080}]}"), None),
        ("UDP, which no mesh carries",  AMBIENT,  ingress("{from: [{podSelector: {}}], ports: [{port: 53, protocol: UDP}]}"), None),
        ("towards a pod of the mesh",   AMBIENT,  egress("{to: [{podSelector: {}}], ports: [{port: 8080}]}"),                THERE),
        ("towards everyone",            AMBIENT,  egress("{ports: [{port: 443}]}"),                                          None),
        ("no mesh",                     "labels: {team: blue}", ingress(own),                                                None),
        ("Linkerd, by its annotation",  "annotations: {linkerd.io/inject: enabled}",  ingress(own),                          HERE),
        ("Linkerd, by a label",         "labels: {linkerd.io/inject: enabled}",       ingress(own),                          HERE),
        ("Linkerd's port",              "annotations: {linkerd.io/inject: enabled}",  ingress(&own.replace("8080", "4143")), None),
        ("Linkerd is off",              "annotations: {linkerd.io/inject: disabled}", ingress(own),                          None),
    ];
    for (claim, meta, spec, field) in cases {
        let found = findings(meta, &spec);
        let fields: Vec<String> = found.iter().map(|one| one.field.to_string()).collect();
        assert_eq!(fields, field.into_iter().collect::<Vec<_>>(), "{claim}: {found:#?}");
    }
}

#[test]
fn np021_a_default_deny_alone_is_a_note() {
    let deny = "{podSelector: {}, policyTypes: [Ingress]}";
    let found = findings(AMBIENT, deny);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].level, Level::Note);
    assert!(found[0].message.contains("15008"), "{found:#?}");
    assert!(findings("labels: {team: blue}", deny).is_empty());
}
